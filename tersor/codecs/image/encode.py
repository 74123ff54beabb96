"""From an image to the pixels of its tiles."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tersor.codecs.image.hidden import filled
from tersor.codecs.image.tiles import PATCH, Rect, TileGrid

REFINE_FROM = 2


def _rows_columns(rect: Rect, grid: TileGrid) -> tuple[slice, slice]:
    p = rect.scaled(PATCH)
    return slice(p.top, min(p.bottom, grid.height)), slice(p.left, min(p.right, grid.width))


def _pixels(samples: NDArray[Any], outer: Rect) -> NDArray[np.float32]:
    """float32 [3, h, w], 0..255, of a window; beyond the image its last row and column repeat, and where
    alpha is 0 colours are free.
    """
    p = outer.scaled(PATCH)
    window = samples[p.top : p.bottom, p.left : p.right]
    colour = window[:, :, : 3 if samples.shape[2] >= 3 else 1].astype(np.float32)
    if samples.dtype == np.uint16:
        colour /= 257
    if samples.shape[2] in (2, 4):
        colour = filled(colour, window[:, :, -1] > 0)
    missing = (p.height - colour.shape[0], p.width - colour.shape[1])
    if any(missing):
        colour = np.pad(colour, ((0, missing[0]), (0, missing[1]), (0, 0)), "edge")
    planes = colour.transpose(2, 0, 1)
    return np.ascontiguousarray(np.broadcast_to(planes, (3, *planes.shape[1:])))
