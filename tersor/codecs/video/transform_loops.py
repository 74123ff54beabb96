"""Integer transforms of 4 to 32 samples a side and what quantised levels mean: residual --forward--> d
--quantise--> q --dequantise--> d --inverse--> residual.

A coefficient d of an orthonormal transform is scaled by 2^(15 - depth) / n, so that residuals of depth + 1
bits give coefficients of 16 bits.

Bounds: |entry| <= 90. Forward: residuals are below 2^13, 32 of them times 90 below 2^25. Inverse:
    coefficients are clipped to 16 bits before each
stage, 32 of them times 90 stay below 2^15 2^12 = 2^27. int32 holds every sum.

Source: ITU-T H.265, 8.6.4.2.
"""

from __future__ import annotations

import numpy as np

from tersor.codecs.video.compiled import compiled, inlined
from tersor.codecs.video.tables import STEP_BITS, STEPS, TRANSFORMS

TRANSPOSED = np.ascontiguousarray(TRANSFORMS.transpose(0, 2, 1))
LOW, HIGH = -32768, 32767  # F


@inlined
def clip(v, low, high):  # pragma: no cover
    return low if v < low else high if v > high else v


@compiled
def forward(x, work, out, kind, bits, depth):  # pragma: no cover
    """Residuals x, int32 [n, n], to coefficients `out`; n = 2^bits, kind: of TRANSFORMS; encoders only."""
    n = 1 << bits
    shift = bits + depth - 9
    for k in range(n):
        for j in range(n):
            work[k, j] = 1 << (shift - 1)
        for i in range(n):
            a = TRANSFORMS[kind, k, i]
            for j in range(n):
                work[k, j] += a * x[i, j]
        for j in range(n):
            work[k, j] >>= shift
    shift = bits + 6
    for i in range(n):
        for k in range(n):
            out[i, k] = 1 << (shift - 1)
        for j in range(n):
            a = work[i, j]
            for k in range(n):
                out[i, k] += a * TRANSPOSED[kind, j, k]
        for k in range(n):
            out[i, k] >>= shift


@compiled
def inverse(d, work, out, kind, bits, depth):  # pragma: no cover
    """Coefficients d, int32 [n, n] of 16 bits, to residuals `out`."""
    n = 1 << bits
    rows, columns = 0, 0
    for i in range(n):
        for j in range(n):
            if d[i, j]:
                rows = i + 1
                columns = max(columns, j + 1)
    for i in range(n):
        for j in range(columns):
            work[i, j] = 64
        for k in range(rows):
            a = TRANSFORMS[kind, k, i]
            for j in range(columns):
                work[i, j] += a * d[k, j]
        for j in range(columns):
            work[i, j] = min(max(work[i, j] >> 7, LOW), HIGH)
    shift = 20 - depth
    for i in range(n):
        for j in range(n):
            out[i, j] = 1 << (shift - 1)
        for k in range(columns):
            a = work[i, k]
            for j in range(n):
                out[i, j] += a * TRANSFORMS[kind, k, j]
        for j in range(n):
            out[i, j] >>= shift


@inlined
def dequantise(q, y, x, d, bits, level):  # pragma: no cover
    """Levels q[y:, x:] to coefficients d, int32 [n, n]: step 2^(level / 48) of 8-bit samples. |q| < 2^15 and
    steps < 2^21: int64 holds the product.
    """
    n = 1 << bits
    step = np.int64(STEPS[level])
    shift = bits + STEP_BITS - 7
    half = np.int64(1) << (shift - 1)
    for i in range(n):
        for j in range(n):
            v = q[y + i, x + j]
            d[i, j] = clip((np.int64(v) * step + half) >> shift, LOW, HIGH) if v else 0


@compiled
def add_residual(q, qy, qx, frame, y, x, scratch, kind, bits, depth, level):  # pragma: no cover
    """Add the residual of levels q[qy:, qx:] to the prediction frame[y:, x:], in place."""
    d, work, out = scratch[1], scratch[2], scratch[3]
    dequantise(q, qy, qx, d, bits, level)
    inverse(d, work, out, kind, bits, depth)
    n = 1 << bits
    top = (1 << depth) - 1
    for i in range(n):
        for j in range(n):
            frame[y + i, x + j] = min(max(frame[y + i, x + j] + out[i, j], 0), top)
