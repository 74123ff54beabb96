"""The entropy network in integers and the rANS coder of latents: what encoder and decoder must do alike.

    coarser latents --wf--> F features of every latent of a level, at once
    wave by wave: neighbours, features --2 residual layers, bypass--> mu, log2 b --> table --rANS--> latent

A wave is all latents with equal column + 3 row: they do not see each other, so a wave is computed side by
side. Only the last 16 waves are kept, each by row, so a neighbour of consecutive latents is a contiguous
piece of an earlier wave.

Fixed point: neighbours and activations have 6 fraction bits, weights 8, sums 14. Bounds: frozen.check has
shown that no sum, in any order, leaves 32 bits; products are cut to 32 bits because numba would widen them.
In rANS the state stays below 2^64: x < freq 2^48 before a symbol is pushed.

Source: Duda 2013 (rANS); integer networks for entropy models: Balle et al. 2019.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tersor.entropy.compiled import compiled

# G, all of them, but for what says otherwise: how the loops go, not what they compute.
WAVES = 16  # kept; a power of 2 above the farthest neighbour, 10 waves back
SLOPE = 3  # F: waves per row
EDGE = 4  # zeros before the first and after the last row of a wave
BLOCK = 256
LIMIT = np.int32(32767)
ZERO = np.int32(0)
LOW = 1 << 32
i32 = np.int32


class EntropyNet(NamedTuple):
    """The entropy network in fixed point; w3 and s have 4 rows, the last two zero."""

    w1: np.ndarray
    b1: np.ndarray
    w2: np.ndarray
    b2: np.ndarray
    w3: np.ndarray
    b3: np.ndarray
    s: np.ndarray


@compiled
def products(w, x, out, n):  # pragma: no cover
    """out[:, :n] += w x, in 32 bits; sides of w are multiples of 4: 4 x 4 weights stay in registers."""
    rows, columns = w.shape
    for o in range(0, rows, 4):
        for i in range(0, columns, 4):
            a0, a1, a2, a3 = w[o, i], w[o, i + 1], w[o, i + 2], w[o, i + 3]
            b0, b1, b2, b3 = w[o + 1, i], w[o + 1, i + 1], w[o + 1, i + 2], w[o + 1, i + 3]
            c0, c1, c2, c3 = w[o + 2, i], w[o + 2, i + 1], w[o + 2, i + 2], w[o + 2, i + 3]
            d0, d1, d2, d3 = w[o + 3, i], w[o + 3, i + 1], w[o + 3, i + 2], w[o + 3, i + 3]
            for p in range(n):
                x0, x1, x2, x3 = x[i, p], x[i + 1, p], x[i + 2, p], x[i + 3, p]
                out[o, p] = i32(out[o, p] + i32(a0 * x0) + i32(a1 * x1) + i32(a2 * x2) + i32(a3 * x3))
                out[o + 1, p] = i32(out[o + 1, p] + i32(b0 * x0) + i32(b1 * x1) + i32(b2 * x2) + i32(b3 * x3))
                out[o + 2, p] = i32(out[o + 2, p] + i32(c0 * x0) + i32(c1 * x1) + i32(c2 * x2) + i32(c3 * x3))
                out[o + 3, p] = i32(out[o + 3, p] + i32(d0 * x0) + i32(d1 * x1) + i32(d2 * x2) + i32(d3 * x3))


@compiled
def residual(w, b, x, out, n):  # pragma: no cover
    """out = relu(x + (w x + b)), rounded to nearest and cut to 16 bits."""
    for o in range(b.size):
        for p in range(n):
            out[o, p] = i32(i32(x[o, p] << 8) + b[o])
    products(w, x, out, n)
    for o in range(b.size):
        for p in range(n):
            out[o, p] = min(max(i32(i32(out[o, p] + i32(128)) >> 8), ZERO), LIMIT)


@compiled
def features(levels, offset, height, width, wf, bf, out):  # pragma: no cover
    """Features of the first grid from all the others, to out [h, w, F]; from the coarsest on, sums spread to
    twice as many.

    levels: int8, grids one after the other, fine to coarse, each at offset [grids] with height, width
    [grids].
    """
    now, then = np.zeros(width[0] + 1, np.int32), np.zeros(width[0] + 1, np.int32)
    for r in range(height[0]):
        for k in range(bf.size):
            for c in range(width[-1]):
                now[c] = ZERO
            for j in range(width.size - 1, 0, -1):
                q = offset[j] + (r >> j) * width[j]
                source, w = levels[q : q + width[j]], i32(wf[k, j - 1] << 6)
                for c in range(width[j]):
                    v = i32(now[c] + i32(w * source[c]))
                    then[2 * c] = v
                    then[2 * c + 1] = v
                now, then = then, now
            b = i32(bf[k] + i32(128))
            for c in range(width[0]):
                out[r, c, k] = min(max(i32(i32(now[c] + b) >> 8), -LIMIT), LIMIT)


@compiled
def neighbours(wave, t, r0, n, reach, x):  # pragma: no cover
    """What latents r0..r0 + n of wave t see around them, from earlier waves, to x."""
    for k in range(reach.shape[0]):
        back = t + reach[k, 1] + SLOPE * reach[k, 0]
        a = EDGE + r0 + reach[k, 0]
        source = wave[back & (WAVES - 1), a : a + n]
        for p in range(n):
            x[k, p] = source[p]


@compiled
def places(out, n, start, radius, at):  # pragma: no cover
    """The rows of the tables that outputs name: at[0] their begin, at[1] their radius, at[2] the symbol 0 as
    a latent.
    """
    for p in range(n):
        mu = min(max(out[0, p] >> 8, -8128), 8128)
        middle = (mu + 32) >> 6
        fraction = (mu - (middle << 6) + 32) >> 1
        scale = min(max(((out[1, p] >> 8) + 388) >> 3, 0), 95)
        at[0, p] = start[scale] + fraction * (2 * radius[scale] + 3)
        at[1, p] = radius[scale]
        at[2, p] = middle


@compiled
def code_level(grid, feature, reach, net, tables, state, words, symbols, decoding):  # pragma: no cover
    """Decode a grid, or list what its latents are to be coded by; -> False if the code is damaged.

    Args:
        grid: int8 [height, width], read or written.
        feature: int32 [height, width, F].
        state: uint64 [2]: of the decoder, and its next word.
        words: uint32, the code.
        symbols: uint32 [n, 2], (start, count), in order of coding; two places a latent, the second for an
            escape.
    """
    height, width = grid.shape
    around, size = reach.shape[0], net.b1.size
    wave = np.zeros((WAVES, height + 2 * EDGE), np.int32)
    x, h1 = np.zeros((size, BLOCK), np.int32), np.zeros((size, BLOCK), np.int32)
    h2 = np.zeros((size, BLOCK), np.int32)
    out, at = np.zeros((4, BLOCK), np.int32), np.zeros((3, BLOCK), np.int64)
    values = np.zeros(BLOCK, np.int64)
    flat, latents = feature.reshape(-1, size - around), grid.reshape(-1)
    stride = width - SLOPE  # from a latent of a wave to the next, in rows of `flat`
    coded = 0
    for t in range(width + SLOPE * (height - 1)):
        now = wave[t & (WAVES - 1)]
        for r in range(height + 2 * EDGE):
            now[r] = ZERO
        top, bottom = max(0, -((width - 1 - t) // SLOPE)), min(height - 1, t // SLOPE)
        for r0 in range(top, bottom + 1, BLOCK):
            n = min(BLOCK, bottom + 1 - r0)
            here = r0 * stride + t
            neighbours(wave, t, r0, n, reach, x)
            for p in range(n):
                for k in range(around, size):
                    x[k, p] = flat[here + p * stride, k - around]
            residual(net.w1, net.b1, x, h1, n)
            residual(net.w2, net.b2, h1, h2, n)
            for o in range(2):
                for p in range(n):
                    out[o, p] = i32(net.b3[o] + i32(128))
            products(net.w3, h2, out, n)
            products(net.s, x, out, n)
            places(out, n, tables.start, tables.radius, at)
            if decoding:
                if not pop(at, n, tables.cumulative, state, words, values):
                    return False
                for p in range(n):
                    latents[here + p * stride] = values[p]
            else:
                for p in range(n):
                    values[p] = latents[here + p * stride]
                look_up(at, n, tables.cumulative, values, symbols, coded)
                coded += 2 * n
            to = now[EDGE + r0 : EDGE + r0 + n]
            for p in range(n):
                to[p] = i32(values[p] << 6)
    return True


@compiled
def look_up(at, n, cumulative, values, symbols, first):  # pragma: no cover
    """(start, count) of n latents to symbols, from row `first` on; an escape is followed by the latent
    itself.
    """
    for p in range(n):
        base, big, v = at[0, p], at[1, p], values[p] - at[2, p]
        i = v + big if -big <= v <= big else 2 * big + 1
        low = cumulative[base + i]
        symbols[first + 2 * p, 0], symbols[first + 2 * p, 1] = low, cumulative[base + i + 1] - low
        if i == 2 * big + 1:
            symbols[first + 2 * p + 1, 0], symbols[first + 2 * p + 1, 1] = (values[p] + 128) << 8, 256


@compiled
def pop(at, n, cumulative, state, words, values):  # pragma: no cover
    """Decode n latents; -> False if the code ends too early, or a latent is out of range."""
    x, next_word = state[0], np.int64(state[1])
    for p in range(n):
        low = np.int64(x & np.uint64(0xFFFF))
        big = at[1, p]
        i = at[0, p] + big
        end = (
            i + big + 1
        )  # of the escape; rows begin with 0 and end with 65536, so neither loop leaves its row
        while cumulative[i] > low:
            i -= 1
        while cumulative[i + 1] <= low:
            i += 1
        count = np.int64(cumulative[i + 1]) - np.int64(cumulative[i])
        x = np.uint64(count) * (x >> np.uint64(16)) + np.uint64(low - np.int64(cumulative[i]))
        if x < np.uint64(LOW):
            if next_word >= words.size:
                return False
            x = (x << np.uint64(32)) | np.uint64(words[next_word])
            next_word += 1
        value = at[2, p] + i - at[0, p] - big
        if i == end:
            low = np.int64(x & np.uint64(0xFFFF))
            value = (low >> 8) - 128
            x = np.uint64(256) * (x >> np.uint64(16)) + np.uint64(low & 255)
            if x < np.uint64(LOW):
                if next_word >= words.size:
                    return False
                x = (x << np.uint64(32)) | np.uint64(words[next_word])
                next_word += 1
        if value < -127 or value > 127:
            return False
        values[p] = value
    state[0], state[1] = x, np.uint64(next_word)
    return True


@compiled
def push_all(symbols, n, words):  # pragma: no cover
    """rANS code of symbols [n, 2] (count 0: nothing), backwards, to the end of words; -> its first word."""
    x = np.uint64(LOW)
    at = words.size
    for i in range(n - 1, -1, -1):
        count = np.uint64(symbols[i, 1])
        if count == np.uint64(0):
            continue
        if x >= (count << np.uint64(48)):
            at -= 1
            words[at] = np.uint32(x & np.uint64(0xFFFFFFFF))
            x >>= np.uint64(32)
        x = ((x // count) << np.uint64(16)) + np.uint64(symbols[i, 0]) + x % count
    at -= 1
    words[at] = np.uint32(x & np.uint64(0xFFFFFFFF))
    at -= 1
    words[at] = np.uint32(x >> np.uint64(32))
    return at
