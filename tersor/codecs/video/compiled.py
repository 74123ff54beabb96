"""How the loops of this codec are compiled: as everywhere in tersor, but once each, not once for every
constant and every width of integer that they are called with, and without what only a call from Python needs:
both together took most of the time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tersor.entropy.compiled import compiled as compiled_anew  # says what to install where numba is missing
from tersor.entropy.compiled import inlined

__all__ = ["compiled", "entry", "inlined"]


def entry(loop: Callable[..., object]) -> Any:
    """Compile a loop that Python calls. Its integers are int64, whatever the caller's are."""
    return _widening(compiled_anew(loop))


def compiled(loop: Callable[..., object]) -> Any:
    """Compile a loop that only other loops call; integers as of `entry`. Floats, booleans and arrays keep
    their types.
    """
    return _widening(compiled_anew(loop, no_cpython_wrapper=True, no_cfunc_wrapper=True))


def _widening(dispatcher: Any) -> Any:
    if hasattr(dispatcher, "get_call_template"):  # not where NUMBA_DISABLE_JIT leaves the function as it is
        compile_any = dispatcher.compile
        dispatcher.compile = lambda signature: compile_any(tuple(_widened(a) for a in signature))
    return dispatcher


def _widened(argument: Any) -> Any:
    from numba import types

    argument = types.unliteral(argument)
    return types.int64 if isinstance(argument, types.Integer) else argument
