"""Cells that are kept as they are: what is not finite, and fill values."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tersor.errors import SignalError


def fill_values(attribute: Any, option: float | None) -> NDArray[Any]:
    """The values that mark missing cells: a variable's own `_FillValue`, else the caller's; attributes that are not numbers mark nothing.

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
