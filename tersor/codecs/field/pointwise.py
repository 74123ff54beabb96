"""Error relative to each value: the logarithm of the magnitude, coded with an absolute bound.

    x --sign, zero--> bits;  log2 |x| (float64) --block_encode, bound log2(1 + rel)--> 2^y with the sign put
    back

The decoder's power of two is a polynomial of products and sums in float64, so that no machine's library takes
part. Cells that miss the bound are stored as they are.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from tersor.arrays import Numbers, NumberType
from tersor.codecs.field.block_decode import decode_block
from tersor.codecs.field.block_encode import encode_block
from tersor.codecs.field.check import within_relative
from tersor.codecs.field.effort import USUAL
from tersor.codecs.field.sections import pack_outliers, section, take_section, unpack_outliers
from tersor.container import ByteReader, put_uvarint
from tersor.entropy.magnitude_tables import MagnitudeTables, magnitude_tables

MARGIN = 1 - 1e-6  # G: room for the rounding of logarithms


def encode_pointwise(cells: Numbers, rel: float, special: NDArray[np.bool_], effort: int = USUAL) -> bytes:
    """A block whose finite cells keep their sign and are within rel of their magnitude; special cells, and
    zeros, keep every bit.
    """
    flat = cells.reshape(-1)
    apart = special.reshape(-1) | (flat == 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log2(np.abs(flat.astype(np.float64)))
    logs[apart] = np.nan
    inner = encode_block(
        logs.reshape(cells.shape),
        math.log2(1 + rel) * MARGIN,
        apart.reshape(cells.shape) if apart.any() else None,
        None,
        effort,
    )
    negative = np.signbit(flat) if flat.dtype.kind == "f" else flat < 0
    signs = section(np.packbits(negative).tobytes())
    rebuilt = _values(inner, cells.shape, negative, flat.dtype, "new block", magnitude_tables())
    wrong = ~within_relative(flat, rebuilt, rel) | apart
    return put_uvarint(len(inner)) + inner + signs + pack_outliers(flat, wrong)


def decode_pointwise(
    payload: bytes, shape: tuple[int, ...], dtype: NumberType, name: str, tables: MagnitudeTables
) -> Numbers:
    """Cells of a block; `tables` are those it was coded with.

    Raises:
        BitstreamError: not a payload of this shape.
    """
    r = ByteReader(payload, name)
    count = int(np.prod(shape))
    inner = r.take(r.uvarint(len(payload), "length of logarithms"))
    negative = np.unpackbits(np.frombuffer(take_section(r, -(-count // 8)), np.uint8), count=count).astype(
        np.bool_
    )
    at, exact = unpack_outliers(r, count, dtype)
    r.end()
    out = _values(inner, shape, negative, dtype, name, tables)
    out[at] = exact
    return out.reshape(shape)


def _values(
    inner: bytes,
    shape: tuple[int, ...],
    negative: NDArray[np.bool_],
    dtype: NumberType,
    name: str,
    tables: MagnitudeTables,
) -> Numbers:
    logs = decode_block(inner, shape, np.dtype(np.float64), name, tables).reshape(-1)
    magnitude = exp2(np.where(np.isfinite(logs), logs, 0.0))
    signed = np.where(negative, -magnitude, magnitude)
    with np.errstate(over="ignore"):
        if dtype.kind in "iu":
            limits = np.iinfo(dtype.str)
            return np.rint(signed).clip(float(limits.min), float(limits.max)).astype(dtype)
        return signed.astype(dtype)


def exp2(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """2^x to about 1e-15, the same bits on every machine: Taylor in Horner's form around the nearest integer;
    every step is one rounded product or sum.
    """
    whole = np.floor(x + 0.5)
    r = (x - whole) * 0.6931471805599453
    p = np.full_like(r, 1 / math.factorial(16))
    for k in range(15, -1, -1):
        p = p * r
        p = p + 1 / math.factorial(k)
    with np.errstate(over="ignore", under="ignore"):
        return np.ldexp(p, whole.clip(-1100, 1100).astype(np.int32))
