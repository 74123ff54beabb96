"""The compiled loops of lossless sound: integer prediction by a cascade of adaptive filters, residuals through the adaptive coder.

    sample - own history - what the other channel's first stage left - long history - short history = residual

Each stage predicts what the stage before it left over and learns from its own error: normalised least mean squares in integers, so no side information is sent and
every machine predicts alike. A residual's magnitude is coded as a quotient by a power of two that follows recent magnitudes (its bits under mixed contexts), the bits
below it, and a sign.

Source: Widrow and Hoff 1960 (LMS); cascades of such filters: Ashland, Monkey's Audio (2000).
"""

from __future__ import annotations

import numpy as np

from tersor.entropy.compiled import compiled
from tersor.entropy.mixing import code_bit, code_mixed

UNARY = 20
JOINTS = 24
ESCAPE_BITS = 33
N_INPUTS = 6
CONTEXTS = (128, 32 * 9, 128, 48 * 3, 24 * 24, 40 * 9)
SLOT_FIRST = tuple(int(n) for n in np.concatenate([[0], np.cumsum(CONTEXTS)])[:-1] * JOINTS)
ESCAPE_FIRST = sum(CONTEXTS) * JOINTS
N_SLOTS = ESCAPE_FIRST + 64
ROW_K_FIRST = JOINTS
ROW_SINGLE = ROW_K_FIRST + 40
N_ROWS = ROW_SINGLE + 1
RATE = 2
COUNT_MAX = 250

OWN, CROSS, LONG, SHORT = 8, 16, 32, 16
WEIGHT_BITS = 16
OWN_SPEED, CROSS_SPEED, LONG_SPEED, SHORT_SPEED = 6, 5, 6, 5
AVERAGE_BITS = 6
VALUE_LIMIT = 1 << 25


@compiled
def level_of(v):  # pragma: no cover
    """Quarter octaves of a magnitude, v >= 0: 0 for 0, then 1 + floor(4 log2 v), by the two bits below the highest."""
    if v == 0:
        return 0
    octave = 0
    w = v
    while w >= 8:
        w >>= 1
        octave += 1
    while w < 4:
        w <<= 1
        octave -= 1
    return 1 + 4 * (octave + 2) + (w - 4)


@compiled
def predict(weights, history, at, taps):  # pragma: no cover
    """Sum of weights and the last values before `at`, in units of the values."""
    total = np.int64(0)
    for i in range(taps):
        total += np.int64(weights[i]) * np.int64(history[at - taps + i])
    return (total + (1 << (WEIGHT_BITS - 1))) >> WEIGHT_BITS


@compiled
def adapt(weights, history, at, taps, error, power, speed):  # pragma: no cover
    """One step of normalised LMS; power is the sum of squares of the history."""
    factor = (error << (WEIGHT_BITS + 14 - speed)) // (power + 16 * taps)
    factor = min(max(factor, -(1 << 30)), 1 << 30)
    for i in range(taps):
        weights[i] += np.int32((factor * np.int64(history[at - taps + i]) + (1 << 13)) >> 14)


@compiled
def remember(history, power, c, at, taps, value):  # pragma: no cover
    """Append a value and keep the sum of squares of the last `taps`."""
    gone = np.int64(history[at])
    power[c] += value * value - gone * gone
    history[at + taps] = value


@compiled
def code_residual(io, buffer, model, slots, base, k, value):  # pragma: no cover
    """Code an integer around the scale 2^k."""
    size = abs(value)
    upper = size >> k
    got = 0
    while got < UNARY:
        for i in range(N_INPUTS):
            slots[i] = base[i] + got
        bit = code_mixed(io, buffer, model, slots, N_INPUTS, got, ROW_K_FIRST + min(k, 39), RATE, COUNT_MAX, 1 if upper > got else 0)
        if not bit:
            break
        got += 1
    if got == UNARY:
        exponent = 0
        rest = upper - UNARY + 1
        while exponent < ESCAPE_BITS:
            slots[0] = ESCAPE_FIRST + exponent
            if not code_mixed(io, buffer, model, slots, 1, ROW_SINGLE, ROW_SINGLE, 0, COUNT_MAX, 1 if rest >> (exponent + 1) else 0):
                break
            exponent += 1
        out = np.int64(1)
        for i in range(exponent - 1, -1, -1):
            out = (out << 1) | code_bit(io, buffer, 32768, (rest >> i) & 1)
        got += out - 1
    out = np.int64(got)
    for i in range(k - 1, -1, -1):
        if i == k - 1 and got < 3:
            slots[0] = base[0] + UNARY + got
            bit = code_mixed(io, buffer, model, slots, 1, ROW_SINGLE, ROW_SINGLE, 0, COUNT_MAX, (size >> i) & 1)
        else:
            bit = code_bit(io, buffer, 32768, (size >> i) & 1)
        out = (out << 1) | bit
    if out and code_bit(io, buffer, 32768, 1 if value < 0 else 0):
        return -out
    return out


@compiled
def code_pcm(io, buffer, model, x):  # pragma: no cover
    """Code or decode samples x, int64 [n, C], in place."""
    n, channels = x.shape
    slots = np.zeros(N_INPUTS, np.int64)
    base = np.zeros(N_INPUTS, np.int64)
    ring = 4096
    own_w = np.zeros((channels, OWN), np.int32)
    own_h = np.zeros((channels, ring + OWN), np.int32)
    own_power = np.zeros(channels, np.int64)
    cross_w = np.zeros((channels, CROSS), np.int32)
    white_h = np.zeros((channels, ring + CROSS), np.int32)
    white_power = np.zeros(channels, np.int64)
    long_w = np.zeros((channels, LONG), np.int32)
    long_h = np.zeros((channels, ring + LONG), np.int32)
    long_power = np.zeros(channels, np.int64)
    short_w = np.zeros((channels, SHORT), np.int32)
    short_h = np.zeros((channels, ring + SHORT), np.int32)
    short_power = np.zeros(channels, np.int64)
    fast = np.zeros(channels, np.int64)
    medium = np.zeros(channels, np.int64)
    slow = np.zeros(channels, np.int64)
    last = np.zeros((channels, 2), np.int64)
    at = 0
    for t in range(n):
        if at == ring:
            for c in range(channels):
                own_h[c, :OWN] = own_h[c, ring:]
                white_h[c, :CROSS] = white_h[c, ring:]
                long_h[c, :LONG] = long_h[c, ring:]
                short_h[c, :SHORT] = short_h[c, ring:]
            at = 0
        for c in range(channels):
            other = c ^ 1 if c ^ 1 < channels else (c - 1 if c else c)
            now = 1 if other < c else 0
            p0 = predict(own_w[c], own_h[c], at + OWN, OWN)
            p1 = predict(cross_w[c], white_h[other], at + CROSS + now, CROSS) if other != c else 0
            p2 = predict(long_w[c], long_h[c], at + LONG, LONG)
            p3 = predict(short_w[c], short_h[c], at + SHORT, SHORT)
            prediction = min(max(p0 + p1 + p2 + p3, -VALUE_LIMIT), VALUE_LIMIT)
            lf, lm, ls = level_of(fast[c]), level_of(medium[c]), level_of(slow[c])
            k = max(0, (lm - 1) // 4 - AVERAGE_BITS - 1)
            mate = level_of(last[other, 0] << 4) if other != c else 0
            base[0] = SLOT_FIRST[0] + min(lm, 127) * JOINTS
            base[1] = SLOT_FIRST[1] + (min(lm >> 2, 31) * 9 + min(max(lf - lm, -4), 4) + 4) * JOINTS
            base[2] = SLOT_FIRST[2] + min(lf, 127) * JOINTS
            base[3] = SLOT_FIRST[3] + (min(max(mate - lm + 48, 0), 47) * 3 + min(c, 1) + (1 if other < c else 0)) * JOINTS
            a1, a2 = level_of(last[c, 0] << 4), level_of(last[c, 1] << 4)
            base[4] = SLOT_FIRST[4] + (min(max((a1 - lm + 40) >> 1, 0), 23) * 24 + min(max((a2 - lm + 40) >> 1, 0), 23)) * JOINTS
            base[5] = SLOT_FIRST[5] + (min(ls >> 1, 39) * 9 + min(max(lm - ls, -4), 4) + 4) * JOINTS
            residual = code_residual(io, buffer, model, slots, base, k, x[t, c] - prediction)
            value = min(max(prediction + residual, -VALUE_LIMIT), VALUE_LIMIT)
            x[t, c] = value
            size = min(abs(residual), 1 << 26)
            fast[c] += ((size << (AVERAGE_BITS + 4)) - fast[c] * 16 + 64) >> 7
            medium[c] += ((size << (AVERAGE_BITS + 4)) - medium[c] * 16 + 256) >> 9
            slow[c] += ((size << (AVERAGE_BITS + 4)) - slow[c] * 16 + 2048) >> 12
            last[c, 1] = last[c, 0]
            last[c, 0] = size
            e0 = value - p0
            e1 = e0 - p1
            e2 = e1 - p2
            e3 = e2 - p3
            adapt(own_w[c], own_h[c], at + OWN, OWN, e0, own_power[c], OWN_SPEED)
            if other != c:
                adapt(cross_w[c], white_h[other], at + CROSS + now, CROSS, e1, white_power[other], CROSS_SPEED)
            adapt(long_w[c], long_h[c], at + LONG, LONG, e2, long_power[c], LONG_SPEED)
            adapt(short_w[c], short_h[c], at + SHORT, SHORT, e3, short_power[c], SHORT_SPEED)
            remember(own_h[c], own_power, c, at, OWN, value)
            remember(white_h[c], white_power, c, at, CROSS, e0)
            remember(long_h[c], long_power, c, at, LONG, e1)
            remember(short_h[c], short_power, c, at, SHORT, e2)
        at += 1
