"""Attributes of array files: which values can be kept, and which a format can hold."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tersor.signals.field import Empty


def kept(attributes: Mapping[str, object]) -> tuple[dict[str, object], list[str]]:
    """What can be kept of a source's attributes, and the names of what cannot (references, ragged arrays)."""
    out, lost = {}, []
    for name, value in attributes.items():
        try:
            out[str(name)] = _kept(value)
        except (TypeError, ValueError):
            lost.append(str(name))
    return out, lost


def _kept(value: Any) -> Any:
    """Raises: TypeError or ValueError where there is no form that is read back as it was."""
    if type(value).__name__ == "Empty" and hasattr(value, "dtype"):
        return Empty(np.dtype(value.dtype).str)
    if isinstance(value, (str, bytes, Empty, np.bytes_)):
        return value
    if isinstance(value, (np.ndarray, np.generic)):
        if value.dtype.kind in "fc" and value.dtype.itemsize > {"f": 8, "c": 16}[value.dtype.kind]:
            raise TypeError(value.dtype)  # of another width on each machine
        if value.dtype.kind in "fiubcUS" or (value.dtype.kind == "V" and not value.dtype.hasobject):
            return value
        if value.dtype.kind in "OT":
            cells = [
                v.decode() if isinstance(v, bytes) else v for v in np.asarray(value).reshape(-1).tolist()
            ]
            if all(isinstance(v, str) for v in cells):
                return np.array(cells, object).reshape(value.shape)
        raise TypeError(value.dtype)
    return json.loads(json.dumps(value))


def held(attributes: Mapping[str, object], form: Callable[[Any], Any]) -> tuple[dict[str, object], list[str]]:
    """Attributes in a format's own form, and the names of those for which `form` raises TypeError."""
    out, lost = {}, []
    for name, value in attributes.items():
        try:
            out[name] = form(value)
        except TypeError:
            lost.append(name)
    return out, lost


def for_netcdf(value: Any) -> Any:
    """Text, numbers and lists of them.

    Raises:
        TypeError: NetCDF has no such attribute.
    """
    if isinstance(value, bytes):
        return value.decode("latin-1")
    if isinstance(value, (bool, np.bool_, Empty, dict)) or value is None:
        raise TypeError(value)
    if isinstance(value, (np.ndarray, np.generic)):
        if value.dtype.kind in "OU":
            return [str(v) for v in value.reshape(-1)] if value.ndim == 1 else _refuse(value)
        if value.dtype.kind == "S":
            return [v.decode("latin-1") for v in value.reshape(-1)] if value.ndim == 1 else _refuse(value)
        return (
            value if value.dtype.kind in "fiu" and value.ndim < 2 and value.dtype != "f2" else _refuse(value)
        )
    if isinstance(value, list):
        same = len({type(v) for v in value}) == 1 and isinstance(value[0], (str, int, float))
        return value if same and not isinstance(value[0], bool) else _refuse(value)
    return value


def for_zarr(value: Any) -> Any:
    """What JSON holds; numbers of numpy become Python's.

    Raises:
        TypeError: JSON has no such value.
    """
    if isinstance(value, (bytes, Empty)):
        raise TypeError(value)
    if isinstance(value, (np.ndarray, np.generic)):
        return value if value.dtype.kind in "fiubOU" else _refuse(value)
    return value


def _refuse(value: Any) -> Any:
    raise TypeError(value)


def left_out(what: str, names: list[str]) -> tuple[str, ...]:
    """A note, if there is something to note."""
    return (f"{what} left out: {', '.join(names)}",) if names else ()
