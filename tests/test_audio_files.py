"""Sound files in and out, and the command line over them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tersor.cli import main
from tersor.errors import SignalError
from tersor.files.audio import audio_bytes, read_audio
from tersor.signals import Audio

RATE = 22050


def tone(dtype: Any = np.int16, channels: int = 2, seconds: float = 1.2) -> NDArray[Any]:
    t = np.arange(round(seconds * RATE)) / RATE
    y = np.stack([0.5 * np.sin(2 * np.pi * 300 * (c + 1) * t) for c in range(channels)], 1)
    if np.dtype(dtype).kind == "f":
        return y.astype(dtype)
    if dtype == np.uint8:
        return (128 + 100 * y).astype(np.uint8)
    return (y * 2.0 ** (8 * np.dtype(dtype).itemsize - 1)).astype(dtype)


@pytest.mark.parametrize(("dtype", "bits"), [(np.int16, 16), (np.int32, 24), (np.int32, 32), (np.float32, 32), (np.float64, 64), (np.uint8, 8)])
@pytest.mark.parametrize("suffix", [".wav", ".flac"])
def test_written_files_are_read_again(dtype: Any, bits: int, suffix: str, tmp_path: Path) -> None:
    x = tone(dtype)
    x = (x >> 8) << 8 if bits == 24 else x
    sound = Audio(samples=x, rate=RATE, bits=bits if x.dtype.kind == "i" else 0, tags={"title": "t"})
    if suffix == ".flac" and dtype == np.int32 and bits == 32:
        with pytest.raises(SignalError, match="24"):
            audio_bytes(sound, suffix)
        return
    (tmp_path / f"x{suffix}").write_bytes(audio_bytes(sound, suffix))
    back = read_audio(tmp_path / f"x{suffix}")
    assert (back.rate, back.tags.get("title", back.tags.get("TITLE"))) == (RATE, "t")
    if suffix == ".wav" or dtype in (np.int16, np.int32):
        assert back.samples.dtype == x.dtype
        assert np.array_equal(back.samples, x)
        assert back.bits == bits
    else:
        full = 2.0 ** (8 * back.samples.dtype.itemsize - 1)
        reference = (x.astype(float) - 128) / 128 if dtype == np.uint8 else x.astype(float)
        assert np.abs(back.samples / full - reference).max() < 1e-6


@pytest.mark.parametrize(("codec", "suffix", "form"), [("libmp3lame", ".mp3", "mp3"), ("libopus", ".ogg", "ogg"), ("aac", ".m4a", "mp4"), ("libopus", ".opus", "opus")])
def test_compressed_files_are_read(codec: str, suffix: str, form: str, tmp_path: Path) -> None:
    import av

    rate = 48000
    x = (0.3 * np.sin(np.arange(rate) / 20)).astype(np.float32)
    path = tmp_path / f"x{suffix}"
    with av.open(str(path), "w", format=form) as out:
        stream = out.add_stream(codec, rate=rate, layout="mono")
        kind = "flt" if codec == "libopus" else "fltp"
        frame = av.AudioFrame.from_ndarray(x[None], format=kind, layout="mono")
        frame.sample_rate = rate
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    sound = read_audio(path)
    assert sound.rate == rate
    assert abs(len(sound.samples) - rate) < 5000
    assert main(["encode", str(path), "--bitrate", "32", "-q"]) == 0
    assert main(["decode", str(path.with_suffix(".tsr")), "-o", str(tmp_path / "y.wav"), "-q"]) == 0
    assert len(read_audio(tmp_path / "y.wav").samples) == len(sound.samples)


def test_what_is_not_sound_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "x.wav").write_bytes(b"RIFF nonsense")
    with pytest.raises(SignalError, match=r"x\.wav"):
        read_audio(tmp_path / "x.wav")
    with pytest.raises(SignalError, match="cannot be read|not a sound"):
        read_audio(tmp_path / "missing.wav")
    with pytest.raises(SignalError, match="standard input"):
        read_audio(b"")
    with pytest.raises(SignalError, match=r"\.mp3"):
        audio_bytes(Audio(samples=tone(), rate=RATE), ".mp3")


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "speech.wav"
    Audio(samples=tone(), rate=RATE, tags={"artist": "a"}).save(path)
    assert main(["encode", str(path), "--bitrate", "24", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["codec"] == "audio"
    assert abs(facts["bitrate_kbps"] / 24 - 1) < 0.1
    packed = path.with_suffix(".tsr")
    assert main(["decode", str(packed), "-o", str(tmp_path / "part.flac"), "--from", "0.5", "--to", "0.75"]) == 0
    part = read_audio(tmp_path / "part.flac")
    assert len(part.samples) == round(0.75 * RATE) - round(0.5 * RATE)
    assert part.tags.get("artist", part.tags.get("ARTIST")) == "a"
    assert main(["decode", str(packed), "-o", str(path)]) == 1
    assert main(["decode", str(packed), "-f", "-q"]) == 0
    assert len(read_audio(path).samples) == len(tone())
    assert main(["decode", str(packed), "-f", "-q", "-o", str(path), "--from", "9"]) == 1
    assert len(read_audio(path).samples) == len(tone())
    assert main(["info", str(packed)]) == 0
    assert main(["verify", str(packed)]) == 0
    assert main(["encode", str(path), "--lossless", "-f", "-q"]) == 0
    assert main(["encode", str(path), "--target-bpp", "1", "-f"]) == 1
    assert "has no option target_bpp" in capsys.readouterr().err
    damaged = bytearray(packed.read_bytes())
    damaged[-9] ^= 4
    packed.write_bytes(damaged)
    assert main(["decode", str(packed), "-o", str(tmp_path / "new.wav")]) == 3
    assert not (tmp_path / "new.wav").exists()
