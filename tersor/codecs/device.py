"""Which device, and arithmetic flags on it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

import torch
from torch import Tensor

from tersor.errors import DeviceError


def pick_device(name: str) -> str:
    """ "auto" is CUDA where there is one, else the CPU.

    Raises:
        DeviceError: the device is not there; nothing falls back silently.
    """
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        kind = torch.device(name).type
    except (RuntimeError, TypeError) as e:
        raise DeviceError(f"device '{name}' is not known; allowed are auto, cpu and cuda") from e
    if kind == "cuda" and not torch.cuda.is_available():
        raise DeviceError(
            f"device '{name}' was asked for, but this machine or this build of torch has no CUDA; "
            "use --device cpu or auto"
        )
    if kind == "cuda" and (torch.device(name).index or 0) >= torch.cuda.device_count():
        raise DeviceError(
            f"device '{name}' was asked for, but there are {torch.cuda.device_count()} CUDA devices"
        )
    if kind not in ("cpu", "cuda"):
        raise DeviceError(f"device '{name}' is not supported; allowed are auto, cpu and cuda")
    return name


_flags_lock = threading.Lock()
_flags_users = 0
_flags_stack = contextlib.ExitStack()


@contextlib.contextmanager
def exact_convolutions() -> Iterator[None]:
    """Full float32 in convolutions: TF32 would move samples by more than the stated bound. The flags belong
    to the process; the last of several users at a time puts them back.
    """
    global _flags_users
    with _flags_lock:
        if not _flags_users:
            _flags_stack.enter_context(
                torch.backends.cudnn.flags(
                    enabled=True, benchmark=False, deterministic=True, allow_tf32=False
                )
            )
        _flags_users += 1
    try:
        yield
    finally:
        with _flags_lock:
            _flags_users -= 1
            if not _flags_users:
                _flags_stack.close()


def parts(batch: Tensor) -> tuple[Tensor, ...]:
    """What the pixel filter takes at once: on a CPU a batch is no faster and needs all its memory at once."""
    return torch.split(batch, len(batch) if batch.is_cuda else 1)
