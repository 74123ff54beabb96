"""What surrounds the step of every trainer: log, checkpoint, average, an orderly end."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))
from training.loop import Run, averaged


def test_a_run_goes_on_where_it_was_saved(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = Run(tmp_path / "run")
    assert run.load() is None
    run.log(step=1, loss=0.5)
    run.save({"step": 1, "net": {"w": torch.arange(3)}})
    assert not list((tmp_path / "run").glob("*.new"))
    again = Run(tmp_path / "run")
    state = again.load()
    assert state is not None
    assert state["step"] == 1
    assert state["net"]["w"].tolist() == [0, 1, 2]
    again.log(step=2)
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2]
    assert capsys.readouterr().out.count("step") == 2
    second = Run(tmp_path / "run", rank=1)
    second.log(step=3)
    assert second.load() is None
    assert "3" not in capsys.readouterr().out


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_step_is_finished_before_it_stops(tmp_path: Path, number: signal.Signals) -> None:
    run, done, before = Run(tmp_path), [], signal.getsignal(number)
    for step in run.steps(2, 100):
        if step == 4:
            os.kill(os.getpid(), number)
        done.append(step)
    assert done == [3, 4]
    assert run.stopped
    assert signal.getsignal(number) == before
    assert list(Run(tmp_path).steps(0, 2)) == [1, 2]


def test_the_average_starts_at_the_model_and_follows() -> None:
    model = torch.nn.Linear(1, 1, bias=False)
    average = averaged(model, 0.9)
    for value, expected in ((1.0, 1.0), (2.0, 1.1), (2.0, 1.19)):
        torch.nn.init.constant_(model.weight, value)
        average.update_parameters(model)
        assert float(average.module.weight.detach()) == pytest.approx(expected)
