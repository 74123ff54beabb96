"""Machine code that comes with the package, so that nobody waits for a compiler: made when the package is
built (tools/compile_loops.py), for instructions that most processors have.

    machine_code/cpython-311-x86-64-v3/codecs.field.grid_loops.code_rows   a file a loop: stamp, {types: code}

It is used where the processor has the instructions, and Python (3.11 is not 3.12), numba, llvmlite and the
sources are those that it was made with; else loops are compiled as if it were not there.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import logging
import os
import pickle
import platform
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import llvmlite
import numba
from llvmlite.binding import get_host_cpu_features
from numba.core import config, serialize
from numba.core.compiler import CompileResult
from numba.core.runtime import rtsys

log = logging.getLogger("tersor.compiled")

Loop = Callable[..., Any]
Signature = tuple[Any, ...]

PACKAGE = Path(__file__).parents[1]
FOLDER = PACKAGE / "machine_code"
_V3 = "avx avx2 bmi bmi2 cx16 f16c fma lzcnt movbe popcnt sahf sse3 sse4.1 sse4.2 ssse3 xsave"
_V4 = "avx512f avx512bw avx512cd avx512dq avx512vl"
# Of x86-64: what LLVM calls a set of instructions -> those it needs (System V psABI, table 3.1), best first.
LEVELS = {"x86-64-v4": {*_V3.split(), *_V4.split()}, "x86-64-v3": {*_V3.split()}}


def levels() -> tuple[str, ...]:
    """Sets of instructions that this processor has, by the names that LLVM gives them, best first."""
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return ("generic",)
    with contextlib.suppress(RuntimeError):  # LLVM does not know
        has = {name for name, there in get_host_cpu_features().items() if there}
        return tuple(level for level, needs in LEVELS.items() if needs <= has)
    return ()


def folder_of(level: str) -> Path:
    """Where code for a set of instructions is, for this Python."""
    return FOLDER / f"{sys.implementation.cache_tag}-{level}"


@functools.cache
def folder() -> Path | None:
    """The code for this machine; None where there is none, or something else was asked of numba, or none was
    wanted (TERSOR_MACHINE_CODE=0).
    """
    if os.environ.get("TERSOR_MACHINE_CODE") == "0":
        return None
    if config.CPU_NAME or config.CPU_FEATURES is not None or not config.ENABLE_AVX:
        return None
    return next((f for f in map(folder_of, levels()) if f.is_dir()), None)


def load(loop: Loop, signature: Signature, context: Any) -> CompileResult | None:
    """The code of a loop for arguments of some types, ready to run; None if it is not there or does not fit.

    Args:
        loop: in Python.
        signature: numba's types of its arguments.
        context: numba's, of the target.
    """
    where = folder()
    if where is None:
        return None
    try:
        made_of, overloads = pickle.loads(file_of(where, loop).read_bytes())
        code = overloads.get(signature) if made_of == stamp(loop) else None
        if code is None:
            return None
        rtsys.initialize(context)  # and not context.refresh(), which loads what only a compiler needs
        return CompileResult._rebuild(context, *pickle.loads(zlib.decompress(code)))
    except FileNotFoundError:
        return None
    except Exception as e:  # whatever a damaged file makes of unpickling
        log.debug("%s: the machine code that came with tersor cannot be read (%r)", loop.__qualname__, e)
        return None


def save(where: Path, loop: Loop, signature: Signature, code: CompileResult) -> None:
    """Add code to a folder that is being made."""
    path, overloads = file_of(where, loop), {}
    if path.exists():
        _, overloads = pickle.loads(path.read_bytes())
    *parts, environments = code._reduce()
    # Python constants of numba's own functions. Empty ones would only import the modules they are of.
    environments = tuple(e for e in environments if e.consts)
    overloads[signature] = zlib.compress(serialize.dumps((*parts, environments)), 9)
    write(path, stamp(loop), overloads)


def write(path: Path, made_of: Any, overloads: dict[Signature, bytes]) -> None:
    """The file of a loop."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(serialize.dumps((made_of, overloads)))


def stamp(loop: Loop) -> tuple[str, ...]:
    """What the code of a loop was made of and with."""
    return numba.__version__, llvmlite.__version__, sources(Path(loop.__code__.co_filename).parent)


@functools.cache
def sources(folder: Path) -> str:
    """A digest of all modules beside a loop and in this room: what its machine code may be made of."""
    digest = hashlib.sha256()
    for path in sorted({*folder.glob("*.py"), *Path(__file__).parent.glob("*.py")}):
        with contextlib.suppress(OSError):
            digest.update(path.read_bytes())
    return digest.hexdigest()


def file_of(where: Path, loop: Loop) -> Path:
    """Of a loop in a folder."""
    return where / f"{loop.__module__.removeprefix('tersor.')}.{loop.__qualname__}"
