"""Cells of a field from integers, the order of floats, and what the bound means for a cell."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tersor.codecs.field.grid import Ints
from tersor.codecs.field.grid_loops import FRACTION_BITS
from tersor.errors import SignalError


def reconstruct(values: Ints, offset: float, unit: float, snap: bool, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Integers to cells: rounded to the lattice if `snap`, then one product and one sum in float64, then the
    dtype's own rounding.
    """
    if snap:
        half = 1 << (FRACTION_BITS - 1)
        steps = (values + (half - 1)) >> FRACTION_BITS
        if dtype.kind in "iu" and float(offset).is_integer() and (unit * (1 << FRACTION_BITS)).is_integer():
            whole = steps * int(unit * (1 << FRACTION_BITS)) + int(offset)
            limits = np.iinfo(dtype)
            return whole.clip(max(limits.min, -(1 << 62)), min(limits.max, 1 << 62)).astype(dtype)
        real = steps * (unit * (1 << FRACTION_BITS))
    else:
        real = values * unit
    real = real + offset
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        return np.rint(real).clip(float(limits.min), float(limits.max)).astype(dtype)
    with np.errstate(over="ignore"):
        return real.astype(dtype)


def within(x: NDArray[Any], y: NDArray[Any], bound: float) -> NDArray[np.bool_]:
    """Whether |x - y| <= bound, cell by cell; equality for bound 0, of the bits."""
    if bound == 0:
        kind = f"V{x.dtype.itemsize}"
        same: NDArray[np.bool_] = x.view(kind) == y.view(kind)
        return same
    with np.errstate(over="ignore", invalid="ignore"):
        if x.dtype.kind in "iu":
            apart = (
                np.where(x > y, x - y, y - x).astype(np.float64)
                if x.dtype.itemsize == 8
                else np.abs(x.astype(np.int64) - y.astype(np.int64)).astype(np.float64)
            )
        else:
            wide = np.longdouble if x.dtype.itemsize == 8 else np.float64
            apart = np.abs(x.astype(wide) - y.astype(wide))
        good: NDArray[np.bool_] = apart <= bound
        return good


def to_ordered(flat: NDArray[Any]) -> NDArray[Any]:
    """The bits of floats as signed integers in the order of the floats."""
    i = flat.view(f"i{flat.dtype.itemsize}")
    return np.where(i < 0, i ^ np.iinfo(i.dtype).max, i)


def from_ordered(integers: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    return np.where(integers < 0, integers ^ np.iinfo(integers.dtype).max, integers).view(dtype)


def fill_values(attribute: Any, option: float | None) -> NDArray[Any]:
    """The values that mark missing cells: a variable's own `_FillValue`, else the caller's; attributes that
    are not numbers mark nothing.

    Raises:
        SignalError: the caller's is not a number.
    """
    own = np.atleast_1d(np.asarray([] if attribute is None else attribute))
    if own.size and own.dtype.kind in "fiub":
        return own.reshape(-1)
    if option is None:
        return np.empty(0)
    given = np.asarray(option)
    if given.ndim or given.dtype.kind not in "fiub":
        raise SignalError(f"fill_value is {option!r}; a number is needed")
    return given.reshape(1)


def special_cells(x: NDArray[Any], fills: NDArray[Any]) -> NDArray[np.bool_]:
    """Which cells are kept bit by bit."""
    special: NDArray[np.bool_] = ~np.isfinite(x) if x.dtype.kind == "f" else np.zeros(x.shape, np.bool_)
    for fill in fills:
        with np.errstate(over="ignore", invalid="ignore"):
            typed = np.asarray(fill).astype(x.dtype)
        if x.dtype.kind == "f" or typed == fill:  # 1e20 is no value of an integer
            special |= x == typed
    return special
