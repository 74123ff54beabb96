"""Tables of the picture coders' arithmetic, computed in integers, so that every machine has the same.

    stretch      logit of a 12-bit probability          squash   its inverse, 16 bits
    reciprocals  what an average of n values moves by   levels   four steps an octave
    cumulative   a distribution of prediction errors, in units of their mean size

Nothing here is learned: coders start from these tables alone and files name no weights.
"""

from __future__ import annotations

import bisect
import functools
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

STRETCH_MAX = 2815  # F of a logit, in 1/256: the probability there is 1.1 / 65536
LIMIT_LEVELS = 4096  # F arguments of the table of levels
CUMULATIVE_SIZE = 8192  # F 16 mean sizes to either side, in 1/256
COUNTS = 1024  # F of the table of reciprocals
SLOPE = (
    26  # F of the logistic distribution whose mean size is about 1, in 1/16 (2 ln 2 = 22/16; sharper paid)
)
FIXED = 1 << 80  # F


class Tables(NamedTuple):
    """What compiled loops take; all int32.

    Attributes:
        stretch: [4096], logit of (i + 1/2) / 4096 in 1/256.
        squash: [2 STRETCH_MAX + 2], 65536 / (1 + e^-x) of x = (i - STRETCH_MAX - 1) / 256, in 1 .. 65535.
        reciprocals: [COUNTS], 65536 / (n + 3/2).
        levels: [LIMIT_LEVELS], 0 of 0, then 1 + floor(4 log2 v), at most 63.
        cumulative: [CUMULATIVE_SIZE], 2^30 times the logistic distribution.
    """

    stretch: NDArray[np.int32]
    squash: NDArray[np.int32]
    reciprocals: NDArray[np.int32]
    levels: NDArray[np.int32]
    cumulative: NDArray[np.int32]


def exponentials(numerator: int, denominator: int, n: int) -> list[int]:
    """e^(-i numerator / denominator) for i < n, times FIXED."""
    grown, term, k = 0, FIXED, 0
    while term:  # the series of e^x
        grown += term
        k += 1
        term = term * numerator // (denominator * k)
    powers = [FIXED]
    for _ in range(n - 1):
        powers.append(powers[-1] * FIXED // grown)
    return powers


def divided(a: int, b: int) -> int:
    """a / b, rounded; of positive numbers."""
    return (2 * a + b) // (2 * b)


@functools.cache
def tables() -> Tables:
    """The tables, computed once."""
    half = exponentials(1, 512, 2 * STRETCH_MAX + 2)  # of half steps of the logit
    borders = [FIXED * FIXED // (FIXED + half[2 * k + 1]) for k in range(STRETCH_MAX)]  # of k and k + 1
    upper = [bisect.bisect_right(borders, (2 * i + 1) * FIXED // 8192) for i in range(2048, 4096)]
    right = [min(divided(65536 * FIXED, FIXED + half[2 * k]), 65535) for k in range(STRETCH_MAX + 1)]
    squash = [65536 - p for p in reversed(right)] + right[1:]
    tails = exponentials(SLOPE, 16 * 256, CUMULATIVE_SIZE // 2 + 1)
    above = [divided(FIXED << 30, FIXED + e) for e in tails]
    return Tables(
        stretch=np.array([-s for s in reversed(upper)] + upper, np.int32),
        squash=np.array([squash[0], *squash], np.int32),
        reciprocals=np.array([divided(131072, 2 * n + 3) for n in range(COUNTS)], np.int32),
        levels=np.array([0, *((v**4).bit_length() for v in range(1, LIMIT_LEVELS))], np.int32),
        cumulative=np.array([(1 << 30) - f for f in reversed(above[1:])] + above[:-1], np.int32),
    )
