"""A picture to the chunks of its file: fit, freeze, code, check.

samples --float, 0..1--> several starts, the best --> latents and networks --schedule--> rounded latents,
networks as integers --LatentCoder--> payload of each tile, decoded once before it is given away
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log10

import numpy as np
from numpy.typing import NDArray

from tersor.codecs.alpha import encode_alpha
from tersor.codecs.hidden import filled
from tersor.codecs.image_overfit import schedule
from tersor.codecs.image_overfit.fit import Fit
from tersor.codecs.image_overfit.frozen import GROUPS, Quantised
from tersor.codecs.image_overfit.header import OverfitHeader
from tersor.codecs.image_overfit.latents import LatentCoder, Latents
from tersor.codecs.image_overfit.network import PRESETS, Floats, Shape, initial
from tersor.codecs.image_overfit.network_bytes import read_network, write_network
from tersor.codecs.image_overfit.optimise import Soap
from tersor.codecs.image_overfit.options import Plan
from tersor.codecs.image_overfit.quantise import STAGES, Freezer
from tersor.codecs.image_overfit.schedule import Clock, Status
from tersor.codecs.parallel import Progress, side_by_side
from tersor.errors import BoundError
from tersor.signals import Image

STARTS, STARTS_FROM = 3, 1000  # G: starts at most; one more for so many iterations
START_ITERATIONS, START_PIXELS = 60, 1 << 22  # G: of a start; larger pictures have one, for memory
START_SHARE = 0.1  # G: of the time limit, after which no other start is tried
NETWORK_BITS = 6000  # G: what networks take, for a target in bits before they are coded
WATCH_EVERY = 10  # G: iterations
SMOOTHING = 0.9  # G: of the figures that lambda and watchers see


@dataclass(frozen=True, slots=True)
class Fitted:
    """What a fit ends with.

    Attributes:
        network: as integers.
        tiles: levels of each tile, int8 [h, w], fine to coarse.
        lam: lambda at the end.
        iterations: done.
    """

    network: Quantised
    tiles: list[list[Latents]]
    lam: float
    iterations: int


def encode_image(image: Image, plan: Plan, progress: Progress | None) -> tuple[OverfitHeader, list[bytes]]:
    """Header and chunks of a picture."""
    channels = image.samples.shape[2]
    around, features, hidden = PRESETS[plan.preset]
    colours = 3 if channels >= 3 else 1
    shape = Shape(around=around, features=features, hidden=hidden, colours=colours, first=0)
    header = OverfitHeader(
        width=image.width,
        height=image.height,
        tile=plan.tile,
        colour=colours == 3,
        alpha=channels in (2, 4),
        deep=image.bits_per_sample == 16,
        shape=shape,
    )
    fitted = fit_picture(target_of(image, colours), plan, shape, progress)
    chunks = [write_network(fitted.network, shape)]
    coder = LatentCoder(read_network(chunks[0], shape).fixed(shape), shape)
    chunks += side_by_side(coder.encode, fitted.tiles)
    _verify(header, coder, chunks, fitted)
    if header.alpha:
        for t in range(len(header.tiling)):
            top, left, bottom, right = header.tiling.box(t)
            chunks.append(encode_alpha(image.samples[top:bottom, left:right, -1]))
    return header, chunks


def _verify(header: OverfitHeader, coder: LatentCoder, chunks: list[bytes], fitted: Fitted) -> None:
    """Decode what was coded.

    Raises:
        BoundError: other latents come back.
    """

    def same(tile: int) -> bool:
        top, left, bottom, right = header.tiling.box(tile)
        back = coder.decode(chunks[1 + tile], (bottom - top, right - left), f"tile {tile}")
        return all(np.array_equal(a, b) for a, b in zip(back, fitted.tiles[tile], strict=True))

    if not all(side_by_side(same, range(len(header.tiling)))):
        raise BoundError(
            "the latents of a tile did not come back; a fault of tersor, and nothing was written"
        )


def target_of(image: Image, colours: int) -> Floats:
    """float32 [C, H, W], 0..1, of the colours; where alpha is 0 they are free."""
    peak = np.float32(np.iinfo(image.samples.dtype).max)
    colour = image.samples[..., :colours].astype(np.float32)
    if image.samples.shape[2] > colours:
        colour = filled(colour, image.samples[..., -1] > 0)
    return np.ascontiguousarray(colour.transpose(2, 0, 1) / peak)


def fit_picture(target: Floats, plan: Plan, shape: Shape, progress: Progress | None) -> Fitted:
    """Fit, freeze and refine; target float32 [C, H, W], 0..1."""
    course = _best_start(target, plan, shape, progress)
    course.soft_phase(plan.iterations)
    network = course.still_phase()
    g, q = course.fit.grids, course.fit.q
    levels = [np.ascontiguousarray(g.view(q, i).astype(np.int8)) for i in range(len(g))]
    tiles = [levels[i : i + g.count] for i in range(0, len(levels), g.count)]
    return Fitted(network, tiles, course.lam, course.clock.done)


def _best_start(target: Floats, plan: Plan, shape: Shape, progress: Progress | None) -> _Course:
    """The most promising of some starts: one in ten or twenty goes astray in its first iterations and never
    recovers.
    """
    pixels = target.shape[1] * target.shape[2]
    starts = 1 if pixels > START_PIXELS else min(STARTS, 1 + plan.iterations // STARTS_FROM)
    clock, best = Clock(plan.iterations, plan.time_limit), None
    for seed in range(starts):
        rng = np.random.default_rng(seed)
        fit = Fit(target, plan.tile, shape, initial(shape, rng, target.mean((1, 2))), rng)
        course = _Course(fit, plan, progress, Clock(plan.iterations, plan.time_limit, clock.begin))
        if starts > 1:
            course.quiet = True
            course.soft_phase(START_ITERATIONS)
        if best is None or course.loss < best.loss:
            best = course
        if clock.way > START_SHARE:
            break
    assert best is not None
    best.quiet = False
    return best


class _Course:
    """One fit on its way."""

    def __init__(self, fit: Fit, plan: Plan, progress: Progress | None, clock: Clock) -> None:
        self.fit, self.plan, self.progress = fit, plan, progress
        self.lam = plan.lam
        self.clock = clock
        self.optimiser = Soap()
        self.stopped, self.quiet = False, False
        self._figures: NDArray[np.float64] | None = None

    @property
    def loss(self) -> float:
        """Of the last iterations."""
        return np.inf if self._figures is None else float(self._figures[1] + self.lam * self._figures[0])

    def soft_phase(self, until: int) -> None:
        """Latents and networks together, up to an iteration."""
        clock = self.clock
        every = max(1, clock.iterations // schedule.STEERINGS)
        while clock.way < schedule.SOFT and clock.done < until and not self.stopped:
            way = clock.way
            rate = schedule.rates(way, clock.done)
            result, gradients = self.fit.step(self.lam, *schedule.softness(way))
            self.fit.move(self.lam, schedule.LATENT_RATE * rate, *schedule.LATENT_BETAS)
            self.optimiser.step(self.fit.parameters, gradients, schedule.NETWORK_RATE * rate)
            clock.done += 1
            self._look(float(result.bits.sum()) / self.fit.pixels, result.mse)
            if (
                self.plan.target.given
                and clock.done % every == 0
                and schedule.STEER_FROM < way < schedule.STEER_UNTIL
            ):
                now = self.fit.evaluate()
                self.lam = self.plan.target.steer(
                    self.lam, (float(now.bits.sum()) + NETWORK_BITS) / self.fit.pixels, now.mse
                )

    def still_phase(self) -> Quantised:
        """Latents rounded; the networks become integers."""
        self.fit.round()
        freezer = Freezer(self.fit, self.lam)
        begin = self.clock.way
        for i, stage in enumerate(STAGES):
            until = begin + (1 - begin) * (i + 1) / len(STAGES)
            while self.clock.way < until and not self.stopped:
                result, gradients = self.fit.step(self.lam, 0, 0)
                free = {k: v for k, v in gradients.items() if k not in freezer.frozen}
                self.optimiser.step(self.fit.parameters, free, schedule.NETWORK_RATE * schedule.STILL_RATE)
                self.clock.done += 1
                self._look(float(result.bits.sum()) / self.fit.pixels, result.mse)
            for group in stage:
                freezer.freeze_group(group)
        for group in GROUPS:
            freezer.refine(group)
        return freezer.quantised()

    def _look(self, bpp: float, mse: float) -> None:
        """Keep the running figures and tell who watches."""
        now = np.array([bpp, mse])
        old = now if self._figures is None else self._figures
        self._figures = SMOOTHING * old + (1 - SMOOTHING) * now
        clock = self.clock
        if self.quiet:
            return
        if self.progress:
            self.progress(clock.done, clock.iterations)
        if self.plan.watch is None or clock.done % WATCH_EVERY:
            return
        bpp, mse = self._figures
        status = Status(
            iteration=clock.done,
            iterations=clock.iterations,
            bpp=float(bpp),
            psnr_db=-10 * log10(max(float(mse), 1e-12)),
            lam=self.lam,
            seconds=clock.seconds,
            seconds_left=clock.seconds_left,
        )
        self.stopped |= bool(self.plan.watch(status))
