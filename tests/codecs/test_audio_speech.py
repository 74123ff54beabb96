"""Of speech: where its noise lies, what the encoder hears, what the decoder's net may do."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tersor.codecs.audio import speech_decode, speech_features, speech_plain
from tersor.codecs.audio.bands import EDGES_HZ, band_edges, block_length
from tersor.codecs.audio.codec import AudioCodec
from tersor.codecs.audio.loudness import CRITICAL_BANDS, FINE_BANDS, SPEECH_POWER, Loudness
from tersor.codecs.audio.noise_shaping import MUSIC, PROFILES, SPEECH, heights_of, step_exponents
from tersor.codecs.audio.segment import Frames, Shaping, prepare, reconstruct
from tersor.codecs.audio.segment_loops import NOT_CODED
from tersor.codecs.audio.speech_decode import grow, octaves_of
from tersor.codecs.audio.speech_encode import refine
from tersor.codecs.audio.speech_features import BINS, features_of
from tersor.codecs.audio.transform import (
    FULL_SCALE,
    analysis,
    choose_splits,
    envelope_of,
    quantise,
    speech_power,
    synthesis,
)
from tersor.entropy.binary_tables import adaptive_tables, arithmetic_tables, tables_from
from tersor.errors import BitstreamError, SignalError, WeightsError
from tersor.models.speech import FEATURES, NOISE_OCTAVES, SpeechNet, speech_net
from tersor.signals import Audio
from tersor.testing.samples import voice

RATE = 16000
BLOCK = block_length(RATE)
EDGES = band_edges(RATE, BLOCK)
ROUNDING = 0.34


def frames_of(y: np.ndarray) -> Frames:
    x = y[None, : len(y) // BLOCK * BLOCK] * FULL_SCALE
    splits = choose_splits(x, BLOCK, EDGES)
    return prepare(analysis(x.copy(), splits, BLOCK), splits, RATE)


def ear_of(y: np.ndarray, bands: tuple[float, float] = FINE_BANDS) -> Loudness:
    return Loudness(
        torch.from_numpy(y.astype(np.float32)), RATE, (SPEECH_POWER / float((y**2).mean())) ** 0.5, bands
    )


def test_a_profile_has_a_number_for_every_band() -> None:
    for profile in PROFILES:
        for numbers in (profile.offsets, profile.fill, profile.fill_empty):
            assert len(numbers) == len(EDGES_HZ)


def test_steps_are_integers_and_lag_behind_onsets() -> None:
    envelope = np.full((1, 6, len(EDGES) - 1), 10, np.int32)
    envelope[0, 3:] = 20
    speech = step_exponents(envelope, 0, SPEECH, RATE, BLOCK)
    assert speech.dtype == np.int64
    assert (speech[0, 3] < speech[0, 4]).all()  # just risen: finer
    assert np.array_equal(speech[0, 4], speech[0, 5])
    level = step_exponents(envelope, 0, dataclasses.replace(MUSIC, rise=0), RATE, BLOCK)
    assert np.array_equal(level[0, 3], level[0, 4])
    assert np.array_equal(step_exponents(envelope, 7, SPEECH, RATE, BLOCK) - speech, np.full_like(speech, 7))


def test_pairs_of_channels_share_steps() -> None:
    envelope = np.random.default_rng(0).integers(0, 30, (3, 9, len(EDGES) - 1)).astype(np.int32)
    x = step_exponents(envelope, 50, MUSIC, RATE, BLOCK)
    assert np.array_equal(x[0], x[1])
    assert not np.array_equal(x[0], x[2])


def test_envelopes_are_within_their_tolerance() -> None:
    frames = frames_of(voice(2))
    power = np.add.reduceat(frames.x**2, EDGES[:-1], 2) / np.diff(EDGES)
    levels = (np.log2(power) / 2 + 4) * 4 / 3
    inside = (levels > 0.7) & (levels < 62)
    assert np.abs(frames.envelope - levels)[inside].max() <= 0.65 + 1e-9
    assert np.array_equal(frames.envelope, envelope_of(frames.x, EDGES))


def test_profiles_and_gains_that_are_not_are_errors() -> None:
    for gain, profile in ((0, len(PROFILES)), (5000, 0)):
        with pytest.raises(BitstreamError, match="allowed are"):
            Shaping(gain=gain, profile=profile)


@pytest.mark.parametrize("bands", [FINE_BANDS, CRITICAL_BANDS])
def test_what_is_heard(bands: tuple[float, float]) -> None:
    y = voice(2)
    ear = ear_of(y, bands)
    rng = np.random.default_rng(1)
    noise = rng.normal(size=len(y))

    def heard(z: np.ndarray, coloured: bool = False) -> float:
        return float(ear.disturbance(torch.from_numpy(z.astype(np.float32)), coloured).mean())

    assert heard(y) < 0.2
    assert heard(y) < heard(y + 1e-4 * noise) < heard(y + 1e-3 * noise) < heard(y + 1e-2 * noise)
    quiet = y < np.inf
    quiet[len(y) // 2 :] = False
    assert heard(y * quiet) > heard(y)
    spectrum = np.fft.rfft(y)
    spectrum[len(spectrum) // 3 :] *= 0.3
    dull = np.fft.irfft(spectrum, len(y))
    assert heard(dull, coloured=True) < 0.7 * heard(dull)


def test_listening_lowers_what_is_heard() -> None:
    y = voice(3)
    frames, tables, shaping = frames_of(y), adaptive_tables(), Shaping(gain=190, profile=2)
    power = speech_power(frames.x, RATE)

    def decoded(f: Frames) -> np.ndarray:
        q = quantise(f.x, f.envelope, shaping.exponents(f.envelope, RATE, BLOCK), EDGES, ROUNDING)
        return synthesis(reconstruct(q, f, RATE, shaping, 5, tables), frames.splits)[0] / FULL_SCALE

    refined = refine(frames, RATE, shaping, ROUNDING, 5, power, 6)
    ear = ear_of(synthesis(frames.x.copy(), frames.splits)[0] / FULL_SCALE)
    before, after = (
        (ear.disturbance(torch.from_numpy(decoded(f).astype(np.float32))) ** 2).mean()
        for f in (frames, refined)
    )
    assert after < 0.95 * before
    assert refine(frames, RATE, shaping, ROUNDING, 5, power, 0) is frames
    silent = dataclasses.replace(frames, x=np.zeros_like(frames.x))
    assert refine(silent, RATE, shaping, ROUNDING, 5, 0.0, 6) is silent


def test_the_net_changes_noise_within_bounds() -> None:
    frames = frames_of(voice(1))
    exponents = step_exponents(frames.envelope, 190, SPEECH, RATE, BLOCK)
    heights = heights_of(frames.envelope, exponents)
    assert (heights == NOT_CODED).any()
    q = quantise(frames.x, frames.envelope, exponents, EDGES, ROUNDING)
    seen = features_of(q, frames.envelope, heights, frames.splits, EDGES)
    features = torch.from_numpy(seen)
    assert features.shape == (1, 10, frames.x.shape[1], min(BINS, BLOCK))
    assert torch.isfinite(features).all()
    x = np.random.default_rng(0).normal(size=frames.x.shape)
    same = x.copy()
    grow(same, q, octaves_of(SpeechNet().eval(), features))
    assert np.abs(same - x).max() < 1e-6  # a new net changes nothing
    other = x.copy()
    grow(other, q, octaves_of(speech_net(adaptive_tables()), features))
    octaves = np.log2(other / x)
    assert np.abs(octaves[q == 0]).max() <= NOISE_OCTAVES + 1e-5
    assert np.abs(octaves[q != 0]).max() < 1e-5
    assert np.abs(octaves).max() > 0.1
    plain, torchs = x.copy(), x.copy()
    speech_plain.fill(plain, q, seen, adaptive_tables())
    speech_decode.fill(torchs, q, seen, adaptive_tables())
    assert np.array_equal(torchs, other)
    assert np.abs(plain / torchs - 1).max() < 1e-5  # without torch, but for rounding the same
    assert speech_features.FEATURES == FEATURES


def test_tables_without_a_net_are_an_error() -> None:
    with pytest.raises(WeightsError, match="net of speech"):
        speech_net(tables_from(dict(arithmetic_tables())))
    with pytest.raises(WeightsError, match="net of speech"):
        nothing = np.zeros((1, 10, 1, 1))
        speech_plain.fill(nothing[0], nothing[0], nothing, tables_from(dict(arithmetic_tables())))


def test_effort_and_content() -> None:
    codec = AudioCodec()
    sound = Audio(samples=np.round(32000 * voice(2)).astype(np.int16)[:, None], rate=RATE)
    files = [codec.encode_batch([sound], quality=40, effort=e)[0] for e in (1, 4)]
    assert files[0] != files[1]
    assert codec.encode_batch([sound], quality=40)[0] == files[0]
    with torch.inference_mode():
        assert codec.encode_batch([sound], quality=40, effort=4)[0] == files[1]
    assert abs(len(files[0]) / len(files[1]) - 1) < 0.1
    stereo = Audio(samples=np.repeat(sound.samples, 2, 1), rate=RATE)
    assert len({codec.encode_batch([stereo], quality=40, effort=e)[0][-500:] for e in (1, 4)}) == 1
    as_music = codec.encode_batch([sound], quality=40, content="music")[0]
    assert as_music == codec.encode_batch([sound], quality=40, content="music", effort=4)[0]
    assert as_music != files[0]
    assert (
        codec.encode_batch([stereo], quality=40, content="speech")[0]
        != codec.encode_batch([stereo], quality=40)[0]
    )
    with pytest.raises(SignalError, match="speech and music"):
        codec.encode_batch([sound], content="noise")
    for effort in (0, 10, 2.5):
        with pytest.raises(SignalError, match="allowed are whole numbers from 1 to 9"):
            codec.encode_batch([sound], effort=effort)


def test_music_needs_no_torch() -> None:
    coding = (
        "import numpy as np, tersor; "
        "tersor.decode(tersor.encode(np.zeros((900, 2), np.int16), codec='audio', rate=8000))"
    )
    script = f"{coding}; import sys; print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert done.stdout.strip() == "False"


def test_the_net_leaves_torch_as_it_is() -> None:
    script = (
        "import numpy as np, torch, tersor; torch.manual_seed(0); "
        "x = (9000 * np.sin(np.arange(8000) / 9)).astype(np.int16)\n"
        "a = tersor.decode(tersor.encode(x, codec='audio', rate=8000, bitrate=16)); "
        "print(float(torch.rand(1)))\n"
        "torch.set_default_dtype(torch.float64); b = tersor.decode(tersor.encode(x, codec='audio', "
        "rate=8000, bitrate=16)); print(np.array_equal(a, b))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    torch.manual_seed(0)
    assert done.stdout.split() == [str(float(torch.rand(1))), "True"]


def test_silence_does_not_pay_for_a_burst() -> None:
    y = np.concatenate([np.zeros(20 * RATE), voice(4)])
    sound = np.round(32000 * y).astype(np.int16)[:, None]
    stream = AudioCodec().stream(rate=RATE, bitrate=16)
    packets = stream.push(sound) + stream.end()
    seconds = stream.header.segment / RATE
    assert max(8 * len(p) / seconds for p in packets) < 16000 * (1 + 1.2 / seconds)
    assert sum(8 * len(p) for p in packets[41:]) / 4 < 16000 * 1.4


def test_segments_and_levels_that_do_not_fit_are_refused() -> None:
    codec = AudioCodec()
    with pytest.raises(SignalError, match="give a shorter one"):
        codec.encode_batch([np.zeros(100, np.int16)], rate=768_000, segment=20)
    with pytest.raises(SignalError, match="full scale is 1"):
        codec.encode_batch([np.full(100, 1e13)], rate=8000)
    with pytest.raises(SignalError, match="sample 7 "):
        codec.stream(rate=8000, dtype=np.float32).push(np.array([[0.0]] * 7 + [[np.nan]], np.float32))
