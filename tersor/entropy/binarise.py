"""Integers as decisions for the adaptive binary coder: what loops of several codecs share.

A magnitude is coded in unary under mixed contexts up to a limit, by a loop around `code_mixed` in each codec;
what lies beyond, by `code_escape`. Those loops stay where they are: a function around them, compiled into its
caller, passes the arrays of the model once more for every integer, which took 30 % more time in sound.

Source: Exp-Golomb codes, Teuhola 1978; unary with an Exp-Golomb suffix: UEGk of H.264, 9.3.2.3.
"""

from __future__ import annotations

import numpy as np

from tersor.entropy.binary import code_bit, code_mixed
from tersor.entropy.compiled import compiled

HALF = 32768  # F: a probability of one half, of 65536


@compiled
def clip(v, low, high):  # pragma: no cover
    """v, or the end of the range that it lies beyond."""
    return min(max(v, low), high)


@compiled
def bit_length(v):  # pragma: no cover
    """Bits of v, 0 <= v < 2^63."""
    n = 0
    for step in (32, 16, 8, 4, 2, 1):
        if v >> step:
            v >>= step
            n += step
    return n + (1 if v else 0)


@compiled
def code_escape(io, buffer, model, slots, first, row, bits, count_max, value):  # pragma: no cover
    """Code an integer >= 0, mostly small, in Exp-Golomb form; returns it. The exponent comes in unary, under
    one adaptive context a question; the bits below it are as likely 0 as 1.

    Args:
        slots: room for one.
        first: slot of the first question, `bits` of them.
        row: of the weights, whose one input passes its opinion on.
        bits: largest exponent; the value is below 2^(bits + 1) - 1, so int64 holds it for bits <= 61.
    """
    exponent = 0
    while exponent < bits:
        slots[0] = first + exponent
        more = 1 if (value + 1) >> (exponent + 1) else 0
        if not code_mixed(io, buffer, model, slots, 1, row, row, 0, count_max, more):
            break
        exponent += 1
    out = np.int64(1)
    for i in range(exponent - 1, -1, -1):
        out = (out << 1) | code_bit(io, buffer, HALF, ((value + 1) >> i) & 1)
    return out - 1
