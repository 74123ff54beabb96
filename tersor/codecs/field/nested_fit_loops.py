"""Encoder side of nested blocks, compiled: what a pass is predicted with is fitted to some of its points just
before it is coded, when all that the decoder will know of them is there.

Stencils are robust least squares, weights of contexts least squares of the relative error of |q|. Floating
point that a decoder never repeats.

Source: Wu, Barthel, Zhang, "Piecewise 2D autoregression for predictive image coding" (1998).
"""

from __future__ import annotations

import numpy as np

from tersor.codecs.field.nested_loops import (
    CHUNK,
    CLASS_BIAS,
    CLASSES,
    MAX_TAPS,
    N_FEATURES,
    SUMS,
    _place,
    find_taps,
    frame_columns,
    look,
    row_counts,
)
from tersor.entropy.compiled import compiled

RUN = 3  # G: neighbouring points that are sampled together
ITERATIONS = 3  # G
STENCIL_LIMIT = 32000.0  # F: of the sum of |weights|: sums stay below 2^53
LEAST_OWN = 1500  # G: points of a key that are worth their own weights of contexts
WEIGHT_BITS = 10.0  # G: what a weight costs in a file


@compiled
def gather_phase(values, sizes, g, p, target, valid, every, room):  # pragma: no cover
    """Each `every`th run of points of a pass: what taps hold, what the points should be, and their features.

    Returns:
        how many.
    """
    frame, a, h, phase, time, cells = p
    around, wanted, features = room
    n = row_counts(g, a, h)
    c, taps = np.empty(3, np.int64), np.empty(MAX_TAPS, np.int64)
    sums, predictions = np.empty((SUMS, CHUNK)), np.empty(CHUNK)
    columns = np.empty((3, n[3] if time else 0), np.int64)
    frame_columns(g, a, h, columns)
    none = np.zeros(MAX_TAPS)
    origin = h if a == 3 else 0
    k = run = 0
    for row in range(n[0] * n[1] * n[2]):
        parity = _place(row, n, a, h, c)
        first = (parity + phase) % 2
        runs = ((n[3] - first + 1) // 2 + RUN - 1) // RUN
        skip = -run % every
        run += runs
        if skip >= runs:
            continue
        lines, plane, n_taps, _ = find_taps(g, frame, a, h, phase, time, c, taps)
        counts = (lines, plane, n_taps)
        own = cells + c[0] * g[12] + c[1] * g[13] + c[2] * g[14] + origin
        for r in range(skip, runs, every):
            begin = first + 2 * RUN * r
            count = min(RUN, (n[3] - begin + 1) // 2)
            look(values, sizes, taps, counts, columns, begin, count, False, none, sums, predictions)
            for i in range(count):
                at = begin + 2 * i
                if valid.size and not valid[own + at * 2 * h]:
                    continue
                if k == len(wanted):
                    return k
                for t in range(plane):
                    around[k, t] = values[taps[t] + at]
                for t in range(plane, n_taps):
                    around[k, t] = values[taps[t] + columns[(t - plane) % 3, at]]
                features[k, 0] = 1.0
                for f in range(1, N_FEATURES):
                    features[k, f] = sums[f, i]
                wanted[k] = target[own + at * 2 * h]
                k += 1
    return k


@compiled
def bits_of(a, y, w, n, taps):  # pragma: no cover
    """About how many bits the residuals of a sample take, each."""
    total = 0.0
    for k in range(n):
        r = y[k]
        for i in range(taps):
            r -= a[k, i] * w[i]
        total += np.log2(abs(np.floor(r + 0.5)) + 0.3)
    return total / n


@compiled
def solve(gram, right, n, w):  # pragma: no cover
    """gram w = right by Cholesky, with a little ridge; False if it is not positive."""
    lower = np.zeros((n, n))
    trace = 0.0
    for i in range(n):
        trace += gram[i, i]
    ridge = 1e-6 * trace / n + 1e-12
    for i in range(n):
        for j in range(i + 1):
            s = gram[i, j] + (ridge if i == j else 0.0)
            for k in range(j):
                s -= lower[i, k] * lower[j, k]
            if i == j:
                if s <= 0:
                    return False
                lower[i, i] = np.sqrt(s)
            else:
                lower[i, j] = s / lower[j, j]
    for i in range(n):
        s = right[i]
        for k in range(i):
            s -= lower[i, k] * w[k]
        w[i] = s / lower[i, i]
    for i in range(n - 1, -1, -1):
        s = w[i]
        for k in range(i + 1, n):
            s -= lower[k, i] * w[k]
        w[i] = s / lower[i, i]
    return True


@compiled
def add_products(a, y, weight, n, taps, gram, right):  # pragma: no cover
    """Weighted sums of products of n samples, lower half; four at a time."""
    for k in range(0, n - n % 4, 4):
        r0, r1, r2, r3 = a[k], a[k + 1], a[k + 2], a[k + 3]
        y0, y1, y2, y3 = y[k], y[k + 1], y[k + 2], y[k + 3]
        for i in range(taps):
            w0, w1, w2, w3 = (
                weight[k] * r0[i],
                weight[k + 1] * r1[i],
                weight[k + 2] * r2[i],
                weight[k + 3] * r3[i],
            )
            right[i] += (w0 * y0 + w1 * y1) + (w2 * y2 + w3 * y3)
            to = gram[i]
            for j in range(i + 1):
                to[j] += (w0 * r0[j] + w1 * r1[j]) + (w2 * r2[j] + w3 * r3[j])
    for k in range(n - n % 4, n):
        for i in range(taps):
            w = weight[k] * a[k, i]
            right[i] += w * y[k]
            for j in range(i + 1):
                gram[i, j] += w * a[k, j]


@compiled
def fit_stencil(around, wanted, n, n_taps, total, one, candidates, stencil, free):  # pragma: no cover
    """The cheapest stencil for a pass.

    Args:
        around, wanted: n samples; overwritten by differences from the middle of taps 0 and 1, in bins.
        total: points that the samples stand for.
        one: a bin.
        candidates: stencils that cost nothing, [k, MAX_TAPS], as in files.
        stencil: written.
        free: whether it may be one of its own.

    Returns:
        the candidate, or -1 for a stencil of its own.
    """
    last = n_taps - 1
    y = wanted
    typical = np.empty(n)
    for k in range(n):
        middle = (around[k, 0] + around[k, 1]) / 2
        half = (around[k, 1] - around[k, 0]) / 2 / one
        size = 2 * abs(half)
        around[k, 0] = half
        for t in range(2, n_taps):
            d = (around[k, t] - middle) / one
            around[k, t - 1] = d
            size += abs(d)
        y[k] = (wanted[k] - middle) / one
        typical[k] = 1 / (1 + min(size / n_taps, 300.0))
    w = np.empty(last)
    best, chosen = 1e300, 0
    for i in range(len(candidates)):
        _differences(candidates[i], n_taps, w)
        cost = total * bits_of(around, y, w, n, last)
        if cost < best:
            best, chosen = cost, i
    stencil[:] = candidates[chosen]
    if not free or n < 4 * n_taps or total < 8 * n_taps:
        return chosen
    _differences(stencil, n_taps, w)
    gram, right = np.empty((last, last)), np.empty(last)
    weight = typical.copy()
    residual = np.empty(n)
    for turn in range(ITERATIONS):
        if turn:
            for k in range(n):
                r = y[k]
                for i in range(last):
                    r -= around[k, i] * w[i]
                residual[k] = abs(r)
            scale = 3 * np.median(residual) + 0.3
            for k in range(n):
                weight[k] = typical[k] / np.sqrt(1 + (residual[k] / scale) ** 2)
        gram[:], right[:] = 0.0, 0.0
        part = n if turn == ITERATIONS - 1 or n < 2048 else n // 4 * 3 // 2
        add_products(around, y, weight, part, last, gram, right)
        if not solve(gram, right, last, w):
            return chosen
    fitted = np.zeros(MAX_TAPS)
    rest, sizes = 4096.0, 0.0
    for t in range(2, n_taps):
        fitted[t] = np.floor(w[t - 1] * 4096 + 0.5)
        rest -= fitted[t]
    fitted[1] = np.floor((rest + np.floor(w[0] * 4096 + 0.5)) / 2)
    fitted[0] = rest - fitted[1]
    for t in range(n_taps):
        sizes += abs(fitted[t])
    if sizes >= STENCIL_LIMIT:
        return chosen
    _differences(fitted, n_taps, w)
    if total * bits_of(around, y, w, n, last) + WEIGHT_BITS * n_taps + 30 < best:
        stencil[:] = fitted
        return -1
    return chosen


@compiled
def _differences(stencil, n_taps, w):  # pragma: no cover
    """A stencil as weights of differences from the middle of taps 0 and 1."""
    w[0] = (stencil[1] - stencil[0]) / 4096
    for t in range(2, n_taps):
        w[t - 1] = stencil[t] / 4096


@compiled
def residual_sizes(around, wanted, n, n_taps, stencil, sizes):  # pragma: no cover
    """|q| of samples, as `fit_stencil` leaves them."""
    w = np.empty(n_taps - 1)
    _differences(stencil, n_taps, w)
    for k in range(n):
        r = wanted[k]
        for i in range(n_taps - 1):
            r -= around[k, i] * w[i]
        sizes[k] = abs(np.floor(r + 0.5))


@compiled
def fit_weights(features, sizes, n, caps, units, weights):  # pragma: no cover
    """Weights of the expected |q|, least squares of the relative error: the likelihood of a Laplace
    distribution asks for it.

    Args:
        features: [n, N_FEATURES], overwritten: capped, in `units`.
        sizes: |q|, [n].
        caps: of rough features, and of the small ones.
        units: what a step of each weight in a file is worth.
        weights: as in files times `units`, written.
    """
    rough_cap, small_cap = caps
    mean = np.empty(n)
    average = 0.0
    for k in range(n):
        f = features[k]
        f[3], f[5], f[8] = min(f[3], rough_cap), min(f[5], rough_cap), min(f[8], rough_cap)
        f[4], f[6] = min(f[3], small_cap), min(f[5], 8 * small_cap)
        for i in range(N_FEATURES):
            f[i] *= units[i]
        sizes[k] = min(sizes[k], 100.0)
        average += sizes[k]
    average = max(average / n, 1e-3)
    for k in range(n):
        mean[k] = average
    w, weight = np.zeros(N_FEATURES), np.empty(n)
    gram, right = np.empty((N_FEATURES, N_FEATURES)), np.empty(N_FEATURES)
    for _ in range(ITERATIONS + 1):
        for k in range(n):
            weight[k] = 1 / (mean[k] + 0.05) ** 2
        gram[:], right[:] = 0.0, 0.0
        add_products(features, sizes, weight, n, N_FEATURES, gram, right)
        if not solve(gram, right, N_FEATURES, w):
            return False
        for k in range(n):
            m = 0.0
            for i in range(N_FEATURES):
                m += features[k, i] * w[i]
            mean[k] = max(m, 1e-3)
    for i in range(N_FEATURES):
        weights[i] = min(max(np.floor(w[i] * (1 << 20) + 0.5), -32767.0), 32767.0) * units[i]
    return True


@compiled
def class_bits(features, sizes, n, units, weights):  # pragma: no cover
    """Bits of |q| where each class has the two-sided geometric distribution of its mean; `features` are in
    `units`, as `fit_weights` leaves them.
    """
    count, total = np.zeros(CLASSES), np.zeros(CLASSES)
    energy = np.empty(1)
    bits = energy.view(np.int64)
    for k in range(n):
        e = 0.0
        for i in range(N_FEATURES):
            e += features[k, i] * (weights[i] / units[i])
        energy[0] = max(e, 1.0)
        c = min(max((bits[0] >> 50) - CLASS_BIAS, 1), CLASSES - 1)
        count[c] += 1
        total[c] += sizes[k]
    out = 0.0
    for c in range(1, CLASSES):
        if total[c] > 0:
            m = total[c] / count[c]
            theta = (np.sqrt(1 + m * m) - 1) / m
            out -= count[c] * np.log2((1 - theta) / (1 + theta)) + total[c] * np.log2(theta)
    return out


@compiled
def cubic(stencil):  # pragma: no cover
    """Interpolation along the axis."""
    stencil[:] = 0
    stencil[0] = stencil[1] = 2304
    stencil[2] = stencil[3] = -256
