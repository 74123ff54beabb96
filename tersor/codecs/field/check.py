"""The promise of the field codec: what its decoder gives is inside the bound."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tersor.arrays import Numbers
from tersor.codecs.field.cells import within
from tersor.errors import BoundError


def check(x: Numbers, special: NDArray[np.bool_], y: Numbers, bound: float, pointwise: bool) -> None:
    """Compare cells with what the decoder made of their payload.

    Args:
        x: cells as they went in.
        special: cells that must come back bit by bit.
        y: decoded cells.
        bound: largest absolute error, or relative to each |x| if `pointwise`.

    Raises:
        BoundError: a cell is off by more, or a special cell changed.
    """
    good = (within_relative if pointwise else within)(x.reshape(-1), y.reshape(-1), bound) | special.reshape(
        -1
    )
    if not good.all():
        at = int(np.flatnonzero(~good)[0])
        change = f"{x.reshape(-1)[at]!r} -> {y.reshape(-1)[at]!r}"
        raise BoundError(
            f"{int((~good).sum())} cells miss the bound {bound:g}, first {change}: a fault of tersor, "
            "nothing was written; report it"
        )
    if not within(x[special], y[special], 0.0).all():
        raise BoundError(
            "cells that must be kept exactly have changed: a fault of tersor, nothing was written; report it"
        )


def within_relative(x: Numbers, y: Numbers, bound: float) -> NDArray[np.bool_]:
    """Whether |x - y| <= bound |x|, cell by cell, in more digits than either has."""
    with np.errstate(invalid="ignore", over="ignore"):
        wide_x, wide_y = x.astype(np.longdouble), y.astype(np.longdouble)
        good: NDArray[np.bool_] = np.abs(wide_x - wide_y) <= np.longdouble(bound) * np.abs(wide_x)
    return good
