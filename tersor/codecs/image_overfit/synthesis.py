"""Planes of latents to samples, whole pictures or windows of them, with the decoder's integers.

    levels of a window --load, upsample step by step--> z --pointwise, 3x3, 3x3--> samples

What a sample depends on lies within 320 pixels: at level l the reach is below 5 latents (each doubling halves
it and adds 2.5).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tersor.arrays import Samples
from tersor.codecs.image_overfit import synthesis_loops as loops
from tersor.codecs.image_overfit.layout import LEVELS, level_size
from tersor.codecs.image_overfit.network import Shape
from tersor.codecs.image_overfit.pair_sums import paired
from tersor.codecs.parallel import in_parts, side_by_side
from tersor.codecs.tiled import Box

HALO = 320  # F: pixels that a sample depends on to either side


def around(box: Box, height: int, width: int) -> Box:
    """The window whose latents decide the samples of a box: grown by the halo, on whole coarsest latents or
    the picture's edge.
    """
    unit = 1 << (LEVELS - 1)
    top, left = max(0, box[0] - HALO) // unit * unit, max(0, box[1] - HALO) // unit * unit
    bottom, right = -(-(box[2] + HALO) // unit) * unit, -(-(box[3] + HALO) // unit) * unit
    return top, left, min(bottom, height), min(right, width)


class Synthesis:
    """The synthesis of one file.

    Args:
        fixed: the networks in fixed point.
        shape: of the networks.
    """

    def __init__(self, fixed: dict[str, NDArray[np.int32]], shape: Shape) -> None:
        self.fixed, self.shape = fixed, shape
        v1, v2t = np.zeros((shape.hidden, 8), np.int32), np.zeros((4, shape.hidden + 8), np.int32)
        v1[:, : shape.levels] = fixed["v1"]
        v2t[: shape.colours, : shape.hidden] = fixed["v2"]
        v2t[: shape.colours, shape.hidden : shape.hidden + shape.levels] = fixed["t"]
        self._v1, self._v2t = paired(v1), paired(v2t)
        self._c1, self._c2 = fixed["c1"] + np.int32(128), np.full(4, 128, np.int32)
        self._c2[: shape.colours] += fixed["c2"]

    def samples(self, levels: list[NDArray[np.int8]], height: int, width: int, dtype: Any) -> Samples:
        """Samples [height, width, C] of a window.

        Args:
            levels: int8 [h, w] of the window, fine to coarse.
            dtype: uint8 or uint16; the latter has 12 bits of resolution.
        """
        z = self._planes(levels, height, width)
        colours, f = self.shape.colours, self.fixed
        u, w = (np.zeros((colours, height + 2, width + 2), np.int32) for _ in range(2))
        out = np.zeros((height, width, colours), dtype)
        maximum = np.int32(np.iinfo(dtype).max)
        n = height * width
        in_parts(lambda a, b: loops.pointwise(a, b, z, self._v1, self._c1, self._v2t, self._c2, u), height, n)
        in_parts(lambda a, b: loops.first_end(a, b, u, f["k1"], f["d1"], w), height, n)
        in_parts(lambda a, b: loops.second_end(a, b, w, f["k2"], f["d2"], maximum, out), height, n)
        return out

    def _planes(self, levels: list[NDArray[np.int8]], height: int, width: int) -> NDArray[np.int32]:
        """All levels at full resolution, [8, height, width]; what is not used is 0."""
        z = np.zeros((0, 1, 1), np.int32)
        for level in reversed(range(LEVELS)):
            h, w = level_size(height, level), level_size(width, level)
            own = int(level >= self.shape.first)
            to = np.zeros((own + len(z) if level else 8, h, w), np.int32)
            if own:
                loops.load(levels[level - self.shape.first], to[0])
            if len(z):
                self._up(z, self.fixed["k"][level], to[own : own + len(z)])
            z = to
        return z

    def _up(self, x: NDArray[np.int32], k: NDArray[np.int32], out: NDArray[np.int32]) -> None:
        if out.size < 1 << 16:
            loops.up(0, len(x), x, k, out)
        else:
            side_by_side(lambda c: loops.up(c, c + 1, x, k, out), range(len(x)))
