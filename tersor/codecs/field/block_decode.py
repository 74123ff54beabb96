"""One block of a field: cells to a payload and back.

    payload = zlib(side) length | zlib(side) | low bits | symbols (entropy/coder.py)
    side    = mode, offset, unit, base values, stencils, contexts, special cells, exact cells

Modes: constant, nested (nested_block.py) and predicted (grid.py, of version 0.1), with or without frames,
snapped to a lattice or not; ordered (the bits of floats as integers, without loss), exact (bytes, for what
nothing else fits). The reconstruction is `offset + unit * integer` in float64, one product and one sum, so
every machine gives the same number; the encoder decodes what it wrote, and cells that miss the bound are
stored as they are.
"""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

from tersor.arrays import Numbers, NumberType
from tersor.codecs.field import grid as dyadic
from tersor.codecs.field.cells import from_ordered, reconstruct
from tersor.codecs.field.fit import Context, Key
from tersor.codecs.field.grid import Ints, Plan
from tersor.codecs.field.grid_loops import FRACTION_BITS, VALUE_MAX, place, sort_by_level, walk_rows
from tersor.codecs.field.nested_block import decode_nested
from tersor.codecs.field.sections import (
    CONSTANT,
    EXACT,
    FRAMES,
    MAX_LOW_BITS,
    NESTED,
    ORDERED,
    OUTLIERS,
    PREDICTED,
    SHIFTED,
    SNAP,
    SPECIALS,
    LowBits,
    exact_cells,
    inflate,
    low_bytes,
    take_ints,
    unpack_models,
    unpack_outliers,
    unpack_special,
)
from tersor.codecs.parallel import in_parts
from tersor.container import ByteReader
from tersor.entropy.magnitude_tables import LEVELS, MagnitudeTables, thresholds
from tersor.entropy.rans import SymbolDecoder
from tersor.errors import BitstreamError, LimitExceededError
from tersor.timing import stage


def decode_block(
    payload: bytes, shape: tuple[int, ...], dtype: NumberType, name: str, tables: MagnitudeTables
) -> Numbers:
    """Cells of a block; `tables` are those it was coded with.

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
        whole = np.dtype(f"i{dtype.itemsize}")
        integers = decode_block(payload[reader.at :], shape, whole, name, tables)
        return from_ordered(integers.astype(whole, copy=False), dtype)
    if mode == CONSTANT and not flags & ~SPECIALS:
        out = np.full(count, np.frombuffer(side.take(dtype.itemsize), dtype)[0])
        if flags & SPECIALS:
            where, what = unpack_special(side, count, dtype)
            out[where] = what
        side.end()
        reader.end()
        return out.reshape(shape)
    if mode == NESTED and not flags & ~(FRAMES | SNAP | SPECIALS | OUTLIERS):
        return decode_nested(side, payload[reader.at :], flags, shape, dtype, name, tables).reshape(shape)
    if mode != PREDICTED or flags & ~(FRAMES | SNAP | SPECIALS | OUTLIERS | SHIFTED):
        raise BitstreamError(
            f"{name}: mode {mode}, flags {flags:#x} is not a block of this version; "
            "the file is damaged or newer"
        )
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
    low = LowBits(reader.take(low_bytes(sum(p.size for p in plan.passes), shift)), shift)
    decoder = SymbolDecoder(payload[reader.at :], name)
    models = stencils, common, contexts
    values = _decode_values(decoder, plan, base, models, valid, low, bool(flags & SNAP), tables)
    out = reconstruct(values, offset, unit, bool(flags & SNAP), dtype)
    out[where] = what
    out[fixed_at] = fixed
    return out.reshape(shape)


def _decode_values(
    decoder: SymbolDecoder,
    plan: Plan,
    base: Ints,
    models: tuple[dict[Key, Ints], Ints, dict[Key, Context]],
    valid: NDArray[np.bool_],
    low: LowBits,
    snap: bool,
    tables: MagnitudeTables,
) -> Ints:
    """Values of all cells, in units; `models` are stencils, common weights and contexts of the passes."""
    stencils, common, contexts = models
    shift = low.shift
    values, q = np.zeros(len(valid), np.int64), np.zeros(len(valid), np.int32)
    values[plan.base] = base.clip(-(VALUE_MAX >> FRACTION_BITS), VALUE_MAX >> FRACTION_BITS) << FRACTION_BITS
    counts = np.empty(LEVELS + 1, np.int64)
    for p in plan.passes:
        context = contexts[p.key]
        weights = common if context.weights is None else context.weights
        stencil = dyadic.stencil_of(p, stencils)
        points, predictions, levels, order = (np.empty(p.size, np.int64) for _ in range(4))

        def rows(
            first: int,
            last: int,
            p: dyadic.Pass = p,
            stencil: Ints = stencil,
            weights: Ints = weights,
            ladder: int = context.shift,
            out: tuple[Ints, ...] = (points, predictions, levels),
        ) -> None:
            span, table = (first, last), thresholds()
            walk_rows(values, q, p, stencil, shift, snap, span, valid, weights, table, ladder, out)

        with stage("prediction"):
            in_parts(rows, p.rows, p.size)
            sort_by_level(levels, counts, order)
        with stage("coder"):
            symbols = decoder.pop_sorted(counts, tables.shapes[context.shape])
        with stage("prediction"):
            place(points, predictions, order, symbols, low.take(p.size), shift, values, q)
    decoder.end()
    return values
