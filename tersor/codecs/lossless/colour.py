"""Reversible colour transforms: planes that are cheaper to code one after the other.

    none    R, G, B        green   G, R, B        differences   G, R - G, B - G        luma   Y, Co, Cg

Source: YCoCg-R, Malvar and Sullivan, "YCoCg-R: A color space with RGB reversibility and low dynamic range"
(2003).
"""

from __future__ import annotations

import numpy as np

from tersor.arrays import Numbers, Samples, SampleType

TRANSFORMS = ("none", "green", "differences", "luma")


def forward(planes: Numbers, transform: str) -> Numbers:
    """Planes [3, ...] or [4, ...] of unsigned samples to signed integers of twice the width; a fourth plane
    (alpha) stays as it is.
    """
    x = planes.astype(np.int16 if planes.dtype.itemsize == 1 else np.int32)
    r, g, b = x[0], x[1], x[2]
    if transform == "green":
        first = [g, r, b]
    elif transform == "differences":
        first = [g, r - g, b - g]
    elif transform == "luma":
        co = r - b
        t = b + (co >> 1)
        cg = g - t
        first = [t + (cg >> 1), co, cg]
    else:
        first = [r, g, b]
    return np.stack([*first, *x[3:]])


def backward(planes: Numbers, transform: str, dtype: SampleType) -> Samples:
    """What `forward` was given."""
    a, b, c = planes[0], planes[1], planes[2]
    if transform == "green":
        first = [b, a, c]
    elif transform == "differences":
        first = [b + a, a, c + a]
    elif transform == "luma":
        t = a - (c >> 1)
        blue = t - (b >> 1)
        first = [b + blue, c + t, blue]
    else:
        first = [a, b, c]
    return np.stack([*first, *planes[3:]]).astype(dtype)
