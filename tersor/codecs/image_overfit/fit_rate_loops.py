"""Rate of all latents and its gradient: the entropy network forward and backward, in one pass over blocks
that stay in cache.

    q --causal neighbours, co-located coarser latents--> x [D, n]
    x --2 residual layers + bypass--> mu, log2 b --> bits of q

A block is up to 256 latents of one grid; every activation of it lies in the second-level cache. Matrix
products hold 4 x 4 weights in registers. Arrays are float32; sums may differ in their last bits between
machines, which the encoder may: what the decoder repeats is in latent_loops.py.

Source: Cool-Chic (Ladune et al. 2023; version 5 for contexts of coarser levels); the density is a Laplace
over unit bins.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tersor.codecs.image_overfit.fit_math_loops import exp2, fast, log2

BLOCK = 256  # G: latents that are held in the first cache
ALIGN = 64  # G: a segment begins at a multiple of this, so that halving it ends on whole coarser latents
f = np.float32
ZERO, HALF, ONE, LN2 = f(0), f(0.5), f(1), f(0.6931471805599453)
LOG2E = f(1.4426950408889634)
SCALE_LIMIT = f(6)  # log2 b lies within +-6, as in the tables


class Lattice(NamedTuple):
    """Where latents lie, the same for all of a picture.

    offset, stride int64 [grids]: of each grid in the flat array; parents int64 [grids]: coarser grids of its
    tile; reach int64 [n, 2]: rows and columns of the neighbours that are looked at; count: grids of a tile.
    """

    offset: np.ndarray
    stride: np.ndarray
    parents: np.ndarray
    reach: np.ndarray
    count: int


class Entropy(NamedTuple):
    """Weights of the entropy network, or their gradient; rows and columns padded to multiples of 4.

    wf [levels, F, 8], bf [levels, F]: of the co-located coarser latents, nearest first; w1, w2 [D, D], b1, b2
    [D]: residual layers; w3, s [4, D], b3 [4]: outputs (mu, log2 b, unused, unused) from the second layer and
    straight from x.
    """

    wf: np.ndarray
    bf: np.ndarray
    w1: np.ndarray
    b1: np.ndarray
    w2: np.ndarray
    b2: np.ndarray
    w3: np.ndarray
    b3: np.ndarray
    s: np.ndarray


@fast
def layer(w, b, x, out, n):  # pragma: no cover
    """out[:, :n] = w x + b; sides of w are multiples of 4."""
    for o in range(0, w.shape[0], 4):
        a0, a1, a2, a3 = w[o, 0], w[o, 1], w[o, 2], w[o, 3]
        b0, b1, b2, b3 = w[o + 1, 0], w[o + 1, 1], w[o + 1, 2], w[o + 1, 3]
        c0, c1, c2, c3 = w[o + 2, 0], w[o + 2, 1], w[o + 2, 2], w[o + 2, 3]
        d0, d1, d2, d3 = w[o + 3, 0], w[o + 3, 1], w[o + 3, 2], w[o + 3, 3]
        e0, e1, e2, e3 = b[o], b[o + 1], b[o + 2], b[o + 3]
        for p in range(n):
            x0, x1, x2, x3 = x[0, p], x[1, p], x[2, p], x[3, p]
            out[o, p] = e0 + a0 * x0 + a1 * x1 + a2 * x2 + a3 * x3
            out[o + 1, p] = e1 + b0 * x0 + b1 * x1 + b2 * x2 + b3 * x3
            out[o + 2, p] = e2 + c0 * x0 + c1 * x1 + c2 * x2 + c3 * x3
            out[o + 3, p] = e3 + d0 * x0 + d1 * x1 + d2 * x2 + d3 * x3
    product(w, x, out, n, 4)


@fast
def product(w, x, out, n, start):  # pragma: no cover
    """out[:, :n] += w x, of inputs from `start` on; sides of w are multiples of 4."""
    rows, columns = w.shape
    for o in range(0, rows, 4):
        for i in range(start, columns, 4):
            a0, a1, a2, a3 = w[o, i], w[o, i + 1], w[o, i + 2], w[o, i + 3]
            b0, b1, b2, b3 = w[o + 1, i], w[o + 1, i + 1], w[o + 1, i + 2], w[o + 1, i + 3]
            c0, c1, c2, c3 = w[o + 2, i], w[o + 2, i + 1], w[o + 2, i + 2], w[o + 2, i + 3]
            d0, d1, d2, d3 = w[o + 3, i], w[o + 3, i + 1], w[o + 3, i + 2], w[o + 3, i + 3]
            for p in range(n):
                x0, x1, x2, x3 = x[i, p], x[i + 1, p], x[i + 2, p], x[i + 3, p]
                out[o, p] += a0 * x0 + a1 * x1 + a2 * x2 + a3 * x3
                out[o + 1, p] += b0 * x0 + b1 * x1 + b2 * x2 + b3 * x3
                out[o + 2, p] += c0 * x0 + c1 * x1 + c2 * x2 + c3 * x3
                out[o + 3, p] += d0 * x0 + d1 * x1 + d2 * x2 + d3 * x3


@fast
def outer(g, x, dw, n):  # pragma: no cover
    """dw += g[:, :n] x[:, :n]^T; sides of dw are multiples of 4."""
    rows, columns = dw.shape
    for o in range(0, rows, 4):
        for i in range(0, columns, 4):
            a0 = a1 = a2 = a3 = b0 = b1 = b2 = b3 = ZERO
            c0 = c1 = c2 = c3 = d0 = d1 = d2 = d3 = ZERO
            for p in range(n):
                x0, x1, x2, x3 = x[i, p], x[i + 1, p], x[i + 2, p], x[i + 3, p]
                g0, g1, g2, g3 = g[o, p], g[o + 1, p], g[o + 2, p], g[o + 3, p]
                a0 += g0 * x0
                a1 += g0 * x1
                a2 += g0 * x2
                a3 += g0 * x3
                b0 += g1 * x0
                b1 += g1 * x1
                b2 += g1 * x2
                b3 += g1 * x3
                c0 += g2 * x0
                c1 += g2 * x1
                c2 += g2 * x2
                c3 += g2 * x3
                d0 += g3 * x0
                d1 += g3 * x1
                d2 += g3 * x2
                d3 += g3 * x3
            dw[o, i] += a0
            dw[o, i + 1] += a1
            dw[o, i + 2] += a2
            dw[o, i + 3] += a3
            dw[o + 1, i] += b0
            dw[o + 1, i + 1] += b1
            dw[o + 1, i + 2] += b2
            dw[o + 1, i + 3] += b3
            dw[o + 2, i] += c0
            dw[o + 2, i + 1] += c1
            dw[o + 2, i + 2] += c2
            dw[o + 2, i + 3] += c3
            dw[o + 3, i] += d0
            dw[o + 3, i + 1] += d1
            dw[o + 3, i + 2] += d2
            dw[o + 3, i + 3] += d3


@fast
def row_sums(g, db, n):  # pragma: no cover
    """db += sums of the rows of g[:, :n]."""
    for o in range(db.shape[0]):
        a = ZERO
        for p in range(n):
            a += g[o, p]
        db[o] += a


@fast
def positive(x, rows, n):  # pragma: no cover
    """ReLU in place."""
    for o in range(rows):
        for p in range(n):
            x[o, p] = max(x[o, p], ZERO)


@fast
def gate(g, h, rows, n):  # pragma: no cover
    """Gradient through a ReLU whose output is h."""
    for o in range(rows):
        for p in range(n):
            g[o, p] = g[o, p] if h[o, p] > ZERO else ZERO


@fast
def laplace(y, out, g, n):  # pragma: no cover
    """Bits of y [n] under mu = out[0], log2 b = out[1]; their gradient to g[0], g[1] (that of y is -g[0])."""
    total = 0.0
    for p in range(n):
        d = y[p] - out[0, p]
        raw = out[1, p]
        u = exp2(-min(max(raw, -SCALE_LIMIT), SCALE_LIMIT))  # 1 / b
        a = abs(d)
        far = a >= HALF
        near = abs(a - HALF) * u
        e2 = exp2(-min(near * LOG2E, f(100)))
        e3 = exp2(-u * LOG2E)
        q = max(ONE - e3, f(1e-9))
        e1 = e3 / e2
        prob = max(ONE - HALF * (e1 + e2), f(1e-7))
        inside = HALF * q if far else prob
        bits = (near * LOG2E if far else ZERO) - log2(inside)
        inv = ONE / inside
        ga = u if far else HALF * u * (e2 - e1) * inv
        gl = u * (HALF * e3 * inv - near / u) if far else HALF * u * ((a + HALF) * e1 + (HALF - a) * e2) * inv
        blocked = (raw < -SCALE_LIMIT and gl > ZERO) or (raw > SCALE_LIMIT and gl < ZERO)
        g[0, p] = -(ga * LOG2E if d >= ZERO else -ga * LOG2E)
        g[1, p] = ZERO if blocked else gl
        total += bits
    return total


@fast
def gather(blocks, segments, b, y, offset, stride, reach, x):  # pragma: no cover
    """Causal neighbours of a block to x; -> latents in it."""
    at = 0
    for j in range(blocks[b, 0], blocks[b, 1]):
        grid, r, c, n = segments[j]
        s = stride[grid]
        base = offset[grid] + r * s + c
        for k in range(reach.shape[0]):
            q = base + reach[k, 0] * s + reach[k, 1]
            source, to = y[q : q + n], x[k, at : at + n]
            for p in range(n):
                to[p] = source[p]
        at += n
    return at


@fast
def coarser(blocks, segments, b, y, lattice, wf, bf, x, t):  # pragma: no cover
    """Features of the co-located coarser latents to x [F, ...]: from the coarsest on, each spread to twice as
    many. t: scratch [2, 256].
    """
    offset, stride, parents = lattice.offset, lattice.stride, lattice.parents
    at = 0
    for j in range(blocks[b, 0], blocks[b, 1]):
        grid, r, c, n = segments[j]
        nv = parents[grid]
        for k in range(wf.shape[0]):
            to = x[k, at : at + n]
            for p in range(n):
                to[p] = bf[k]
            now, then = t[0], t[1]
            for p in range(((n - 1) >> nv) + 1):
                now[p] = ZERO
            for sh in range(nv, 0, -1):
                m = ((n - 1) >> sh) + 1
                q = offset[grid + sh] + (r >> sh) * stride[grid + sh] + (c >> sh)
                w = wf[k, sh - 1]
                source = y[q : q + m]
                for p in range(m):
                    now[p] += w * source[p]
                if sh == 1:
                    for p in range(n >> 1):
                        to[2 * p] += now[p]
                        to[2 * p + 1] += now[p]
                    if n & 1:
                        to[n - 1] += now[m - 1]
                else:
                    m2 = ((n - 1) >> (sh - 1)) + 1
                    for p in range(m2 >> 1):
                        then[2 * p] = now[p]
                        then[2 * p + 1] = now[p]
                    if m2 & 1:
                        then[m2 - 1] = now[m - 1]
                    now, then = then, now
        at += n


@fast
def coarser_back(blocks, segments, b, y, lattice, wf, g, gy, gwf, gbf, t):  # pragma: no cover
    """Gradient of `coarser`: g [F, ...] is halved step by step. t: scratch [2, 256]."""
    offset, stride, parents = lattice.offset, lattice.stride, lattice.parents
    at = 0
    for j in range(blocks[b, 0], blocks[b, 1]):
        grid, r, c, n = segments[j]
        for k in range(wf.shape[0]):
            now, then = t[0], t[1]
            source = g[k, at : at + n]
            a = ZERO
            for p in range(n):
                a += source[p]
                now[p] = source[p]
            gbf[k] += a
            m = n
            for sh in range(1, parents[grid] + 1):
                for p in range(m >> 1):
                    then[p] = now[2 * p] + now[2 * p + 1]
                if m & 1:
                    then[m >> 1] = now[m - 1]
                m = (m + 1) >> 1
                now, then = then, now
                q = offset[grid + sh] + (r >> sh) * stride[grid + sh] + (c >> sh)
                w = wf[k, sh - 1]
                values, gradient = y[q : q + m], gy[q : q + m]
                a = ZERO
                for p in range(m):
                    a += now[p] * values[p]
                    gradient[p] += w * now[p]
                gwf[k, sh - 1] += a
        at += n


@fast
def rate(first, last, blocks, segments, y, lattice, net, gy, grad, want, bits):  # pragma: no cover
    """Bits of blocks first..last, added to bits [levels]; with `want` their gradient is added to gy (as y)
    and grad (as net).

    blocks: int64 [n, 2], segments of a block; segments: int64 [m, 4], (grid, row, column, length).
    """
    size = net.w1.shape[0]
    offset, stride, reach = lattice.offset, lattice.stride, lattice.reach
    around = reach.shape[0]
    identity = np.zeros((size, size), f)
    for k in range(size):
        identity[k, k] = ONE
    w1, w2 = net.w1 + identity, net.w2 + identity
    w1t, w2t = np.ascontiguousarray(w1.T), np.ascontiguousarray(w2.T)
    w3t, st = np.ascontiguousarray(net.w3.T), np.ascontiguousarray(net.s.T)
    x, h1, h2 = np.zeros((size, BLOCK), f), np.zeros((size, BLOCK), f), np.zeros((size, BLOCK), f)
    ga, gb = np.zeros((size, BLOCK), f), np.zeros((size, BLOCK), f)
    out, go = np.zeros((4, BLOCK), f), np.zeros((4, BLOCK), f)
    none = np.zeros(size, f)
    t, cur = np.zeros((2, BLOCK), f), np.zeros(BLOCK, f)
    for b in range(first, last):
        grid = segments[blocks[b, 0], 0]
        level = grid % lattice.count
        n = gather(blocks, segments, b, y, offset, stride, reach, x)
        coarser(blocks, segments, b, y, lattice, net.wf[level], net.bf[level], x[around:], t)
        layer(w1, net.b1, x, h1, n)
        positive(h1, size, n)
        layer(w2, net.b2, h1, h2, n)
        positive(h2, size, n)
        layer(net.w3, net.b3, h2, out, n)
        product(net.s, x, out, n, 0)
        at = 0
        for j in range(blocks[b, 0], blocks[b, 1]):
            q = offset[grid] + segments[j, 1] * stride[grid] + segments[j, 2]
            m = segments[j, 3]
            source, to = y[q : q + m], cur[at : at + m]
            for p in range(m):
                to[p] = source[p]
            at += m
        bits[level] += laplace(cur, out, go, n)
        if not want:
            continue
        outer(go, h2, grad.w3, n)
        outer(go, x, grad.s, n)
        row_sums(go, grad.b3, n)
        layer(w3t, none, go, ga, n)
        gate(ga, h2, size, n)
        outer(ga, h1, grad.w2, n)
        row_sums(ga, grad.b2, n)
        layer(w2t, none, ga, gb, n)
        gate(gb, h1, size, n)
        outer(gb, x, grad.w1, n)
        row_sums(gb, grad.b1, n)
        layer(w1t, none, gb, ga, n)
        product(st, go, ga, n, 0)
        at = 0
        for j in range(blocks[b, 0], blocks[b, 1]):
            s = stride[grid]
            base = offset[grid] + segments[j, 1] * s + segments[j, 2]
            m = segments[j, 3]
            to, source = gy[base : base + m], go[0, at : at + m]
            for p in range(m):
                to[p] -= source[p]
            for k in range(around):
                q = base + reach[k, 0] * s + reach[k, 1]
                to, source = gy[q : q + m], ga[k, at : at + m]
                for p in range(m):
                    to[p] += source[p]
            at += m
        coarser_back(
            blocks,
            segments,
            b,
            y,
            lattice,
            net.wf[level],
            ga[around:],
            gy,
            grad.wf[level],
            grad.bf[level],
            t,
        )
