"""The compiled loops of codecs/dyadic.py: integers in, integers out; the same on every machine.

Numba compiles them on first use and keeps the result; NUMBA_DISABLE_JIT=1 runs them as Python, which the tests compare.
"""

from __future__ import annotations

import numpy as np

from tersor.errors import MissingDependencyError

try:
    from numba import njit
except ImportError as e:
    raise MissingDependencyError("the field codec needs numba: pip install 'tersor[fields]'") from e


def compiled(loop):
    """Compile without the global lock; keep the machine code on disk where there is a place for it."""
    try:
        return njit(cache=True, nogil=True)(loop)
    except RuntimeError:  # neither the package's folder nor the user's cache can be written
        return njit(nogil=True)(loop)


FRACTION_BITS = 6
STENCIL_BITS = 12
CONTEXT_BITS = 8
N_FEATURES = 10
FEATURE_BITS = 4
FEATURE_MAX = 1 << 14
SYMBOL_MAX = 1 << 19
VALUE_MAX = 1 << 46


@compiled
def walk_loop(values, q, p0, p1, p2, p3, t0, t1, t2, t3, along, plane, phase, stencil, shift, snap, points, predictions, features):  # pragma: no cover
    """Predict every point of a pass. Fills points (flat index), predictions and features [n, N_FEATURES]."""
    taps = t0.shape[0]
    base = np.empty(taps, np.int64)
    v = np.empty(taps, np.int64)
    n = 0
    unit = FRACTION_BITS - FEATURE_BITS + shift
    half = np.int64(1) << (FRACTION_BITS - 1)
    for i0 in range(len(p0)):
        for i1 in range(len(p1)):
            for i2 in range(len(p2)):
                for t in range(taps):
                    base[t] = t0[t, i0] + t1[t, i1] + t2[t, i2]
                row = p0[i0] + p1[i1] + p2[i2]
                for i3 in range((i0 + i1 + i2 + phase) % 2, len(p3), 2):
                    near = wide = level_plane = before = np.int64(0)
                    for t in range(taps):
                        at = base[t] + t3[t, i3]
                        v[t] = values[at]
                        size = min(abs(np.int64(q[at])), 1 << 12)
                        if t < 2:
                            near += size
                        elif t < along:
                            if t > 3:
                                wide += size
                        elif t < plane:
                            level_plane += size
                        elif t == plane:
                            before = size
                    twice = v[0] + v[1]
                    total = np.int64(0)
                    spread = np.int64(0)
                    plane_spread = np.int64(0)
                    for t in range(taps):
                        d = 2 * v[t] - twice
                        total += stencil[t] * d
                        if t < along:
                            spread += abs(d)
                        elif t < plane:
                            plane_spread += abs(d)
                    prediction = ((twice << STENCIL_BITS) + total + (1 << STENCIL_BITS)) >> (STENCIL_BITS + 1)
                    if snap:
                        prediction = (prediction + half) >> FRACTION_BITS << FRACTION_BITS
                    points[n] = row + p3[i3]
                    predictions[n] = prediction
                    f = features[n]
                    f[0] = 1 << FEATURE_BITS
                    f[1] = min(near << (FEATURE_BITS - 1), FEATURE_MAX)
                    f[2] = min((wide << FEATURE_BITS) // max(along - 4, 1), FEATURE_MAX)
                    rough = abs(v[0] - v[1]) >> unit
                    f[3] = min(rough, FEATURE_MAX)
                    f[4] = min(rough, 4 << FEATURE_BITS)
                    s = (spread // (2 * along)) >> unit
                    f[5] = min(s, FEATURE_MAX)
                    f[6] = min(s, 4 << FEATURE_BITS)
                    f[7] = f[8] = f[9] = 0
                    if plane > along:
                        f[7] = min((level_plane << FEATURE_BITS) // (plane - along), FEATURE_MAX)
                        f[8] = min((plane_spread // (2 * (plane - along))) >> unit, FEATURE_MAX)
                    if taps > plane:
                        f[8] = f[8] + min(abs(v[plane] - v[plane + 3]) >> unit, FEATURE_MAX)
                        f[9] = min(before << FEATURE_BITS, FEATURE_MAX)
                    n += 1


@compiled
def quantise(points, predictions, target, valid, shift, values, q, symbols, low):  # pragma: no cover
    """Encoder: the residual nearest to (target - prediction) in bins, 0 where not valid, as symbol and low bits; updates values and q. Target: float64, in units."""
    one = 1 << FRACTION_BITS
    half = (1 << shift) >> 1
    limit = float(SYMBOL_MAX << shift)
    for n in range(len(points)):
        at = points[n]
        residual = np.int64(0)
        if valid[at]:
            r = (target[at] - predictions[n]) / one
            residual = np.int64(np.floor(min(max(r, -limit), limit) + 0.5))
        s = (residual + half) >> shift
        symbols[n] = s
        low[n] = residual + half - (s << shift)
        q[at] = s
        values[at] = min(max(predictions[n] + residual * one, -VALUE_MAX), VALUE_MAX)


@compiled
def place(points, predictions, symbols, low, shift, values, q):  # pragma: no cover
    """Decoder: the values of a pass from its symbols and low bits."""
    half = (1 << shift) >> 1
    for n in range(len(points)):
        s = min(max(np.int64(symbols[n]), -SYMBOL_MAX), SYMBOL_MAX)
        q[points[n]] = s
        residual = (s << shift) + low[n] - half
        values[points[n]] = min(max(predictions[n] + (residual << FRACTION_BITS), -VALUE_MAX), VALUE_MAX)


@compiled
def scale_levels(features, weights, thresholds, points, valid, levels):  # pragma: no cover
    """Scale level of each point: expected |q| from its features, then the first threshold above it. 0, the certain level, where nothing is coded."""
    for n in range(len(points)):
        if not valid[points[n]]:
            levels[n] = 0
            continue
        total = np.int64(0)
        for i in range(N_FEATURES):
            total += weights[i] * features[n, i]
        lo, hi = 0, len(thresholds)
        while lo < hi:
            mid = (lo + hi) // 2
            if thresholds[mid] <= total:
                lo = mid + 1
            else:
                hi = mid
        levels[n] = 1 + lo
