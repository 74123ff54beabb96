"""Signals made on the spot, for tests, golden files and benchmarks."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tersor.arrays import Numbers


def picture(width: int = 768, height: int = 512) -> NDArray[np.uint8]:
    """A photograph-like picture made on the spot: gradients, edges and noise."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:height, :width] / 64
    waves = np.stack([np.sin(x * a + np.cos(y * b) * 2) for a, b in ((1.0, 0.7), (1.3, 0.4), (0.6, 1.1))], 2)
    edges = (np.sin(3 * x) * np.cos(2 * y) > 0.6)[..., None] * 40
    return np.clip(128 + 60 * waves + edges + rng.normal(0, 6, waves.shape), 0, 255).astype(np.uint8)


def weather(shape: tuple[int, ...] = (24, 180, 240)) -> NDArray[np.float32]:
    """A field made on the spot: waves that move, and noise."""
    t, y, x = np.meshgrid(*(np.linspace(0, 6, n) for n in shape), indexing="ij")
    return (
        280 + 20 * np.sin(2 * x + t) * np.cos(3 * y - t / 2) + np.random.default_rng(0).normal(0, 0.1, shape)
    ).astype(np.float32)


def clip(width: int = 96, height: int = 64, frames: int = 12) -> NDArray[np.uint8]:
    """Moving pictures, RGB [T, H, W, 3]: `picture` panned two columns a frame, and a square crossing it."""
    wide = picture(width + 2 * frames, height)
    out = np.stack([wide[:, 2 * i : 2 * i + width] for i in range(frames)])
    for i, frame in enumerate(out):
        at = 3 * i % max(1, width - 16)
        frame[height // 4 : height // 4 + 16, at : at + 16] = (230, 60, 40)
    return out


def sound(
    seconds: float, rate: int = 16000, channels: int = 1, dtype: Any = np.int16, seed: int = 0
) -> Numbers:
    """Tones that come and go, over a little noise; [n, channels] of any type that sound has."""
    t = np.arange(round(seconds * rate)) / rate
    rng = np.random.default_rng(seed)
    beeps = 0.3 * np.sin(2 * np.pi * 1111 * t) * (t % 0.5 < 0.2)
    y = np.stack(
        [
            np.sin(2 * np.pi * (150 + 40 * c) * t) * (0.6 + 0.4 * np.sin(3 * t + c)) + beeps
            for c in range(channels)
        ],
        1,
    )
    y = 0.4 * y + 0.003 * rng.normal(size=y.shape)
    if np.dtype(dtype).kind == "f":
        return y.astype(dtype)
    if dtype == np.uint8:
        return (128 + 100 * y).astype(np.uint8)
    return np.round(y * (2.0 ** (8 * np.dtype(dtype).itemsize - 1) - 1)).astype(dtype)


def voice(seconds: float, rate: int = 16000, seed: int = 0) -> NDArray[np.float64]:
    """Something like speech: a buzz with moving formants and pauses; [n], full scale 1."""
    t = np.arange(round(seconds * rate)) / rate
    pitch = 2 * np.pi * np.cumsum(120 + 25 * np.sin(2 * np.pi * 0.7 * t)) / rate
    y = sum(
        np.sin(n * pitch) / n * np.exp(-(((n * 120 - 700 - 400 * np.sin(5 * t)) / 500) ** 2))
        for n in range(1, 40)
    )
    y = y * (np.sin(2 * np.pi * 1.3 * t) > -0.3) + 0.002 * np.random.default_rng(seed).normal(size=len(t))
    return np.asarray(0.2 * y)
