"""The rules of the house: which room may import which, what is public, which ids are taken."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import tersor
from tersor import registry
from tersor.errors import SignalError, UnknownCodecError

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "tersor"
# room -> rooms it may import (besides itself); a module at the top of the package is its own room
ARROWS = {
    "errors": set(),
    "timing": set(),
    "container": {"errors"},
    "signals": {"errors", "files"},
    "files": {"errors", "signals"},
    "entropy": {"errors", "container"},
    "models": {"errors", "entropy"},
    "datasets": {"errors"},
    "metrics": {"errors"},
    "codecs": {"errors", "container", "signals", "entropy", "models", "timing"},
    "registry": {"errors"},
    "api": {"errors", "container", "signals", "registry"},
    "interop": {"errors", "container", "signals", "files", "codecs", "api"},
    "testing": {"errors", "container"},
    "evaluate": {"errors", "api", "codecs", "container", "files", "metrics", "datasets", "signals"},
    "bench": {"errors", "codecs", "entropy", "models", "signals", "timing", "evaluate"},
    "bench_field": {"errors", "codecs", "files", "signals", "bench"},
    "cli": {"errors", "codecs", "container", "registry", "api", "files", "signals", "evaluate", "bench", "bench_field", "__init__"},
    "__main__": {"cli"},
    "__init__": {"api", "errors", "signals"},
}


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = [a.name for a in node.names] if isinstance(node, ast.Import) else [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        if isinstance(node, ast.ImportFrom) and node.module == "tersor":
            names = [f"tersor.{a.name}" if (PACKAGE / f"{a.name}.py").exists() or (PACKAGE / a.name).is_dir() else "tersor.__init__" for a in node.names]
        found |= {n.split(".")[1] for n in names if n.startswith("tersor.")}
    return found


def room_of(path: Path) -> str:
    relative = path.relative_to(PACKAGE)
    return relative.parts[0] if len(relative.parts) > 1 else relative.stem


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_run_one_way(path: Path) -> None:
    room = room_of(path)
    wrong = imports(path) - ARROWS[room] - {room}
    assert not wrong, f"{path.relative_to(PACKAGE)} must not import {wrong}"


def test_public_names() -> None:
    assert sorted(tersor.__all__) == tersor.__all__
    assert all(hasattr(tersor, name) for name in tersor.__all__)
    version = re.search(r'^version = "(.+)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert version is not None
    assert version[1] == tersor.__version__


def test_importing_tersor_imports_no_torch() -> None:
    code = "import sys, tersor; assert 'torch' not in sys.modules and 'PIL' not in sys.modules and 'constriction' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_wire_ids_are_append_only() -> None:
    assert {e.name: e.wire_id for e in registry.BUILT_IN} == {"image": 1, "compressai": 2, "field": 3, "audio": 4, "lossless": 5}


def test_unknown_codecs_are_named() -> None:
    with pytest.raises(SignalError, match="image, compressai, field, audio"):
        registry.by_name("nonsense")
    with pytest.raises(UnknownCodecError, match="77"):
        registry.by_wire_id(77)
    with pytest.raises(SignalError, match="has no option colour"):
        tersor.Codec("image", device="cpu").encode([], colour=True)


def test_library_never_prints() -> None:
    for path in PACKAGE.rglob("*.py"):
        if room_of(path) not in ("cli", "evaluate", "bench", "bench_field"):
            calls = (n.func for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Call))
            assert not any(isinstance(f, ast.Name) and f.id == "print" for f in calls), path


def test_weights_are_small_and_have_a_card() -> None:
    weights = list((PACKAGE / "models" / "weights").glob("*.safetensors"))
    assert weights
    for path in weights:
        assert path.stat().st_size <= 25 << 20
        assert path.with_suffix(".json").exists()
