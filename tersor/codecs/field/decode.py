"""From blocks back to a field, or to the part that was asked for."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tersor.codecs.field.header import Variable, channels_last
from tersor.errors import SignalError


def _by_dims(slices: Any, dims: tuple[str, ...]) -> Any:
    """Slices by the names of axes as slices by position."""
    return tuple(slices.get(d, slice(None)) for d in dims) or None if isinstance(slices, dict) else slices


def _asked(slices: Any, v: Variable) -> list[slice]:
    """What was asked for, along every axis of the variable.

    Raises:
        SignalError: no slices, too many, or with steps.
    """
    given = () if slices is None else slices if isinstance(slices, tuple) else (slices,)
    if len(given) > len(v.shape) or not all(isinstance(s, slice) and s.step in (None, 1) for s in given):
        raise SignalError(
            f"slices {slices!r} do not fit an array of shape {v.shape}; give slice(start, "
            "stop) for its leading axes"
        )
    out = []
    for s, n in zip((*given, *[slice(None)] * (len(v.shape) - len(given))), v.shape, strict=True):
        start, stop, _ = s.indices(n)
        out.append(slice(start, max(start, stop)))
    return out


def _window(slices: Any, v: Variable) -> tuple[slice, ...]:
    """The same in the axes that are coded; of merged ones the span that holds it all."""
    asked = _asked(slices, v)
    if not asked:
        return tuple(slice(0, n) for n in v.axes)
    if channels_last(v.shape):
        return asked[2], *asked[:2]
    if len(v.shape) <= 4:
        return tuple(asked)
    rows = _rows(slices, v)
    return slice(int(rows[0]), int(rows[-1]) + 1) if rows.size else slice(0, 0), *asked[-3:]


def _rows(slices: Any, v: Variable) -> NDArray[np.int64]:
    """Of the first axis that is coded, the rows asked for: all of the window but where axes are merged."""
    if len(v.shape) <= 4:
        first = _window(slices, v)[0]
        return np.arange(first.start, first.stop)
    leading = v.shape[:-3]
    index = np.ix_(*(np.arange(s.start, s.stop) for s in _asked(slices, v)[:-3]))
    return np.ravel_multi_index(np.broadcast_arrays(*index), leading).reshape(-1)


def _overlap(a: tuple[slice, ...], b: tuple[slice, ...]) -> bool:
    return all(p.start < q.stop and q.start < p.stop for p, q in zip(a, b, strict=True))
