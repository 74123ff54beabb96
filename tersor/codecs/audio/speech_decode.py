"""What the net of speech decoders does to a segment, in torch; speech_plain.py does the same without."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tersor.codecs.audio.mdct import Floats
from tersor.codecs.audio.noise_shaping import Ints
from tersor.entropy.binary_tables import AdaptiveTables
from tersor.models.speech import SpeechNet, grown, speech_net


def fill(x: Floats, q: Ints, features: NDArray[np.float32], tables: AdaptiveTables) -> None:
    """Change the noise in coefficients x [C, T, bins] that stand for q, in place, as the tables' net says."""
    grow(x, q, octaves_of(speech_net(tables), torch.from_numpy(features)))


@torch.no_grad()
def octaves_of(net: SpeechNet, features: Tensor) -> Tensor:
    """By which the net lets the noise grow, [C, T, K]."""
    return torch.as_tensor(net(features.to(memory_format=torch.channels_last)))


def grow(x: Floats, q: Ints, octaves: Tensor) -> None:
    """Change the noise in coefficients x [C, T, bins] that stand for q, in place."""
    bins = octaves.shape[2]
    head = torch.from_numpy(x[:, :, :bins].astype(np.float32))
    x[:, :, :bins] = grown(head, torch.from_numpy(q[:, :, :bins] == 0), octaves).numpy()
