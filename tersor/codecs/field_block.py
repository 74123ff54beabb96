"""One block of a field: cells to a payload and back.

    payload = zlib(side) length | zlib(side) | low bits | symbols (entropy/coder.py)
    side    = mode, offset, unit, base values, stencils, contexts, special cells, exact cells

Modes: constant, predicted (codecs/dyadic.py, with or without frames, snapped to a lattice or not), ordered (the bits of floats as integers, without loss), exact
(bytes, for what nothing else fits).
The reconstruction is `offset + unit * integer` in float64, one product and one sum, so every machine gives the same number; the encoder decodes what it wrote, and
cells that miss the bound are stored as they are.
"""

from __future__ import annotations

import lzma
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tersor.codecs import dyadic
from tersor.codecs.dyadic import Ints, Plan, default_stencil
from tersor.codecs.dyadic_loops import FRACTION_BITS, N_FEATURES, VALUE_MAX, place, quantise
from tersor.codecs.stencils import Coded, Context, Key, fit_contexts, fit_stencils, levels_of
from tersor.container import ByteReader, put_uvarint
from tersor.entropy.coder import SymbolDecoder, SymbolEncoder
from tersor.entropy.magnitude import LEVELS, MAX_SHIFT, SHAPES, magnitude_tables
from tersor.errors import BitstreamError, LimitExceededError
from tersor.timing import stage

CONSTANT, PREDICTED, EXACT, ORDERED = range(4)
FRAMES, SNAP, SPECIALS, OUTLIERS, SHIFTED = 1, 2, 4, 8, 16
MAX_TARGET = 1 << 38
MAX_SIDE = 1 << 30
EXACT_SHARE = 0.25
WORTH = 0.4
LEAST_FRAME = 1024
SHIFT_ABOVE = 64.0
MAX_LOW_BITS = 24
MARGIN = 1 - 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Lattice:
    """Cells are offset + step * integer, exactly or within the bound."""

    offset: float
    step: float
    exact: bool


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
        return _pack_side(CONSTANT, 0 if valid.all() else SPECIALS, known[:1].tobytes() + _pack_special(flat, valid)) + b""
    offset, step = (lattice.offset, lattice.step) if lattice else (float(known.astype(np.float64).min()), 2 * bound * MARGIN)
    if not step and cells.dtype.kind == "f" and cells.dtype.itemsize <= 4:
        integers = _to_ordered(flat).reshape(cells.shape)
        low = float(integers[valid.reshape(cells.shape)].min())
        inner = encode_block(integers, 0.0, special, Lattice(offset=low, step=1.0, exact=True))
        return min(_pack_side(ORDERED, 0, b"") + inner, _exact(flat), key=len)
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
    modes = (False, True) if _has_frames(cells.shape) else (False,)
    with ThreadPoolExecutor(len(modes)) as pool:
        trials = list(pool.map(lambda frames: _Trial(cells.shape, target, valid, frames, lattice is not None), modes))
    payload = min(trials, key=lambda t: t.cost).payload(flat, bound, offset, unit)
    if payload is None or len(payload) > WORTH * flat.nbytes:
        return min((p for p in (payload, _exact(flat)) if p is not None), key=len)
    return payload


def _has_frames(shape: tuple[int, ...]) -> bool:
    """Whether axis 0 is worth trying as a sequence."""
    return len(shape) > 2 and shape[0] > 2 and int(np.prod(shape[1:])) >= LEAST_FRAME


def decode_block(payload: bytes, shape: tuple[int, ...], dtype: np.dtype[Any], name: str) -> NDArray[Any]:
    """Cells of a block.

    Raises:
        BitstreamError: not a payload of this shape.
    """
    reader = ByteReader(payload, name)
    count = int(np.prod(shape))
    packed = reader.take(reader.uvarint(len(payload), "length of side information"))
    limit = 1024 + 64 * count + 16 * 4096
    side = ByteReader(_inflate(packed, limit, name), f"{name}, side information")
    mode, flags = side.byte(), side.byte()
    if mode == EXACT and not flags:
        side.end()
        return _exact_cells(payload[reader.at :], count, dtype, name).reshape(shape)
    if mode == ORDERED and not flags and dtype.kind == "f" and dtype.itemsize <= 4:
        side.end()
        inner = payload[reader.at :]
        return _from_ordered(decode_block(inner, shape, np.dtype(f"i{dtype.itemsize}"), name), dtype)
    if mode == CONSTANT and not flags & ~SPECIALS:
        out = np.full(count, np.frombuffer(side.take(dtype.itemsize), dtype)[0])
        if flags & SPECIALS:
            where, what = _unpack_special(side, count, dtype)
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
    base = _take_ints(side, len(plan.base))
    stencils, common, contexts = _unpack_models(side, plan)
    valid = np.ones(count, np.bool_)
    where, what = np.empty(0, np.int64), np.empty(0, dtype)
    if flags & SPECIALS:
        where, what = _unpack_special(side, count, dtype)
        valid[where] = False
    fixed_at, fixed = np.empty(0, np.int64), np.empty(0, dtype)
    if flags & OUTLIERS:
        fixed_at, fixed = _unpack_outliers(side, count, dtype)
    side.end()
    low = _LowBits(reader.take(_low_bytes(sum(p.count for p in plan.passes), shift)), shift)
    values = _decode_values(payload[reader.at :], name, plan, base, stencils, common, contexts, valid, low, shift, bool(flags & SNAP), count)
    out = reconstruct(values, offset, unit, bool(flags & SNAP), dtype)
    out[where] = what
    out[fixed_at] = fixed
    return out.reshape(shape)


def reconstruct(values: Ints, offset: float, unit: float, snap: bool, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Integers to cells: rounded to the lattice if `snap`, then one product and one sum in float64, then the dtype's own rounding."""
    if snap:
        half = 1 << (FRACTION_BITS - 1)
        steps = (values + (half - 1)) >> FRACTION_BITS
        if dtype.kind in "iu" and float(offset).is_integer() and (unit * (1 << FRACTION_BITS)).is_integer():
            whole = steps * int(unit * (1 << FRACTION_BITS)) + int(offset)
            limits = np.iinfo(dtype)
            return whole.clip(max(limits.min, -(1 << 62)), min(limits.max, 1 << 62)).astype(dtype)
        real = steps * (unit * (1 << FRACTION_BITS))
    else:
        real = values * unit
    real = real + offset
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        return np.rint(real).clip(float(limits.min), float(limits.max)).astype(dtype)
    with np.errstate(over="ignore"):
        return real.astype(dtype)


class _Trial:
    """A block predicted one way: fitted and quantised, not yet coded.

    Attributes:
        cost: proportional to bits, for comparison with other ways.
    """

    def __init__(self, shape: tuple[int, ...], target: NDArray[np.float64], valid: NDArray[np.bool_], frames: bool, snap: bool) -> None:
        self.plan, self.valid, self.frames, self.snap = dyadic.plan(shape, frames), valid, frames, snap
        with stage("prediction"):
            values, _, coded, _ = _quantise(self.plan, target, valid, {}, 0, snap)
        with stage("fitting"):
            self.stencils = fit_stencils(self.plan.passes, values, target, valid, [c.points for c in coded])
        with stage("prediction"):
            self.shift = 0
            self.values, self.base, self.coded, self.low = _quantise(self.plan, target, valid, self.stencils, 0, snap)
            sizes = [np.abs(c.symbols) for c in self.coded]
            self.cost = sum(float(np.log2(s + 0.3).sum()) for s in sizes)
            mean = sum(float(s.sum(dtype=np.float64)) for s in sizes) / max(1, int(valid.sum()))
            if mean > SHIFT_ABOVE:
                self.shift = min(MAX_LOW_BITS, int(np.ceil(np.log2(mean / SHIFT_ABOVE))) + 2)
                self.values, self.base, self.coded, self.low = _quantise(self.plan, target, valid, self.stencils, self.shift, snap)

    def payload(self, flat: NDArray[Any], bound: float, offset: float, unit: float) -> bytes | None:
        """None if too many cells miss the bound."""
        valid, shift = self.valid, self.shift
        rebuilt = reconstruct(self.values, offset, unit, self.snap, flat.dtype)
        wrong = valid & ~within(flat, rebuilt, bound)
        if wrong.mean() > EXACT_SHARE:
            return None
        with stage("fitting"):
            common, contexts = fit_contexts(self.coded, valid, magnitude_tables())
        with stage("coder"):
            encoder = SymbolEncoder(estimate=False)
            for c in self.coded:
                context = contexts[c.key]
                levels = _shifted(levels_of(c.features, common if context.weights is None else context.weights, c.points, valid), context.shift)
                encoder.push(c.symbols, levels, magnitude_tables().shapes[context.shape])
            symbols = encoder.finish()
        flags = FRAMES * self.frames | SNAP * self.snap | SPECIALS * (not valid.all()) | OUTLIERS * bool(wrong.any()) | SHIFTED * bool(shift)
        side = struct.pack("<dd", offset, unit) + (bytes([shift]) if shift else b"")
        side += _put_ints(self.base) + _pack_models(self.plan, self.stencils, common, contexts)
        if flags & SPECIALS:
            side += _pack_special(flat, valid)
        if flags & OUTLIERS:
            side += _pack_outliers(flat, wrong)
        return _pack_side(PREDICTED, flags, side) + _pack_low(self.low, shift) + symbols


def within(x: NDArray[Any], y: NDArray[Any], bound: float) -> NDArray[np.bool_]:
    """Whether |x - y| <= bound, cell by cell; equality for bound 0, of the bits."""
    if bound == 0:
        kind = f"V{x.dtype.itemsize}"
        same: NDArray[np.bool_] = x.view(kind) == y.view(kind)
        return same
    with np.errstate(over="ignore", invalid="ignore"):
        if x.dtype.kind in "iu":
            apart = np.where(x > y, x - y, y - x).astype(np.float64) if x.dtype.itemsize == 8 else np.abs(x.astype(np.int64) - y.astype(np.int64)).astype(np.float64)
        else:
            wide = np.longdouble if x.dtype.itemsize == 8 else np.float64
            apart = np.abs(x.astype(wide) - y.astype(wide))
        good: NDArray[np.bool_] = apart <= bound
        return good


def _quantise(
    plan: Plan, target: NDArray[np.float64], valid: NDArray[np.bool_], stencils: dict[Key, Ints], shift: int, snap: bool
) -> tuple[Ints, Ints, list[Coded], list[Ints]]:
    """The closed loop -> values, base, what each pass codes, its low bits."""
    values, q = np.zeros(target.size, np.int64), np.zeros(target.size, np.int32)
    one = 1 << FRACTION_BITS
    at = plan.base[valid[plan.base]]
    base = np.zeros(len(plan.base), np.int64)
    base[valid[plan.base]] = np.floor(target[at] / one + 0.5).astype(np.int64)
    values[plan.base] = base * one
    coded, lows = [], []
    for p in plan.passes:
        points, predictions, features = dyadic.walk(p, values, q, _stencil(p, stencils), shift, snap)
        symbols, low = np.empty(p.count, np.int32), np.empty(p.count, np.int64)
        quantise(points, predictions, target, valid, shift, values, q, symbols, low)
        coded.append(Coded(p.key, points, symbols, features))
        lows.append(low)
    return values, base, coded, lows


def _decode_values(
    payload: bytes,
    name: str,
    plan: Plan,
    base: Ints,
    stencils: dict[Key, Ints],
    common: Ints,
    contexts: dict[Key, Context],
    valid: NDArray[np.bool_],
    low: _LowBits,
    shift: int,
    snap: bool,
    count: int,
) -> Ints:
    values, q = np.zeros(count, np.int64), np.zeros(count, np.int32)
    values[plan.base] = base.clip(-(VALUE_MAX >> FRACTION_BITS), VALUE_MAX >> FRACTION_BITS) << FRACTION_BITS
    tables = magnitude_tables()
    with stage("coder"):
        decoder = SymbolDecoder(payload, name)
    for p in plan.passes:
        with stage("prediction"):
            points, predictions, features = dyadic.walk(p, values, q, _stencil(p, stencils), shift, snap)
            context = contexts[p.key]
            levels = _shifted(levels_of(features, common if context.weights is None else context.weights, points, valid), context.shift)
        with stage("coder"):
            symbols = decoder.pop(levels, tables.shapes[context.shape])
        with stage("prediction"):
            place(points, predictions, symbols, low.take(p.count), shift, values, q)
    decoder.end()
    return values


def _stencil(p: dyadic.Pass, stencils: dict[Key, Ints]) -> Ints:
    found = stencils.get(p.key)
    return default_stencil(p) if found is None else found


def _shifted(levels: Ints, shift: int) -> Ints:
    return np.where(levels == 0, 0, (levels + shift).clip(1, LEVELS))


# Side information


def _pack_side(mode: int, flags: int, side: bytes) -> bytes:
    packed = zlib.compress(bytes([mode, flags]) + side, 9)
    return put_uvarint(len(packed)) + packed


def _inflate(packed: bytes, limit: int, name: str) -> bytes:
    inflate = zlib.decompressobj()
    try:
        raw = inflate.decompress(packed, limit + 1)
    except zlib.error as e:
        raise BitstreamError(f"{name}: side information is not a zlib stream ({e}); the file is damaged") from e
    if len(raw) > limit or not inflate.eof or inflate.unused_data:
        raise BitstreamError(f"{name}: side information is longer than {limit} bytes or cut short; the file is damaged")
    return raw


def _zigzag(v: int) -> int:
    return 2 * v if v >= 0 else -2 * v - 1


def _put_ints(values: Ints) -> bytes:
    """Differences as zigzag varints."""
    return b"".join(put_uvarint(_zigzag(int(d))) for d in np.diff(values, prepend=np.int64(0)))


def _take_ints(r: ByteReader, n: int) -> Ints:
    z = np.array([r.uvarint((1 << 62) - 1, "an integer") for _ in range(n)], np.int64)
    with np.errstate(over="ignore"):
        return np.cumsum(np.where(z & 1, -(z >> 1) - 1, z >> 1))


def _keys(plan: Plan) -> dict[Key, int]:
    """Keys in order of first use, with their number of taps."""
    return {p.key: p.n_taps for p in plan.passes}


def _pack_models(plan: Plan, stencils: dict[Key, Ints], common: Ints, contexts: dict[Key, Context]) -> bytes:
    out = common.astype("<i2").tobytes()
    keys = _keys(plan)
    head, weights = bytearray(), bytearray()
    for key in keys:
        c = contexts[key]
        head.append((c.shape | (key in stencils) << 2 | (c.weights is not None) << 3) | (c.shift + MAX_SHIFT) << 4)
        for w in (stencils.get(key), c.weights):
            if w is not None:
                weights += w.astype("<i2").tobytes()
    return out + bytes(head) + bytes(weights)


def _unpack_models(r: ByteReader, plan: Plan) -> tuple[dict[Key, Ints], Ints, dict[Key, Context]]:
    def take(n: int) -> Ints:
        return np.frombuffer(r.take(2 * n), "<i2").astype(np.int64)

    common = take(N_FEATURES)
    keys = _keys(plan)
    head = r.take(len(keys))
    stencils, contexts = {}, {}
    for (key, taps), h in zip(keys.items(), head, strict=True):
        if h >> 4 > 2 * MAX_SHIFT or (h & 3) >= len(SHAPES):
            raise BitstreamError(f"{r.name}: context {h:#x} is not one; the file is damaged")
        if h & 4:
            stencils[key] = take(taps)
        contexts[key] = Context(weights=take(N_FEATURES) if h & 8 else None, shape=h & 3, shift=(h >> 4) - MAX_SHIFT)
    return stencils, common, contexts


# Special cells, cells that miss the bound, bytes


def _lzma(data: bytes) -> bytes:
    return lzma.compress(data, lzma.FORMAT_RAW, filters=[{"id": lzma.FILTER_LZMA2, "preset": 6}])


def _unlzma(data: bytes, size: int, name: str) -> bytes:
    expand = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=[{"id": lzma.FILTER_LZMA2, "preset": 6}])
    try:
        raw = expand.decompress(data, size + 1)
    except lzma.LZMAError as e:
        raise BitstreamError(f"{name}: stored cells are not an LZMA stream ({e}); the file is damaged") from e
    if len(raw) != size:
        raise BitstreamError(f"{name}: {len(raw)} bytes of stored cells, {size} expected; the file is damaged")
    return raw


def _shuffled(cells: NDArray[Any]) -> bytes:
    """Bytes by significance: the first byte of every cell, then the second."""
    return np.frombuffer(cells.tobytes(), np.uint8).reshape(len(cells), cells.dtype.itemsize).T.tobytes()


def _unshuffled(data: bytes, count: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    return np.frombuffer(np.frombuffer(data, np.uint8).reshape(dtype.itemsize, count).T.tobytes(), dtype)


def _to_ordered(flat: NDArray[Any]) -> NDArray[Any]:
    """The bits of floats as signed integers in the order of the floats."""
    i = flat.view(f"i{flat.dtype.itemsize}")
    return np.where(i < 0, i ^ np.iinfo(i.dtype).max, i)


def _from_ordered(integers: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    return np.where(integers < 0, integers ^ np.iinfo(integers.dtype).max, integers).view(dtype)


def _section(data: bytes) -> bytes:
    packed = _lzma(data)
    return put_uvarint(len(packed)) + packed


def _take_section(r: ByteReader, size: int) -> bytes:
    return _unlzma(r.take(r.uvarint(MAX_SIDE, "length of a section")), size, r.name)


def _pack_special(flat: NDArray[Any], valid: NDArray[np.bool_]) -> bytes:
    if valid.all():
        return b""
    return _section(np.packbits(~valid).tobytes()) + _section(_shuffled(flat[~valid]))


def _unpack_special(r: ByteReader, count: int, dtype: np.dtype[Any]) -> tuple[Ints, NDArray[Any]]:
    where = np.flatnonzero(np.unpackbits(np.frombuffer(_take_section(r, -(-count // 8)), np.uint8), count=count))
    return where, _unshuffled(_take_section(r, len(where) * dtype.itemsize), len(where), dtype)


def _pack_outliers(flat: NDArray[Any], wrong: NDArray[np.bool_]) -> bytes:
    at = np.flatnonzero(wrong)
    return put_uvarint(len(at)) + _section(np.diff(at, prepend=0).astype("<u4").tobytes()) + _section(_shuffled(flat[at]))


def _unpack_outliers(r: ByteReader, count: int, dtype: np.dtype[Any]) -> tuple[Ints, NDArray[Any]]:
    n = r.uvarint(count, "number of exact cells")
    at = np.cumsum(np.frombuffer(_take_section(r, 4 * n), "<u4").astype(np.int64))
    if n and at[-1] >= count:
        raise BitstreamError(f"{r.name}: exact cell {at[-1]} of {count}; the file is damaged")
    return at, _unshuffled(_take_section(r, n * dtype.itemsize), n, dtype)


def _exact(flat: NDArray[Any]) -> bytes:
    return _pack_side(EXACT, 0, b"") + _lzma(_shuffled(flat))


def _exact_cells(data: bytes, count: int, dtype: np.dtype[Any], name: str) -> NDArray[Any]:
    return _unshuffled(_unlzma(data, count * dtype.itemsize, name), count, dtype).copy()


# Low bits


def _low_bytes(count: int, shift: int) -> int:
    return -(-count * shift // 8)


def _pack_low(lows: list[Ints], shift: int) -> bytes:
    if not shift:
        return b""
    low = np.concatenate(lows)
    return np.packbits((low[:, None] >> np.arange(shift)[::-1]) & 1).tobytes()


class _LowBits:
    """Low bits of residuals, pass by pass."""

    def __init__(self, data: bytes, shift: int) -> None:
        self._bits = np.unpackbits(np.frombuffer(data, np.uint8)) if shift else np.empty(0, np.uint8)
        self._shift, self._at = shift, 0

    def take(self, n: int) -> Ints:
        if not self._shift:
            return np.zeros(n, np.int64)
        end = self._at + n * self._shift
        bits = self._bits[self._at : end].reshape(n, self._shift).astype(np.int64)
        self._at = end
        return bits @ (1 << np.arange(self._shift)[::-1])
