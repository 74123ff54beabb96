"""The compiled loops of nested blocks (codecs/field/nested.py): prediction, contexts, quantisation.

Values are whole numbers in float64 and stay far below 2^53, so sums and products of them are exact: the same
on every machine, in whatever order a compiler adds them. Rows of the last axis are stored densely, as far as
they are known, so that every tap of a row is a stretch of memory.
"""

from __future__ import annotations

import numpy as np

from tersor.entropy import lanes
from tersor.entropy.compiled import compiled
from tersor.entropy.letters import symbols_of

FRACTION_BITS = 6  # F
STENCIL_BITS = 12  # F
LEAD = 2  # F: room before a row: its ghost
MAX_TAPS = 24  # F
N_FEATURES = 10  # F
CONTEXT_BITS = 20  # F
VALUE_MAX = float(1 << 36)  # F: |value|
SYMBOL_MAX = float((1 << 30) - 1)  # F
SIZE_MAX = 4096.0  # F: of |q| in contexts
CLASSES = 81  # F: class 0 is certain
CHUNK = 256  # G: points of a row at once
SUMS = 12  # F: features and what they are made of
# F: class 1 begins below an expected |q| of 2^-9: exponent and two bits of the float's fraction
CLASS_BIAS = ((1023 + CONTEXT_BITS - 9) << 2) - 1


@compiled
def extend(values, sizes, g, frame, a, h, slope):  # pragma: no cover
    """Ghosts beyond the edges of what is known before axis `a` is refined to spacing `h`: `slope` times the
    last difference further along the axis, mirrored along the others.
    """
    n = (g[3] + 2 * h - 1) // (2 * h)
    for c0 in range(0, g[0], h if a > 0 else 2 * h):
        for c1 in range(0, g[1], h if a > 1 else 2 * h):
            for c2 in range(0, g[2], h if a > 2 else 2 * h):
                at = frame + c0 * g[4] + c1 * g[5] + c2 * g[6] + LEAD
                if n == 1:
                    values[at - 1] = values[at + 1] = values[at + 2] = values[at]
                    sizes[at - 1] = sizes[at + 1] = sizes[at + 2] = sizes[at]
                    continue
                sizes[at - 1], sizes[at + n] = sizes[at + 1], sizes[at + n - 2]
                sizes[at + n + 1] = sizes[at + n]
                if a == 3:
                    values[at - 1] = values[at] + slope * (values[at] - values[at + 1])
                    values[at + n] = values[at + n - 1] + slope * (values[at + n - 1] - values[at + n - 2])
                    values[at + n + 1] = values[at + n]
                else:
                    values[at - 1], values[at + n] = values[at + 1], values[at + n - 2]
    if a == 3:
        return
    step = g[4 + a]
    last = (g[a] - 1) // (2 * h) * 2 * h
    for c0 in range(0, 1 if a == 0 else g[0], h if a > 0 else 2 * h):
        for c1 in range(0, 1 if a == 1 else g[1], h if a > 1 else 2 * h):
            for c2 in range(0, 1 if a == 2 else g[2], 2 * h):
                first = frame + c0 * g[4] + c1 * g[5] + c2 * g[6] + LEAD - 1
                _ghost(values, sizes, first, last, 2 * h, step, first + g[a] * step, n + 2, slope)
                to = first + (g[a] + 1) * step
                _ghost(values, sizes, first + last * step, last, -2 * h, step, to, n + 2, slope)


@compiled
def _ghost(values, sizes, first, last, spacing, step, to, n, slope):  # pragma: no cover
    """The line `spacing` beyond one end of an axis: beyond the last known line, or, with a negative spacing,
    before line 0 (`first` is then the last line).
    """
    if spacing > 0:
        near = first + last * step
        far = near - spacing * step if last >= spacing else near
    else:
        near = first - last * step
        far = near - spacing * step if last >= -spacing else near
    for i in range(n):
        values[to + i] = values[near + i] + slope * (values[near + i] - values[far + i])
        sizes[to + i] = sizes[near + i]


@compiled
def row_counts(g, a, h):  # pragma: no cover
    """Lines along the first three axes of a pass, and points of each row (both phases)."""
    n = np.empty(4, np.int64)
    for j in range(4):
        if j == a:
            n[j] = (g[j] - h + 2 * h - 1) // (2 * h)
        else:
            step = h if j < a else 2 * h
            n[j] = (g[j] + step - 1) // step
    return n


@compiled
def find_taps(g, frame, a, h, phase, time, c, taps):  # pragma: no cover
    """Where the taps of a row begin, in order: nearest two and two further along the axis, neighbouring
    lines, in phase 1 those of phase 0 in the plane, then the frames before.

    Returns:
        how many lie on known lines, how many come before those of frames, how many there are, where the row
        itself begins.
    """
    base = frame + c[0] * g[4] + c[1] * g[5] + c[2] * g[6] + LEAD
    if a < 3:
        step, at, side = g[4 + a], c[a], g[a]
        here = base
        taps[0] = base - h * step
        taps[1] = base + h * step if at + h < side else base + (side - at) * step
        taps[2] = base - 3 * h * step if at >= 3 * h else base + (side + 1 - at) * step
        taps[3] = base + 3 * h * step if at + 3 * h < side else base + (side - at) * step
    else:
        here = g[7] + c[0] * g[8] + c[1] * g[9] + c[2] * g[10] + LEAD
        taps[0], taps[1], taps[2], taps[3] = base, base + 1, base - 1, base + 2
    n = 4
    for j in range(4):
        if j == a or g[j] == 1:
            continue
        if j == 3:
            low, high = -1, 1
        else:
            s = h if j < a else 2 * h
            low = -s if c[j] >= s else s if c[j] + s < g[j] else 0
            high = s if c[j] + s < g[j] else -s if c[j] >= s else 0
            low *= g[4 + j]
            high *= g[4 + j]
        taps[n], taps[n + 1], taps[n + 2], taps[n + 3] = (
            taps[0] + low,
            taps[1] + low,
            taps[0] + high,
            taps[1] + high,
        )
        n += 4
    lines = n
    if phase:
        for j in range(4):
            if g[j] == 1:
                continue
            if j == 3:
                taps[n], taps[n + 1] = here - 1, here + 1
            else:
                s = 2 * h if j >= a else h
                step = g[4 + j] if a < 3 else g[8 + j]
                below, above = c[j] >= s, c[j] + s < g[j]
                taps[n] = here - s * step if below else here + s * step if above else taps[0]
                taps[n + 1] = here + s * step if above else here - s * step if below else taps[0]
            n += 2
    plane = n
    if time:
        for back in range(1, 3):
            own = base - min(back, time) * g[11]
            taps[n] = taps[n + 1] = taps[n + 2] = own
            if a < 3:
                taps[n + 1] = own - h * g[4 + a]
                taps[n + 2] = own + h * g[4 + a] if c[a] + h < g[a] else taps[n + 1]
            n += 3
    return lines, plane, n, here


@compiled
def frame_columns(g, a, h, columns):  # pragma: no cover
    """Where the points of a row, and their neighbours along the axis, lie in rows of earlier frames."""
    for i in range(columns.shape[1]):
        if a < 3:
            columns[0, i] = columns[1, i] = columns[2, i] = 2 * h * i
        else:
            columns[0, i], columns[1, i] = (2 * i + 1) * h, 2 * h * i
            columns[2, i] = (2 * i + 2) * h if (2 * i + 2) * h < g[3] else 2 * h * i


@compiled
def look(
    values, sizes, taps, counts, columns, first, count, snap, stencil, sums, predictions
):  # pragma: no cover
    """Predictions of the points first, first + 2, ... of a row, and their features but for the constant one,
    in
    sums[1:10]. Each loop takes the taps of one axis, so that what it adds to stays in registers.
    """
    lines, plane, n_taps = counts
    near, wide, rough, spread, level_q, level_spread, frame_q, twice = (
        sums[1],
        sums[2],
        sums[3],
        sums[5],
        sums[7],
        sums[8],
        sums[9],
        sums[10],
    )
    w0, w1, w2, w3 = stencil[0], stencil[1], stencil[2], stencil[3]
    t0, t1 = np.uint64(taps[0] + first), np.uint64(taps[1] + first)
    t2, t3 = np.uint64(taps[2] + first), np.uint64(taps[3] + first)
    for n in range(count):
        i = np.uint64(2 * n)
        a, b, c, d = values[t0 + i], values[t1 + i], values[t2 + i], values[t3 + i]
        both = a + b
        twice[n] = both
        predictions[n] = 2048.0 + (w0 * a + w1 * b) + (w2 * c + w3 * d)
        rough[n] = abs(a - b)
        spread[n] = abs(2 * c - both) + abs(2 * d - both)
        near[n] = np.float64(sizes[t0 + i]) + np.float64(sizes[t1 + i])
        wide[n] = level_q[n] = level_spread[n] = frame_q[n] = 0.0
    for t in range(4, lines, 4):
        w0, w1, w2, w3 = stencil[t], stencil[t + 1], stencil[t + 2], stencil[t + 3]
        t0, t1 = np.uint64(taps[t] + first), np.uint64(taps[t + 1] + first)
        t2, t3 = np.uint64(taps[t + 2] + first), np.uint64(taps[t + 3] + first)
        for n in range(count):
            i = np.uint64(2 * n)
            a, b, c, d = values[t0 + i], values[t1 + i], values[t2 + i], values[t3 + i]
            both = twice[n]
            predictions[n] += (w0 * a + w1 * b) + (w2 * c + w3 * d)
            spread[n] += (abs(2 * a - both) + abs(2 * b - both)) + (abs(2 * c - both) + abs(2 * d - both))
            wide[n] += np.float64(sizes[t0 + i] + sizes[t1 + i]) + np.float64(sizes[t2 + i] + sizes[t3 + i])
    for t in range(lines, plane, 2):
        w0, w1 = stencil[t], stencil[t + 1]
        t0, t1 = np.uint64(taps[t] + first), np.uint64(taps[t + 1] + first)
        for n in range(count):
            i = np.uint64(2 * n)
            a, b = values[t0 + i], values[t1 + i]
            both = twice[n]
            predictions[n] += w0 * a + w1 * b
            level_spread[n] += abs(2 * a - both) + abs(2 * b - both)
            level_q[n] += np.float64(sizes[t0 + i] + sizes[t1 + i])
    if n_taps > plane:
        w0, w1, w2 = stencil[plane], stencil[plane + 1], stencil[plane + 2]
        w3, w4, w5 = stencil[plane + 3], stencil[plane + 4], stencil[plane + 5]
        t0, t1, t2 = np.uint64(taps[plane]), np.uint64(taps[plane + 1]), np.uint64(taps[plane + 2])
        t3, t4, t5 = np.uint64(taps[plane + 3]), np.uint64(taps[plane + 4]), np.uint64(taps[plane + 5])
        here, low, high = columns[0], columns[1], columns[2]
        for n in range(count):
            k = np.uint64(first + 2 * n)
            i, j, m = np.uint64(here[k]), np.uint64(low[k]), np.uint64(high[k])
            a, b = values[t0 + i], values[t3 + i]
            predictions[n] += (w0 * a + w3 * b) + (w1 * values[t1 + j] + w4 * values[t4 + j])
            predictions[n] += w2 * values[t2 + m] + w5 * values[t5 + m]
            level_spread[n] += abs(a - b)
            frame_q[n] = sizes[t0 + i]
    for n in range(count):
        predictions[n] = np.floor(predictions[n] * (1.0 / 4096))
    if snap:
        for n in range(count):
            predictions[n] = np.floor(predictions[n] + 0.5)


@compiled
def classify(sums, caps, weights, count, energy, bits, classes):  # pragma: no cover
    """Expected |q| of points described in `sums`, and its class; `bits` is `energy` as integers."""
    rough_cap, small_cap = caps
    w = weights
    near, wide, rough, spread, level_q, level_spread, frame_q = (
        sums[1],
        sums[2],
        sums[3],
        sums[5],
        sums[7],
        sums[8],
        sums[9],
    )
    for n in range(count):
        r = rough[n] if rough[n] < rough_cap else rough_cap
        s = spread[n] if spread[n] < rough_cap else rough_cap
        v = level_spread[n] if level_spread[n] < rough_cap else rough_cap
        small = r if r < small_cap else small_cap
        few = s if s < 8 * small_cap else 8 * small_cap
        e = w[0] + w[1] * near[n] + w[2] * wide[n] + w[3] * r + w[4] * small + w[5] * s + w[6] * few
        e += w[7] * level_q[n] + w[8] * v + w[9] * frame_q[n]
        energy[n] = e if e > 1.0 else 1.0
    for n in range(count):
        c = (bits[n] >> 50) - CLASS_BIAS
        c = c if c > 1 else 1
        classes[n] = c if c < CLASSES - 1 else CLASSES - 1


@compiled
def _place(row, n, a, h, c):  # pragma: no cover
    """Coordinates of a row of a pass -> c; the parity of its place."""
    k2 = row % n[2]
    k1 = row // n[2] % n[1]
    k0 = row // (n[2] * n[1])
    c[0] = h + 2 * h * k0 if a == 0 else k0 * (h if a > 0 else 2 * h)
    c[1] = h + 2 * h * k1 if a == 1 else k1 * (h if a > 1 else 2 * h)
    c[2] = h + 2 * h * k2 if a == 2 else k2 * (h if a > 2 else 2 * h)
    return (k0 + k1 + k2) % 2


@compiled
def phase_points(n, phase, rows):  # pragma: no cover
    """How many points of a phase lie in the first `rows` rows of a pass."""
    total = 0
    if n[3] % 2 == 0:
        return rows * (n[3] // 2)
    for row in range(rows):
        parity = (row % n[2] + row // n[2] % n[1] + row // (n[2] * n[1]) + phase) % 2
        total += (n[3] + 1 - parity) // 2
    return total


@compiled
def close_rows(values, sizes, g, frame, a, h):  # pragma: no cover
    """Ghosts of the rows of phase 0, which phase 1 sees."""
    n = row_counts(g, a, h)
    c, taps = np.empty(3, np.int64), np.empty(MAX_TAPS, np.int64)
    for row in range(n[0] * n[1] * n[2]):
        _place(row, n, a, h, c)
        _, _, _, here = find_taps(g, frame, a, h, 0, 0, c, taps)
        m = n[3]
        if m == 1:
            values[here - 1] = values[here + 1] = values[taps[0]]
            sizes[here - 1] = sizes[here + 1] = sizes[taps[0]]
        else:
            values[here - 1], values[here + m] = values[here + 1], values[here + m - 2]
            sizes[here - 1], sizes[here + m] = sizes[here + 1], sizes[here + m - 2]


@compiled
def weave(values, sizes, g, frame, h):  # pragma: no cover
    """After the last axis: known and new points of each row take turns."""
    n, m = (g[3] + 2 * h - 1) // (2 * h), (g[3] - h + 2 * h - 1) // (2 * h)
    for c0 in range(0, g[0], h):
        for c1 in range(0, g[1], h):
            for c2 in range(0, g[2], h):
                at = frame + c0 * g[4] + c1 * g[5] + c2 * g[6] + LEAD
                new = g[7] + c0 * g[8] + c1 * g[9] + c2 * g[10] + LEAD
                if n > m:
                    values[at + 2 * m], sizes[at + 2 * m] = values[at + m], sizes[at + m]
                for i in range(m - 1, -1, -1):
                    v, q = values[at + i], sizes[at + i]
                    values[at + 2 * i], values[at + 2 * i + 1] = v, values[new + i]
                    sizes[at + 2 * i], sizes[at + 2 * i + 1] = q, sizes[new + i]


@compiled
def code_phase(values, sizes, g, p, models, snap, target, valid, out):  # pragma: no cover
    """Encoder: predict, classify and quantise the points of a pass `p`: frame, axis, spacing, phase, frames
    before. Fills symbols and classes.
    """
    frame, a, h, phase, time, cells = p
    stencil, weights, caps = models
    symbols, classes = out
    all_valid = valid.size == 0
    n = row_counts(g, a, h)
    c, taps = np.empty(3, np.int64), np.empty(MAX_TAPS, np.int64)
    sums, predictions, energy = np.empty((SUMS, CHUNK)), np.empty(CHUNK), np.empty(CHUNK)
    bits = energy.view(np.int64)
    columns = np.empty((3, n[3] if time else 0), np.int64)
    frame_columns(g, a, h, columns)
    one = 1.0 if snap else 64.0
    part = 1.0 / one
    stride = 2 * h
    origin = h if a == 3 else 0
    k = 0
    for row in range(n[0] * n[1] * n[2]):
        parity = _place(row, n, a, h, c)
        lines, plane, n_taps, here = find_taps(g, frame, a, h, phase, time, c, taps)
        counts = (lines, plane, n_taps)
        own = cells + c[0] * g[12] + c[1] * g[13] + c[2] * g[14] + origin
        for begin in range((parity + phase) % 2, n[3], 2 * CHUNK):
            count = min(CHUNK, (n[3] - begin + 1) // 2)
            look(values, sizes, taps, counts, columns, begin, count, snap, stencil, sums, predictions)
            classify(sums, caps, weights, count, energy, bits, classes[k : k + count])
            v, q, s = values[here + begin :], sizes[here + begin :], symbols[k : k + count]
            wanted = target[own + begin * stride :]
            if all_valid:
                for i in range(count):
                    r = np.floor((wanted[2 * i * stride] - predictions[i]) * part + 0.5)
                    r = r if r < SYMBOL_MAX else SYMBOL_MAX
                    r = r if r > -SYMBOL_MAX else -SYMBOL_MAX
                    s[i] = np.int32(r)
                    x = predictions[i] + r * one
                    x = x if x < VALUE_MAX else VALUE_MAX
                    v[2 * i] = x if x > -VALUE_MAX else -VALUE_MAX
                    r = abs(r)
                    q[2 * i] = r if r < SIZE_MAX else SIZE_MAX
            else:
                known = valid[own + begin * stride :]
                for i in range(count):
                    r = 0.0
                    if known[2 * i * stride]:
                        r = np.floor((wanted[2 * i * stride] - predictions[i]) * part + 0.5)
                        r = min(max(r, -SYMBOL_MAX), SYMBOL_MAX)
                    else:
                        classes[k + i] = 0
                    s[i] = np.int32(r)
                    v[2 * i] = min(max(predictions[i] + r * one, -VALUE_MAX), VALUE_MAX)
                    q[2 * i] = min(abs(r), SIZE_MAX)
            k += count
    return k


@compiled
def predict_phase(values, sizes, g, p, models, snap, valid, out):  # pragma: no cover
    """Decoder: as `code_phase`, but for what needs symbols. Fills predictions and classes."""
    frame, a, h, phase, time, cells = p
    stencil, weights, caps = models
    predictions, classes = out
    all_valid = valid.size == 0
    n = row_counts(g, a, h)
    c, taps = np.empty(3, np.int64), np.empty(MAX_TAPS, np.int64)
    sums, energy = np.empty((SUMS, CHUNK)), np.empty(CHUNK)
    bits = energy.view(np.int64)
    columns = np.empty((3, n[3] if time else 0), np.int64)
    frame_columns(g, a, h, columns)
    stride = 2 * h
    origin = h if a == 3 else 0
    k = 0
    for row in range(n[0] * n[1] * n[2]):
        parity = _place(row, n, a, h, c)
        lines, plane, n_taps, _ = find_taps(g, frame, a, h, phase, time, c, taps)
        counts = (lines, plane, n_taps)
        own = cells + c[0] * g[12] + c[1] * g[13] + c[2] * g[14] + origin
        for begin in range((parity + phase) % 2, n[3], 2 * CHUNK):
            count = min(CHUNK, (n[3] - begin + 1) // 2)
            to = predictions[k : k + count]
            look(values, sizes, taps, counts, columns, begin, count, snap, stencil, sums, to)
            classify(sums, caps, weights, count, energy, bits, classes[k : k + count])
            if not all_valid:
                known = valid[own + begin * stride :]
                for i in range(count):
                    if not known[2 * i * stride]:
                        classes[k + i] = 0
            k += count
    return k


@compiled
def settle_phase(values, sizes, g, p, snap, predictions, symbols):  # pragma: no cover
    """Decoder: the values of a pass, in the order of `code_phase`."""
    frame, a, h, phase, _, _ = p
    n = row_counts(g, a, h)
    c, taps = np.empty(3, np.int64), np.empty(MAX_TAPS, np.int64)
    one = 1.0 if snap else 64.0
    k = 0
    for row in range(n[0] * n[1] * n[2]):
        parity = _place(row, n, a, h, c)
        _, _, _, here = find_taps(g, frame, a, h, 0, 0, c, taps)
        first = (parity + phase) % 2
        count = (n[3] - first + 1) // 2
        v, q = values[here + first :], sizes[here + first :]
        guess, s = predictions[k : k + count], symbols[k : k + count]
        for i in range(count):
            r = np.float64(s[i])
            x = guess[i] + r * one
            x = x if x < VALUE_MAX else VALUE_MAX
            v[2 * i] = x if x > -VALUE_MAX else -VALUE_MAX
            r = abs(r)
            q[2 * i] = r if r < SIZE_MAX else SIZE_MAX
        k += count


@compiled
def decode_passes(values, sizes, g, passes, models, snap, valid, base, stream, work):  # pragma: no cover
    """All passes of a block, or of a part of it.

    Args:
        passes: int64 [n, 6], of nested.Plan.
        models: stencils [keys, MAX_TAPS], weights [keys, N_FEATURES], caps, slope of ghosts.
        base: float64 [frames], values of their first cells.
        stream: words, states, decoding table, alphabet, raw bits.
        work: predictions, classes, letters, symbols, each as large as the largest pass.

    Returns:
        words taken and bits read; CORRUPT (-1) for either if there are too few.
    """
    stencils, contexts, caps, slope = models
    words, states, table, alphabet, raw = stream
    predictions, classes, letters, symbols = work
    at = bit = 0
    for i in range(len(passes)):
        frame, h, a, time, cells, key = passes[i]
        if a < 0:
            values[frame + LEAD], sizes[frame + LEAD] = base[key], 0.0
            continue
        extend(values, sizes, g, frame, a, h, slope)
        for phase in range(2):
            p = (frame, a, h, phase, time, cells)
            own = (stencils[key + phase], contexts[key + phase], caps)
            n = predict_phase(values, sizes, g, p, own, snap, valid, (predictions, classes))
            at = lanes.decode(words, at, states, table, classes[:n], alphabet, letters[:n])
            if at < 0:
                return at, bit
            bit = symbols_of(letters[:n], raw, bit, symbols[:n])
            if bit < 0:
                return at, bit
            settle_phase(values, sizes, g, p, snap, predictions, symbols)
            if phase == 0:
                close_rows(values, sizes, g, frame, a, h)
        if a == 3:
            weave(values, sizes, g, frame, h)
    return at, bit
