"""Whether signals hold the same: what `==` and `hash` of them mean. Numbers count in type and value, NaN
equals NaN; notes of how a signal was read count for nothing.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tersor.arrays import Numbers


def same_array(a: Numbers, b: Numbers) -> bool:
    """Type, shape and values."""
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    return bool(np.array_equal(a, b, equal_nan=a.dtype.kind in "fc"))


def same(a: object, b: object) -> bool:
    """The same for attributes: text, numbers, arrays, and mappings and lists of these."""
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(same(v, b[k]) for k, v in a.items())
    if isinstance(a, (np.ndarray, np.generic)) or isinstance(b, (np.ndarray, np.generic)):
        return same_array(np.asarray(a), np.asarray(b))
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        return len(a) == len(b) and all(same(v, w) for v, w in zip(a, b, strict=True))
    return bool(a == b) or (a != a and b != b)


def fingerprint(a: Numbers) -> int:
    """Equal for equal arrays; of the type, the shape and a few values, so that large arrays cost nothing."""
    few = a.reshape(-1)[:: max(1, a.size // 64)]
    values = tuple(few.tolist()) if a.dtype.kind in "iub" else ()
    return hash((a.dtype.str, a.shape, values))
