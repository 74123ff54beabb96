"""Least squares in integers: the weights that would have predicted the recent past best, the same on every machine.

    window of the mate | window of the channel, its newest value last
      --products of all pairs, summed over the block, the past fading--> sums --Cholesky, the newest value as the last row--> L --back substitution--> weights

The sums of a block cost one row and one column of dot products: along a diagonal they differ from their neighbours by what enters and what leaves. Variables are scaled
by powers of two to variances in [2^58, 2^60), so factors are below 2^30 and, by Cauchy and Schwarz, no sum leaves 63 bits. A variable that those before it explain
has no pivot left and gets no weight.

Source: covariance method of linear prediction (Atal and Hanauer 1971); solved again for every block as in Sac (Lehmann).
"""

from __future__ import annotations

import numpy as np

from tersor.entropy.compiled import compiled

WEIGHT_BITS = 20
MEMORY = 3  # of the sums, 2^-MEMORY fade with each block
RIDGE = 24  # 2^-RIDGE of its variance is added to each variable
PIVOT = 28  # less than 2^-PIVOT of a variance is no pivot
SCALED_LIMIT = 1 << 27  # of a weight between scaled variables; 48 of them times 2^30 stay below 2^63
WEIGHT_LIMIT = (1 << 31) - 1


@compiled
def dot(a, b):  # pragma: no cover
    """Sum of products of two int32 vectors of one length. (Slices, not offsets: only then is the loop compiled to vector instructions.)"""
    total = np.int64(0)
    for i in range(len(a)):
        total += np.int64(a[i]) * np.int64(b[i])
    return total


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
        row = sums[i]
        for j in range(len(row)):
            row[j] -= row[j] >> MEMORY


@compiled
def add_products(sums, first_row, a, first_column, b, n, rows):  # pragma: no cover
    """sums[first_row + i, first_column + j] += sum over t < n of a[t + i] b[t + j].

    Args:
        a, b: int32, n - 1 values more than they have rows or columns.
        rows: int64 [2, at least the columns], overwritten.
    """
    columns = len(b) - n + 1
    leaving, entering = b[: columns - 1], b[n:]
    for j in range(columns):
        rows[0, j] = dot(a[:n], b[j : j + n])
    for i in range(len(a) - n + 1):
        now, then = rows[i & 1, :columns], rows[(i + 1) & 1, 1:columns]
        out = sums[first_row + i, first_column : first_column + columns]
        for j in range(columns):
            out[j] += now[j]
        if i < len(a) - n:
            rows[(i + 1) & 1, 0] = dot(a[i + 1 : i + 1 + n], b[:n])
            left, came = np.int64(a[i]), np.int64(a[i + n])
            for j in range(columns - 1):
                then[j] = now[j] + came * np.int64(entering[j]) - left * np.int64(leaving[j])


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
        shifts[i] = (bit_length(sums[i, i]) - 59) >> 1
    for i in range(target + 1):
        for j in range(i + 1):
            shift = shifts[i] + shifts[j]
            row[j] = sums[i, j] >> shift if shift >= 0 else sums[i, j] << -shift
        if i < target:
            row[i] += row[i] >> RIDGE
        rest, least = row[i], row[i] >> PIVOT
        for j in range(i):
            v = np.int64(0)
            if factor[j, j] and rest > least:
                v = (row[j] - dot(factor[i, :j], factor[j, :j])) // factor[j, j]
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
        known, rest_of_row = factor[i, :i], row[:i]
        for j in range(i):
            rest_of_row[j] -= np.int64(known[j]) * v
        shift = shifts[target] - shifts[i]
        v = v << min(shift, 32) if shift >= 0 else v >> -shift
        weights[i] = min(max(v, -WEIGHT_LIMIT), WEIGHT_LIMIT)
