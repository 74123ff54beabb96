"""Closed-loop prediction on a dyadic grid: the order, the neighbours and the loops of the field codec.

A block is a lattice of up to four axes. Points at multiples of the coarsest stride come first; then, level by
level, each axis is refined: the points half-way between known ones along it. A pass is one (level, axis,
phase); the two phases are the colours of a checkerboard, so the second also sees neighbours within the plane.
All points of a pass are predicted from points of earlier passes and so can be coded together.

    known neighbours --stencil, Q12--> prediction (integer) --> q --> value = prediction + (q <<
    FRACTION_BITS)
    known |q|, differences --weights, Q8--> expected |q| --> scale level (which probability table)

In frame mode axis 0 is a sequence: every frame is refined on its own, and the two frames before it are
neighbours too.

Values are integers in units of 2^-FRACTION_BITS of a quantisation bin; a block whose values lie on a lattice
(integers, packed data) snaps predictions to it. Where residuals are large their low bits are set aside
(`shift`) and only the rest is a symbol. Everything that a decoder computes is integer arithmetic, compiled by
numba: one loop reads each neighbour once, where array libraries make a pass over memory for every tap.

Source: dyadic interpolation as in SZ3 (Zhao et al. 2021); least-squares stencils Wu, Barthel, Zhang 1998;
contexts of expected magnitude as in Weinberger, Seroussi, Sapiro 2000.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tersor.codecs.field.grid_loops import STENCIL_BITS

AXES = 4  # F
SHORT = 32  # F
FRAME_KINDS = 3  # F: frames with none, one and two before them

Ints = NDArray[np.int64]


class Pass(NamedTuple):
    """Points and neighbours of one pass, as flat indices: the index of a point (i0, i1, i2, i3) is the sum of
    `points[j][i_j]`, of its tap t that of `taps[j][t, i_j]`.

    Attributes:
        key: (level, axis, phase); stencils and contexts are shared by the passes of one key.
        points: int64 [n_j] of each of the four axes.
        taps: int64 [T, n_j] of each axis. Taps 0 and 1 are the nearest along the refined axis; then two
            further ones, then those of neighbouring lines, then in-plane ones of the other phase, then those
            of the two frames before.
        along: how many taps lie on the axis or its neighbouring lines.
        plane: how many taps come before the frame taps.
        size: number of points.

    A named tuple, which the compiled loops take as it is.
    """

    key: tuple[int, int, int]
    points: tuple[Ints, Ints, Ints, Ints]
    taps: tuple[Ints, Ints, Ints, Ints]
    along: int
    plane: int
    size: int

    @property
    def n_taps(self) -> int:
        return len(self.taps[0])

    @property
    def rows(self) -> int:
        """Lines along the last axis; those of one pass may be coded in any order."""
        return len(self.points[0]) * len(self.points[1]) * len(self.points[2])

    def moved(self, by: int) -> Pass:
        """The same pass further along axis 0, in flat indices."""
        points, taps = (self.points[0] + by, *self.points[1:]), (self.taps[0] + by, *self.taps[1:])
        return Pass(
            key=self.key, points=points, taps=taps, along=self.along, plane=self.plane, size=self.size
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Order of coding of one block shape.

    Attributes:
        base: int64, flat indices of the points that are not predicted from a grid, in order.
        passes: in order.
    """

    base: Ints
    passes: tuple[Pass, ...]

    @property
    def count(self) -> int:
        """Points of all passes."""
        return sum(p.size for p in self.passes)


@functools.lru_cache(maxsize=16)
def plan(shape: tuple[int, ...], frames: bool) -> Plan:
    """The passes of a block of 1 to 4 axes; `frames` makes axis 0 a sequence."""
    first = 1 if frames else 0
    order = _order(shape, first)
    ones = [1] * (AXES - len(shape))
    full = [*(shape[j] for j in order[:first]), *ones, *(shape[j] for j in order[first:])]
    steps = [int(np.prod(shape[j + 1 :])) for j in order]
    strides = [*steps[:first], *ones, *steps[first:]]
    rank = [*order[:first], *ones, *order[first:]]
    axes = sorted((j for j in range(first, AXES) if full[j] > 1), key=lambda j: rank[j])
    levels = max((int(np.ceil(np.log2(full[j]))) for j in axes), default=0)
    coarse = [
        np.arange(0, full[j], 1 << levels) * strides[j] if j >= first else np.zeros(1, np.int64)
        for j in range(AXES)
    ]
    base, passes = [], []
    for time in range(min(full[0], FRAME_KINDS)) if frames else [None]:
        at = 0 if time is None else time * strides[0]
        base.append(functools.reduce(np.add.outer, coarse).ravel() + at)
        for level in range(levels, 0, -1):
            for axis in axes:
                if full[axis] > 1 << (level - 1):
                    passes += [
                        p
                        for phase in (0, 1)
                        if (p := _make_pass(full, strides, rank, axes, level, axis, phase, time)).size
                    ]
    if frames and full[0] > FRAME_KINDS:  # every later frame is like the third
        last = [p for p in passes if p.points[0][0] == (FRAME_KINDS - 1) * strides[0]]
        for time in range(1, full[0] - FRAME_KINDS + 1):
            base.append(base[FRAME_KINDS - 1] + time * strides[0])
            passes += [p.moved(time * strides[0]) for p in last]
    return Plan(base=np.concatenate(base), passes=tuple(passes))


def _order(shape: tuple[int, ...], first: int) -> list[int]:
    """Axes from the outermost to the innermost loop: as they are, but for a short last axis, whose place the
    longest one takes.
    """
    order = list(range(len(shape)))
    longest = max(order[first:], key=lambda j: shape[j])
    if shape[-1] < SHORT and shape[longest] > shape[-1]:
        order.remove(longest)
        order.append(longest)
    return order


def _make_pass(
    full: list[int],
    strides: list[int],
    rank: list[int],
    axes: list[int],
    level: int,
    axis: int,
    phase: int,
    time: int | None,
) -> Pass:
    h = 1 << (level - 1)
    coordinates = []
    for j in range(AXES):
        if j == axis:
            c = np.arange(h, full[j], 2 * h)
        elif j == 0 and time is not None:
            c = np.array([time])
        else:
            c = np.arange(0, full[j], h if rank[j] < rank[axis] else 2 * h)
        coordinates.append(c.astype(np.int64))
    others = [j for j in axes if j != axis]
    side = {j: h if rank[j] < rank[axis] else 2 * h for j in others}
    offsets = [{axis: a} for a in (-h, h, -3 * h, 3 * h)]
    offsets += [{axis: a, j: s * side[j]} for j in others for s in (-1, 1) for a in (-h, h)]
    along = len(offsets)
    if phase:
        offsets += [{j: s * (2 * h if j == axis else side[j])} for j in axes for s in (-1, 1)]
    plane = len(offsets)
    if time:
        one, two = -1, -min(time, 2)
        offsets += [
            {0: one},
            {0: one, axis: -h},
            {0: one, axis: h},
            {0: two},
            {0: two, axis: -h},
            {0: two, axis: h},
        ]
    taps = []
    for j in range(AXES):
        c = coordinates[j]
        steps = np.array([[o.get(j, 0)] for o in offsets], np.int64)
        x = c + steps
        if j == axis or j != 0 or time is None:
            x = np.where((x < 0) | (x >= full[j]), c - steps, x)  # reflect at the edge
            x = np.where((x < 0) | (x >= full[j]), c - h if j == axis else c, x)
        taps.append(x * strides[j])
    counts = [len(c) for c in coordinates]
    total = int(np.prod(counts))
    count = (total + 1 - phase) // 2 if total else 0
    points = [c * s for c, s in zip(coordinates, strides, strict=True)]
    return Pass(
        key=(level if time is None else level + 32 * (time > 0), axis, phase),
        points=tuple(points),  # type: ignore[arg-type]
        taps=tuple(taps),  # type: ignore[arg-type]
        along=along,
        plane=plane,
        size=count,
    )


def default_stencil(p: Pass) -> Ints:
    """Cubic interpolation along the axis."""
    w = np.zeros(p.n_taps, np.int64)
    one = 1 << STENCIL_BITS
    w[:4] = one // 16, one // 16, -one // 16, -one // 16
    return w


def stencil_of(p: Pass, stencils: Mapping[tuple[int, int, int], Ints]) -> Ints:
    """The fitted stencil of a pass, or the default one."""
    found = stencils.get(p.key)
    return default_stencil(p) if found is None else found
