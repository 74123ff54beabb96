"""Machine code that comes with the package: used where it fits, and only there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tersor import warm_up

pytest.importorskip("numba")
from tersor.entropy import shipped

ROOT = Path(__file__).parents[2]
HELPER = "from tersor.entropy.compiled import compiled\n@compiled\ndef more(x):\n    return x + {}\n"
LOOP = """from tersor.entropy.compiled import compiled
from helper import more


@compiled
def twice(x):
    return 2 * more(x)
"""
# Arguments: folder with the modules, folder with code, whether to make it, another line of code to run first.
RUN = """
import logging, sys
from pathlib import Path
folder, code, make, first = sys.argv[1:]
sys.path[:0] = [folder]
from tersor.entropy import compiled, shipped
shipped.FOLDER = Path(code)
exec(first)
if make:
    level = shipped.folder_of(shipped.levels()[-1])
    compiled.Code.save_overload = lambda self, sig, result: shipped.save(level, self.loop, sig, result)
logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
from loops import twice
print(twice(3))
"""


def run(folder: Path, make: bool = False, first: str = "", **environment: str) -> list[str]:
    """-> what is said, and the result."""
    command = [sys.executable, "-B", "-c", RUN, str(folder), str(folder / "code"), "x" * make, first]
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("NUMBA_", "TERSOR_"))}
    clean |= {"PYTHONPATH": str(ROOT), "NUMBA_CACHE_DIR": str(folder / f"cache-{os.urandom(4).hex()}")}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=clean | environment)
    return done.stdout.splitlines()


COMPILED = ["compiling twice", "compiling more"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two modules and the code of their loops."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "helper.py").write_text(HELPER.format(1))
    (folder / "loops.py").write_text(LOOP)
    assert run(folder, make=True) == [*COMPILED, "8"]
    assert {p.name for p in (folder / "code").rglob("*.*")} >= {"loops.twice", "helper.more"}
    return folder


def test_nothing_is_compiled_where_it_fits(made: Path) -> None:
    assert run(made) == ["8"]


@pytest.mark.parametrize(
    ("first", "environment"),
    [
        ("", {"NUMBA_CPU_NAME": "generic"}),
        ("", {"TERSOR_MACHINE_CODE": "0"}),
        (
            "shipped.LEVELS = {'x86-64-v9': {'mind-reading'}}; shipped.platform.machine = lambda: 'x86_64'",
            {},
        ),
        ("shipped.numba.__version__ = '0.1'", {}),
    ],
    ids=["another processor asked for", "switched off", "instructions missing", "another numba"],
)
def test_it_is_left_where_it_does_not_fit(made: Path, first: str, environment: dict[str, str]) -> None:
    assert run(made, first=first, **environment) == [*COMPILED, "8"]


def test_a_changed_source_or_damage_costs_only_time(made: Path) -> None:
    (made / "helper.py").write_text(HELPER.format(2))
    try:
        assert run(made) == [*COMPILED, "10"]
    finally:
        (made / "helper.py").write_text(HELPER.format(1))
    path = next((made / "code").rglob("loops.twice"))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    try:
        assert run(made)[0] == "compiling twice"
    finally:
        path.write_bytes(whole)


@pytest.mark.skipif(shipped.folder() is None, reason="this tersor was built without machine code")
@pytest.mark.slow
@pytest.mark.parametrize("codec", warm_up.WORK)
def test_no_codec_compiles_anything(codec: str, tmp_path: Path) -> None:
    """In a fresh process with an empty cache; fails too where the code is older than the sources."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("NUMBA_", "TERSOR_"))}
    clean |= {"PYTHONPATH": str(ROOT), "NUMBA_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-m", "tersor.warm_up", codec]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=clean)
    assert done.stdout.strip() == "0", f"{codec}: 'make machine-code' makes it anew"
