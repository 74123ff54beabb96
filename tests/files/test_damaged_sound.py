"""Checksums, gaps, layouts and what else sound files say beside their samples."""

from __future__ import annotations

import io
import random
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from tersor.cli import main
from tersor.errors import SignalError
from tersor.files.audio import AudioReader, audio_bytes, read_audio
from tersor.files.checksums import ogg_crc, ogg_damage
from tersor.signals import Audio


def sound(n: int = 40000, channels: int = 2, seed: int = 1) -> np.ndarray:
    t = np.arange(n) / 44100
    rng = np.random.default_rng(seed)
    waves = [np.sin(2 * np.pi * 220 * (c + 1) * t) * 12000 + rng.normal(0, 300, n) for c in range(channels)]
    return np.stack(waves, 1).astype(np.int16)


def encoded(form: str, codec: str, x: np.ndarray, skip: range = range(0), **metadata: str) -> bytes:
    """A file of FFmpeg's; frames of 1024 samples, those in `skip` left out (their time stamps too)."""
    out, rate = io.BytesIO(), 48000 if codec == "libopus" else 44100
    with av.open(out, "w", format=form) as file:
        file.metadata.update(metadata)
        stream = file.add_stream(codec, rate=rate, layout="stereo")
        for n, at in enumerate(range(0, len(x), 1024)):
            part = np.ascontiguousarray(x[at : at + 1024].reshape(1, -1))
            frame = av.AudioFrame.from_ndarray(part, format="s16", layout="stereo")
            frame.sample_rate, frame.pts, frame.time_base = rate, at, Fraction(1, rate)
            if n not in skip:
                file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return out.getvalue()


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    x = sound()
    return {
        "flac": audio_bytes(Audio(samples=x, rate=44100), ".flac"),
        "ogg": encoded("ogg", "flac", x),
        "opus": encoded("ogg", "libopus", x),
    }


@pytest.mark.parametrize("name", ["flac", "ogg", "opus"])
def test_no_flipped_bit_of_the_sound_goes_unnoticed(files: dict[str, bytes], name: str) -> None:
    file, rng = files[name], random.Random(0)
    whole = read_audio(file)
    assert not [n for n in whole.notes if "missing" in n]
    for _ in range(60):
        at = rng.randrange(8 * 8500, 8 * len(file)) if name == "flac" else rng.randrange(8 * len(file))
        bad = bytearray(file)
        bad[at // 8] ^= 1 << at % 8
        with pytest.raises(SignalError):
            read_audio(bytes(bad))


@pytest.mark.parametrize("name", ["flac", "ogg"])
def test_salvage_keeps_the_rest_and_says_what_is_missing(files: dict[str, bytes], name: str) -> None:
    bad = bytearray(files[name])
    bad[len(bad) // 2] ^= 1
    reader = AudioReader(bytes(bad), salvage=True)
    samples = np.concatenate(list(reader.blocks()))
    assert reader.notes
    if name == "flac":
        assert len(samples) == 40000
        same = (samples == sound()).all(1)
        assert 0.5 < same.mean() < 1


def test_flac_of_every_depth_has_the_md5_of_its_samples() -> None:
    rng = np.random.default_rng(0)
    for dtype, bits in (("i2", 16), ("i4", 24), ("u1", 8)):
        info = np.iinfo(dtype)
        x = rng.integers(info.min, info.max, (3000, 2), dtype=dtype)
        x = x if bits != 24 else x >> 8 << 8
        assert len(read_audio(audio_bytes(Audio(samples=x, rate=48000, bits=bits), ".flac")).samples) == 3000


def test_pages_of_ogg(files: dict[str, bytes]) -> None:
    assert ogg_crc(b"") == 0
    assert ogg_damage(files["ogg"]) == ""
    assert "the end is missing" in ogg_damage(files["ogg"][: files["ogg"].rindex(b"OggS")])
    assert "cut short" in ogg_damage(files["ogg"][:-9])
    assert ogg_damage(files["ogg"] + b"TAG" + bytes(125)) == ""
    second = files["ogg"].index(b"OggS", 5)
    third = files["ogg"].index(b"OggS", second + 5)
    assert "missing" in ogg_damage(files["ogg"][:second] + files["ogg"][third:])
    assert ogg_damage(files["ogg"] + files["opus"]) == "", "chained streams"


def test_gaps_are_noticed_and_filled_by_salvage() -> None:
    file = encoded("matroska", "pcm_s16le", sound(), range(10, 14))
    gap = [n for n in read_audio(file).notes if "missing" in n]
    assert len(gap) == 1
    assert "0.093 s" in gap[0]
    reader = AudioReader(file, salvage=True)
    assert abs(sum(map(len, reader.blocks())) - 40000) <= 64


@pytest.mark.parametrize("layout", ["2.1", "4.0", "5.1(side)", "6.0", "7.1(wide)", "5.1"])
@pytest.mark.parametrize("suffix", [".wav", ".flac"])
def test_layouts_of_channels_are_kept(layout: str, suffix: str, tmp_path: Path) -> None:
    x = sound(2000, av.AudioLayout(layout).nb_channels)
    path = tmp_path / "in.wav"
    path.write_bytes(audio_bytes(Audio(samples=x, rate=44100, layout=layout), ".wav"))
    assert main(["encode", str(path), "--lossless", "-q"]) == 0
    assert main(["decode", str(path.with_suffix(".tsr")), "-o", str(tmp_path / f"out{suffix}"), "-q"]) == 0
    with av.open(str(tmp_path / f"out{suffix}")) as out:
        assert out.streams.audio[0].layout.name == layout
    assert np.array_equal(read_audio(tmp_path / f"out{suffix}").samples, x)


def test_salvage_on_the_command_line(
    files: dict[str, bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is there is coded, and the line says what was lost; other kinds say that they have no salvage."""
    path = tmp_path / "x.flac"
    data = bytearray(files["flac"])
    data[len(data) // 2] ^= 255
    path.write_bytes(data)
    assert main(["encode", str(path), "--bitrate", "48"]) == 1
    assert "--salvage" in capsys.readouterr().err
    assert not path.with_suffix(".tsr").exists()
    assert main(["encode", str(path), "--bitrate", "48", "--salvage"]) == 0
    said = capsys.readouterr().out
    assert "MD5" in said or "missing" in said or "after" in said
    assert path.with_suffix(".tsr").stat().st_size > 1000
    np.save(tmp_path / "x.npy", np.zeros(4))
    assert main(["encode", str(tmp_path / "x.npy"), "--salvage"]) == 1
    assert "leave out --salvage" in capsys.readouterr().err
