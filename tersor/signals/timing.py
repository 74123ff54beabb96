"""When the frames of a video are shown: whole numbers of a time base, as in containers; exact, never floating
point.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from tersor.errors import SignalError

MAX_TERM = 1 << 31  # F: of a rate, an aspect or a time base
COMMON_RATES = (
    *(Fraction(n * 1000, 1001) for n in (24, 30, 48, 60, 120)),
    *map(Fraction, (24, 25, 30, 48, 50, 60, 120)),
)
NEAR = Fraction(1, 50)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Timing:
    """When the frames of a video are shown.

    Attributes:
        rate: frames a second; of a variable rate, the mean or what the file calls it.
        base: seconds of one unit of the timestamps.
        stamps: int64 [frames], rising; when each frame appears.
        end: when the last one goes, in the same units.
    """

    rate: Fraction
    base: Fraction
    stamps: NDArray[np.int64]
    end: int

    @classmethod
    def constant(cls, rate: Fraction, frames: int, base: Fraction | None = None, start: int = 0) -> Timing:
        """Frames at equal distances, rounded to the time base (one frame, if none is given)."""
        check_fraction(rate, "the frame rate")
        base = base or 1 / rate
        check_fraction(base, "the time base")
        return cls(
            rate=rate,
            base=base,
            stamps=constant_stamps(rate, base, start, 0, frames),
            end=rounded(rate, base, start, frames),
        )

    def __len__(self) -> int:
        return len(self.stamps)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Timing):
            return NotImplemented
        same = (self.rate, self.base, self.end) == (other.rate, other.base, other.end)
        return same and np.array_equal(self.stamps, other.stamps)

    __hash__ = None  # type: ignore[assignment]

    def check(self) -> None:
        """Raises: SignalError if the stamps do not rise."""
        check_fraction(self.rate, "the frame rate")
        check_fraction(self.base, "the time base")
        edges = np.append(self.stamps, self.end)
        if (edges[1:] <= edges[:-1]).any():
            at = int(np.argmax(edges[1:] <= edges[:-1]))
            raise SignalError(
                f"frame {at} is shown at {edges[at]} until {edges[at + 1]}; timestamps must rise"
            )

    @property
    def start_seconds(self) -> Fraction:
        return int(self.stamps[0]) * self.base if len(self.stamps) else Fraction(0)

    @property
    def seconds(self) -> float:
        """From the first frame to the end of the last."""
        return float((self.end - int(self.stamps[0])) * self.base) if len(self.stamps) else 0.0

    @property
    def is_constant(self) -> bool:
        """Whether rate, time base and the first stamp say all."""
        if not len(self.stamps):
            return True
        return bool(
            (
                self.stamps == constant_stamps(self.rate, self.base, int(self.stamps[0]), 0, len(self.stamps))
            ).all()
        )

    def part(self, first: int, last: int) -> Timing:
        """Of frames [first, last)."""
        end = int(self.stamps[last]) if last < len(self.stamps) else self.end
        return replace(self, stamps=self.stamps[first:last], end=end)

    def frames_between(self, start: float | None, stop: float | None) -> tuple[int, int]:
        """Frames [first, last) that are shown between two times, in seconds from the first frame's.

        Raises:
            SignalError: the times do not lie in the video.
        """
        begin, end = 0.0 if start is None else float(start), self.seconds if stop is None else float(stop)
        if not 0 <= begin <= end or begin > self.seconds:  # also true for NaN
            until = "the end" if stop is None else f"{stop:g} s"
            raise SignalError(
                f"from {begin:g} s to {until} does not fit; the video lasts {self.seconds:g} s: give a "
                "start from 0 to that, a stop after it"
            )
        seconds = (self.stamps - self.stamps[:1]).astype(np.float64) * float(self.base)
        slack = float(self.base) / 4
        first = max(0, int(np.searchsorted(seconds, begin + slack, side="right")) - 1)
        return first, max(first, int(np.searchsorted(seconds, end - slack, side="left")))


def rounded(rate: Fraction, base: Fraction, start: int, index: int) -> int:
    """When frame `index` of a constant rate is shown, in the time base, to the nearest unit."""
    step = 1 / (rate * base)
    return start + (2 * index * step.numerator + step.denominator) // (2 * step.denominator)


def constant_stamps(rate: Fraction, base: Fraction, start: int, first: int, last: int) -> NDArray[np.int64]:
    """As `rounded`, of frames [first, last)."""
    step = 1 / (rate * base)
    if 2 * last * step.numerator + step.denominator < 1 << 62:
        index = np.arange(first, last, dtype=np.int64)
        return start + (2 * index * step.numerator + step.denominator) // (2 * step.denominator)
    return np.array([rounded(rate, base, start, i) for i in range(first, last)], np.int64)


def usable(x: Fraction | None) -> Fraction | None:
    """A positive fraction whose terms fit a file; None otherwise."""
    return Fraction(x) if x and x > 0 and max(x.numerator, x.denominator) <= MAX_TERM else None


def check_fraction(x: Fraction, what: str) -> None:
    """Raises: SignalError unless it is positive and its terms fit a file."""
    if not isinstance(x, Fraction) or usable(x) is None:
        raise SignalError(
            f"{what} is {x}; needed is a positive fractions.Fraction with terms up to {MAX_TERM}"
        )


def simplest_timing(stamps: list[int], end: int, base: Fraction, rates: list[Fraction]) -> Timing:
    """The simplest timing of timestamps: a constant rate, if one of the rates explains them.

    Args:
        stamps, end: in units of `base` seconds.
        rates: that the file announces; common ones and the mean are tried too.
    """
    mean = Fraction(len(stamps)) / ((end - stamps[0]) * base)
    unit = math.gcd(*stamps) if len(stamps) > 1 else 0
    if unit > 1 and usable(base * unit):
        base, stamps = base * unit, [s // unit for s in stamps]
        end = max(stamps[-1] + 1, -(-end // unit))
    held = np.array(stamps, np.int64)
    near = sorted((r for r in COMMON_RATES if abs(r / mean - 1) < NEAR), key=lambda r: abs(r - mean))
    for rate in dict.fromkeys([*(r for r in rates if r in COMMON_RATES), *near, *rates, mean]):
        if not usable(rate):
            continue
        known = Timing.constant(rate, len(held), base, stamps[0])
        if np.array_equal(known.stamps, held) and abs(known.end - end) * base * rate < 1:
            return known
    announced = next((r for r in rates if abs(r / mean - 1) < NEAR), None)
    rate = announced or usable(mean) or mean.limit_denominator(1000)
    return Timing(rate=rate, base=base, stamps=held, end=end)
