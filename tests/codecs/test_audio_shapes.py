"""Shapes of bands that hold only noise: what is sent, what a decoder makes of it, what damage does."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from tersor import weights
from tersor.codecs.audio.bands import band_edges, block_length
from tersor.codecs.audio.codec import AudioCodec
from tersor.codecs.audio.header import AudioHeader
from tersor.codecs.audio.noise_shaping import PROFILES, coded_bands, rms_of
from tersor.codecs.audio.options import CONTENTS
from tersor.codecs.audio.segment import Frames, Shaping, encode_frames, prepare, read_symbols
from tersor.codecs.audio.shape_loops import SHAPE_MAX
from tersor.codecs.audio.shapes import SHAPE_TOLERANCE, dequantise_shaped, open_parts, parts_of, shapes_of
from tersor.codecs.audio.symbols import symbols
from tersor.codecs.audio.transform import FULL_SCALE, analysis, quantise
from tersor.container import Reader
from tersor.entropy.binary_tables import adaptive_tables
from tersor.errors import BitstreamError
from tersor.signals import Audio

RATE = 16000
BLOCK = block_length(RATE)
EDGES = band_edges(RATE, BLOCK)
SPEECH = CONTENTS["speech"]
SHAPING = Shaping(gain=230, profile=SPEECH)


def hiss(seconds: float = 1.0, top_hz: float = 6300.0) -> np.ndarray:
    """float64 [1, n]: a loud hum below, and noise up to an edge in the middle of a band."""
    n = round(seconds * RATE)
    spectrum = np.fft.rfft(np.random.default_rng(0).normal(0, 0.004, n))
    spectrum[np.fft.rfftfreq(n, 1 / RATE) > top_hz] = 0
    return (np.fft.irfft(spectrum, n) + 0.3 * np.sin(2 * np.pi * 220 * np.arange(n) / RATE))[None]


def frames_of(y: np.ndarray) -> Frames:
    x = y[:, : y.shape[1] // BLOCK * BLOCK] * FULL_SCALE
    splits = np.zeros(x.shape[1] // BLOCK, np.uint8)
    return prepare(analysis(x.copy(), splits, BLOCK), splits, RATE)


@pytest.mark.parametrize("rate", [1000, 8000, 16000, 24000, 44100, 96000])
def test_parts_lie_in_bands(rate: int) -> None:
    block = block_length(rate)
    parts, edges = parts_of(rate, block), band_edges(rate, block)
    assert np.isin(edges, parts.edges).all()
    assert (np.diff(parts.edges) >= 4).all()
    assert np.array_equal(parts.bands, np.searchsorted(edges, parts.edges[:-1], "right") - 1)
    several = np.bincount(parts.bands) > 1
    assert np.array_equal(parts.shaped, several[parts.bands])
    hz = edges[:-1] * rate / (2 * block)
    assert not several[hz >= 8000].any()
    assert several[(hz >= 3600) & (hz < 7900) & (np.diff(edges) >= 24)].all()


def test_shapes_follow_the_spectrum_inside_a_band() -> None:
    frames, parts = frames_of(hiss()), parts_of(RATE, BLOCK)
    exponents = SHAPING.exponents(frames.envelope, RATE, BLOCK)
    is_open = open_parts(frames.envelope, exponents, parts)
    assert is_open.any()
    shapes = shapes_of(frames.x, frames.envelope, exponents, parts)
    assert not shapes[~is_open].any()
    assert np.abs(shapes).max() <= SHAPE_MAX
    above = is_open & (parts.edges[:-1] * RATE / (2 * BLOCK) >= 6400)
    band = parts.bands == np.searchsorted(EDGES * RATE / (2 * BLOCK), 6400) - 1
    assert (shapes[above & band] == -SHAPE_MAX).mean() > 0.9  # nothing is there
    mean = np.add.reduceat(frames.x**2, parts.edges[:-1], 2) / np.diff(parts.edges)
    wanted = np.log2(np.sqrt(mean) / np.maximum(rms_of(frames.envelope)[:, :, parts.bands], 1e-9))
    inside = is_open & (np.abs(wanted) < SHAPE_MAX - 1)
    assert np.abs(shapes - wanted)[inside].max() <= SHAPE_TOLERANCE + 1e-9


def test_what_is_written_is_read() -> None:
    frames, tables = frames_of(hiss()), adaptive_tables()
    payload = encode_frames(frames, RATE, SHAPING, 0.4, tables)
    shaping, coded, q = read_symbols(payload, RATE, 1, frames.x.shape[1], tables, "it")
    exponents = SHAPING.exponents(frames.envelope, RATE, BLOCK)
    assert shaping == SHAPING
    assert np.array_equal(coded.envelope, frames.envelope)
    assert coded.shapes is not None
    parts = parts_of(RATE, BLOCK)
    assert np.array_equal(coded.shapes, shapes_of(frames.x, frames.envelope, exponents, parts))
    assert np.array_equal(q, quantise(frames.x, frames.envelope, exponents, EDGES, 0.4))
    cut = payload[: len(payload) // 2]
    with pytest.raises(BitstreamError, match="it: the symbols end at byte"):
        read_symbols(cut, RATE, 1, frames.x.shape[1], tables, "it")


def test_noise_has_the_energy_of_every_part() -> None:
    frames, parts = frames_of(hiss()), parts_of(RATE, BLOCK)
    exponents = SHAPING.exponents(frames.envelope, RATE, BLOCK)
    shapes = shapes_of(frames.x, frames.envelope, exponents, parts)
    profile = dataclasses.replace(PROFILES[SPEECH], fill_empty=(64,) * 22)
    q = quantise(frames.x, frames.envelope, exponents, EDGES, 0.4)
    x = dequantise_shaped(q, frames.envelope, exponents, shapes, parts, profile, 3)
    rms = np.sqrt(np.add.reduceat(x**2, parts.edges[:-1], 2) / np.diff(parts.edges))
    expected = rms_of(frames.envelope)[:, :, parts.bands] * np.exp2(shapes)
    empty = ~coded_bands(frames.envelope, exponents)[:, :, parts.bands]
    assert empty.any()
    assert rms[empty] == pytest.approx(expected[empty], rel=1e-9)
    assert not np.array_equal(x, dequantise_shaped(q, frames.envelope, exponents, shapes, parts, profile, 4))


def test_an_edge_inside_a_band_comes_back() -> None:
    sound = Audio(samples=np.round(hiss(2.0).T * 32767).astype(np.int16), rate=RATE)
    codec = AudioCodec()
    (file,) = codec.encode_batch([sound], bitrate=8)
    y = np.asarray(codec.decode_batch([file])[0])[:, 0] / 32767
    power = np.abs(np.fft.rfft(y)) ** 2
    hz = np.fft.rfftfreq(len(y), 1 / RATE)
    inside, outside = (power[(hz > a) & (hz < b)].mean() for a, b in ((5200, 6000), (6550, 6950)))
    assert outside < inside / 30
    original = np.abs(np.fft.rfft(hiss(2.0)[0])) ** 2
    assert inside == pytest.approx(original[(hz > 5200) & (hz < 6000)].mean(), rel=0.6)
    assert [a.ndim for a in next(symbols(file))] == [1, 3, 3, 3]


def test_sound_without_speech_needs_no_new_tables() -> None:
    sound = Audio(samples=np.round(hiss().T * 32767).astype(np.int16), rate=RATE)
    files = AudioCodec().encode_batch([sound], quality=40) + AudioCodec().encode_batch(
        [sound], quality=40, content="music"
    )
    digests = [AudioHeader.unpack(Reader(f).header, 1).digest for f in files]
    assert digests == [weights.find("audio").digest, adaptive_tables().base_digest]
    with pytest.raises(BitstreamError, match="needs tables of speech"):
        read_symbols(Reader(files[0]).chunk(0), RATE, 1, 50, adaptive_tables(digests[1]), "it")
