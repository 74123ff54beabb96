"""Frozen probability tables: integer counts of a weights file, and the coder's models made of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import constriction
import numpy as np
from numpy.typing import NDArray

from tersor.arrays import Integers
from tersor.errors import WeightsError

TOTAL = 1 << 16  # F
NO_LIMIT = 1 << 30  # G: larger than any symbol


class FrozenTables:
    """Probability tables of a model.

    Args:
        counts: uint16 or wider [sum of (2 R + 1)], all tables one after the other; each sums to 65,536 and
            has no zero.
        radii: [n_tables], R of each table; 0 marks a certain table.
    """

    def __init__(self, counts: Integers, radii: Integers) -> None:
        self.radii = radii.astype(np.int64)
        sizes = 2 * self.radii + 1
        if sizes.sum() != len(counts):
            raise WeightsError(
                f"probability tables: {len(counts)} counts, {int(sizes.sum())} expected; "
                "the weights file is damaged"
            )
        ends = np.cumsum(sizes)
        self.limits = np.where(self.radii > 0, self.radii, NO_LIMIT).astype(np.int32)
        self.models: list[object] = []
        self.bits: list[NDArray[np.float64]] = []
        self.counts: list[NDArray[np.int64]] = []
        for end, size in zip(ends, sizes, strict=True):
            table = counts[end - size : end].astype(np.float64)
            if table.sum() != TOTAL or table.min() < 1:
                raise WeightsError(
                    f"probability table {len(self.models)}: counts sum to {table.sum():g} and start at "
                    f"{table.min():g}; needed are {TOTAL} and 1"
                )
            self.models.append(
                None if size == 1 else constriction.stream.model.Categorical(table / TOTAL, perfect=False)
            )
            self.counts.append(table.astype(np.int64))
            self.bits.append(-np.log2(table / TOTAL))

    def __len__(self) -> int:
        return len(self.radii)

    def bit_matrix(self, radius: int) -> NDArray[np.float32]:
        """Bits of the symbols -radius..radius in every table, [n_tables, 2 radius + 1]; escapes cost their
        table's end plus 7 bits an octave.
        """
        s = np.arange(-radius, radius + 1)
        out = np.empty((len(self), len(s)), np.float32)
        for row, (r, bits) in zip(out, zip(self.radii, self.bits, strict=True), strict=True):
            over = np.abs(s) - r
            row[:] = bits[np.clip(s, -r, r) + r] + np.where(
                over >= 0, 8 + np.log2(np.maximum(over, 0) + 1) if r else 40 * np.abs(s), 0
            )
        return out


def counts_from_histogram(histogram: Sequence[float] | NDArray[np.floating[Any]]) -> NDArray[np.uint32]:
    """Round positive weights to integer counts >= 1 that sum to 65,536; the largest counts absorb the
    rounding.
    """
    h = np.asarray(histogram, np.float64)
    counts = np.maximum(1, np.floor(h / h.sum() * TOTAL)).astype(np.int64)
    while (missing := TOTAL - int(counts.sum())) != 0:
        top = np.argsort(counts, kind="stable")[::-1][: max(1, min(abs(missing), len(h) // 4 or 1))]
        share = missing // len(top) if abs(missing) >= len(top) else (1 if missing > 0 else -1)
        counts[top] = np.maximum(1, counts[top] + share)
    return counts.astype(np.uint32)
