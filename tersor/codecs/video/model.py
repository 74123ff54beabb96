"""What the adaptive coder of video knows at the start of a group."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tersor.codecs.video.state import COST_BITS, FLAG_INPUTS, INPUTS, KINDS, ROWS, SLOTS
from tersor.entropy.adaptive import ARITHMETIC, Model, adaptive_tables


def fresh_model() -> Model:
    """A model that knows nothing."""
    weights = np.full((ROWS, INPUTS), 65536 * 3 // 10, np.int32)
    weights[:KINDS] = 65536 * 4 // 10
    weights[:KINDS, FLAG_INPUTS:] = 0
    own = (np.full(SLOTS, 1 << 21, np.int32), np.zeros(SLOTS, np.uint8), weights)
    return (*own, *(adaptive_tables().tensors[part] for part in ARITHMETIC))


def start_model() -> Model:
    """A fresh copy of what was learned."""
    return fresh_model()


@functools.cache
def costs() -> NDArray[Any]:
    """Bits of a decision whose probability is i / 4096, in 2^-COST_BITS; for encoders' choices only."""
    p = np.maximum(np.arange(4097), 0.5) / 4096
    return np.round(-np.log2(p) * (1 << COST_BITS)).astype(np.int32)
