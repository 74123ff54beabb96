"""The networks of one picture as integers: what a file holds, what a decoder runs, and the bounds that make
it exact.

Every parameter is an integer n times a step 2^-e; parameters of a group share e. A decoder turns n into fixed
point with the fraction bits of its tensor, w = n 2^(bits - e), so every layer has the same shifts whatever
the steps.

    tensor      fraction bits       tensor      fraction bits
    wf w1 w2 w3 s     8             v1 v2           10
    bf b1 b2 b3      14             t               12
    k                10             c1 18, c2 20, d1 d2 22, k1 k2 10

Sums are 32-bit; `check` refuses networks whose sums could leave 32 bits, so that none can overflow, whoever
wrote the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tersor.arrays import Numbers
from tersor.codecs.image_overfit.network import BICUBIC, Parameters, Shape
from tersor.errors import BitstreamError

Integers = NDArray[np.int32]
# F: tensors that share a step
GROUPS: tuple[tuple[str, ...], ...] = (
    ("wf",), ("bf", "b1", "b2", "b3"), ("w1", "w2"), ("w3", "s"), ("k",), ("v1",), ("c1",), ("v2",), ("t",),
    ("c2", "d1", "d2"), ("k1", "k2"),
)  # fmt: skip
# F: fraction bits of a tensor in the decoder
BITS = {
    "wf": 8,
    "w1": 8,
    "w2": 8,
    "w3": 8,
    "s": 8,
    "bf": 14,
    "b1": 14,
    "b2": 14,
    "b3": 14,
    "k": 10,
    "v1": 10,
    "v2": 10,
}
BITS |= {"t": 12, "c1": 18, "c2": 20, "d1": 22, "d2": 22, "k1": 10, "k2": 10}
STEP_MAX = {g: min(12, *(BITS[n] for n in g)) for g in GROUPS}  # F: largest e of a group
ENTROPY_LIMIT = 32767  # F: activations of the entropy network, 6 fraction bits
LATENT_LIMIT = 32767  # F: upsampled latents, 8 fraction bits
HIDDEN_LIMIT = 32767  # F: hidden channels of the synthesis, 10 fraction bits
SAMPLE_LIMIT = 32767  # F: samples, 12 fraction bits
SUM_LIMIT = (1 << 31) - 1  # F
FACTORS = ("w1", "w2", "w3", "s", "v1", "v2", "t")  # F: their weights fit 16 bits, with the identity's 256
FACTOR_LIMIT = 32511  # F
WEIGHT_LIMIT = 256.0  # G: of other float weights, before they are rounded
VALUE_LIMIT = 1 << 20  # F: of n
TAPS = tuple(round(v * 1024) for v in BICUBIC)  # F: -24, 232, 888, -72


@dataclass(frozen=True, slots=True)
class Quantised:
    """Parameters as a file holds them.

    Attributes:
        values: int32 n, by tensor; of `k` the difference from the bicubic taps.
        steps: e, by group.
    """

    values: dict[str, Integers]
    steps: dict[tuple[str, ...], int]

    def fixed(self, shape: Shape) -> dict[str, Integers]:
        """Parameters in the decoder's fixed point.

        Raises:
            BitstreamError: sums could overflow.
        """
        out = {}
        for group, e in self.steps.items():
            for name in group:
                value = self.values[name].astype(np.int64) << (BITS[name] - e)
                if name == "k":
                    value += np.array(TAPS)
                if np.abs(value).max(initial=0) > SUM_LIMIT:
                    raise BitstreamError(
                        f"network: a weight of {name} needs more than 32 bits; the file is damaged"
                    )
                out[name] = value.astype(np.int32)
        check(out, shape)
        return out

    def floats(self) -> Parameters:
        """What the encoder's float network has to be to do the same."""
        out = {}
        for group, e in self.steps.items():
            for name in group:
                value = self.values[name].astype(np.float64) / (1 << e)
                if name == "k":
                    value += np.array(TAPS) / 1024
                out[name] = value.astype(np.float32)
        return out


def bounds(w: Mapping[str, Numbers]) -> dict[str, int]:
    """The largest sum each layer can meet, half a unit of rounding included."""

    def rows(*parts: tuple[str, int], bias: str, shift: int) -> int:
        total = np.abs(w[bias].astype(np.int64)) + (1 << shift >> 1)
        for name, limit in parts:
            v = np.abs(w[name].astype(np.int64))
            total = total + limit * v.reshape(len(v), -1).sum(1)
        return int(total.max())

    out = {}
    features = np.abs(w["wf"].astype(np.int64)).sum(2).max(initial=0) * (127 << 6)
    out["features"] = int(features + np.abs(w["bf"].astype(np.int64)).max() + 128)
    one = ENTROPY_LIMIT << 8  # the residual
    out["first layer"] = rows(("w1", ENTROPY_LIMIT), bias="b1", shift=8) + one
    out["second layer"] = rows(("w2", ENTROPY_LIMIT), bias="b2", shift=8) + one
    out["outputs"] = rows(("w3", ENTROPY_LIMIT), ("s", ENTROPY_LIMIT), bias="b3", shift=8)
    out["upsampling"] = int(np.abs(w["k"].astype(np.int64)).sum(1).max() * LATENT_LIMIT + 512)
    out["hidden"] = rows(("v1", LATENT_LIMIT), bias="c1", shift=8)
    out["samples"] = rows(("v2", HIDDEN_LIMIT), ("t", LATENT_LIMIT), bias="c2", shift=8)
    out["first end"] = rows(("k1", SAMPLE_LIMIT), bias="d1", shift=10) + (SAMPLE_LIMIT << 10)
    out["second end"] = rows(("k2", SAMPLE_LIMIT), bias="d2", shift=10) + (SAMPLE_LIMIT << 10)
    return out


# the weights that decide each bound
LAYERS = {
    "features": ("wf",), "first layer": ("w1",), "second layer": ("w2",), "outputs": ("w3", "s"),
    "upsampling": ("k",), "hidden": ("v1",), "samples": ("v2", "t"), "first end": ("k1",),
    "second end": ("k2",),
}  # fmt: skip
ROOM = 0.8  # G: of a bound, that float weights may take; rounding to coarse steps takes the rest


def tame(parameters: Parameters) -> None:
    """Shrink float weights, in place, whose layer could not be checked: a fit seldom needs a third of the
    room.
    """
    for name, v in parameters.items():
        limit = 0.9 * FACTOR_LIMIT / (1 << BITS[name]) if name in FACTORS else WEIGHT_LIMIT
        np.nan_to_num(v, copy=False)
        np.clip(v, -limit, limit, out=v)
    fixed = {
        k: np.rint(v.astype(np.float64) * (1 << BITS[k])).astype(np.int64) for k, v in parameters.items()
    }
    for layer, bound in bounds(fixed).items():
        if bound > ROOM * SUM_LIMIT:
            for name in LAYERS[layer]:
                parameters[name] *= np.float32(ROOM * SUM_LIMIT / bound)


def check(w: dict[str, Integers], shape: Shape) -> None:
    """Raises: BitstreamError: a weight could leave 16 bits, or a sum 32."""
    assert {k: v.shape for k, v in w.items()} == shape.sizes()
    for name in FACTORS:
        if (largest := int(np.abs(w[name].astype(np.int64)).max(initial=0))) > FACTOR_LIMIT:
            raise BitstreamError(
                f"network: a weight of {name} is {largest}, allowed are {FACTOR_LIMIT}; "
                "the file is damaged or hostile"
            )
    for layer, bound in bounds(w).items():
        if bound > SUM_LIMIT:
            raise BitstreamError(
                f"network: sums of its {layer} reach {bound}, allowed are {SUM_LIMIT}; "
                "the file is damaged or hostile"
            )


def used(name: str, shape: Shape) -> NDArray[np.bool_]:
    """Which values of a tensor count: level l has only levels - 1 - l coarser ones."""
    size = shape.sizes()[name]
    mask = np.ones(size, bool)
    if name == "wf":
        for level in range(size[0]):
            mask[level, :, size[0] - level :] = False
    return mask


def zero_of(name: str, size: tuple[int, ...]) -> Any:
    """The float value that n = 0 stands for."""
    return np.broadcast_to(np.array(TAPS) / 1024, size) if name == "k" else np.zeros(size)
