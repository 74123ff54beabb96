"""The 3x3 ends of the synthesis, forward and backward, float32, for the encoder.

    w = relu(u + conv1(u))        x = w + conv2(w)        error = x - picture

Pictures carry a border of one sample that repeats them, gradients one of two zeros, so no loop asks where it
is. Functions work on a range of rows; gradients of weights go to arrays of the caller's own.
"""

from __future__ import annotations

import numpy as np

from tersor.codecs.image_overfit.fit_math_loops import fast

f = np.float32
ZERO, ONE, HALF = f(0), f(1), f(0.5)


@fast
def repeat_border(u, r, height, width):  # pragma: no cover
    """The border beside row r, and above the first and below the last row."""
    for o in range(u.shape[0]):
        u[o, r + 1, 0] = u[o, r + 1, 1]
        u[o, r + 1, width + 1] = u[o, r + 1, width]
        if r == 0:
            for p in range(width + 2):
                u[o, 0, p] = u[o, 1, p]
        if r == height - 1:
            for p in range(width + 2):
                u[o, height + 1, p] = u[o, height, p]


@fast
def conv_row(x, k, d, o, r, acc):  # pragma: no cover
    """acc [W] = row r of output o of a 3x3 convolution of x [C, H + 2, W + 2], plus x itself."""
    width = acc.size
    for p in range(width):
        acc[p] = d[o] + x[o, r + 1, p + 1]
    for c in range(x.shape[0]):
        for dy in range(3):
            k0, k1, k2 = k[o, c, dy, 0], k[o, c, dy, 1], k[o, c, dy, 2]
            for p in range(width):
                acc[p] += k0 * x[c, r + dy, p] + k1 * x[c, r + dy, p + 1] + k2 * x[c, r + dy, p + 2]


@fast
def first_end(first, last, u, net, w):  # pragma: no cover
    """w = relu(u + conv1(u)) for rows first..last, both with borders."""
    height, width = u.shape[1] - 2, u.shape[2] - 2
    acc = np.empty(width, f)
    for r in range(first, last):
        for o in range(u.shape[0]):
            conv_row(u, net.k1, net.d1, o, r, acc)
            for p in range(width):
                w[o, r + 1, p + 1] = max(acc[p], ZERO)
        repeat_border(w, r, height, width)


@fast
def second_end(first, last, w, net, target, slope, g):  # pragma: no cover
    """Squared error of x = w + conv2(w) over rows first..last against target [C, H, W]; g [C, H + 4, W + 4] =
    slope (x - target).

    With slope = 0 the error is that of x rounded to 8 bits, and g is left alone.
    """
    width = target.shape[2]
    acc = np.empty(width, f)
    total = 0.0
    for r in range(first, last):
        for o in range(target.shape[0]):
            conv_row(w, net.k2, net.d2, o, r, acc)
            part = ZERO
            if slope == ZERO:
                for p in range(width):
                    e = np.floor(min(max(acc[p], ZERO), ONE) * f(255) + HALF) * f(1 / 255) - target[o, r, p]
                    part += e * e
            else:
                for p in range(width):
                    e = acc[p] - target[o, r, p]
                    part += e * e
                    g[o, r + 2, p + 2] = slope * e
            total += part
    return total


@fast
def conv_back_row(g, k, c, r, acc):  # pragma: no cover
    """acc [W + 2] += gradient of row r (-1 .. H) of input c, with its border; g [C, H + 4, W + 4] has zeros
    around it.
    """
    n = acc.size
    for o in range(g.shape[0]):
        for dy in range(3):
            k0, k1, k2 = k[o, c, dy, 0], k[o, c, dy, 1], k[o, c, dy, 2]
            row = r + 3 - dy
            for p in range(n):
                acc[p] += k2 * g[o, row, p] + k1 * g[o, row, p + 1] + k0 * g[o, row, p + 2]


@fast
def conv_weights_row(x, g, r, gk, gd):  # pragma: no cover
    """Gradient of a convolution's weights from row r."""
    width = g.shape[2] - 4
    for o in range(g.shape[0]):
        a = ZERO
        for p in range(width):
            a += g[o, r + 2, p + 2]
        gd[o] += a
        for c in range(x.shape[0]):
            for dy in range(3):
                a0 = a1 = a2 = ZERO
                for p in range(width):
                    e = g[o, r + 2, p + 2]
                    a0 += e * x[c, r + dy, p]
                    a1 += e * x[c, r + dy, p + 1]
                    a2 += e * x[c, r + dy, p + 2]
                gk[o, c, dy, 0] += a0
                gk[o, c, dy, 1] += a1
                gk[o, c, dy, 2] += a2


@fast
def conv_back(first, last, x, k, g, gk, gd, gated, out):  # pragma: no cover
    """Gradient of x + conv(x), rows first..last: g [C, H + 4, W + 4] -> out (same padding, set) and the
    weights.

    gated: x came out of a ReLU; where it is not positive, out is 0.
    """
    height, width = g.shape[1] - 4, g.shape[2] - 4
    acc = np.empty(width + 2, f)
    for r in range(first, last):
        conv_weights_row(x, g, r, gk, gd)
        for c in range(g.shape[0]):
            for p in range(width + 2):
                acc[p] = ZERO
            conv_back_row(g, k, c, r, acc)
            if r == 0:
                conv_back_row(g, k, c, -1, acc)
            if r == height - 1:
                conv_back_row(g, k, c, height, acc)
            acc[1] += acc[0]
            acc[width] += acc[width + 1]
            for p in range(width):
                v = acc[p + 1] + g[c, r + 2, p + 2]
                out[c, r + 2, p + 2] = v if not gated or x[c, r + 1, p + 1] > ZERO else ZERO
