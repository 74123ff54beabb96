"""The course of a fit: how far it is, what it anneals, and how lambda follows a target.

    0 .. SOFT of the way     latents and networks, soft rounding and noise that shrink, cosine learning rates
    SOFT .. 1                latents rounded and still; networks learn on, frozen group by group

Where a fit is on its way is told by iterations or by the clock, whichever is farther, so a time limit ends it
in good order.

Source: Cool-Chic 5 and C3 (Kim et al. 2023) for soft rounding with noise; that latents must not move by
straight-through gradients at the end was measured (docs/codecs/image-overfit.md).
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

# M: those by tools/study_overfit.py trial.
SOFT = 0.92  # G: where the latents stop
LATENT_RATE, NETWORK_RATE = 1e-2, 7e-3  # M: at the start of the cosine; 5e-3 ended 0 to 7 % higher
END_RATE = 0.02  # G: of the cosine, as a part of the start
STILL_RATE = 0.07  # G: of the networks while the latents are still, as a part of the start
SMALLER = 2  # G: times that a picture is halved at most
SMALL_SHARE = 0.3  # G: iterations of a smaller picture, as a part of all; each costs a quarter of the next's
SMALL_WAY = 0.5  # G: of the cosine, softness and noise, where the fit of a smaller picture ends
SMALL_TIME = 0.1  # G: of the time limit, at which the whole picture begins
PRICE, PRICED_FROM = 1.0, 0.5  # M, G: how much of their bits networks pay for as they learn, and from when
WARM_UP = 50  # M: iterations of rising rates; with 20 one start in eight ended far worse
LATENT_BETAS = (0.9, 0.95)  # M: of Adam; 0.95 ended 7 % lower than 0.99 after 300 iterations, 4 % than 0.999
TEMPERATURES, DEVIATIONS = (0.35, 0.06), (0.22, 0.1)  # M: of soft rounding and noise, from start to end
STEERINGS = 24  # G: times that lambda is adapted
STEER_FROM, STEER_UNTIL = 0.2, 0.88  # G: of the way
STEER_POWER, STEER_LIMIT = 1.5, 1.5  # G: lambda moves by this power of the miss, at most this much at once
LAMBDA_MIN, LAMBDA_MAX = 1e-5, 0.1  # G


@dataclass(slots=True, kw_only=True)
class Target:
    """What lambda is steered by; neither: it stays.

    Attributes:
        bpp: bits per pixel of the whole file.
        mse: mean squared error, samples in 0..1.
    """

    bpp: float | None = None
    mse: float | None = None

    @property
    def given(self) -> bool:
        return self.bpp is not None or self.mse is not None

    def steer(self, lam: float, bpp: float, mse: float) -> float:
        """A better lambda, from what rounded latents give now."""
        miss = bpp / self.bpp if self.bpp is not None else (self.mse or mse) / mse
        factor = min(max(miss**STEER_POWER, 1 / STEER_LIMIT), STEER_LIMIT)
        return min(max(lam * factor, LAMBDA_MIN), LAMBDA_MAX)


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """Where a fit is; given to whoever watches.

    Attributes:
        iteration, iterations: done, and in all.
        bpp: of the latents, as now estimated, without the networks.
        psnr_db: over all colour samples, before rounding.
        lam: lambda.
        seconds, seconds_left: gone, and to go as far as can be told.
    """

    iteration: int
    iterations: int
    bpp: float
    psnr_db: float
    lam: float
    seconds: float
    seconds_left: float


class Clock:
    """How far a fit is.

    Args:
        iterations: of the whole.
        limit: seconds, or None.
        begin: when the work began, on the monotonic clock; now if None.
    """

    def __init__(self, iterations: int, limit: float | None, begin: float | None = None) -> None:
        self.iterations, self.limit = iterations, limit
        self.begin = time.monotonic() if begin is None else begin
        self.done = 0

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.begin

    @property
    def way(self) -> float:
        """0 at the start, 1 at the end."""
        share = self.done / self.iterations
        return min(1.0, share if self.limit is None else max(share, self.seconds / self.limit))

    @property
    def seconds_left(self) -> float:
        way = self.way
        return self.seconds * (1 - way) / way if way else math.inf


def rates(way: float, done: int) -> float:
    """Learning rates as a part of the start's, while latents move."""
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, way / SOFT)))
    return (cosine * (1 - END_RATE) + END_RATE) * min(1.0, (done + 1) / WARM_UP)


def softness(way: float) -> tuple[float, float]:
    """(temperature of soft rounding, deviation of the noise)."""
    u = min(1.0, way / SOFT)
    return tuple(a + (b - a) * u for a, b in (TEMPERATURES, DEVIATIONS))  # type: ignore[return-value]
