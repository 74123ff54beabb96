"""Between the exact layers in torch and the loops in numba that compute the same integers faster on x86 CPUs.

Without numba, on other processors and on a GPU the layers run in torch (models/exact.py).
"""

from __future__ import annotations

import functools
import platform
from collections.abc import Callable
from contextvars import ContextVar
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tersor.errors import MissingDependencyError

Spread = Callable[[Callable[[int, int], object], int, int], None]


def _alone(work: Callable[[int, int], object], rows: int, points: int) -> None:
    work(0, rows)


spread: ContextVar[Spread] = ContextVar("spread", default=_alone)
"""Who does `work(first, last)` over all rows, of so many points together: this thread, if nobody else is set.
The result does not depend on it.
"""


def loops_for(x: Tensor) -> ModuleType | None:
    """The loops, where they can run."""
    return None if x.is_cuda else _loops()


@functools.cache
def _loops() -> ModuleType | None:
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return None
    try:
        from tersor.models import exact_loops
    except MissingDependencyError:
        return None
    if exact_loops.UNCOMPILED:
        return None
    return exact_loops


def convolve(loops: ModuleType, x: Tensor, layer: Any) -> Tensor:
    """A packed layer on x int32 [N, C, h, w] -> int32 [N, O, h, w]."""
    source = _channels_last(x)
    return _filled(loops.convolve, source, len(layer.bias), source, layer)


def residual(loops: ModuleType, x: Tensor, inner: Any, outer: Any) -> Tensor:
    """x + outer(relu(inner(normalise(x)))), int32 [N, C, h, w]."""
    source = _channels_last(x)
    return _filled(loops.residual, source, source.shape[3], source, inner, outer)


def normalise(loops: ModuleType, x: Tensor) -> Tensor:
    """int32 [N, C, h, w], as `exact.normalise`."""
    source = _channels_last(x)
    return _filled(loops.normalise, source, source.shape[3], source)


def _filled(loop: Callable[..., None], like: NDArray[np.int32], channels: int, *args: Any) -> Tensor:
    n, h, w = like.shape[:3]
    out = np.empty((n, h, w, channels), np.int32)
    spread.get()(lambda first, last: loop(*args, out, first, last), n * h, like.size)
    return torch.from_numpy(out).permute(0, 3, 1, 2)


def _channels_last(x: Tensor) -> NDArray[np.int32]:
    return np.ascontiguousarray(x.permute(0, 2, 3, 1).numpy(), np.int32)
