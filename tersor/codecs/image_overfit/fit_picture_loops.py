"""From latents to pixels and the gradient back: upsampling, pointwise synthesis, 3x3 ends; float32, for the
encoder.

    levels, coarse to fine:  z = (level, up(z of the coarser level))      --> z [8, pixels]
    u = v2 relu(v1 z + c1) + t z + c2     w = relu(u + conv1(u))     x = w + conv2(w)

The same arithmetic in integers is in synthesis_loops.py. Each function works on a range of rows, channels or
blocks, so that several threads share a picture; gradients of weights go to arrays of the caller's own.

Source: Cool-Chic 3 and later (learned separable upsampling, 2411.19249; synthesis with a linear bypass and
3x3 residual ends).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tersor.codecs.image_overfit.fit_ends_loops import repeat_border
from tersor.codecs.image_overfit.fit_math_loops import exp2, fast
from tersor.codecs.image_overfit.fit_rate_loops import gate, layer, outer, positive, product, row_sums

f = np.float32
ZERO, ONE, HALF = f(0), f(1), f(0.5)
BLOCK = 128  # G: pixels that are held in the first cache


class Soft(NamedTuple):
    """Of `quantise`, float32.

    gain: of the latents as they are stored; deviation: of the noise; scale: 0.5 / tanh(0.5 / t); twice_per_t:
    2 log2(e) / t, 0 for plain rounding; slope: of both roundings and the gain.
    """

    gain: np.float32
    deviation: np.float32
    scale: np.float32
    twice_per_t: np.float32
    slope: np.float32


class Move(NamedTuple):
    """Of `adam`, float32.

    factor: of the rate's gradient; b1, b2: decays of the means; step: the rate of learning, and root: of the
    squares, both corrected for the first steps; limit: of the latents.
    """

    factor: np.float32
    b1: np.float32
    b2: np.float32
    step: np.float32
    root: np.float32
    limit: np.float32


class Synthesis(NamedTuple):
    """Weights of the synthesis, or their gradient; C colours (1 or 3), H hidden channels, sides of matrices
    padded to multiples of 4.

    v1 [H, 8], c1 [H]; v2 [4, H], c2 [4]; t [4, 8]; k1, k2 [C, C, 3, 3], d1, d2 [C].
    """

    v1: np.ndarray
    c1: np.ndarray
    v2: np.ndarray
    c2: np.ndarray
    t: np.ndarray
    k1: np.ndarray
    d1: np.ndarray
    k2: np.ndarray
    d2: np.ndarray


@fast
def soft_round(x, r, scale, twice_per_t):  # pragma: no cover
    """-> (floor(x) + .5 + tanh((x - floor(x) - .5) / t) / (2 tanh(.5 / t)), its derivative)."""
    e = exp2((x - r) * twice_per_t)
    h = ONE - f(2) / (e + ONE)
    return r + h * scale, (ONE - h * h)


@fast
def quantise(first, last, rows, y, noise, start, soft, q, dq, planes):  # pragma: no cover
    """q = sr(sr(gain y) + deviation noise) and dq/dy, row by row; q also goes to its level's plane.

    rows: int64 [n, 4], (offset in y, offset in planes, length, ...); start: of a row's noise. With
    twice_per_t = 0, q = round(gain y).
    """
    gain, scale, twice_per_t = soft.gain, soft.scale, soft.twice_per_t
    for i in range(first, last):
        a, b, n = rows[i, 0], rows[i, 1], rows[i, 2]
        source, to, slopes, plane = y[a : a + n], q[a : a + n], dq[a : a + n], planes[b : b + n]
        random = noise[start[i] : start[i] + n]
        if twice_per_t == ZERO:
            for p in range(n):
                v = np.floor(source[p] * gain + HALF)
                to[p] = v
                plane[p] = v
            continue
        for p in range(n):
            x = source[p] * gain
            v, d = soft_round(x, np.floor(x) + HALF, scale, twice_per_t)
            x = v + soft.deviation * random[p]
            v, d2 = soft_round(x, np.floor(x) + HALF, scale, twice_per_t)
            to[p] = v
            slopes[p] = d * d2 * soft.slope
            plane[p] = v


@fast
def adam(first, last, rows, y, m, v, dq, gy, gplanes, move):  # pragma: no cover
    """One step of Adam on the latents; gy [parts, ...] are gradients of the rate, gplanes of the distortion.
    Clears gy.
    """
    b1, b2, step, root, limit = move.b1, move.b2, move.step, move.root, move.limit
    for i in range(first, last):
        a, n, b = rows[i, 0], rows[i, 2], rows[i, 3]
        sums = gy[0, a : a + n]
        for k in range(1, gy.shape[0]):
            more = gy[k, a : a + n]
            for p in range(n):
                sums[p] += more[p]
                more[p] = ZERO
        latents, means, squares = y[a : a + n], m[a : a + n], v[a : a + n]
        slopes, plane = dq[a : a + n], gplanes[b : b + n]
        for p in range(n):
            g = (sums[p] * move.factor + plane[p]) * slopes[p]
            sums[p] = ZERO
            mm = b1 * means[p] + (ONE - b1) * g
            vv = b2 * squares[p] + (ONE - b2) * g * g
            means[p] = mm
            squares[p] = vv
            latents[p] = min(max(latents[p] - step * mm / (np.sqrt(vv) * root + f(1e-12)), -limit), limit)


@fast
def up(first, last, x, k, out, t):  # pragma: no cover
    """Channels first..last of x [C, h, w] to out [C, H, W], H = 2 h or 2 h - 1; k: 4 taps of the even phase,
    mirrored for the odd one; t: scratch [C, H, w].
    """
    h, w = x.shape[1], x.shape[2]
    height, width = out.shape[1], out.shape[2]
    a, b, c, d = k[0], k[1], k[2], k[3]
    buf = np.empty(w + 5, f)
    even, odd = np.empty(w, f), np.empty(w, f)
    for ch in range(first, last):
        for r in range(h):
            r0, r1, r3, r4 = max(r - 2, 0), max(r - 1, 0), min(r + 1, h - 1), min(r + 2, h - 1)
            for p in range(w):
                t[ch, 2 * r, p] = a * x[ch, r0, p] + b * x[ch, r1, p] + c * x[ch, r, p] + d * x[ch, r3, p]
            if 2 * r + 1 < height:
                for p in range(w):
                    t[ch, 2 * r + 1, p] = (
                        d * x[ch, r1, p] + c * x[ch, r, p] + b * x[ch, r3, p] + a * x[ch, r4, p]
                    )
        for r in range(height):
            for p in range(w):
                buf[p + 2] = t[ch, r, p]
            buf[0] = buf[1] = buf[2]
            buf[w + 2] = buf[w + 3] = buf[w + 4] = buf[w + 1]
            for p in range(w):
                even[p] = a * buf[p] + b * buf[p + 1] + c * buf[p + 2] + d * buf[p + 3]
                odd[p] = d * buf[p + 1] + c * buf[p + 2] + b * buf[p + 3] + a * buf[p + 4]
            for p in range(width >> 1):
                out[ch, r, 2 * p] = even[p]
                out[ch, r, 2 * p + 1] = odd[p]
            if width & 1:
                out[ch, r, width - 1] = even[w - 1]


@fast
def up_back(first, last, x, k, t, g, gx, gk):  # pragma: no cover
    """Gradient of `up`: g [C, H, W] -> gx [C, h, w] (set), gk [4] (added)."""
    h, w = x.shape[1], x.shape[2]
    height, width = g.shape[1], g.shape[2]
    a, b, c, d = k[0], k[1], k[2], k[3]
    buf, gb = np.zeros(w + 5, f), np.zeros(w + 5, f)
    ge, go = np.zeros(w, f), np.zeros(w, f)
    gt = np.zeros((2 * h, w), f)
    for ch in range(first, last):
        ka = kb = kc = kd = ZERO
        for r in range(height):
            for p in range(w):
                buf[p + 2] = t[ch, r, p]
            buf[0] = buf[1] = buf[2]
            buf[w + 2] = buf[w + 3] = buf[w + 4] = buf[w + 1]
            for p in range(width >> 1):
                ge[p] = g[ch, r, 2 * p]
                go[p] = g[ch, r, 2 * p + 1]
            if width & 1:
                ge[w - 1] = g[ch, r, width - 1]
                go[w - 1] = ZERO
            for p in range(w + 5):
                gb[p] = ZERO
            for p in range(w):
                gb[p] += a * ge[p]
            for p in range(w):
                gb[p + 1] += b * ge[p] + d * go[p]
            for p in range(w):
                gb[p + 2] += c * (ge[p] + go[p])
            for p in range(w):
                gb[p + 3] += d * ge[p] + b * go[p]
            for p in range(w):
                gb[p + 4] += a * go[p]
            for p in range(w):
                e, o = ge[p], go[p]
                ka += e * buf[p] + o * buf[p + 4]
                kb += e * buf[p + 1] + o * buf[p + 3]
                kc += (e + o) * buf[p + 2]
                kd += e * buf[p + 3] + o * buf[p + 1]
            for p in range(w):
                gt[r, p] = gb[p + 2]
            gt[r, 0] += gb[0] + gb[1]
            gt[r, w - 1] += gb[w + 2] + gb[w + 3] + gb[w + 4]
        if height & 1:
            for p in range(w):
                gt[height, p] = ZERO
        for r in range(h):
            for p in range(w):
                gx[ch, r, p] = ZERO
        for r in range(h):
            r0, r1, r3, r4 = max(r - 2, 0), max(r - 1, 0), min(r + 1, h - 1), min(r + 2, h - 1)
            for p in range(w):
                e, o = gt[2 * r, p], gt[2 * r + 1, p]
                ka += e * x[ch, r0, p] + o * x[ch, r4, p]
                kb += e * x[ch, r1, p] + o * x[ch, r3, p]
                kc += (e + o) * x[ch, r, p]
                kd += e * x[ch, r3, p] + o * x[ch, r1, p]
            for p in range(w):
                gx[ch, r0, p] += a * gt[2 * r, p]
            for p in range(w):
                gx[ch, r1, p] += b * gt[2 * r, p] + d * gt[2 * r + 1, p]
            for p in range(w):
                gx[ch, r, p] += c * (gt[2 * r, p] + gt[2 * r + 1, p])
            for p in range(w):
                gx[ch, r3, p] += d * gt[2 * r, p] + b * gt[2 * r + 1, p]
            for p in range(w):
                gx[ch, r4, p] += a * gt[2 * r + 1, p]
        gk[0] += ka
        gk[1] += kb
        gk[2] += kc
        gk[3] += kd


@fast
def pointwise(first, last, z, net, u):  # pragma: no cover
    """Rows first..last of z [8, H, W] to u [C, H + 2, W + 2], whose border repeats the picture's."""
    height, width = z.shape[1], z.shape[2]
    hidden, colours = net.v1.shape[0], u.shape[0]
    x, a, out = np.zeros((8, BLOCK), f), np.zeros((hidden, BLOCK), f), np.zeros((4, BLOCK), f)
    for r in range(first, last):
        for c in range(0, width, BLOCK):
            n = min(BLOCK, width - c)
            for j in range(8):
                source = z[j, r, c : c + n]
                for p in range(n):
                    x[j, p] = source[p]
            layer(net.v1, net.c1, x, a, n)
            positive(a, hidden, n)
            layer(net.v2, net.c2, a, out, n)
            product(net.t, x, out, n, 0)
            for o in range(colours):
                to = u[o, r + 1, c + 1 : c + 1 + n]
                for p in range(n):
                    to[p] = out[o, p]
        repeat_border(u, r, height, width)


@fast
def pointwise_back(first, last, z, net, g, gz, grad):  # pragma: no cover
    """Gradient of `pointwise`, rows first..last: g [C, H + 4, W + 4] -> gz [8, H, W] (set; may be z itself),
    the weights.
    """
    width = z.shape[2]
    hidden, colours = net.v1.shape[0], g.shape[0]
    v1t, v2t, tt = (
        np.ascontiguousarray(net.v1.T),
        np.ascontiguousarray(net.v2.T),
        np.ascontiguousarray(net.t.T),
    )
    x, a, ga = np.zeros((8, BLOCK), f), np.zeros((hidden, BLOCK), f), np.zeros((hidden, BLOCK), f)
    none = np.zeros(max(hidden, 8), f)
    go, gx = np.zeros((4, BLOCK), f), np.zeros((8, BLOCK), f)
    for r in range(first, last):
        for c in range(0, width, BLOCK):
            n = min(BLOCK, width - c)
            for j in range(8):
                source = z[j, r, c : c + n]
                for p in range(n):
                    x[j, p] = source[p]
            layer(net.v1, net.c1, x, a, n)
            positive(a, hidden, n)
            for o in range(colours):
                source = g[o, r + 2, c + 2 : c + 2 + n]
                for p in range(n):
                    go[o, p] = source[p]
            outer(go, a, grad.v2, n)
            row_sums(go, grad.c2, n)
            outer(go, x, grad.t, n)
            layer(v2t, none, go, ga, n)
            gate(ga, a, hidden, n)
            outer(ga, x, grad.v1, n)
            row_sums(ga, grad.c1, n)
            layer(v1t, none, ga, gx, n)
            product(tt, go, gx, n, 0)
            for j in range(8):
                to = gz[j, r, c : c + n]
                for p in range(n):
                    to[p] = gx[j, p]
