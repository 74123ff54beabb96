"""The compiled loop of codecs/audio/speech_plain.py."""

from __future__ import annotations

import math

import numpy as np

from tersor.entropy.compiled import compiled


@compiled
def gelu(x):  # pragma: no cover
    """x times the normal distribution function of x, float32 [F, T, K] like x."""
    out = np.empty_like(x)
    flat, to = x.reshape(-1), out.reshape(-1)
    for n in range(len(flat)):
        to[n] = 0.5 * flat[n] * (1 + math.erf(flat[n] * 0.7071067811865476))
    return out
