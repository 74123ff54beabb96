"""What the adaptive coder of video knows at the start of a group: learned in training (`tools/train.py
video`), part of the release.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tersor import weights
from tersor.arrays import Numbers
from tersor.codecs.video.state import COST_BITS, FLAG_INPUTS, INPUTS, KINDS, ROWS, SLOTS
from tersor.codecs.video.tables import BANDS, CLASSES, TAPS
from tersor.entropy.binary_tables import ARITHMETIC, Model
from tersor.errors import WeightsError

KIND = "video"
_SHAPES = {
    "probabilities": (SLOTS,),
    "counts": (SLOTS,),
    "weights": (ROWS, INPUTS),
    "filters": (2, BANDS, CLASSES, TAPS),
}


def fresh_state(arithmetic: Mapping[str, Numbers]) -> dict[str, Numbers]:
    """Tensors of a model that knows nothing, for training; arithmetic: `binary_tables.arithmetic_tables`."""
    mixing = np.full((ROWS, INPUTS), 65536 * 3 // 10, np.int32)
    mixing[:KINDS] = 65536 * 4 // 10
    mixing[:KINDS, FLAG_INPUTS:] = 0
    own: dict[str, Numbers] = {
        "probabilities": np.full(SLOTS, 1 << 21, np.int32),
        "counts": np.zeros(SLOTS, np.uint8),
        "weights": mixing,
        "filters": np.zeros((2, BANDS, CLASSES, TAPS), np.int8),
    }
    return {**own, **arithmetic}


class Tables(NamedTuple):
    """What a group starts from.

    Attributes:
        model: of the adaptive coder, which coding changes.
        filters: int32 [2, BANDS, CLASSES, TAPS], of frames, for luma and chroma.
    """

    model: Model
    filters: NDArray[np.int32]


def tables_of(state: dict[str, Numbers]) -> Tables:
    """The state itself, which coding changes."""
    own = (state["probabilities"], state["counts"], state["weights"])
    return Tables((*own, *(state[part] for part in ARITHMETIC)), state["filters"].astype(np.int32))


def start_tables(digest: bytes | None = None) -> Tables:
    """A fresh copy of what was learned, for one group.

    Args:
        digest: of the tables that a file was written with; None: those that encoders use.

    Raises:
        WeightsError: not installed, or damaged.
    """
    learned = _read(weights.find(KIND, digest))
    return tables_of(learned | {name: learned[name].copy() for name in _SHAPES})


def start_digest() -> bytes:
    """Of the tables that encoders use; headers of files carry it."""
    return weights.find(KIND).digest


@functools.cache
def _read(release: weights.Release) -> dict[str, Numbers]:
    tensors, _ = weights.load(release)
    shapes = {name: t.shape for name, t in tensors.items() if name not in ARITHMETIC}
    if shapes != _SHAPES or not set(ARITHMETIC) <= set(tensors):
        raise WeightsError(f"{release.path}: not tables of this video codec; reinstall tersor")
    return tensors


@functools.cache
def costs() -> NDArray[np.int32]:
    """Bits of a decision whose probability is i / 4096, in 2^-COST_BITS; for encoders' choices only."""
    p = np.maximum(np.arange(4097), 0.5) / 4096
    out: NDArray[np.int32] = np.round(-np.log2(p) * (1 << COST_BITS)).astype(np.int32)
    return out
