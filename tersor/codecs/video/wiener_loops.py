"""The filter that every frame passes before others refer to it: least-squares filters that the encoder fits
to what coding did, in integers.

    deblocked luma --class of each 8 x 8 unit by its activity--> one of CLASSES filters of 7 x 7 --where a
    block of 32 says so--> luma

A filter is TAPS weights in 1/128; each is used for two samples opposite each other, and the middle takes the
rest, so that flat areas stay.
A frame sends new filters, as differences from the last ones, or goes on with those.

Bounds: a weight is at most 63, a difference of three samples below 2^14: 12 of their products stay below
    2^24.

Source: the adaptive loop filter of ITU-T H.266, 8.8.5, with fewer classes and without clipping.
"""

from __future__ import annotations

import numpy as np

from tersor.codecs.video.coefficient_loops import code_flag, code_raw
from tersor.codecs.video.compiled import compiled, entry
from tersor.codecs.video.state import (
    BLOCK,
    CLASSES,
    CURRENT,
    DEPTH,
    FILTERED,
    HEIGHT,
    K_FILTER,
    LAYER,
    MARGIN,
    SIZE,
    SKIP,
    TAPS,
    UNIT,
    WIDTH,
)

TAP_Y = np.array([-3, -2, -2, -2, -1, -1, -1, -1, -1, 0, 0, 0], np.int64)
TAP_X = np.array([0, -1, 0, 1, -2, -1, 0, 1, 2, -3, -2, -1], np.int64)
WEIGHT_MAX, WEIGHT_BITS = 63, 7
ACTIVITY = (2, 6, 16)  # F: means of a unit's second differences, of 8 bits, between classes
NEW, LAST = 0, 1


@compiled
def class_of_unit(frame, y, x, depth):  # pragma: no cover
    """Class of the unit at (y, x) of a plane with margins, by the size of its second differences."""
    total = np.int64(0)
    for i in range(y, y + UNIT):
        for j in range(x, x + UNIT):
            s = 2 * np.int32(frame[i, j])
            total += abs(s - frame[i, j - 1] - frame[i, j + 1]) + abs(s - frame[i - 1, j] - frame[i + 1, j])
    mean = total >> (7 + depth - 8)
    out = 0
    for limit in ACTIVITY:
        if mean >= limit:
            out += 1
    return out


@compiled
def filter_unit(source, target, y, x, weights, top):  # pragma: no cover
    """Filter the unit at (y, x) of a plane with margins; weights: int64 [TAPS]."""
    total = np.zeros(UNIT, np.int32)
    for i in range(y, y + UNIT):
        middle = source[i, x : x + UNIT]
        for j in range(UNIT):
            total[j] = 1 << (WEIGHT_BITS - 1)
        for t in range(TAPS):
            w = weights[t]
            if w == 0:
                continue
            dy, dx = TAP_Y[t], TAP_X[t]
            a, b = source[i + dy, x + dx : x + dx + UNIT], source[i - dy, x - dx : x - dx + UNIT]
            for j in range(UNIT):
                total[j] += w * (np.int32(a[j]) + b[j] - 2 * np.int32(middle[j]))
        for j in range(UNIT):
            target[i, x + j] = min(max(middle[j] + (total[j] >> WEIGHT_BITS), 0), top)


@entry
def fit(frame, original, height, width, depth, products, targets):  # pragma: no cover
    """Sums of products of taps, float64 [CLASSES, TAPS, TAPS], and of taps and errors, [CLASSES, TAPS];
    encoders only.
    """
    d = np.zeros(TAPS, np.int64)
    for y in range(0, height, UNIT):
        for x in range(0, width, UNIT):
            k = class_of_unit(frame, y + MARGIN, x + MARGIN, depth)
            for i in range(y, y + UNIT):
                for j in range(x, x + UNIT):
                    fy, fx = i + MARGIN, j + MARGIN
                    s = np.int64(frame[fy, fx])
                    for t in range(TAPS):
                        dy, dx = TAP_Y[t], TAP_X[t]
                        d[t] = np.int64(frame[fy + dy, fx + dx]) + frame[fy - dy, fx - dx] - 2 * s
                    error = original[i, j] - s
                    for t in range(TAPS):
                        targets[k, t] += d[t] * error
                        for u in range(t + 1):
                            products[k, t, u] += d[t] * d[u]


@entry
def choose_blocks(c, original, weight):  # pragma: no cover
    """Filter all of the frame into c.clean and choose the blocks of 32 that gain by it; -> the squared error
    that goes; encoders only.
    """
    par = c.par
    frame, depth = c.frames[par[CURRENT], 0], par[DEPTH]
    top = (1 << depth) - 1
    gain = 0.0
    for y in range(0, par[HEIGHT], BLOCK):
        for x in range(0, par[WIDTH], BLOCK):
            less = np.int64(0)
            for v in range(y, min(y + BLOCK, par[HEIGHT]), UNIT):
                for u in range(x, min(x + BLOCK, par[WIDTH]), UNIT):
                    fy, fx = v + MARGIN, u + MARGIN
                    filter_unit(
                        frame, c.clean, fy, fx, c.filters[NEW, class_of_unit(frame, fy, fx, depth)], top
                    )
                    for i in range(UNIT):
                        for j in range(UNIT):
                            o = np.int64(original[v + i, u + j])
                            before, after = o - frame[fy + i, fx + j], o - c.clean[fy + i, fx + j]
                            less += before * before - after * after
            on = 1 if less > weight else 0
            c.filtered[y // BLOCK + 1, x // BLOCK + 1] = on
            if on:
                gain += less - weight
    return gain


@compiled
def code_weight(k, value, t, same):  # pragma: no cover
    """A difference of weights, at most twice WEIGHT_MAX."""
    size = abs(value)
    if not code_flag(k, K_FILTER, 16 + t, 16 + same, 16, 1 if size else 0):
        return 0
    exponent = 0
    while exponent < 6:
        if not code_flag(
            k,
            K_FILTER,
            32 + exponent,
            32 + t * 8 + exponent,
            32 + exponent,
            1 if size >> (exponent + 1) else 0,
        ):
            break
        exponent += 1
    size = (1 << exponent) + code_raw(k, size & ((1 << exponent) - 1), exponent)
    return -size if code_raw(k, 1 if value < 0 else 0, 1) else size


@compiled
def code_filters(c):  # pragma: no cover
    """Whether the frame is filtered, which filters are new, their weights, a flag for each block of 32."""
    k, par, filters = c.k, c.par, c.filters
    par[FILTERED] = code_flag(k, K_FILTER, par[LAYER], 0, 0, par[FILTERED])
    if not par[FILTERED]:
        return
    for i in range(CLASSES):
        new = 0
        for t in range(TAPS):
            if filters[NEW, i, t] != filters[LAST, i, t]:
                new = 1
        new = code_flag(k, K_FILTER, 4 + i, 1 + par[LAYER], 1, new)
        for t in range(TAPS):
            if new:
                value = code_weight(k, filters[NEW, i, t] - filters[LAST, i, t], t, i)
                filters[LAST, i, t] = min(max(filters[LAST, i, t] + value, -WEIGHT_MAX), WEIGHT_MAX)
            filters[NEW, i, t] = filters[LAST, i, t]
    flags = c.filtered
    for y in range(1, (par[HEIGHT] + BLOCK - 1) // BLOCK + 1):
        for x in range(1, (par[WIDTH] + BLOCK - 1) // BLOCK + 1):
            around = flags[y, x - 1] + 2 * flags[y - 1, x]
            cell = c.grid[(y - 1) * 4 + 1, (x - 1) * 4 + 1]
            still = 4 if cell[SKIP] and cell[SIZE] == 5 else 0
            flags[y, x] = code_flag(k, K_FILTER, 8 + around + still, 8 + par[LAYER], 8 + around, flags[y, x])


@compiled
def filter_frame(c):  # pragma: no cover
    """Code or decode the filters and filter the luma of the current frame, whose borders are repeated
    already.
    """
    par = c.par
    code_filters(c)
    if not par[FILTERED]:
        return
    frame, depth = c.frames[par[CURRENT], 0], par[DEPTH]
    top = (1 << depth) - 1
    for turn in range(2):
        for y in range(0, par[HEIGHT], UNIT):
            for x in range(0, par[WIDTH], UNIT):
                if not c.filtered[y // BLOCK + 1, x // BLOCK + 1]:
                    continue
                fy, fx = y + MARGIN, x + MARGIN
                if turn == 0:
                    k = class_of_unit(frame, fy, fx, depth)
                    filter_unit(frame, c.clean, fy, fx, c.filters[NEW, k], top)
                else:
                    for i in range(UNIT):
                        for j in range(UNIT):
                            frame[fy + i, fx + j] = c.clean[fy + i, fx + j]
