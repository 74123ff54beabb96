"""Lapped orthogonal transform with blocks of any length: the MDCT, written as folding at the borders and a DCT-IV of each block.

    samples --rotate pairs around each border--> folded --DCT-IV per block--> coefficients         (and backwards, in reverse)

A border between blocks of lengths a and b overlaps min(a, b) / 2 samples to either side; the power of its slope is the mean of a sine's and of Vorbis's. So any
sequence of block lengths reconstructs perfectly and the transform is orthonormal: squared error in coefficients is squared error in samples.

Source: Princen and Bradley 1986 (TDAC); folding as rotations: Malvar 1992, "Signal Processing with Lapped Transforms"; the power-complementary slope: Vorbis I
specification, 4.3.1.
"""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@functools.cache
def _slope(half: int) -> tuple[Floats, Floats]:
    """Cosine and sine of the rotation of the pair at distance j + 1/2 from a border, [half]: the window's rise beyond the border and before it."""
    sine = np.sin(np.pi / 4 * (1 + (np.arange(half) + 0.5) / half))
    power = (sine**2 + np.sin(np.pi / 2 * sine**2) ** 2) / 2
    return np.sqrt(power), np.sqrt(1 - power)


@functools.cache
def _twiddles(n: int) -> tuple[NDArray[np.complex128], NDArray[np.complex128]]:
    k = np.arange(n // 2)
    return np.exp(-1j * np.pi * (4 * k + 1) / (4 * n)), np.exp(-1j * np.pi * k / n) * np.sqrt(2 / n)


def dct4(x: Floats) -> Floats:
    """Orthonormal DCT-IV of the last axis (even length), its own inverse; through a complex FFT of half the length."""
    n = x.shape[-1]
    before, after = _twiddles(n)
    z = np.fft.fft((x[..., ::2] + 1j * x[..., ::-2]) * before) * after
    out = np.empty_like(x)
    out[..., ::2] = z.real
    out[..., ::-2] = -z.imag
    return out


def fold(x: Floats, borders: NDArray[np.int64], half: int, inverse: bool = False) -> None:
    """Rotate the pairs within `half` samples of borders [n] of x [channels, samples], in place; no sample may lie near two of them."""
    c, s = _slope(half)
    s = s if inverse else -s
    apart = np.arange(half)
    before, after = borders[:, None] - 1 - apart, borders[:, None] + apart
    left, right = x[:, before], x[:, after]
    x[:, before] = c * left + s * right
    x[:, after] = c * right - s * left
