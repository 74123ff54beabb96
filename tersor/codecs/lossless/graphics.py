"""Graphics: a chunk of at most MAX_COLOURS colours is its palette and an index a pixel (graphics_loops.py).

samples [H, W, C] --sorted palette--> indices [H, W] --bits--> payload: palette | code
"""

from __future__ import annotations

import zlib

import numpy as np
from numpy.typing import NDArray

from tersor.arrays import Samples, SampleType
from tersor.codecs.lossless import graphics_loops as loops
from tersor.codecs.lossless.arithmetic import tables
from tersor.codecs.lossless.mixing import Mixer, begin, check_end, ended, new_mixer
from tersor.container import ByteReader, put_uvarint
from tersor.entropy.binary import new_io
from tersor.errors import BitstreamError

# M: by tools/studies.py lossless.
MAX_COLOURS = 1 << 12  # F
START = 10000  # M weight of a context at the start, of 65536
INDEX_SLOTS = 1 << 16  # F


def palette_of(samples: Samples) -> tuple[Samples, NDArray[np.int64]] | None:
    """Colours [N, C] in order, and the index of each pixel [H, W]; None if there are too many.

    Args:
        samples: uint8 or uint16 [H, W, C].
    """
    height, width, channels = samples.shape
    bits = 8 * samples.dtype.itemsize
    keys = np.zeros((height, width), np.uint64)
    for c in range(channels):
        keys = (keys << np.uint64(bits)) | samples[..., c].astype(np.uint64)
    if (
        len(np.unique(keys[:: max(1, height // 64)])) > MAX_COLOURS
    ):  # a part of the rows tells most photographs
        return None
    values, indices = np.unique(keys, return_inverse=True)
    if len(values) > MAX_COLOURS:
        return None
    colours = np.stack(
        [
            (values >> np.uint64(bits * (channels - 1 - c))) & np.uint64((1 << bits) - 1)
            for c in range(channels)
        ],
        1,
    )
    return colours.astype(samples.dtype), indices.reshape(height, width).astype(np.int64)


def _mixers(pixels: int) -> tuple[Mixer, Mixer, NDArray[np.int64]]:
    """What a chunk starts from, its tables as large as the chunk needs."""
    slots = 1 << min(max((32 * pixels - 1).bit_length(), 12), 22)
    weights = np.full((loops.ROWS, loops.INPUTS), START, np.int32)
    weights[:, -1] = 0
    index_weights = np.full((18, loops.INDEX_CONTEXTS + 1), START, np.int32)
    return (
        new_mixer(slots, loops.CONTEXTS, weights, loops.CANDIDATES, loops.REFINED_CONTEXTS, tables()),
        new_mixer(INDEX_SLOTS, loops.INDEX_CONTEXTS, index_weights, 1, 16, tables()),
        np.zeros(slots >> 2, np.int64),
    )


def _pack_palette(colours: Samples) -> bytes:
    """Differences from colour to colour, deflated where that is smaller."""
    changes = np.diff(colours, axis=0, prepend=np.zeros((1, colours.shape[1]), colours.dtype))
    plain = np.ascontiguousarray(changes.T).astype(changes.dtype.newbyteorder("<")).tobytes()
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = deflate.compress(plain) + deflate.flush()
    small = len(packed) < len(plain)
    return put_uvarint(len(packed) << 1 | 1) + packed if small else put_uvarint(0) + plain


def _unpack_palette(reader: ByteReader, n: int, channels: int, dtype: SampleType) -> Samples:
    size = n * channels * dtype.itemsize
    deflated = reader.uvarint(2 * size + 1, "bytes of the palette")
    plain = reader.take(deflated >> 1 if deflated else size)
    if deflated:
        inflate = zlib.decompressobj(-15)
        try:
            plain = inflate.decompress(plain, size + 1)
        except zlib.error as e:
            raise BitstreamError(
                f"{reader.name}: the palette is no deflate stream ({e}); the file is damaged"
            ) from e
        if len(plain) != size or not inflate.eof:
            raise BitstreamError(
                f"{reader.name}: a palette of {len(plain)} bytes, not {size}; the file is damaged"
            )
    changes = np.frombuffer(plain, dtype.newbyteorder("<")).reshape(channels, n).T
    return np.cumsum(changes, 0, dtype=dtype)


def encode_graphics(samples: Samples) -> bytes | None:
    """The payload of a rectangle, or None if it has too many colours.

    Args:
        samples: uint8 or uint16 [H, W, C].
    """
    found = palette_of(samples)
    if found is None:
        return None
    colours, indices = found
    x = np.pad(indices, ((loops.TOP, 0), (loops.SIDE, loops.SIDE)))
    io, buffer = new_io(decoding=False), np.zeros(8 * indices.size + 64, np.uint8)
    mixer, index_mixer, seen = _mixers(indices.size)
    loops.code_graphics(io, buffer, x, len(colours), mixer, index_mixer, tables(), seen)
    return put_uvarint(len(colours)) + _pack_palette(colours) + ended(io, buffer)


def decode_graphics(payload: bytes, shape: tuple[int, int, int], dtype: SampleType, name: str) -> Samples:
    """What `encode_graphics` was given.

    Args:
        payload: of the rectangle.
        shape: [H, W, C].
        dtype: uint8 or uint16.
        name: of the chunk, for errors.

    Raises:
        BitstreamError: damaged.
    """
    height, width, channels = shape
    reader = ByteReader(payload, name)
    n = reader.uvarint(MAX_COLOURS, "number of colours")
    if n == 0:
        raise BitstreamError(f"{name}: a palette without colours; the file is damaged")
    colours = _unpack_palette(reader, n, channels, dtype)
    x = np.zeros((loops.TOP + height, width + 2 * loops.SIDE), np.int64)
    io, data = begin(payload, reader.at)
    mixer, index_mixer, seen = _mixers(height * width)
    loops.code_graphics(io, data, x, n, mixer, index_mixer, tables(), seen)
    check_end(io, len(data), name)
    out: Samples = colours[x[loops.TOP :, loops.SIDE : loops.SIDE + width]]
    return out
