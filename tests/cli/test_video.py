"""The commands on video."""

from __future__ import annotations

import json
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from tersor.cli import main
from tersor.cli.output import Progress
from tersor.files.coerce import video_of_rgb
from tersor.files.video import read_video
from tersor.files.video_write import write_video
from tersor.signals.audio import Audio
from tersor.signals.video import Video
from tersor.testing.samples import clip


@pytest.fixture
def film(tmp_path: Path) -> Path:
    """A clip of 20 frames with 0.8 s of sound."""
    video = video_of_rgb(clip(64, 48, 20), 25)
    sound = (9000 * np.sin(np.arange(6400) / 9)).astype(np.int16)[:, None]
    whole = Video(
        planes=video.planes,
        format=video.format,
        timing=video.timing,
        audio=Audio(samples=sound, rate=8000),
        audio_start=Fraction(0),
        tags={"title": "a film"},
    )
    write_video(whole, tmp_path / "film.mkv")
    return tmp_path / "film.mkv"


def test_there_and_back(film: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("numba")
    assert (
        main(["encode", str(film), "--quality", "70", "--group", "8", "--audio", "lossless", "--json"]) == 0
    )
    facts = json.loads(capsys.readouterr().out)
    file = film.with_suffix(".tsr")
    assert facts["codec"] == "video"
    assert facts["frames"] == 20
    assert facts["bytes"] == file.stat().st_size
    assert main(["verify", str(file)]) == 0
    assert main(["info", str(file), "--json"]) == 0
    info = json.loads(capsys.readouterr().out.splitlines()[-1])
    extra = info["extra"]
    assert (extra["width"], extra["frames"], extra["groups"], info["metadata"]) == (64, 20, 3, ["tags"])
    out = film.parent / "out.mkv"
    assert main(["decode", str(file), "-o", str(out)]) == 0
    back, video = read_video(out), read_video(film)
    assert back.timing == video.timing
    assert back.audio is not None
    assert video.audio is not None
    assert np.array_equal(back.audio.samples, video.audio.samples)
    assert back.tags["title"] == "a film"
    for arguments, frames in (
        (["--frames", "5:9"], 4),
        (["--from", "0.2", "--to", "0.4"], 5),
        (["--frames", "0:20:5"], 4),
    ):
        assert main(["decode", str(file), "-o", str(out), "-f", "-q", *arguments]) == 0
        assert len(read_video(out)) == frames


def test_other_formats(film: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = film.with_suffix(".tsr")
    assert main(["encode", str(film), "--no-audio"]) == 0
    for name in ("out.y4m", "out.mp4"):
        assert main(["decode", str(file), "-o", str(film.parent / name)]) == 0
        assert len(read_video(film.parent / name)) == 20
    assert main(["decode", str(file), "-o", str(film.parent / "pictures"), "--frames", "0:3"]) == 0
    assert [p.name for p in sorted((film.parent / "pictures").iterdir())] == [
        f"{i:06d}.png" for i in range(3)
    ]
    assert "no timestamps" in capsys.readouterr().out
    for arguments, says in (
        (["-o", "out.foo"], "'.foo'"),
        (["-o", str(film.parent / "x.mkv"), "--crf", "20"], "crf"),
        (["-o", str(film.parent / "x.mkv"), "--frames", "a:b"], "not a range"),
        (["-o", str(film.parent / "x.mkv"), "--from", "5"], "does not fit"),
    ):
        assert main(["decode", str(file), *arguments]) == 1
        assert says in capsys.readouterr().err
    assert not (film.parent / "x.mkv").exists()


def test_pipes_of_y4m(film: Path, tmp_path: Path) -> None:
    write_video(read_video(film, audio=False), tmp_path / "a.y4m")

    def run(*arguments: str, given: bytes) -> bytes:
        command = [sys.executable, "-m", "tersor", *arguments]
        return subprocess.run(command, input=given, stdout=subprocess.PIPE, check=True).stdout

    raw = (tmp_path / "a.y4m").read_bytes()
    coded = run("encode", "--codec", "video", "-", "-o", "-", "-q", "--group", "8", given=raw)
    assert run("decode", "-", "-o", "-", "-q", given=coded)[:9] == b"YUV4MPEG2"
    (tmp_path / "b.tsr").write_bytes(coded)
    assert main(["decode", str(tmp_path / "b.tsr"), "-o", str(tmp_path / "b.y4m"), "-q"]) == 0
    assert len(read_video(tmp_path / "b.y4m")) == 20
    assert run("decode", "-", "-o", "-", "-q", given=coded) == (tmp_path / "b.y4m").read_bytes()


def test_salvage_says_what_stands_still(film: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = film.with_suffix(".tsr")
    assert main(["encode", str(film), "--no-audio", "--group", "8"]) == 0
    data = bytearray(file.read_bytes())
    data[-3] ^= 1
    file.write_bytes(data)
    out = str(film.parent / "out.y4m")
    assert main(["verify", str(file)]) == 3
    assert main(["decode", str(file), "-o", out]) == 3
    assert not Path(out).exists()
    assert "group 2, frames 16 to 19" in capsys.readouterr().err
    assert main(["decode", str(file), "-o", out, "--salvage"]) == 0
    assert "frames 16 to 19 are damaged" in capsys.readouterr().out


def test_the_bar_says_speed_and_time_left() -> None:
    assert Progress.line(50, 200, 0.5).endswith("25 %")
    assert Progress.line(50, 200, 10.0).endswith("25 %  5.0/s  0:30 left")
    assert Progress.line(200, 200, 10.0) == "\r\033[K"
