"""The compiled loop of photographs: each sample predicted from the neighbourhood in its own plane and in the
two planes before it, its error coded bit by bit under mixed contexts.

    seven predictions: least squares solved anew every few columns, over the columns around as the rows above
      fade (quickly, slowly, and with fewer variables), over the whole chunk, over the places of one kind of
      edge, over those with the same neighbours brighter; and the median edge detector (planes after the
      first: of the difference to the plane before)
      --weighted by the errors each made nearby--> their mean --less the mean error in two contexts-->
      prediction
    errors nearby, in all planes --least squares--> the size of the error to expect
    side of the prediction, then steps away from it, then what a step holds: each bit by mixing.py, from
      contexts and from a distribution of that size around each prediction

Planes are coded one after the other, so that all neighbours in the planes before are known. The first row and
the borders repeat the nearest sample that is known.

Bounds: samples are below 2^16, so predictions, in 1/64, are below 2^22; weights below 2^27 of at most 40
differences below 2^17 make sums below 2^50. A block's products, four a row of at most 2^22, stay below 2^26
as they fade by a quarter a row, and below 2^29 where a quarter of that fades by 1/32: int32. Sizes of
errors are below 2^16, in 1/65536.

Source: Meyer and Tischer 1997, 2001 (TMW, Glicbawls: blending by local error); Weinberger et al. 2000
(LOCO-I); Wu and Memon 1997 (CALIC: texture, feedback of errors).
"""

from __future__ import annotations

import numpy as np

from tersor.codecs.lossless.arithmetic import CUMULATIVE_SIZE
from tersor.codecs.lossless.least_squares import (
    WEIGHT_BITS,
    add_products,
    fade,
    gather,
    gather_few,
    pass_on,
    solve,
    take,
)
from tersor.codecs.lossless.mixing import mixed_bit
from tersor.entropy.binarise import bit_length, clip
from tersor.entropy.compiled import compiled, inlined

# F, all of them. Those marked M as well were chosen by the bytes of photographs of the training set at half
# their size, some with grain added: M by tools/studies.py lossless.
TOP, BOTTOM, SIDE = 3, 1, 4  # rows and columns around a plane
ONE = 6  # predictions are in units of 2^-ONE
PREDICTIONS = 7
CLASSES = 9 + 16  # by the direction of edges; by which neighbours are brighter
COLUMNS = 4  # M of a block that shares weights
SLOWLY = 4  # M blocks that share weights of slowly fading sums
AROUND, AROUND_SLOW, AROUND_FEW = 4, 5, 1  # M blocks to either side whose sums count
FADE_BLOCK, FADE_SLOW, FADE_CHUNK, FADE_CLASS, FADE_SIZE = 2, 5, 6, 4, 5  # M
CHUNK_SHARE = 9  # M the whole chunk's sums count 2^-CHUNK_SHARE in a block's
FEW = 14  # M variables of the smaller least squares
CONTEXTS = 9
SIZES = (32 * 4, 16 * 16, 11 * 11 * 3, 81 * 3, 81 * 3, 256, 64 * 3, 81, 32 * 16)  # of the contexts
FIRST = tuple(int(n) for n in np.concatenate([[0], np.cumsum(SIZES)])[:-1])
NODES = 64
PLANE_SLOTS = sum(SIZES) * NODES
PARAMETRIC = 10
INPUTS = CONTEXTS + PARAMETRIC + 1
UNARY = 20
LONG = 12  # steps after which they double
ROWS = NODES + 32 + 64  # of weights, of a plane
SLOT_COUNT, SIZE_COUNT, BIAS_COUNT = 255, 400, 200  # M
SIZE_CONTEXTS = (64 * 64, 256 * 12, 64 * 16, 64)
SIZE_FIRST = tuple(int(n) for n in np.concatenate([[0], np.cumsum(SIZE_CONTEXTS)])[:-1])
PLANE_SIZES = sum(SIZE_CONTEXTS)
BIAS_TEXTURES = 256 * 6
PLANE_BIASES = BIAS_TEXTURES + 5 * 5 * 7 * 5


@inlined
def median_edge(w, n, nw):  # pragma: no cover
    """LOCO-I's predictor."""
    return min(max(w + n - nw, min(w, n)), max(w, n))


@compiled
def fill(values, first, n, value):  # pragma: no cover
    """Overwrite n values from the first."""
    for i in range(first, first + n):
        values[i] = value


@compiled
def quarter_octaves(v):  # pragma: no cover
    """Logarithm of v >= 1: 4 times that to base 2."""
    bits = bit_length(v) - 1
    return (bits << 2) + (((v << 2) >> bits) & 3)


@inlined
def towards(mean, value, reciprocals, count):  # pragma: no cover
    """A mean of `count` values after one more."""
    return mean + (((value - mean) * reciprocals[count]) >> 16)


@inlined
def signed_level(e, levels):  # pragma: no cover
    """0 to 10 of an error: 5 of none, then of 1, 2, up to 4, up to 8, and more."""
    v = min((levels[min(max(2 * abs(e) - 1, 0), 4095)] + 3) >> 2, 5)
    return 5 + v if e > 0 else 5 - v


@compiled
def code_photo(io, buffer, x, low, high, shift, near, mixer, tables, sizes, biases):  # pragma: no cover
    """Code or decode planes x in place.

    Args:
        x: int64 [P, TOP + H + BOTTOM, SIDE + W + SIDE]; what is around the planes is overwritten.
        low, high: int64 [P], the ends of the planes' ranges.
        shift: errors are divided by 2^shift where their size is a context.
        near: what of the neighbourhood is used (photo.Neighbours).
        mixer, tables: see mixing.py and arithmetic.py.
        sizes, biases: int64 [contexts, 2], means and counts: sizes of errors, in 2^-16; errors, in 2^-12.
    """
    planes, padded_height, stride = x.shape
    height, width = padded_height - TOP - BOTTOM, stride - 2 * SIDE
    area = padded_height * stride
    flat = x.ravel()
    errors = np.zeros((planes, padded_height, stride), np.int64)
    flat_sizes = np.zeros(planes * area, np.int64)
    most = 0
    for p in range(planes):
        most = max(most, near.counts[p])
    blocks = (width + COLUMNS - 1) // COLUMNS
    block_sums = np.zeros((blocks, most + 1, most + 1), np.int32)
    slow_sums = np.zeros((blocks, most + 1, most + 1), np.int32)
    chunk_sums = np.zeros((most + 1, most + 1), np.int64)
    class_sums = np.zeros((CLASSES, most + 1, most + 1), np.int64)
    size_sums = np.zeros((2, 40, 40), np.int64)
    work = np.zeros((most + 1, most + 1), np.int64)
    column = np.zeros(40, np.int64)
    weights = np.zeros((4 + CLASSES, most), np.int64)
    size_weights = np.zeros(40, np.int64)
    values = np.zeros(most + 1, np.int64)
    scaled = np.zeros(most + 1, np.int32)
    size_values = np.zeros(40, np.int64)
    size_scaled = np.zeros(40, np.int32)
    wrong = np.zeros((PREDICTIONS, 3, stride), np.int64)
    prediction = np.zeros(PREDICTIONS, np.int64)
    base = np.zeros(CONTEXTS, np.int64)
    centre = np.zeros(PARAMETRIC, np.int64)
    slope = np.zeros(PARAMETRIC, np.int64)
    below = np.zeros(PARAMETRIC, np.int64)
    above = np.zeros(PARAMETRIC, np.int64)
    between = np.zeros(PARAMETRIC, np.int64)
    levels, reciprocals, cumulative, stretch = (
        tables.levels,
        tables.reciprocals,
        tables.cumulative,
        tables.stretch,
    )
    at, inputs = mixer.at, mixer.inputs
    inputs[INPUTS - 1] = 256
    for p in range(planes):
        if low[p] == high[p]:
            fill(flat, p * area, area, low[p])
            continue
        n, few = near.counts[p], min(near.counts[p], FEW)
        n_sizes = near.size_counts[p] + 2
        for sums in (block_sums.ravel(), slow_sums.ravel()):
            fill(sums, 0, len(sums), 0)
        for sums in (
            chunk_sums.ravel(),
            class_sums.ravel(),
            size_sums.ravel(),
            weights.ravel(),
            wrong.ravel(),
        ):
            fill(sums, 0, len(sums), 0)
        fill(size_weights, 0, len(size_weights), 0)
        fill(flat, p * area, TOP * stride + SIDE, (low[p] + high[p] + 1) >> 1)
        span = high[p] - low[p] + 1
        for y in range(TOP, TOP + height):
            now, last, before = y % 3, (y + 2) % 3, (y + 1) % 3
            if y > TOP:
                o = (p * padded_height + y) * stride
                fill(flat, o, SIDE, flat[o - stride + SIDE])
                for c in range(CLASSES):
                    take(work, class_sums[c], n, 0)
                    solve(work, n, weights[4 + c], column)
                    fade(class_sums[c], n, FADE_CLASS)
            for k in range(PREDICTIONS):
                fill(wrong[k, now], 0, SIDE, wrong[k, last, SIDE])
            for b in range(blocks):
                if b % (2 * SLOWLY) == 0 and y + b > TOP:
                    take(size_sums[1], size_sums[0], n_sizes, 0)
                    solve(size_sums[1], n_sizes, size_weights, column)
                    fade(size_sums[0], n_sizes, FADE_SIZE)
                if b % SLOWLY == 0:
                    take(work, chunk_sums, n, 0)
                    solve(work, n, weights[1], column)
                    take(work, slow_sums[b], n, 0)
                    gather(work, slow_sums, b - AROUND_SLOW, b, n)
                    gather(work, slow_sums, b + 1, b + AROUND_SLOW + 1, n)
                    solve(work, n, weights[3], column)
                take(work, chunk_sums, n, CHUNK_SHARE)
                gather(work, block_sums, b - AROUND, b + AROUND + 1, n)
                solve(work, n, weights[0], column)
                gather_few(work, block_sums, b - AROUND_FEW, b + AROUND_FEW + 1, n, few)
                solve(work, few, weights[2], column)
                if b == 0:
                    fade(chunk_sums, n, FADE_CHUNK)
                fade(block_sums[b], n, FADE_BLOCK)
                fade(slow_sums[b], n, FADE_SLOW)
                for c in range(SIDE + b * COLUMNS, SIDE + min((b + 1) * COLUMNS, width)):
                    o = (p * padded_height + y) * stride + c
                    w, ww, nn = flat[o - 1], flat[o - 2], flat[o - 2 * stride]
                    nw, north, ne = flat[o - stride - 1], flat[o - stride], flat[o - stride + 1]
                    # predictions
                    mean0 = (w + north + 1) >> 1
                    mean1, mean2 = np.int64(0), np.int64(0)
                    if p > 0:
                        mean1 = (flat[o - area - 1] + flat[o - area - stride] + 1) >> 1
                    if p > 1:
                        mean2 = (flat[o - 2 * area - 1] + flat[o - 2 * area - stride] + 1) >> 1
                    for i in range(n):
                        kind = near.kinds[p, i]
                        values[i] = flat[o + near.taps[p, i]] - (
                            mean0 if kind == 0 else mean1 if kind == 1 else mean2
                        )
                    across = abs(w - ww) + abs(north - nw) + abs(ne - north)
                    down = abs(w - nw) + abs(north - nn) + abs(ne - flat[o - 2 * stride + 1])
                    kind = 3 if across > 2 * down + 1 else 6 if down > 2 * across + 1 else 0
                    if p == 0:
                        kind += (
                            0 if (across + down) >> shift < 8 else 1 if (across + down) >> shift < 32 else 2
                        )
                        guess = median_edge(w, north, nw)
                    else:
                        q = o - area
                        dw, dn = abs(flat[q] - flat[q - 1]), abs(flat[q] - flat[q - stride])
                        kind += 1 if dw > 2 * dn + 1 else 2 if dn > 2 * dw + 1 else 0
                        guess = flat[q] + median_edge(
                            w - flat[q - 1], north - flat[q - stride], nw - flat[q - stride - 1]
                        )
                    if p == 0:
                        order = 9 + (w > north) + 2 * (nw > north) + 4 * (ne > north) + 8 * (ww > w)
                    else:
                        v = flat[q]
                        order = 9 + (v > flat[q - 1]) + 2 * (v > flat[q - stride])
                        order += 4 * (v > flat[q + 1]) + 8 * (v > flat[q + stride])
                    t0, t1, t2 = np.int64(0), np.int64(0), np.int64(0)
                    t3, t4, t5 = np.int64(0), np.int64(0), np.int64(0)
                    for i in range(n):
                        v = values[i]
                        t0 += weights[0, i] * v
                        t1 += weights[1, i] * v
                        t3 += weights[4 + kind, i] * v
                        t4 += weights[3, i] * v
                        t5 += weights[4 + order, i] * v
                    for i in range(few):
                        t2 += weights[2, i] * values[i]
                    prediction[0] = (mean0 << ONE) + (t0 >> (WEIGHT_BITS - ONE))
                    prediction[1] = (mean0 << ONE) + (t1 >> (WEIGHT_BITS - ONE))
                    prediction[2] = (mean0 << ONE) + (t2 >> (WEIGHT_BITS - ONE))
                    prediction[3] = guess << ONE
                    prediction[4] = (mean0 << ONE) + (t3 >> (WEIGHT_BITS - ONE))
                    prediction[5] = (mean0 << ONE) + (t4 >> (WEIGHT_BITS - ONE))
                    prediction[6] = (mean0 << ONE) + (t5 >> (WEIGHT_BITS - ONE))
                    total, shares = np.int64(0), np.int64(0)
                    for k in range(PREDICTIONS):
                        prediction[k] = min(max(prediction[k], low[p] << ONE), high[p] << ONE)
                        e = 2 * (wrong[k, now, c - 1] + wrong[k, last, c]) + wrong[k, last, c - 1]
                        e += wrong[k, last, c + 1] + wrong[k, now, c - 2] + wrong[k, before, c]
                        e = (e >> shift) + 8
                        share = (np.int64(1) << 40) // (e * e) + 1
                        shares += share
                        total += share * (prediction[k] - (mean0 << ONE))
                    blend = (mean0 << ONE) + total // shares
                    # what is known of the error to come
                    ew, en = errors[p, y, c - 1], errors[p, y - 1, c]
                    energy = (
                        2 * (abs(ew) + abs(en)) + abs(errors[p, y - 1, c - 1]) + abs(errors[p, y - 1, c + 1])
                    )
                    energy = (energy + abs(errors[p, y, c - 2]) + abs(errors[p, y - 2, c])) >> shift
                    own_level = levels[min(4095, energy * 2 + 1)]
                    e1, e2, energy = np.int64(0), np.int64(0), np.int64(0)
                    if p > 0:
                        e1 = errors[p - 1, y, c]
                        energy = 2 * abs(e1) + abs(errors[p - 1, y, c + 1]) + abs(errors[p - 1, y + 1, c])
                        energy += (abs(errors[p - 1, y, c - 1]) + abs(errors[p - 1, y - 1, c])) >> 1
                    if p > 1:
                        e2 = errors[p - 2, y, c]
                        energy += abs(e2)
                    other_level = levels[min(4095, (energy >> shift) * 2 + 1)]
                    v = blend >> ONE
                    texture = (w > v) + 2 * (north > v) + 4 * (nw > v) + 8 * (ne > v) + 16 * (ww > v)
                    texture += 32 * (nn > v) + 64 * (2 * w - ww > v) + 128 * (2 * north - nn > v)
                    b0 = p * PLANE_BIASES + texture * 6 + min(own_level >> 3, 5)
                    b1 = (clip(ew >> shift, -2, 2) + 2) * 5 + clip(en >> shift, -2, 2) + 2
                    b1 = (b1 * 7 + clip(e1 >> shift, -3, 3) + 3) * 5 + clip(e2 >> shift, -2, 2) + 2
                    b1 += p * PLANE_BIASES + BIAS_TEXTURES
                    expected = blend + ((biases[b0, 0] + biases[b1, 0]) >> 7)
                    expected = min(max(expected, low[p] << ONE), high[p] << ONE)
                    # its size
                    apart = abs(prediction[0] - prediction[1]) + abs(prediction[2] - prediction[0])
                    z0 = p * PLANE_SIZES + SIZE_FIRST[0] + own_level * 64 + other_level
                    z1 = p * PLANE_SIZES + SIZE_FIRST[1] + texture * 12 + min(own_level >> 2, 11)
                    z2 = p * PLANE_SIZES + SIZE_FIRST[2]
                    z2 += levels[min(4095, apart >> shift)] * 16 + min(own_level >> 1, 15)
                    for i in range(n_sizes - 2):
                        size_values[i] = flat_sizes[o + near.size_taps[p, i]]
                    size_values[n_sizes - 2] = 8
                    apart = abs(prediction[0] - prediction[1]) + abs(prediction[0] - prediction[4])
                    size_values[n_sizes - 1] = min(apart >> (3 + shift), 32767)
                    t0 = np.int64(0)
                    for i in range(n_sizes):
                        t0 += size_weights[i] * size_values[i]
                    t0 = min(max(t0 >> (WEIGHT_BITS - 2), 2), 32000)
                    z3 = p * PLANE_SIZES + SIZE_FIRST[3] + min(quarter_octaves(t0), 63)
                    size0, size1, size2, size3 = sizes[z0, 0], sizes[z1, 0], sizes[z2, 0], sizes[z3, 0]
                    size = (size0 + size1 + size2 + 3 * size3) // 6
                    for k in range(PARAMETRIC):
                        below[k] = 0
                        above[k] = 1 << 30
                        slope[k] = (np.int64(1) << 36) // (size3 + 1024)
                        centre[k] = expected
                    slope[0] = (np.int64(1) << 36) // (size0 + 1024)
                    slope[1] = (np.int64(1) << 36) // (size2 + 1024)
                    slope[4] = (np.int64(1) << 36) // (size + 1024)
                    slope[5] = slope[4]
                    centre[2] = prediction[0]
                    centre[3] = prediction[1]
                    centre[4] = prediction[2]
                    centre[5] = prediction[3]
                    centre[7] = prediction[4]
                    centre[8] = prediction[5]
                    centre[9] = prediction[6]
                    steps_log = bit_length(size >> 19)
                    # contexts
                    level = min(levels[min(4095, size >> (11 + shift))], 31)
                    third = min(level >> 3, 2)
                    start = p * sum(SIZES)
                    value = expected >> ONE
                    base[0] = start + FIRST[0] + level * 4 + ((expected >> (ONE - 2)) & 3)
                    base[1] = start + FIRST[1] + min(levels[min(abs(ew) >> shift << 1, 4095)], 15) * 16
                    base[1] += min(levels[min(abs(en) >> shift << 1, 4095)], 15)
                    base[2] = start + FIRST[2] + signed_level(e1 >> shift, levels) * 33
                    base[2] += signed_level(e2 >> shift, levels) * 3 + third
                    unit = (size >> 10) + 8
                    t0 = clip(((prediction[0] - expected) << 3) // unit, -4, 4) + 4
                    t1 = clip(((prediction[1] - expected) << 3) // unit, -4, 4) + 4
                    base[3] = start + FIRST[3] + (t0 * 9 + t1) * 3 + third
                    t0, t1 = clip(ew >> shift, -4, 4) + 4, clip(en >> shift, -4, 4) + 4
                    base[4] = start + FIRST[4] + (t0 * 9 + t1) * 3 + third
                    base[5] = start + FIRST[5] + texture
                    base[6] = start + FIRST[6] + ((value - low[p]) * 64 // span) * 3 + third
                    t0 = clip(((prediction[2] - expected) << 3) // unit, -4, 4) + 4
                    t1 = clip(((prediction[3] - expected) << 2) // unit, -4, 4) + 4
                    base[7] = start + FIRST[7] + t0 * 9 + t1
                    base[8] = start + FIRST[8] + min(other_level >> 1, 31) * 16 + min(own_level >> 1, 15)
                    # the sample, between a and z
                    wanted = flat[o]
                    a, z = low[p], high[p]
                    stage, side, steps, widths = 0, 0, 0, 0
                    while a < z:
                        if stage == 0:
                            stage = 1
                            middle, node = value + 1, 0
                            if middle > z:
                                continue
                        elif stage == 1:
                            step = np.int64(1) << steps_log
                            middle = a + step if side else z - step + 1
                            if middle <= a or middle > z:
                                stage = 2
                                continue
                            node = 1 + 2 * min(steps, UNARY - 1) + side
                        else:
                            middle, node = (a + z + 1) >> 1, 42 + 2 * min(widths, 8)
                            widths += 1
                        for k in range(PARAMETRIC):
                            t0 = (((middle << ONE) - (1 << (ONE - 1)) - centre[k]) * slope[k]) >> 18
                            t0 = min(max(t0 + CUMULATIVE_SIZE // 2, 0), CUMULATIVE_SIZE - 1)
                            t1 = min(max(np.int64(cumulative[t0]), below[k]), above[k])
                            between[k] = t1
                            t2 = above[k] - below[k]
                            inputs[CONTEXTS + k] = (
                                stretch[((above[k] - t1) << 12) // (t2 + 1)] if t2 >= 64 else 0
                            )
                        for k in range(CONTEXTS):
                            at[k] = base[k] * NODES + node
                        bit = mixed_bit(
                            io,
                            buffer,
                            mixer,
                            tables,
                            p * ROWS + node,
                            p * ROWS + NODES + level,
                            p * ROWS + NODES + 32 + other_level,
                            p * NODES + node,
                            (p * NODES + node) * 32 + level,
                            SLOT_COUNT,
                            1 if wanted >= middle else 0,
                        )
                        if bit:
                            a = middle
                        else:
                            z = middle - 1
                        for k in range(PARAMETRIC):
                            if bit:
                                below[k] = between[k]
                            else:
                                above[k] = between[k]
                        if node == 0:
                            side = bit
                        elif stage == 1 and bit == side:
                            steps += 1
                            steps_log += 1 if steps >= LONG else 0
                        else:
                            stage = 2
                    flat[o] = a
                    # learn
                    e = (a << ONE) - expected
                    errors[p, y, c] = a - ((expected + (1 << (ONE - 1))) >> ONE)
                    for k in range(PREDICTIONS):
                        wrong[k, now, c] = abs((a << ONE) - prediction[k])
                    v = abs(e) << (16 - ONE)
                    for i in (z0, z1, z2, z3):
                        count = sizes[i, 1]
                        sizes[i, 0] = towards(sizes[i, 0], v, reciprocals, count)
                        sizes[i, 1] = min(count + 1, SIZE_COUNT)
                    v = ((a << ONE) - blend) << 6
                    for i in (b0, b1):
                        count = biases[i, 1]
                        biases[i, 0] = towards(biases[i, 0], v, reciprocals, count)
                        biases[i, 1] = min(count + 1, BIAS_COUNT)
                    flat_sizes[o] = min(abs(e) >> (3 + shift), 32767)
                    size_values[n_sizes] = flat_sizes[o]
                    v = (np.int64(1) << 26) // ((size >> (9 + shift)) + 64)
                    largest = np.int64(1)
                    for i in range(n_sizes + 1):
                        largest = max(largest, size_values[i])
                    if (largest * v) >> 16 > 2047:
                        v = (np.int64(2047) << 16) // largest
                    for i in range(n_sizes + 1):
                        size_scaled[i] = (size_values[i] * v) >> 16
                    add_products(size_sums[0], size_scaled, n_sizes)
                    values[n] = a - mean0
                    v = (np.int64(1) << 26) // ((size >> 12) + 16)
                    largest = np.int64(1)
                    for i in range(n + 1):
                        largest = max(largest, abs(values[i]))
                    if (largest * v) >> 16 > 2047:
                        v = (np.int64(2047) << 16) // largest
                    for i in range(n + 1):
                        scaled[i] = (values[i] * v) >> 16
                    add_products(block_sums[b], scaled, n)
                    add_products(class_sums[kind], scaled, n)
                    add_products(class_sums[order], scaled, n)
                    if y == TOP:
                        for i in range(1, TOP + 1):
                            fill(flat, o - i * stride + 1, SIDE, a)
                pass_on(block_sums[b], slow_sums[b], chunk_sums, n, FADE_BLOCK)
            o = (p * padded_height + y) * stride + SIDE + width
            fill(flat, o, SIDE, flat[o - 1])
            for k in range(PREDICTIONS):
                fill(wrong[k, now], SIDE + width, SIDE, wrong[k, now, SIDE + width - 1])
        o = (p * padded_height + TOP + height) * stride
        for i in range(stride):
            flat[o + i] = flat[o + i - stride]
