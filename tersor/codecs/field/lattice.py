"""Values that lie on a lattice: integers, packed data, counts stored as floats."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tersor.codecs.field.survey import Survey

LATTICE_SHARE = 0.999  # G: of the cells that must lie on the lattice; the rest are stored as they are


@dataclass(frozen=True, slots=True, kw_only=True)
class Lattice:
    """Cells are offset + step * integer, exactly or within the bound."""

    offset: float
    step: float


def find_lattice(cells: Survey, bound: float) -> Lattice | None:
    """What the values lie on, if coding its points is at least as good as rounding to bins: integers, packed
    data; the integers of a float's bits are not one.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        return _lattice_of(cells, bound)


def _lattice_of(cells: Survey, bound: float) -> Lattice | None:
    count, low, _ = cells.extremes
    if not count:
        return None
    if cells.dtype.kind in "iu":
        whole = math.floor(min(bound, float(1 << 40)))
        return Lattice(offset=float(low), step=float(2 * whole + 1)) if abs(int(low)) < 1 << 53 else None
    sample = cells.sample
    if len(sample) < 3:
        return None
    gaps = np.diff(sample)
    gaps = gaps[gaps > 4 * float(np.finfo(low.dtype).eps) * float(np.abs(sample).max())]
    if not len(gaps) or float(gaps.min()) < 2 * bound:
        return None
    step = float(gaps.min())
    # a mean over many steps is better than one gap, which carries the rounding of two values
    for _ in range(3):
        k = np.round((sample - sample[0]) / step)
        if k[-1] < 1 or k[-1] > 1 << 30:
            return None
        step = float((k * (sample - sample[0])).sum() / (k * k).sum())
    near = same = 0
    for known in cells.stretches():
        k = np.round((known.astype(np.float64) - sample[0]) / step)
        near += int((np.abs((sample[0] + k * step) - known.astype(np.float64)) <= max(bound, 0.0)).sum())
        same += int(((sample[0] + k * step).astype(known.dtype) == known).sum())
    if same > LATTICE_SHARE * count or (bound > 0 and near > LATTICE_SHARE * count):
        return Lattice(offset=float(sample[0]), step=step)
    return None
