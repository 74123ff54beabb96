"""What the adaptive coder of video knows at the start of a group: learned in training (`tools/train.py
video`), part of the release.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from tersor import weights
from tersor.arrays import Numbers
from tersor.codecs.video.state import COST_BITS, FLAG_INPUTS, INPUTS, KINDS, ROWS, SLOTS
from tersor.entropy.binary_tables import ARITHMETIC, Model
from tersor.errors import WeightsError

KIND = "video"


def fresh_state(arithmetic: Mapping[str, Numbers]) -> dict[str, Numbers]:
    """Tensors of a model that knows nothing, for training; arithmetic: `binary_tables.arithmetic_tables`."""
    mixing = np.full((ROWS, INPUTS), 65536 * 3 // 10, np.int32)
    mixing[:KINDS] = 65536 * 4 // 10
    mixing[:KINDS, FLAG_INPUTS:] = 0
    own: dict[str, Numbers] = {
        "probabilities": np.full(SLOTS, 1 << 21, np.int32),
        "counts": np.zeros(SLOTS, np.uint8),
        "weights": mixing,
    }
    return {**own, **arithmetic}


def model_of(state: dict[str, Numbers]) -> Model:
    """The state itself as a model, which coding changes."""
    return (state["probabilities"], state["counts"], state["weights"], *(state[part] for part in ARITHMETIC))


def start_model(digest: bytes | None = None) -> Model:
    """A fresh copy of what was learned, for one group.

    Args:
        digest: of the tables that a file was written with; None: those that encoders use.

    Raises:
        WeightsError: not installed, or damaged.
    """
    return tuple(part.copy() if i < 3 else part for i, part in enumerate(_read(weights.find(KIND, digest))))


def start_digest() -> bytes:
    """Of the tables that encoders use; headers of files carry it."""
    return weights.find(KIND).digest


@functools.cache
def _read(release: weights.Release) -> Model:
    tensors, _ = weights.load(release)
    model = model_of(tensors) if {"probabilities", "counts", "weights", *ARITHMETIC} <= set(tensors) else None
    if model is None or [p.shape for p in model[:3]] != [(SLOTS,), (SLOTS,), (ROWS, INPUTS)]:
        raise WeightsError(f"{release.path}: not tables of this video codec; reinstall tersor")
    return model


@functools.cache
def costs() -> NDArray[np.int32]:
    """Bits of a decision whose probability is i / 4096, in 2^-COST_BITS; for encoders' choices only."""
    p = np.maximum(np.arange(4097), 0.5) / 4096
    out: NDArray[np.int32] = np.round(-np.log2(p) * (1 << COST_BITS)).astype(np.int32)
    return out
