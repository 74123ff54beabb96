"""How the encoder finds motion: every reference is kept interpolated at its 16 quarter positions, a vector's
cost is a sum of differences there and its bits.

Candidates (predictors, neighbours, what the larger block found) -> diamonds of falling size on whole samples
-> half and quarter samples by transformed differences.
Values are of 14 bits, so a block's sum of transformed differences stays below 2^15 2^6 2^10 and int64 holds
it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tersor.codecs.video.compiled import compiled, entry, inlined
from tersor.codecs.video.inter_loops import REACH, find_predictors
from tersor.codecs.video.state import (
    HEIGHT,
    MARGIN,
    MAX_MERGE,
    REF_FIRST,
    VECTOR_LIMIT,
    WIDTH,
    Ints,
    TransformInts,
)
from tersor.codecs.video.tables import LUMA_FILTER
from tersor.codecs.video.transform_loops import clip

# real
WEIGHT, MOTION_WEIGHT = 0, 1  # G
# options
# G: places in the options of a search
MERGE_TRIALS, INTRA_TRIALS, SPLIT_TRIALS, FIRST_STEP, ALL_MODES, REFINE_PAIRS, STOP_EARLY = range(7)
OPTIONS = 8  # G


class Encoder(NamedTuple):
    """What only the encoder holds.

    Attributes:
        original: int16 [3, H, W], in multiples of a unit. target: int16 [H, W], its luma in 14 bits.
        planes: int16 [pool, 16, H + 2 MARGIN, W + 2 MARGIN], interpolated, in 14 bits.
        kept_frames, kept_coefficients, kept_cells: the best trial of each size of block.
        found: int32 [3, MAX_REFS, 3], (vy, vx, cost) by size of block.
        listed: int64 [16, MOTION + 1], motions or modes to try. real: what a bit is worth. options: of
            the effort. work: scratch.
    """

    original: NDArray[np.int16]
    target: NDArray[np.int16]
    planes: NDArray[np.int16]
    kept_frames: NDArray[np.int16]
    kept_coefficients: TransformInts
    kept_cells: Ints
    found: Ints
    listed: Ints
    real: NDArray[np.float64]
    options: NDArray[np.int64]
    work: NDArray[np.float64]
    block: TransformInts
    scores: NDArray[np.float64]


@entry
def interpolate_planes(frame, planes, height, width, depth, work):  # pragma: no cover
    """All quarter positions of a luma plane with its margins: planes, int16 [16, H, W], row 4 fy + fx; work:
    int16 [H, W].
    """
    total = np.zeros(width, np.int32)
    for fx in range(4):
        for y in range(height):
            source, target = frame[y], work[y]
            if fx:
                for x in range(width):
                    total[x] = 0
                for t in range(8):
                    f = LUMA_FILTER[fx, t]
                    part = source[t : t + width - 7]
                    for x in range(width - 7):
                        total[x] += f * part[x]
                for x in range(width - 7):
                    target[x + 3] = total[x] >> (depth - 8)
            else:
                for x in range(width):
                    target[x] = np.int32(source[x]) << (14 - depth)
        for fy in range(4):
            for y in range(4, height - 4):
                target = planes[4 * fy + fx, y]
                if fy:
                    for x in range(width):
                        total[x] = 0
                    for t in range(8):
                        f = LUMA_FILTER[fy, t]
                        source = work[y + t - 3]
                        for x in range(width):
                            total[x] += f * source[x]
                    for x in range(width):
                        target[x] = total[x] >> 6
                else:
                    source = work[y]
                    for x in range(width):
                        target[x] = source[x]


@inlined
def difference(e, c, y, x, n, motion, out):  # pragma: no cover
    """Target less prediction, in 14 bits, of a block with a motion: out, int32 [n, n]."""
    par = c.par
    for side in range(2):
        if motion[side] < 0:
            break
        vy, vx = motion[2 + 2 * side], motion[3 + 2 * side]
        plane = e.planes[par[REF_FIRST + motion[side]], 4 * (vy & 3) + (vx & 3)]
        py = clip(y + (vy >> 2), -n - REACH, par[HEIGHT] + REACH) + MARGIN
        px = clip(x + (vx >> 2), -n - REACH, par[WIDTH] + REACH) + MARGIN
        for i in range(n):
            a, b, o = e.target[y + i, x : x + n], plane[py + i, px : px + n], out[i]
            if side == 0:
                for j in range(n):
                    o[j] = np.int32(a[j]) - b[j]
            else:
                for j in range(n):
                    o[j] = (o[j] + np.int32(a[j]) - b[j]) >> 1


@compiled
def hadamard(d, n):  # pragma: no cover
    """Sum of magnitudes of the 8 x 8 Hadamard transforms (4 x 4 where n is 4) of d, int32 [n, n], which it
    destroys; an eighth (a quarter) of it.
    """
    m = min(n, 8)
    total = np.int64(0)
    for y in range(0, n, m):
        for x in range(0, n, m):
            w = d[y : y + m, x : x + m]
            h = m >> 1
            while h:
                for i in range(0, m, 2 * h):
                    for r in range(i, i + h):
                        for j in range(m):
                            a, b = w[r, j], w[r + h, j]
                            w[r, j] = a + b
                            w[r + h, j] = a - b
                h >>= 1
            h = m >> 1
            while h:
                for i in range(0, m, 2 * h):
                    for s in range(i, i + h):
                        for r in range(m):
                            a, b = w[r, s], w[r, s + h]
                            w[r, s] = a + b
                            w[r, s + h] = a - b
                h >>= 1
            part = np.int64(0)
            for i in range(m):
                for j in range(m):
                    part += abs(w[i, j])
            total += part // m
    return total


@inlined
def transformed_difference(e, c, y, x, n, motion):  # pragma: no cover
    difference(e, c, y, x, n, motion, e.block)
    return hadamard(e.block, n)


@inlined
def whole_difference(target, plane, y, x, py, px, n, limit):  # pragma: no cover
    """Sum of absolute differences of a block at whole samples; stops above the limit."""
    total = np.int64(0)
    for i in range(n):
        a, b = target[y + i, x : x + n], plane[py + i, px : px + n]
        part = np.int32(0)
        for j in range(n):
            part = np.int32(part + abs(np.int32(np.int32(a[j]) - b[j])))
        total += part
        if total > limit:
            break
    return total


@inlined
def vector_bits(v, p):  # pragma: no cover
    """Roughly what a component costs."""
    d = abs(v - p)
    out = 1
    while d:
        out += 2
        d >>= 1
    return out


@compiled
def try_whole(e, c, ref, y, x, n, vy, vx, best):  # pragma: no cover
    """Cost of a vector of whole samples, into best = [vy, vx, cost] if it is less; -> whether it was."""
    par = c.par
    if abs(vy) > VECTOR_LIMIT or abs(vx) > VECTOR_LIMIT:
        return False
    bits = vector_bits(vy, c.predictors[0, 0]) + vector_bits(vx, c.predictors[0, 1])
    cost = np.int64(e.real[MOTION_WEIGHT] * bits)
    if cost >= best[2]:
        return False
    py = clip(y + (vy >> 2), -n - REACH, par[HEIGHT] + REACH) + MARGIN
    px = clip(x + (vx >> 2), -n - REACH, par[WIDTH] + REACH) + MARGIN
    cost += whole_difference(e.target, e.planes[par[REF_FIRST + ref], 0], y, x, py, px, n, best[2] - cost)
    if cost < best[2]:
        best[0], best[1], best[2] = vy, vx, cost
        return True
    return False


@compiled
def search(c, e, y, x, bits, ref):  # pragma: no cover
    """The best vector of a reference, into e.found[bits - 3, ref]; c.candidates: the neighbours'."""
    n = 1 << bits
    find_predictors(c, y, x, n, ref)
    best = e.found[bits - 3, ref]
    above = e.found[min(bits - 2, 2), ref].copy()
    best[2] = np.int64(1) << 60
    for i in range(2):
        try_whole(
            e, c, ref, y, x, n, (c.predictors[i, 0] + 2) >> 2 << 2, (c.predictors[i, 1] + 2) >> 2 << 2, best
        )
    try_whole(e, c, ref, y, x, n, 0, 0, best)
    for i in range(MAX_MERGE):
        for side in range(2):
            if c.candidates[i, side] == ref:
                vy, vx = c.candidates[i, 2 + 2 * side], c.candidates[i, 3 + 2 * side]
                try_whole(e, c, ref, y, x, n, (vy + 2) >> 2 << 2, (vx + 2) >> 2 << 2, best)
    step = e.options[FIRST_STEP]
    if bits < 5:
        try_whole(e, c, ref, y, x, n, (above[0] + 2) >> 2 << 2, (above[1] + 2) >> 2 << 2, best)
        step = min(step, 2)
    while step:
        for _ in range(12):
            oy, ox = best[0], best[1]
            moved = False
            for i in range(4):
                s = 4 * step if i & 1 else -4 * step
                if try_whole(e, c, ref, y, x, n, oy + (s if i < 2 else 0), ox + (0 if i < 2 else s), best):
                    moved = True
            if not moved and step > 1:
                for i in range(4):
                    s = 4 * step if i & 1 else -4 * step
                    r = 4 * step if i & 2 else -4 * step
                    if try_whole(e, c, ref, y, x, n, oy + s, ox + r, best):
                        moved = True
            if not moved:
                break
        step >>= 1
    motion = c.candidates[MAX_MERGE]
    motion[0], motion[1] = ref, -1
    refine(c, e, y, x, n, motion, 0, best)


@compiled
def refine(c, e, y, x, n, motion, side, best):  # pragma: no cover
    """Half and quarter samples around best = [vy, vx, cost] for a side of a motion whose other stays."""
    weight = e.real[MOTION_WEIGHT]
    cy, cx = best[0], best[1]
    motion[2 + 2 * side], motion[3 + 2 * side] = cy, cx
    bits = vector_bits(cy, c.predictors[0, 0]) + vector_bits(cx, c.predictors[0, 1])
    best[2] = transformed_difference(e, c, y, x, n, motion) + np.int64(weight * bits)
    for step in (2, 1):
        cy, cx = best[0], best[1]
        for dy in range(-step, step + 1, step):
            for dx in range(-step, step + 1, step):
                vy, vx = cy + dy, cx + dx
                if (dy == 0 and dx == 0) or abs(vy) > VECTOR_LIMIT or abs(vx) > VECTOR_LIMIT:
                    continue
                motion[2 + 2 * side], motion[3 + 2 * side] = vy, vx
                bits = vector_bits(vy, c.predictors[0, 0]) + vector_bits(vx, c.predictors[0, 1])
                cost = transformed_difference(e, c, y, x, n, motion) + np.int64(weight * bits)
                if cost < best[2]:
                    best[0], best[1], best[2] = vy, vx, cost
    motion[2 + 2 * side], motion[3 + 2 * side] = best[0], best[1]
