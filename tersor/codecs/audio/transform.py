"""Samples of a segment to coefficients and back: splits, envelope, steps, rotation of channel pairs, noise
filling. Floats; nothing here selects a probability table.

A frame is one block of 20 ms, or 2, 4 or 8 shorter ones whose coefficients interleave, so that index still
means frequency. At the borders of a segment the overlap is a sixteenth of a block whatever the splits, so a
segment needs only that much of its neighbours.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tersor.codecs.audio.mdct import Floats, dct4, fold
from tersor.codecs.audio.noise_shaping import (
    BANDS,
    ENVELOPE_EXPONENTS,
    EXPONENTS_PER_OCTAVE,
    OFFSET_EXPONENT,
    UNIT,
    Exponents,
    Ints,
    Profile,
    coded_bands,
    rms_of,
    steps_of,
)
from tersor.codecs.audio.segment_loops import N_SPLITS, choose_envelope

FULL_SCALE = 32768.0  # F
SPEECH_HZ = (350, 3250)  # G: encoder; where the level of speech is measured
ANGLES = 64  # F
SPLIT_REFERENCE = 0.5  # G: encoder
SPLIT_FLOOR = 2.0  # G: encoder
TOLERANCE = 0.65  # G: encoder; steps of 4.5 dB that an envelope may be off
SYMBOL_MAX = 1 << 20  # F
NOISE_CAP = 0.4  # F
Tolerance = float | tuple[float, ...]


def fold_all(y: Floats, splits: NDArray[np.uint8], block: int, inverse: bool = False) -> None:
    """Fold at the inner borders of a segment y [C, n], in place."""
    lengths = np.repeat(block >> splits.astype(np.int64), 1 << splits.astype(np.int64))
    borders, halves = np.cumsum(lengths)[:-1], np.minimum(lengths[:-1], lengths[1:]) // 2
    for half in np.unique(halves).tolist():
        fold(y, borders[halves == half], half, inverse)


def analysis(y: Floats, splits: NDArray[np.uint8], block: int) -> Floats:
    """Coefficients [C, T, block] of a segment y [C, T block] whose outer borders are folded; y is changed."""
    fold_all(y, splits, block)
    frames = y.reshape(y.shape[0], -1, block)
    out = np.empty(frames.shape)
    for s in range(N_SPLITS):
        at = np.flatnonzero(splits == s)
        if len(at):
            parts = dct4(frames[:, at].reshape(len(y), len(at), 1 << s, block >> s))
            out[:, at] = parts.swapaxes(2, 3).reshape(len(y), len(at), block)
    return out


def synthesis(x: Floats, splits: NDArray[np.uint8]) -> Floats:
    """The inverse of `analysis`: [C, T block], outer borders still folded."""
    channels, frames, block = x.shape
    out = np.empty(x.shape)
    for s in range(N_SPLITS):
        at = np.flatnonzero(splits == s)
        if len(at):
            parts = x[:, at].reshape(channels, len(at), block >> s, 1 << s).swapaxes(2, 3)
            out[:, at] = dct4(np.ascontiguousarray(parts)).reshape(channels, len(at), block)
    y = out.reshape(channels, frames * block)
    fold_all(y, splits, block, inverse=True)
    return y


def choose_splits(
    y: Floats, block: int, edges: NDArray[np.int64], level: float = SPLIT_REFERENCE
) -> NDArray[np.uint8]:
    """The split of each frame whose coefficients are cheapest against a noise half as shaped as the envelope;
    y as for `analysis`, kept.

    Args:
        level: of the noise, of the geometric mean of the band's and the frame's root mean square.
    """
    frames = y.shape[1] // block
    costs = []
    reference: Floats | None = None
    for s in range(N_SPLITS):
        x = analysis(y.copy(), np.full(frames, s, np.uint8), block)
        if reference is None:
            widths = np.diff(edges)
            rms = np.sqrt(np.add.reduceat(x**2, edges[:-1], 2) / widths)
            reference = np.repeat(level * np.sqrt(rms * rms.mean(2, keepdims=True)), widths, 2) + SPLIT_FLOOR
        costs.append(np.log1p(np.abs(x) / reference).sum((0, 2)))
    return np.argmin(costs, 0).astype(np.uint8)


def envelope_of(x: Floats, edges: NDArray[np.int64], tolerance: Tolerance = TOLERANCE) -> Ints:
    """Root mean square of each band in three quarters of an octave (4.5 dB), within a tolerance of them what
    is cheapest to code, [C, T, bands].

    Args:
        tolerance: in steps; one, or one for each band that there can be.
    """
    power = np.add.reduceat(x**2, edges[:-1], 2) / np.diff(edges)
    levels = (np.log2(np.maximum(power, 1e-9)) / 2 + OFFSET_EXPONENT) * (
        EXPONENTS_PER_OCTAVE / ENVELOPE_EXPONENTS
    )
    out = np.zeros(levels.shape, np.int32)
    by_band = np.broadcast_to(np.asarray(tolerance, np.float64), BANDS)[: levels.shape[2]]
    choose_envelope(levels, by_band.copy(), out)
    return out


def speech_power(x: Floats, rate: int) -> float:
    """Mean power of coefficients [C, T, block] between 350 and 3250 Hz in the first channel, full scale 1."""
    first, stop = (round(2 * x.shape[2] * hz / rate) for hz in SPEECH_HZ)
    return float((x[0, :, first:stop] ** 2).sum() / max(1, x[0].size)) / FULL_SCALE**2


def quantise(
    x: Floats, envelope: Ints, exponents: Exponents, edges: NDArray[np.int64], rounding: float
) -> Ints:
    """Integers [C, T, K]; `rounding` below 0.5 widens the zero."""
    inverse = np.repeat(
        np.where(coded_bands(envelope, exponents), 1 / steps_of(exponents), 0), np.diff(edges), 2
    )
    return (np.sign(x) * np.minimum(np.floor(np.abs(x) * inverse + rounding), SYMBOL_MAX)).astype(np.int32)


def dequantise(
    q: Ints, envelope: Ints, exponents: Exponents, edges: NDArray[np.int64], profile: Profile, seed: int
) -> Floats:
    """Coefficients [C, T, K]; zeros become noise, at a part of what the envelope leaves for them.

    Args:
        seed: of the noise.
    """
    steps, widths = steps_of(exponents), np.diff(edges)
    y = (q - np.sign(q) * (profile.shrink / UNIT)) * np.repeat(steps, widths, 2)
    energy = rms_of(envelope) ** 2 * widths
    zeros = np.add.reduceat((q == 0).astype(np.float64), edges[:-1], 2)
    level = np.sqrt(np.maximum(energy - np.add.reduceat(y**2, edges[:-1], 2), 0) / np.maximum(zeros, 1))
    fill, empty = (np.array(f[: len(widths)]) / UNIT for f in (profile.fill, profile.fill_empty))
    level = np.where(
        coded_bands(envelope, exponents), fill * np.minimum(level, NOISE_CAP * steps), empty * level
    )
    return np.where(q == 0, np.repeat(level, widths, 2) * noise(q.shape, seed), y)


def noise(shape: tuple[int, ...], seed: int) -> Floats:
    """Uniform noise of unit variance; the same for a seed on any machine."""
    v = np.arange(int(np.prod(shape)), dtype=np.uint32) + np.uint32((seed * 0x632BE5AB) & 0xFFFFFFFF)
    for factor, shift in ((0x9E3779B1, 15), (0x85EBCA77, 13), (0xC2B2AE3D, 16)):
        v = v * np.uint32(factor)
        v ^= v >> np.uint32(shift)
    return (v.astype(np.float64) / 2**31 - 1).reshape(shape) * np.sqrt(3)


def choose_angles(x: Floats, edges: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Angle that decorrelates each pair of channels in each band, [pairs, bands], in 1/64 of half a turn; 0
    keeps left and right.
    """
    pairs = len(x) // 2
    a, b = x[0 : 2 * pairs : 2], x[1 : 2 * pairs : 2]

    def power(v: Floats) -> Floats:
        return np.asarray(np.add.reduceat(v.sum(1), edges[:-1], 1))

    angle = 0.5 * np.arctan2(2 * power(a * b), power(a * a) - power(b * b))
    return np.asarray(np.round(angle / np.pi * ANGLES) % ANGLES).astype(np.uint8)


def rotate(x: Floats, angles: NDArray[np.uint8], edges: NDArray[np.int64], inverse: bool = False) -> None:
    """Turn pairs of channels, in place."""
    turns = np.repeat(angles.astype(np.float64) * (np.pi / ANGLES), np.diff(edges), 1)
    for p, turn in enumerate(turns):
        c, s = np.cos(turn), np.sin(-turn if inverse else turn)
        a, b = x[2 * p].copy(), x[2 * p + 1]
        x[2 * p] = c * a + s * b
        x[2 * p + 1] = c * b - s * a
