"""The net that a decoder of speech runs: how strong the noise is in each zero.

It changes the noise by bounded factors, never a coefficient that was coded; a net of zeros changes nothing.
Floating point: nothing here selects a probability table.
"""

from __future__ import annotations

import functools

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tersor.entropy.binary_tables import AdaptiveTables
from tersor.errors import WeightsError

PREFIX = "speech."
# F, all of them.
CHANNELS = 16
LAYERS = 2
KERNEL = (3, 5)
FEATURES = 10
NOISE_OCTAVES = 2.5


class SpeechNet(nn.Module):
    """Features [N, FEATURES, T, K] -> octaves by which noise grows, [N, T, K]."""

    def __init__(self, channels: int = CHANNELS, layers: int = LAYERS) -> None:
        super().__init__()
        padding = (KERNEL[0] // 2, KERNEL[1] // 2)
        self.first = nn.Conv2d(FEATURES, channels, KERNEL, padding=padding)
        self.layers = nn.ModuleList(
            nn.Conv2d(channels, channels, KERNEL, padding=padding) for _ in range(layers)
        )
        self.last = nn.Conv2d(channels, 1, 1)
        nn.init.zeros_(self.last.weight)
        assert self.last.bias is not None
        nn.init.zeros_(self.last.bias)

    def forward(self, x: Tensor) -> Tensor:
        x = F.gelu(self.first(x))
        for layer in self.layers:
            x = x + F.gelu(layer(x))
        return NOISE_OCTAVES * torch.tanh(self.last(x)[:, 0])


def grown(x: Tensor, zero: Tensor, octaves: Tensor) -> Tensor:
    """Coefficients [C, T, K] after the net's octaves [C, T, K]; `zero` says where noise stands."""
    return x * torch.exp2(torch.where(zero, octaves, torch.zeros_like(octaves)))


@functools.cache
def speech_net(tables: AdaptiveTables) -> SpeechNet:
    """The net in the tables.

    Raises:
        WeightsError: they have none.
    """
    state = {
        k.removeprefix(PREFIX): torch.from_numpy(v.astype(np.float32))
        for k, v in tables.tensors.items()
        if k.startswith(PREFIX)
    }
    if not state:
        raise WeightsError("the tables lack the net of speech; reinstall tersor")
    with torch.device("meta"):  # no random numbers are drawn
        net = SpeechNet(
            channels=len(state["first.bias"]), layers=sum(k.startswith("layers.") for k in state) // 2
        )
    net.load_state_dict(state, assign=True)
    return net.eval().requires_grad_(False)
