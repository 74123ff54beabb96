"""Bjontegaard delta rate."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


def bd_rate(anchor_rate: ArrayLike, anchor_quality: ArrayLike, rate: ArrayLike, quality: ArrayLike) -> float:
    """Mean difference in rate at equal quality, in percent; negative saves bits.

    Log rate is interpolated over quality by monotone cubics (PCHIP) and averaged over the qualities both
    curves cover.

    Args:
        anchor_rate, anchor_quality: the curve compared with; at least two points each.
        rate, quality: the curve judged.

    Raises:
        ValueError: the curves share no range of quality.

    Source: Bjontegaard, VCEG-M33 (2001); PCHIP as in JVET's and CompressAI's tools.
    """
    curves = []
    for r, q in ((anchor_rate, anchor_quality), (rate, quality)):
        q, r = np.asarray(q, float), np.log(np.asarray(r, float))
        order = np.argsort(q)
        curves.append((q[order], r[order]))
    low = max(c[0][0] for c in curves)
    high = min(c[0][-1] for c in curves)
    if not low < high:
        raise ValueError(
            f"the curves share no range of quality: {curves[0][0][[0, -1]]} and {curves[1][0][[0, -1]]}; "
            "measure more points"
        )
    grid = np.linspace(low, high, 400)
    a, b = (_pchip(q, r, grid) for q, r in curves)
    return (math.exp(float(np.mean(b - a))) - 1) * 100


def _pchip(x: Array, y: Array, at: Array) -> Array:
    """Monotone cubic Hermite interpolation (Fritsch and Butland 1984), as scipy's PchipInterpolator; kept
    here so that the core needs no scipy.
    """
    h, slope = np.diff(x), np.diff(y) / np.diff(x)
    d = np.zeros_like(y)
    if len(x) == 2:
        d[:] = slope[0]
    else:
        w1, w2 = 2 * h[1:] + h[:-1], h[1:] + 2 * h[:-1]
        same = slope[1:] * slope[:-1] > 0
        with np.errstate(divide="ignore", invalid="ignore"):
            d[1:-1] = np.where(same, (w1 + w2) / (w1 / slope[:-1] + w2 / slope[1:]), 0)
        for end, h0, h1, s0, s1 in (
            (0, h[0], h[1], slope[0], slope[1]),
            (-1, h[-1], h[-2], slope[-1], slope[-2]),
        ):
            e = ((2 * h0 + h1) * s0 - h0 * s1) / (h0 + h1)
            if e * s0 <= 0:
                e = 0.0
            elif s0 * s1 < 0 and abs(e) > 3 * abs(s0):
                e = 3 * s0
            d[end] = e
    i = np.clip(np.searchsorted(x, at, side="right") - 1, 0, len(x) - 2)
    t = (at - x[i]) / h[i]
    a, b = y[i], y[i + 1]
    return (
        (2 * t**3 - 3 * t**2 + 1) * a
        + (t**3 - 2 * t**2 + t) * h[i] * d[i]
        + (-2 * t**3 + 3 * t**2) * b
        + (t**3 - t**2) * h[i] * d[i + 1]
    )
