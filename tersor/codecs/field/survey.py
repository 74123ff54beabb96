"""An array as the encoder reads it: a stretch or a block at a time, so that it may lie in a file (.npy mapped
into memory) and need not fit there.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tersor.arrays import Numbers
from tersor.codecs.field.cells import Missing
from tersor.codecs.field.header import channels_last, coded_axes
from tersor.files.spool import contiguous, release

SAMPLE_CELLS = 1 << 16  # G: of which all values are known
STRETCH_CELLS = 1 << 20  # G: large against the cost of a stretch, small against memory


class Survey:
    """The cells of an array in the order and type they are coded in, and what is known of all of them.

    Args:
        values: any shape and dtype of header.DTYPES, either byte order.
        missing: which of its cells are kept aside.

    Attributes:
        axes: the coded shape, 1 to 4 axes.
        dtype: native; uint8 for booleans.
    """

    def __init__(self, values: Numbers, missing: Missing) -> None:
        self.axes = coded_axes(values.shape)
        planes = np.moveaxis(values, 2, 0) if channels_last(values.shape) else values
        self._x = planes.reshape(self.axes)
        self.missing = missing
        native = values.dtype.newbyteorder("=")
        self.dtype = np.dtype(np.uint8) if native == np.bool_ else native

    @property
    def nbytes(self) -> int:
        return int(self._x.nbytes)

    def block(self, place: tuple[slice, ...]) -> tuple[Numbers, NDArray[np.bool_]]:
        """Cells of a block, contiguous, and which of them are kept bit by bit."""
        x = contiguous(self._x[place])
        x = x.view(np.uint8) if x.dtype == np.bool_ else x.astype(self.dtype, copy=False)
        return x, self.missing.cells(x)

    def release(self) -> None:
        """Let go of what was read of an array mapped from a file; it is read again when it is needed."""
        release(self._x)

    def stretches(self) -> Iterator[Numbers]:
        """The cells that are not special, in order, [n] each."""
        if self._x.size <= STRETCH_CELLS:
            yield self._known(slice(None))
            return
        rows = max(1, STRETCH_CELLS * self.axes[0] // self._x.size)
        for at in range(0, self.axes[0], rows):
            yield self._known(slice(at, at + rows))
            self.release()

    def _known(self, rows: slice) -> Numbers:
        x, special = self.block((rows,))
        return x[~special] if special.any() else x.reshape(-1)

    @functools.cached_property
    def extremes(self) -> tuple[int, Any, Any]:
        """How many cells are not special, the smallest and the largest; (0, 0, 0) if there is none."""
        found = [(k.size, k.min(), k.max()) for k in self.stretches() if k.size]
        if not found:
            return 0, 0, 0
        return sum(n for n, _, _ in found), min(a for _, a, _ in found), max(b for _, _, b in found)

    @functools.cached_property
    def sample(self) -> NDArray[np.float64]:
        """Each value of every so many cells, sorted."""
        every, taken, at = self.extremes[0] // SAMPLE_CELLS + 1, [], 0
        for known in self.stretches():
            taken.append(known[-at % every :: every].copy())  # not a view, which would hold all cells
            at += len(known)
        return np.unique(np.concatenate(taken)).astype(np.float64)

    @property
    def range(self) -> tuple[float, float]:
        """Smallest and largest value, as float64."""
        _, low, high = self.extremes
        return float(low), float(high)
