"""Adaptive binary code of small signed integers: what the networks' parameters are written with.

    value -> zero? | sign | magnitude - 1 in unary up to 14, each with its own adaptive probability |
    exp-Golomb rest

Probabilities start at 1/2 and are counts: (ones + 1/2) / (all + 1), so a group of some hundred values costs
little more than its entropy. Bounds: counts stay below 2^15, so every product fits 32 bits.
"""

from __future__ import annotations

import numpy as np

from tersor.entropy.binary import code_bit
from tersor.entropy.compiled import compiled

# F, all of them.
CONTEXTS = 17  # zero, sign (never learns), 15 of the magnitude
UNARY = 14
MAX_EXPONENT = 20
HALF = 1 << 15


@compiled
def plain_bit(io, buffer, p, bit):  # pragma: no cover
    """`code_bit`, once: it would be compiled into every place that calls it."""
    return code_bit(io, buffer, p, bit)


@compiled
def adaptive_bit(io, buffer, counts, c, bit):  # pragma: no cover
    """Code a bit by counts[c] = (ones, all)."""
    p = ((2 * counts[c, 0] + 1) << 15) // (counts[c, 1] + 1)
    p = min(max(p, 64), 65536 - 64)
    bit = plain_bit(io, buffer, p, bit)
    counts[c, 0] += bit
    counts[c, 1] += 1
    if counts[c, 1] >= 32000:
        counts[c, 0] >>= 1
        counts[c, 1] >>= 1
    return bit


@compiled
def code_values(io, buffer, values, counts):  # pragma: no cover
    """Write, or read, int32 values [n]; -> False if one is too long to be ours. counts: int64 [17, 2]."""
    for i in range(values.size):
        v = np.int64(values[i])
        if adaptive_bit(io, buffer, counts, 0, 1 if v == 0 else 0):
            values[i] = 0
            continue
        negative = plain_bit(io, buffer, HALF, 1 if v < 0 else 0)
        rest = abs(v) - 1
        size = 0
        while size < UNARY and adaptive_bit(io, buffer, counts, 2 + size, 1 if rest > size else 0):
            size += 1
        if size == UNARY:  # exp-Golomb, order 0, of what is left
            left = rest - UNARY + 1
            bits = 0
            while bits < MAX_EXPONENT and plain_bit(io, buffer, HALF, 1 if (left >> (bits + 1)) > 0 else 0):
                bits += 1
            if bits == MAX_EXPONENT:
                return False
            got = np.int64(1)
            for b in range(bits - 1, -1, -1):
                got = 2 * got + plain_bit(io, buffer, HALF, (left >> b) & 1)
            size = UNARY + got - 1
        values[i] = -(size + 1) if negative else size + 1
    return True
