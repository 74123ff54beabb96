"""How the loops of this codec are compiled: as everywhere in tersor, but once each, not once for every constant and every width of integer that they are called with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import types

from tersor.entropy.compiled import compiled as compiled_anew
from tersor.entropy.compiled import inlined

__all__ = ["compiled", "inlined"]


def compiled(loop: Callable[..., Any]) -> Any:
    """Compile a loop whose integers are int64, whatever the caller's are. Floats, booleans and arrays keep their types."""
    dispatcher = compiled_anew(loop)
    if hasattr(dispatcher, "get_call_template"):  # not where NUMBA_DISABLE_JIT leaves the function as it is
        compile_any = dispatcher.compile
        dispatcher.compile = lambda signature: compile_any(tuple(_widened(a) for a in signature))
    return dispatcher


def _widened(argument: Any) -> Any:
    argument = types.unliteral(argument)
    return types.int64 if isinstance(argument, types.Integer) else argument
