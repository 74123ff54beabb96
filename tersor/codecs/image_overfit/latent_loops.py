"""The entropy network in integers and the rANS coder of latents: what encoder and decoder must do alike.

    coarser latents --wf--> F features of every latent of a level, at once
    wave by wave: neighbours, features --2 residual layers, bypass--> mu, log2 b --> table --rANS--> latent

A wave is all latents with equal column + 3 row: they do not see each other, so a wave is computed side by
side. Only the last 16 waves are kept, each by row, so a neighbour of consecutive latents is a contiguous
piece of an earlier wave.

Fixed point: neighbours and activations have 6 fraction bits, weights 8, sums 14. Bounds: frozen.check has
shown that weights and activations fit 16 bits and that no sum, in any order, leaves 32.
In rANS the state stays below 2^64: x < freq 2^48 before a symbol is pushed.

Source: Duda 2013 (rANS); integer networks for entropy models: Balle et al. 2019.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tersor.codecs.image_overfit.pair_sums import BLOCK, layer_sums
from tersor.entropy.compiled import compiled

# G, all of them, but for what says otherwise: how the loops go, not what they compute.
WAVES = 16  # kept; a power of 2 above the farthest neighbour, 10 waves back
SLOPE = 3  # F: waves per row
EDGE = 4  # zeros before the first and after the last row of a wave
QUIET = 5  # G: eighths; with more busy latents than that, all are computed alike
LIMIT = np.int32(32767)
ZERO = np.int32(0)
LOW = 1 << 32
i32 = np.int32


class EntropyNet(NamedTuple):
    """The entropy network in fixed point, weights in pairs (pair_sums.py); those of the residual layers hold
    the identity, biases the half that rounds.

    w1, w2 [D, D/2, 2], b1, b2 [D]; w3, s [4, D/2, 2], of which 2 count, b3 [4].
    """

    w1: np.ndarray
    b1: np.ndarray
    w2: np.ndarray
    b2: np.ndarray
    w3: np.ndarray
    b3: np.ndarray
    s: np.ndarray


@compiled
def residual(w, b, x, out, sums, n):  # pragma: no cover
    """out = relu(x + (w x + b)), rounded to nearest and cut to 15 bits; x, out int16 [D/2, BLOCK, 2]."""
    layer_sums(x, w, b, sums, n)
    for k in range(out.shape[0]):
        one, two, to = sums[2 * k], sums[2 * k + 1], out[k]
        for p in range(n):
            to[p, 0] = min(max(one[p] >> 8, ZERO), LIMIT)
            to[p, 1] = min(max(two[p] >> 8, ZERO), LIMIT)


@compiled
def features(levels, offset, height, width, wf, bf, out):  # pragma: no cover
    """Features of the first grid from all the others, from the coarsest on, sums spread to twice as many; to
    out [ceil(h / 2), ceil(w / 2), F], since 2 x 2 latents share all that is coarser.

    levels: int8, grids one after the other, fine to coarse, each at offset [grids] with height, width
    [grids].
    """
    now, then = np.zeros(width[0] + 2, np.int32), np.zeros(width[0] + 2, np.int32)
    for r in range(out.shape[0]):
        for k in range(bf.size):
            for c in range(out.shape[1]):
                now[c] = ZERO
            for j in range(width.size - 1, 0, -1):
                q = offset[j] + (r >> (j - 1)) * width[j]
                source, w = levels[q : q + width[j]], i32(wf[k, j - 1] << 6)
                for c in range(width[j]):
                    now[c] = i32(now[c] + i32(w * source[c]))
                if j > 1:
                    for c in range(width[j]):
                        then[2 * c] = now[c]
                        then[2 * c + 1] = now[c]
                    now, then = then, now
            b = i32(bf[k] + i32(128))
            for c in range(out.shape[1]):
                out[r, c, k] = min(max(i32(i32(now[c] + b) >> 8), -LIMIT), LIMIT)


@compiled
def neighbours(wave, t, r0, n, reach, x, seen):  # pragma: no cover
    """What latents r0..r0 + n of wave t see around them, from earlier waves, to x [D/2, BLOCK, 2]; seen [n]
    is 0 where that is nothing but zeros.
    """
    for p in range(n):
        seen[p] = ZERO
    count = reach.shape[0]
    for k in range(0, count - 1, 2):
        one, two = earlier(wave, t, r0, n, reach[k]), earlier(wave, t, r0, n, reach[k + 1])
        to = x[k >> 1]
        for p in range(n):
            to[p, 0] = one[p]
            to[p, 1] = two[p]
            seen[p] |= i32(one[p] | two[p])
    if count & 1:
        one, to = earlier(wave, t, r0, n, reach[count - 1]), x[count >> 1]
        for p in range(n):
            to[p, 0] = one[p]
            seen[p] |= i32(one[p])


@compiled
def earlier(wave, t, r0, n, reach):  # pragma: no cover
    """Latents of an earlier wave that lie `reach` (rows, columns) from those of wave t."""
    back = t + reach[1] + SLOPE * reach[0]
    a = EDGE + r0 + reach[0]
    return wave[back & (WAVES - 1), a : a + n]


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
def outputs(net, x, h, sums, out, n):  # pragma: no cover
    """out [2, n] = (mu, log2 b), with 14 fraction bits and half a unit of rounding, of inputs x; h: scratch
    int16 [2, D/2, BLOCK, 2], sums int32 [D, BLOCK].
    """
    residual(net.w1, net.b1, x, h[0], sums, n)
    residual(net.w2, net.b2, h[0], h[1], sums, n)
    layer_sums(h[1], net.w3, net.b3, sums, n)
    for o in range(2):
        for p in range(n):
            out[o, p] = sums[o, p]
    layer_sums(x, net.s, np.zeros_like(net.b3), sums, n)
    for o in range(2):
        for p in range(n):
            out[o, p] = i32(out[o, p] + sums[o, p])


@compiled
def see(flat, place, around, x, n):  # pragma: no cover
    """Features of places of flat [places, F] to the inputs after the neighbours."""
    for p in range(n):
        for f in range(flat.shape[1]):
            k = around + f
            x[k >> 1, p, k & 1] = flat[place[p], f]


@compiled
def quiet_outputs(flat, around, net, quiet):  # pragma: no cover
    """Outputs of latents whose neighbours are all 0, for each place of flat [places, F], to quiet
    [places, 2].
    """
    size = net.b1.size
    x, h = np.zeros((size >> 1, BLOCK, 2), np.int16), np.zeros((2, size >> 1, BLOCK, 2), np.int16)
    sums, out = np.zeros((size, BLOCK), np.int32), np.zeros((2, BLOCK), np.int32)
    for first in range(0, len(flat), BLOCK):
        n = min(BLOCK, len(flat) - first)
        see(flat, np.arange(first, first + n), around, x, n)
        outputs(net, x, h, sums, out, n)
        for p in range(n):
            quiet[first + p, 0], quiet[first + p, 1] = out[0, p], out[1, p]


@compiled
def code_level(grid, feature, reach, net, tables, state, words, symbols, decoding):  # pragma: no cover
    """Decode a grid, or list what its latents are to be coded by; -> False if the code is damaged.

    Latents whose neighbours are all 0 take what their place was found to have, where those are many: the
    same integers in less time.

    Args:
        grid: int8 [height, width], read or written.
        feature: int16 [ceil(height / 2), ceil(width / 2), F].
        state: uint64 [2]: of the decoder, and its next word.
        words: uint32, the code.
        symbols: uint32 [n, 2], (start, count), in order of coding; two places a latent, the second for an
            escape.
    """
    height, width = grid.shape
    around, size = reach.shape[0], net.b1.size
    wave = np.zeros((WAVES, height + 2 * EDGE), np.int16)
    x, few = np.zeros((size >> 1, BLOCK, 2), np.int16), np.zeros((size >> 1, BLOCK, 2), np.int16)
    h, sums = np.zeros((2, size >> 1, BLOCK, 2), np.int16), np.zeros((size, BLOCK), np.int32)
    out, some = np.zeros((2, BLOCK), np.int32), np.zeros((2, BLOCK), np.int32)
    at, place = np.zeros((3, BLOCK), np.int64), np.zeros(BLOCK, np.int64)
    values, busy = np.zeros(BLOCK, np.int64), np.zeros(BLOCK, np.int64)
    seen, where = np.zeros(BLOCK, np.int32), np.zeros(BLOCK, np.int64)
    flat, latents = feature.reshape(-1, size - around), grid.reshape(-1)
    half = feature.shape[1]
    quiet = np.zeros((0, 2), np.int32)
    stride = width - SLOPE  # from a latent of a wave to the next, in rows of `latents`
    coded = met = met_busy = 0
    for t in range(width + SLOPE * (height - 1)):
        now = wave[t & (WAVES - 1)]
        for r in range(height + 2 * EDGE):
            now[r] = 0
        top, bottom = max(0, -((width - 1 - t) // SLOPE)), min(height - 1, t // SLOPE)
        if len(quiet) == 0 and met > grid.size >> 3 and QUIET * met > 8 * met_busy:
            quiet = np.zeros((len(flat), 2), np.int32)
            quiet_outputs(flat, around, net, quiet)
        for r0 in range(top, bottom + 1, BLOCK):
            n = min(BLOCK, bottom + 1 - r0)
            here = r0 * stride + t
            neighbours(wave, t, r0, n, reach, x, seen)
            count = 0
            for p in range(n):
                place[p] = ((r0 + p) >> 1) * half + ((t - SLOPE * (r0 + p)) >> 1)
                busy[count] = p
                where[count] = place[p]
                count += 1 if seen[p] != ZERO else 0
            met += n
            met_busy += count
            if len(quiet) == 0 or 8 * count > QUIET * n:
                see(flat, place, around, x, n)
                outputs(net, x, h, sums, out, n)
            else:
                for p in range(n):
                    out[0, p], out[1, p] = quiet[place[p], 0], quiet[place[p], 1]
                for k in range((around + 1) >> 1):
                    for p in range(count):
                        few[k, p, 0], few[k, p, 1] = x[k, busy[p], 0], x[k, busy[p], 1]
                see(flat, where, around, few, count)
                outputs(net, few, h, sums, some, count)
                for p in range(count):
                    out[0, busy[p]], out[1, busy[p]] = some[0, p], some[1, p]
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
                to[p] = values[p] << 6
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
