"""Make the machine code that is shipped with the package: tersor/machine_code, by entropy/shipped.py.

    python tools/compile_loops.py [--into FOLDER] [--codecs field,audio] [--levels x86-64-v3,x86-64-v4]

By default for the best set of instructions of this processor that has a name.

Every codec works on the signals of tersor/warm_up.py, in a process of its own: first all that numba compiles
for a set of instructions is taken down, then a second process shows which of it calls from Python need; the
rest has been compiled into that. Runs when the package is built (hatch_build.py); does nothing where all is
there.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import pickle
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
sys.modules["torch"] = None  # type: ignore[assignment]  # what compiles where it is missing belongs to it too

from tersor import warm_up  # noqa: E402
from tersor.codecs.parallel import Team  # noqa: E402
from tersor.entropy import compiled, shipped  # noqa: E402


def take_down(codec: str, where: Path) -> None:
    """All that is compiled while a codec works."""
    compiled.Code.load_overload = lambda self, sig, context: None  # type: ignore[method-assign]
    compiled.Code.save_overload = lambda self, sig, code: shipped.save(where, self.loop, sig, code)  # type: ignore[method-assign]
    warm_up.WORK[codec]()


def keep_needed(codec: str, where: Path) -> None:
    """Of that, only what is called from Python.

    Raises:
        RuntimeError: something called from Python is not there.
    """
    shipped.folder = lambda: where  # type: ignore[assignment]
    load, needed = shipped.load, {}  # type: ignore[var-annotated]

    def noted(loop, signature, context):
        found = load(loop, signature, context)
        if found is None:
            raise RuntimeError(
                f"{codec}: {shipped.file_of(where, loop).name} was not compiled for {signature}"
            )
        needed.setdefault(shipped.file_of(where, loop), []).append(signature)
        return found

    shipped.load = noted
    warm_up.WORK[codec]()
    for path in where.iterdir():
        if path not in needed:
            path.unlink()
            continue
        made_of, overloads = pickle.loads(path.read_bytes())
        shipped.write(path, made_of, {s: overloads[s] for s in needed[path]})


def compile_codec(codec: str, level: str, where: Path) -> str:
    """Both steps, in processes whose numba knows no other processor and no cache; -> what failed."""
    with tempfile.TemporaryDirectory() as cache:
        threads = dict.fromkeys(("NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
        has = ",".join(f"+{feature}" for feature in sorted(shipped.LEVELS.get(level, ())))
        cpu = {"NUMBA_CPU_NAME": level, "NUMBA_CPU_FEATURES": has, "NUMBA_CACHE_DIR": cache}
        environment = {k: v for k, v in os.environ.items() if not k.startswith("NUMBA_")} | threads | cpu
        for step in (take_down, keep_needed):
            command = [sys.executable, __file__, "--step", step.__name__, codec, str(where)]
            run = subprocess.run(command, env=environment, capture_output=True, text=True)
            if run.returncode:
                shutil.rmtree(where, ignore_errors=True)
                return f"{codec} failed, its loops are compiled at first use; {step.__name__}:\n{run.stderr}"
    return ""


def merged(parts: list[Path], into: Path) -> None:
    """One folder of several; two codecs may have a loop in common."""
    into.mkdir()
    for path in (p for part in parts for p in sorted(part.iterdir())):
        made_of, overloads = pickle.loads(path.read_bytes())
        if (into / path.name).exists():
            overloads = pickle.loads((into / path.name).read_bytes())[1] | overloads
        shipped.write(into / path.name, made_of, overloads)


def mark() -> str:
    """Of all that the code follows from."""
    digest = hashlib.sha256(Path(__file__).read_bytes())
    digest.update(repr((shipped.numba.__version__, shipped.llvmlite.__version__, sys.version)).encode())
    for path in sorted((ROOT / "tersor").rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def make(level: str, codecs: list[str], into: Path) -> str:
    """The code for a set of instructions; -> what was done. A codec that fails has none."""
    made_of = into / "made_of"
    if made_of.exists() and made_of.read_text() == mark():
        return "as it was"
    with tempfile.TemporaryDirectory() as temporary:
        parts = [Path(temporary) / codec for codec in codecs]
        errors = [e for e in Team().ahead(lambda part: compile_codec(part.name, level, part), parts) if e]
        whole = Path(temporary) / "whole"
        merged([part for part in parts if part.is_dir()], whole)
        if not errors and set(codecs) == set(warm_up.WORK):
            (whole / "made_of").write_text(mark())
        shutil.rmtree(into, ignore_errors=True)
        shutil.copytree(whole, into)
    return "\n".join(["made", *errors])


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--into", type=Path, default=shipped.FOLDER)
    p.add_argument("--codecs", default=",".join(warm_up.WORK))
    p.add_argument(
        "--levels", default=os.environ.get("TERSOR_MACHINE_CODE") or ",".join(shipped.levels()[:1])
    )
    p.add_argument("--step", nargs=3, metavar=("STEP", "CODEC", "FOLDER"), help=argparse.SUPPRESS)
    a = p.parse_args()
    if a.step:
        step, codec, where = a.step
        {"take_down": take_down, "keep_needed": keep_needed}[step](codec, Path(where))
        return
    for level in filter(None, a.levels.split(",")):  # an old processor has no named set
        into = a.into / shipped.folder_of(level).name
        done = make(level, a.codecs.split(","), into)
        size = sum(f.stat().st_size for f in into.iterdir())
        print(f"{into}: {size / 1e6:.1f} MB, {done}")


if __name__ == "__main__":
    main()
