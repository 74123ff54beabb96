"""Arrays that need not fit in memory: in a temporary file that is mapped, moved a box of cells at a time.

    source --boxes along its chunks--> Spool --blocks--> codec        (reading)
    codec --blocks--> Spool --boxes along its chunks--> file          (writing)

Blocks of the codec and chunks of a file rarely share their borders; the spool stands between them, so that
each chunk is inflated, or deflated, once.
"""

from __future__ import annotations

import itertools
import math
import mmap
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from tersor.arrays import Numbers, NumberType
from tersor.errors import SignalError

LARGE_BYTES = 64 << 20  # G: files of arrays from here on are not held in memory
SMALL_BYTES = 1 << 20  # G: arrays below this always are
BOX_BYTES = 16 << 20  # G: large against the cost of a call, small against memory
PAGED_BYTES = 1 << 18  # G: of a mapped array that are touched before its pages are let go of
ALIGNED = 64  # bytes; of any type

Box = tuple[slice, ...]


class Spool:
    """Room for the arrays of one file: on disk where all of them are large, until the last of them is gone.
    They share files there, for there is an end to how many a process may have open.
    """

    def __init__(self) -> None:
        self._bytes = np.empty(0, np.uint8)
        self._used = self._in_memory = 0

    def room(self, shape: Sequence[int], dtype: NumberType) -> Numbers:
        """An array, its cells not set.

        Raises:
            SignalError: the disk of temporary files is full.
        """
        size = math.prod(shape) * dtype.itemsize
        if size < SMALL_BYTES or self._in_memory + size < LARGE_BYTES:
            self._in_memory += size
            return np.empty(tuple(shape), dtype)
        if self._used + size > len(self._bytes):
            self._bytes, self._used = _mapped(max(size, LARGE_BYTES)), 0
        part = self._bytes[self._used : self._used + size]
        self._used += -(-size // ALIGNED) * ALIGNED
        array: Numbers = part.view(dtype).reshape(tuple(shape))
        return array

    def filled(
        self, shape: Sequence[int], dtype: NumberType, chunks: Sequence[int], read: Callable[[Box], Any]
    ) -> Numbers:
        """An array with the cells that `read` gives for each box."""
        out = self.room(shape, dtype)
        for box in boxes(shape, chunks, dtype.itemsize):
            out[box] = read(box)
            release(out)
        return out


def _mapped(size: int) -> NDArray[np.uint8]:
    folder = tempfile.gettempdir()
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            allocate(file, size)
            return np.memmap(file, np.uint8, "r+", shape=(size,))
    except OSError as e:
        raise SignalError(
            f"{folder}: {size:,} bytes of temporary files are needed there ({e.strerror}); make room, or "
            "name another folder in TMPDIR"
        ) from e


def allocate(file: BinaryIO, size: int) -> None:
    """Make a file longer, with room on the disk now: a map of what is not there kills the process on a full
    one.

    Raises:
        OSError: there is no room.
    """
    file.flush()
    at = file.seek(0, os.SEEK_END)
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file.fileno(), at, size)
        return
    for start in range(0, size, BOX_BYTES):
        file.write(bytes(min(BOX_BYTES, size - start)))
    file.flush()


def boxes(shape: Sequence[int], chunks: Sequence[int], itemsize: int, most: int = BOX_BYTES) -> Iterator[Box]:
    """Parts of an array in its order, of whole chunks, each of `most` bytes or a chunk, whichever is larger.

    Args:
        shape: of the array.
        chunks: that it is stored in; empty for none.
        itemsize: bytes of a cell.
        most: bytes.
    """
    sides = [max(1, n) for n in shape]
    least = [min(max(1, c), n) for c, n in zip(chunks, sides, strict=True)] if chunks else [1] * len(sides)
    for axis, n in enumerate(sides):
        others = math.prod(sides) // n * itemsize
        if n * others > most:
            sides[axis] = max(1, most // (others * least[axis])) * least[axis]
    starts = (range(0, n, side) for n, side in zip(shape, sides, strict=True))
    for corner in itertools.product(*starts):
        yield tuple(slice(at, min(n, at + side)) for at, n, side in zip(corner, shape, sides, strict=True))


def release(values: Numbers) -> None:
    """Let go of the pages of a mapped array; they are read again when they are needed."""
    mapped = getattr(values, "_mmap", None) if isinstance(values, np.memmap) else None
    if mapped is not None and hasattr(mmap, "MADV_DONTNEED"):
        mapped.madvise(mmap.MADV_DONTNEED)


def contiguous(part: Numbers) -> Numbers:
    """As np.ascontiguousarray. Of a part of a mapped array a copy that holds no page of it; it is made bit by
    bit, since the kernel maps the neighbours of each page that is touched.
    """
    if not isinstance(part, np.memmap) or not part.size:
        return np.ascontiguousarray(part)
    out = np.empty(part.shape, part.dtype)
    for box in boxes(part.shape, (), part.itemsize, PAGED_BYTES):
        out[box] = part[box]
        release(part)
    return out


def pour(values: Numbers, target: Any, chunks: Sequence[int] = ()) -> None:
    """Copy an array into what takes boxes of it: a data set of a file. Numbers go in native byte order."""
    if not values.ndim or not values.size:
        target[...] = values
        return
    for box in boxes(values.shape, chunks, values.dtype.itemsize):
        part = contiguous(values[box])
        target[box] = part.astype(part.dtype.newbyteorder("="), copy=False)
