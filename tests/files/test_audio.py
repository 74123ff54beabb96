"""Sound files in and out, and the command line over them."""

from __future__ import annotations

import json
import struct
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tersor.cli import main
from tersor.codecs.audio.header import AudioHeader
from tersor.container import Reader
from tersor.errors import SignalError
from tersor.files.audio import AudioReader, audio_bytes, read_audio
from tersor.signals import Audio

RATE = 22050
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108000000003a7e9b550000000a49444154789c636000000002000148afa4710000000049454e44ae426082"
)


def tone(dtype: Any = np.int16, channels: int = 2, seconds: float = 1.2) -> NDArray[Any]:
    t = np.arange(round(seconds * RATE)) / RATE
    y = np.stack([0.5 * np.sin(2 * np.pi * 300 * (c + 1) * t) for c in range(channels)], 1)
    if np.dtype(dtype).kind == "f":
        return y.astype(dtype)
    if dtype == np.uint8:
        return (128 + 100 * y).astype(np.uint8)
    return (y * 2.0 ** (8 * np.dtype(dtype).itemsize - 1)).astype(dtype)


@pytest.mark.parametrize(
    ("dtype", "bits"),
    [(np.int16, 16), (np.int32, 24), (np.int32, 32), (np.float32, 32), (np.float64, 64), (np.uint8, 8)],
)
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


@pytest.mark.parametrize(
    ("codec", "suffix", "form"),
    [
        ("libmp3lame", ".mp3", "mp3"),
        ("libopus", ".ogg", "ogg"),
        ("aac", ".m4a", "mp4"),
        ("libopus", ".opus", "opus"),
    ],
)
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


@pytest.mark.parametrize(
    ("codec", "suffix"), [("libmp3lame", ".mp3"), ("aac", ".m4a"), ("alac", ".m4a"), ("libopus", ".opus")]
)
def test_compressed_files_are_read_without_gaps(codec: str, suffix: str, tmp_path: Path) -> None:
    """What encoders add in front and behind is cut off where the file says how much it is; mp4 says it in
    milliseconds.
    """
    import av

    rate = 48000
    x = (np.random.default_rng(0).normal(0, 0.1, rate + 77) * (np.arange(rate + 77) % 4000 < 400)).astype(
        np.float32
    )
    path = tmp_path / f"x{suffix}"
    with av.open(str(path), "w") as out:
        stream: Any = out.add_stream(codec, rate=rate, layout="mono")
        kind = stream.codec_context.codec.audio_formats[0].name
        data = (x * 2**31).astype(np.int32) if kind.startswith("s32") else x
        frame = av.AudioFrame.from_ndarray(
            data[None],
            format="s32p" if kind.startswith("s32") else "flt" if codec == "libopus" else "fltp",
            layout="mono",
        )
        frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    sound = read_audio(path)
    assert 0 <= len(sound.samples) - len(x) <= (rate // 500 if codec == "aac" else 0)
    y = sound.samples[:, 0].astype(float)
    assert np.argmax(np.correlate(y, x[1000:-1000].astype(float), "valid")) == 1000
    assert sound.bits == (24 if codec == "alac" else 32)
    if codec == "libmp3lame":
        reader = AudioReader(path.read_bytes()[: path.stat().st_size // 2])
        list(reader.blocks())
        assert "announces 1.00 s" in reader.notes[0]


@pytest.mark.parametrize("suffix", [".wav", ".flac"])
def test_an_empty_sound_is_a_file(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"x{suffix}"
    Audio(samples=tone()[:0], rate=RATE).save(path)
    back = read_audio(path)
    assert (back.rate, back.samples.shape, back.samples.dtype) == (RATE, (0, 2), np.int16)
    assert main(["encode", str(path), "-q"]) == 0
    assert main(["decode", str(path.with_suffix(".tsr")), "-f", "-q", "-o", str(path)]) == 0
    assert len(read_audio(path).samples) == 0


def test_what_is_not_sound_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "x.wav").write_bytes(b"RIFF nonsense")
    with pytest.raises(SignalError, match=r"x\.wav"):
        read_audio(tmp_path / "x.wav")
    with pytest.raises(SignalError, match="cannot be read|not a sound"):
        read_audio(tmp_path / "missing.wav")
    with pytest.raises(SignalError, match="standard input"):
        read_audio(b"")
    for rate, channels, words in ((500, 1, "sample rate is 500"), (8000, 9, "9 channels")):
        data = (
            b"RIFF\0\0\0\0WAVEfmt "
            + struct.pack("<IHHIIHH", 16, 1, channels, rate, 2 * channels * rate, 2 * channels, 16)
            + b"data\x5a\0\0\0"
            + b"\0" * 90
        )
        with pytest.raises(SignalError, match=words):
            read_audio(data)
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
    assert (
        main(["decode", str(packed), "-o", str(tmp_path / "part.flac"), "--from", "0.5", "--to", "0.75"]) == 0
    )
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


def test_one_bad_sound_of_many(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a", "c"):
        Audio(samples=tone(), rate=RATE).save(tmp_path / f"{name}.wav")
    broken = tone(np.float32)
    broken[100, 1] = np.inf
    Audio(samples=broken, rate=RATE).save(tmp_path / "b.wav")
    assert main(["encode", str(tmp_path), "-o", str(tmp_path / "out")]) == 1
    assert "b.wav: sample 100 of channel 1 is inf" in capsys.readouterr().err
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["a.tsr", "c.tsr"]


def test_what_is_not_kept_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.wav"
    Audio(samples=tone(), rate=RATE).save(path)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    assert main(["encode", str(path)]) == 0
    assert "cut short" in capsys.readouterr().out
    path.write_bytes(data[:4] + b"\xff\xff\xff\x7f" + data[8:])  # as programs write it to a pipe
    assert main(["encode", str(path), "-f"]) == 0
    assert "cut short" not in capsys.readouterr().out
    (tmp_path / "x.sound").write_bytes(data)
    assert main(["encode", str(tmp_path / "x.sound"), "-f"]) == 1
    assert "--codec audio" in capsys.readouterr().err
    assert main(["encode", str(tmp_path / "x.sound"), "-f", "--codec", "audio"]) == 0
    assert "cut short" not in capsys.readouterr().out
    flac = audio_bytes(Audio(samples=tone(), rate=RATE), ".flac")
    body = b"\0\0\0\3\0\0\0\x09image/png" + b"\0" * 20 + len(PNG).to_bytes(4, "big") + PNG
    block = b"\6" + len(body).to_bytes(3, "big") + body
    Audio(samples=tone(), rate=RATE, tags={"title": "t", "composer": "c"}).save(tmp_path / "tags.flac")
    assert main(["encode", str(tmp_path / "tags.flac"), "-q"]) == 0
    assert main(["decode", str(tmp_path / "tags.tsr")]) == 0
    assert "holds no composer" in capsys.readouterr().out
    assert main(["decode", str(tmp_path / "tags.tsr"), "-f", "-o", str(tmp_path / "tags.flac")]) == 0
    assert "holds no" not in capsys.readouterr().out
    assert read_audio(tmp_path / "tags.flac").tags == {"title": "t", "composer": "c"}
    (tmp_path / "art.flac").write_bytes(flac[:42] + block + flac[42:])
    assert main(["encode", str(tmp_path / "art.flac")]) == 0
    assert "pictures are left out" in capsys.readouterr().out


def test_salvage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, out = tmp_path / "x.tsr", tmp_path / "y.wav"
    Audio(samples=tone(), rate=RATE).save(tmp_path / "x.wav")
    assert main(["encode", str(tmp_path / "x.wav"), "--lossless", "--segment", "0.4", "-q"]) == 0
    data = path.read_bytes()
    damaged = bytearray(data)
    damaged[len(data) // 2] ^= 1
    path.write_bytes(damaged)
    assert main(["decode", str(path), "-o", str(out)]) == 3
    assert "decode --salvage" in capsys.readouterr().err
    assert not out.exists()
    assert main(["decode", str(path), "-o", str(out), "--salvage", "--json"]) == 0
    first = AudioHeader.unpack(Reader(data).header, None).segment
    samples, last = read_audio(out).samples, 2 * first
    assert json.loads(capsys.readouterr().out)["notes"] == [
        f"{first / RATE:.3f} s to {last / RATE:.3f} s are damaged and silent"
    ]
    assert not samples[first:last].any()
    assert np.array_equal(np.delete(samples, slice(first, last), 0), np.delete(tone(), slice(first, last), 0))
    path.write_bytes(data[:-100])
    assert main(["decode", str(path), "-f", "-o", str(out)]) == 3
    assert "--salvage" in capsys.readouterr().err
    assert main(["decode", str(path), "-f", "-o", str(out), "--salvage"]) == 0
    assert "s to 1.200 s are damaged" in capsys.readouterr().out
    assert np.array_equal(read_audio(out).samples[:last], tone()[:last])
