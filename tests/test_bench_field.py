"""tersor bench for fields; what cannot be measured is an error."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tersor.cli import main
from tersor.evaluate.speed_field import loop_speed
from tersor.testing.samples import weather


def test_bench_prints_speeds_and_the_split(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "x.npy", weather((6, 40, 50)))
    assert main(["bench", "--codec", "field", "--data", str(tmp_path), "--repeat", "1", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    for direction in ("encode", "decode"):
        assert facts[direction]["megabytes_per_second"] > 0
        assert sum(facts[direction]["split"].values()) == pytest.approx(1, abs=0.01)
    assert {"prediction", "fitting", "coder"} <= set(facts["encode"]["split"])
    assert main(["bench", "--codec", "field", "--data", str(tmp_path / "none")]) == 1
    assert "no .npy files" in capsys.readouterr().err


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
