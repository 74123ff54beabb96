"""Fits of pictures on the command line: what they take, Ctrl-C, and the smaller of two files."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import tersor
from tersor.cli import main
from tersor.cli.fitting import Watching, clock
from tersor.codecs.image_overfit.schedule import Status

FAST = ["--iterations", "60", "--preset", "fast"]


@pytest.fixture
def photo(tmp_path: Path, picture: np.ndarray) -> Path:
    path = tmp_path / "photo.png"
    Image.fromarray(picture[:130, :140]).save(path)
    return path


def test_a_fit_says_what_it_will_take(photo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["encode", str(photo), "--codec", "image-overfit", *FAST]) == 0
    said = capsys.readouterr().err
    assert "photo.png: 60 iterations, about 0:" in said
    assert "Ctrl-C writes what there is" in said
    assert main(["encode", str(photo), "--codec", "image-overfit", *FAST, "-q", "-f"]) == 0
    assert capsys.readouterr().err == ""


def test_ctrl_c_writes_what_there_is_and_ends(
    photo: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first picture is written, the second is not begun."""
    second = photo.with_name("second.png")
    second.write_bytes(photo.read_bytes())
    shown, told = Watching.line, []

    def line(status: Status) -> str:
        if not told:
            signal.raise_signal(signal.SIGINT)
        told.append(status.iteration)
        return shown(status)

    monkeypatch.setattr(Watching, "line", staticmethod(line))
    before = signal.getsignal(signal.SIGINT)
    many = [str(photo), str(second), "--iterations", "5000", "--preset", "fast"]
    assert main(["encode", *many, "--codec", "image-overfit", "--json"]) == 130
    assert signal.getsignal(signal.SIGINT) == before
    facts = json.loads(capsys.readouterr().out)
    assert told[-1] < 300
    assert facts["notes"] == [f"stopped after {told[-1]} of 5000 iterations"]
    assert np.asarray(tersor.decode(photo.with_suffix(".tsr").read_bytes())).shape == (130, 140, 3)
    assert not second.with_suffix(".tsr").exists()


def test_the_best_of_several_codecs(photo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["encode", str(photo), "--codec", "best", *FAST, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["codec"] in ("image", "image-overfit")
    assert facts["why"].startswith(f"{facts['codec']}: {facts['bytes']:,} bytes at ")
    assert tersor.info(photo.with_suffix(".tsr"))["codec"] == facts["codec"]


def test_what_the_time_does_not_allow_is_not_tried(photo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["encode", str(photo), "--codec", "best", "--time-limit", "0.001"]) == 0
    assert "image: 0.001 s are 0 iterations here" in capsys.readouterr().out
    assert main(["encode", str(photo), "--codec", "best", "--bitrate", "64", "-f"]) == 1
    assert "has no option bitrate" in capsys.readouterr().err


def test_what_the_bar_shows() -> None:
    numbers: dict[str, Any] = {"bpp": 0.4312, "psnr_db": 34.517, "lam": 1e-3, "seconds": 1}
    status = Status(iteration=120, iterations=4000, seconds_left=133.4, **numbers)
    assert Watching.line(status) == "120/4000  0.431 bpp  34.52 dB  2:13 min left"
    assert clock(7199.6) == "2:00:00 h"
    assert clock(float("inf")) == "an unknown time"
