"""One block of a field: cells to a payload and back.

    payload = zlib(side) length | zlib(side) | low bits | symbols (entropy/coder.py)
    side    = mode, offset, unit, base values, stencils, contexts, special cells, exact cells

Modes: constant, predicted (codecs/dyadic.py, with or without frames, snapped to a lattice or not), ordered (the bits of floats as integers, without loss), exact
(bytes, for what nothing else fits).
The reconstruction is `offset + unit * integer` in float64, one product and one sum, so every machine gives the same number; the encoder decodes what it wrote, and
cells that miss the bound are stored as they are.
"""

from __future__ import annotations

import struct
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tersor.codecs import dyadic
from tersor.codecs.dyadic import Ints, Plan
from tersor.codecs.dyadic_loops import FRACTION_BITS, VALUE_MAX, place, sort_by_level, walk_rows
from tersor.codecs.field_cells import from_ordered, reconstruct, to_ordered
from tersor.codecs.field_lattice import Lattice
from tersor.codecs.field_models import unpack_models
from tersor.codecs.field_sections import LowBits, exact_cells, exact_section, inflate, low_bytes, pack_side, pack_special, take_ints, unpack_outliers, unpack_special
from tersor.codecs.field_trial import FRAMES, MAX_LOW_BITS, OUTLIERS, PREDICTED, SHIFTED, SNAP, SPECIALS, Trial
from tersor.codecs.helpers import in_parts
from tersor.codecs.stencils import Context, Key
from tersor.container import ByteReader
from tersor.entropy.coder import SymbolDecoder
from tersor.entropy.magnitude import LEVELS, magnitude_tables, thresholds
from tersor.errors import BitstreamError, LimitExceededError
from tersor.timing import stage

CONSTANT, EXACT, ORDERED = 0, 2, 3
MAX_TARGET = 1 << 38
WORTH = 0.4
LEAST_FRAME = 1024
TRIAL_CELLS = 1 << 15
CLOSE = 0.02
MARGIN = 1 - 1e-9


def encode_block(cells: NDArray[Any], bound: float, special: NDArray[np.bool_] | None, lattice: Lattice | None) -> bytes:
    """The smallest of the payloads that fit.

    Args:
        cells: any float or integer dtype, 1 to 4 axes, native byte order, C order.
        bound: largest absolute error, in the units of the cells; 0 for none.
        special: cells that are stored as they are (NaN, infinities, fill values), the shape of cells.
        lattice: that the other cells lie on, or are to be rounded to.
    """
    flat = cells.reshape(-1)
    valid = np.ones(flat.size, np.bool_) if special is None else ~special.reshape(-1)
    if not valid.any():
        return _exact(flat)
    known = flat[valid]
    if (known == known[0]).all() and known.tobytes() == np.full_like(known, known[0]).tobytes():
        return pack_side(CONSTANT, 0 if valid.all() else SPECIALS, known[:1].tobytes() + pack_special(flat, valid))
    offset, step = (lattice.offset, lattice.step) if lattice else (float(known.astype(np.float64).min()), 2 * bound * MARGIN)
    if not step and cells.dtype.kind == "f" and cells.dtype.itemsize <= 4:
        integers = to_ordered(flat).reshape(cells.shape)
        low = float(integers[valid.reshape(cells.shape)].min())
        inner = encode_block(integers, 0.0, special, Lattice(offset=low, step=1.0))
        return min(pack_side(ORDERED, 0, b"") + inner, _exact(flat), key=len)
    if not (np.isfinite(offset) and step > 0 and np.isfinite(step)):
        return _exact(flat)
    unit = step / (1 << FRACTION_BITS)
    with np.errstate(over="ignore", invalid="ignore"):
        target = (flat.astype(np.float64) - offset) / unit
    target[~valid] = 0
    if not np.isfinite(target).all() or np.abs(target).max() >= MAX_TARGET:
        return _exact(flat)
    if lattice:
        target = np.round(target / (1 << FRACTION_BITS)) * (1 << FRACTION_BITS)
    trial = _cheapest(cells.shape, target, valid, lattice is not None)
    payload = trial.payload(flat, bound, offset, unit)
    if payload is None or len(payload) > WORTH * flat.nbytes:
        return min((p for p in (payload, _exact(flat)) if p is not None), key=len)
    return payload


def _has_frames(shape: tuple[int, ...]) -> bool:
    """Whether axis 0 is worth trying as a sequence."""
    return len(shape) > 2 and shape[0] > 2 and int(np.prod(shape[1:])) >= LEAST_FRAME


def _cheapest(shape: tuple[int, ...], target: NDArray[np.float64], valid: NDArray[np.bool_], snap: bool) -> Trial:
    """The block predicted in space, or frame by frame. A large block is tried in its middle first, and again as a whole where the two come close."""
    ways: tuple[bool, ...] = (False, True) if _has_frames(shape) else (False,)
    middle = _middle(shape)
    if len(ways) > 1 and middle is not None:
        crop, known = target.reshape(shape)[middle], valid.reshape(shape)[middle]
        costs = [t.cost for t in _trials(ways, crop.shape, crop.ravel(), known.ravel(), snap)]
        ways = tuple(w for w, c in zip(ways, costs, strict=True) if c <= min(costs) + CLOSE * known.sum())
    return min(_trials(ways, shape, target, valid, snap), key=lambda t: t.cost)


def _trials(ways: tuple[bool, ...], shape: tuple[int, ...], target: NDArray[np.float64], valid: NDArray[np.bool_], snap: bool) -> list[Trial]:
    with ThreadPoolExecutor(len(ways)) as pool:
        return list(pool.map(lambda frames: Trial(shape, target, valid, frames, snap), ways))


def _middle(shape: tuple[int, ...]) -> tuple[slice, ...] | None:
    """A part of the block large enough to judge by; None if the block is hardly larger."""
    sides = list(shape)
    while int(np.prod(sides)) > TRIAL_CELLS:
        longest = max(range(len(sides)), key=lambda j: sides[j])
        sides[longest] = -(-sides[longest] // 2)
    if 3 * int(np.prod(sides)) > int(np.prod(shape)):
        return None
    return tuple(slice((n - s) // 2, (n - s) // 2 + s) for n, s in zip(shape, sides, strict=True))


def decode_block(payload: bytes, shape: tuple[int, ...], dtype: np.dtype[Any], name: str) -> NDArray[Any]:
    """Cells of a block.

    Raises:
        BitstreamError: not a payload of this shape.
    """
    reader = ByteReader(payload, name)
    count = int(np.prod(shape))
    packed = reader.take(reader.uvarint(len(payload), "length of side information"))
    limit = 1024 + 64 * count + 16 * 4096
    side = ByteReader(inflate(packed, limit, name), f"{name}, side information")
    mode, flags = side.byte(), side.byte()
    if mode == EXACT and not flags:
        side.end()
        return exact_cells(payload[reader.at :], count, dtype, name).reshape(shape)
    if mode == ORDERED and not flags and dtype.kind == "f" and dtype.itemsize <= 4:
        side.end()
        inner = payload[reader.at :]
        return from_ordered(decode_block(inner, shape, np.dtype(f"i{dtype.itemsize}"), name), dtype)
    if mode == CONSTANT and not flags & ~SPECIALS:
        out = np.full(count, np.frombuffer(side.take(dtype.itemsize), dtype)[0])
        if flags & SPECIALS:
            where, what = unpack_special(side, count, dtype)
            out[where] = what
        side.end()
        reader.end()
        return out.reshape(shape)
    if mode != PREDICTED or flags & ~(FRAMES | SNAP | SPECIALS | OUTLIERS | SHIFTED):
        raise BitstreamError(f"{name}: mode {mode}, flags {flags:#x} is not a block of this version; the file is damaged or newer")
    offset, unit = struct.unpack("<dd", side.take(16))
    if not (np.isfinite(offset) and np.isfinite(unit) and unit > 0):
        raise BitstreamError(f"{name}: offset {offset}, unit {unit} are not a scale; the file is damaged")
    shift = side.byte() if flags & SHIFTED else 0
    if shift > MAX_LOW_BITS:
        raise LimitExceededError(f"{name}: {shift} low bits, allowed are {MAX_LOW_BITS}")
    plan = dyadic.plan(shape, bool(flags & FRAMES))
    base = take_ints(side, len(plan.base))
    stencils, common, contexts = unpack_models(side, plan)
    valid = np.ones(count, np.bool_)
    where, what = np.empty(0, np.int64), np.empty(0, dtype)
    if flags & SPECIALS:
        where, what = unpack_special(side, count, dtype)
        valid[where] = False
    fixed_at, fixed = np.empty(0, np.int64), np.empty(0, dtype)
    if flags & OUTLIERS:
        fixed_at, fixed = unpack_outliers(side, count, dtype)
    side.end()
    low = LowBits(reader.take(low_bytes(sum(p.count for p in plan.passes), shift)), shift)
    values = _decode_values(payload[reader.at :], name, plan, base, stencils, common, contexts, valid, low, shift, bool(flags & SNAP), count)
    out = reconstruct(values, offset, unit, bool(flags & SNAP), dtype)
    out[where] = what
    out[fixed_at] = fixed
    return out.reshape(shape)


def _decode_values(
    payload: bytes,
    name: str,
    plan: Plan,
    base: Ints,
    stencils: dict[Key, Ints],
    common: Ints,
    contexts: dict[Key, Context],
    valid: NDArray[np.bool_],
    low: LowBits,
    shift: int,
    snap: bool,
    count: int,
) -> Ints:
    values, q = np.zeros(count, np.int64), np.zeros(count, np.int32)
    values[plan.base] = base.clip(-(VALUE_MAX >> FRACTION_BITS), VALUE_MAX >> FRACTION_BITS) << FRACTION_BITS
    tables = magnitude_tables()
    with stage("coder"):
        decoder = SymbolDecoder(payload, name)
    counts = np.empty(LEVELS + 1, np.int64)
    for p in plan.passes:
        context = contexts[p.key]
        weights = common if context.weights is None else context.weights
        stencil = dyadic.stencil_of(p, stencils)
        points, predictions, levels, order = (np.empty(p.count, np.int64) for _ in range(4))

        def rows(
            first: int,
            last: int,
            p: dyadic.Pass = p,
            stencil: Ints = stencil,
            weights: Ints = weights,
            ladder: int = context.shift,
            out: tuple[Ints, ...] = (points, predictions, levels),
        ) -> None:
            walk_rows(values, q, *p.points, *p.taps, p.along, p.plane, p.key[2], stencil, shift, snap, first, last, valid, weights, thresholds(), ladder, *out)

        with stage("prediction"):
            in_parts(rows, p.rows, p.count)
            sort_by_level(levels, counts, order)
        with stage("coder"):
            symbols = decoder.pop_sorted(counts, tables.shapes[context.shape])
        with stage("prediction"):
            place(points, predictions, order, symbols, low.take(p.count), shift, values, q)
    decoder.end()
    return values


def _exact(flat: NDArray[Any]) -> bytes:
    return pack_side(EXACT, 0, b"") + exact_section(flat)
