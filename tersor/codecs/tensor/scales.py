"""Classes of values by the scale of their row and column: each class has its own table of symbols.

Rows and columns of a weight matrix differ in scale by octaves, so log |w[i, j]| is about row[i] + column[j] +
noise (a two-way layout). The encoder takes the means of the exponents, rounds them to half or quarter
octaves, and a value's class is the sum, held inside 0..highest. Which of the two are worth their bytes it
sees on a sample.

    grid:  flags (1 rows, 2 columns) | highest | rows, int8 [R] or one | columns, int8 [C] or none
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tersor.arrays import Words
from tersor.codecs.tensor import planes
from tersor.container import ByteReader
from tersor.entropy import lanes
from tersor.errors import BitstreamError

# M: by tersor eval --codec tensor, on weights that packages ship.
MAX_CLASSES = 16  # F
ROWS, COLUMNS = 1, 2  # F
FINE_FROM = 1 << 19  # M: words from which classes are quarter octaves wide instead of half
SAMPLE = 1 << 15  # M: words on which the choice is made
LEAST = 1 << 12  # G: words from which there is a choice
DEEP = 20  # G: octaves below the largest exponent that count
OUTSIDE = 0.001  # G: share of values at each end that need no class of their own
TABLE_BITS = 6  # G: bits that a letter of a table takes after zlib, for the estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """Scale of rows and columns, in steps.

    Attributes:
        rows: int16 [R or 1], -128 to 127.
        columns: int16 [C] or None.
        highest: class, 0 to 15.
    """

    rows: NDArray[np.int16]
    columns: NDArray[np.int16] | None
    highest: int

    @property
    def number(self) -> int:
        return self.highest + 1

    def classes(self, n: int, columns: int) -> NDArray[np.uint8]:
        """uint8 [n], row by row."""
        if self.highest == 0:
            return np.zeros(n, np.uint8)
        out = np.empty(n, np.uint8)
        rows = self.rows if len(self.rows) > 1 else np.repeat(self.rows, -(-n // columns))
        across = np.zeros(columns, np.int16) if self.columns is None else self.columns
        planes.classes(rows, across, self.highest, out)
        return out

    def pack(self) -> bytes:
        flags = ROWS * (len(self.rows) > 1) | COLUMNS * (self.columns is not None)
        across = b"" if self.columns is None else self.columns.astype(np.int8).tobytes()
        return bytes([flags, self.highest]) + self.rows.astype(np.int8).tobytes() + across

    @classmethod
    def unpack(cls, r: ByteReader, rows: int, columns: int) -> Grid:
        flags, highest = r.take(2)
        if flags > (ROWS | COLUMNS) or highest >= MAX_CLASSES:
            raise BitstreamError(
                f"{r.name}: {highest + 1} classes with flags {flags}; allowed are 16 and 3: the file is "
                "damaged"
            )
        down = np.frombuffer(r.take(rows if flags & ROWS else 1), np.int8).astype(np.int16)
        across = np.frombuffer(r.take(columns), np.int8).astype(np.int16) if flags & COLUMNS else None
        return cls(rows=down, columns=across, highest=highest)


ONE = Grid(rows=np.zeros(1, np.int16), columns=None, highest=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Levels:
    """Where a value's scale is read: the exponent inside its word.

    Attributes:
        words: uint [n]: the values, or floats as large as them.
        at: lowest bit of the exponent.
        bits: its width.
    """

    words: Words
    at: int
    bits: int


def choose(levels: Levels | None, field: NDArray[np.uint16], columns: int, bits: int) -> Grid:
    """The grid of a chunk that makes it smallest, judged on a sample of its rows.

    Args:
        levels: of the values; None for numbers that have one class.
        field: uint16 [n], below 2^bits.
        columns: values in a row.
        bits: of the field.
    """
    n = len(field)
    whole = n // columns
    if levels is None or n < LEAST or columns < 8 or whole < 2:
        return ONE
    down, across = np.empty(-(-n // columns), np.int64), np.empty(columns, np.int64)
    some = levels.words[:: max(1, n // SAMPLE)]
    top = int((some >> some.dtype.type(levels.at) & some.dtype.type((1 << levels.bits) - 1)).max())
    planes.scales(levels.words, levels.at, levels.bits, max(0, top - DEEP), columns, down, across)
    fineness = 4 if n >= FINE_FROM else 2
    sizes = np.full(len(down), columns)
    sizes[-1] = n - columns * (len(down) - 1)
    mean = down.sum() / n
    by_row = np.rint(fineness * (down / sizes)).astype(np.int64)
    by_column = np.rint(fineness * (across / (n / columns) - mean)).astype(np.int64)
    flat = np.full(1, round(fineness * mean), np.int64)
    rows = min(whole, max(1, min(SAMPLE, n // 8) // columns))
    taken = np.arange(rows) * whole // rows
    sample = np.ascontiguousarray(field[: whole * columns].reshape(whole, columns)[taken]).ravel()
    best, least = ONE, _bits(sample, ONE, columns, bits, n)
    for grid in (_grid(by_row, None), _grid(flat, by_column), _grid(by_row, by_column)):
        part = Grid(
            rows=grid.rows[taken] if len(grid.rows) > 1 else grid.rows,
            columns=grid.columns,
            highest=grid.highest,
        )
        size = _bits(sample, part, columns, bits, n) + _side_bits(grid) * len(sample) / n
        if size < least:
            best, least = grid, size
    return best


def _grid(rows: NDArray[np.int64], columns: NDArray[np.int64] | None) -> Grid:
    """Steps shifted so that the upper end of the sums fills the classes; what is lower shares class 0."""
    across = np.zeros(1, np.int64) if columns is None else columns
    least = rows.min() + across.min()
    # every row meets every column: the histogram of sums is the two histograms' convolution
    often = np.convolve(np.bincount(rows - rows.min()), np.bincount(across - across.min())).cumsum()
    low, high = (int(least + np.searchsorted(often, often[-1] * share)) for share in (OUTSIDE, 1 - OUTSIDE))
    highest = min(MAX_CLASSES - 1, high - low)
    return Grid(
        rows=np.clip(rows - (high - highest), -128, 127).astype(np.int16),
        columns=None if columns is None else np.clip(columns, -128, 127).astype(np.int16),
        highest=highest,
    )


def _bits(sample: NDArray[np.uint16], grid: Grid, columns: int, bits: int, n: int) -> float:
    """Size of a sample of a chunk of n, with its share of the tables."""
    counts = np.zeros((2, grid.number, (1 << bits) + lanes.GAP), np.uint32)
    lanes.count(sample, grid.classes(len(sample), columns), counts)
    ideal, letters = planes.entropy(counts)
    # tables learned from a sample fit it too well, by half a nat a letter (Miller, 1955)
    return float(ideal + letters * (0.72 + TABLE_BITS * len(sample) / n))


def _side_bits(grid: Grid) -> float:
    """Bits of rows and columns: their order-0 entropy."""
    total = 0.0
    for steps in (grid.rows, grid.columns):
        if steps is not None and len(steps) > 1:
            counts = np.bincount(steps.astype(np.int64) + 128)
            share = counts[counts > 0] / len(steps)
            total -= float(len(steps) * (share * np.log2(share)).sum())
    return total
