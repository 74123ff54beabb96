"""Least squares in integers for pictures: the weights that would have predicted the neighbourhood best.

    sums of products, fading from row to row --LDL' of the matrix, the target as its last row--> factors
    --back substitution--> weights

Products are of samples less a local mean, times 64 over the size of errors there, so that a busy place counts
no more than a quiet one; 2047 is the most such a value can be. Bounds of `solve`: sums are shifted until none
is 2^30 or more, then RIDGE is added to the diagonal. What the shift and the fading round away is below
2^10 in norm, so the matrix stays positive definite: no pivot falls below RIDGE / 2 = 2^10 and no later entry
exceeds 2^31. So |factor| <= 2^30 (it is clipped), a product of both stays below 2^62, and weights below 2^27,
40 of them, times factors stay below 2^63.

Source: Li and Orchard 2001, "Edge-Directed Prediction for Lossless Compression of Natural Images" (least
squares over a causal window); Hoerl and Kennard 1970 (ridge regression).
"""

from __future__ import annotations

import numpy as np

from tersor.entropy.binarise import bit_length
from tersor.entropy.compiled import compiled

# F, all of them; M: those were measured with tools/studies.py lossless.
WEIGHT_BITS = 20
RIDGE = 2048  # M half the square of a typical error
WEIGHT_MAX = 1 << 27


@compiled
def solve(sums, n, weights, column):  # pragma: no cover
    """Weights of the first n variables that predict the variable n.

    Args:
        sums: int64, at least [n + 1, n + 1], of products on and below the diagonal. Overwritten.
        weights: int64, at least [n], in units of 2^-WEIGHT_BITS.
        column: int64, at least [n + 1], overwritten.
    """
    largest = np.int64(0)
    for i in range(n + 1):
        largest = max(largest, sums[i, i])
    shift = max(bit_length(largest) - 30, 0)
    if shift:
        for i in range(n + 1):
            for j in range(i + 1):
                sums[i, j] >>= shift
    for i in range(n):
        sums[i, i] += RIDGE
    for k in range(n):
        pivot = max(sums[k, k], np.int64(RIDGE >> 1))
        bits = bit_length(pivot)
        reciprocal = (np.int64(1) << (30 + bits)) // pivot
        for i in range(k + 1, n + 1):
            column[i] = sums[i, k]
        for i in range(k + 1, n + 1):
            factor = (column[i] * reciprocal) >> (bits + 10)
            factor = min(max(factor, -(1 << 30)), 1 << 30)
            sums[i, k] = factor
            for j in range(k + 1, i + 1):
                sums[i, j] -= (factor * column[j]) >> WEIGHT_BITS
    for k in range(n):
        column[k] = sums[n, k]
    for k in range(n - 1, -1, -1):
        v = min(max(column[k], -WEIGHT_MAX), WEIGHT_MAX)
        weights[k] = v
        for j in range(k):
            column[j] -= (sums[k, j] * v) >> WEIGHT_BITS


@compiled
def add_products(sums, values, n):  # pragma: no cover
    """Add the products of all pairs of the first n + 1 values, on and below the diagonal."""
    for i in range(n + 1):
        v = values[i]
        for j in range(i + 1):
            sums[i, j] += v * values[j]


@compiled
def fade(sums, n, shift):  # pragma: no cover
    """Forget 2^-shift of the sums."""
    for i in range(n + 1):
        for j in range(i + 1):
            sums[i, j] -= sums[i, j] >> shift


@compiled
def take(target, source, n, shift):  # pragma: no cover
    """Overwrite sums with 2^-shift of others."""
    for i in range(n + 1):
        for j in range(i + 1):
            target[i, j] = source[i, j] >> shift


@compiled
def gather(target, blocks, first, end, n):  # pragma: no cover
    """Add the sums of the blocks first .. end - 1."""
    for b in range(max(first, 0), min(end, len(blocks))):
        for i in range(n + 1):
            for j in range(i + 1):
                target[i, j] += blocks[b, i, j]


@compiled
def gather_few(target, blocks, first, end, n, few):  # pragma: no cover
    """Overwrite with the sums of the blocks first .. end - 1, of the first variables and the target only."""
    for i in range(few + 1):
        row = n if i == few else i
        for j in range(i + 1):
            column = n if j == few else j
            v = np.int64(0)
            for b in range(max(first, 0), min(end, len(blocks))):
                v += blocks[b, row, column]
            target[i, j] = v


@compiled
def pass_on(block, slow, chunk, n, shift):  # pragma: no cover
    """Add 2^-shift of a block's sums to two that fade more slowly."""
    for i in range(n + 1):
        for j in range(i + 1):
            v = block[i, j] >> shift
            slow[i, j] += v
            chunk[i, j] += v
