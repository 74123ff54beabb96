"""Levels of a transformed square through the adaptive coder, and how an encoder chooses them by what they
cost.

Levels are coded from the last that is not zero down to the first, along diagonals: whether zero, whether
above 1, 2, ... in unary, then the sign. Contexts are
magnitudes of the five neighbours already coded (towards high frequencies), the place, the size, the plane,
and how busy the blocks around are.

The encoder walks the same way. It sees the true cost of each choice, since the contexts are those of the
coder; then it moves the end to where the whole is cheapest.
"""

from __future__ import annotations

import numpy as np

from tersor.codecs.video.compiled import compiled, inlined
from tersor.codecs.video.state import (
    COEFFICIENT_MAX,
    COST,
    COST_BITS,
    COUNT_MAX,
    ESCAPE_BITS,
    FLAG_INPUTS,
    FLAG_SLOTS,
    INPUTS,
    JOINTS,
    K_EOB,
    K_EOB_BITS,
    K_ESCAPE,
    MEASURING,
    RATE,
    ROW_JOINT_FIRST,
    ROW_SUM_FIRST,
    SLOT_FIRST,
    UNARY,
)
from tersor.codecs.video.tables import DIAGONALS, SCAN_X, SCAN_Y, STEP_BITS, STEPS
from tersor.entropy.binary import DECODING, PROBABILITY_BITS, STRETCH_MAX, code_bit, code_mixed


@inlined
def probability(model, slots, n, first, second):  # pragma: no cover
    """Of a 1 under n contexts, as code_mixed has it, in 12 bits."""
    total = np.int64(0)
    for i in range(n):
        total += np.int64(model[3][model[0][slots[i]] >> (PROBABILITY_BITS - 12)]) * (
            np.int64(model[2][first, i]) + model[2][second, i]
        )
    total = min(max(total >> 17, -STRETCH_MAX), STRETCH_MAX)
    return np.int64(model[4][total + STRETCH_MAX + 1]) >> 4


@inlined
def coded(k, n, first, second, bit):  # pragma: no cover
    """Code, decode or measure a bit whose slots are in k.slots."""
    if k.io[MEASURING]:
        p = probability(k.model, k.slots, n, first, second)
        k.io[COST] += k.costs[p if bit else 4096 - p]
        return bit
    return code_mixed(k.io, k.buffer, k.model, k.slots, n, first, second, RATE, COUNT_MAX, bit)


@compiled
def code_flag(k, kind, c0, c1, c2, bit):  # pragma: no cover
    """A bit of a kind under three contexts below FLAG_SLOTS."""
    base = kind * (FLAG_INPUTS * FLAG_SLOTS)
    k.slots[0] = base + c0
    k.slots[1] = base + FLAG_SLOTS + c1
    k.slots[2] = base + 2 * FLAG_SLOTS + c2
    return coded(k, FLAG_INPUTS, kind, kind, bit)


@compiled
def code_raw(k, value, bits):  # pragma: no cover
    """Bits of even odds, the highest first."""
    if k.io[MEASURING]:
        k.io[COST] += bits << COST_BITS
        return value
    out = 0
    for i in range(bits - 1, -1, -1):
        out = 2 * out + code_bit(k.io, k.buffer, 32768, (value >> i) & 1)
    return out


@compiled
def code_count(k, value, limit, bits, plane, intra, energy):  # pragma: no cover
    """How far levels go in the scan, 1 to limit = 4^bits: the bit length in unary, then the bits below the
    highest.
    """
    size = 4 * min(plane, 1) + bits - 2
    around = 16 * energy + 128 * min(plane, 1)
    length = 1
    wanted = 0
    while (value >> wanted) > 0:
        wanted += 1
    while (1 << length) <= limit:
        step = length - 1
        if not code_flag(
            k,
            K_EOB,
            size * 16 + step,
            around + step,
            (size * 2 + intra) * 16 + step,
            1 if wanted > length else 0,
        ):
            break
        length += 1
    out = 1
    for i in range(length - 2, -1, -1):
        if length - 2 - i < 2:
            c = length * 4 + (length - 2 - i) * 2 + (out & 1)
            out = 2 * out + code_flag(
                k, K_EOB_BITS, c, c + 64 * min(plane, 1), c + 64 * intra + 128 * (bits > 3), (value >> i) & 1
            )
        else:
            out = 2 * out + code_raw(k, (value >> i) & 1, 1)
    return min(out, limit)


@inlined
def code_escape(k, value, plane):  # pragma: no cover
    """An integer >= 0 in Exp-Golomb form."""
    exponent = 0
    while exponent < ESCAPE_BITS:
        c = exponent + 16 * min(plane, 1)
        if not code_flag(k, K_ESCAPE, c, exponent, exponent, 1 if (value + 1) >> (exponent + 1) else 0):
            break
        exponent += 1
    return (1 << exponent) + code_raw(k, (value + 1) & ((1 << exponent) - 1), exponent) - 1


@inlined
def set_contexts(base, sizes, y, x, place, energy, intra, level, left, since):  # pragma: no cover
    """Slots of a level's first decision, in `base`; -> the class of the sum of neighbours.

    Args:
        sizes: magnitudes with two more rows and columns.
        place: 4 (plane is chroma) + bits - 2.
        left: class of how many levels are to come; since: class of how many were not zero.
    """
    a, b, d = np.int64(sizes[y, x + 1]), np.int64(sizes[y + 1, x]), np.int64(sizes[y + 1, x + 1])
    e = np.int64(sizes[y, x + 2] + sizes[y + 2, x])
    total = a + b + d + e
    chroma = place >> 2
    diagonal = DIAGONALS[y + x]
    near = min((total + 1) >> 1, 7)
    base[0] = SLOT_FIRST[0] + ((place * 10 + diagonal) * 8 + near) * JOINTS
    base[1] = (
        SLOT_FIRST[1]
        + ((((min(a, 3) * 4 + min(b, 3)) * 3 + min(d, 2)) * 3 + min(e, 2)) * 2 + chroma) * JOINTS
    )
    base[2] = SLOT_FIRST[2] + (((place * 8 + min(y, 7)) * 8 + min(x, 7)) * 2 + intra) * JOINTS
    base[3] = SLOT_FIRST[3] + (((energy * 10 + diagonal) * 4 + min(total, 3)) * 2 + chroma) * JOINTS
    base[4] = SLOT_FIRST[4] + (((level * 6 + min(total, 5)) * 2 + intra) * 2 + chroma) * JOINTS
    base[5] = SLOT_FIRST[5] + (((left * 8 + since) * 4 + min(total, 3)) * 2 + chroma) * JOINTS
    return min(total, 9)


@inlined
def class_of(n):  # pragma: no cover
    """Of a count: 0, 1, 2, 3-4, 5-8, 9-16, 17-64, more."""
    return n if n < 3 else 3 if n < 5 else 4 if n < 9 else 5 if n < 17 else 6 if n < 65 else 7


@compiled
def code_levels(k, q, qy, qx, sizes, bits, plane, intra, energy, level):  # pragma: no cover
    """Code, decode or measure levels q[qy:, qx:], n x n, n = 2^bits, of which at least one is not zero.

    Args:
        sizes: int32, at least [n + 2, n + 2], scratch.
        energy: 0 to 7, of the blocks around. level: of quantisation.

    Returns:
        The sum of magnitudes.
    """
    n = 1 << bits
    size = bits - 2
    place = 4 * min(plane, 1) + size
    step = min(level >> 5, 15)
    end = 0
    for y in range(n + 2):
        for x in range(n + 2):
            sizes[y, x] = 0
    if not k.io[DECODING]:
        for i in range(n * n):
            if q[qy + SCAN_Y[size, i], qx + SCAN_X[size, i]]:
                end = i + 1
    else:
        for y in range(n):
            for x in range(n):
                q[qy + y, qx + x] = 0
    end = code_count(k, end, n * n, bits, plane, intra, energy)
    base = np.zeros(INPUTS, np.int64)
    nonzero = 0
    total = 0
    for i in range(end - 1, -1, -1):
        y, x = SCAN_Y[size, i], SCAN_X[size, i]
        near = set_contexts(base, sizes, y, x, place, energy, intra, step, class_of(i), class_of(nonzero))
        value = np.int64(q[qy + y, qx + x])
        wanted = abs(value)
        got = 1 if i == end - 1 else 0
        while got < UNARY:
            joint = min(got, JOINTS - 1)
            for j in range(INPUTS):
                k.slots[j] = base[j] + joint
            first, second = ROW_JOINT_FIRST + joint * 8 + place, ROW_SUM_FIRST + joint * 10 + near
            if not coded(k, INPUTS, first, second, 1 if wanted > got else 0):
                break
            got += 1
        if got == UNARY:
            got = min(got + code_escape(k, wanted - UNARY, plane), COEFFICIENT_MAX)
        if got:
            nonzero += 1
            total += got
            sizes[y, x] = got
            q[qy + y, qx + x] = -got if code_raw(k, 1 if value < 0 else 0, 1) else got
    return total


@compiled
def choose_levels(k, d, q, at, sizes, bits, plane, intra, energy, scale, weight, work):  # pragma: no cover
    """Quantise coefficients d, int32 [n, n], to q from at = (row, column); encoders only.

    Args:
        scale: (quantiser level, bits of a sample).
        weight: squared error of samples that one bit is worth.
        work: float64 [2, 1024].

    Returns:
        (squared error of the block, sum of magnitudes).
    """
    qy, qx = at
    level, depth = scale
    n = 1 << bits
    size = bits - 2
    place = 4 * min(plane, 1) + size
    step = min(level >> 5, 15)
    width = np.float64(STEPS[level]) / (1 << (bits + STEP_BITS - 7))
    unit = 4.0 ** (bits + depth - 15)
    weight = weight / unit
    losses, gains = work[0], work[1]
    for y in range(n + 2):
        for x in range(n + 2):
            sizes[y, x] = 0
    end = 0
    total = 0.0
    for i in range(n * n):
        y, x = SCAN_Y[size, i], SCAN_X[size, i]
        a = abs(d[y, x])
        total += np.float64(a) * a
        q[qy + y, qx + x] = 0
        if a > 0.6 * width:
            end = i + 1
    if end == 0:
        return total * unit, 0
    base = np.zeros(INPUTS, np.int64)
    nonzero = 0
    bit = 1.0 / (1 << COST_BITS)
    best_sum = 0.0
    for i in range(end - 1, -1, -1):
        y, x = SCAN_Y[size, i], SCAN_X[size, i]
        near = set_contexts(base, sizes, y, x, place, energy, intra, step, class_of(i), class_of(nonzero))
        a = np.float64(abs(d[y, x]))
        high = min(np.int64(a / width + 0.5), COEFFICIENT_MAX)
        low = max(high - 1, 0)
        rate = 0.0
        best, best_cost = 0, 1e300
        got = 0
        while got <= high:
            # cost of stopping at `got`, then of going on
            stop, more = 0.0, 0.0
            if got < UNARY:
                joint = min(got, JOINTS - 1)
                for j in range(INPUTS):
                    k.slots[j] = base[j] + joint
                p = probability(
                    k.model,
                    k.slots,
                    INPUTS,
                    ROW_JOINT_FIRST + joint * 8 + place,
                    ROW_SUM_FIRST + joint * 10 + near,
                )
                stop, more = k.costs[4096 - p] * bit, k.costs[p] * bit
            else:
                length = 0
                while (got - UNARY + 1) >> (length + 1):
                    length += 1
                stop = 2.0 * length + 1
            if got >= low or got == 0:
                error = a - got * width
                cost = error * error + weight * (rate + stop + (1.0 if got else 0.0))
                if cost < best_cost:
                    best, best_cost = got, cost
            rate += more
            got += 1
        losses[i] = a * a
        gains[i] = best_cost
        best_sum += best_cost
        if best:
            nonzero += 1
            sizes[y, x] = best
            q[qy + y, qx + x] = -best if d[y, x] < 0 else best
    if nonzero == 0:
        return total * unit, 0
    # where to end: the levels from there on are lost
    best_end, best_cost = 0, 1e300
    beyond = 0.0
    for i in range(n * n - 1, end - 1, -1):
        y, x = SCAN_Y[size, i], SCAN_X[size, i]
        beyond += np.float64(d[y, x]) * d[y, x]
    below = best_sum
    measuring, cost_before = k.io[MEASURING], k.io[COST]
    k.io[MEASURING] = 1
    for i in range(end - 1, -1, -1):
        y, x = SCAN_Y[size, i], SCAN_X[size, i]
        if q[qy + y, qx + x]:
            k.io[COST] = 0
            code_count(k, i + 1, n * n, bits, plane, intra, energy)
            cost = beyond + below + weight * bit * k.io[COST]
            if cost < best_cost:
                best_end, best_cost = i + 1, cost
        below -= gains[i]
        beyond += losses[i]
    k.io[MEASURING], k.io[COST] = measuring, cost_before
    if best_cost >= total:
        best_end = 0
    error = 0.0
    count = 0
    for i in range(n * n):
        y, x = SCAN_Y[size, i], SCAN_X[size, i]
        if i >= best_end:
            q[qy + y, qx + x] = 0
        v = abs(q[qy + y, qx + x])
        count += v
        rest = abs(d[y, x]) - v * width
        error += rest * rest
    return error * unit, count
