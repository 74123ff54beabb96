"""Values that lie on a lattice: integers, packed data, counts stored as floats."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

LATTICE_SAMPLE = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Lattice:
    """Cells are offset + step * integer, exactly or within the bound."""

    offset: float
    step: float


def find_lattice(x: NDArray[Any], special: NDArray[np.bool_], bound: float) -> Lattice | None:
    """What the values lie on, if coding its points is at least as good as rounding to bins: integers, packed
    data; the integers of a float's bits are not one.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        return _lattice_of(x[~special], bound)


def _lattice_of(known: NDArray[Any], bound: float) -> Lattice | None:
    if not known.size:
        return None
    if known.dtype.kind in "iu":
        whole = math.floor(min(bound, float(1 << 40)))
        low = int(known.min())
        return Lattice(offset=float(low), step=float(2 * whole + 1)) if abs(low) < 1 << 53 else None
    sample = np.unique(known[:: len(known) // LATTICE_SAMPLE + 1]).astype(np.float64)
    if len(sample) < 3:
        return None
    gaps = np.diff(sample)
    gaps = gaps[gaps > 4 * float(np.finfo(known.dtype).eps) * float(np.abs(sample).max())]
    if not len(gaps) or float(gaps.min()) < 2 * bound:
        return None
    step = float(gaps.min())
    # a mean over many steps is better than one gap, which carries the rounding of two values
    for _ in range(3):
        k = np.round((sample - sample[0]) / step)
        if k[-1] < 1 or k[-1] > 1 << 30:
            return None
        step = float((k * (sample - sample[0])).sum() / (k * k).sum())
    k = np.round((known.astype(np.float64) - sample[0]) / step)
    near = np.abs((sample[0] + k * step) - known.astype(np.float64)) <= max(bound, 0.0)
    same = (sample[0] + k * step).astype(known.dtype) == known
    exact = bool(same.mean() > 0.999)
    if exact or (bound > 0 and bool(near.mean() > 0.999)):
        return Lattice(offset=float(sample[0]), step=step)
    return None
