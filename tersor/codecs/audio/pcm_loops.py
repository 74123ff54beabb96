"""The compiled loops of lossless sound: integer prediction by a cascade of adaptive filters, residuals
through the adaptive coder.

    sample - least squares over both channels - 512 - 128 - 32 - 16 values back = residual
             (pcm_squares.py)                   (each predicts what the stages before it left, by least mean
             squares, times a gain)

The first stage is solved again after every block of 64; the later ones learn after every sample, a filter
from its own error and its gain from the sign of the residual. All of it is integer arithmetic on the past: no
side information is sent and every machine predicts alike. A residual's magnitude is coded as a quotient by a
power of two that follows recent magnitudes (its bits under mixed contexts), the bits below it, and a sign.

Bounds: samples are below 2^23 and what stages leave is kept below 2^24, so 512 products with weights below
2^28 stay below 2^61. A step of a filter is at most error 2^(20 - SPEED) |h| / (h^2 + 16 taps) <= 2^18 2^17 /
(8 sqrt(16)) = 2^30 units of its weights: int32 holds the sum.

Source: Widrow and Hoff 1960 (LMS); cascades of such filters: Ashland, Monkey's Audio (2000); gains of stages
by signs: RLS-LMS mode of MPEG-4 ALS (ISO/IEC 14496-3).
"""

from __future__ import annotations

import numpy as np

from tersor.codecs.audio.pcm_least_squares import WEIGHT_BITS, add_products, dot, fade, solve
from tersor.entropy.binarise import HALF, bit_length, clip, code_escape
from tersor.entropy.binary import code_bit, code_mixed
from tersor.entropy.compiled import compiled, inlined

# F, all of them: filters, contexts, limits and rates of learning are the format. Other ones need other tables
# and a version of the payload.
UNARY = 20
JOINTS = 24
ESCAPE_BITS = 25
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

AVERAGE_BITS = 6

BLOCK = 64
OWN, MATE = 24, 12  # values that the least squares see of a channel and of its mate
TAPS = (512, 128, 32, 16)
STAGES = len(TAPS)
PAST = max(OWN, MATE, *TAPS)
SPEED = 3  # filters take 2^-SPEED of the step that would undo an error
GAIN_BITS, GAIN_STEP = 16, 64
WEIGHT_LIMIT = 1 << 28
ERROR_LIMIT = 1 << 18
STAGE_LIMIT = 1 << 24


@compiled
def level_of(v):  # pragma: no cover
    """Quarter octaves of a magnitude, v >= 0: 0 for 0, then 1 + floor(4 log2 v), by the two bits below the
    highest.
    """
    if v == 0:
        return 0
    octave = bit_length(v) - 1
    return 1 + 4 * octave + (((v << 2) >> octave) & 3)


@inlined
def rounded(total):  # pragma: no cover
    """Sum of weights times values, in units of the values."""
    return (total + (1 << (WEIGHT_BITS - 1))) >> WEIGHT_BITS


@inlined
def adapt(weights, history, row, at, taps, error, power):  # pragma: no cover
    """One step of normalised LMS over the last values before `at`; power is the sum of their squares."""
    factor = (clip(error, -ERROR_LIMIT, ERROR_LIMIT) << (40 - SPEED)) // (power + 16 * taps)
    step = np.int32(clip(factor, -(1 << 31) + 1, (1 << 31) - 1))
    for i in range(taps):
        w = np.int32(
            weights[row, i]
            + ((np.int64(step) * np.int64(history[row, np.uintp(at - taps + i)]) + (1 << 19)) >> 20)
        )
        weights[row, i] = np.int32(min(max(w, np.int32(-WEIGHT_LIMIT)), np.int32(WEIGHT_LIMIT)))


@compiled
def learn_squares(history, own, mate, now, n, sums, factor, shifts, rows, weights):  # pragma: no cover
    """Take the n newest values after PAST into the sums of a channel and solve for its weights.

    Args:
        history: int32 [C, PAST + BLOCK].
        own, mate: the channels.
        now: 1 where the mate's value of the same time is known, else 0.
        weights: int32, of the mate's values, then of the channel's, oldest first.
    """
    mates = len(weights) - OWN
    x, y = PAST - OWN, PAST - mates + now
    fade(sums)
    add_products(sums, 0, 0, history, mate, y, mates, mate, y, mates, n, rows)
    add_products(sums, mates, 0, history, own, x, OWN + 1, mate, y, mates, n, rows)
    add_products(sums, mates, mates, history, own, x, OWN + 1, own, x, OWN + 1, n, rows)
    solve(sums, factor, shifts, rows[0], weights)


@compiled
def code_pcm(io, buffer, model, x, bits):  # pragma: no cover
    """Code or decode samples x, int64 [n, C], in place; -2^bits <= x < 2^bits, bits <= 23.

    It is one long function because calls with arrays count references, which took as long as the arithmetic.
    """
    n, channels = x.shape
    low, high = -(np.int64(1) << bits), (np.int64(1) << bits) - 1
    mates = MATE if channels > 1 else 0
    slots = np.zeros(N_INPUTS, np.int64)
    base = np.zeros(N_INPUTS, np.int64)
    history = np.zeros((channels, PAST + BLOCK), np.int32)
    variables = mates + OWN + 1
    square_weights = np.zeros((channels, variables - 1), np.int32)
    sums = np.zeros((channels, variables, variables), np.int64)
    factor = np.zeros((variables, variables), np.int32)
    shifts = np.zeros(variables, np.int64)
    rows = np.zeros((2, variables), np.int64)
    left = np.zeros((STAGES * channels, PAST + BLOCK), np.int32)
    weights = np.zeros((STAGES * channels, PAST), np.int32)
    power = np.zeros(STAGES * channels, np.int64)
    gain = np.full(STAGES * channels, 1 << GAIN_BITS, np.int64)
    guess = np.zeros(STAGES, np.int64)
    fast = np.zeros(channels, np.int64)
    medium = np.zeros(channels, np.int64)
    slow = np.zeros(channels, np.int64)
    last = np.zeros((channels, 2), np.int64)
    for first in range(0, n, BLOCK):
        size_of_block = min(BLOCK, n - first)
        for t in range(first, first + size_of_block):
            at = PAST + t - first
            for c in range(channels):
                other = c ^ 1 if c ^ 1 < channels else (c - 1 if c else c)
                now = 1 if other < c else 0
                total = dot(square_weights, c, mates, history, c, at - OWN, OWN) + dot(
                    square_weights, c, 0, history, other, at - mates + now, mates
                )
                first_guess = clip(rounded(total), low, high)
                total = np.int64(0)
                for s in range(STAGES):
                    row = s * channels + c
                    guess[s] = clip(
                        rounded(dot(weights, row, 0, left, row, at - TAPS[s], TAPS[s])),
                        -STAGE_LIMIT,
                        STAGE_LIMIT,
                    )
                    total += gain[row] * guess[s]
                prediction = clip(first_guess + (total >> GAIN_BITS), low, high)
                # contexts: levels of recent magnitudes, of the last two, of the mate's last
                lf, lm, ls = level_of(fast[c]), level_of(medium[c]), level_of(slow[c])
                k = max(0, (lm - 1) // 4 - AVERAGE_BITS - 1)
                mate = level_of(last[other, 0] << 4) if other != c else 0
                base[0] = SLOT_FIRST[0] + min(lm, 127) * JOINTS
                base[1] = SLOT_FIRST[1] + (min(lm >> 2, 31) * 9 + clip(lf - lm, -4, 4) + 4) * JOINTS
                base[2] = SLOT_FIRST[2] + min(lf, 127) * JOINTS
                base[3] = SLOT_FIRST[3] + (clip(mate - lm + 48, 0, 47) * 3 + min(c, 1) + now) * JOINTS
                a1, a2 = level_of(last[c, 0] << 4), level_of(last[c, 1] << 4)
                base[4] = (
                    SLOT_FIRST[4]
                    + (clip((a1 - lm + 40) >> 1, 0, 23) * 24 + clip((a2 - lm + 40) >> 1, 0, 23)) * JOINTS
                )
                base[5] = SLOT_FIRST[5] + (min(ls >> 1, 39) * 9 + clip(lm - ls, -4, 4) + 4) * JOINTS
                # quotient, remainder, sign
                wanted = x[t, c] - prediction
                size = abs(wanted)
                upper, got = size >> k, np.int64(0)
                while got < UNARY:
                    for i in range(N_INPUTS):
                        slots[i] = base[i] + got
                    if not code_mixed(
                        io,
                        buffer,
                        model,
                        slots,
                        N_INPUTS,
                        got,
                        ROW_K_FIRST + min(k, 39),
                        RATE,
                        COUNT_MAX,
                        1 if upper > got else 0,
                    ):
                        break
                    got += 1
                if got == UNARY:
                    beyond = upper - UNARY
                    got += code_escape(
                        io, buffer, model, slots, ESCAPE_FIRST, ROW_SINGLE, ESCAPE_BITS, COUNT_MAX, beyond
                    )
                coded = got
                if k:
                    bit = (size >> (k - 1)) & 1
                    if got < 3:
                        slots[0] = base[0] + UNARY + got
                        bit = code_mixed(
                            io, buffer, model, slots, 1, ROW_SINGLE, ROW_SINGLE, 0, COUNT_MAX, bit
                        )
                    else:
                        bit = code_bit(io, buffer, HALF, bit)
                    coded = 2 * got + bit
                for i in range(k - 2, -1, -1):
                    coded = 2 * coded + code_bit(io, buffer, HALF, (size >> i) & 1)
                residual = -coded if coded and code_bit(io, buffer, HALF, 1 if wanted < 0 else 0) else coded
                # learn
                value = clip(prediction + residual, low, high)
                x[t, c] = value
                size = min(coded, 1 << 26)
                fast[c] += ((size << (AVERAGE_BITS + 4)) - fast[c] * 16 + 64) >> 7
                medium[c] += ((size << (AVERAGE_BITS + 4)) - medium[c] * 16 + 256) >> 9
                slow[c] += ((size << (AVERAGE_BITS + 4)) - slow[c] * 16 + 2048) >> 12
                last[c, 1] = last[c, 0]
                last[c, 0] = size
                history[c, at] = value
                turn = GAIN_STEP if residual > 0 else -GAIN_STEP if residual < 0 else 0
                rest = value - first_guess
                for s in range(STAGES):
                    row = s * channels + c
                    gone = np.int64(left[row, at - TAPS[s]])
                    left[row, at] = rest
                    square = rest * rest
                    adapt(weights, left, row, at, TAPS[s], rest - guess[s], power[row])
                    rest = clip(rest - ((gain[row] * guess[s]) >> GAIN_BITS), -STAGE_LIMIT, STAGE_LIMIT)
                    power[row] += square - gone * gone
                    gain[row] += turn if guess[s] > 0 else -turn if guess[s] < 0 else 0
        if first + size_of_block == n:
            break
        for c in range(channels):
            other = c ^ 1 if c ^ 1 < channels else (c - 1 if c else c)
            learn_squares(
                history,
                c,
                other,
                1 if other < c else 0,
                size_of_block,
                sums[c],
                factor,
                shifts,
                rows,
                square_weights[c],
            )
        for c in range(channels):
            history[c, :PAST] = history[c, BLOCK:]
        for row in range(STAGES * channels):
            left[row, :PAST] = left[row, BLOCK:]
