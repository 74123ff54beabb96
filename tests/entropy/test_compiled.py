"""Kept machine code: what it is made of decides whether it is used, and a damaged cache costs only time."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HELPER = "from tersor.entropy.compiled import compiled\n@compiled\ndef more(x):\n    return x + {}\n"
LOOP = """from tersor.entropy.compiled import compiled
from helper import more


@compiled
def twice(x):
    return 2 * more(x)
"""


def run(folder: Path) -> int:
    code = "import sys; sys.path[:0] = sys.argv[1:]; from loops import twice; print(twice(3))"
    environment = os.environ | {"NUMBA_CACHE_DIR": str(folder / "cache")}
    environment.pop("NUMBA_DISABLE_JIT", None)
    command = [sys.executable, "-B", "-c", code, str(folder), str(ROOT)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "helper.py").write_text(HELPER.format(1))
    (tmp_path / "loops.py").write_text(LOOP)
    assert run(tmp_path) == 8
    return tmp_path


def test_a_loop_is_compiled_again_when_what_it_calls_has_changed(folder: Path) -> None:
    (folder / "helper.py").write_text(HELPER.format(2))
    assert run(folder) == 10


def test_a_damaged_cache_costs_only_time(folder: Path) -> None:
    kept = [*(folder / "cache").rglob("*.nb[ic]")]
    assert kept
    for path in kept:
        path.write_bytes(path.read_bytes()[:10])
    assert run(folder) == 8
    assert run(folder) == 8
