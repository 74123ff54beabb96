"""The networks of one picture as floats: shapes by preset, and how they start.

    entropy network    per level: co-located coarser latents -> F features; K causal neighbours: x [D = K + F]
                       h1 = relu(x + w1 x + b1), h2 = relu(h1 + w2 h1 + b2), (mu, log2 b) = w3 h2 + s x + b3
    upsampling         4 taps for each doubling of the resolution
    synthesis          u = v2 relu(v1 z + c1) + t z + c2, w = relu(u + conv(u)), picture = w + conv(w), 0..1

Source: Cool-Chic 5 (orange-opensource/Cool-Chic) for the shape of all three.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tersor.codecs.image_overfit.layout import LEVELS

Floats = NDArray[np.float32]
Parameters = dict[str, Floats]
# F: causal neighbours (row, column), the first K of which a preset uses
REACH = (
    (0, -1), (-1, 0), (-1, -1), (-1, 1), (0, -2), (-2, 0), (-1, -2), (0, -3), (-2, -1), (-2, 1), (-1, 2),
    (-2, -2), (-2, 2), (-3, 0), (-1, -3), (-3, -1), (-3, 1), (-2, 3),
)  # fmt: skip
# F: what the taps start from, in the encoder and as the zero of their code
BICUBIC = (-0.0234, 0.2266, 0.8672, -0.0703)
ENTROPY = ("wf", "bf", "w1", "b1", "w2", "b2", "w3", "b3", "s")
SYNTHESIS = ("v1", "c1", "v2", "c2", "t", "k1", "d1", "k2", "d2")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """Sizes of the networks.

    Attributes:
        around: K, causal neighbours the entropy network sees.
        features: F, made of coarser latents; K + F is the width of its layers, a multiple of 4.
        hidden: channels of the synthesis, a multiple of 4.
        colours: 1 or 3.
        first: the finest level, 0 (1:1) or 1 (1:2).
    """

    around: int
    features: int
    hidden: int
    colours: int
    first: int

    @property
    def width(self) -> int:
        return self.around + self.features

    @property
    def levels(self) -> int:
        return LEVELS - self.first

    def sizes(self) -> dict[str, tuple[int, ...]]:
        """Shape of every parameter, in the order of the file."""
        d, f, h, c, n = self.width, self.features, self.hidden, self.colours, self.levels
        return {
            "wf": (n - 1, f, n - 1), "bf": (n, f), "w1": (d, d), "b1": (d,), "w2": (d, d), "b2": (d,),
            "w3": (2, d), "b3": (2,), "s": (2, d), "k": (LEVELS - 1, 4), "v1": (h, n), "c1": (h,),
            "v2": (c, h), "c2": (c,), "t": (c, n), "k1": (c, c, 3, 3), "d1": (c,), "k2": (c, c, 3, 3),
            "d2": (c,),
        }  # fmt: skip


PRESETS = {  # F: (around, features, hidden)
    "fast": (6, 2, 16),
    "normal": (12, 4, 32),
    "best": (14, 6, 48),
}


def initial(shape: Shape, rng: np.random.Generator, mean: Floats) -> Parameters:
    """Where a fit begins: the entropy network predicts 0 everywhere, the synthesis a picture of the mean
    colour [C].
    """
    p = {k: np.zeros(s, np.float32) for k, s in shape.sizes().items()}

    def normal(name: str, deviation: float) -> Any:
        return (rng.standard_normal(p[name].shape) * deviation).astype(np.float32)

    p["wf"], p["w3"] = normal("wf", 0.1), normal("w3", 0.02)
    p["b3"][1] = -5.0
    p["k"][:] = BICUBIC
    p["v1"], p["v2"] = normal("v1", 0.15), normal("v2", 0.5 / shape.hidden**0.5)
    p["c2"][:] = mean
    p["t"] = normal("t", 0.01) + np.float32(0.02)
    return p
