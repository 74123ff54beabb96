"""The training tool learns, stops, goes on to the same weights, and its checkpoint becomes released weights."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

ROOT = Path(__file__).parents[2]


@pytest.fixture
def photos(tmp_path: Path, picture: np.ndarray) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for i in range(4):
        Image.fromarray(np.roll(picture, 31 * i, 1)).save(folder / f"{i}.png")
    return folder


def train(photos: Path, out: Path, steps: int, *more: str) -> None:
    command = [sys.executable, str(ROOT / "tools" / "train.py"), "image", "--data", str(photos), "--dev", str(photos), "--dev-images", "2", "--out", str(out)]
    sizes = ["--steps", str(steps), "--batch", "2", "--crop", "64", "--eval-every", "3", "--save-every", "3", *more]
    subprocess.run([*command, *sizes], check=True, capture_output=True, cwd=ROOT, env={"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"})


@pytest.mark.slow
def test_resuming_gives_the_same_weights(photos: Path, tmp_path: Path) -> None:
    train(photos, tmp_path / "whole", 6)
    train(photos, tmp_path / "parts", 6, "--stop-at", "3")
    train(photos, tmp_path / "parts", 6)
    a, b = (torch.load(tmp_path / name / "checkpoint.pt", weights_only=True) for name in ("whole", "parts"))
    assert a["progress"][0] == b["progress"][0] == 6
    for kind in ("model", "ema"):
        for key, value in a[kind].items():
            torch.testing.assert_close(b[kind][key], value, rtol=0, atol=0, msg=key)
    log = [json.loads(line) for line in (tmp_path / "parts" / "log.jsonl").read_text().splitlines()]
    assert {"data", "resumed", "dev", "finished"} <= {e.get("event") for e in log}
    assert all("bd_rate_jpeg" in e for e in log if e.get("event") == "dev")


@pytest.mark.slow
def test_two_processes_learn_the_same_weights(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "two"
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(ROOT / "tools" / "train.py"), "image", "--device", "cpu"]
    sizes = ["--steps", "4", "--batch", "2", "--crop", "64", "--eval-every", "4", "--save-every", "4", "--dev-images", "1"]
    data = ["--data", str(photos), "--dev", str(photos), "--out", str(out)]
    subprocess.run([*command, *data, *sizes], check=True, capture_output=True, cwd=ROOT, env={"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"})
    first, second = (torch.load(out / f"checkpoint{rank}.pt", weights_only=True)["model"] for rank in ("", "1"))
    for key, value in first.items():
        torch.testing.assert_close(second[key], value, rtol=0, atol=0, msg=key)


@pytest.mark.slow
def test_a_checkpoint_becomes_weights_to_use_and_to_start_from(photos: Path, tmp_path: Path) -> None:
    train(photos, tmp_path / "run", 3)
    weights = tmp_path / "tiny.safetensors"
    command = [sys.executable, str(ROOT / "tools" / "freeze_tables.py"), "--checkpoint", str(tmp_path / "run" / "checkpoint.pt"), "--data", str(photos)]
    subprocess.run([*command, "--out", str(weights), "--crops", "2", "--crop", "128", "--qualities", "2"], check=True, env={"PYTHONPATH": str(ROOT)}, cwd=ROOT)
    from tersor.models.store import load_released

    released = load_released(weights, "cpu")
    assert released.card["steps"] == 3
    train(photos, tmp_path / "again", 3, "--start-from", str(weights))
