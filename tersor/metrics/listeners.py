"""Judges of speech that were learned from people: a predictor of opinion and a space of voices. Both ship
their weights in a package, and neither is in a loss of ours.

All take float64 [C, n] of full scale 1, the decoded one with no delay and of equal length, and hear the mean
of the channels at 16 kHz.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from tersor.errors import MissingDependencyError
from tersor.metrics.audio import Floats, resample

RATE = 16_000


def dnsmos(x: Floats, y: Floats, rate: int) -> float:
    """What people would say of y alone (P.808), MOS 1 to 5; the original is not heard.

    Source: Reddy, Gopal, Cutler 2022, "DNSMOS P.835"; the model of P.808 in the package speechmos.
    """
    try:
        from speechmos import dnsmos as model
    except ImportError as e:
        raise MissingDependencyError(
            "DNSMOS needs speechmos with librosa, onnxruntime and requests: pip install 'tersor[judges]'"
        ) from e
    return float(model.run(np.clip(_mono(y, rate), -1, 1), RATE)["p808_mos"])


def voice_distance(x: Floats, y: Floats, rate: int) -> float:
    """1 less the cosine between embeddings of the two voices, 0 to 2.

    Source: Wan et al. 2018, "Generalized end-to-end loss for speaker verification"; weights of the package
    resemblyzer.
    """
    encoder, prepared = _voice_encoder()
    a, b = (encoder.embed_utterance(prepared(_mono(v, rate))) for v in (x, y))
    return float(1 - (a * b).sum() / max(float(np.sqrt((a * a).sum() * (b * b).sum())), 1e-12))


@functools.cache
def _voice_encoder() -> tuple[Any, Any]:
    try:
        import resemblyzer
    except ImportError as e:
        raise MissingDependencyError(
            "the distance of voices needs the package resemblyzer: pip install 'tersor[judges]'"
        ) from e
    return resemblyzer.VoiceEncoder("cpu", verbose=False), resemblyzer.preprocess_wav


def _mono(v: Floats, rate: int) -> Floats:
    return resample(v.mean(0, keepdims=True), rate, RATE)[0]
