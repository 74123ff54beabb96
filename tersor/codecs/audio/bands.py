"""Block length, bands and tilt of the audio codec: integers that encoder and decoder derive from the sample
rate alone.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

BLOCKS_PER_SECOND = 50  # F
BLOCK_MULTIPLE = 32  # F
LEAST_BINS = 4  # F
# F
EDGES_HZ = (
    0,
    200,
    400,
    600,
    800,
    1000,
    1250,
    1550,
    1900,
    2350,
    2900,
    3600,
    4500,
    5600,
    7000,
    8800,
    11000,
    14000,
    18000,
    24000,
    34000,
    48000,
)
TILT_FROM_HZ = 2000  # F


def block_length(rate: int) -> int:
    """Samples of a block: 20 ms, rounded up to a multiple of 32."""
    return -(-rate // (BLOCKS_PER_SECOND * BLOCK_MULTIPLE)) * BLOCK_MULTIPLE


def band_edges(rate: int, block: int) -> NDArray[np.int64]:
    """First bin of each band, and the number of bins, [bands + 1]; a bin is rate / (2 block) wide, a band at
    least four bins.
    """
    edges = [0]
    for hz in EDGES_HZ[1:]:
        at = (2 * hz * 2 * block + rate) // (2 * rate)
        if edges[-1] + LEAST_BINS <= at <= block - LEAST_BINS:
            edges.append(at)
    return np.array([*edges, block], np.int64)


def band_tilt(rate: int, block: int, per_octave: int) -> NDArray[np.int64]:
    """What the exponent of the step grows by above 2 kHz, in 1/32 octave, [bands]; eighths of an octave, in
    integers.
    """
    edges = band_edges(rate, block).tolist()
    out = []
    for first, stop in pairwise(edges):
        centre = max(1, (first + stop) * rate // (4 * block))
        eighths = (centre**8).bit_length() - (TILT_FROM_HZ**8).bit_length()
        out.append(per_octave * max(0, eighths) // 8)
    return np.array(out, np.int64)
