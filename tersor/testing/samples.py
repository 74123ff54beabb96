"""Signals made on the spot, for tests, golden files and benchmarks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


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
