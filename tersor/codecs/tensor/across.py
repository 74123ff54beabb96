"""Numbers of a token predicted from those before them, across the channels of all its heads.

Heads look at one hidden state through matrices of their own, so the keys (or values) of all heads at a token
depend on each other far more than those of one head do, or those of tokens that follow each other. Whole
numbers q of a token, D of them, are coded as

    e_i = q_i - floor(sum over j < i of w_ij q_j / 2^shift + 1/2)

with whole weights w that travel along, D (D - 1) / 2 of them; they are worth it from about twice D tokens on.
Sums are exact in float64, whatever the order: |w| and |q| are bounded so that they stay below 2^52.

Source: prediction after quantisation by the factors of the covariance, A q = e with A unit lower triangular:
Goyal, "Theoretical foundations of transform coding" (2001), section on triangular transforms; sharing across
heads as in MLA (DeepSeek-V2, 2024), where models are trained for it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tersor.codecs.tensor import chunk, scales
from tersor.codecs.tensor.layout import number_layout
from tersor.container import ByteReader, put_uvarint
from tersor.errors import BitstreamError

MOST = 1 << 10  # F: numbers of a token
MAX_SHIFT = 10  # F
SHIFTS = range(4, 9)  # G: that are tried
WEIGHT_LIMIT = 1 << 14  # F: weights are below
NUMBER_LIMIT = 1 << 24  # F: |q| is below: 2^10 products of 2^14 and 2^24 stay below 2^52
ROW = 256  # F: of the weights, as a chunk
SAMPLE = 1 << 10  # G: tokens on which the shift is chosen
RIDGE = 0.1  # G: added to variances; rounding is 1/12
BLOCK = 32  # numbers that are rebuilt between two products of matrices
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Weights:
    """Of one chunk.

    Attributes:
        w: float64 [D, D], whole numbers, 0 on and above the diagonal.
        shift: they are in units of 2^-shift.
    """

    w: Floats
    shift: int


def gathered(rows: Ints, heads: int, tokens: int) -> Ints:
    """Rows [sequences * heads * tokens, C] -> [sequences * tokens, heads * C]."""
    c = rows.shape[1]
    return np.ascontiguousarray(rows.reshape(-1, heads, tokens, c).swapaxes(1, 2)).reshape(-1, heads * c)


def scattered(x: Ints, heads: int, tokens: int) -> Ints:
    """The inverse of `gathered`."""
    c = x.shape[1] // heads
    return np.ascontiguousarray(x.reshape(-1, tokens, heads, c).swapaxes(1, 2)).reshape(-1, c)


def fit(x: Ints) -> tuple[Ints, bytes] | None:
    """What is coded of numbers [n, D], and the bytes of the weights; None if they are not worth it."""
    n, d = x.shape
    if not 1 < d <= MOST or n < d or np.abs(x).max() >= NUMBER_LIMIT:
        return None
    q = x.astype(np.float64)
    covariance = q.T @ q / n + RIDGE * np.eye(d)
    try:
        factor = np.linalg.cholesky(covariance)
        inverse = np.linalg.inv(factor / np.diag(factor))
    except np.linalg.LinAlgError:
        return None
    some, best = q[:: -(-n // SAMPLE)], None
    least = _bits(some) / len(some) * n
    for shift in SHIFTS:
        w = np.clip(np.rint(-np.tril(inverse, -1) * 2**shift), 1 - WEIGHT_LIMIT, WEIGHT_LIMIT - 1)
        weights = Weights(w, shift)
        own = np.log2(2 * np.abs(w[np.tril_indices(d, -1)]) + 1).sum() + d * d / 2
        bits = _bits(some - _predicted(some, weights)) / len(some) * n + own
        if bits < least:
            least, best = bits, weights
    if best is None:
        return None
    e = q - _predicted(q, best)
    return (e.astype(np.int64), _pack(best)) if np.abs(e).max() < 1 << 30 else None


def rebuilt(e: Ints, weights: Weights, name: str) -> Ints:
    """The numbers of which `fit` gave what is coded.

    Raises:
        BitstreamError: they leave their limits.
    """
    n, d = e.shape
    x = np.zeros((n, d))
    unit, half = 2.0**weights.shift, 2.0 ** (weights.shift - 1)
    if np.abs(e).max(initial=0) >= 1 << 40:
        raise BitstreamError(f"{name}: numbers beyond their limits; the file is damaged")
    for first in range(0, d, BLOCK):
        last = min(first + BLOCK, d)
        sums = x[:, :first] @ weights.w[first:last, :first].T
        for i in range(first, last):
            total = sums[:, i - first] + x[:, first:i] @ weights.w[i, first:i]
            x[:, i] = e[:, i] + np.floor((total + half) / unit)
            if np.abs(x[:, i]).max(initial=0) >= NUMBER_LIMIT:
                raise BitstreamError(f"{name}: numbers beyond their limits; the file is damaged")
    return x.astype(np.int64)


def _predicted(q: Floats, weights: Weights) -> Floats:
    sums = q @ weights.w.T
    return np.asarray(np.floor((sums + 2.0 ** (weights.shift - 1)) / 2.0**weights.shift))


def _bits(x: Floats) -> float:
    """About what whole numbers [n, D] cost, a scale for each column."""
    return float(len(x) * 0.5 * np.log2(2 * math.pi * math.e * (x.var(0) + 1 / 12)).clip(0.05).sum())


def _pack(weights: Weights) -> bytes:
    """shift | i16 least | used | chunk of the weights below the diagonal."""
    w = weights.w[np.tril_indices(len(weights.w), -1)].astype(np.int64)
    least = int(w.min())
    used = max(1, (int(w.max()) - least).bit_length())
    words = ((w - least) << (16 - used)).astype(np.uint16)
    size = (np.abs(w).astype(np.float32) + np.float32(0.5)).view(np.uint32)
    levels = scales.Levels(words=size, at=23, bits=8)
    body = chunk.encode_words(words, ROW, number_layout(words, used), levels)
    assert body is not None, "the layout was made for these numbers"
    front = bytes([weights.shift]) + int(least).to_bytes(2, "little", signed=True) + bytes([used])
    return put_uvarint(len(front + body)) + front + body


def unpack(r: ByteReader, d: int, name: str) -> Weights:
    """What `fit` gave as bytes.

    Args:
        r: at its begin.
        d: numbers of a token.
        name: of the chunk, for errors.

    Raises:
        BitstreamError: damaged bytes.
    """
    data = r.take(r.uvarint(chunk.MAX_SIDE, "length of weights"))
    if not 1 < d <= MOST or len(data) < 5 or not 1 <= data[0] <= MAX_SHIFT or not 1 <= data[3] <= 16:
        raise BitstreamError(f"{name}: weights for {d} numbers of a token are not valid; the file is damaged")
    words = np.empty(d * (d - 1) // 2, np.uint16)
    chunk.decode(data[4:], ROW, words, name)
    w = (words >> np.uint16(16 - data[3])).astype(np.int64) + int.from_bytes(data[1:3], "little", signed=True)
    if np.abs(w).max() >= WEIGHT_LIMIT:
        raise BitstreamError(f"{name}: a weight beyond its limits; the file is damaged")
    out = np.zeros((d, d))
    out[np.tril_indices(d, -1)] = w
    return Weights(out, data[0])
