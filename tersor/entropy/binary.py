"""Adaptive binary coding with mixed contexts, in integers: what every machine computes alike.

A decision (one bit) has several contexts; each names a slot that holds a probability. The slots' opinions are
stretched (logit), mixed by a weight set that a small context selects, squashed to one probability, and coded
by a binary range coder. Then slots and weights learn from the bit, in encoder and decoder alike. What they
know at the start of a payload was learned in training and is part of the release.

    slots: 22-bit probabilities + counts --stretch--> inputs, Q8 --weights, Q16--> sum --squash--> P(bit = 1),
    16 bits --> range coder

The tables of stretch and squash come from the weights file, so no machine's logarithm takes part. One
function codes and decodes (`io[DECODING]`), so the two cannot differ.

Source: Mahoney 2005, "Adaptive Weighing of Context Models for Lossless Data Compression" (logistic mixing);
Witten et al. 1987 (range coding).
"""

from __future__ import annotations

import numpy as np

from tersor.entropy.compiled import compiled, inlined

# F, all of them.
LOW, HIGH, CODE, AT, DECODING, LIMIT = range(6)
PROBABILITY_BITS = 22
COUNT_MAX = 255
STRETCH_MAX = 2047
MIX_SHIFT = 20


def new_io(decoding: bool) -> np.ndarray:
    """State of the range coder: low, high, code, position in the buffer, whether it decodes, bytes of the
    buffer that count.
    """
    return np.array([0, 0xFFFFFFFF, 0, 0, decoding, 0], np.int64)


@compiled
def start_decoding(io, buffer, size):  # pragma: no cover
    """Read the first word."""
    io[LIMIT] = size
    for _ in range(4):
        io[CODE] = (io[CODE] << 8) | (buffer[io[AT]] if io[AT] < size else 0)
        io[AT] += 1


@inlined
def code_bit(io, buffer, p, bit):  # pragma: no cover
    """Code a bit whose probability of being 1 is p / 65536, 0 < p < 65536; returns it. Past its end a buffer
    reads as zeros, and takes no more bytes.
    """
    low, high = io[LOW], io[HIGH]
    extent = high - low
    middle = low + (extent >> 16) * p + (((extent & 0xFFFF) * p) >> 16)
    if io[DECODING]:
        bit = 1 if io[CODE] <= middle else 0
    if bit:
        high = middle
    else:
        low = middle + 1
    while (low ^ high) & 0xFF000000 == 0:
        at = io[AT]
        if io[DECODING]:
            io[CODE] = ((io[CODE] << 8) & 0xFFFFFFFF) | (buffer[at] if at < io[LIMIT] else 0)
        elif at < len(buffer):
            buffer[at] = high >> 24
        io[AT] = at + 1
        low = (low << 8) & 0xFFFFFFFF
        high = ((high << 8) & 0xFFFFFFFF) | 0xFF
    io[LOW], io[HIGH] = low, high
    return bit


@compiled
def finish_encoding(io, buffer):  # pragma: no cover
    """Write the fewest bytes that name a number inside the interval, whatever follows them."""
    for n in range(1, 5):
        shift = 32 - 8 * n
        value = ((io[LOW] + (1 << shift) - 1) >> shift) << shift
        if value + (1 << shift) - 1 <= io[HIGH]:
            break
    for i in range(n):
        if io[AT] < len(buffer):
            buffer[io[AT]] = (value >> (24 - 8 * i)) & 0xFF
        io[AT] += 1


@inlined
def code_mixed(io, buffer, model, slots, n, first, second, rate, count_max, bit):  # pragma: no cover
    """Code a bit under n contexts.

    Args:
        model: (probabilities, counts, weights, stretch, squash, reciprocals).
        slots: of the contexts, [n].
        first, second: rows of the weights; their two sums are averaged.
        rate: of learning the weights.
        count_max: a slot forgets what is longer ago than this.
    """
    probabilities, counts, weights, stretch, squash, reciprocals = model
    total = np.int64(0)
    for i in range(n):
        total += np.int64(stretch[probabilities[slots[i]] >> (PROBABILITY_BITS - 12)]) * (
            np.int64(weights[first, i]) + weights[second, i]
        )
    total >>= 17
    if total > STRETCH_MAX:
        total = np.int64(STRETCH_MAX)
    if total < -STRETCH_MAX:
        total = np.int64(-STRETCH_MAX)
    p = np.int64(squash[total + STRETCH_MAX + 1])
    bit = code_bit(io, buffer, p, bit)
    error = ((bit << 16) - p) * rate
    target = (bit << PROBABILITY_BITS) - bit
    for i in range(n):
        slot = slots[i]
        q = np.int64(probabilities[slot])
        step = (stretch[q >> (PROBABILITY_BITS - 12)] * error + (1 << (MIX_SHIFT - 1))) >> MIX_SHIFT
        weights[first, i] += step
        weights[second, i] += step
        c = counts[slot]
        probabilities[slot] = q + (((target - q) * reciprocals[c]) >> 16)
        counts[slot] = c + (1 if c < count_max else 0)
    return bit
