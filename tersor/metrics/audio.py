"""Distances between sounds: PESQ, STOI, ViSQOL, SI-SDR and a mel distance; what is not installed is an error
that names the package.

All take float64 [C, n] of full scale 1, the decoded one with no delay and of equal length. PESQ, STOI and
ViSQOL see the mean of the channels.
"""

from __future__ import annotations

import functools
import math
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tersor.errors import MissingDependencyError

Floats = NDArray[np.float64]
MEL_WINDOW_SECONDS = 0.032  # G
MEL_BANDS = 80  # G
MEL_FLOOR = 1e-5  # G
VISQOL_RATES = {"speech": 16_000, "audio": 48_000}  # F: of ViSQOL


def resample(x: Floats, rate: int, to: int) -> Floats:
    """[C, n] at another rate."""
    if rate == to:
        return x
    import torch

    try:
        from torchaudio.functional import resample as convert
    except ImportError as e:
        raise MissingDependencyError("resampling needs torchaudio: pip install 'tersor[eval]'") from e
    return np.asarray(
        convert(torch.from_numpy(np.ascontiguousarray(x)), rate, to, lowpass_filter_width=24).numpy()
    )


def pesq_wb(x: Floats, y: Floats, rate: int) -> float:
    """PESQ, wide band, MOS-LQO 1 to 4.64; NaN where it finds no utterance. Source: ITU-T P.862.2."""
    try:
        from pesq import NoUtterancesError, pesq
    except ImportError as e:
        raise MissingDependencyError("PESQ needs the package pesq: pip install 'tersor[eval]'") from e
    a, b = (resample(v.mean(0, keepdims=True), rate, 16_000)[0] for v in (x, y))
    try:
        return float(pesq(16_000, a, b, "wb"))
    except NoUtterancesError:
        return math.nan


def stoi(x: Floats, y: Floats, rate: int) -> float:
    """Short-time objective intelligibility, 0 to 1. Source: Taal et al. 2011."""
    try:
        from pystoi import stoi as measure
    except ImportError as e:
        raise MissingDependencyError("STOI needs the package pystoi: pip install 'tersor[eval]'") from e
    return float(measure(x.mean(0), y.mean(0), rate))


@functools.cache
def visqol_api(mode: str) -> Any:
    """Raises: MissingDependencyError."""
    try:
        from visqol import VisqolApi

        if mode == "speech":
            import_module(
                "ai_edge_litert"
            )  # without it the package maps similarity to MOS by a polynomial, 1 to 2 too high
    except ImportError as e:
        raise MissingDependencyError(
            "ViSQOL needs the package visqol-python with its speech model: "
            "pip install 'visqol-python[lattice]', or leave out --visqol"
        ) from e
    api = VisqolApi()
    api.create(mode=mode)
    return api


def visqol(x: Floats, y: Floats, rate: int, mode: str) -> float:
    """ViSQOL, MOS-LQO 1 to 5, "speech" or "audio". Source: Chinen et al. 2020."""
    api = visqol_api(mode)
    to = VISQOL_RATES[mode]
    a, b = (resample(v.mean(0, keepdims=True), rate, to)[0] for v in (x, y))
    return float(api.measure_from_arrays(a, b, to).moslqo)


def si_sdr_db(x: Floats, y: Floats) -> float:
    """Scale-invariant signal-to-distortion ratio over all channels. Source: Le Roux et al. 2019."""
    scale = float((x * y).sum() / max(float((x * x).sum()), 1e-30))
    error = float(((y - scale * x) ** 2).sum())
    return 10 * math.log10(max(scale * scale * float((x * x).sum()), 1e-30) / max(error, 1e-30))


@functools.cache
def _mel_filters(rate: int, window: int) -> Floats:
    """[window / 2 + 1, bands], triangles over the HTK mel scale."""
    mel = np.linspace(0, 2595 * np.log10(1 + rate / 2 / 700), MEL_BANDS + 2)
    edges = 700 * (10 ** (mel / 2595) - 1)
    f = np.fft.rfftfreq(window, 1 / rate)[:, None]
    up, down = (f - edges[:-2]) / np.diff(edges)[:-1], (edges[2:] - f) / np.diff(edges)[1:]
    return np.maximum(0, np.minimum(up, down))


def mel_distance(x: Floats, y: Floats, rate: int) -> float:
    """Mean absolute difference of log10 mel magnitudes, 80 bands up to half the sample rate, windows of 32
    ms, floor 1e-5; over the channels.
    """
    window = 1 << round(math.log2(rate * MEL_WINDOW_SECONDS))
    filters = _mel_filters(rate, window)
    hann = np.hanning(window)

    def mels(v: Floats) -> Floats:
        v = np.pad(v, ((0, 0), (0, max(0, window - v.shape[1]))))
        frames = np.lib.stride_tricks.sliding_window_view(v, window, 1)[:, :: window // 4] * hann
        return np.log10(np.maximum(np.abs(np.fft.rfft(frames)) @ filters, MEL_FLOOR))

    return float(np.abs(mels(x) - mels(y)).mean())
