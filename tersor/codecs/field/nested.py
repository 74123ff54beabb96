"""Nested grids: the order in which a block is coded since version 0.2, and where its cells lie in memory.

As in grid.py points at multiples of the coarsest spacing come first, and axis by axis, level by level, those
half-way between known ones, in two phases (the colours of a checkerboard). What differs is the room they are
kept
in: a row of the last axis holds the known points only, densely, and new points are woven in when the last
axis is refined; beyond every edge lie ghosts. So a tap of a row is a stretch of memory, and one compiled
call codes a block.

    key       (level, axis, phase, whether frames came before): what shares a stencil and weights of contexts
    parent    the same one level up: what a key is like where it has nothing of its own
    frames    axis 0 is a sequence: each frame is refined on its own, and the two before it are neighbours too

Everything a decoder computes is a whole number below 2^53 in float64, which is exact.
"""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tersor.codecs.field.nested_loops import LEAD, phase_points, row_counts

AXES = 4  # F
SHORT = 32  # G: a last axis shorter than this gives its place to the longest
PITCH = 8  # G: rows begin at multiples of so many values
BASE = -1  # F: the axis of the entry that sets the first cell

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Plan:
    """How blocks of a shape are coded.

    Attributes:
        order: which axis of the block each working axis is.
        shape: of the block in working order.
        g: int64 [15], for the loops: four sides, strides of three axes in the values, where the room of new
            points begins, its strides, room of a frame, strides of three axes in the cells.
        room: values needed.
        passes: int64 [n, 6]: frame, spacing, axis (BASE: a first cell), frames before, its cells, key.
        points: int64 [keys], points of each key.
        parents: int64 [keys], -1 for none.
        frames: how many.
        largest: points of the largest run.
        runs: points of each phase of each pass, in order.
    """

    order: tuple[int, ...]
    shape: tuple[int, ...]
    g: Ints
    room: int
    passes: Ints
    points: Ints
    parents: Ints
    frames: int
    largest: int
    runs: Ints


def usual_order(shape: tuple[int, ...], frames: bool) -> tuple[int, ...]:
    """Axes as they are, but for a short last one: the longest goes last then."""
    first = 1 if frames else 0
    order = list(range(len(shape)))
    longest = max(order[first:], key=lambda j: shape[j])
    if shape[-1] < SHORT and shape[longest] > shape[-1]:
        order.remove(longest)
        order.append(longest)
    return tuple(order)


def other_orders(n: int, frames: bool) -> list[tuple[int, ...]]:
    """Orders that are worth a trial: as axes are, and the last one first."""
    first = (0,) if frames else ()
    rest = tuple(range(len(first), n))
    return [first + rest, first + rest[::-1]]


def orders(n: int) -> list[tuple[int, ...]]:
    """All orders of n axes; a file holds the index."""
    return list(itertools.permutations(range(n)))


@functools.lru_cache(maxsize=16)
def plan(shape: tuple[int, ...], frames: bool, order: tuple[int, ...]) -> Plan:
    """The plan of a block of 1 to 4 axes; with `frames` its first one is a sequence."""
    working = tuple(shape[j] for j in order)
    inner = working[1:] if frames else working
    count = working[0] if frames else 1
    sides = (1,) * (AXES - len(inner)) + inner
    pitch = -(-(sides[3] + 2 * LEAD) // PITCH) * PITCH
    new = -(-(sides[3] // 2 + 1 + 2 * LEAD) // PITCH) * PITCH
    roomy = [s + 2 if s > 1 else 1 for s in sides[:3]]
    frame = roomy[0] * roomy[1] * roomy[2] * pitch
    g = np.array(
        [
            *sides,
            roomy[1] * roomy[2] * pitch,
            roomy[2] * pitch,
            pitch,
            frame * count,
            sides[1] * sides[2] * new,
            sides[2] * new,
            new,
            frame,
            sides[1] * sides[2] * sides[3],
            sides[2] * sides[3],
            sides[3],
        ],
        np.int64,
    )
    levels = max((int(s - 1).bit_length() for s in sides), default=0)
    passes: list[tuple[int, ...]] = []
    points: list[int] = []
    parents: list[int] = []
    keys: dict[tuple[int, int, bool], int] = {}
    latest: dict[tuple[int, bool], int] = {}
    one = [
        (1 << (level - 1), axis)
        for level in range(levels, 0, -1)
        for axis in range(AXES)
        if sides[axis] > 1 << (level - 1)
    ]
    sizes = {}
    runs: list[int] = []
    for h, axis in one:
        n = row_counts(g, axis, h)
        rows = int(n[0] * n[1] * n[2])
        sizes[h, axis] = [int(phase_points(n, phase, rows)) for phase in (0, 1)]
    for time in range(count):
        at, cells = time * frame, time * int(np.prod(sides))
        passes.append((at, 0, BASE, time, cells, time))
        for h, axis in one:
            name = h, axis, time > 0
            if name not in keys:
                keys[name] = len(points)
                above = latest.get((axis, time > 0), -1)
                parents += [above, above + 1 if above >= 0 else -1]
                points += [0, 0]
                latest[axis, time > 0] = keys[name]
            key = keys[name]
            for phase in (0, 1):
                points[key + phase] += sizes[h, axis][phase]
                runs.append(sizes[h, axis][phase])
            passes.append((at, h, axis, time, cells, key))
    return Plan(
        order=order,
        shape=working,
        g=g,
        room=frame * count + sides[0] * sides[1] * sides[2] * new,
        passes=np.array(passes, np.int64).reshape(-1, 6),
        points=np.array(points, np.int64),
        parents=np.array(parents, np.int64),
        frames=count,
        largest=max(runs, default=0),
        runs=np.array(runs, np.int64),
    )


def cells_of(values: Floats, p: Plan) -> Floats:
    """The values of a block after its passes, in working order [cells]."""
    g = [int(v) for v in p.g]
    out = np.empty((p.frames, *g[:4]))
    view: Any = np.lib.stride_tricks.as_strided(
        values[LEAD:], (p.frames, *g[:4]), tuple(8 * s for s in (g[11], g[4], g[5], g[6], 1)), writeable=False
    )
    out[:] = view
    return out.reshape(-1)
