"""From small to large: a fit begins on the picture halved, and halved again, where an iteration costs a
quarter and a sixteenth.

    picture / 4 --some starts, the best--> latents, networks --> picture / 2 --> picture

Level l of a small picture becomes level l + 1 of the one twice as large, with what the networks have learned
about it; the new finest level starts at 0, and sees and is seen like the finest one before.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tersor.codecs.image_overfit.fit import Fit
from tersor.codecs.image_overfit.layout import LEVELS
from tersor.codecs.image_overfit.network import Floats, Parameters, Shape

LEAST_SIDE = 96  # G: pixels of the shorter side of the smallest picture


def halved(target: Floats) -> Floats:
    """Means of 2 x 2 pixels of a picture [C, H, W]; of fewer at an odd border."""
    _, height, width = target.shape
    even = np.pad(target, ((0, 0), (0, height % 2), (0, width % 2)), mode="edge")
    return np.ascontiguousarray(
        (even[:, ::2, ::2] + even[:, 1::2, ::2] + even[:, ::2, 1::2] + even[:, 1::2, 1::2]) / np.float32(4)
    )


@dataclass(frozen=True, slots=True)
class Size:
    """A picture, halved or not.

    Attributes:
        picture: float32 [C, H, W].
        tile: side of its tiles.
        halvings: 0 for the whole one.
    """

    picture: Floats
    tile: int
    halvings: int


def sizes_of(target: Floats, tile: int, most: int) -> list[Size]:
    """The picture, and it halved up to `most` times, from the smallest on."""
    out = [Size(target, tile, 0)]
    while len(out) <= most and tile % (2 << LEVELS - 1) == 0 and min(target.shape[1:]) >= 2 * LEAST_SIDE:
        target, tile = halved(target), tile // 2
        out.append(Size(target, tile, len(out)))
    return out[::-1]


def forget_coarsest(fit: Fit) -> None:
    """Keep the coarsest level at 0: the picture twice as large has none for it."""
    for i in range(fit.grids.count - 1, len(fit.grids), fit.grids.count):
        fit.grids.view(fit.y, i)[:] = 0


@dataclass(frozen=True, slots=True)
class Learned:
    """What a small fit has learned; all else of it can go.

    Attributes:
        levels: latents [h, w] of each tile and level.
        count: levels of a tile.
        parameters: of the networks, whose levels begin at 1:1.
    """

    levels: list[Floats]
    count: int
    parameters: Parameters

    @classmethod
    def of(cls, fit: Fit) -> Learned:
        g = fit.grids
        levels = [np.array(g.view(fit.y, i), np.float32) for i in range(len(g))]
        return cls(levels, g.count, fit.parameters)

    def hand_over(self, large: Fit) -> None:
        """To the fit of a picture twice as large."""
        finest = 1 - large.shape.first  # which of the large one's levels is the small one's finest
        g = large.grids
        for i in range(len(g)):
            tile, level = divmod(i, g.count)
            if level >= finest:
                g.view(large.y, i)[:] = self.levels[tile * self.count + level - finest]
        large.parameters.update(grown(self.parameters, large.shape))


def grown(source: Parameters, to: Shape) -> Parameters:
    """Networks for a picture twice as large; those of the small one begin at level 0."""
    out = {name: np.zeros(size, np.float32) for name, size in to.sizes().items()}
    for name, value in out.items():
        if name in ("wf", "bf", "k"):
            of = [max(0, level - (1 if name == "k" else 1 - to.first)) for level in range(len(value))]
            cut = tuple(slice(n) for n in value.shape[1:])
            value[:] = source[name][of][(slice(None), *cut)]
        elif name in ("v1", "t"):
            of = [max(0, level - 1 + to.first) for level in range(value.shape[1])]
            value[:] = source[name][:, of]
        else:
            value[:] = source[name]
    return out
