"""How much louder or softer a decoded sound is than the original, in each quarter of a Bark and 16 ms: what the encoder of speech tries to lower.

The measure follows the perceptual model of P.862: power spectra of 32 ms, summed over bands; loudness of each band above the threshold of hearing; differences of less
than a quarter of the loudness are not heard, and what is added is worse than what is missing. Nothing of it takes part in decoding.

Sources: Beerends et al. 2002, "PESQ, part II: psychoacoustic model"; Zwicker and Fastl 1999 (Bark scale, loudness); Terhardt 1979 (threshold of hearing).
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

WINDOW_SECONDS = 0.032
BAND_BARK = 0.25
TOP_HZ = 8000.0
HIGH_PASS_HZ = 100.0
EXPONENT = 0.23
UNHEARD = 0.25
ASYMMETRY, ASYMMETRY_FROM, ASYMMETRY_MAX = 1.2, 3.0, 12.0
ADDED_WEIGHT = 0.309
SOFT = 50.0
FRAME_SOFT, FRAME_EXPONENT = 1e5, 0.04
SCALE_SOFT = 5e3
SPEECH_POWER = 1e7
POWER_UNIT = 3.55e-3
LOUDNESS_UNIT = 0.0187


class Loudness:
    """Distance of sounds from one sound.

    Args:
        x: the original, float32 [n].
        rate: samples a second.
        gain: brings the sound to the level at which speech has the power `SPEECH_POWER`, that of 79 dB SPL.
    """

    def __init__(self, x: Tensor, rate: int, gain: float) -> None:
        self.hop = max(1, round(rate * WINDOW_SECONDS / 2))
        n = 2 * self.hop
        self.window = torch.hann_window(n) * (gain * 512 / n)
        k = max(2, min(self.hop, int(TOP_HZ * n / rate)))
        hz = np.arange(k) * rate / n
        first, centre = _bands(hz)
        width = np.diff(np.append(first, first[-1] + BAND_BARK)).astype(np.float32)
        sums = np.zeros((k, len(first)), np.float32)
        sums[np.arange(1, k), np.searchsorted(first, bark(hz[1:]), "right") - 1] = POWER_UNIT
        sums *= (hz**4 / (hz**4 + HIGH_PASS_HZ**4))[:, None]
        self._sums, self._width = torch.from_numpy(sums), torch.from_numpy(width)
        self._threshold = torch.from_numpy((10 ** (hearing_threshold_db(centre) / 10)).astype(np.float32))
        steeper = np.where(bark(centre) < 4, np.minimum(6 / (bark(centre) + 2), 2), 1) ** 0.15
        self._exponent = torch.from_numpy((EXPONENT * steeper).astype(np.float32))
        self._total = float(width.sum())
        self._power = self._powers(x)
        self._loudness = self._louder(self._power)
        self._frame = self._power.sum(1)
        self._weight = ((self._frame + FRAME_SOFT) / SPEECH_POWER) ** FRAME_EXPONENT

    def disturbance(self, y: Tensor) -> Tensor:
        """Of each frame, float32 [frames]; frame i is centred on sample i hop of y [n]."""
        power = self._powers(y)
        scale = (self._frame + SCALE_SOFT) / (power.detach().sum(1) + SCALE_SOFT)
        power = power * scale.clamp(3e-4, 5.0)[:, None]
        loudness = self._louder(power)
        d = loudness - self._loudness
        d = torch.sign(d) * (d.abs() - UNHEARD * torch.minimum(loudness, self._loudness)).clamp(min=0) * self._width
        ratio = ((power.detach() + SOFT) / (self._power + SOFT)) ** ASYMMETRY
        added = torch.where(ratio < ASYMMETRY_FROM, torch.zeros_like(ratio), ratio.clamp(max=ASYMMETRY_MAX))
        symmetric = ((d**2).sum(1) * self._total + 1e-4).sqrt()
        return (symmetric + ADDED_WEIGHT * (d.abs() * added).sum(1)) / self._weight

    def _powers(self, y: Tensor) -> Tensor:
        padded = torch.nn.functional.pad(y, (self.hop, 2 * self.hop - (len(y) % self.hop)))
        spectrum = torch.fft.rfft(padded.unfold(0, 2 * self.hop, self.hop) * self.window)[:, : len(self._sums)]
        return (spectrum.real**2 + spectrum.imag**2) @ self._sums

    def _louder(self, power: Tensor) -> Tensor:
        t = self._threshold
        return LOUDNESS_UNIT * (2 * t) ** self._exponent * ((0.5 + 0.5 * (power / t).clamp(min=1)) ** self._exponent - 1)


def bark(hz: NDArray[np.float64]) -> NDArray[np.float64]:
    """Critical band rate. Source: Zwicker and Terhardt 1980."""
    return np.asarray(13 * np.arctan(0.00076 * hz) + 3.5 * np.arctan((hz / 7500) ** 2))


def hearing_threshold_db(hz: NDArray[np.float64]) -> NDArray[np.float64]:
    """Threshold in quiet, less the 6 dB of listening with one ear."""
    k = np.maximum(hz, 20) / 1000
    return np.asarray(3.64 * k**-0.8 - 6.5 * np.exp(-0.6 * (k - 3.3) ** 2) + 1e-3 * k**4 - 6)


def _bands(hz: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """First critical band rate of each band and its centre in Hz: bands of a quarter Bark, or one bin."""
    first: list[float] = []
    members: list[list[float]] = []
    for f, z in zip(hz[1:].tolist(), bark(hz[1:]).tolist(), strict=True):
        if not first or z >= first[-1] + BAND_BARK - 1e-9:
            first.append(z)
            members.append([])
        members[-1].append(f)
    return np.array(first), np.array([np.mean(m) for m in members])
