"""Colours where alpha is 0: nobody sees them, so a lossy encoder chooses those that cost least, a smooth
continuation of what is seen.

Source: push and pull of Gortler et al., "The Lumigraph" (SIGGRAPH 1996), section 3.4: averages of the pixels
that are seen, at ever coarser grids, fill the gaps of the finer ones.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

UNSEEN = 128.0  # G: where nothing is seen at all


def filled(colour: NDArray[np.float32], seen: NDArray[np.bool_]) -> NDArray[np.float32]:
    """The same colours where they are seen, a smooth continuation elsewhere.

    Args:
        colour: [h, w, c].
        seen: [h, w].
    """
    if seen.all():
        return colour
    if not seen.any():
        return np.full_like(colour, UNSEEN)
    weight = seen[:, :, None].astype(np.float32)
    return _pull(colour * weight, weight)


def _pull(total: NDArray[np.float32], weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """Weighted sums and weights [h, w, c], [h, w, 1] of a grid -> colours without gaps."""
    mean = total / np.maximum(weight, 1e-6)
    if (weight > 0).all():
        return mean
    below = _halved(weight)
    coarse = np.minimum(below, 1)  # a cell of which a part is seen counts for no less than its neighbours
    pulled = _doubled(_doubled(_pull(_halved(total) * coarse / np.maximum(below, 1e-6), coarse), 0), 1)
    gaps = weight == 0
    return np.where(gaps, pulled[: mean.shape[0], : mean.shape[1]], mean)


def _halved(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Sums of 2 x 2 cells."""
    x = np.pad(x, ((0, x.shape[0] % 2), (0, x.shape[1] % 2), (0, 0)))
    sums: NDArray[np.float32] = x[::2, ::2] + x[1::2, ::2] + x[::2, 1::2] + x[1::2, 1::2]
    return sums


def _doubled(x: NDArray[np.float32], axis: int) -> NDArray[np.float32]:
    """Twice the cells along an axis, each of three parts its own value and one its neighbour's."""
    x = np.moveaxis(x, axis, 0)
    before, after = np.concatenate([x[:1], x[:-1]]), np.concatenate([x[1:], x[-1:]])
    pair = np.stack([0.75 * x + 0.25 * before, 0.75 * x + 0.25 * after], 1)
    return np.moveaxis(pair.reshape(2 * x.shape[0], *x.shape[1:]), 0, axis)
