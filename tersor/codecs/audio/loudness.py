"""How much louder or softer a decoded sound is than the original, in each band and 16 ms: what the encoder of
speech tries to lower.

The measure follows the perceptual model of P.862: power spectra of 32 ms, summed over bands; loudness of each
band above the threshold of hearing; differences of less than a quarter of the loudness are not heard, and
what is added is worse than what is missing. Nothing of it takes part in decoding.

Sources: Beerends et al. 2002, "PESQ, part II: psychoacoustic model"; Zwicker and Fastl 1999 (Bark scale,
loudness); Terhardt 1979 (threshold of hearing).
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

# G, all of them, and of the encoder alone; widths, exponents, thresholds and units are those of P.862.
WINDOW_SECONDS = 0.032
FINE_BANDS = (0.25, 0.0)
CRITICAL_BANDS = (0.314, 0.0137)
TOP_HZ = 8000.0
HIGH_PASS_HZ = 100.0
EXPONENT = 0.23
UNHEARD = 0.25
ASYMMETRY, ASYMMETRY_FROM, ASYMMETRY_MAX = 1.2, 3.0, 12.0
ADDED_WEIGHT = 0.309
SOFT = 50.0
FRAME_SOFT, FRAME_EXPONENT = 1e5, 0.04
SCALE_SOFT, COLOUR_SOFT = 5e3, 1e3
SPEECH_POWER = 1e7
POWER_UNIT = 3.55e-3
LOUDNESS_UNIT = 0.0187


class Loudness:
    """Distance of sounds from one sound.

    Args:
        x: the original, float32 [n].
        rate: samples a second.
        bands: width of a band in Bark, and what it grows by in a Bark: `FINE_BANDS`, or those of P.862,
            `CRITICAL_BANDS`.
        gain: brings the sound to the level at which speech has the power `SPEECH_POWER`, that of 79 dB SPL.
    """

    def __init__(self, x: Tensor, rate: int, gain: float, bands: tuple[float, float] = FINE_BANDS) -> None:
        self.hop = 16 * max(1, round(rate * WINDOW_SECONDS / 32))  # lengths that transform fast
        n = 2 * self.hop
        self.window = torch.hann_window(n, dtype=torch.float32, device="cpu") * (gain * 512 / n)
        k = max(2, min(self.hop, int(TOP_HZ * n / rate)))
        hz = np.arange(k) * rate / n
        band, width, centre = _bands(hz, bands)
        sums = np.zeros((k, len(width)), np.float32)
        sums[np.arange(1, k), band] = POWER_UNIT
        sums *= (hz**4 / (hz**4 + HIGH_PASS_HZ**4))[:, None]
        self._sums, self._width = torch.from_numpy(sums), torch.from_numpy(width)
        self._threshold = torch.from_numpy((10 ** (hearing_threshold_db(centre) / 10)).astype(np.float32))
        steeper = np.where(bark(centre) < 4, np.minimum(6 / (bark(centre) + 2), 2), 1) ** 0.15
        self._exponent = torch.from_numpy((EXPONENT * steeper).astype(np.float32))
        self._total = float(width.sum())
        self._power = self._powers(x)
        self._loudness = self._louder(self._power)
        self._weight = ((self._power.sum(1) + FRAME_SOFT) / SPEECH_POWER) ** FRAME_EXPONENT

    def disturbance(self, y: Tensor, coloured: bool = False) -> Tensor:
        """Of each frame, float32 [frames]; frame i is centred on sample i hop of y [n].

        Args:
            coloured: a colour of the whole sound, the mean over time of what each band gained or lost, is not
                heard.
        """
        power, original, before = self._powers(y), self._power, self._loudness
        if coloured:
            colour = (power.mean(0) + COLOUR_SOFT) / (original.mean(0) + COLOUR_SOFT)
            original = original * colour.clamp(0.01, 100.0)
            before = self._louder(original)
        scale = (original.sum(1) + SCALE_SOFT) / (power.detach().sum(1) + SCALE_SOFT)
        power = power * scale.clamp(3e-4, 5.0)[:, None]
        loudness = self._louder(power)
        d = loudness - before
        d = torch.sign(d) * (d.abs() - UNHEARD * torch.minimum(loudness, before)).clamp(min=0) * self._width
        ratio = ((power.detach() + SOFT) / (original.detach() + SOFT)) ** ASYMMETRY
        added = torch.where(ratio < ASYMMETRY_FROM, torch.zeros_like(ratio), ratio.clamp(max=ASYMMETRY_MAX))
        symmetric = ((d**2).sum(1) * self._total + 1e-4).sqrt()
        return (symmetric + ADDED_WEIGHT * (d.abs() * added).sum(1)) / self._weight

    def _powers(self, y: Tensor) -> Tensor:
        padded = torch.nn.functional.pad(y, (self.hop, 2 * self.hop - (len(y) % self.hop)))
        spectrum = torch.fft.rfft(padded.unfold(0, 2 * self.hop, self.hop) * self.window)[
            :, : len(self._sums)
        ]
        return (spectrum.real**2 + spectrum.imag**2) @ self._sums

    def _louder(self, power: Tensor) -> Tensor:
        t = self._threshold
        return (
            LOUDNESS_UNIT
            * (2 * t) ** self._exponent
            * ((0.5 + 0.5 * (power / t).clamp(min=1)) ** self._exponent - 1)
        )


def bark(hz: NDArray[np.float64]) -> NDArray[np.float64]:
    """Critical band rate. Source: Zwicker and Terhardt 1980."""
    return np.asarray(13 * np.arctan(0.00076 * hz) + 3.5 * np.arctan((hz / 7500) ** 2))


def hearing_threshold_db(hz: NDArray[np.float64]) -> NDArray[np.float64]:
    """Threshold in quiet, less the 6 dB of listening with one ear."""
    k = np.maximum(hz, 20) / 1000
    return np.asarray(3.64 * k**-0.8 - 6.5 * np.exp(-0.6 * (k - 3.3) ** 2) + 1e-3 * k**4 - 6)


def _bands(
    hz: NDArray[np.float64], bands: tuple[float, float]
) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.float64]]:
    """Band of each bin but the first; width in Bark and centre in Hz of each band; a band has at least one
    bin.
    """
    edges = [bands[0] / 2]
    while edges[-1] < bark(hz[-1:])[0]:
        edges.append(edges[-1] + bands[0] + bands[1] * edges[-1])
    found, band = np.unique(np.searchsorted(edges, bark(hz[1:]), "right"), return_inverse=True)
    half = (hz[1] - hz[0]) / 2
    width = np.bincount(band, bark(hz[1:] + half) - bark(hz[1:] - half))
    return band, width.astype(np.float32), np.array([hz[1:][band == i].mean() for i in range(len(found))])
