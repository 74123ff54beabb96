"""Some crops of an array, spread over it, from which it is judged how sizes and errors follow the bound."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tersor.arrays import Numbers
from tersor.codecs.field import nested
from tersor.codecs.field.block_encode import MAX_NESTED, Way, encode_block, in_units, ways_of
from tersor.codecs.field.effort import Effort
from tersor.codecs.field.lattice import find_lattice
from tersor.codecs.field.nested_block import NestedTrial
from tersor.codecs.field.survey import Survey
from tersor.codecs.parallel import side_by_side
from tersor.entropy.magnitude_tables import magnitude_tables

CROP_CELLS = 1 << 15  # G: most cells of a crop
LEAST_CROPS = 2  # G
SHARE = 16  # G: of the cells, one in so many is in a crop
EFFORT = 3  # G: at which crops are judged, at most


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What a bound makes of an array, judged by its crops.

    Attributes:
        size: bytes.
        squared_error: mean over the cells that are not special.
    """

    size: float
    squared_error: float


Crop = tuple[Numbers, NDArray[np.bool_]]  # cells, and which of them are kept aside


class Sample:
    """Crops of an array.

    Args:
        cells: the array.
        effort: 1 to 9.

    Attributes:
        way: that crops are predicted, the usual one until `choose` was asked.
    """

    def __init__(self, cells: Survey, effort: int) -> None:
        self._survey, self._effort, self._level = cells, Effort.of(min(effort, EFFORT)), min(effort, EFFORT)
        side = _halved(cells.axes, CROP_CELLS)
        self._crops = [cells.block(place) for place in _places(cells.axes, side)]
        self._most = Effort.of(effort)
        self._scale = math.prod(cells.axes) / max(1, sum(x.size for x, _ in self._crops))
        self._shape = side
        self.way: Way = ways_of(side, self._most)[0]

    def judge(self, bound: float) -> Judged:
        """Size and error at an absolute bound."""
        return self._judge(bound, self.way)

    def choose(self, bound: float) -> None:
        """Take the way that is smallest at a bound."""
        ways = ways_of(self._shape, self._most)
        sizes = {w: self._judge(bound, w).size for w in ways}
        if self._most.orders:
            frames, slope, order = min(sizes, key=sizes.__getitem__)
            others = {order, *nested.other_orders(len(self._shape), frames)} - {order}
            sizes |= {w: self._judge(bound, w).size for w in [(frames, slope, o) for o in sorted(others)]}
        self.way = min(sizes, key=sizes.__getitem__)

    def exact_size(self) -> float:
        """Bytes without loss."""
        lattice = find_lattice(self._survey, 0.0)

        def one(crop: Crop) -> int:
            return len(encode_block(crop[0], 0.0, crop[1], lattice, self._level, self.way))

        return self._scale * sum(side_by_side(one, self._crops))

    def _judge(self, bound: float, way: Way) -> Judged:
        lattice = find_lattice(self._survey, bound)

        def one(crop: Crop) -> tuple[float, float, int]:
            x, special = crop
            flat, valid = x.reshape(-1), ~special.reshape(-1)
            if not valid.any():
                return 0.0, 0.0, 0
            scaled, count = in_units(flat, valid, bound, lattice), int(valid.sum())
            if scaled is None or np.abs(scaled[2]).max() >= MAX_NESTED:
                return float(flat.nbytes), 0.0, count
            _, unit, target = scaled
            known = valid if count < valid.size else np.empty(0, np.bool_)
            frames, slope, order = way
            tables, snap = magnitude_tables(), lattice is not None
            trial = NestedTrial(x.shape, target, known, frames, snap, order, slope, self._effort, tables)
            step = unit * 64 if snap else unit
            apart = (nested.cells_of(trial.values, trial.plan) - trial.target) * step
            if snap:  # how far the lattice's own points are from the cells
                assert lattice is not None
                apart = target * step + lattice.offset - flat
                apart[~valid] = 0
            elif trial.valid.size:
                apart[~trial.valid] = 0
            return trial.bits / 8, float(np.square(apart, dtype=np.float64).sum()), count

        found = side_by_side(one, self._crops)
        count = max(1, sum(c for _, _, c in found))
        return Judged(
            size=self._scale * sum(s for s, _, _ in found),
            squared_error=math.fsum(e for _, e, _ in found) / count,
        )


def _halved(axes: tuple[int, ...], cells: int) -> tuple[int, ...]:
    """Halve the longest axis until there are at most this many cells."""
    shape = [max(1, n) for n in axes]
    while math.prod(shape) > cells:
        longest = max(range(len(shape)), key=lambda j: shape[j])
        shape[longest] = -(-shape[longest] // 2)
    return tuple(shape)


def _places(axes: tuple[int, ...], side: tuple[int, ...]) -> list[tuple[slice, ...]]:
    """Boxes of one shape, in even steps through the array."""
    counts = [-(-n // s) for n, s in zip(axes, side, strict=True)]
    total = math.prod(counts)
    wanted = min(total, max(LEAST_CROPS, total // SHARE))
    picked = {total * (2 * i + 1) // (2 * wanted) for i in range(wanted)}
    starts = [[min(i * s, n - s) for i in range(c)] for n, s, c in zip(axes, side, counts, strict=True)]
    boxes = itertools.product(*starts)
    return [
        tuple(slice(at, at + s) for at, s in zip(box, side, strict=True))
        for i, box in enumerate(boxes)
        if i in picked
    ]
