"""Least squares in integers: the weights that would have predicted the recent past best, the same on every
machine.

    window of the mate | window of the channel, its newest value last
      --products of all pairs, summed over the block, the past fading--> sums --Cholesky, the newest value as
      the last row--> L --back substitution--> weights

The sums of a block cost one row and one column of dot products: along a diagonal they differ from their
neighbours by what enters and what leaves. Variables are scaled by powers of two to variances in [2^58, 2^60),
so factors are below 2^30 and, by Cauchy and Schwarz, no sum leaves 63 bits. A variable that those before it
explain has no pivot left and gets no weight.

Source: covariance method of linear prediction (Atal and Hanauer 1971); solved again for every block as in Sac
(Lehmann).
"""

from __future__ import annotations

import numpy as np

from tersor.entropy.binarise import bit_length
from tersor.entropy.compiled import compiled, inlined

# F, all of them.
WEIGHT_BITS = 20
MEMORY = 3  # of the sums, 2^-MEMORY fade with each block
# added to the sum of squares of each variable: samples are rounded, so nothing finer is to be explained
NOISE = 256
RIDGE = 30  # 2^-RIDGE of its own is added as well, and less than that is no pivot
SCALED_LIMIT = 1 << 27  # of a weight between scaled variables; 48 of them times 2^30 stay below 2^63
WEIGHT_LIMIT = (1 << 31) - 1


@inlined
def dot(a, row, i, b, column, j, n):  # pragma: no cover
    """Sum of products of a[row, i : i + n] and b[column, j : j + n], int32. (No slices, which count
    references; unsigned indices, which need no test of sign.)
    """
    total = np.int64(0)
    for t in range(n):
        total += np.int64(a[row, np.uintp(i + t)]) * np.int64(b[column, np.uintp(j + t)])
    return total


@compiled
def square_root(v):  # pragma: no cover
    """Floor of the root, 0 <= v <= 2^60."""
    root, bit = np.int64(0), np.int64(1) << 60
    while bit:
        if v >= root + bit:
            v -= root + bit
            root += 2 * bit
        root >>= 1
        bit >>= 2
    return root


@compiled
def fade(sums):  # pragma: no cover
    """Forget a part of the past."""
    for i in range(len(sums)):
        for j in range(len(sums)):
            sums[i, j] -= sums[i, j] >> MEMORY


@compiled
def add_products(
    sums, first_row, first_column, history, a, i0, height, b, j0, width, n, rows
):  # pragma: no cover
    """sums[first_row + i, first_column + j] += sum over t < n of history[a, i0 + i + t] history[b, j0 + j +
    t], for i < height and j < width.

    Args:
        rows: int64 [2, at least width], overwritten.
    """
    for j in range(width):
        rows[0, j] = dot(history, a, i0, history, b, j0 + j, n)
    for i in range(height):
        now, then = i & 1, (i + 1) & 1
        for j in range(width):
            sums[first_row + i, np.uintp(first_column + j)] += rows[now, j]
        if i < height - 1:
            rows[then, 0] = dot(history, a, i0 + i + 1, history, b, j0, n)
            left, came = np.int64(history[a, i0 + i]), np.int64(history[a, i0 + i + n])
            for j in range(width - 1):
                change = came * np.int64(history[b, np.uintp(j0 + j + n)]) - left * np.int64(
                    history[b, np.uintp(j0 + j)]
                )
                rows[then, np.uintp(j + 1)] = rows[now, j] + change


@compiled
def solve(sums, factor, shifts, row, weights):  # pragma: no cover
    """Weights of all variables but the last that predict the last.

    Args:
        sums: int64 [D, D], of products; what is above the diagonal is not read.
        factor, shifts, row: int32 [D, D], int64 [D], int64 [D]; overwritten.
        weights: int32 [D - 1], in units of 2^-WEIGHT_BITS.
    """
    target = len(sums) - 1
    for i in range(target + 1):
        shifts[i] = (bit_length(sums[i, i] + NOISE) - 59) >> 1
        for j in range(i + 1):
            v = sums[i, j] + (NOISE if i == j else 0)
            shift = shifts[i] + shifts[j]
            row[j] = v >> shift if shift >= 0 else v << -shift
        row[i] += row[i] >> RIDGE
        rest, least = row[i], row[i] >> RIDGE
        for j in range(i):
            v = np.int64(0)
            if factor[j, j] and rest > least:
                v = (row[j] - dot(factor, i, 0, factor, j, 0, j)) // factor[j, j]
                if abs(v) >= 1 << 30:
                    v = rest = np.int64(0)
                rest -= v * v
            factor[i, j] = v
        factor[i, i] = square_root(rest) if rest > least else 0
    for i in range(target):
        row[i] = np.int64(factor[target, i]) << WEIGHT_BITS
    for i in range(target - 1, -1, -1):
        v = row[i] // factor[i, i] if factor[i, i] else np.int64(0)
        v = min(max(v, -SCALED_LIMIT), SCALED_LIMIT)
        for j in range(i):
            row[j] -= np.int64(factor[i, j]) * v
        shift = shifts[target] - shifts[i]
        v = v << min(shift, 32) if shift >= 0 else v >> -shift
        weights[i] = min(max(v, -WEIGHT_LIMIT), WEIGHT_LIMIT)
