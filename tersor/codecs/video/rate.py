"""Which quality each group gets, so that a file has the bit rate or the PSNR asked for.

Bytes are taken to be exponential in quality, PSNR linear; the slopes are measured as soon as two qualities of
one video are known. With a bit rate the last pass
spends what the groups before left over, so that what the model did not foresee does not add up.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

LEAST, MOST = 1, 100
BYTES_SLOPE = (
    0.06  # M: natural logarithm of bytes a step of quality, before it is known (tools/studies.py video-rate)
)
PSNR_SLOPE = 0.3  # M: dB a step of quality, before it is known (the same)
SLOPES = (0.02, 0.2)  # what a measured slope may be
FIRST_BPP = ((1, 0.004), (50, 0.08), (100, 2.0))  # M: bits a pixel over quality, for a first guess (the same)


def clipped(quality: float) -> int:
    return min(MOST, max(LEAST, round(quality)))


def guess(bpp: float) -> int:
    """A quality for a rate in bits a pixel, nothing known of the video."""
    q, b = zip(*FIRST_BPP, strict=True)
    return clipped(float(np.interp(math.log(max(bpp, 1e-6)), [math.log(x) for x in b], q)))


@dataclass(slots=True)
class BitBudget:
    """Spends bytes over groups.

    Attributes:
        total: bytes for all of them; of a stream that has not ended, for one frame.
        known: (frames, quality, bytes) of every group in an earlier pass; empty in a stream.
        slope: natural logarithm of bytes a step of quality.
    """

    total: float
    known: list[tuple[int, int, int]] = field(default_factory=list)
    slope: float = BYTES_SLOPE
    _done: list[tuple[int, int, int]] = field(default_factory=list)

    def quality(self, frames: int) -> int:
        """For the next group."""
        return clipped(self.exact_quality(frames))

    def exact_quality(self, frames: int) -> float:
        i = len(self._done)
        spent = sum(b for *_, b in self._done)
        if self.known:
            rest, left = self.known[i:], self.total - spent
            # What the groups so far took over what was foreseen for them, as a guess for those to come.
            foreseen = sum(
                b * math.exp(self.slope * (now[1] - q))
                for (_, q, b), now in zip(self.known[:i], self._done, strict=True)
            )
            drift = spent / foreseen if foreseen and i >= 2 else 1.0
            at_zero = drift * sum(b * math.exp(-self.slope * q) for _, q, b in rest)
        else:
            left = self.total * (sum(f for f, *_ in self._done) + frames) - spent
            last = self._done[-3:]
            at_zero = (
                frames * sum(b * math.exp(-self.slope * q) for _, q, b in last) / sum(f for f, *_ in last)
            )
        return math.log(max(left, 1.0) / max(at_zero, 1e-9)) / self.slope

    def took(self, frames: int, quality: int, size: int) -> None:
        self._done.append((frames, quality, size))

    @property
    def left(self) -> float:
        return self.total - sum(b for *_, b in self._done)


def measured_slope(points: list[tuple[int, float]], fallback: float) -> float:
    """Natural logarithm of bytes a step, from (quality, bytes) of the same frames."""
    (q0, b0), (q1, b1) = points[-2:] if len(points) > 1 else (points[0], points[0])
    if q0 == q1 or min(b0, b1) <= 0:
        return fallback
    return min(SLOPES[1], max(SLOPES[0], math.log(b1 / b0) / (q1 - q0)))


def next_for_psnr(points: dict[int, float], target: float) -> int | None:
    """The quality to try next on the way to the lowest that reaches a PSNR; None when `points` settle it.

    Args:
        points: dB by quality, so far.
        target: dB.
    """
    below = [q for q, p in points.items() if p < target]
    above = [q for q, p in points.items() if p >= target]
    low, high = max(below, default=LEAST - 1), min(above, default=MOST + 1)
    if high - low <= 1 or low >= MOST:
        return None
    if not points:
        return 50
    if below and above:
        step = (target - points[low]) / max(points[high] - points[low], 1e-9) * (high - low)
        return min(high - 1, max(low + 1, low + math.ceil(step - 0.25)))
    nearest = low if below else high
    return min(high - 1, max(low + 1, clipped(nearest + (target - points[nearest]) / PSNR_SLOPE)))


def psnr_611(
    planes: list[NDArray[np.generic]], decoded: list[NDArray[np.generic]], depth: int
) -> tuple[float, int]:
    """(sum over frames of the PSNR in dB, of the planes as 6:1:1; how many frames). A plane without error
    counts as 100 dB.
    """
    values = []
    for x, y in zip(planes, decoded, strict=True):
        errors = [
            float(np.square(a.astype(np.int32) - b.astype(np.int32), dtype=np.float64).mean())
            for a, b in zip(x, y, strict=True)
        ]
        peak = ((1 << depth) - 1) ** 2
        values.append([min(100.0, 10 * math.log10(peak / e)) if e else 100.0 for e in errors])
    weights = (1.0,) if len(values) == 1 else (0.75, 0.125, 0.125)
    return sum(w * sum(v) for w, v in zip(weights, values, strict=True)), len(values[0])
