"""The examples run, each in a process of its own, and say what they did."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tersor.signals import Image

ROOT = Path(__file__).parents[2]
NEEDED = {
    "photo_folder": (),
    "data_loader": (),
    "zarr_store": ("zarr",),
    "sound_stream": ("numba",),
    "rate_distortion": ("matplotlib", "pytorch_msssim"),
}


@pytest.fixture
def photos(tmp_path: Path, picture: np.ndarray) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for i in range(2):
        Image(samples=np.ascontiguousarray(picture[:176, 60 * i : 60 * i + 192])).save(folder / f"{i}.png")
    return folder


def run(name: str, *arguments: Path) -> str:
    command = [sys.executable, "-W", "ignore", str(ROOT / "examples" / f"{name}.py"), *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_all_are_tested() -> None:
    elsewhere = {"stream_kv_cache"}  # tests/interop/test_torch.py
    assert {p.stem for p in (ROOT / "examples").glob("*.py")} == NEEDED.keys() | elsewhere


@pytest.mark.parametrize("name", NEEDED)
def test_example(name: str, photos: Path, tmp_path: Path) -> None:
    for module in NEEDED[name]:
        pytest.importorskip(module)
    out = tmp_path / "out"
    if name in ("photo_folder", "data_loader", "rate_distortion"):
        printed = run(name, photos, out)
        assert any(out.iterdir())
    else:
        printed = run(name, out)
        assert out.exists()
    expected = {
        "photo_folder": "the middle is (88, 96, 3)",
        "data_loader": "a batch [2, 3, 64, 64], mean ",
        "zarr_store": "largest error 0.0",
        "sound_stream": "heard 3.00 s",
        "rate_distortion": "tersor image: ",
    }
    assert expected[name] in printed
