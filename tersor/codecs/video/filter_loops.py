"""The filter that every frame passes before others refer to it: linear filters learned on the training
clips, one for each direction and strength of what is around a sample, in integers.

    smoothed plane --class of each 4 x 4 square by its second differences--> one of CLASSES filters of the
    plane's kind and band of levels --where a block of 64 says so--> plane

A filter is TAPS weights in 1/128 on the 7 x 7 diamond; each is used for two samples opposite each other, and
the middle takes the rest, so that flat areas stay. Filters are learned for one orientation of each class;
squares of another one turn and mirror them.

Bounds: a weight is at most 127, a difference of three samples below 2^14: 12 of their products stay below
    2^25.

Source: classes and turns are those of the adaptive loop filter of ITU-T H.266, 8.8.5, with more classes of
    strength; there the encoder sends the filters, here they are part of the tables.
"""

from __future__ import annotations

import numpy as np

from tersor.codecs.video.coefficient_loops import code_flag
from tersor.codecs.video.compiled import compiled, entry
from tersor.codecs.video.state import (
    CHROMA_LEVEL,
    COST,
    COST_BITS,
    CURRENT,
    DEPTH,
    HEIGHT,
    K_FILTER,
    LAYER,
    LEVEL,
    MARGIN,
    MEASURING,
    PLANES,
    SHIFT_X,
    SHIFT_Y,
    WIDTH,
)
from tersor.codecs.video.tables import (
    BANDS,
    LEVELS_PER_BAND,
    STRENGTHS,
    TAP_ORDERS,
    TAP_X,
    TAP_Y,
    TAPS,
)

WEIGHT_BITS = 7  # F
SQUARE, AREA = 4, 64  # F: samples of a class; luma samples of a flag
N_STRENGTHS = len(STRENGTHS) + 1


@compiled
def classify(frame, classes, rows, columns, depth):  # pragma: no cover
    """Class and orientation of every square of a plane with margins: 4 class + orientation, int64 [H/4, W/4].

    Sums of second differences over every other sample of the 8 x 8 samples around: upright, level, and along
    both diagonals.
    """
    sums = np.zeros(4, np.int64)
    halves = np.zeros((4, 2 * rows + 2, 2 * columns + 2), np.int64)
    for r in range(2 * rows + 2):
        for i in range(2):
            y = MARGIN + 2 * (r - 1) + i
            up, row, down = frame[y - 1], frame[y], frame[y + 1]
            first = MARGIN - 2 + (i & 1)
            for k in range(2 * columns + 2):
                x = first + 2 * k
                s = 2 * np.int32(row[x])
                halves[0, r, k] += abs(s - up[x] - down[x])
                halves[1, r, k] += abs(s - row[x - 1] - row[x + 1])
                halves[2, r, k] += abs(s - up[x - 1] - down[x + 1])
                halves[3, r, k] += abs(s - up[x + 1] - down[x - 1])
    for y in range(rows):
        for x in range(columns):
            for d in range(4):
                total = np.int64(0)
                for i in range(4):
                    for j in range(4):
                        total += halves[d, 2 * y + i, 2 * x + j]
                sums[d] = total
            v, h, a, b = sums
            most, least, direction = max(v, h), min(v, h), 0
            if max(a, b) * least > most * min(a, b):
                most, least, direction = max(a, b), min(a, b), 2
            if 2 * most > 9 * least:
                direction += 2
            elif most > 2 * least:
                direction += 1
            else:
                direction = 0
            strength = 0
            for limit in STRENGTHS:
                if (v + h) >> (depth - 8) > limit:
                    strength += 1
            turn = (2 if b > a else 0) + (1 if h > v else 0)
            classes[y, x] = 4 * (direction * N_STRENGTHS + strength) + turn


@compiled
def filter_square(frame, clean, y, x, weights, order, top):  # pragma: no cover
    """Filter the square at (y, x) of a plane with margins into `clean`; weights: int32 [TAPS]."""
    total = np.zeros((SQUARE, SQUARE), np.int32)
    for t in range(TAPS):
        w = weights[order[t]]
        dy, dx = TAP_Y[t], TAP_X[t]
        for i in range(SQUARE):
            a, b, m = frame[y + i + dy], frame[y + i - dy], frame[y + i]
            for j in range(SQUARE):
                s = np.int32(a[x + j + dx]) + np.int32(b[x + j - dx]) - 2 * np.int32(m[x + j])
                total[i, j] += w * s
    half = 1 << (WEIGHT_BITS - 1)
    for i in range(SQUARE):
        for j in range(SQUARE):
            v = frame[y + i, x + j] + ((total[i, j] + half) >> WEIGHT_BITS)
            clean[y + i, x + j] = min(max(v, 0), top)


@compiled
def filter_area(c, plane, y, x, classes):  # pragma: no cover
    """Filter a plane's part of the area of 64 luma samples at (y, x) into c.clean."""
    par = c.par
    sy, sx = (par[SHIFT_Y], par[SHIFT_X]) if plane else (np.int64(0), np.int64(0))
    level = par[CHROMA_LEVEL] if plane else par[LEVEL]
    filters = c.filters[min(plane, 1), min(max(level // LEVELS_PER_BAND - 1, 0), BANDS - 1)]
    frame, clean, top = c.frames[par[CURRENT], plane], c.clean[plane], (1 << par[DEPTH]) - 1
    for v in range(y >> sy, min(y + AREA, par[HEIGHT]) >> sy, SQUARE):
        for u in range(x >> sx, min(x + AREA, par[WIDTH]) >> sx, SQUARE):
            k = classes[v // SQUARE, u // SQUARE]
            filter_square(frame, clean, v + MARGIN, u + MARGIN, filters[k >> 2], TAP_ORDERS[k & 3], top)


@compiled
def classify_plane(c, plane):  # pragma: no cover
    """`classify` of a plane of the current frame, whose borders are repeated, in c.classes."""
    par = c.par
    sy, sx = (par[SHIFT_Y], par[SHIFT_X]) if plane else (np.int64(0), np.int64(0))
    rows, columns = (par[HEIGHT] >> sy) // SQUARE, (par[WIDTH] >> sx) // SQUARE
    classify(c.frames[par[CURRENT], plane], c.classes[plane], rows, columns, par[DEPTH])


@compiled
def code_filtered(c, y, x, kind, wanted):  # pragma: no cover
    """Whether the area at (y, x) is filtered; kind: 0 luma, 1 chroma."""
    gy, gx, flags = y // AREA + 1, x // AREA + 1, c.filtered[kind]
    around = kind * 4 + flags[gy, gx - 1] + 2 * flags[gy - 1, gx]
    level = min(c.par[LEVEL] // LEVELS_PER_BAND, BANDS)
    return code_flag(c.k, K_FILTER, around, kind * 4 + c.par[LAYER], kind * 8 + level, wanted)


@entry
def choose_filtered(c, original, weight):  # pragma: no cover
    """Say in c.filtered which areas of the current frame gain by the filter, given what comes before them;
    encoders only.

    Args:
        original: int16 [3, H, W]. weight: squared error that a bit is worth.
    """
    par, io = c.par, c.k.io
    frame, clean = c.frames[par[CURRENT]], c.clean
    for plane in range(par[PLANES]):
        classify_plane(c, plane)
    for y in range(0, par[HEIGHT], AREA):
        for x in range(0, par[WIDTH], AREA):
            gain = np.zeros(2)
            for plane in range(par[PLANES]):
                filter_area(c, plane, y, x, c.classes[plane])
                sy, sx = (par[SHIFT_Y], par[SHIFT_X]) if plane else (np.int64(0), np.int64(0))
                less = np.int64(0)
                for v in range(y >> sy, min(y + AREA, par[HEIGHT]) >> sy):
                    for u in range(x >> sx, min(x + AREA, par[WIDTH]) >> sx):
                        o, fy, fx = np.int64(original[plane, v, u]), v + MARGIN, u + MARGIN
                        before, after = o - frame[plane, fy, fx], o - clean[plane, fy, fx]
                        less += before * before - after * after
                gain[min(plane, 1)] += less
            for kind in range(min(par[PLANES], 2)):
                bits = 0.0
                for on in range(2):
                    io[MEASURING], io[COST] = 1, 0
                    code_filtered(c, y, x, kind, on)
                    io[MEASURING] = 0
                    bits += (1 if on else -1) * (io[COST] / (1 << COST_BITS))
                c.filtered[kind, y // AREA + 1, x // AREA + 1] = 1 if gain[kind] > weight * bits else 0


@compiled
def filter_frame(c):  # pragma: no cover
    """Code or decode which areas are filtered, and filter them; borders of the current frame are repeated."""
    par = c.par
    used = np.zeros(2, np.int64)
    for y in range(0, par[HEIGHT], AREA):
        for x in range(0, par[WIDTH], AREA):
            for kind in range(min(par[PLANES], 2)):
                flags = c.filtered[kind]
                on = code_filtered(c, y, x, kind, flags[y // AREA + 1, x // AREA + 1])
                flags[y // AREA + 1, x // AREA + 1] = on
                used[kind] += on
    for plane in range(par[PLANES]):
        flags = c.filtered[min(plane, 1)]
        if used[min(plane, 1)] == 0:
            continue
        sy, sx = (par[SHIFT_Y], par[SHIFT_X]) if plane else (np.int64(0), np.int64(0))
        classify_plane(c, plane)
        for turn in range(2):
            for y in range(0, par[HEIGHT], AREA):
                for x in range(0, par[WIDTH], AREA):
                    if flags[y // AREA + 1, x // AREA + 1] == 0:
                        continue
                    if turn == 0:
                        filter_area(c, plane, y, x, c.classes[plane])
                        continue
                    first, stop = MARGIN + (x >> sx), MARGIN + (min(x + AREA, par[WIDTH]) >> sx)
                    frame = c.frames[par[CURRENT], plane]
                    for v in range(y >> sy, min(y + AREA, par[HEIGHT]) >> sy):
                        frame[v + MARGIN, first:stop] = c.clean[plane, v + MARGIN, first:stop]


@entry
def gather_products(c, original, products, targets):  # pragma: no cover
    """What least squares need of the current frame, before it is filtered; for training.

    Args:
        original: int16 [3, H, W].
        products, targets: float64 [2, BANDS, CLASSES, TAPS, TAPS] (the lower triangle) and
            [2, BANDS, CLASSES, TAPS], sums over samples of luma, of chroma.
    """
    par = c.par
    d = np.zeros(TAPS, np.int64)
    for plane in range(par[PLANES]):
        sy, sx = (par[SHIFT_Y], par[SHIFT_X]) if plane else (np.int64(0), np.int64(0))
        level = par[CHROMA_LEVEL] if plane else par[LEVEL]
        kind, band = min(plane, 1), min(max(level // LEVELS_PER_BAND - 1, 0), BANDS - 1)
        frame = c.frames[par[CURRENT], plane]
        classify_plane(c, plane)
        for y in range(par[HEIGHT] >> sy):
            for x in range(par[WIDTH] >> sx):
                k = c.classes[plane, y // SQUARE, x // SQUARE]
                order, fy, fx = TAP_ORDERS[k & 3], y + MARGIN, x + MARGIN
                s = np.int64(frame[fy, fx])
                for t in range(TAPS):
                    dy, dx = TAP_Y[t], TAP_X[t]
                    d[order[t]] = np.int64(frame[fy + dy, fx + dx]) + frame[fy - dy, fx - dx] - 2 * s
                error = original[plane, y, x] - s
                a, b = products[kind, band, k >> 2], targets[kind, band, k >> 2]
                for t in range(TAPS):
                    b[t] += d[t] * error
                    for u in range(t + 1):
                        a[t, u] += d[t] * d[u]
