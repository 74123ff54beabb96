"""Probability tables of latents: Laplace densities over unit bins, as integer counts that every machine
computes alike.

    scale index k (0..95): b = 2^(k/8 - 6)        fraction index j (0..31): mean = (2 j - 31) / 64
    symbols s = -R..R, then "escape"; counts sum to 65536

exp(-x / 64 b) is a power of exp(-2^(-k/8)), which comes from integer square roots and a series in integers;
powers are products of 32-bit fractions, cut, in a fixed order. No floating-point number takes part.

Bounds: fractions are at most 2^32, so products are at most 2^64 - 2^33 and fit an unsigned 64-bit integer
once one factor is below 1.
"""

from __future__ import annotations

import functools
from math import isqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tersor.arrays import Numbers

SCALES, FRACTIONS = 96, 32  # F
STEPS_AN_OCTAVE, LOWEST_OCTAVE = 8, -6  # F
LARGEST = 127  # F: radius of a table, and largest latent
TOTAL = 1 << 16  # F
ONE = 1 << 32  # F


class Tables(NamedTuple):
    """Rows of cumulative counts, one after the other.

    Attributes:
        cumulative: uint32; row (k, j) begins at start[k] + j (2 R + 3) and runs from 0 to 65536.
        start: int64 [96].
        radius: int64 [96], R.
    """

    cumulative: NDArray[np.uint32]
    start: NDArray[np.int64]
    radius: NDArray[np.int64]


def _decay(k: int) -> int:
    """exp(-2^(-k/8)) in 32 fraction bits."""
    bits = 96
    root = 1 << bits  # 2^(k % 8 / 8), from square roots of 2
    for i, power in enumerate((4, 2, 1)):
        if k % 8 & power:
            value = 2 << bits
            for _ in range(i + 1):
                value = isqrt(value << bits)
            root = root * value >> bits
    x = (1 << 2 * bits) // root >> k // 8
    total = term = 1 << bits
    for n in range(1, 40):
        term = term * x // n >> bits
        total += -term if n % 2 else term
    return total >> bits - 32


def _powers(decay: int, count: int) -> NDArray[np.uint64]:
    """decay^0 .. decay^(count - 1), 32 fraction bits, each doubling of the list times one factor."""
    out = np.array([ONE], np.uint64)
    factor = decay
    while len(out) < count:
        out = np.concatenate([out, out * np.uint64(factor) >> np.uint64(32)])
        factor = factor * factor >> 32
    return out[:count]


def radius_of(k: int) -> int:
    """R of a scale: beyond it lies less than one count."""
    b64 = 1 << max(0, k // STEPS_AN_OCTAVE)  # 64 b, rounded down to an octave
    return min(LARGEST, 2 + (23 * b64 >> 6))


@functools.cache
def tables() -> Tables:
    """All tables; about 20 ms, once a process."""
    radius = np.array([radius_of(k) for k in range(SCALES)], np.int64)
    sizes = FRACTIONS * (2 * radius + 3)
    start = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    cumulative = np.zeros(int(sizes.sum()), np.uint32)
    for k in range(SCALES):
        n = int(sizes[k])
        cumulative[start[k] : start[k] + n] = _rows(k, int(radius[k])).ravel()
    return Tables(cumulative, start, radius)


def _rows(k: int, radius: int) -> Numbers:
    """Cumulative counts of a scale, [32, 2 R + 3]."""
    tail = _powers(_decay(k), 64 * radius + 128) >> np.uint64(1)
    mean = 2 * np.arange(FRACTIONS)[:, None] - (FRACTIONS - 1)
    edge = 64 * np.arange(-radius, radius + 2) - 32 - mean  # lower edges of -R..R+1, in 1/64 from the mean
    half = tail[np.abs(edge)].astype(np.int64)
    below = np.where(edge < 0, half, ONE - half)
    counts = np.empty((FRACTIONS, 2 * radius + 2), np.int64)
    counts[:, :-1] = np.diff(below, axis=1)
    counts[:, -1] = ONE - counts[:, :-1].sum(1)
    counts = 1 + (counts * (TOTAL - counts.shape[1]) >> 32)
    counts[:, radius] += TOTAL - counts.sum(1)
    return np.concatenate([np.zeros((FRACTIONS, 1), np.int64), np.cumsum(counts, axis=1)], axis=1)
