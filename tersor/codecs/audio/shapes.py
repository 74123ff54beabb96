"""Shapes of bands that hold nothing but noise: how their energy lies within them.

High bands are wide, and at low rates none of their coefficients is coded. What fills them has the energy of
the envelope, but a band of 1400 Hz is flat then, and neither an edge of the sound's bandwidth nor a formant
inside it comes back. So such a band is cut into parts of about 400 Hz, and each part's root mean square is
sent relative to the envelope, in steps of 6 dB; noise gets exactly that energy, frame by frame.

Source: envelope-guided noise substitution as in CELT (Valin et al. 2013, "High-quality, low-delay music
coding in the Opus codec") and intelligent gap filling (Disch et al. 2016), with a shape of its own.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from tersor.codecs.audio.bands import band_edges
from tersor.codecs.audio.mdct import Floats
from tersor.codecs.audio.noise_shaping import (
    UNIT,
    Exponents,
    Ints,
    Profile,
    coded_bands,
    rms_of,
    steps_of,
)
from tersor.codecs.audio.shape_loops import choose_shapes
from tersor.codecs.audio.transform import noise

PART_BINS = 16  # F: 400 Hz; a part has about that many
TOP_HZ = 8000  # F: bands that begin above it have one part
SHAPE_TOLERANCE = 1.1  # G: encoder; steps of 6 dB that a part may be off
LEAST = 1e-9  # F


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Parts:
    """Of the bands at a sample rate.

    Attributes:
        edges: first bin of each, and the number of bins, [parts + 1].
        bands: which band each lies in, [parts].
        shaped: whether it is one of several of its band, [parts].
    """

    edges: NDArray[np.int64]
    bands: NDArray[np.int64]
    shaped: NDArray[np.bool_]


@functools.cache
def parts_of(rate: int, block: int) -> Parts:
    """In integers."""
    edges, bands, shaped = [0], [], []
    for b, (first, stop) in enumerate(pairwise(band_edges(rate, block).tolist())):
        below_top = first * rate < 2 * block * TOP_HZ
        n = max(1, (2 * (stop - first) + PART_BINS) // (2 * PART_BINS)) if below_top else 1
        edges += [first + (stop - first) * (i + 1) // n for i in range(n)]
        bands += [b] * n
        shaped += [n > 1] * n
    return Parts(
        edges=np.array(edges, np.int64), bands=np.array(bands, np.int64), shaped=np.array(shaped, np.bool_)
    )


def open_parts(envelope: Ints, exponents: Exponents, parts: Parts) -> NDArray[np.bool_]:
    """Which parts have a shape, [C, T, parts]: those of bands that are not silent and not coded."""
    empty = ~coded_bands(envelope, exponents) & (envelope > 0)
    return np.asarray(empty[:, :, parts.bands] & parts.shaped)


def shapes_of(x: Floats, envelope: Ints, exponents: Exponents, parts: Parts) -> Ints:
    """Shapes of coefficients x [C, T, K]: steps of 6 dB over the envelope, [C, T, parts]."""
    mean = np.add.reduceat(x**2, parts.edges[:-1], 2) / np.diff(parts.edges)
    level = np.maximum(rms_of(envelope)[:, :, parts.bands], LEAST)
    out = np.zeros(mean.shape, np.int32)
    wanted = np.log2(np.maximum(np.sqrt(mean), LEAST) / level)
    choose_shapes(wanted, SHAPE_TOLERANCE, open_parts(envelope, exponents, parts), out)
    return out


def dequantise_shaped(
    q: Ints, envelope: Ints, exponents: Exponents, shapes: Ints, parts: Parts, profile: Profile, seed: int
) -> Floats:
    """Coefficients [C, T, K], as `transform.dequantise`; noise has in every part the energy that it stands
    for.

    Args:
        shapes: [C, T, parts].
        seed: of the noise.
    """
    first, widths, bands = parts.edges[:-1], np.diff(parts.edges), parts.bands
    begins = np.searchsorted(bands, np.arange(bands[-1] + 1))  # first part of each band
    steps, level = steps_of(exponents), rms_of(envelope)
    y = (q - np.sign(q) * (profile.shrink / UNIT)) * np.repeat(steps[:, :, bands], widths, 2)
    zero = (q == 0).astype(np.float64)
    raw = noise(q.shape, seed) * zero
    zeros, power, coded = (np.add.reduceat(v, first, 2) for v in (zero, raw**2, y**2))
    left = level**2 * np.add.reduceat(widths, begins) - np.add.reduceat(coded, begins, 2)
    left = np.sqrt(np.maximum(left, 0) / np.maximum(np.add.reduceat(zeros, begins, 2), 1))
    within = np.minimum(left, profile.cap / UNIT * steps)[:, :, bands]
    fill, empty = (np.array(f)[bands] / UNIT for f in (profile.fill, profile.fill_empty))
    rms = np.where(
        coded_bands(envelope, exponents)[:, :, bands],
        fill * within,
        empty * level[:, :, bands] * np.exp2(shapes),
    )
    return y + raw * np.repeat(rms * np.sqrt(zeros / np.maximum(power, LEAST)), widths, 2)
