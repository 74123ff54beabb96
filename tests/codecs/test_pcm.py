"""Lossless sound below the codec: least squares find what made a signal, and hard segments come back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tersor.codecs.audio.pcm import decode_pcm, encode_pcm
from tersor.codecs.audio.pcm_least_squares import (
    NOISE,
    WEIGHT_BITS,
    add_products,
    bit_length,
    solve,
    square_root,
)
from tersor.entropy.binary_tables import adaptive_tables
from tersor.errors import BitstreamError

N = 1000
FULL = 1 << 23


def test_roots_and_lengths() -> None:
    for v in [0, 1, 2, 3, 4, 99, 2**31 - 1, 2**31, 2**59 + 12345, 2**60]:
        assert int(square_root(np.int64(v))) ** 2 <= v < (int(square_root(np.int64(v))) + 1) ** 2
        assert bit_length(np.int64(v)) == v.bit_length()


def squares(x: NDArray[np.int32], order: int) -> NDArray[np.float64]:
    """Weights of the last `order` values, oldest first, and the sums against a plain product."""
    n, d = len(x) - order, order + 1
    sums = np.zeros((d, d), np.int64)
    add_products(sums, 0, 0, x[None], 0, 0, d, 0, 0, d, n, np.zeros((2, d), np.int64))
    windows = np.stack([x[i : i + n].astype(np.int64) for i in range(d)])
    assert np.array_equal(sums, windows @ windows.T)
    weights = np.zeros(order, np.int32)
    solve(sums, np.zeros((d, d), np.int32), np.zeros(d, np.int64), np.zeros(d, np.int64), weights)
    return weights / 2.0**WEIGHT_BITS


@pytest.mark.parametrize("scale", [30, 3000, 1 << 20])
def test_least_squares_find_the_recursion(scale: int) -> None:
    rng = np.random.default_rng(0)
    x = np.zeros(5000)
    for t in range(2, len(x)):
        x[t] = 1.6 * x[t - 1] - 0.8 * x[t - 2] + rng.normal()
    y = np.round(x * scale).astype(np.int32)
    windows = np.stack([y[i : i + len(y) - 6].astype(float) for i in range(7)])
    expected = np.linalg.solve(windows[:6] @ windows[:6].T + NOISE * np.eye(6), windows[:6] @ windows[6])
    assert np.abs(squares(y, 6) - expected).max() < 1e-4


def test_variables_that_others_explain_get_no_weight() -> None:
    assert np.all(squares(np.zeros(100, np.int32), 4) == 0)
    constant = squares(np.full(100, FULL, np.int32), 4)
    assert abs(constant.sum() - 1) < 1e-3
    assert np.abs(constant).max() <= 1.01


def hard_segments() -> dict[str, NDArray[np.int64]]:
    rng = np.random.default_rng(0)
    noise = rng.integers(-FULL, FULL, (N, 2))
    bursts = np.where(np.arange(N)[:, None] // 100 % 2, noise, rng.integers(-2, 3, (N, 2)))
    return {
        "noise": noise,
        "bursts": bursts,
        "full scale": np.full((N, 1), -FULL),
        "square": np.where(np.arange(N) // 30 % 2, FULL - 1, -FULL)[:, None],
        "alternating": np.where(np.arange(N) % 2, FULL - 1, -FULL)[:, None].repeat(3, 1),
        "impulses": np.where(np.arange(N) % 199 == 7, FULL - 1, 0)[:, None],
        "opposite": noise[:, :1] * np.array([1, -1]) // 2,
        "one sample": noise[:1],
        "nothing": noise[:0],
    }


@pytest.mark.parametrize("name", hard_segments())
def test_hard_segments_at_24_bits(name: str) -> None:
    x = hard_segments()[name]
    payload = encode_pcm(x, adaptive_tables())
    assert np.array_equal(decode_pcm(payload, *x.shape, adaptive_tables(), name), x)
    assert len(payload) < 3.2 * x.size + 40


@pytest.mark.parametrize("front", [b"", b"\0", bytes([32, 15]), bytes([0, 24])])
def test_impossible_fronts(front: bytes) -> None:
    with pytest.raises(BitstreamError):
        decode_pcm(front, 10, 1, adaptive_tables(), "segment 0")


def test_a_faint_copy_costs_little() -> None:
    """A channel that is its mate, 48 dB fainter, costs its rounding."""
    rng = np.random.default_rng(1)
    loud = np.cumsum(rng.integers(-3200, 3201, 20000))
    x: NDArray[Any] = np.stack([loud, loud // 256], 1)
    both, one = (len(encode_pcm(y, adaptive_tables())) for y in (x, x[:, :1]))
    assert both < 1.25 * one
