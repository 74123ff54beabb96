"""Latents to samples in integers: what makes decoded pixels the same on every machine.

    z = (level, up(z of the coarser level))                    8 fraction bits
    a = relu(v1 z + c1)                                       10
    u = v2 a + t z + c2                                       12
    w = relu(u + conv1(u)), x = w + conv2(w)                  12
    sample = (x maximum + 2048) >> 12

Every layer rounds its sum to nearest (half up) and cuts it to its limit (frozen.py), where it is shown that
no sum leaves 32 bits. The order of additions is free: 32-bit sums that cannot overflow do not depend on it.
"""

from __future__ import annotations

import numpy as np

from tersor.codecs.image_overfit.pair_sums import BLOCK, layer_sums
from tersor.entropy.compiled import compiled

i32 = np.int32
ZERO = i32(0)
LATENT_MAX, HIDDEN_MAX, SAMPLE_MAX = i32(32767), i32(32767), i32(32767)


@compiled
def load(level, out):  # pragma: no cover
    """int8 latents [h, w] to 8 fraction bits."""
    for r in range(level.shape[0]):
        for p in range(level.shape[1]):
            out[r, p] = i32(level[r, p]) << 8


@compiled
def taps(a, b, c, d, k, n, out):  # pragma: no cover
    """out[:n] = k . (a, b, c, d), rounded from 10 more fraction bits, cut."""
    for p in range(n):
        v = i32(i32(k[0] * a[p]) + i32(k[1] * b[p]) + i32(k[2] * c[p]) + i32(k[3] * d[p]) + i32(512))
        out[p] = min(max(i32(v >> 10), -LATENT_MAX), LATENT_MAX)


@compiled
def up(first, last, x, k, out):  # pragma: no cover
    """Channels first..last of x [C, h, w] to out [C, H, W], H = 2 h or 2 h - 1, first down the columns, then
    along the rows.
    """
    h, w = x.shape[1], x.shape[2]
    height, width = out.shape[1], out.shape[2]
    mirrored = k[::-1].copy()
    buf = np.zeros(w + 4, np.int32)
    even, odd = np.zeros(w, np.int32), np.zeros(w, np.int32)
    for ch in range(first, last):
        for r in range(height):
            i = r >> 1
            if r & 1:
                a, b, c, d = max(i - 1, 0), i, min(i + 1, h - 1), min(i + 2, h - 1)
                taps(x[ch, a], x[ch, b], x[ch, c], x[ch, d], mirrored, w, buf[2:])
            else:
                a, b, c, d = max(i - 2, 0), max(i - 1, 0), i, min(i + 1, h - 1)
                taps(x[ch, a], x[ch, b], x[ch, c], x[ch, d], k, w, buf[2:])
            buf[0] = buf[1] = buf[2]
            buf[w + 2] = buf[w + 3] = buf[w + 1]
            taps(buf, buf[1:], buf[2:], buf[3:], k, w, even)
            last_odd = width >> 1
            taps(buf[1:], buf[2:], buf[3:], buf[4:], mirrored, last_odd, odd)
            to = out[ch, r]
            for p in range(last_odd):
                to[2 * p] = even[p]
                to[2 * p + 1] = odd[p]
            if width & 1:
                to[width - 1] = even[w - 1]


@compiled
def pointwise(first, last, z, v1, c1, v2t, c2, u):  # pragma: no cover
    """Rows first..last of z [8, H, W] to u [C, H + 2, W + 2], whose border repeats the picture's.

    Weights in pairs, biases with the half that rounds: v1 [hidden, 4, 2], c1 [hidden]; v2t: v2 and t side by
    side, [4, hidden / 2 + 4, 2], c2 [4]; its inputs are the hidden channels and z.
    """
    width, hidden = z.shape[2], c1.size
    a = np.zeros(((hidden >> 1) + 4, BLOCK, 2), np.int16)
    x = a[hidden >> 1 :]
    sums = np.zeros((hidden, BLOCK), np.int32)
    for r in range(first, last):
        for c in range(0, width, BLOCK):
            n = min(BLOCK, width - c)
            for j in range(4):
                one, two, to = z[2 * j, r, c : c + n], z[2 * j + 1, r, c : c + n], x[j]
                for p in range(n):
                    to[p, 0] = one[p]
                    to[p, 1] = two[p]
            layer_sums(x, v1, c1, sums, n)
            for k in range(hidden >> 1):
                one, two, to = sums[2 * k], sums[2 * k + 1], a[k]
                for p in range(n):
                    to[p, 0] = min(max(one[p] >> 8, ZERO), HIDDEN_MAX)
                    to[p, 1] = min(max(two[p] >> 8, ZERO), HIDDEN_MAX)
            layer_sums(a, v2t, c2, sums, n)
            for o in range(u.shape[0]):
                to, source = u[o, r + 1, c + 1 : c + 1 + n], sums[o]
                for p in range(n):
                    to[p] = min(max(source[p] >> 8, -SAMPLE_MAX), SAMPLE_MAX)
        repeat_border(u, r)


@compiled
def repeat_border(u, r):  # pragma: no cover
    """The border beside row r, and above the first and below the last row."""
    height, width = u.shape[1] - 2, u.shape[2] - 2
    for o in range(u.shape[0]):
        u[o, r + 1, 0] = u[o, r + 1, 1]
        u[o, r + 1, width + 1] = u[o, r + 1, width]
        if r == 0:
            for p in range(width + 2):
                u[o, 0, p] = u[o, 1, p]
        if r == height - 1:
            for p in range(width + 2):
                u[o, height + 1, p] = u[o, height, p]


@compiled
def conv_row(x, k, d, o, r, acc):  # pragma: no cover
    """acc [W] = x + 3x3 convolution of x [C, H + 2, W + 2], row r of output o."""
    width = acc.size
    own = x[o, r + 1, 1:]
    for p in range(width):
        acc[p] = i32(i32(own[p] << 10) + i32(d[o] + i32(512)))
    for c in range(x.shape[0]):
        for dy in range(3):
            k0, k1, k2 = k[o, c, dy, 0], k[o, c, dy, 1], k[o, c, dy, 2]
            row = x[c, r + dy]
            for p in range(width):
                acc[p] = i32(acc[p] + i32(k0 * row[p]) + i32(k1 * row[p + 1]) + i32(k2 * row[p + 2]))


@compiled
def first_end(first, last, u, k, d, w):  # pragma: no cover
    """w = relu(u + conv1(u)), rows first..last, both with borders."""
    acc = np.zeros(u.shape[2] - 2, np.int32)
    for r in range(first, last):
        for o in range(u.shape[0]):
            conv_row(u, k, d, o, r, acc)
            to = w[o, r + 1, 1:]
            for p in range(acc.size):
                to[p] = min(max(i32(acc[p] >> 10), ZERO), SAMPLE_MAX)
        repeat_border(w, r)


@compiled
def second_end(first, last, w, k, d, maximum, samples):  # pragma: no cover
    """Samples [H, W, C], rows first..last, of w + conv2(w); maximum: 255 or 65535."""
    acc = np.zeros(w.shape[2] - 2, np.int32)
    for r in range(first, last):
        for o in range(w.shape[0]):
            conv_row(w, k, d, o, r, acc)
            for p in range(acc.size):
                v = min(max(i32(acc[p] >> 10), ZERO), i32(4096))
                samples[r, p, o] = i32(i32(v * maximum) + i32(2048)) >> 12
