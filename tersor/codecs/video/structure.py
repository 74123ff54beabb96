"""In which order the frames of a group are coded, what each refers to, and how finely: a chain for low delay,
a pyramid otherwise.

chain:    0 -> 1 -> 2 -> 3 -> 4 ...   every frame from the one before and from the last key frames (every
    fourth), which are finer
pyramid:  0, 8, 4, 2, 1, 3, 6, 5, 7, 16, ...   every frame between two that are there, the deeper the coarser;
    8 is its distance
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

KEY = 4  # F: of a chain, every KEY-th frame is fine and stays a reference
CHAIN = 0  # F: in place of a distance
DISTANCES = (1, 2, 4, 8, 16, 32)  # F: of the outermost frames of pyramids


@dataclass(frozen=True, slots=True)
class Step:
    """One frame in coding order.

    Attributes:
        time: its place in the group.
        references: times of frames it may be predicted from, the most useful first.
        layer: 0 intra, 1 key, deeper ones coarser.
    """

    time: int
    references: tuple[int, ...]
    layer: int


def chain(frames: int) -> Iterator[Step]:
    """Frames in the order they are shown."""
    yield Step(0, (), 0)
    for t in range(1, frames):
        keys = [k for k in range((t - 1) // KEY * KEY, -1, -KEY) if k != t - 1]
        layer = 1 if t % KEY == 0 else 2 if t % 2 == 0 else 3
        yield Step(t, (t - 1, *keys[:2]), layer)


def pyramid(frames: int, distance: int) -> Iterator[Step]:
    """Frames `distance` apart (the last ones may be nearer), and between them, by halves."""
    yield Step(0, (), 0)
    for first in range(0, frames - 1, distance):
        last = min(first + distance, frames - 1)
        older = (first - distance,) if first else ()
        yield Step(last, (first, *older), 1)
        yield from _between(first, last, 2)


def _between(first: int, last: int, layer: int) -> Iterator[Step]:
    if last - first < 2:
        return
    middle = (first + last) // 2
    yield Step(middle, (first, last), layer)
    yield from _between(first, middle, layer + 1)
    yield from _between(middle, last, layer + 1)


def steps_of(frames: int, distance: int) -> list[Step]:
    """Of a pyramid, or CHAIN."""
    return list(pyramid(frames, distance) if distance else chain(frames))


def last_uses(steps: list[Step]) -> dict[int, int]:
    """Of each time, the index of the last step that needs it (its own if none does)."""
    uses = {step.time: i for i, step in enumerate(steps)}
    for i, step in enumerate(steps):
        for t in step.references:
            uses[t] = i
    return uses
