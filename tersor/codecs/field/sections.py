"""The byte sections of a block of a field: side information, stored cells, low bits (FORMAT.md, section
"Field block").
"""

from __future__ import annotations

import lzma
import zlib

import numpy as np
from numpy.typing import NDArray

from tersor.arrays import Numbers, NumberType
from tersor.codecs.field.fit import Context, Key
from tersor.codecs.field.grid import Ints, Plan
from tersor.codecs.field.grid_loops import N_FEATURES
from tersor.container import ByteReader, put_uvarint
from tersor.entropy.magnitude_tables import MAX_SHIFT, SHAPES
from tersor.errors import BitstreamError

CONSTANT, EXACT, ORDERED, NESTED = 0, 2, 3, 4  # F
PREDICTED = 1  # F
FRAMES, SNAP, SPECIALS, OUTLIERS, SHIFTED = 1, 2, 4, 8, 16  # F
MAX_LOW_BITS = 24  # F

MAX_SIDE = 1 << 30  # F


def pack_side(mode: int, flags: int, side: bytes) -> bytes:
    packed = zlib.compress(bytes([mode, flags]) + side, 9)
    return put_uvarint(len(packed)) + packed


def inflate(packed: bytes, limit: int, name: str) -> bytes:
    stream = zlib.decompressobj()
    try:
        raw = stream.decompress(packed, limit + 1)
    except zlib.error as e:
        raise BitstreamError(
            f"{name}: side information is not a zlib stream ({e}); the file is damaged"
        ) from e
    if len(raw) > limit or not stream.eof or stream.unused_data:
        raise BitstreamError(
            f"{name}: side information is longer than {limit} bytes or cut short; the file is damaged"
        )
    return raw


def _zigzag(v: int) -> int:
    return 2 * v if v >= 0 else -2 * v - 1


def put_ints(values: Ints) -> bytes:
    """Differences as zigzag varints."""
    return b"".join(put_uvarint(_zigzag(int(d))) for d in np.diff(values, prepend=np.int64(0)))


def take_ints(r: ByteReader, n: int) -> Ints:
    z = np.array([r.uvarint((1 << 62) - 1, "an integer") for _ in range(n)], np.int64)
    with np.errstate(over="ignore"):
        return np.cumsum(np.where(z & 1, -(z >> 1) - 1, z >> 1))


def _lzma(data: bytes) -> bytes:
    return lzma.compress(data, lzma.FORMAT_RAW, filters=[{"id": lzma.FILTER_LZMA2, "preset": 6}])


def _unlzma(data: bytes, size: int, name: str) -> bytes:
    expand = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=[{"id": lzma.FILTER_LZMA2, "preset": 6}])
    try:
        raw = expand.decompress(data, size + 1)
    except lzma.LZMAError as e:
        raise BitstreamError(f"{name}: stored cells are not an LZMA stream ({e}); the file is damaged") from e
    if len(raw) != size:
        raise BitstreamError(
            f"{name}: {len(raw)} bytes of stored cells, {size} expected; the file is damaged"
        )
    return raw


def _shuffled(cells: Numbers) -> bytes:
    """Bytes by significance: the first byte of every cell, then the second."""
    return np.frombuffer(cells.tobytes(), np.uint8).reshape(len(cells), cells.dtype.itemsize).T.tobytes()


def _unshuffled(data: bytes, count: int, dtype: NumberType) -> Numbers:
    return np.frombuffer(np.frombuffer(data, np.uint8).reshape(dtype.itemsize, count).T.tobytes(), dtype)


def section(data: bytes) -> bytes:
    packed = _lzma(data)
    return put_uvarint(len(packed)) + packed


def take_section(r: ByteReader, size: int) -> bytes:
    return _unlzma(r.take(r.uvarint(MAX_SIDE, "length of a section")), size, r.name)


def pack_special(flat: Numbers, valid: NDArray[np.bool_]) -> bytes:
    if valid.all():
        return b""
    return section(np.packbits(~valid).tobytes()) + section(_shuffled(flat[~valid]))


def unpack_special(r: ByteReader, count: int, dtype: NumberType) -> tuple[Ints, Numbers]:
    where = np.flatnonzero(
        np.unpackbits(np.frombuffer(take_section(r, -(-count // 8)), np.uint8), count=count)
    )
    return where, _unshuffled(take_section(r, len(where) * dtype.itemsize), len(where), dtype)


def pack_outliers(flat: Numbers, wrong: NDArray[np.bool_]) -> bytes:
    at = np.flatnonzero(wrong)
    return (
        put_uvarint(len(at))
        + section(np.diff(at, prepend=0).astype("<u4").tobytes())
        + section(_shuffled(flat[at]))
    )


def unpack_outliers(r: ByteReader, count: int, dtype: NumberType) -> tuple[Ints, Numbers]:
    n = r.uvarint(count, "number of exact cells")
    at = np.cumsum(np.frombuffer(take_section(r, 4 * n), "<u4").astype(np.int64))
    if n and at[-1] >= count:
        raise BitstreamError(f"{r.name}: exact cell {at[-1]} of {count}; the file is damaged")
    return at, _unshuffled(take_section(r, n * dtype.itemsize), n, dtype)


def exact_section(flat: Numbers) -> bytes:
    return _lzma(_shuffled(flat))


def exact_cells(data: bytes, count: int, dtype: NumberType, name: str) -> Numbers:
    return _unshuffled(_unlzma(data, count * dtype.itemsize, name), count, dtype).copy()


def low_bytes(count: int, shift: int) -> int:
    return -(-count * shift // 8)


def pack_low(low: Ints, shift: int) -> bytes:
    if not shift:
        return b""
    return np.packbits((low[:, None] >> np.arange(shift)[::-1]) & 1).tobytes()


class LowBits:
    """Low bits of residuals, pass by pass."""

    def __init__(self, data: bytes, shift: int) -> None:
        self._bits = np.unpackbits(np.frombuffer(data, np.uint8)) if shift else np.empty(0, np.uint8)
        self.shift, self._at = shift, 0

    def take(self, n: int) -> Ints:
        if not self.shift:
            return np.zeros(n, np.int64)
        end = self._at + n * self.shift
        bits = self._bits[self._at : end].reshape(n, self.shift).astype(np.int64)
        self._at = end
        return bits @ (1 << np.arange(self.shift)[::-1])


def _keys(plan: Plan) -> dict[Key, int]:
    """Keys in order of first use, with their number of taps."""
    return {p.key: p.n_taps for p in plan.passes}


def pack_models(plan: Plan, stencils: dict[Key, Ints], common: Ints, contexts: dict[Key, Context]) -> bytes:
    out = common.astype("<i2").tobytes()
    keys = _keys(plan)
    head, weights = bytearray(), bytearray()
    for key in keys:
        c = contexts[key]
        head.append(
            (c.shape | (key in stencils) << 2 | (c.weights is not None) << 3) | (c.shift + MAX_SHIFT) << 4
        )
        for w in (stencils.get(key), c.weights):
            if w is not None:
                weights += w.astype("<i2").tobytes()
    return out + bytes(head) + bytes(weights)


def unpack_models(r: ByteReader, plan: Plan) -> tuple[dict[Key, Ints], Ints, dict[Key, Context]]:
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
        contexts[key] = Context(
            weights=take(N_FEATURES) if h & 8 else None, shape=h & 3, shift=(h >> 4) - MAX_SHIFT
        )
    return stencils, common, contexts
