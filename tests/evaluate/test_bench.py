"""tersor bench; what cannot be timed is an error."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tersor.cli import main
from tersor.evaluate import speed_audio, speed_image
from tersor.evaluate.speed_field import loop_speed
from tersor.signals import Audio, Image
from tersor.testing.samples import sound, weather


def test_fields(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "x.npy", weather((6, 40, 50)))
    assert main(["bench", "--codec", "field", "--data", str(tmp_path), "--repeat", "1", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    for direction in ("encode", "decode"):
        assert facts[direction]["megabytes_per_second"] > 0
        assert sum(facts[direction]["split"].values()) == pytest.approx(1, abs=0.01)
    assert {"prediction", "fitting", "coder"} <= set(facts["encode"]["split"])
    assert main(["bench", "--codec", "field", "--data", str(tmp_path / "none")]) == 1
    assert "no .npy files" in capsys.readouterr().err


def test_sounds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Audio(samples=sound(0.5), rate=16000).save(tmp_path / "mono.wav")
    Audio(samples=sound(0.4, channels=2, dtype=np.float32), rate=16000).save(tmp_path / "stereo.wav")
    facts = speed_audio.measure(tmp_path, repeat=1)
    assert facts["sounds"] == 2
    for mode, stage in (("speech", "synthesis"), ("music", "synthesis"), ("lossless", "entropy")):
        assert facts[mode]["encode"]["times_real_time"] > 0
        assert stage in facts[mode]["decode"]["split"]
    assert len(speed_audio.lines(facts)) == 8
    assert main(["bench", "--codec", "audio", "--data", str(tmp_path), "--repeat", "0"]) == 1
    assert "must be at least 1" in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")  # CompressAI, where it is installed
def test_images(picture: np.ndarray, tmp_path: Path) -> None:
    Image(samples=picture[:64, :96]).save(tmp_path / "x.png")
    facts = speed_image.measure(tmp_path, device="cpu", repeat=1)
    assert facts["images"] == 1
    assert {"transform", "coder"} <= set(facts["decode"]["split"])
    assert facts["coder_million_symbols_per_second"]["ours_decode"] > 0
    assert len(speed_image.lines(facts)) == 5


def test_the_compiled_loop_predicts_what_numpy_predicts() -> None:
    """It raises where they differ."""
    for shape in ((500,), (40, 50), (6, 40, 50), (3, 9, 12, 10)):
        assert set(loop_speed(weather_of(shape), 1)) == {"compiled", "numpy"}


def weather_of(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("command", ["eval", "bench"])
def test_what_is_not_measured(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--codec", "lossless", "--data", "nowhere"]) == 1
    assert "lossless" in capsys.readouterr().err
