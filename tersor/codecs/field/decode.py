"""From blocks back to a field, or to the part that was asked for."""

from __future__ import annotations

from typing import Any

from tersor.codecs.field.header import Variable, channels_last
from tersor.errors import SignalError


def _by_dims(slices: Any, dims: tuple[str, ...]) -> Any:
    """Slices by the names of axes as slices by position."""
    return tuple(slices.get(d, slice(None)) for d in dims) or None if isinstance(slices, dict) else slices


def _window(slices: Any, v: Variable) -> tuple[slice, ...]:
    if slices is None:
        return tuple(slice(0, n) for n in v.axes)
    if len(v.shape) not in range(1, 5):
        raise SignalError(
            f"slices of an array of {len(v.shape)} axes; blocks have at most 4: decode it whole"
        )
    given = slices if isinstance(slices, tuple) else (slices,)
    if len(given) > len(v.shape) or not all(isinstance(s, slice) and s.step in (None, 1) for s in given):
        raise SignalError(
            f"slices {slices!r} do not fit an array of shape {v.shape}; give slice(start, "
            "stop) for its leading axes"
        )
    out = []
    for s, n in zip((*given, *[slice(None)] * (len(v.shape) - len(given))), v.shape, strict=True):
        start, stop, _ = s.indices(n)
        out.append(slice(start, max(start, stop)))
    return (out[2], *out[:2]) if channels_last(v.shape) else tuple(out)


def _overlap(a: tuple[slice, ...], b: tuple[slice, ...]) -> bool:
    return all(p.start < q.stop and q.start < p.stop for p, q in zip(a, b, strict=True))
