"""Tables for integers whose expected magnitude is known: generalised Gaussians on a ladder of scales.

A scale level says E|q| to a quarter of an octave; the shape says how heavy the tails are. The encoder picks a
shape and a shift of the ladder for each group of symbols. Counts were computed once
(tools/freeze_magnitude_tables.py) and are read from the weights: a decoder never evaluates a distribution.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tersor import weights
from tersor.entropy.tables import FrozenTables
from tersor.errors import WeightsError
from tersor.weights import Release

# F, all of them.
SHAPES = (0.6, 0.9, 1.3, 2.0)
LEVELS = 80
LEVELS_PER_OCTAVE = 4
LOG2_FIRST = -9.0
MAX_SHIFT = 4
EXPECTATION_BITS = 12


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MagnitudeTables:
    """The tables of a release; read once, so that equal ones are the same object.

    Attributes:
        digest: first 4 bytes of the file's SHA-256; files carry it.
        shapes: for each shape the tables of levels 0..LEVELS; 0 is certain.
        bits: float32 [shapes, LEVELS + 1, 2 * RADIUS + 1], what each symbol costs.
    """

    digest: bytes
    shapes: tuple[FrozenTables, ...]
    bits: NDArray[np.float32]


RADIUS = 256


def expectation(level: int | NDArray[np.int64]) -> float | NDArray[np.float64]:
    """E|q| of a level 1..LEVELS."""
    return 2.0 ** (LOG2_FIRST + (np.asarray(level) - 1) / LEVELS_PER_OCTAVE)


def magnitude_tables(digest: bytes | None = None) -> MagnitudeTables:
    """The tables of a digest, or those that encoders use; read once.

    Raises:
        WeightsError: not installed, or damaged.
    """
    return _read(weights.find("magnitude", digest))


@functools.cache
def _read(release: Release) -> MagnitudeTables:
    tensors, _ = weights.load(release)
    try:
        shapes = tuple(
            FrozenTables(tensors[f"counts.{i}"], tensors[f"radii.{i}"]) for i in range(len(SHAPES))
        )
    except KeyError as e:
        raise WeightsError(f"{release.path}: the tables lack {e}; reinstall tersor") from e
    bits = np.stack([t.bit_matrix(RADIUS) for t in shapes])
    return MagnitudeTables(digest=release.digest, shapes=shapes, bits=bits)


@functools.cache
def thresholds() -> NDArray[np.int64]:
    """Expected |q| in units of 2^-12 at which the next level begins, [LEVELS - 1]; half-way in the logarithm.

    Rounded products of two integers, so that no machine's power function takes part: the ladder 2^(1/8),
    2^(3/8), 2^(5/8), 2^(7/8) is written out in Q30.
    """
    steps = (1170923762, 1392470869, 1655936265, 1969251188)
    out = []
    for i in range(LEVELS - 1):
        octave, step = divmod(i, LEVELS_PER_OCTAVE)
        down = 30 - (EXPECTATION_BITS + int(LOG2_FIRST) + octave)
        out.append((steps[step] + (1 << down >> 1)) >> down)
    return np.array(out, np.int64)
