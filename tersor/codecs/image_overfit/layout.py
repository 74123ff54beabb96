"""Where the latents of a picture lie: levels, tiles, and one padded array that holds every grid.

A picture of W x H pixels has grids of integers at 1:1, 1:2, 1:4 ... of its resolution (levels 0, 1, 2 ...),
each half the one before, rounded up. Tiles cut all levels at the same places: a tile's side is a multiple of
64 pixels, so that its part of every level begins on a whole latent. The entropy network never looks across a
tile's border.

    grid (tile, level): rows of `width` latents, PAD zeros around them on three sides, at `offset` of one flat
    array
"""

from __future__ import annotations

from functools import cached_property

import numpy as np

from tersor.arrays import Numbers

PAD = 4  # F: causal contexts reach 3 rows up and 3 columns to either side; one more keeps rows apart
LEVELS = 7  # F: the coarsest level is 1:64


def level_size(n: int, level: int) -> int:
    """Latents along a side of n pixels at a level: n / 2^level, rounded up."""
    return -(-n >> level)


class Grids:
    """Grids of some tiles, fine to coarse within each tile, in one padded flat array.

    Args:
        sizes: (height, width) of each tile in pixels.
        first: the finest level, 0 or 1.

    Attributes:
        count: levels of a tile.
        level, height, width, stride, offset: int64 [grids]; grid `tile * count + i` is level `first + i` of a
            tile. `offset` is where its first latent lies, `stride` the distance of two rows.
        size: of the flat array.
    """

    def __init__(self, sizes: list[tuple[int, int]], first: int) -> None:
        self.first, self.count = first, LEVELS - first
        levels = range(first, LEVELS)
        self.level = np.array([v for _ in sizes for v in levels], np.int64)
        self.height = np.array([level_size(h, v) for h, _ in sizes for v in levels], np.int64)
        self.width = np.array([level_size(w, v) for _, w in sizes for v in levels], np.int64)
        self.stride = self.width + 2 * PAD
        spans = (self.height + PAD) * self.stride
        starts = np.concatenate([[0], np.cumsum(spans)])
        self.offset = starts[:-1] + PAD * self.stride + PAD
        self.size = int(starts[-1]) + PAD

    def __len__(self) -> int:
        return len(self.level)

    @cached_property
    def cells(self) -> int:
        """Latents in all, without padding."""
        return int((self.height * self.width).sum())

    def view(self, flat: Numbers, grid: int) -> Numbers:
        """One grid of a flat array, [height, width], not copied."""
        h, w, s, o = (int(v[grid]) for v in (self.height, self.width, self.stride, self.offset))
        return np.lib.stride_tricks.as_strided(flat[o:], (h, w), (s * flat.itemsize, flat.itemsize))
