"""Threads that share the work inside one block; compiled loops run in them without the global lock."""

from __future__ import annotations

import functools
import itertools
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Progress = Callable[[int, int], None]

A = TypeVar("A")
B = TypeVar("B")
LEAST_POINTS = 1 << 16


@functools.lru_cache(maxsize=1)
def _pool(process: int) -> ThreadPoolExecutor:
    """One pool a process: threads do not survive a fork."""
    return ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="tersor")


def side_by_side(work: Callable[[A], B], items: Iterable[A]) -> list[B]:
    """`work` of each item, in order. Work must not call this itself: it would wait for its own thread."""
    return list(_pool(os.getpid()).map(work, items))


def in_parts(work: Callable[[int, int], object], rows: int, points: int) -> None:
    """`work(first, last)` over all rows: in parts at once where there are enough points to pay for it. The
    result must not depend on the parts.
    """
    parts = min(rows, os.cpu_count() or 1) if points >= LEAST_POINTS else 1
    if parts < 2:
        work(0, rows)
        return
    edges = [rows * i // parts for i in range(parts + 1)]
    others = [_pool(os.getpid()).submit(work, a, b) for a, b in itertools.pairwise(edges[1:])]
    work(edges[0], edges[1])
    for other in others:
        other.result()


def in_order(work: Callable[[A], B], items: Iterable[A]) -> Iterator[B]:
    """work(item) in order, on all cores; as many items are held as there are cores."""
    threads = os.cpu_count() or 1
    waiting: deque[Future[B]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) >= threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
