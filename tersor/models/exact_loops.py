"""The exact layers of models/exact.py on x86 CPUs: 16-bit products summed in 32 bits wherever the sums fit.

    int32 [N, h, w, C] --clamp to 16 bits--> strip: k rows of positions --pair_sums--> sums of a position
        --(sum + bias + half) >> shift--> int32 [N, h, w, O]

Whether they fit is known before: by Cauchy and Schwarz no sum, and no part of one, exceeds |w| |x|, so a
position whose neighbourhood has a sum of squares of at most `Layer.reach` = ((2^31 - 1) / |w|)^2 cannot
overflow; the others are summed in 64 bits. After `normalise`, |x| is 256 sqrt(C) at most, and of the released
weights hardly a position in any picture needs more than 32 bits. Either way the integers are the same.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tersor.entropy.compiled import compiled, config
from tersor.entropy.exact_pairs import BLOCK, ROWS, pair_sums

UNCOMPILED = bool(config.DISABLE_JIT)  # then the layers run in torch
ACTIVATION_MAX = 127 * 256 + 127  # F, as in models/exact.py
NORM_INPUT_MAX = 1 << 21  # F
NORM_FLOOR = 128  # F, in units of 1/256


class Layer(NamedTuple):
    """Weights as the loops read them.

    Attributes:
        weights: int16 [B, k k C' / 2, BLOCK, 2], B = ceil(O / BLOCK), C' = C made even.
        bias: int64 [O], with the half that rounds.
        shift: of the sums.
        side: k, 1 or 3.
        reach: the largest sum of squares of inputs whose sums certainly fit 32 bits.
    """

    weights: NDArray[np.int16]
    bias: NDArray[np.int64]
    shift: int
    side: int
    reach: int


def pack(weight: NDArray[np.int16], bias: NDArray[np.int64], shift: int) -> Layer:
    """A layer of weights [O, C, k, k] and biases [O]."""
    o, c, side, _ = weight.shape
    w = np.zeros((side, side, c + c % 2, -(-o // BLOCK) * BLOCK), np.int16)
    w[:, :, :c, :o] = weight.transpose(2, 3, 1, 0)
    pairs = w.reshape(-1, 2, w.shape[3] // BLOCK, BLOCK).transpose(2, 0, 3, 1)
    squares = int(np.square(weight.astype(np.int64)).reshape(o, -1).sum(1).max())
    reach = min((2**31 - 1) ** 2 // max(squares, 1), 2**62)
    half = 1 << shift >> 1
    return Layer(np.ascontiguousarray(pairs), np.ascontiguousarray(bias + half), shift, side, reach)


@compiled
def convolve(x, layer, out, first, last):
    """Rows first..last, of all N h, of a convolution: x int32 [N, h, w, C] -> out int32 [N, h, w, O]."""
    h = x.shape[1]
    strip, squares, sums, wide = new_strip(x.shape[2], x.shape[3], layer.side)
    for row in range(first, last):
        n, i = divmod(row, h)
        for d in range(layer.side):
            y = i + d - layer.side // 2
            if 0 <= y < h:
                fill(x[n, y], strip[d], squares[d], layer.side // 2)
            else:
                strip[d] = 0
                squares[d] = 0
        products(strip, squares, x.shape[2], layer, sums, wide, out[n, i])


@compiled
def residual(x, inner, outer, out, first, last):
    """Rows first..last of x + outer(relu(inner(normalise(x)))): int32 [N, h, w, C] both."""
    h, w, c = x.shape[1:]
    strip, squares, sums, wide = new_strip(w, c, 3)
    middle, middle_squares, _, _ = new_strip(w, c, 1)
    row32, normal = np.empty((w, c), np.int32), np.empty((w, c), np.int32)
    for row in range(first, last):
        n, i = divmod(row, h)
        for d in range(3):
            y = i + d - 1
            if 0 <= y < h:
                normalise_row(x[n, y], normal)
                fill(normal, strip[d], squares[d], 1)
            else:
                strip[d] = 0
                squares[d] = 0
        products(strip, squares, w, inner, sums, wide, row32)
        for j in range(w):
            for k in range(c):
                row32[j, k] = max(row32[j, k], 0)
        fill(row32, middle[0], middle_squares[0], 0)
        products(middle, middle_squares, w, outer, sums, wide, out[n, i])
        for j in range(w):
            for k in range(c):
                out[n, i, j, k] += x[n, i, j, k]


@compiled
def normalise(x, out, first, last):
    """Rows first..last, of all N h, of models/exact.py's `normalise`: int32 [N, h, w, C] both."""
    h = x.shape[1]
    for row in range(first, last):
        n, i = divmod(row, h)
        normalise_row(x[n, i], out[n, i])


@compiled
def normalise_row(x, out):
    """One row, int32 [w, C]. Float64 is exact here for the reason that models/exact.py gives."""
    for j in range(x.shape[0]):
        total = 0.0
        for c in range(x.shape[1]):
            v = np.float64(min(max(x[j, c], -NORM_INPUT_MAX), NORM_INPUT_MAX))
            total += v * v
        mean_square = np.int64(total) // x.shape[1] + NORM_FLOOR * NORM_FLOOR
        root = np.floor(np.sqrt(np.float64(mean_square) + 0.5))
        for c in range(x.shape[1]):
            v = np.float64(min(max(x[j, c], -NORM_INPUT_MAX), NORM_INPUT_MAX))
            out[j, c] = np.int32(np.floor((v * 256.0 + 0.5) / root))


@compiled
def new_strip(w, c, side):
    """-> strip int16 [side, positions, C'], squares int64 [side, positions], and room for sums."""
    positions = (w + ROWS - 1) // ROWS * ROWS + side - 1
    strip = np.zeros((side, positions, c + c % 2), np.int16)
    squares = np.zeros((side, positions), np.int64)
    return strip, squares, np.empty((ROWS, BLOCK), np.int32), np.empty((ROWS, BLOCK), np.int64)


@compiled
def fill(x, strip, squares, margin):
    """One row of a strip from int32 [w, C], clamped; its margins stay 0."""
    for j in range(x.shape[0]):
        total = 0
        for c in range(x.shape[1]):
            v = min(max(x[j, c], -ACTIVATION_MAX), ACTIVATION_MAX)
            strip[j + margin, c] = v
            total += np.int64(v) * np.int64(v)
        squares[j + margin] = total


@compiled
def products(strip, squares, w, layer, sums, wide, out):
    """A row of a layer, int32 [w, O], from a strip."""
    side, positions, c = strip.shape
    pairs, outputs = side * c // 2, out.shape[1]
    for block in range(layer.weights.shape[0]):
        columns = min(BLOCK, outputs - block * BLOCK)
        for at in range(0, w, ROWS):
            most = 0
            for j in range(at, min(at + ROWS, w)):
                total = 0
                for d in range(side):
                    for m in range(side):
                        total += squares[d, j + m]
                most = max(most, total)
            if most <= layer.reach:
                start = np.int64(at * c)
                first = np.int64(block) * side * pairs * BLOCK * 2
                pair_sums(strip, start, c, side, positions * c, pairs, layer.weights, first, sums)
                for r in range(ROWS):
                    for o in range(BLOCK):
                        wide[r, o] = sums[r, o]
            else:
                sum_wide(strip, at, layer.weights[block], wide)
            for r in range(min(ROWS, w - at)):
                for o in range(columns):
                    total = wide[r, o] + layer.bias[block * BLOCK + o]
                    out[at + r, block * BLOCK + o] = np.int32(total >> layer.shift)


@compiled
def sum_wide(strip, at, weights, wide):
    """What pair_sums computes, in 64 bits."""
    side, _, c = strip.shape
    wide[:] = 0
    for r in range(ROWS):
        k = 0
        for d in range(side):
            for m in range(side):
                for p in range(c // 2):
                    a, b = np.int64(strip[d, at + r + m, 2 * p]), np.int64(strip[d, at + r + m, 2 * p + 1])
                    for o in range(BLOCK):
                        wide[r, o] += a * weights[k, o, 0] + b * weights[k, o, 1]
                    k += 1
