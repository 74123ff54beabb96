"""A picture to the chunks of its file: fit, freeze, code, check.

samples --float, 0..1--> several starts, the best --> latents and networks --schedule--> rounded latents,
networks as integers --LatentCoder--> payload of each tile, decoded once before it is given away
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from tersor.codecs.alpha import encode_alpha
from tersor.codecs.hidden import filled
from tersor.codecs.image_overfit import schedule
from tersor.codecs.image_overfit.checkpoint import Keeper, fingerprint, restore
from tersor.codecs.image_overfit.course import Course, Teller
from tersor.codecs.image_overfit.fit import Fit
from tersor.codecs.image_overfit.frozen import Quantised
from tersor.codecs.image_overfit.grow import Learned, Size, sizes_of
from tersor.codecs.image_overfit.header import OverfitHeader
from tersor.codecs.image_overfit.latents import LatentCoder, Latents
from tersor.codecs.image_overfit.network import PRESETS, Floats, Shape, initial
from tersor.codecs.image_overfit.network_bytes import read_network, write_network
from tersor.codecs.image_overfit.options import Plan
from tersor.codecs.image_overfit.schedule import Clock
from tersor.codecs.parallel import Progress, side_by_side
from tersor.errors import BoundError
from tersor.signals import Image

STARTS = 3  # G: at most
STARTS_FROM = 1000  # G: of a picture too small to be halved, one more for so many iterations
START_ITERATIONS, START_PIXELS = 60, 1 << 22  # G: of a start; larger pictures have one, for memory
FIRST = 0  # G: the finest level, 1:1
START_SHARE = 0.1  # G: of the time limit, after which no other start is tried


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
    header = _header(image, plan)
    shape = header.shape
    fitted = fit_picture(target_of(image, shape.colours), plan, shape, progress, seen_of(image))
    chunks = [write_network(fitted.network, shape)]
    coder = LatentCoder(read_network(chunks[0], shape).fixed(shape), shape)
    chunks += side_by_side(coder.encode, fitted.tiles)
    _verify(header, coder, chunks, fitted)
    if header.alpha:
        for t in range(len(header.tiling)):
            top, left, bottom, right = header.tiling.box(t)
            chunks.append(encode_alpha(image.samples[top:bottom, left:right, -1]))
    return header, chunks


def _header(image: Image, plan: Plan) -> OverfitHeader:
    channels = image.samples.shape[2]
    around, features, hidden = PRESETS[plan.preset]
    colours = 3 if channels >= 3 else 1
    return OverfitHeader(
        width=image.width,
        height=image.height,
        tile=plan.tile,
        colour=colours == 3,
        alpha=channels in (2, 4),
        deep=image.bits_per_sample == 16,
        shape=Shape(around=around, features=features, hidden=hidden, colours=colours, first=FIRST),
    )


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


def seen_of(image: Image) -> NDArray[np.bool_] | None:
    """bool [H, W], where alpha is not 0; None if that is everywhere, or nowhere."""
    if image.samples.shape[2] in (1, 3):
        return None
    seen: NDArray[np.bool_] = image.samples[..., -1] > 0
    return seen if seen.any() and not seen.all() else None


def fit_picture(
    target: Floats,
    plan: Plan,
    shape: Shape,
    progress: Progress | None,
    seen: NDArray[np.bool_] | None = None,
) -> Fitted:
    """Fit, freeze and refine.

    Args:
        target: float32 [C, H, W], 0..1.
        plan: with a target, lambda follows it.
        shape: of the networks.
        progress: called with (iterations done, iterations).
        seen: bool [H, W], pixels whose error counts for a target; None: all.
    """
    keeper = Keeper(plan.resume, fingerprint(target, plan, shape) if plan.resume else "")
    teller = Teller(plan, progress, Clock(plan.iterations, plan.time_limit), keeper)
    course = _small_fits(target, plan, shape, teller)
    course.fit.seen = seen
    course.soft_phase(course.clock.iterations)
    network = course.still_phase()
    g, q = course.fit.grids, course.fit.q
    levels = [np.ascontiguousarray(g.view(q, i).astype(np.int8)) for i in range(len(g))]
    tiles = [levels[i : i + g.count] for i in range(0, len(levels), g.count)]
    return Fitted(network, tiles, course.lam, round(teller.before) + course.clock.done)


def seconds_of_an_iteration(image: Image, plan: Plan) -> float:
    """What an iteration takes of a picture, here and now."""
    header = _header(image, plan)
    target = target_of(image, header.shape.colours)
    teller = Teller(plan, None, Clock(plan.iterations, None), Keeper(None, ""))
    return _timed(_start(Size(target, plan.tile, 0), plan, header.shape, teller, 0))


def _timed(course: Course) -> float:
    """Seconds of an iteration of the whole picture, the shorter of two after a first one; changes nothing."""
    fit = course.fit
    state, seconds = fit.rng.bit_generator.state, []
    for _ in range(3):
        began = time.perf_counter()
        fit.step(course.lam, *schedule.softness(0))
        seconds.append(time.perf_counter() - began)
    fit.rng.bit_generator.state = state
    return min(seconds[1:]) / course.cost


def _small_fits(target: Floats, plan: Plan, shape: Shape, teller: Teller) -> Course:
    """The course of the whole picture, begun with what fits of smaller ones have learned; or the one that a
    state goes on from.
    """
    sizes = sizes_of(target, plan.tile, schedule.SMALLER)
    state = teller.keeper.load()
    course: Course | None = None
    if state is not None:
        teller.before = state[0]["before"]
    for size in sizes:
        if state is not None and size.halvings > state[0]["halvings"]:
            continue
        first = course is None
        if state is not None and size.halvings == state[0]["halvings"]:
            course = _start(size, plan, shape, teller, state[0]["seed"])
            restore(course, *state)
        elif course is None:
            course = _best_start(partial(_start, size, plan, shape, teller), plan, teller)
        else:
            learned, course = Learned.of(course.fit), None
            course = _start(size, plan, shape, teller, 0)
            learned.hand_over(course.fit)
        if first and plan.watch is not None:
            teller.begin(course, _timed(course))
        if size.halvings:
            course.soft_phase(course.clock.iterations)
            teller.before += course.clock.done * course.cost
    assert course is not None
    return course


def _start(size: Size, plan: Plan, shape: Shape, teller: Teller, seed: int) -> Course:
    """A fit of the picture, halved or not, that knows nothing yet."""
    own = replace(shape, first=0) if size.halvings else shape
    rng = np.random.default_rng(seed)
    fit = Fit(size.picture, size.tile, own, initial(own, rng, size.picture.mean((1, 2))), rng)
    iterations, limit = plan.iterations - round(teller.before), plan.time_limit
    if size.halvings:
        iterations = round(schedule.SMALL_SHARE * plan.iterations)
        limit = None if limit is None else schedule.SMALL_TIME * limit
    return Course(fit, teller, Clock(max(1, iterations), limit, teller.clock.begin), size.halvings, seed)


def _best_start(start: Callable[[int], Course], plan: Plan, teller: Teller) -> Course:
    """The most promising of some starts: one in ten or twenty goes astray in its first iterations and never
    recovers.
    """
    best = start(0)
    large = best.fit.pixels > START_PIXELS
    starts = STARTS if best.halvings else min(STARTS, 1 + plan.iterations // STARTS_FROM)
    if large:
        starts = 1
    if starts == 1:
        return best
    teller.quiet, until = True, min(START_ITERATIONS, best.clock.iterations // 3)
    best.soft_phase(until)
    for seed in range(1, starts):
        if teller.clock.way > START_SHARE or teller.stopped:
            break
        other = start(seed)
        other.soft_phase(until)
        best = min(best, other, key=lambda c: c.loss)
    teller.quiet = False
    return best
