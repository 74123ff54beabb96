"""Where the loops of a fit find what: rows of latents, blocks of latents, and how work is cut into parts."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tersor.arrays import Numbers
from tersor.codecs.image_overfit.fit_rate_loops import ALIGN, BLOCK
from tersor.codecs.image_overfit.layout import Grids
from tersor.codecs.tiled import Box


def edges(weights: Numbers, parts: int, groups: NDArray[np.int64] | None = None) -> list[tuple[int, int]]:
    """Ranges of items with about equal sums of weights; with groups [items], rising, none is cut."""
    ends = np.cumsum(weights)
    cuts = np.searchsorted(ends, ends[-1] * np.arange(1, parts) / parts)
    if groups is not None:
        cuts = np.searchsorted(groups, groups[np.clip(cuts, 0, len(groups) - 1)])
    inside = np.unique(cuts[(cuts > 0) & (cuts < len(weights))]).tolist()
    return list(itertools.pairwise([0, *inside, len(weights)]))


def row_table(
    grids: Grids,
    boxes: Sequence[Box],
    stack: Sequence[Numbers],
    starts: Sequence[int],
    gradient_starts: Sequence[int],
) -> NDArray[np.int64]:
    """Every row of every grid: [rows, 4], (offset in the padded array, offset in the planes, length, offset
    in the gradient of the planes).

    Args:
        boxes: pixels of the tiles.
        stack, starts: planes of the levels, the first of each the level's own, and where they begin.
        gradient_starts: where their gradients begin.
    """
    rows = []
    for i in range(len(grids)):
        level = int(grids.level[i])
        top, left = (v >> level for v in boxes[i // grids.count][:2])
        w = stack[level].shape[2]
        for r in range(int(grids.height[i])):
            at = int(grids.offset[i] + r * grids.stride[i])
            inside = (top + r) * w + left
            width = int(grids.width[i])
            rows.append((at, starts[level] + inside, width, gradient_starts[level] + inside))
    return np.array(rows, np.int64)


def block_table(grids: Grids) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Blocks of up to 256 latents of one grid: segments [m, 4], (grid, row, column, length); blocks [n, 2],
    their first and last segment; latents of each block [n].
    """
    segments: list[tuple[int, int, int, int]] = []
    blocks: list[tuple[int, int]] = []
    sizes: list[int] = []
    for i in range(len(grids)):
        begin, room = len(segments), BLOCK
        for r in range(int(grids.height[i])):
            c, w = 0, int(grids.width[i])
            while c < w:
                n = min(w - c, room)
                if n < w - c:
                    n -= n % ALIGN
                if n:
                    segments.append((i, r, c, n))
                c, room = c + n, room - n
                if c < w or not room:
                    blocks.append((begin, len(segments)))
                    sizes.append(BLOCK - room)
                    begin, room = len(segments), BLOCK
        if begin < len(segments):
            blocks.append((begin, len(segments)))
            sizes.append(BLOCK - room)
    return np.array(segments, np.int64), np.array(blocks, np.int64), np.array(sizes)
