"""The compiled loops of codecs/grid.py: integers in, integers out; the same on every machine.

Compiled on first use, and kept (entropy/compiled.py).
"""

from __future__ import annotations

import numpy as np

from tersor.entropy.compiled import compiled

# F, all of them.
FRACTION_BITS = 6
STENCIL_BITS = 12
CONTEXT_BITS = 8
N_FEATURES = 10
FEATURE_BITS = 4
FEATURE_MAX = 1 << 14
SYMBOL_MAX = 1 << 19
VALUE_MAX = 1 << 46
CHUNK = 256
SUMS = 7


@compiled
def look(
    values, q, base, p, span, stencil, shift, snap, describe, sums, predictions, features
):  # pragma: no cover
    """Predictions, and features if `describe`, of points of a row of a pass `p`: `span`, (begin, count), are
    begin, begin + 2, ... A tap at a time, so that compilers use vectors.

    `base`: index of each tap but for the last axis; `sums`: room, int64 [SUMS, at least count].
    """
    taps, t3, along, plane = len(base), p.taps[3], p.along, p.plane
    begin, count = span
    twice, total, spread, level_spread, near, wide, level_q = (
        sums[0],
        sums[1],
        sums[2],
        sums[3],
        sums[4],
        sums[5],
        sums[6],
    )
    for n in range(count):
        i3 = begin + 2 * n
        twice[n] = values[np.uint64(base[0] + t3[0, i3])] + values[np.uint64(base[1] + t3[1, i3])]
    sums[1:, :count] = 0
    for t in range(taps):
        weight, start, steps = stencil[t], base[t], t3[t]
        to = spread if t < along else level_spread
        inside = t < plane
        for n in range(count):
            d = 2 * values[np.uint64(start + steps[np.uint64(begin + 2 * n)])] - twice[n]
            total[n] += weight * d
            if inside:
                to[n] += abs(d)
        if describe and inside and t not in (2, 3):
            to = near if t < 2 else wide if t < along else level_q
            for n in range(count):
                to[n] += min(
                    abs(np.int64(q[np.uint64(start + steps[np.uint64(begin + 2 * n)])])), np.int64(1 << 12)
                )
    half = np.int64(1) << (FRACTION_BITS - 1)
    for n in range(count):
        prediction = ((twice[n] << STENCIL_BITS) + total[n] + (1 << STENCIL_BITS)) >> (STENCIL_BITS + 1)
        predictions[n] = (prediction + half) >> FRACTION_BITS << FRACTION_BITS if snap else prediction
    if not describe:
        return
    unit = FRACTION_BITS - FEATURE_BITS + shift
    lines, around = np.uint64(max(along - 4, 1)), np.uint64(max(plane - along, 1))
    of_spread, of_level = np.uint64(2 * along), np.uint64(2 * max(plane - along, 1))
    for n in range(count):
        i3 = begin + 2 * n
        f = features[n]
        f[0] = 1 << FEATURE_BITS
        f[1] = min(near[n] << (FEATURE_BITS - 1), FEATURE_MAX)
        f[2] = min(np.int64(np.uint64(wide[n] << FEATURE_BITS) // lines), FEATURE_MAX)
        rough = abs(values[base[0] + t3[0, i3]] - values[base[1] + t3[1, i3]]) >> unit
        f[3] = min(rough, FEATURE_MAX)
        f[4] = min(rough, 4 << FEATURE_BITS)
        s = np.int64(np.uint64(spread[n]) // of_spread) >> unit
        f[5] = min(s, FEATURE_MAX)
        f[6] = min(s, 4 << FEATURE_BITS)
        f[7] = f[8] = f[9] = 0
        if plane > along:
            f[7] = min(np.int64(np.uint64(level_q[n] << FEATURE_BITS) // around), FEATURE_MAX)
            f[8] = min(np.int64(np.uint64(level_spread[n]) // of_level) >> unit, FEATURE_MAX)
        if taps > plane:
            one, two = base[plane] + t3[plane, i3], base[plane + 3] + t3[plane + 3, i3]
            f[8] = f[8] + min(abs(values[one] - values[two]) >> unit, FEATURE_MAX)
            f[9] = min(min(abs(np.int64(q[one])), 1 << 12) << FEATURE_BITS, FEATURE_MAX)


@compiled
def row_of(row, p1, p2):  # pragma: no cover
    """Indices along the first three axes of a row of a pass."""
    i2 = row % len(p2)
    i1 = row // len(p2) % len(p1)
    return row // (len(p2) * len(p1)), i1, i2


@compiled
def points_before(row, phase, p1, p2, p3):  # pragma: no cover
    """How many points of a pass lie in the rows before this one."""
    n = 0
    for r in range(row):
        i0, i1, i2 = row_of(r, p1, p2)
        n += (len(p3) + 1 - (i0 + i1 + i2 + phase) % 2) // 2
    return n


@compiled
def code_rows(values, q, p, stencil, shift, snap, rows, target, valid, out):  # pragma: no cover
    """Encoder: predict and quantise the rows (first, last) of a pass `p`. Residuals are those nearest to
    (target - prediction) in bins, 0 where not valid.

    Fills `out`: points (flat indices), symbols, low (bits set aside, if shift) and features (if there is room
    for any); updates values and q.
    """
    points, symbols, low, features = out
    first, last = rows
    p0, p1, p2, p3 = p.points
    t0, t1, t2, _ = p.taps
    phase, taps = p.key[2], t0.shape[0]
    base, sums, predictions = (
        np.empty(taps, np.int64),
        np.empty((SUMS, CHUNK), np.int64),
        np.empty(CHUNK, np.int64),
    )
    describe = len(features) > 0
    one = 1 << FRACTION_BITS
    half = (1 << shift) >> 1
    limit = float(SYMBOL_MAX << shift)
    k = points_before(first, phase, p1, p2, p3)
    for row in range(first, last):
        i0, i1, i2 = row_of(row, p1, p2)
        for t in range(taps):
            base[t] = t0[t, i0] + t1[t, i1] + t2[t, i2]
        start = p0[i0] + p1[i1] + p2[i2]
        for begin in range((i0 + i1 + i2 + phase) % 2, len(p3), 2 * CHUNK):
            count = min(CHUNK, (len(p3) - begin + 1) // 2)
            span, to = (begin, count), features[k : k + count]
            look(values, q, base, p, span, stencil, shift, snap, describe, sums, predictions, to)
            for n in range(count):
                at = start + p3[begin + 2 * n]
                residual = np.int64(0)
                if valid[at]:
                    r = (target[at] - predictions[n]) / one
                    residual = np.int64(np.floor(min(max(r, -limit), limit) + 0.5))
                s = (residual + half) >> shift
                points[k] = at
                symbols[k] = s
                if shift:
                    low[k] = residual + half - (s << shift)
                q[at] = s
                values[at] = min(max(predictions[n] + residual * one, -VALUE_MAX), VALUE_MAX)
                k += 1


@compiled
def walk_rows(
    values, q, p, stencil, shift, snap, rows, valid, weights, thresholds, ladder, out
):  # pragma: no cover
    """Decoder: predict the rows (first, last) of a pass `p`. Fills `out`: points (flat indices), predictions
    and levels (which table each symbol has).
    """
    points, predictions, levels = out
    first, last = rows
    p0, p1, p2, p3 = p.points
    t0, t1, t2, _ = p.taps
    phase, taps = p.key[2], t0.shape[0]
    base, sums, features = (
        np.empty(taps, np.int64),
        np.empty((SUMS, CHUNK), np.int64),
        np.empty((CHUNK, N_FEATURES), np.uint16),
    )
    k = points_before(first, phase, p1, p2, p3)
    for row in range(first, last):
        i0, i1, i2 = row_of(row, p1, p2)
        for t in range(taps):
            base[t] = t0[t, i0] + t1[t, i1] + t2[t, i2]
        start = p0[i0] + p1[i1] + p2[i2]
        for begin in range((i0 + i1 + i2 + phase) % 2, len(p3), 2 * CHUNK):
            count = min(CHUNK, (len(p3) - begin + 1) // 2)
            span, to = (begin, count), predictions[k : k + count]
            look(values, q, base, p, span, stencil, shift, snap, True, sums, to, features)
            for n in range(count):
                at = start + p3[begin + 2 * n]
                points[k] = at
                levels[k] = scale_level(features[n], weights, thresholds, ladder) if valid[at] else 0
                k += 1


@compiled
def place(points, predictions, order, symbols, low, shift, values, q):  # pragma: no cover
    """Decoder: the values of a pass from its symbols, which are sorted (`order`), and low bits, which are
    not.
    """
    half = (1 << shift) >> 1
    for k in range(len(points)):
        n = order[k]
        s = min(max(np.int64(symbols[k]), -SYMBOL_MAX), SYMBOL_MAX)
        q[points[n]] = s
        residual = (s << shift) - half
        if shift:
            residual += low[n]
        values[points[n]] = min(max(predictions[n] + (residual << FRACTION_BITS), -VALUE_MAX), VALUE_MAX)


@compiled
def scale_level(f, weights, thresholds, ladder):  # pragma: no cover
    """Expected |q| from features, the first threshold above it, shifted along the ladder: a level from 1."""
    total = np.int64(0)
    for i in range(N_FEATURES):
        total += weights[i] * f[i]
    lo, hi = 0, len(thresholds)
    while lo < hi:
        mid = (lo + hi) // 2
        if thresholds[mid] <= total:
            lo = mid + 1
        else:
            hi = mid
    return min(max(1 + lo + ladder, 1), len(thresholds) + 1)


@compiled
def scale_levels(features, weights, thresholds, ladder, points, valid, levels):  # pragma: no cover
    """Encoder: the levels of many points; 0, the certain one, where nothing is coded."""
    for n in range(len(points)):
        levels[n] = scale_level(features[n], weights, thresholds, ladder) if valid[points[n]] else 0


@compiled
def sort_by_level(levels, counts, order):  # pragma: no cover
    """Stable counting sort: how many points have each level, and the points in order of level."""
    counts[:] = 0
    for n in range(len(levels)):
        counts[levels[n]] += 1
    at = np.cumsum(counts) - counts
    for n in range(len(levels)):
        order[at[levels[n]]] = n
        at[levels[n]] += 1


@compiled
def gather(values, p, target, valid, first, every, around, wanted):  # pragma: no cover
    """Encoder: each `every`th valid point of a pass, from the first: its neighbours [n, T] and its target, in
    bins from the mean of the nearest two. -> how many.
    """
    p0, p1, p2, p3 = p.points
    t0, t1, t2, t3 = p.taps
    phase, taps = p.key[2], t0.shape[0]
    n = k = 0
    for row in range(len(p0) * len(p1) * len(p2)):
        i0, i1, i2 = row_of(row, p1, p2)
        start = p0[i0] + p1[i1] + p2[i2]
        for i3 in range((i0 + i1 + i2 + phase) % 2, len(p3), 2):
            at = start + p3[i3]
            if not valid[at]:
                continue
            if k % every == first and n < len(wanted):
                near = t0[:, i0] + t1[:, i1] + t2[:, i2] + t3[:, i3]
                middle = (values[near[0]] + values[near[1]]) / 2
                for t in range(taps):
                    around[n, t] = (values[near[t]] - middle) / (1 << FRACTION_BITS)
                wanted[n] = (target[at] - middle) / (1 << FRACTION_BITS)
                n += 1
            k += 1
    return n


@compiled
def normal_equations(a, y, weight, gram, right):  # pragma: no cover
    """Weighted sums of products: a^T W a and a^T W y. On one core: blocks run side by side, and threads of a
    library would only wait for each other.
    """
    n, taps = a.shape
    for k in range(n):
        for i in range(taps):
            w = weight[k] * a[k, i]
            right[i] += w * y[k]
            for j in range(i + 1):
                gram[i, j] += w * a[k, j]
    for i in range(taps):
        for j in range(i):
            gram[j, i] = gram[i, j]


@compiled
def residuals(a, y, w):  # pragma: no cover
    """y - a w, on one core."""
    out = np.empty(len(y))
    for k in range(len(y)):
        total = y[k]
        for i in range(len(w)):
            total -= a[k, i] * w[i]
        out[k] = total
    return out
