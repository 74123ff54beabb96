"""Comparisons from a script: no command line, nothing printed."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from tersor.cli import main
from tersor.errors import SignalError, TersorError
from tersor.evaluate import compare
from tersor.evaluate.lab import every_nth
from tersor.signals import Audio, Image
from tersor.testing.samples import voice, weather

PHOTO = Path(__file__).parents[1] / "rates" / "photo.png"


@pytest.fixture
def photos(tmp_path: Path, picture: np.ndarray) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for i in range(2):
        Image(samples=np.ascontiguousarray(np.roll(picture, 40 * i, 1)[:192, :192])).save(folder / f"{i}.png")
    return folder


def test_images(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    pytest.importorskip("pytorch_msssim")
    heard: list[str] = []
    report = compare("image", photos, ["jpeg"], [20, 60], device="cpu", effort=1, say=heard.append)
    assert capsys.readouterr().out == ""
    assert heard[0].startswith("tersor image effort 1, 2 images")
    own, jpeg = report.curves["tersor image effort 1"], report.curves["jpeg"]
    assert len(own["bpp"]) == 2
    assert own["psnr-rgb"] == sorted(own["psnr-rgb"])
    assert len(jpeg["bpp"]) == 9
    assert len(report.rows) == 2 * (2 + 9)
    row = report.rows[0]
    assert row["bpp"] == 8 * row["bytes"] / 192**2
    delta = report.bd_rate["jpeg"]["psnr-rgb"]
    assert delta is not None
    assert -90 < delta < 0
    assert any(f"{delta:+.1f} %" in line for line in report.text())
    folder = report.save(tmp_path / "out")
    document = json.loads((folder / "tersor-image-effort-1.json").read_text())
    assert document["results"] == own
    with (folder / "jpeg.csv").open(newline="") as f:
        assert len(list(csv.DictReader(f))) == 18
    assert (folder / "tersor-image-effort-1.png").read_bytes()[:4] == b"\x89PNG"
    with pytest.raises(SignalError, match="no anchor"):
        compare("image", photos, ["gif"])
    (tmp_path / "file").write_text("")
    with pytest.raises(TersorError, match="cannot be made"):
        report.save(tmp_path / "file" / "out")


def test_efforts_are_curves(tmp_path: Path) -> None:
    pytest.importorskip("pytorch_msssim")
    heard: list[str] = []
    shutil.copy(PHOTO, tmp_path)  # the pictures above are no photographs, and none of effort
    report = compare(
        "image", tmp_path, ["jpeg"], [40, 60], limit=1, device="cpu", effort=[1, 2], say=heard.append
    )
    assert set(report.curves) == {"tersor image effort 1", "tersor image effort 2", "jpeg"}
    assert report.title == "tersor image effort 2"
    first, second = (report.curves[f"tersor image effort {e}"]["bpp"] for e in (1, 2))
    assert first != second
    assert report.text()[0].startswith("tersor image effort 1: -")


def test_fields(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("hdf5plugin")
    pytest.importorskip("matplotlib")
    np.save(tmp_path / "air.npy", weather((4, 40, 50)))
    report = compare("field", [tmp_path / "air.npy"], ["sz3"], [1e-2, 1e-3])
    assert capsys.readouterr().out == ""
    assert report.curves["tersor"]["ratio"] == sorted(report.curves["tersor"]["ratio"], reverse=True)
    assert set(report.bd_rate["sz3"]) == {"psnr_db"}
    assert any("bound broken in 0 of 2" in line for line in report.text())
    folder = report.save(tmp_path / "out")
    assert len(json.loads((folder / "field.json").read_text())["rows"]) == 2
    assert (folder / "field.png").exists()


def test_sounds(tmp_path: Path) -> None:
    for module in ("pesq", "pystoi"):
        pytest.importorskip(module)
    samples = np.round(voice(1.2) * 32767).astype(np.int16)[:, None]
    Audio(samples=samples, rate=16000).save(tmp_path / "a.wav")
    report = compare("audio", tmp_path, [], [12, 24])
    assert report.curves["tersor"]["speech mel"] == sorted(
        report.curves["tersor"]["speech mel"], reverse=True
    )
    assert len(report.curves["tersor"]["speech pesq kbps"]) == 2
    assert report.bd_rate == {}


def test_command_line(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("pytorch_msssim")
    command = ["eval", "--data", str(photos), "--limit", "1", "--device", "cpu", "--anchors", ""]
    assert main([*command, "--qualities", "30"]) == 0
    printed = capsys.readouterr().out
    assert "1 images" in printed
    assert "seconds per image" in printed
    assert main([*command, "--qualities", "much"]) == 1
    assert "whole numbers" in capsys.readouterr().err
    with pytest.raises(SignalError, match="what is compared"):
        compare("lossless", photos)


def test_every_nth() -> None:
    assert every_nth(range(10), 3) == [0, 3, 6]
    assert every_nth(range(2), 3) == [0, 1]
    assert every_nth(range(2), None) == [0, 1]
