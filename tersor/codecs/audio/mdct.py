"""Lapped orthogonal transform with blocks of any length: the MDCT, written as folding at the borders and a
DCT-IV of each block.

    samples --rotate pairs around each border--> folded --DCT-IV per block--> coefficients         (and
    backwards, in reverse)

A border between blocks of lengths a and b overlaps min(a, b) / 2 samples to either side; the power of its
slope is the mean of a sine's and of Vorbis's. So any sequence of block lengths reconstructs perfectly and the
transform is orthonormal: squared error in coefficients is squared error in samples.

Source: Princen and Bradley 1986 (TDAC); folding as rotations: Malvar 1992, "Signal Processing with Lapped
Transforms"; the power-complementary slope: Vorbis I specification, 4.3.1.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from tersor.codecs.audio.bands import block_length

BORDER = 16  # F: the overlap of segments is a block over this

Floats = NDArray[np.float64]


@functools.cache
def _slope(half: int) -> tuple[Floats, Floats]:
    """Cosine and sine of the rotation of the pair at distance j + 1/2 from a border, [half]: the window's
    rise beyond the border and before it.
    """
    sine = np.sin(np.pi / 4 * (1 + (np.arange(half) + 0.5) / half))
    power = (sine**2 + np.sin(np.pi / 2 * sine**2) ** 2) / 2
    return np.sqrt(power), np.sqrt(1 - power)


@functools.cache
def _twiddles(n: int) -> tuple[NDArray[np.complex128], NDArray[np.complex128]]:
    k = np.arange(n // 2)
    return np.exp(-1j * np.pi * (4 * k + 1) / (4 * n)), np.exp(-1j * np.pi * k / n) * np.sqrt(2 / n)


def dct4(x: Floats) -> Floats:
    """Orthonormal DCT-IV of the last axis (even length), its own inverse; through a complex FFT of half the
    length.
    """
    n = x.shape[-1]
    before, after = _twiddles(n)
    z = np.fft.fft((x[..., ::2] + 1j * x[..., ::-2]) * before) * after
    out = np.empty_like(x)
    out[..., ::2] = z.real
    out[..., ::-2] = -z.imag
    return out


def fold(x: Floats, borders: NDArray[np.int64], half: int, inverse: bool = False) -> None:
    """Rotate the pairs within `half` samples of borders [n] of x [channels, samples], in place; no sample may
    lie near two of them.
    """
    c, s = _slope(half)
    s = s if inverse else -s
    apart = np.arange(half)
    before, after = borders[:, None] - 1 - apart, borders[:, None] + apart
    left, right = x[:, before], x[:, after]
    x[:, before] = c * left + s * right
    x[:, after] = c * right - s * left


class Folder:
    """Cuts sound into segments whose borders are folded; a segment comes out as soon as its overlap with the
    next is there.
    """

    def __init__(self, rate: int, segment: int) -> None:
        self.block = block_length(rate)
        self._segment, self._count = segment, 0
        self._samples: list[Floats] = []

    def push(self, y: Floats) -> Iterator[Floats]:
        """Samples [C, n] -> finished segments [C, T block]."""
        self._samples.append(y)
        self._count += y.shape[1]
        while self._count >= self._segment + self.block // BORDER:
            yield self._cut(np.concatenate(self._samples, 1))

    def finish(self) -> Iterator[Floats]:
        if self._count:
            rest = np.concatenate(self._samples, 1)
            rest = np.pad(rest, ((0, 0), (0, -rest.shape[1] % self.block)))
            if rest.shape[1] > self._segment:
                yield self._cut(rest)
                rest = self._samples[0]
            yield rest

    def _cut(self, y: Floats) -> Floats:
        """The first segment of y; the rest is kept."""
        segment, rest = y[:, : self._segment], y[:, self._segment :]
        fold_border(segment, rest, self.block)
        self._samples, self._count = [rest], rest.shape[1]
        return segment


def fold_border(left: Floats, right: Floats, block: int, inverse: bool = False) -> None:
    """Fold, or unfold, the border between two segments, in place."""
    half = block // BORDER
    both = np.concatenate([left[:, -half:], right[:, :half]], 1)
    fold(both, np.array([half]), half, inverse)
    left[:, -half:], right[:, :half] = both[:, :half], both[:, half:]
