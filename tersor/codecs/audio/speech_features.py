"""What the net of speech decoders sees of a segment: what was coded, on the grid of frames and coefficients
of 25 Hz, up to 8 kHz: magnitudes, how high the envelope stands over the step, where in the spectrum, how
loud.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tersor.codecs.audio.noise_shaping import (
    ENVELOPE_EXPONENTS,
    EXPONENTS_PER_OCTAVE,
    LEVEL_BANDS,
    OFFSET_EXPONENT,
    Exponents,
    Ints,
)
from tersor.codecs.audio.segment_loops import NOT_CODED

FEATURES = 10  # F: what models/speech.py takes
BINS = 320  # F
QUIET = -12.0  # F


def features_of(
    q: Ints, envelope: Ints, heights: Exponents, splits: NDArray[np.uint8], edges: NDArray[np.int64]
) -> NDArray[np.float32]:
    """What the net sees of a segment, float32 [C, FEATURES, T, K], K at most `BINS`.

    Args:
        q: coded coefficients [C, T, bins].
        envelope, heights: [C, T, bands], as in `audio_shaping`.
        splits: [T].
        edges: of the bands.
    """
    widths = np.diff(edges)
    bins = min(BINS, q.shape[2])

    def spread(v: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.repeat(v, widths, 2)[:, :, :bins]

    level = np.where(
        envelope > 0,
        envelope * np.float32(ENVELOPE_EXPONENTS / EXPONENTS_PER_OCTAVE) - np.float32(OFFSET_EXPONENT),
        np.float32(QUIET),
    ).astype(np.float32)
    loudest = level[:, :, :LEVEL_BANDS].max(2, keepdims=True)
    coded = heights != NOT_CODED
    height = np.where(
        coded, np.clip(heights.astype(np.float32) / EXPONENTS_PER_OCTAVE, -3, 4) / 3, np.float32(-1)
    ).astype(np.float32)
    size = np.abs(q[:, :, :bins]).astype(np.float32)
    out = np.empty((FEATURES, *size.shape), np.float32)
    place = np.arange(bins, dtype=np.float32) / BINS
    out[0] = np.minimum(size, 1)
    out[1] = np.clip(size - 1, 0, 1)
    out[2] = np.log2(1 + size) / 4
    out[3] = spread(height)
    out[4] = spread(np.clip(loudest - level, 0, 12) / 8)
    out[5] = spread(coded.astype(np.float32))
    out[6] = place
    out[7] = np.sqrt(place)
    out[8] = (splits > 0)[:, None]
    out[9] = (loudest - 6) / 8
    return out.swapaxes(0, 1)
