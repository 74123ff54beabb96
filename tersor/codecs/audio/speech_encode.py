"""The encoder of speech listens to itself: coefficients are moved until their quantised version disturbs
less, at about the same rate.

Quantised coefficients are reconstructed as a decoder would, noise included, and heard (`loudness.py`).
The slope of what is heard moves the coefficients a little, so that those near a decision fall to the other
side where the loudness of a band asks for it. A frame keeps what helped it, and takes smaller steps after
what did not. The decoder knows nothing of this.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from tersor.codecs.audio.bands import band_edges
from tersor.codecs.audio.loudness import SPEECH_POWER, Loudness
from tersor.codecs.audio.mdct import Floats
from tersor.codecs.audio.noise_shaping import PROFILES, heights_of, steps_of
from tersor.codecs.audio.segment import Frames, Shaping, with_noise
from tersor.codecs.audio.segment_loops import NOT_CODED
from tersor.codecs.audio.shapes import parts_of, shapes_of
from tersor.codecs.audio.transform import FULL_SCALE, analysis, quantise, synthesis
from tersor.timing import stage

# G, all of them, and of the encoder alone.
STEP, GROWTH, CAUTION = 0.08, 1.2, 0.5
SLOPE_MAX = 3.0
REACH_SECONDS = 0.036


def refine(
    frames: Frames,
    rate: int,
    shaping: Shaping,
    rounding: float,
    seed: int,
    power: float,
    passes: int,
) -> Frames:
    """Frames of one channel whose quantised coefficients sound more like them.

    Args:
        seed: of the noise that a decoder will fill in.
        power: of speech at this sound's level; what is heard depends on it.
        passes: how often it listens; 0 gives the frames back.
    """
    if not passes or power <= 0:
        return frames
    with stage("refine"), torch.inference_mode(False), torch.enable_grad():
        return replace(frames, x=_refined(frames, rate, shaping, rounding, seed, power, passes))


def _refined(
    frames: Frames,
    rate: int,
    shaping: Shaping,
    rounding: float,
    seed: int,
    power: float,
    passes: int,
) -> Floats:
    block, profile = frames.x.shape[2], PROFILES[shaping.profile]
    edges = band_edges(rate, block)
    exponents = shaping.exponents(frames.envelope, rate, block)
    heights = heights_of(frames.envelope, exponents)
    steps = np.repeat(np.where(heights != NOT_CODED, steps_of(exponents), 0), np.diff(edges), 2)
    coded = np.maximum((steps > 0).sum(2, keepdims=True), 1)
    ear = Loudness(_tensor(synthesis(frames.x.copy(), frames.splits)[0]), rate, (SPEECH_POWER / power) ** 0.5)
    nearness = _nearness(frames.x.shape[1], block, -(-frames.x[0].size // ear.hop) + 2, ear.hop, rate)
    shapes = (
        shapes_of(frames.x, frames.envelope, exponents, parts_of(rate, block)) if profile.shaped else None
    )
    coded_as = replace(frames, shapes=shapes)
    best = frames.x.copy()
    x = best
    speed = np.full((1, len(frames.splits), 1), STEP)
    least: NDArray[np.float64] | None = None
    for i in range(passes + 1):
        q = quantise(x, frames.envelope, exponents, edges, rounding)
        decoded = with_noise(q, coded_as, rate, exponents, profile, seed)
        y = _tensor(synthesis(decoded, frames.splits)[0]).requires_grad_()
        heard = ear.disturbance(y) ** 2
        local = nearness[:, : len(heard)] @ heard.detach().numpy()
        if least is None:
            least = local
        else:
            better = local <= least
            best[:, better] = x[:, better]
            least = np.minimum(least, local)
            speed[0, :, 0] *= np.where(better, GROWTH, CAUTION)
        if i == passes:
            break
        (slope,) = torch.autograd.grad(heard.sum(), y)
        s = analysis(slope.numpy().astype(np.float64)[None], frames.splits, block) * steps
        s /= np.sqrt((s**2).sum(2, keepdims=True) / coded) + 1e-30
        x = best - speed * steps * np.clip(s, -SLOPE_MAX, SLOPE_MAX)
    return best


def _tensor(y: Floats) -> torch.Tensor:
    return torch.from_numpy((y / FULL_SCALE).astype(np.float32))


def _nearness(frames: int, block: int, heard: int, hop: int, rate: int) -> NDArray[np.float64]:
    """How much what is heard at i hop belongs to frame t, [frames, heard]."""
    apart = (np.arange(frames)[:, None] + 0.5) * block / rate - np.arange(heard) * hop / rate
    return np.maximum(0, 1 - np.abs(apart) / REACH_SECONDS)
