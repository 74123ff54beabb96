"""The one pool of threads: at most `threads` of them share a call's work, however deep maps are nested.

A `Team` maps work over items in order (`ahead`: lazily, a few results ahead; `each`: a list) and shares the
rows of one item (`rows`). Work that itself maps (a block tries two predictions, and each its rows) goes
through `side_by_side` and `in_parts`, which take the idle threads of the team the work runs in and do the
rest themselves: no pool inside a pool, and no waiting for a thread that waits.

Results never depend on the number of threads. Compiled loops run without the global lock.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import multiprocessing
import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import ContextVar
from typing import TypeVar

from tersor.errors import SignalError

Progress = Callable[[int, int], None]
"""Called with (parts done, parts in all)."""

A = TypeVar("A")
B = TypeVar("B")
LEAST_POINTS = 1 << 16  # G: below this, handing rows to a thread costs more than it saves
_running: ContextVar[Team | None] = ContextVar("team", default=None)


def default_threads() -> int:
    """The cores this process may use; 1 in a worker process (of a DataLoader, say), whose parent has already
    spread the work over the cores.
    """
    if multiprocessing.parent_process() is not None:
        return 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Team:
    """At most `threads` threads at work, nested maps included.

    Args:
        threads: None for `default_threads`; with 1 everything runs in the caller's thread.

    Raises:
        SignalError: fewer than one.
    """

    def __init__(self, threads: int | None = None) -> None:
        if threads is not None and (not isinstance(threads, int) or threads < 1):
            raise SignalError(f"threads is {threads!r}; allowed are whole numbers from 1")
        self.threads = threads or default_threads()
        self._lock = threading.RLock()
        self._busy = 0
        self._process = 0
        self._pool: ThreadPoolExecutor | None = None
        self._name = f"tersor-{id(self)}"

    def ahead(self, work: Callable[[A], B], items: Iterable[A]) -> Iterator[B]:
        """work(item) in order; lazily, with at most `threads` + 1 items taken whose result was not given."""
        if self.threads == 1 or self._in_pool():
            for item in items:
                yield self._here(work, item)
            return
        waiting: deque[Future[B]] = deque()
        try:
            for item in items:
                with self._lock:
                    waiting.append(self._start(work, item))
                if len(waiting) > self.threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:  # an error, or a caller that stopped listening
            for future in waiting:
                future.cancel()

    def each(self, work: Callable[[A], B], items: Iterable[A]) -> list[B]:
        """work(item) in order, by the caller and whatever threads of the team are idle."""
        left = list(items)
        done: dict[int, B] = {}
        numbers = itertools.count()

        def pull(_: object) -> None:
            while (i := next(numbers)) < len(left):
                done[i] = work(left[i])

        with self._at_work():
            helpers = [h for _ in left[1 : self.threads] if (h := self._borrow(pull))]
            pull(None)
            for h in helpers:
                h.result()
        return [done[i] for i in range(len(left))]

    def rows(self, work: Callable[[int, int], object], rows: int, points: int) -> None:
        """`work(first, last)` over all rows: in parts at once where there are enough points to pay for it.
        The result must not depend on the parts.
        """
        parts = min(rows, self.threads) if points >= LEAST_POINTS else 1
        if parts < 2:
            work(0, rows)
            return
        edges = [rows * i // parts for i in range(parts + 1)]
        self.each(lambda span: work(*span), itertools.pairwise(edges))

    def _here(self, work: Callable[[A], B], item: A) -> B:
        with self._at_work():
            return work(item)

    @contextlib.contextmanager
    def _at_work(self) -> Iterator[None]:
        """This thread works for the team, and takes the place of one of its own if it comes from outside."""
        guest = not self._in_pool() and _running.get() is not self
        token = _running.set(self)
        with self._lock:
            self._busy += guest
        try:
            yield
        finally:
            with self._lock:
                self._busy -= guest
            _running.reset(token)

    def _in_pool(self) -> bool:
        return threading.current_thread().name.startswith(self._name)

    def _borrow(self, work: Callable[[None], B]) -> Future[B] | None:
        """Work started in an idle thread, which begins it at once; None if there is none."""
        with self._lock:
            return self._start(work, None) if self._busy < self.threads else None

    def _start(self, work: Callable[[A], B], item: A) -> Future[B]:
        if self._pool is None or self._process != os.getpid():  # threads do not survive a fork
            self._pool = ThreadPoolExecutor(self.threads, thread_name_prefix=self._name)
            self._process = os.getpid()
        self._busy += 1
        future = self._pool.submit(self._here, work, item)
        future.add_done_callback(self._finished)
        return future

    def _finished(self, _: Future[B]) -> None:
        with self._lock:
            self._busy -= 1


@functools.lru_cache(maxsize=1)
def _shared(process: int) -> Team:
    return Team()


def shared_team() -> Team:
    """The team of the process, of `default_threads`."""
    return _shared(os.getpid())


def side_by_side(work: Callable[[A], B], items: Iterable[A]) -> list[B]:
    """`Team.each` in the team this thread works for."""
    return (_running.get() or shared_team()).each(work, items)


def in_parts(work: Callable[[int, int], object], rows: int, points: int) -> None:
    """`Team.rows` in the team this thread works for."""
    (_running.get() or shared_team()).rows(work, rows, points)


@contextlib.contextmanager
def torch_threads(most: int | None) -> Iterator[None]:
    """torch's own threads bounded, and put back at the end; as they are if None. The number belongs to the
    process: calls at the same time should ask for the same.
    """
    torch = sys.modules.get("torch")
    if most is None or torch is None or torch.get_num_threads() <= most:
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(most)
    try:
        yield
    finally:
        torch.set_num_threads(before)
