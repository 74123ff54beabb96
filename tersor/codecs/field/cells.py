"""Cells of a field from integers, the order of floats, and what the bound means for a cell."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tersor.arrays import Integers, Numbers, NumberType
from tersor.codecs.field.grid import Ints
from tersor.codecs.field.grid_loops import FRACTION_BITS
from tersor.errors import SignalError


def reconstruct(values: Ints, offset: float, unit: float, snap: bool, dtype: NumberType) -> Numbers:
    """Integers to cells: rounded to the lattice if `snap`, then one product and one sum in float64, then the
    dtype's own rounding.
    """
    if snap:
        half = 1 << (FRACTION_BITS - 1)
        steps = (values + (half - 1)) >> FRACTION_BITS
        if dtype.kind in "iu" and float(offset).is_integer() and (unit * (1 << FRACTION_BITS)).is_integer():
            whole = steps * int(unit * (1 << FRACTION_BITS)) + int(offset)
            limits = np.iinfo(dtype.str)
            return whole.clip(max(limits.min, -(1 << 62)), min(limits.max, 1 << 62)).astype(dtype)
        real = steps * (unit * (1 << FRACTION_BITS))
    else:
        real = values * unit
    real = real + offset
    if dtype.kind in "iu":
        limits = np.iinfo(dtype.str)
        return np.rint(real).clip(float(limits.min), float(limits.max)).astype(dtype)
    with np.errstate(over="ignore"):
        return real.astype(dtype)


def within(x: Numbers, y: Numbers, bound: float) -> NDArray[np.bool_]:
    """Whether |x - y| <= bound, cell by cell; equality for bound 0, of the bits."""
    if bound == 0:
        kind = f"V{x.dtype.itemsize}"
        same: NDArray[np.bool_] = x.view(kind) == y.view(kind)
        return same
    with np.errstate(over="ignore", invalid="ignore"):
        if x.dtype.kind in "iu":
            apart = (
                np.where(x > y, np.subtract(x, y), np.subtract(y, x)).astype(np.float64)
                if x.dtype.itemsize == 8
                else np.abs(x.astype(np.int64) - y.astype(np.int64)).astype(np.float64)
            )
        else:
            wide = np.longdouble if x.dtype.itemsize == 8 else np.float64
            apart = np.abs(x.astype(wide) - y.astype(wide))
        good: NDArray[np.bool_] = apart <= bound
        return good


def to_ordered(flat: Numbers) -> Numbers:
    """The bits of floats as signed integers in the order of the floats."""
    i = flat.view(f"i{flat.dtype.itemsize}")
    return np.where(i < 0, i ^ np.iinfo(i.dtype).max, i)


def from_ordered(integers: Integers, dtype: NumberType) -> Numbers:
    return np.where(integers < 0, integers ^ np.iinfo(integers.dtype).max, integers).view(dtype)


NETCDF_FILL = 9.9692099683868690e36  # F: what the netCDF library writes where nothing was written (floats)


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """Which cells hold no measurement: they are kept bit by bit and left out of ranges.

    Attributes:
        markers: values that mark missing cells.
        low, high: what lies outside is invalid (CF `valid_min`, `valid_max`, `valid_range`).
    """

    markers: tuple[Any, ...] = ()
    low: float = -math.inf
    high: float = math.inf

    @classmethod
    def of(cls, attributes: Mapping[str, object], encoding: Mapping[str, object], option: Any) -> Missing:
        """From a variable's attributes (`_FillValue`, `missing_value`, `valid_*`; what is no number marks
        nothing), from how its source stored it (`fillvalue`), and from the caller.

        Raises:
            SignalError: the caller's is not a number.
        """
        if option is not None and (np.ndim(option) or np.asarray(option).dtype.kind not in "fiub"):
            raise SignalError(f"fill_value is {option!r}; a number is needed")
        own = [attributes.get("_FillValue"), attributes.get("missing_value"), encoding.get("fillvalue")]
        markers = [m for v in (*own, option) for m in _numbers(v)] + [NETCDF_FILL]
        both = _numbers(attributes.get("valid_range"))
        low, high = both if len(both) == 2 else (None, None)
        low = next(iter(_numbers(attributes.get("valid_min"))), low)
        high = next(iter(_numbers(attributes.get("valid_max"))), high)
        return cls(
            markers=tuple(markers),
            low=-math.inf if low is None or np.isnan(low) else float(low),
            high=math.inf if high is None or np.isnan(high) else float(high),
        )

    def cells(self, x: Numbers) -> NDArray[np.bool_]:
        """Which cells are kept bit by bit."""
        out: NDArray[np.bool_] = ~np.isfinite(x) if x.dtype.kind == "f" else np.zeros(x.shape, np.bool_)
        with np.errstate(over="ignore", invalid="ignore"):
            for marker in self.markers:
                typed = np.asarray(marker).astype(x.dtype)
                if x.dtype.kind == "f" or typed == marker:  # 1e20 is no value of an integer
                    out |= x == typed
            if self.low > -math.inf:
                out |= x < self.low
            if self.high < math.inf:
                out |= x > self.high
        return out


def _numbers(value: Any) -> list[Any]:
    v = np.atleast_1d(np.asarray([] if value is None else value))
    return list(v.reshape(-1)) if v.dtype.kind in "fiub" else []
