"""The compiled loops of the audio codec: envelopes and coefficients of a segment through the adaptive coder,
integers in, integers out.

First the splits and envelopes of all frames, then, frame by frame, each channel's coefficients from low to
high. Contexts of a coefficient are magnitudes that the decoder has: lower bins of the frame, the two frames
before, the first channel of its pair, and what the envelope leads to expect; all in units of the
coefficient's own step, Q4.
"""

from __future__ import annotations

import numpy as np

from tersor.entropy.binarise import HALF, clip, code_escape
from tersor.entropy.binary import code_bit, code_mixed
from tersor.entropy.compiled import compiled

# F, all of them: contexts, limits and rates of learning are the format. Other ones need other tables and a
# version of the payload.
ENVELOPE_MAX = 63
NOT_CODED = -(1 << 20)
UNARY = 15
JOINTS = 16
PAD = 8
POWER_RANGE = 256
MAGNITUDE_MAX = 4095
ESCAPE_BITS = 20

N_SPLITS = 4
N_INPUTS = 9
ENVELOPE_INPUTS = 6
COEFFICIENT_CONTEXTS = (49 * 12, 20 * 20, 48 * 16, 32 * 20, 20 * 20, 20 * 25, 20 * 13 * 2, 64 * 20, 20 * 20)
ENVELOPE_CONTEXTS = (32 * 3, 9 * 9 * 2, 9 * 9, 9 * 9, 9 * 9 * 2, 64)
SPLIT_CONTEXTS = 64
SLOT_FIRST = tuple(int(n) for n in np.concatenate([[0], np.cumsum(COEFFICIENT_CONTEXTS)])[:-1] * JOINTS)
ENVELOPE_FIRST = tuple(
    int(n)
    for n in (sum(COEFFICIENT_CONTEXTS) + np.concatenate([[0], np.cumsum(ENVELOPE_CONTEXTS)])[:-1]) * JOINTS
)
SPLIT_FIRST = (sum(COEFFICIENT_CONTEXTS) + sum(ENVELOPE_CONTEXTS)) * JOINTS
ESCAPE_FIRST = SPLIT_FIRST + SPLIT_CONTEXTS
N_SLOTS = ESCAPE_FIRST + 32
ROWS_BY_JOINT = 2 * JOINTS
ROWS_BY_SIZE = 4 * 20
ENVELOPE_ROWS = 2 * JOINTS
ROW_SIZE_FIRST = ROWS_BY_JOINT
ROW_ENVELOPE_FIRST = ROW_SIZE_FIRST + ROWS_BY_SIZE
ROW_SINGLE = ROW_ENVELOPE_FIRST + ENVELOPE_ROWS
N_ROWS = ROW_SINGLE + 1
RATE, ENVELOPE_RATE = 3, 3
COUNT_MAX = 200


@compiled
def predict_envelope(envelope, c, t, b):  # pragma: no cover
    """What the neighbours before lead to expect."""
    left = envelope[c, t, b - 1] if b else 0
    if not t:
        return left
    up_left = envelope[c, t - 1, b - 1] if b else 0
    return clip((2 * envelope[c, t - 1, b] + left - up_left + 1) >> 1, 0, ENVELOPE_MAX)


@compiled
def choose_envelope(levels, tolerance, envelope):  # pragma: no cover
    """Round levels, float64 [C, T, B], to what is predicted where that is within the tolerance of the band,
    float64 [B], and towards it; encoders only.
    """
    channels, frames, bands = levels.shape
    for c in range(channels):
        for t in range(frames):
            for b in range(bands):
                level = levels[c, t, b]
                low, high = int(np.ceil(level - tolerance[b])), int(np.floor(level + tolerance[b]))
                envelope[c, t, b] = clip(
                    clip(predict_envelope(envelope, c, t, b), low, high), 0, ENVELOPE_MAX
                )


@compiled
def code_envelope(io, buffer, model, slots, envelope, residuals, c, t, bands):  # pragma: no cover
    """The envelope of a channel of a frame: [C, T, B] in steps of 4.5 dB."""
    second = c & 1
    for b in range(bands):
        up = envelope[c, t - 1, b] if t else 0
        up2 = envelope[c, t - 2, b] if t > 1 else up
        left = envelope[c, t, b - 1] if b else 0
        up_left = envelope[c, t - 1, b - 1] if b and t else 0
        up_right = envelope[c, t - 1, b + 1] if t and b + 1 < bands else up
        prediction = predict_envelope(envelope, c, t, b)
        mate = residuals[c - 1, t, b] if second else residuals[c, t - 1, b] if t else 0
        d1 = residuals[c, t, b - 1] if b else 0
        d2 = residuals[c, t, b - 2] if b > 1 else 0
        before = residuals[c, t - 1, b] if t else 0
        base = (
            ENVELOPE_FIRST[0] + (min(b, 31) * 3 + (0 if t == 0 else 1 if up == 0 else 2)) * JOINTS,
            ENVELOPE_FIRST[1] + ((clip(d1, -4, 4) + 4) * 9 + clip(d2, -4, 4) + 4 + 81 * (t == 0)) * JOINTS,
            ENVELOPE_FIRST[2] + ((clip(left - up_left, -4, 4) + 4) * 9 + clip(up - up2, -4, 4) + 4) * JOINTS,
            ENVELOPE_FIRST[3] + ((clip(before, -4, 4) + 4) * 9 + clip(up_right - up, -4, 4) + 4) * JOINTS,
            ENVELOPE_FIRST[4] + ((clip(mate, -4, 4) + 4) * 9 + clip(d1, -4, 4) + 4 + 81 * second) * JOINTS,
            ENVELOPE_FIRST[5] + clip(prediction, 0, 63) * JOINTS,
        )
        value = envelope[c, t, b] - prediction
        size = abs(value)
        row = ROW_ENVELOPE_FIRST + (JOINTS if second else 0)
        joint = 0
        got = 0
        negative = 0
        while got < ENVELOPE_MAX:
            for i in range(ENVELOPE_INPUTS):
                slots[i] = base[i] + joint
            bit = code_mixed(
                io,
                buffer,
                model,
                slots,
                ENVELOPE_INPUTS,
                row + joint,
                row + joint,
                ENVELOPE_RATE,
                COUNT_MAX,
                1 if size > got else 0,
            )
            if not bit:
                break
            got += 1
            if joint == 0:
                for i in range(ENVELOPE_INPUTS):
                    slots[i] = base[i] + 1
                negative = code_mixed(
                    io,
                    buffer,
                    model,
                    slots,
                    ENVELOPE_INPUTS,
                    row + 1,
                    row + 1,
                    ENVELOPE_RATE,
                    COUNT_MAX,
                    1 if value < 0 else 0,
                )
                joint = 1
            joint = min(joint + 1, JOINTS - 1)
        residual = -got if negative else got
        residuals[c, t, b] = residual
        envelope[c, t, b] = clip(prediction + residual, 0, ENVELOPE_MAX)


@compiled
def code_side(io, buffer, model, splits, envelope):  # pragma: no cover
    """Code or decode what comes before the coefficients of a segment: splits, uint8 [T], and the envelope,
    int32 [C, T, B], frame by frame.
    """
    channels, frames, bands = envelope.shape
    slots = np.zeros(N_INPUTS, np.int64)
    residuals = np.zeros((channels, frames, bands), np.int32)
    split = 0
    for t in range(frames):
        value = splits[t]
        code = 0
        for i in range(2):
            slots[0] = SPLIT_FIRST + split * 4 + (1 + i if i == 0 else 2 + code)
            bit = code_mixed(
                io, buffer, model, slots, 1, ROW_SINGLE, ROW_SINGLE, 0, COUNT_MAX, (value >> (1 - i)) & 1
            )
            code = 2 * code + bit
        split = code
        splits[t] = split
        for c in range(channels):
            code_envelope(io, buffer, model, slots, envelope, residuals, c, t, bands)


@compiled
def code_coefficients(io, buffer, model, tables, exponents, heights, splits, q, edges):  # pragma: no cover
    """Code or decode the coefficients of a segment.

    Args:
        model: (probabilities, counts, weights, stretch, squash, reciprocals); learns on the way.
        tables: (levels [4096], powers [2 POWER_RANGE + 1] Q12).
        exponents: of the steps, int64 [C, T, B], 1/32 octave.
        heights: of the envelope over the step, int64 [C, T, B], 1/32 octave; NOT_CODED: all coefficients of
            the band are 0.
        splits: uint8 [T].
        q: int32 [C, T, K].
        edges: of the bands, in bins, [B + 1].
    """
    levels, powers = tables
    channels, frames, bins = q.shape
    bands = len(edges) - 1
    slots = np.zeros(N_INPUTS, np.int64)
    base = np.zeros(N_INPUTS, np.int64)
    sizes = np.zeros((channels, 3, bins + 2 * PAD), np.int64)
    current = np.zeros(bins + 2 * PAD, np.int64)
    previous = np.zeros(bins + 2 * PAD, np.int64)
    older = np.zeros(bins + 2 * PAD, np.int64)
    mate = np.zeros(bins + 2 * PAD, np.int64)
    for t in range(frames):
        now, last, last2 = t % 3, (t + 2) % 3, (t + 1) % 3
        split = splits[t]
        for c in range(channels):
            second = c & 1
            current[:] = 0
            for b in range(bands):
                first, stop = edges[b], edges[b + 1]
                e = exponents[c, t, b]
                f1 = powers[clip(exponents[c, max(t - 1, 0), b] - e, -POWER_RANGE, POWER_RANGE) + POWER_RANGE]
                f2 = powers[clip(exponents[c, max(t - 2, 0), b] - e, -POWER_RANGE, POWER_RANGE) + POWER_RANGE]
                for k in range(first + PAD, stop + PAD):
                    previous[k] = min((sizes[c, last, k] * f1) >> 8, MAGNITUDE_MAX)
                    older[k] = min((sizes[c, last2, k] * f2) >> 8, MAGNITUDE_MAX)
                if second:
                    for k in range(first + PAD, stop + PAD):
                        mate[k] = min(sizes[c - 1, now, k] << 4, MAGNITUDE_MAX)
            for b in range(bands):
                first, stop = edges[b] + PAD, edges[b + 1] + PAD
                e = exponents[c, t, b]
                height = heights[c, t, b]
                if height == NOT_CODED:
                    for k in range(first, stop):
                        sizes[c, now, k] = 0
                        q[c, t, k - PAD] = 0
                    continue
                if b:
                    f = powers[clip(exponents[c, t, b - 1] - e, -POWER_RANGE, POWER_RANGE) + POWER_RANGE]
                    for k in range(first - 6, first):
                        current[k] = min((current[k] * f) >> 12, MAGNITUDE_MAX)
                expected = clip((height + 64) >> 3, 0, 47)
                for k in range(first, stop):
                    c1, c2, c3 = current[k - 1], current[k - 2], current[k - 3]
                    p0 = previous[k]
                    p1 = previous[k - 1] + previous[k + 1]
                    p2 = previous[k - 2] + previous[k + 2]
                    o0 = older[k]
                    o1 = older[k - 1] + older[k + 1]
                    near = (2 * c1 + c2) // 2
                    before = (2 * p0 + p1) // 2
                    if second:
                        m0 = mate[k]
                        m1 = mate[k - 1] + mate[k + 1]
                        total = (
                            4 * c1 + 3 * c2 + 2 * c3 + 4 * p0 + 2 * p1 + p2 + 2 * o0 + 4 * m0 + 2 * m1
                        ) >> 3
                        other = levels[min((2 * m0 + m1) // 2, MAGNITUDE_MAX)] >> 1
                    else:
                        total = (4 * c1 + 3 * c2 + 2 * c3 + 4 * p0 + 2 * p1 + p2 + 2 * o0) >> 3
                        other = (
                            levels[min((previous[k - 3] + previous[k + 3] + p2 + o1) // 2, MAGNITUDE_MAX)]
                            >> 1
                        )
                    wide = c1 + c2 + c3 + current[k - 4] + current[k - 5] + current[k - 6]
                    wide_before = (
                        p0 + p1 + p2 + previous[k - 3] + previous[k + 3] + previous[k - 4] + previous[k + 4]
                    )
                    lt = levels[min(total, MAGNITUDE_MAX)]
                    ln = min(levels[min(near, MAGNITUDE_MAX)] >> 1, 19)
                    lb = min(levels[min(before, MAGNITUDE_MAX)] >> 1, 19)
                    lo = min(levels[min((2 * o0 + o1) // 2, MAGNITUDE_MAX)] >> 1, 19)
                    lw = min(levels[min(wide // 2, MAGNITUDE_MAX)] >> 1, 19)
                    lv = min(levels[min(wide_before // 2, MAGNITUDE_MAX)] >> 1, 19)
                    half = min(lt >> 1, 19)
                    base[0] = SLOT_FIRST[0] + (lt * 12 + min(expected >> 2, 11)) * JOINTS
                    base[1] = SLOT_FIRST[1] + (ln * 20 + lb) * JOINTS
                    base[2] = (
                        SLOT_FIRST[2]
                        + (expected * 16 + min((c1 + 8) >> 4, 3) * 4 + min((c2 + 8) >> 4, 3)) * JOINTS
                    )
                    base[3] = SLOT_FIRST[3] + (min(b, 31) * 20 + half) * JOINTS
                    base[4] = SLOT_FIRST[4] + (lw * 20 + lv) * JOINTS
                    base[5] = (
                        SLOT_FIRST[5]
                        + ((lo * 5 + min((p0 + 8) >> 4, 4)) * 5 + min((c1 + 8) >> 4, 4)) * JOINTS
                    )
                    base[6] = SLOT_FIRST[6] + ((min(other, 19) * 13 + (lt >> 2)) * 2 + second) * JOINTS
                    base[7] = SLOT_FIRST[7] + (min(k - PAD, 63) * 20 + ln) * JOINTS
                    base[8] = SLOT_FIRST[8] + (lb * 20 + lo) * JOINTS
                    value = q[c, t, k - PAD]
                    size = abs(value)
                    got = 0
                    while got < UNARY:
                        for i in range(N_INPUTS):
                            slots[i] = base[i] + got
                        bit = code_mixed(
                            io,
                            buffer,
                            model,
                            slots,
                            N_INPUTS,
                            got + JOINTS * (split > 0),
                            ROW_SIZE_FIRST + min(got, 3) * 20 + half,
                            RATE,
                            COUNT_MAX,
                            1 if size > got else 0,
                        )
                        if not bit:
                            break
                        got += 1
                    if got == UNARY:
                        beyond = size - UNARY
                        got += code_escape(
                            io, buffer, model, slots, ESCAPE_FIRST, ROW_SINGLE, ESCAPE_BITS, COUNT_MAX, beyond
                        )
                    current[k] = min(got << 4, MAGNITUDE_MAX)
                    sizes[c, now, k] = got
                    if got and code_bit(io, buffer, HALF, 1 if value < 0 else 0):
                        got = -got
                    q[c, t, k - PAD] = got
