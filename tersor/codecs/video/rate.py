"""Which quality each group gets, so that a file has the bit rate or the PSNR asked for.

Bytes are taken to be exponential in quality, PSNR linear; the slopes are measured as soon as two qualities
of one video are known. With a bit rate the last pass spends what the groups before left over, so that what
the model did not foresee does not add up.
"""

from __future__ import annotations

import math

import numpy as np

from tersor.arrays import Samples

LEAST, MOST = 1, 100  # F
QUARTERS = 4  # F: of a step of quality
# M, all of them by `tools/studies_video.py rate --effort 2 --frames 5 --limit 4` on training clips.
BYTES_SLOPE = 0.053  # natural logarithm of bytes a step of quality, before it is known
PSNR_SLOPE = 0.3  # dB a step of quality, before it is known
FIRST_BPP = ((1, 0.007), (50, 0.12), (100, 1.3))  # bits a pixel over quality, for a first guess
SLOPES = (0.02, 0.2)  # G: what a measured slope may be


def clipped(quality: float) -> float:
    """The nearest quality that groups can have."""
    return min(MOST, max(LEAST, round(quality * QUARTERS) / QUARTERS))


def guess(bpp: float) -> float:
    """A quality for a rate in bits a pixel, nothing known of the video."""
    q, b = zip(*FIRST_BPP, strict=True)
    return clipped(float(np.interp(math.log(max(bpp, 1e-6)), [math.log(x) for x in b], q)))


Sizes = dict[float, int]  # bytes of one group by quality


def foreseen(sizes: Sizes, quality: float) -> float:
    """Bytes of a group at a quality, from those at qualities it was coded with: exponential between and
    beyond.
    """
    near = sorted(sizes, key=lambda q: abs(q - quality))[:2]
    slope = BYTES_SLOPE
    if len(near) == 2:
        slope = math.log(max(1, sizes[near[1]]) / max(1, sizes[near[0]])) / (near[1] - near[0])
        slope = min(SLOPES[1], max(SLOPES[0], slope))
    return max(1, sizes[near[0]]) * math.exp(slope * (quality - near[0]))


def quality_for(groups: list[Sizes], size: float) -> float:
    """The one quality at which groups are foreseen to take `size` bytes together; 1 to 100."""
    low, high = float(LEAST), float(MOST)
    for _ in range(20):  # to a thousandth of a step
        middle = (low + high) / 2
        if sum(foreseen(g, middle) for g in groups) < size:
            low = middle
        else:
            high = middle
    return (low + high) / 2


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
    return min(high - 1, max(low + 1, round(nearest + (target - points[nearest]) / PSNR_SLOPE)))


def psnr_611(planes: list[Samples], decoded: list[Samples], depth: int) -> tuple[float, int]:
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
