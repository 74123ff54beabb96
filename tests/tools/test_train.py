"""The training tool learns, stops, goes on to the same weights; its checkpoint becomes released weights."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import load_file

from tersor.codecs.audio.decode import TransformDecoder
from tersor.codecs.audio.encode import TransformEncoder
from tersor.codecs.audio.header import AudioHeader
from tersor.codecs.audio.options import Target
from tersor.entropy.binary_tables import adaptive_tables, tables_from
from tersor.models.image_weights import load_released
from tersor.signals import Audio

ROOT = Path(__file__).parents[2]
IMAGE_1 = ROOT / "tersor" / "weights" / "image-1.safetensors"


@pytest.fixture
def photos(tmp_path: Path, picture: np.ndarray) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for i in range(4):
        Image.fromarray(np.roll(picture, 31 * i, 1)).save(folder / f"{i}.png")
    return folder


def train(photos: Path, out: Path, steps: int, *more: str) -> None:
    command = [
        sys.executable,
        str(ROOT / "tools" / "train.py"),
        "image",
        "--data",
        str(photos),
        "--dev",
        str(photos),
        "--dev-images",
        "2",
        "--out",
        str(out),
    ]
    sizes = [
        "--steps",
        str(steps),
        "--batch",
        "2",
        "--crop",
        "64",
        "--eval-every",
        "3",
        "--save-every",
        "3",
        *more,
    ]
    subprocess.run(
        [*command, *sizes],
        check=True,
        capture_output=True,
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )


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
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
        str(ROOT / "tools" / "train.py"),
        "image",
        "--device",
        "cpu",
    ]
    sizes = [
        "--steps",
        "4",
        "--batch",
        "2",
        "--crop",
        "64",
        "--eval-every",
        "4",
        "--save-every",
        "4",
        "--dev-images",
        "1",
    ]
    data = ["--data", str(photos), "--dev", str(photos), "--out", str(out)]
    subprocess.run(
        [*command, *data, *sizes],
        check=True,
        capture_output=True,
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )
    first, second = (
        torch.load(out / f"checkpoint{rank}.pt", weights_only=True)["model"] for rank in ("", "1")
    )
    for key, value in first.items():
        torch.testing.assert_close(second[key], value, rtol=0, atol=0, msg=key)


@pytest.mark.slow
def test_a_checkpoint_becomes_weights_to_use_and_to_start_from(photos: Path, tmp_path: Path) -> None:
    train(photos, tmp_path / "run", 3)
    weights = tmp_path / "tiny.safetensors"
    command = [
        sys.executable,
        str(ROOT / "tools" / "freeze_tables.py"),
        "--checkpoint",
        str(tmp_path / "run" / "checkpoint.pt"),
        "--data",
        str(photos),
    ]
    subprocess.run(
        [*command, "--out", str(weights), "--crops", "2", "--crop", "128", "--qualities", "2"],
        check=True,
        env={"PYTHONPATH": str(ROOT)},
        cwd=ROOT,
    )
    released = load_released(weights, "cpu")
    assert released.card["steps"] == 3
    train(photos, tmp_path / "again", 3, "--start-from", str(weights))


@pytest.mark.slow
def test_the_filter_resumes_and_stands_on_the_weights_it_started_from(photos: Path, tmp_path: Path) -> None:
    def tool(name: str, *more: str) -> dict[str, np.ndarray]:
        command = [sys.executable, str(ROOT / "tools" / "train.py"), "filter", "--data", str(photos)]
        sizes = ["--crops", "50", "--steps", "4", "--batch", "2", "--every", "2"]
        out = ["--start-from", str(IMAGE_1), "--out", str(tmp_path / name)]
        environment = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        subprocess.run([*command, *sizes, *out, *more], check=True, cwd=ROOT, env=environment)
        found = tmp_path / name / "filter.safetensors"
        return load_file(found) if found.exists() else {}

    whole = tool("whole")
    assert tool("parts", "--stop-at", "2") == {}
    parts = tool("parts")
    assert all(np.array_equal(whole[k], parts[k]) for k in whole)
    released = load_released(tmp_path / "whole" / "filter.safetensors", "cpu")
    before = load_released(IMAGE_1, "cpu")
    assert torch.equal(released.model.forward_transform, before.model.forward_transform)
    assert not torch.equal(released.model.filter.entry.weight, before.model.filter.entry.weight)


@pytest.mark.slow
def test_audio_trainers_resume_and_make_tables_that_decode(tmp_path: Path) -> None:
    sounds = tmp_path / "sounds" / "speech"
    sounds.mkdir(parents=True)
    t = np.arange(16000) / 8000
    for i in range(4):
        buzz = np.sin(2 * np.pi * (100 + 20 * i) * t) ** 9 * (np.sin(3 * t + i) > -0.5)
        Audio(samples=np.round(9000 * buzz).astype(np.int16)[:, None], rate=8000).save(sounds / f"{i}.wav")

    def tool(codec: str, out: str, *more: str) -> None:
        command = [
            sys.executable,
            str(ROOT / "tools" / "train.py"),
            codec,
            "--data",
            str(sounds.parent),
            "--out",
            str(tmp_path / out),
            *more,
        ]
        subprocess.run(
            command,
            check=True,
            capture_output=True,
            cwd=ROOT,
            env={"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        )

    tool("speech", "whole", "--steps", "4", "--batch", "1", "--every", "2")
    tool("speech", "parts", "--steps", "4", "--batch", "1", "--every", "2", "--stop-at", "2")
    tool("speech", "parts", "--steps", "4", "--batch", "1", "--every", "2")
    whole, parts = (load_file(tmp_path / name / "speech.safetensors") for name in ("whole", "parts"))
    assert all(np.array_equal(whole[k], parts[k]) for k in whole)
    tool(
        "audio",
        "tables",
        "--passes",
        "1",
        "--seconds",
        "1",
        "--speech",
        str(tmp_path / "whole" / "speech.safetensors"),
    )
    tool("voice", "voice", "--passes", "1", "--seconds", "1")
    made = {
        "music": tables_from(load_file(tmp_path / "tables" / "audio.safetensors")),
        "speech": tables_from(
            adaptive_tables().tensors | load_file(tmp_path / "voice" / "voice.safetensors")
        ),
    }
    header = AudioHeader(
        digest=bytes(4),
        mode="transform",
        rate=8000,
        channels=1,
        samples=16000,
        dtype=np.dtype(np.int16),
        bits=16,
        segment=16000,
        asked="bitrate",
        value=16.0,
    )
    x = np.round(9000 * np.sin(2 * np.pi * 130 * t) ** 9).astype(np.int16)[:, None]
    for content, tables in made.items():
        encoder = TransformEncoder(header, Target(bitrate=16, passes=1, content=content), tables=tables)
        decoder = TransformDecoder(header, tables)
        (payload,) = [*encoder.push(x), *encoder.finish()]
        y = np.concatenate([decoder.push(decoder.read(0, payload)), decoder.finish()])
        assert y.shape == x.shape
        assert ((x - y.astype(float)) ** 2).mean() < 0.05 * (x.astype(float) ** 2).mean()


def test_the_filter_that_was_used_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Least squares of sums of which only the lower triangle is there."""
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    from training.video import solved

    rng = np.random.default_rng(0)
    weights = rng.integers(-20, 21, 12)
    taps = rng.normal(0, 40, (4000, 12))
    errors = taps @ weights / 128
    found = solved(np.tril(taps.T @ taps)[None], (taps.T @ errors)[None])
    assert found.dtype == np.int8
    assert np.abs(found[0] - weights).max() <= 1
