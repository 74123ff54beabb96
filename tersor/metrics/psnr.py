"""Peak signal-to-noise ratio."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tersor.arrays import Samples


def psnr(a: Samples, b: Samples) -> float:
    """Over the colour samples (not alpha) of the pixels that are seen, whose alpha in b is not 0; peak of the
    type; infinite if equal.
    """
    colour = 3 if b.shape[2] >= 3 else 1
    peak = float(np.iinfo(b.dtype).max)
    total, seen = 0.0, 0
    for x, y in zip(a, b, strict=True):  # row by row: no copy of a large image in floats
        if b.shape[2] in (2, 4):
            x, y = x[y[:, -1] > 0], y[y[:, -1] > 0]
        total += float(np.square(x[:, :colour].astype(np.float64) - y[:, :colour]).sum())
        seen += len(y)
    mse = total / max(1, seen * colour)
    return float(10 * np.log10(peak**2 / mse)) if mse else float("inf")


def psnr_rgb(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    """PSNR over all samples of 8-bit images, in dB."""
    mse = float(np.mean((a.astype(np.float64) - b) ** 2))
    return float(10 * np.log10(255**2 / mse)) if mse else float("inf")
