"""Anything people hold (paths, bytes, dicts of arrays and torch tensors) -> Tensors."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tersor.errors import SignalError
from tersor.files.tensors import read_tensors
from tersor.signals.dtypes import BY_NUMPY_NAME, KINDS, NUMPY_NAMES
from tersor.signals.tensors import Tensor, Tensors


def as_tensors(x: Any) -> Tensors:
    """Tensors from a path or the bytes of a .safetensors file, the path of an index of several, or a dict of
    numpy arrays, torch tensors and `Tensor`s by name; a nested dict's names are joined by dots, and one array
    alone is called "tensor".

    Raises:
        SignalError: anything else.
    """
    if isinstance(x, Tensors):
        return x
    if isinstance(x, (str, Path, bytes, bytearray, memoryview)):
        return read_tensors(Path(x) if isinstance(x, (str, Path)) else bytes(x))
    if not isinstance(x, Mapping):
        x = {"tensor": x}
    entries: dict[str, Tensor] = {}
    seen: dict[Any, Tensor] = {}
    for name, value in _flat(x, ""):
        place = _place(value)
        entries[name] = seen[place] if place in seen else as_tensor(value)
        if place is not None:
            seen[place] = entries[name]
    return Tensors(entries=entries)


def _flat(x: Mapping[Any, Any], path: str) -> Iterator[tuple[str, Any]]:
    for key, value in x.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{path}{key}.")
        else:
            yield f"{path}{key}", value


def _place(value: Any) -> Any:
    """What tells that two names mean the same memory."""
    if "torch" in {c.__module__.split(".")[0] for c in type(value).__mro__} and value.numel():
        return str(value.device), value.data_ptr(), value.dtype, tuple(value.shape), value.stride()
    return id(value) if isinstance(value, Tensor) else None


def as_tensor(x: Any) -> Tensor:
    """Tensor from a numpy array (ml_dtypes' types too), a torch tensor or a number.

    Raises:
        SignalError: anything else.
    """
    if isinstance(x, Tensor):
        return x
    if "torch" in {c.__module__.split(".")[0] for c in type(x).__mro__}:
        name = BY_NUMPY_NAME.get(str(x.dtype).removeprefix("torch."))
        if name is None:
            raise SignalError(f"the tensor is {x.dtype}; allowed are {', '.join(NUMPY_NAMES.values())}")
        flat = x.detach().cpu().contiguous().reshape(-1).view(sys.modules["torch"].uint8).numpy()
        return Tensor(dtype=name, shape=tuple(x.shape), words=flat.view(f"u{KINDS[name].word}"))
    if isinstance(x, (np.ndarray, np.generic, int, float)) or hasattr(x, "__array__"):
        return Tensor.of(x)
    raise SignalError(
        f"cannot make tensors of {type(x).__name__}; allowed are paths of .safetensors files, dicts of "
        "arrays, numpy arrays "
        "and torch tensors"
    )
