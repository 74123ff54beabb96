"""How far apart the outermost frames of a group's pyramid are, by trial: the luma of its first frames, at
half the size, is coded with each distance, fast; the one that takes the fewest bytes for its PSNR is taken.

Where the picture turns or is thrown about, frames 4 apart take a quarter less than frames 8 apart; where it
stands nearly still, 16 apart a few percent less.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from tersor.arrays import Samples
from tersor.codecs.video.group import GroupSettings, encode_and_rebuild
from tersor.codecs.video.rate import BYTES_SLOPE, PSNR_SLOPE, psnr_611

# M, distances: by `tools/studies_video.py structures --frames 17 --effort 1` on training clips
USUAL = 8  # M
TRIED = (4, 8, 16)  # M
LOOKED_AT = 17  # G: frames; the least in which these differ
LEAST_SIDE = 64  # G: samples
FROM_EFFORT = 4  # G: below, no trial
FAST = 1  # G: effort of trials


def distance_for(luma: Samples, depth: int, quality: float, effort: int) -> int:
    """Of a group's pyramid.

    Args:
        luma: [T, H, W].
        depth: bits of a sample.
        quality, effort: of the group.
    """
    frames, *sides = luma.shape
    if effort < FROM_EFFORT or min(sides) < LEAST_SIDE or frames <= min(TRIED) + 1:
        return USUAL
    small = halved(luma[:LOOKED_AT])
    return min(TRIED, key=lambda distance: _cost(small, depth, quality, distance))


def halved(x: Samples) -> Samples:
    """Means of 2 x 2 samples of frames [T, H, W], in the same type."""
    even = x[:, : x.shape[1] & ~1, : x.shape[2] & ~1].astype(np.uint32)
    total = even[:, ::2] + even[:, 1::2]
    means: NDArray[np.uint32] = (total[..., ::2] + total[..., 1::2] + 2) >> 2
    return means.astype(x.dtype)


def _cost(luma: Samples, depth: int, quality: float, distance: int) -> float:
    """Logarithm of bytes, those that the PSNR is worth taken off."""
    settings = GroupSettings(quality=quality, effort=FAST, distance=distance)
    payload, rebuilt = encode_and_rebuild([luma], depth=depth, settings=settings)
    total, frames = psnr_611([luma], rebuilt, depth)
    return math.log(len(payload)) - total / frames * BYTES_SLOPE / PSNR_SLOPE
