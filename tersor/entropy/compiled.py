"""How loops are compiled: by numba without fast-math, so that floats are what IEEE 754 says.
NUMBA_DISABLE_JIT=1 runs them as Python, which the tests compare.
"""

from __future__ import annotations

from tersor.errors import MissingDependencyError

try:
    from numba import njit
except ImportError as e:
    raise MissingDependencyError(
        "this codec needs numba: pip install 'tersor[fields]' for arrays, 'tersor[audio]' for sound"
    ) from e


def compiled(loop):
    """Compile without the global lock; keep the machine code on disk where there is a place for it."""
    try:
        return njit(cache=True, nogil=True)(loop)
    except RuntimeError:  # neither the package's folder nor the user's cache can be written
        return njit(nogil=True)(loop)


def inlined(loop):
    """Compile into every caller: passing a model's arrays would cost more than the arithmetic."""
    return njit(nogil=True, inline="always")(loop)
