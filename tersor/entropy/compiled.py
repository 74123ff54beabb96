"""How loops are compiled: by numba without fast-math, so that floats are what IEEE 754 says.
NUMBA_DISABLE_JIT=1 runs them as Python, which the tests compare.

Machine code comes with the package (shipped.py). What it lacks is compiled at first use and kept on disk
where there is a place for it: beside the package, in the user's cache, or else in a folder of the user's own
among the temporary files. A damaged, full or read-only cache costs time, never a result: what cannot be read
is compiled again.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import stat
import tempfile
from pathlib import Path

from tersor.errors import MissingDependencyError

try:
    from numba import config, njit
    from numba.core.caching import FunctionCache, _Cache

    from tersor.entropy import shipped
except ImportError as e:
    raise MissingDependencyError("this codec needs numba: pip install numba") from e

log = logging.getLogger("tersor.compiled")


class Code(_Cache):
    """Where numba finds the machine code of a loop: with the package, or kept on disk."""

    def __init__(self, loop):
        self.loop = loop

    @functools.cached_property
    def _kept(self):
        """Made when it is needed, since it looks for a folder that can be written."""
        with contextlib.suppress(RuntimeError):  # no place at all
            return _kept_code(self.loop)

    @property
    def cache_path(self):
        return self._kept and self._kept.cache_path

    def load_overload(self, sig, target_context):
        found = shipped.load(self.loop, sig, target_context)
        if found is None and self._kept:
            found = self._kept.load_overload(sig, target_context)
        if found is None:
            log.info("compiling %s", self.loop.__qualname__)
        return found

    def save_overload(self, sig, data):
        if self._kept:
            self._kept.save_overload(sig, data)

    def enable(self):
        """It always is."""

    disable = flush = enable


class KeptCode(FunctionCache):
    """numba's cache of one loop, whose faults are no errors."""

    def load_overload(self, sig, target_context):
        try:
            return super().load_overload(sig, target_context)
        except Exception as e:  # whatever a damaged index or file makes of unpickling
            log.debug("%s: the kept machine code cannot be read (%r)", self._name, e)
            with contextlib.suppress(Exception):
                self.flush()
            return None

    def _index_key(self, sig, codegen):
        """numba knows a loop by its own file; here also by what it calls and the constants that it takes."""
        sources = shipped.sources(Path(self._py_func.__code__.co_filename).parent)
        return (*super()._index_key(sig, codegen), sources)

    def save_overload(self, sig, data):
        with contextlib.suppress(Exception):  # a full disk, a folder taken away
            super().save_overload(sig, data)


def compiled(loop, **options):
    """Compile without the global lock, with numba's options; keep the machine code on disk, unless only other
    loops can call it, whose own holds it.
    """
    dispatcher = njit(nogil=True, **options)(loop)
    if not config.DISABLE_JIT and not options.get("no_cpython_wrapper"):
        dispatcher._cache = Code(loop)
    return dispatcher


def inlined(loop):
    """Compile into every caller: passing a model's arrays would cost more than the arithmetic."""
    return njit(nogil=True, inline="always")(loop)


def _kept_code(loop):
    try:
        return KeptCode(loop)
    except RuntimeError:  # neither the package's folder nor the user's cache can be written
        config.CACHE_DIR = str(_own_folder())
        return KeptCode(loop)


def _own_folder() -> Path:
    """A folder that nobody else can write: what is read from it is run.

    Raises:
        RuntimeError: somebody else made it.
    """
    user = os.getuid() if hasattr(os, "getuid") else os.environ.get("USERNAME", "user")
    folder = Path(tempfile.gettempdir()) / f"tersor-{user}"
    folder.mkdir(mode=0o700, exist_ok=True)
    about = folder.lstat()
    mine = not hasattr(os, "getuid") or about.st_uid == os.getuid()
    if not mine or not stat.S_ISDIR(about.st_mode) or about.st_mode & 0o022:
        raise RuntimeError(f"{folder} belongs to somebody else")
    return folder
