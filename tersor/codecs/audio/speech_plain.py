"""What the net of speech decoders does to a segment, in numpy: for installs without torch. Floats, so its
samples are those of speech_decode.py but for rounding.

features [C, F, T, K] --convolution 3x5, gelu--> --residual layers--> --1x1, tanh--> octaves [C, T, K]
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tersor.codecs.audio.mdct import Floats
from tersor.codecs.audio.noise_shaping import Ints
from tersor.codecs.audio.speech_loops import gelu
from tersor.entropy.binary_tables import AdaptiveTables
from tersor.errors import WeightsError

Array = NDArray[np.float32]
PREFIX = "speech."  # F: of the net's tensors in the tables
NOISE_OCTAVES = np.float32(2.5)  # F: as in models/speech.py


def fill(x: Floats, q: Ints, features: Array, tables: AdaptiveTables) -> None:
    """Change the noise in coefficients x [C, T, bins] that stand for q, in place, as the tables' net says.

    Raises:
        WeightsError: the tables have no net.
    """
    net = {
        k.removeprefix(PREFIX): v.astype(np.float32)
        for k, v in tables.tensors.items()
        if k.startswith(PREFIX)
    }
    if not net:
        raise WeightsError("the tables lack the net of speech; reinstall tersor")
    bins = features.shape[3]
    for channel, seen in enumerate(features):
        octaves = octaves_of(net, seen)
        head = x[channel, :, :bins].astype(np.float32)
        zero = q[channel, :, :bins] == 0
        x[channel, :, :bins] = head * np.exp2(np.where(zero, octaves, np.float32(0)))


def octaves_of(net: dict[str, Array], features: Array) -> Array:
    """By which the net lets the noise grow, [T, K], from features [F, T, K]."""
    x = gelu(_convolved(features, net["first.weight"], net["first.bias"]))
    for layer in range(sum(k.startswith("layers.") for k in net) // 2):
        x = x + gelu(_convolved(x, net[f"layers.{layer}.weight"], net[f"layers.{layer}.bias"]))
    return NOISE_OCTAVES * np.tanh(_convolved(x, net["last.weight"], net["last.bias"])[0])


def _convolved(x: Array, weight: Array, bias: Array) -> Array:
    """x [F, T, K] and weight [O, F, rows, columns] -> [O, T, K]; what lies outside is zero."""
    channels, frames, bins = x.shape
    rows, columns = weight.shape[2:]
    padded = np.pad(x, ((0, 0), (rows // 2, rows // 2), (columns // 2, columns // 2)))
    out = np.repeat(bias[:, None], frames * bins, 1)
    for i in range(rows):
        for k in range(columns):
            window = padded[:, i : i + frames, k : k + bins].reshape(channels, -1)
            out += np.ascontiguousarray(weight[:, :, i, k]) @ window
    return out.reshape(-1, frames, bins)
