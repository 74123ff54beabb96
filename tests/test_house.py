"""The rules of the house: which room may import which, what is public, which ids are taken."""

from __future__ import annotations

import ast
import os
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
# room -> rooms it may import (besides itself); a module at the top of the package is its own room, and so is
# codecs/NAME; "codecs" is what stands at the top of codecs/, shared by all.
GROUND = {"arrays", "errors", "timing", "container", "facts", "weights", "metrics", "signals"}
ARROWS = {
    "arrays": set(),
    "errors": set(),
    "timing": set(),
    "metrics": {"arrays", "errors"},
    "registry": {"errors"},
    "weights": {"errors"},
    "signals": {"arrays", "errors"},
    "container": {"errors"},
    "facts": {"errors", "container"},
    "entropy": {"arrays", "errors", "container", "weights"},
    "files": GROUND,
    "datasets": GROUND | {"files", "api"},
    "models": GROUND | {"entropy"},
    "codecs": GROUND | {"entropy", "files", "models", "registry"},
    "codecs/NAME": GROUND | {"entropy", "files", "models", "codecs", "registry"},
    "api": GROUND | {"registry", "files", "codecs"},  # codecs: types of options
    "interop": GROUND | {"files", "codecs", "codecs/NAME", "api"},
    "testing": GROUND | {"registry", "files", "datasets", "codecs/NAME", "api"},
    "evaluate": GROUND
    | {"registry", "entropy", "models", "files", "datasets", "codecs", "codecs/NAME", "testing", "api"},
    "warm_up": GROUND | {"registry", "models", "codecs", "codecs/NAME", "testing", "api"},
    "cli": GROUND | {"registry", "files", "codecs", "codecs/NAME", "api", "evaluate", "warm_up", "__init__"},
    "__main__": {"cli"},
    "__init__": {"api", "errors", "facts", "signals"},
}
# one codec stands on another only here
STANDS_ON = {"codecs/lossless": {"codecs/field"}}
HEAVY = {"torch", "numba"}
NO_TORCH = (
    "arrays",
    "entropy",
    "files",
    "signals",
    "container",
    "registry",
    "weights",
    "timing",
    "errors",
    "api",
)


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = (
            [a.name for a in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
        if isinstance(node, ast.ImportFrom) and node.module == "tersor":
            names = [
                f"tersor.{a.name}"
                if (PACKAGE / f"{a.name}.py").exists() or (PACKAGE / a.name).is_dir()
                else "tersor.__init__"
                for a in node.names
            ]
        found |= {room_named(n.split(".")[1:]) for n in names if n.startswith("tersor.")}
    return found


def room_named(parts: list[str]) -> str:
    return (
        "/".join(parts[:2]) if parts[0] == "codecs" and (PACKAGE / "codecs" / parts[1]).is_dir() else parts[0]
    )


def room_of(path: Path) -> str:
    return room_named(list(path.relative_to(PACKAGE).with_suffix("").parts))


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_run_one_way(path: Path) -> None:
    room = room_of(path)
    allowed = (
        ARROWS["codecs/NAME" if room.startswith("codecs/") else room] | STANDS_ON.get(room, set()) | {room}
    )
    wrong = {r for r in imports(path) - allowed if not (r.startswith("codecs/") and "codecs/NAME" in allowed)}
    assert not wrong, f"{path.relative_to(PACKAGE)} must not import {wrong}"


@pytest.mark.parametrize("room", NO_TORCH)
def test_these_rooms_know_no_torch(room: str) -> None:
    files = (
        [PACKAGE / f"{room}.py"] if (PACKAGE / f"{room}.py").exists() else [*(PACKAGE / room).rglob("*.py")]
    )
    for path in files:
        for node in ast.parse(
            path.read_text()
        ).body:  # inside a function it is loaded only when it is asked for
            names = (
                [a.name for a in node.names]
                if isinstance(node, ast.Import)
                else [getattr(node, "module", "")]
            )
            assert not any(n and n.split(".")[0] == "torch" for n in names), path


@pytest.mark.parametrize("entry", registry.BUILT_IN, ids=lambda e: e.name)
def test_a_codec_is_a_folder_of_equal_files(entry: registry.CodecEntry) -> None:
    folder = PACKAGE / "codecs" / entry.name.replace("-", "_")
    assert (folder / "__init__.py").read_text() == "", "info would load what it imports"
    assert (folder / "codec.py").exists()
    assert (folder / "header.py").exists()
    assert (folder / "options.py").exists()
    names = f"tersor.codecs.{folder.name}.header, tersor.codecs.{folder.name}.options"
    code = f"import sys, {names}; assert not {HEAVY} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_public_names() -> None:
    assert sorted(tersor.__all__) == tersor.__all__
    assert all(hasattr(tersor, name) for name in tersor.__all__)
    version = re.search(r'^version = "(.+)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert version is not None
    assert version[1] == tersor.__version__


def test_importing_tersor_imports_no_torch() -> None:
    code = "import sys, tersor; assert not {'torch', 'PIL', 'constriction', 'numba'} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_wire_ids_are_append_only() -> None:
    assert {e.name: e.wire_id for e in registry.BUILT_IN} == {
        "image": 1,
        "compressai": 2,
        "field": 3,
        "audio": 4,
        "lossless": 5,
        "image-overfit": 7,
        "tensor": 8,
        "video": 6,
    }


def test_unknown_codecs_are_named() -> None:
    with pytest.raises(SignalError, match="image, compressai, field, audio"):
        registry.by_name("nonsense")
    with pytest.raises(UnknownCodecError, match="77"):
        registry.by_wire_id(77)
    with pytest.raises(SignalError, match="has no option colour"):
        tersor.Codec("image", device="cpu").encode([], colour=True)


def test_library_never_prints() -> None:
    for path in PACKAGE.rglob("*.py"):
        if room_of(path) != "cli":
            calls = (n.func for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Call))
            assert not any(isinstance(f, ast.Name) and f.id == "print" for f in calls), path


def test_weights_are_small_and_have_a_card() -> None:
    weights = list((PACKAGE / "weights").glob("*.safetensors"))
    assert weights
    for path in weights:
        assert path.stat().st_size <= 25 << 20
        assert path.with_suffix(".json").exists()


def test_what_follows_from_the_options_is_up_to_date() -> None:
    """The tables in docs/codecs/ and the keyword arguments of `encode` and `decode`."""
    run = subprocess.run(
        [sys.executable, "tools/make_options.py", "--check"],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr


def test_misspelt_options_fail_type_checking(tmp_path: Path) -> None:
    (tmp_path / "right.py").write_text(
        "import tersor\nx = tersor.encode('a.png', quality=60, effort=2)\n"
        "y = tersor.decode(x, region=(0, 0, 1, 1))\n"
    )
    (tmp_path / "wrong.py").write_text(
        "import tersor\nx = tersor.encode('a.png', qualty=60)\ny = tersor.decode(x, salvage='yes')\n"
    )
    run = subprocess.run(
        [
            *(sys.executable, "-m", "mypy", "--cache-dir", str(tmp_path / "cache"), "--no-error-summary"),
            *("--follow-imports", "silent", "--config-file", str(ROOT / "pyproject.toml")),
            *(str(tmp_path / "right.py"), str(tmp_path / "wrong.py")),
        ],
        cwd=ROOT,
        env=os.environ | {"MYPYPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    lines = [line for line in run.stdout.splitlines() if "error:" in line]
    assert len(lines) == 2, run.stdout + run.stderr
    assert all("wrong.py" in line for line in lines)
    assert '"qualty"' in lines[0]
    assert '"salvage"' in lines[1]


def test_types_say_something() -> None:
    """Fewer than one `Any` in a hundred lines."""
    texts = [path.read_text() for path in PACKAGE.rglob("*.py")]
    lines = sum(text.count("\n") for text in texts)
    found = sum(len(re.findall(r"\bAny\b", text)) for text in texts)
    assert 100 * found < lines, f"{found} Any in {lines} lines"


def test_no_signature_is_long() -> None:
    """Twelve parameters at most, of compiled loops too; more are a type that has no name yet."""
    long = {}
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                a = node.args
                count = len([*a.posonlyargs, *a.args, *a.kwonlyargs]) + (a.vararg is not None)
                if count > 12:
                    long[f"{path.relative_to(PACKAGE)}:{node.lineno} {node.name}"] = count
    assert not long


def numeric(node: ast.expr) -> bool:
    if isinstance(node, ast.Constant):
        return isinstance(node.value, (int, float)) and not isinstance(node.value, bool)
    if isinstance(node, (ast.Tuple, ast.List)):
        return all(map(numeric, node.elts))
    if isinstance(node, ast.BinOp):
        return numeric(node.left) and numeric(node.right)
    return isinstance(node, ast.UnaryOp) and numeric(node.operand)


CODECS = sorted((PACKAGE / "codecs").rglob("*.py"))


@pytest.mark.parametrize("path", CODECS, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_constants_say_what_they_stand_on(path: Path) -> None:
    """Every number with a name: F format, M measured or G guess, beside it, above it, or of all in the file
    ("# F, all of them").
    """
    text = path.read_text()
    lines = text.split("\n")
    unmarked = []
    for node in ast.parse(text).body:
        if isinstance(node, ast.Assign) and numeric(node.value):
            names = re.match(r"[A-Z][A-Z_0-9, ]*(?= =)", lines[node.lineno - 1])
            about = " ".join([lines[node.lineno - 2], *lines[node.lineno - 1 : node.end_lineno]])
            if names and not re.search(r"# (.*[ (])?[FGM]\b", about):
                unmarked.append(f"{node.lineno}: {names[0]}")
    assert not unmarked or re.search(r"^# [FGM], all of them", text, re.MULTILINE)


@pytest.mark.parametrize("path", CODECS, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_measured_constants_say_by_which_command(path: Path) -> None:
    """Beside one, or in a comment that begins a line, for all of the file."""
    text = path.read_text()
    command = r"\b(tools/|tersor (eval|bench))"
    for line in re.findall(r".*# M\b.*", text):
        assert re.search(command, line) or re.search(rf"^# .*\bM\b.*{command}", text, re.MULTILINE), line


@pytest.mark.parametrize("path", CODECS, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_kept_code_is_made_of_what_its_mark_covers(path: Path) -> None:
    """Machine code is marked with the sources of its own folder and of entropy/ (entropy/shipped.py)."""
    text = path.read_text()
    if not re.search(r"import .*\b(compiled|inlined)\b", text):
        return
    own = ".".join(("tersor", *path.relative_to(PACKAGE).parts[:-1]))
    for module in re.findall(r"^from (tersor\.(?:codecs|models)\S*)", text, re.MULTILINE):
        assert module.startswith(own), f"loops of {path.name} may be made of {module}"
