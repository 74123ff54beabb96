"""Closed-loop prediction on a dyadic grid: the order, the neighbours and the loops of the field codec.

A block is a lattice of up to four axes. Points at multiples of the coarsest stride come first; then, level by level, each axis is refined: the points half-way
between known ones along it. A pass is one (level, axis, phase); the two phases are the colours of a checkerboard, so the second also sees neighbours within the plane.
All points of a pass are predicted from points of earlier passes and so can be coded together.

    known neighbours --stencil, Q12--> prediction (integer) --> q --> value = prediction + (q << FRACTION_BITS)
    known |q|, differences --weights, Q8--> expected |q| --> scale level (which probability table)

In frame mode axis 0 is a sequence: every frame is refined on its own, and the two frames before it are neighbours too.

Values are integers in units of 2^-FRACTION_BITS of a quantisation bin; a block whose values lie on a lattice (integers, packed data) snaps predictions to it. Where
residuals are large their low bits are set aside (`shift`) and only the rest is a symbol. Everything that a decoder computes is integer arithmetic, compiled by
numba: one loop reads each neighbour once, where array libraries make a pass over memory for every tap.

Source: dyadic interpolation as in SZ3 (Zhao et al. 2021); least-squares stencils Wu, Barthel, Zhang 1998; contexts of expected magnitude as in
Weinberger, Seroussi, Sapiro 2000.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tersor.codecs.dyadic_loops import N_FEATURES, STENCIL_BITS, walk_loop

AXES = 4

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """Points and neighbours of one pass, as flat indices: the index of a point (i0, i1, i2, i3) is the sum of `points[j][i_j]`, of its tap t that of `taps[j][t, i_j]`.

    Attributes:
        key: (level, axis, phase); stencils and contexts are shared by the passes of one key.
        points: int64 [n_j] of each of the four axes.
        taps: int64 [T, n_j] of each axis. Taps 0 and 1 are the nearest along the refined axis; then two further ones, then those of neighbouring lines, then
            in-plane ones of the other phase, then those of the two frames before.
        along: how many taps lie on the axis or its neighbouring lines.
        plane: how many taps come before the frame taps.
        count: number of points.
    """

    key: tuple[int, int, int]
    points: tuple[Ints, Ints, Ints, Ints]
    taps: tuple[Ints, Ints, Ints, Ints]
    along: int
    plane: int
    count: int

    @property
    def n_taps(self) -> int:
        return len(self.taps[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Order of coding of one block shape.

    Attributes:
        base: int64, flat indices of the points that are not predicted from a grid, in order.
        passes: in order.
    """

    base: Ints
    passes: tuple[Pass, ...]


@functools.lru_cache(maxsize=16)
def plan(shape: tuple[int, ...], frames: bool) -> Plan:
    """The passes of a block of 1 to 4 axes; `frames` makes axis 0 a sequence."""
    full = (1,) * (AXES - len(shape)) + shape if not frames else (shape[0], *(1,) * (AXES - len(shape)), *shape[1:])
    strides = [int(np.prod(full[j + 1 :])) for j in range(AXES)]
    first = 1 if frames else 0
    axes = [j for j in range(first, AXES) if full[j] > 1]
    levels = max((int(np.ceil(np.log2(full[j]))) for j in axes), default=0)
    coarse = [np.arange(0, full[j], 1 << levels) * strides[j] if j >= first else np.zeros(1, np.int64) for j in range(AXES)]
    times = range(full[0]) if frames else [None]
    base, passes = [], []
    for time in times:
        at = 0 if time is None else time * strides[0]
        base.append(functools.reduce(np.add.outer, coarse).ravel() + at)
        for level in range(levels, 0, -1):
            for axis in axes:
                if full[axis] > 1 << (level - 1):
                    passes += [p for phase in (0, 1) if (p := _make_pass(full, strides, axes, level, axis, phase, time)).count]
    return Plan(base=np.concatenate(base), passes=tuple(passes))


def _make_pass(full: tuple[int, ...], strides: list[int], axes: list[int], level: int, axis: int, phase: int, time: int | None) -> Pass:
    h = 1 << (level - 1)
    coordinates = []
    for j in range(AXES):
        if j == axis:
            c = np.arange(h, full[j], 2 * h)
        elif j == 0 and time is not None:
            c = np.array([time])
        else:
            c = np.arange(0, full[j], h if j < axis else 2 * h)
        coordinates.append(c.astype(np.int64))
    others = [j for j in axes if j != axis]
    side = {j: h if j < axis else 2 * h for j in others}
    offsets = [{axis: a} for a in (-h, h, -3 * h, 3 * h)]
    offsets += [{axis: a, j: s * side[j]} for j in others for s in (-1, 1) for a in (-h, h)]
    along = len(offsets)
    if phase:
        offsets += [{j: s * (2 * h if j == axis else side[j])} for j in axes for s in (-1, 1)]
    plane = len(offsets)
    if time:
        one, two = -1, -min(time, 2)
        offsets += [{0: one}, {0: one, axis: -h}, {0: one, axis: h}, {0: two}, {0: two, axis: -h}, {0: two, axis: h}]
    taps = []
    for j in range(AXES):
        c = coordinates[j]
        rows = []
        for o in offsets:
            step = o.get(j, 0)
            x = c + step
            if j == axis or j != 0 or time is None:
                x = np.where((x < 0) | (x >= full[j]), c - step, x)  # reflect at the edge
                x = np.where((x < 0) | (x >= full[j]), c - h if j == axis else c, x)
            rows.append(x * strides[j])
        taps.append(np.array(rows, np.int64))
    counts = [len(c) for c in coordinates]
    total = int(np.prod(counts))
    count = (total + 1 - phase) // 2 if total else 0
    points = [c * s for c, s in zip(coordinates, strides, strict=True)]
    return Pass(key=(level if time is None else level + 32 * (time > 0), axis, phase), points=tuple(points), taps=tuple(taps), along=along, plane=plane, count=count)  # type: ignore[arg-type]


def walk(p: Pass, values: Ints, q: NDArray[np.int32], stencil: Ints, shift: int = 0, snap: bool = False) -> tuple[Ints, Ints, NDArray[np.int32]]:
    """Flat indices, predictions and features of a pass, given all values before it."""
    points, predictions = np.empty(p.count, np.int64), np.empty(p.count, np.int64)
    features = np.empty((p.count, N_FEATURES), np.int32)
    walk_loop(values, q, *p.points, *p.taps, p.along, p.plane, p.key[2], stencil, shift, snap, points, predictions, features)
    return points, predictions, features


def default_stencil(p: Pass) -> Ints:
    """Cubic interpolation along the axis."""
    w = np.zeros(p.n_taps, np.int64)
    one = 1 << STENCIL_BITS
    w[:4] = one // 16, one // 16, -one // 16, -one // 16
    return w


def neighbourhood(p: Pass, values: NDArray[Any], rows: NDArray[np.intp]) -> NDArray[Any]:
    """Values of the taps of some points of a pass, [n, T]; `rows` index the points in the order of `walk`."""
    counts = [len(c) for c in p.points]
    parity = functools.reduce(np.add.outer, [np.arange(c, dtype=np.uint8) & 1 for c in counts]).ravel() & 1
    index = np.unravel_index(np.flatnonzero(parity == p.key[2])[rows], counts)
    at = p.taps[0][:, index[0]]
    for j in range(1, AXES):
        if counts[j] > 1 or p.taps[j].any():
            at = at + p.taps[j][:, index[j]]
    return values[at.T]
