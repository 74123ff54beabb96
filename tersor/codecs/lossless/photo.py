"""Photographs: a chunk is a rectangle of the picture, its planes coded sample by sample (photo_loops.py).

samples [H, W, C] --green, red, blue (alpha)--> planes --u8 shift, lowest and highest of each plane, bits-->
payload
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tersor.arrays import Samples, SampleType
from tersor.codecs.lossless import photo_loops as loops
from tersor.codecs.lossless.arithmetic import tables
from tersor.codecs.lossless.mixing import Mixer, begin, check_end, ended, new_mixer
from tersor.container import ByteReader, put_uvarint
from tersor.entropy.binary import new_io
from tersor.errors import BitstreamError

# (row, column) of the variables of least squares, in the sample's own plane and in one before it. F
# F, all of them; M: those were measured with tools/studies.py lossless.
OWN = (
    *((0, -1), (-1, 0), (-1, -1), (-1, 1), (0, -2), (-2, 0), (-2, 1), (-1, -2), (-1, 2), (-2, -1), (0, -3)),
    *((-3, 0), (-2, 2), (-2, -2), (-1, -3), (-1, 3), (-3, -1), (-3, 1), (-2, -3), (-2, 3)),
)
OTHER = ((0, 0), (0, -1), (0, 1), (-1, 0), (1, 0), (-1, -1), (-1, 1), (1, -1), (1, 1), (0, -2), (0, 2))
VARIABLES = ((20, 0, 0), (14, 11, 0), (12, 11, 9))  # M of the first plane, the second, later ones
DELAY = (0, 1, 3)  # the variable i of a plane counts as important as the variable i + DELAY of the own
# the same for the sizes of errors
OWN_SIZES = ((0, -1), (-1, 0), (-1, -1), (-1, 1), (0, -2), (-2, 0), (-2, 1), (-1, 2), (-2, -1), (-1, -2))
OTHER_SIZES = OTHER[:9]
SIZE_VARIABLES = ((10, 0, 0), (10, 9, 0), (10, 9, 5))
ORDERS = {1: (0,), 2: (0, 1), 3: (1, 0, 2), 4: (1, 0, 2, 3)}  # of the planes
SLOT_WEIGHT, PARAMETRIC_WEIGHT = 6554, 13107  # M of 65536, to start with
USUAL_SIZE = 16  # errors are divided by a power of two until their mean is below


class Neighbours(NamedTuple):
    """Where the variables of each plane lie, as distances in the planes' memory.

    Attributes:
        taps, kinds: int64 [P, 40], distance of a variable, and how many planes before.
        counts: int64 [P].
        size_taps, size_counts: the same of sizes of errors.
    """

    taps: NDArray[np.int64]
    kinds: NDArray[np.int64]
    counts: NDArray[np.int64]
    size_taps: NDArray[np.int64]
    size_counts: NDArray[np.int64]


def neighbours(planes: int, area: int, stride: int) -> Neighbours:
    """The neighbourhood of planes of `area` samples in rows of `stride`."""
    taps, kinds, size_taps = (np.zeros((planes, 40), np.int64) for _ in range(3))
    counts, size_counts = np.zeros(planes, np.int64), np.zeros(planes, np.int64)
    near = Neighbours(taps, kinds, counts, size_taps, size_counts)
    for p in range(planes):
        found = []
        for kind, (count, places) in enumerate(zip(VARIABLES[min(p, 2)], (OWN, OTHER, OTHER), strict=True)):
            for i, (row, column) in enumerate(places[:count]):
                found.append((i + DELAY[kind], kind, row * stride + column - kind * area))
        for i, (_, kind, distance) in enumerate(sorted(found, key=lambda f: f[:2])):
            near.taps[p, i], near.kinds[p, i] = distance, kind
        near.counts[p] = len(found)
        distances = [
            row * stride + column - kind * area
            for kind, (count, places) in enumerate(
                zip(SIZE_VARIABLES[min(p, 2)], (OWN_SIZES, OTHER_SIZES, OTHER_SIZES), strict=True)
            )
            for row, column in places[:count]
        ]
        near.size_taps[p, : len(distances)], near.size_counts[p] = distances, len(distances)
    return near


def _start(planes: int, shift: int) -> tuple[Mixer, NDArray[np.int64], NDArray[np.int64]]:
    """Mixer, sizes and biases of a chunk that has seen nothing."""
    weights = np.zeros((planes * loops.ROWS, loops.INPUTS), np.int32)
    weights[:, : loops.CONTEXTS] = SLOT_WEIGHT
    weights[:, loops.CONTEXTS : loops.CONTEXTS + loops.PARAMETRIC] = PARAMETRIC_WEIGHT
    mixer = new_mixer(
        planes * loops.PLANE_SLOTS,
        loops.CONTEXTS,
        weights,
        planes * loops.NODES,
        planes * loops.NODES * 32,
        tables(),
    )
    sizes = np.zeros((planes * loops.PLANE_SIZES, 2), np.int64)
    sizes[:, 0] = 4 << (16 + shift)
    return mixer, sizes, np.zeros((planes * loops.PLANE_BIASES, 2), np.int64)


def encode_photo(samples: Samples) -> bytes:
    """The payload of a rectangle.

    Args:
        samples: uint8 or uint16 [H, W, C], C from 1 to 4.
    """
    _, width, channels = samples.shape
    planes = np.moveaxis(samples, 2, 0)[list(ORDERS[channels])].astype(np.int64)
    low, high = planes.min((1, 2)), planes.max((1, 2))
    rough = max(float(np.abs(np.diff(planes, axis=2)).mean()) if width > 1 else 0.0, 1.0)
    shift = 0
    while rough >= USUAL_SIZE << shift and int(high.max()) >> (8 + shift):
        shift += 1
    x = np.pad(planes, ((0, 0), (loops.TOP, loops.BOTTOM), (loops.SIDE, loops.SIDE)))
    io = new_io(decoding=False)
    buffer = np.zeros(4 * planes.size * samples.dtype.itemsize + 64, np.uint8)
    near = neighbours(channels, x.shape[1] * x.shape[2], x.shape[2])
    loops.code_photo(io, buffer, x, low, high, shift, near, *_tail(channels, shift))
    coded = ended(io, buffer)
    ranges = b"".join(put_uvarint(int(a)) + put_uvarint(int(z - a)) for a, z in zip(low, high, strict=True))
    return bytes([shift]) + ranges + coded


def _tail(channels: int, shift: int) -> tuple[Any, ...]:
    mixer, sizes, biases = _start(channels, shift)
    return mixer, tables(), sizes, biases


def decode_photo(payload: bytes, shape: tuple[int, int, int], dtype: SampleType, name: str) -> Samples:
    """What `encode_photo` was given.

    Args:
        payload: of the rectangle.
        shape: [H, W, C].
        dtype: uint8 or uint16.
        name: of the chunk, for errors.

    Raises:
        BitstreamError: damaged.
    """
    height, width, channels = shape
    top = int(np.iinfo(dtype).max)
    reader = ByteReader(payload, name)
    shift = reader.byte()
    if shift > 8:
        raise BitstreamError(f"{name}: shift is {shift}, allowed are 0 to 8; the file is damaged")
    low, high = np.zeros(channels, np.int64), np.zeros(channels, np.int64)
    for p in range(channels):
        low[p] = reader.uvarint(top, "lowest sample")
        high[p] = low[p] + reader.uvarint(top - int(low[p]), "range of samples")
    x = np.zeros(
        (channels, height + loops.TOP + loops.BOTTOM, width + 2 * loops.SIDE),
        np.int64,
    )
    io, data = begin(payload, reader.at)
    near = neighbours(channels, x.shape[1] * x.shape[2], x.shape[2])
    loops.code_photo(io, data, x, low, high, shift, near, *_tail(channels, shift))
    check_end(io, len(data), name)
    planes = x[:, loops.TOP : loops.TOP + height, loops.SIDE : loops.SIDE + width].astype(dtype)
    return np.ascontiguousarray(np.moveaxis(planes[list(np.argsort(ORDERS[channels]))], 0, 2))
