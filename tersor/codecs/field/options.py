"""Error bounds: what was asked for, resolved once in float64 to an absolute bound.

max_error            |x - y| <= bound
rel_error            bound = rel_error * (largest - smallest value that is not missing)
pointwise_rel_error  |x - y| <= rel * |x|, sign and zero kept (pointwise.py)
target_psnr          20 log10(range / rmse) at least this; the bound follows from it, and is tightened
target_ratio         the smallest bound whose file is at least this many times smaller
lossless             every bit
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tersor.errors import SignalError

DEFAULT_REL_ERROR = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """mode: one of header.MODES; value: as asked, 0 for lossless."""

    mode: str
    value: float

    @classmethod
    def of(cls, options: dict[str, Any]) -> Bound:
        """From the options of `encode`; exactly one, or none for rel_error 1e-3.

        Raises:
            SignalError: two of them, or a value out of range.
        """
        given = {k: v for k, v in options.items() if v is not None and v is not False}
        if len(given) > 1:
            raise SignalError(f"{' and '.join(given)} exclude each other; give one")
        if not given:
            return cls(mode="rel_error", value=DEFAULT_REL_ERROR)
        ((mode, value),) = given.items()
        if mode == "lossless":
            return cls(mode=mode, value=0.0)
        try:
            number = float(value)
        except (TypeError, ValueError):
            raise SignalError(f"{mode} is {value!r}; a number is needed") from None
        low, strict = {"target_psnr": (0.0, True), "target_ratio": (1.0, True)}.get(mode, (0.0, False))
        if (
            not math.isfinite(number)
            or number < low
            or (strict and number == low)
            or (mode == "pointwise_rel_error" and number >= 1)
        ):
            allowed = (
                "0 <= x < 1"
                if mode == "pointwise_rel_error"
                else f"finite numbers {'above' if strict else 'from'} {low:g}"
            )
            raise SignalError(f"{mode} is {number:g}; allowed are {allowed}")
        return cls(mode="lossless", value=0.0) if number == 0 else cls(mode=mode, value=number)


def value_range(x: NDArray[Any], special: NDArray[np.bool_]) -> tuple[float, float]:
    """Smallest and largest value that is not special, as float64; (0, 0) if there is none."""
    known = x[~special]
    return (float(known.min()), float(known.max())) if known.size else (0.0, 0.0)


def resolve(bound: Bound, x: NDArray[Any], special: NDArray[np.bool_]) -> float:
    """The absolute bound for an array; for target_psnr and target_ratio the one to start from."""
    low, high = value_range(x, special)
    extent = high - low  # Python floats: overflow gives inf, silently
    if not math.isfinite(extent):
        extent = sys.float_info.max
    if bound.mode in ("max_error", "pointwise_rel_error"):
        return bound.value
    if bound.mode == "rel_error":
        return bound.value * extent
    if bound.mode == "target_psnr":
        return extent * 10 ** (-bound.value / 20) * math.sqrt(3)
    if bound.mode == "target_ratio":
        return 1e-3 * extent
    return 0.0
