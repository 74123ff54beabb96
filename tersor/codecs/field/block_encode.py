"""Encoder side of a predicted block: quantise, fit, quantise again, code.

target --default stencils--> values --fit--> stencils --> values, symbols, features --fit--> contexts -->
payload
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tersor.arrays import Numbers
from tersor.codecs.field import grid
from tersor.codecs.field.cells import reconstruct, to_ordered, within
from tersor.codecs.field.effort import USUAL, Effort
from tersor.codecs.field.fit import Coded, Key, fit_contexts, fit_stencils, levels_of
from tersor.codecs.field.grid import Ints, Plan
from tersor.codecs.field.grid_loops import FRACTION_BITS, N_FEATURES, code_rows, sort_by_level
from tersor.codecs.field.lattice import Lattice
from tersor.codecs.field.nested import other_orders, usual_order
from tersor.codecs.field.nested_block import NestedTrial
from tersor.codecs.field.sections import (
    CONSTANT,
    EXACT,
    FRAMES,
    MAX_LOW_BITS,
    ORDERED,
    OUTLIERS,
    PREDICTED,
    SHIFTED,
    SNAP,
    SPECIALS,
    exact_section,
    pack_low,
    pack_models,
    pack_outliers,
    pack_side,
    pack_special,
    put_ints,
)
from tersor.codecs.parallel import in_parts, side_by_side
from tersor.entropy.magnitude_tables import LEVELS, magnitude_tables
from tersor.entropy.rans import SymbolEncoder
from tersor.timing import stage

MAX_TARGET = 1 << 38  # F: integers of the grid stay below
MAX_NESTED = 1 << 35  # F: values of nested grids stay below
OLDER_FROM, SMALL = 4, 1 << 16  # G: effort, and cells up to which the prediction of 0.1 is tried: it is
# better where there is little to learn from
MOST_WAYS = 4  # G: that a whole block is coded in
EXACT_SAMPLE = 1 << 15  # G: cells on which it is seen whether LZMA is shorter
WORTH = 0.4  # G: of the raw size; what takes more is tried without loss too
LEAST_FRAME = 1024  # G: cells of a frame from which frames are predicted from those before
TRIAL_CELLS = 1 << 15  # G: of the corner on which ways of prediction are tried
CLOSE = 0.02  # G: bits a cell; a way that is no worse in the trial is tried on the whole block
MARGIN = 1 - 1e-9  # G: room for the rounding of floats

EXACT_SHARE = 0.25  # G: a block with more cells off their bound is coded exactly
SHIFT_ABOVE = 64.0  # G: mean magnitude of symbols from which low bits are set aside


Way = tuple[bool, int, tuple[int, ...]]  # whether frames, the slope of ghosts, the order of axes


class Trial:
    """A block predicted one way: fitted and quantised, not yet coded.

    Args:
        shape: of the block.
        target: float64 [cells], what the values should be, in units.
        valid: cells that count.
        frames: axis 0 is a sequence.
        snap: values lie on a lattice.

    Attributes:
        cost: proportional to bits, for comparison with other ways.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        target: NDArray[np.float64],
        valid: NDArray[np.bool_],
        frames: bool,
        snap: bool,
    ) -> None:
        self.valid, self.frames, self.snap = valid, frames, snap
        with stage("plan"):
            self.plan = grid.plan(shape, frames)
        with stage("prediction"):
            first = _quantise(self.plan, target, valid, {}, 0, snap, features=False)
        with stage("fitting"):
            self.stencils = fit_stencils(self.plan.passes, first, target, valid)
        with stage("prediction"):
            self.shift = 0
            self.coded = _quantise(self.plan, target, valid, self.stencils, 0, snap)
            sizes = np.abs(self.coded.symbols)
            self.cost = float(np.log2(sizes + np.float32(0.3)).sum(dtype=np.float64))
            mean = float(sizes.sum(dtype=np.float64)) / max(1, int(valid.sum()))
            if mean > SHIFT_ABOVE:
                self.shift = min(MAX_LOW_BITS, int(np.ceil(np.log2(mean / SHIFT_ABOVE))) + 2)
                self.coded = _quantise(self.plan, target, valid, self.stencils, self.shift, snap)

    def payload(self, flat: Numbers, bound: float, offset: float, unit: float) -> bytes | None:
        """None if too many cells miss the bound."""
        valid, shift, coded, passes = self.valid, self.shift, self.coded, self.plan.passes
        rebuilt = reconstruct(coded.values, offset, unit, self.snap, flat.dtype)
        wrong = valid & ~within(flat, rebuilt, bound)
        if wrong.mean() > EXACT_SHARE:
            return None
        tables = magnitude_tables()
        with stage("fitting"):
            common, contexts = fit_contexts(passes, coded, valid, tables)
        with stage("coder"):
            encoder = SymbolEncoder(estimate=False)
            counts = np.empty(LEVELS + 1, np.int64)
            for p, (start, stop) in zip(passes, coded.spans, strict=True):
                context = contexts[p.key]
                weights = common if context.weights is None else context.weights
                levels = levels_of(
                    coded.features[start:stop], weights, context.shift, coded.points[start:stop], valid
                )
                order = np.empty(p.size, np.int64)
                sort_by_level(levels, counts, order)
                encoder.push_sorted(coded.symbols[start:stop][order], counts, tables.shapes[context.shape])
            symbols = encoder.finish()
        flags = (
            FRAMES * self.frames
            | SNAP * self.snap
            | SPECIALS * (not valid.all())
            | OUTLIERS * bool(wrong.any())
            | SHIFTED * bool(shift)
        )
        side = struct.pack("<dd", offset, unit) + (bytes([shift]) if shift else b"")
        side += put_ints(coded.base) + pack_models(self.plan, self.stencils, common, contexts)
        if flags & SPECIALS:
            side += pack_special(flat, valid)
        if flags & OUTLIERS:
            side += pack_outliers(flat, wrong)
        return pack_side(PREDICTED, flags, side) + pack_low(coded.low, shift) + symbols


def _quantise(
    plan: Plan,
    target: NDArray[np.float64],
    valid: NDArray[np.bool_],
    stencils: dict[Key, Ints],
    shift: int,
    snap: bool,
    features: bool = True,
) -> Coded:
    """The closed loop; features are left out if they are not wanted."""
    values, q = np.zeros(target.size, np.int64), np.zeros(target.size, np.int32)
    one = 1 << FRACTION_BITS
    at = plan.base[valid[plan.base]]
    base = np.zeros(len(plan.base), np.int64)
    base[valid[plan.base]] = np.floor(target[at] / one + 0.5).astype(np.int64)
    values[plan.base] = base * one
    n = plan.count
    points, symbols, low = np.empty(n, np.int64), np.empty(n, np.int32), np.empty(n if shift else 0, np.int64)
    described = np.empty((n if features else 0, N_FEATURES), np.uint16)
    spans, stop = [], 0
    for p in plan.passes:
        start, stop = stop, stop + p.size
        spans.append((start, stop))
        stencil = grid.stencil_of(p, stencils)
        out = points[start:stop], symbols[start:stop], low[start:stop], described[start:stop]

        def rows(
            first: int, last: int, p: grid.Pass = p, stencil: Ints = stencil, out: tuple[Any, ...] = out
        ) -> None:
            code_rows(values, q, p, stencil, shift, snap, (first, last), target, valid, out)

        in_parts(rows, p.rows, p.size)
    return Coded(
        values=values,
        base=base,
        points=points,
        symbols=symbols,
        low=low,
        features=described,
        spans=tuple(spans),
    )


def encode_block(
    cells: Numbers,
    bound: float,
    special: NDArray[np.bool_] | None,
    lattice: Lattice | None,
    effort: int = USUAL,
    way: Way | None = None,
) -> bytes:
    """The smallest of the payloads that fit.

    Args:
        cells: any float or integer dtype, 1 to 4 axes, native byte order, C order.
        bound: largest absolute error, in the units of the cells; 0 for none.
        special: cells that are stored as they are (NaN, infinities, fill values), the shape of cells.
        lattice: that the other cells lie on, or are to be rounded to.
        effort: 1 to 9.
        way: to predict, the only one that is tried.
    """
    flat = cells.reshape(-1)
    valid = np.ones(flat.size, np.bool_) if special is None else ~special.reshape(-1)
    if not valid.any():
        return _exact(flat)
    known = flat[valid]
    if (known == known[0]).all() and known.tobytes() == np.full_like(known, known[0]).tobytes():
        return pack_side(
            CONSTANT, 0 if valid.all() else SPECIALS, known[:1].tobytes() + pack_special(flat, valid)
        )
    if not bound and not lattice and cells.dtype.kind == "f" and cells.dtype.itemsize <= 4:
        integers = to_ordered(flat).reshape(cells.shape)
        low = float(integers[valid.reshape(cells.shape)].min())
        inner = pack_side(ORDERED, 0, b"")
        inner += encode_block(integers, 0.0, special, Lattice(offset=low, step=1.0), effort, way)
        return _or_exact(inner, flat)
    scaled = in_units(flat, valid, bound, lattice)
    if scaled is None:
        return _exact(flat)
    offset, unit, target = scaled
    largest = float(np.abs(target).max())
    asked, payloads = Effort.of(effort), []
    if largest < MAX_NESTED:
        nested = _nested(cells.shape, target, valid, lattice is not None, asked, way)
        payload, beside = nested.payload(flat, ~valid, bound, offset, unit)
        if beside <= EXACT_SHARE:
            payloads.append(payload)
    if lattice:
        target *= 1 << FRACTION_BITS
    if largest * (64 if lattice else 1) < MAX_TARGET and (
        not payloads or (way is None and (asked.grids or (effort >= OLDER_FROM and flat.size <= SMALL)))
    ):
        trial = _cheapest(cells.shape, target, valid, lattice is not None)
        if older := trial.payload(flat, bound, offset, unit):
            payloads.append(older)
    return _or_exact(min(payloads, key=len), flat) if payloads else _exact(flat)


def in_units(
    flat: Numbers, valid: NDArray[np.bool_], bound: float, lattice: Lattice | None
) -> tuple[float, float, NDArray[np.float64]] | None:
    """Offset, unit, and what the values should be: steps of the lattice, or 1/64 of a bin. None if they have
    no such scale.
    """
    known = flat[valid]
    offset, step = (
        (lattice.offset, lattice.step)
        if lattice
        else (float(known.astype(np.float64).min()), 2 * bound * MARGIN)
    )
    if not (np.isfinite(offset) and step > 0 and np.isfinite(step)):
        return None
    unit = step / (1 << FRACTION_BITS)
    with np.errstate(over="ignore", invalid="ignore"):
        target = (flat.astype(np.float64) - offset) / (step if lattice else unit)
    target[~valid] = 0
    if not np.isfinite(target).all():
        return None
    if lattice:
        np.rint(target, out=target)
    return offset, unit, target


def _or_exact(payload: bytes, flat: NDArray[Any]) -> bytes:
    """The payload, or the cells as they are where that is shorter, going by some of them."""
    if len(payload) <= WORTH * flat.nbytes:
        return payload
    start = max(0, (flat.size - EXACT_SAMPLE) // 2)
    some = flat[start : start + EXACT_SAMPLE]
    if len(exact_section(some)) * flat.size > 1.1 * len(payload) * some.size:
        return payload
    return min(payload, _exact(flat), key=len)


def ways_of(shape: tuple[int, ...], effort: Effort) -> list[Way]:
    """Ways that are tried, with axes in their usual order."""
    ways: list[Way] = [(False, slope, usual_order(shape, False)) for slope in effort.slopes]
    if _has_frames(shape):
        ways.append((True, 0, usual_order(shape, True)))
    return ways


def _nested(
    shape: tuple[int, ...],
    target: NDArray[np.float64],
    valid: NDArray[np.bool_],
    snap: bool,
    effort: Effort,
    way: Way | None,
) -> NestedTrial:
    """The cheapest way over nested grids. A large block is tried in its middle first, and again as a whole
    where two come close.
    """
    tables = magnitude_tables()
    middle = _middle(shape, effort.trial_cells)
    some, known = target, valid
    if middle is not None:
        some, known = (np.ascontiguousarray(a.reshape(shape)[middle]).ravel() for a in (target, valid))
    part = shape if middle is None else tuple(len(range(n)[m]) for n, m in zip(shape, middle, strict=True))

    def trials(
        ways: list[Way], shape: tuple[int, ...], target: NDArray[np.float64], valid: NDArray[np.bool_]
    ) -> list[NestedTrial]:
        known = valid if not valid.all() else np.empty(0, np.bool_)

        def one(way: Way) -> NestedTrial:
            frames, slope, order = way
            return NestedTrial(shape, target, known, frames, snap, order, slope, effort, tables)

        return side_by_side(one, ways)

    if way is not None:
        return trials([way], shape, target, valid)[0]
    ways = ways_of(shape, effort)
    if len(ways) == 1 and not effort.orders:
        return trials(ways, shape, target, valid)[0]
    tried = dict(zip(ways, trials(ways, part, some, known), strict=True))
    if effort.orders:
        frames, slope, order = min(tried, key=lambda w: tried[w].bits)
        others = {order, *other_orders(len(shape), frames)} - {order}
        ways = [(frames, slope, o) for o in sorted(others)]
        tried |= zip(ways, trials(ways, part, some, known), strict=True)
    best = min(t.bits for t in tried.values())
    if middle is None:
        return next(t for t in tried.values() if t.bits == best)
    most = best + effort.close * int(known.sum())
    ways = [w for w, t in tried.items() if t.bits <= most][: MOST_WAYS if effort.close else 1]
    return min(trials(ways, shape, target, valid), key=lambda t: t.bits)


def _has_frames(shape: tuple[int, ...]) -> bool:
    """Whether axis 0 is worth trying as a sequence."""
    return len(shape) > 2 and shape[0] > 2 and int(np.prod(shape[1:])) >= LEAST_FRAME


def _cheapest(
    shape: tuple[int, ...], target: NDArray[np.float64], valid: NDArray[np.bool_], snap: bool
) -> Trial:
    """The block predicted in space, or frame by frame. A large block is tried in its middle first, and again
    as a whole where the two come close.
    """
    ways: tuple[bool, ...] = (False, True) if _has_frames(shape) else (False,)
    middle = _middle(shape, TRIAL_CELLS)
    if len(ways) > 1 and middle is not None:
        crop, known = target.reshape(shape)[middle], valid.reshape(shape)[middle]
        costs = [t.cost for t in _trials(ways, crop.shape, crop.ravel(), known.ravel(), snap)]
        ways = tuple(w for w, c in zip(ways, costs, strict=True) if c <= min(costs) + CLOSE * known.sum())
    return min(_trials(ways, shape, target, valid, snap), key=lambda t: t.cost)


def _trials(
    ways: tuple[bool, ...],
    shape: tuple[int, ...],
    target: NDArray[np.float64],
    valid: NDArray[np.bool_],
    snap: bool,
) -> list[Trial]:
    return side_by_side(lambda frames: Trial(shape, target, valid, frames, snap), ways)


def _middle(shape: tuple[int, ...], cells: int) -> tuple[slice, ...] | None:
    """A part of the block large enough to judge by; None if the block is hardly larger."""
    sides = list(shape)
    while int(np.prod(sides)) > cells:
        longest = max(range(len(sides)), key=lambda j: sides[j])
        sides[longest] = -(-sides[longest] // 2)
    if 3 * int(np.prod(sides)) > int(np.prod(shape)):
        return None
    return tuple(slice((n - s) // 2, (n - s) // 2 + s) for n, s in zip(shape, sides, strict=True))


def _exact(flat: Numbers) -> bytes:
    return pack_side(EXACT, 0, b"") + exact_section(flat)
