"""Where the time goes: named stages, summed while a clock is running; free otherwise."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import defaultdict
from collections.abc import Iterator

_running: StageClock | None = None


class StageClock:
    """Sums the seconds of stages; with a device that runs behind the CPU, each stage ends by waiting for it.

    Args:
        synchronise: wait for CUDA at the end of each stage.
    """

    def __init__(self, synchronise: bool = False) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._synchronise = synchronise
        self._lock = threading.Lock()

    def add(self, name: str, seconds: float) -> None:
        with self._lock:
            self.seconds[name] += seconds

    @contextlib.contextmanager
    def running(self) -> Iterator[StageClock]:
        global _running
        _running = self
        try:
            yield self
        finally:
            _running = None

    def wait(self) -> None:
        if self._synchronise:
            import torch

            torch.cuda.synchronize()


def stage(name: str) -> contextlib.AbstractContextManager[None]:
    """Count the time of this block under `name`, if a clock is running."""
    return _NOTHING if _running is None else _timed(_running, name)


_NOTHING = contextlib.nullcontext()


@contextlib.contextmanager
def _timed(clock: StageClock, name: str) -> Iterator[None]:
    began = time.perf_counter()
    yield
    clock.wait()
    clock.add(name, time.perf_counter() - began)
