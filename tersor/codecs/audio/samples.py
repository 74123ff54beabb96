"""Samples as people hold them <-> what the coders work on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tersor.arrays import Numbers, NumberType
from tersor.codecs.audio.header import AudioHeader
from tersor.codecs.audio.mdct import Floats
from tersor.codecs.audio.transform import FULL_SCALE


def to_floats(x: Numbers) -> Floats:
    """Samples [n, C] of any type -> float64 [C, n], full scale 32768."""
    y = np.ascontiguousarray(x.T).astype(np.float64)
    if x.dtype == np.uint8:
        return (y - 128) * 256
    return y * (FULL_SCALE if x.dtype.kind == "f" else FULL_SCALE / 2.0 ** (8 * x.dtype.itemsize - 1))


def from_floats(y: Floats, dtype: NumberType, bits: int) -> Numbers:
    """The inverse: rounded to the bits that are significant, and clipped."""
    if dtype.kind == "f":
        return np.ascontiguousarray((y / FULL_SCALE).T).astype(dtype)
    limit = 2.0 ** (bits - 1)
    z = np.clip(np.round(y.T * (limit / FULL_SCALE)), -limit, limit - 1).astype(np.int64) << (
        8 * dtype.itemsize - bits
    )
    return np.ascontiguousarray(z + 128 if dtype == np.uint8 else z).astype(dtype)


def to_pcm(x: Numbers, bits: int) -> NDArray[np.int64]:
    """Samples -> integers around 0, without the bits that are not significant."""
    y = x.astype(np.int64) - (128 if x.dtype == np.uint8 else 0)
    return y >> max(0, 8 * x.dtype.itemsize - bits)


def from_pcm(y: NDArray[np.int64], header: AudioHeader) -> Numbers:
    size = 8 * header.dtype.itemsize
    return ((y << max(0, size - header.bits)) + (128 if header.dtype == np.uint8 else 0)).astype(header.dtype)
