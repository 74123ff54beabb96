"""One fit on its way: latents and networks together, then the networks alone until they are integers."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tersor.codecs.image_overfit import schedule
from tersor.codecs.image_overfit.checkpoint import Keeper
from tersor.codecs.image_overfit.fit import Fit
from tersor.codecs.image_overfit.frozen import GROUPS, Quantised, tame
from tersor.codecs.image_overfit.grow import forget_coarsest
from tersor.codecs.image_overfit.optimise import Soap
from tersor.codecs.image_overfit.options import Plan
from tersor.codecs.image_overfit.quantise import STAGES, Freezer, balance, price
from tersor.codecs.image_overfit.schedule import Clock, Status
from tersor.codecs.parallel import Progress

NETWORK_BITS = 6000  # G: what networks take, for a target in bits before they are coded
WATCH_EVERY = 10  # G: iterations
SMOOTHING = 0.9  # G: of the figures that lambda and watchers see


@dataclass(slots=True)
class Teller:
    """Tells who watches how far a fit is, over all its stages, in iterations of the whole picture.

    Attributes:
        iterations: in all.
        before: done in earlier stages.
        keeper: of states to go on from.
        stopped: who watches has seen enough.
        quiet: tells nothing.
    """

    plan: Plan
    progress: Progress | None
    clock: Clock
    keeper: Keeper
    before: float = 0.0
    stopped: bool = False
    quiet: bool = False

    def begin(self, course: Course, seconds: float) -> None:
        """Say what the fit will take, at so many seconds an iteration of the whole picture."""
        if self.plan.watch is not None:
            left = self.plan.iterations - round(self.before + course.clock.done * course.cost)
            expected = left * seconds
            if self.plan.time_limit is not None:
                expected = min(expected, max(0.0, self.plan.time_limit - self.clock.seconds))
            status = Status(
                iteration=0,
                iterations=self.plan.iterations,
                bpp=math.nan,
                psnr_db=math.nan,
                lam=course.lam,
                seconds=self.clock.seconds,
                seconds_left=expected,
            )
            self.stopped |= bool(self.plan.watch(status))

    def tell(self, course: Course) -> None:
        """Progress after an iteration, and a state now and then."""
        if self.quiet:
            return
        self.keeper.offer(course)
        done = round(self.before + course.clock.done * course.cost)
        if self.progress:
            self.progress(done, self.plan.iterations)
        if self.plan.watch is None or course.clock.done % WATCH_EVERY:
            return
        self.clock.done = done
        bpp, mse = course.figures
        status = Status(
            iteration=done,
            iterations=self.plan.iterations,
            bpp=float(bpp),
            psnr_db=-10 * math.log10(max(float(mse), 1e-12)),
            lam=course.lam,
            seconds=self.clock.seconds,
            seconds_left=self.clock.seconds_left,
        )
        if self.plan.watch(status):
            self.stopped = True
            self.keeper.offer(course, now=True)


class Course:
    """One fit on its way.

    Args:
        fit: latents and networks.
        teller: who is told, and may end it.
        clock: of this fit.
        halvings: how often the picture was halved, 0 for the whole one.
        seed: of its random numbers.

    Attributes:
        freezer: of the networks, from the still phase on.
        still_from: how far the fit was when its latents came to rest.
    """

    def __init__(self, fit: Fit, teller: Teller, clock: Clock, halvings: int, seed: int) -> None:
        self.fit, self.teller, self.clock = fit, teller, clock
        self.halvings, self.seed = halvings, seed
        self.cost = 0.25**halvings
        self.lam = teller.plan.lam
        self.optimiser = Soap()
        self.figures: NDArray[np.float64] = np.full(2, np.nan)
        self.freezer: Freezer | None = None
        self.still_from = 0.0

    @property
    def loss(self) -> float:
        """Of the last iterations."""
        return float(self.figures[1] + self.lam * self.figures[0])

    def soft_phase(self, until: int) -> None:
        """Latents and networks together, up to an iteration."""
        clock, target = self.clock, self.teller.plan.target
        every = max(1, clock.iterations // schedule.STEERINGS)
        end, span = (1.0, schedule.SMALL_WAY) if self.halvings else (schedule.SOFT, 1.0)
        while clock.way < end and clock.done < until and not self.teller.stopped:
            way = clock.way
            rate = schedule.rates(way * span, clock.done)
            result, gradients = self.fit.step(self.lam, *schedule.softness(way * span))
            self.fit.move(self.lam, schedule.LATENT_RATE * rate, *schedule.LATENT_BETAS)
            if self.halvings:
                forget_coarsest(self.fit)
            if not self.halvings and way > schedule.PRICED_FROM:
                price(self.fit.parameters, gradients, schedule.PRICE * self.lam / self.fit.pixels)
            self.optimiser.step(self.fit.parameters, gradients, schedule.NETWORK_RATE * rate)
            clock.done += 1
            self._look(float(result.bits.sum()) / self.fit.pixels, result.mse)
            if (
                target.given
                and not self.halvings
                and clock.done % every == 0
                and schedule.STEER_FROM < way < schedule.STEER_UNTIL
            ):
                now = self.fit.evaluate()
                self.lam = target.steer(
                    self.lam, (float(now.bits.sum()) + NETWORK_BITS) / self.fit.pixels, now.mse
                )

    def begin_freezing(self) -> Freezer:
        """Latents come to rest."""
        self.fit.round()
        self.freezer = Freezer(self.fit, self.lam)
        return self.freezer

    def still_phase(self) -> Quantised:
        """Latents rounded; the networks become integers."""
        freezer = self.freezer
        if freezer is None:
            balance(self.fit)
            tame(self.fit.parameters)
            freezer, self.still_from = self.begin_freezing(), self.clock.way
        for i, stage in enumerate(STAGES):
            until = self.still_from + (1 - self.still_from) * (i + 1) / len(STAGES)
            while self.clock.way < until and not self.teller.stopped:
                result, gradients = self.fit.step(self.lam, 0, 0)
                price(self.fit.parameters, gradients, schedule.PRICE * self.lam / self.fit.pixels)
                free = {k: v for k, v in gradients.items() if k not in freezer.frozen}
                self.optimiser.step(self.fit.parameters, free, schedule.NETWORK_RATE * schedule.STILL_RATE)
                self.clock.done += 1
                self._look(float(result.bits.sum()) / self.fit.pixels, result.mse)
            self.fit.round()
            for group in stage:
                if group not in freezer.steps:
                    freezer.freeze_group(group)
        for group in GROUPS:
            freezer.refine(group)
        return freezer.quantised()

    def _look(self, bpp: float, mse: float) -> None:
        """Keep the running figures and tell who watches."""
        now = np.array([bpp, mse])
        old = now if np.isnan(self.figures[0]) else self.figures
        self.figures = SMOOTHING * old + (1 - SMOOTHING) * now
        self.teller.tell(self)
