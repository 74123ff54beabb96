"""How far apart the outermost frames of a group's pyramid are, and how much finer than usual its first frame
is, by trial: the luma of its first frames, at half the size, is coded each way, fast; the one that takes the
fewest bytes for its PSNR is taken.

Where the picture turns or is thrown about, frames 4 apart take a quarter less than frames 8 apart; where it
stands nearly still, 16 apart a few percent less, and a finer first frame, from which the others are copied, a
tenth less.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tersor.arrays import Samples
from tersor.codecs.video.group import FINER_MOST, GroupSettings, encode_and_rebuild
from tersor.codecs.video.rate import BYTES_SLOPE, PSNR_SLOPE, psnr_611

# M, distances: by `tools/studies_video.py structures --frames 17 --effort 1` on training clips
TRIED = (4, 8, 16)  # M
LOOKED_AT = 17  # G: frames; the least in which these differ
LEAST_SIDE = 64  # G: samples
FROM_EFFORT = 4  # G: below, no trial
FAST = 1  # G: effort of trials


def tried(luma: Samples, depth: int, settings: GroupSettings) -> GroupSettings:
    """Settings with the distance, unless frames are a chain, and the fineness of the first frame that cost
    least.

    Args:
        luma: of the group, [T, H, W].
        depth: bits of a sample.
        settings: of the group.
    """
    frames, *sides = luma.shape
    if settings.effort < FROM_EFFORT or min(sides) < LEAST_SIDE or frames <= min(TRIED) + 1:
        return settings
    small = halved(luma[:LOOKED_AT])

    def cost(way: GroupSettings) -> float:
        return _cost(small, depth, replace(way, effort=FAST))

    ways = [settings] if settings.low_delay else [replace(settings, distance=d) for d in TRIED]
    least, best = min(((cost(way), way) for way in ways), key=lambda pair: pair[0])
    for finer in range(1, FINER_MOST + 1):
        way = replace(best, finer=finer)
        if (now := cost(way)) >= least:
            break
        least, best = now, way
    return best


def halved(x: Samples) -> Samples:
    """Means of 2 x 2 samples of frames [T, H, W], in the same type."""
    even = x[:, : x.shape[1] & ~1, : x.shape[2] & ~1].astype(np.uint32)
    total = even[:, ::2] + even[:, 1::2]
    means: NDArray[np.uint32] = (total[..., ::2] + total[..., 1::2] + 2) >> 2
    return means.astype(x.dtype)


def _cost(luma: Samples, depth: int, settings: GroupSettings) -> float:
    """Logarithm of bytes, those that the PSNR is worth taken off."""
    payload, rebuilt = encode_and_rebuild([luma], depth=depth, settings=settings)
    total, frames = psnr_611([luma], rebuilt, depth)
    return math.log(len(payload)) - total / frames * BYTES_SLOPE / PSNR_SLOPE
