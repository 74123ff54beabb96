"""Exponential and logarithm that compile to vector code, and how the encoder's loops are compiled.

Good to about 2e-7 (relative), in float32. The encoder alone uses them; no decoder's decision depends on a
float.
"""

from __future__ import annotations

import numpy as np

from tersor.entropy.compiled import compiled

f = np.float32


def fast(loop):
    """Compile an encoder's loop: sums may be reordered, which the vector units need."""
    return compiled(
        loop, fastmath={"reassoc", "contract", "nsz", "arcp", "nnan", "ninf"}, error_model="numpy"
    )


@fast
def exp2(x):  # pragma: no cover
    """2^x for -126 <= x < 127."""
    n = np.floor(x)
    r = x - n
    # Taylor series of 2^r about 1/2, to degree 6
    r = (r - f(0.5)) * f(0.6931471805599453)
    e = f(1) + r * (
        f(1) + r * (f(0.5) + r * (f(1 / 6) + r * (f(1 / 24) + r * (f(1 / 120) + r * f(1 / 720)))))
    )
    return (
        e * f(1.4142135623730951) * np.int32((np.int32(n) + np.int32(127)) << np.int32(23)).view(np.float32)
    )


@fast
def log2(x):  # pragma: no cover
    """Base 2 logarithm of a normal positive number."""
    i = np.float32(x).view(np.int32)
    k = np.int32(np.int32(i - np.int32(0x3F3504F3)) >> np.int32(23))
    m = np.int32(i - np.int32(k << np.int32(23))).view(np.float32)  # sqrt(1/2) .. sqrt(2)
    z = (m - f(1)) / (m + f(1))
    s = z * z
    return f(k) + z * f(2.885390081777927) * (
        f(1) + s * (f(1 / 3) + s * (f(0.2) + s * (f(1 / 7) + s * f(1 / 9))))
    )
