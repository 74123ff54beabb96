"""Motion-compensated prediction to a quarter of a sample, and the vectors that neighbours suggest.

A sample between samples is found by 8 taps in luma and 4 in chroma, first along rows, then along columns, to
14 bits; one prediction is rounded, two are averaged and then
rounded. Frames go on beyond their borders by repetition: MARGIN samples of it are stored, and a block further
out than that is moved back to where it sees the same.

Bounds: sums of |taps| are at most 112, samples are below 2^12 and values of 14 bits stay below 2^15: 2^22
    in int32.

Source: ITU-T H.265, 8.5.3.2 (candidates) and 8.5.3.3 (interpolation).
"""

from __future__ import annotations

import numpy as np

from tersor.codecs.video.compiled import compiled, inlined
from tersor.codecs.video.state import (
    CURRENT,
    DEPTH,
    HEIGHT,
    INTER,
    MARGIN,
    MAX_MERGE,
    MODE,
    MOTION,
    MV0X,
    MV0Y,
    PLANES,
    REF0,
    REF_FIRST,
    REF_TIME_FIRST,
    REFS,
    SHIFT_X,
    SHIFT_Y,
    TIME,
    UNIT,
    VECTOR_LIMIT,
    WIDTH,
)
from tersor.codecs.video.tables import CHROMA_FILTER, LUMA_FILTER
from tersor.codecs.video.transform_loops import clip

NO_TIME = -(1 << 20)  # F
REACH = 8  # F: samples beyond a block that filters may read, and then some


@compiled
def interpolate(source, y, x, fy, fx, filters, taps, height, width, depth, work, out):  # pragma: no cover
    """Samples at (y + fy / 4, x + fx / 4), or in eighths with the filters of chroma, to 14 bits: out, int32
    [height, width].
    """
    before = taps // 2 - 1
    first, stop = (y - before, y - before + height + taps - 1) if fy else (y, y + height)
    target = work if fy else out
    for i in range(stop - first):
        row = source[first + i]
        if fx:
            for j in range(width):
                target[i, j] = 0
            for t in range(taps):
                f = filters[fx, t]
                at = x - before + t
                part = row[at : at + width]
                for j in range(width):
                    target[i, j] += f * part[j]
            for j in range(width):
                target[i, j] >>= depth - 8
        else:
            part = row[x : x + width]
            for j in range(width):
                target[i, j] = np.int32(part[j]) << (14 - depth)
    if fy:
        for i in range(height):
            for j in range(width):
                out[i, j] = 0
            for t in range(taps):
                f = filters[fy, t]
                for j in range(width):
                    out[i, j] += f * work[i + t, j]
            for j in range(width):
                out[i, j] >>= 6


@inlined
def fetch(c, ref, plane, y, x, height, width, vy, vx, out):  # pragma: no cover
    """What vector (vy, vx), quarter luma samples, of reference `ref` gives for a plane's block at (y, x)."""
    sy, sx = (c.par[SHIFT_Y], c.par[SHIFT_X]) if plane else (np.int64(0), np.int64(0))
    py = clip(y + (vy >> (2 + sy)), -height - REACH, (c.par[HEIGHT] >> sy) + REACH)
    px = clip(x + (vx >> (2 + sx)), -width - REACH, (c.par[WIDTH] >> sx) + REACH)
    source = c.frames[c.par[REF_FIRST + ref], plane]
    depth = c.par[DEPTH]
    if plane:
        fy, fx = (vy & ((4 << sy) - 1)) << (1 - sy), (vx & ((4 << sx) - 1)) << (1 - sx)
        interpolate(
            source,
            py + MARGIN,
            px + MARGIN,
            fy,
            fx,
            CHROMA_FILTER,
            4,
            height,
            width,
            depth,
            c.scratch[1],
            out,
        )
    else:
        interpolate(
            source,
            py + MARGIN,
            px + MARGIN,
            vy & 3,
            vx & 3,
            LUMA_FILTER,
            8,
            height,
            width,
            depth,
            c.scratch[1],
            out,
        )


@compiled
def predict_plane(c, plane, y, x, n, motion):  # pragma: no cover
    """Predict a plane's part of the block of n luma samples at luma (y, x); motion: int64 [MOTION]."""
    sy, sx = (c.par[SHIFT_Y], c.par[SHIFT_X]) if plane else (np.int64(0), np.int64(0))
    y, x, height, width = y >> sy, x >> sx, n >> sy, n >> sx
    depth = c.par[DEPTH]
    top = (1 << depth) - 1
    one, two = c.scratch[0], c.scratch[2]
    fetch(c, motion[0], plane, y, x, height, width, motion[2], motion[3], one)
    shift = 14 - depth
    if motion[1] >= 0:
        fetch(c, motion[1], plane, y, x, height, width, motion[4], motion[5], two)
        shift += 1
        for i in range(height):
            for j in range(width):
                one[i, j] += two[i, j]
    frame = c.frames[c.par[CURRENT], plane]
    half = (1 << shift) >> 1
    for i in range(height):
        row = frame[y + i + MARGIN, x + MARGIN : x + MARGIN + width]
        for j in range(width):
            row[j] = min(max((one[i, j] + half) >> shift, 0), top)


@compiled
def predict_inter(c, y, x, n, motion):  # pragma: no cover
    """Predict all planes of the block of n luma samples at luma (y, x)."""
    for plane in range(c.par[PLANES]):
        predict_plane(c, plane, y, x, n, motion)


@inlined
def scale(v, wanted, given):  # pragma: no cover
    """A vector component over the time `given`, for the time `wanted`; |times| < 2^10, so products stay below
    2^32.
    """
    if wanted == given:
        return np.int64(v)
    return np.int64(clip((np.int64(v) * ((wanted * 256) // given) + 128) >> 8, -VECTOR_LIMIT, VECTOR_LIMIT))


@inlined
def neighbour(i, y, x, n):  # pragma: no cover
    """Row and column in the grid of the i-th neighbour: left, above, above right, below left, above left."""
    gy, gx, gn = y // UNIT + 1, x // UNIT + 1, n // UNIT
    if i == 0:
        return gy + gn - 1, gx - 1
    if i == 1:
        return gy - 1, gx + gn - 1
    if i == 2:
        return gy - 1, gx + gn
    if i == 3:
        return gy + gn, gx - 1
    return gy - 1, gx - 1


@inlined
def add_candidate(out, count):  # pragma: no cover
    """One more if out[count] is not among those before."""
    for i in range(count):
        same = True
        for f in range(MOTION):
            if out[i, f] != out[count, f]:
                same = False
        if same:
            return count
    return count + 1


@inlined
def past_motion(c, y, x, n):  # pragma: no cover
    """Motion of the first reference at the block's middle: (time it spans, vy, vx); a span of 0: none."""
    slot = c.par[REF_FIRST]
    m = c.motions[slot, (y + n // 2) // UNIT + 1, (x + n // 2) // UNIT + 1]
    if m[0] == NO_TIME:
        return np.int64(0), np.int64(0), np.int64(0)
    return c.par[REF_TIME_FIRST] - m[0], np.int64(m[2]), np.int64(m[3])


@inlined
def set_candidate(out, k, r0, r1, v0y, v0x, v1y, v1x):  # pragma: no cover
    out[k, 0], out[k, 1] = r0, r1
    out[k, 2], out[k, 3] = v0y, v0x
    out[k, 4], out[k, 5] = v1y, v1x


@compiled
def merge_candidates(c, y, x, n):  # pragma: no cover
    """MAX_MERGE motions that the block may take over, in c.candidates: the neighbours', the past's, pairs of
    these, none.
    """
    out, grid, par = c.candidates, c.grid, c.par
    refs = par[REFS]
    count = 0
    for i in range(5):
        gy, gx = neighbour(i, y, x, n)
        if grid[gy, gx, MODE] == INTER and count < MAX_MERGE - 1:
            for f in range(MOTION):
                out[count, f] = grid[gy, gx, REF0 + f]
            count = add_candidate(out, count)
    span, vy, vx = past_motion(c, y, x, n)
    if span != 0 and count < MAX_MERGE:
        now = par[TIME]
        d0 = now - par[REF_TIME_FIRST]
        if refs > 1:
            d1 = now - par[REF_TIME_FIRST + 1]
            set_candidate(
                out,
                count,
                0,
                1,
                scale(vy, d0, span),
                scale(vx, d0, span),
                scale(vy, d1, span),
                scale(vx, d1, span),
            )
        else:
            set_candidate(out, count, 0, -1, scale(vy, d0, span), scale(vx, d0, span), 0, 0)
        count = add_candidate(out, count)
    singles = count
    for i in range(singles):
        for j in range(singles):
            if count < MAX_MERGE and i != j and out[i, 0] != out[j, 0]:
                set_candidate(out, count, out[i, 0], out[j, 0], out[i, 2], out[i, 3], out[j, 2], out[j, 3])
                count = add_candidate(out, count)
    for r in range(refs):
        if count < MAX_MERGE:
            set_candidate(out, count, r, -1, 0, 0, 0, 0)
            count = add_candidate(out, count)
    if refs > 1 and count < MAX_MERGE:
        set_candidate(out, count, 0, 1, 0, 0, 0, 0)
        count = add_candidate(out, count)
    while count < MAX_MERGE:
        set_candidate(out, count, 0, -1, 0, 0, 0, 0)
        count += 1


@compiled
def find_predictors(c, y, x, n, ref):  # pragma: no cover
    """Two vectors that one of reference `ref` may be coded from, in c.predictors: neighbours' of the same
    reference, then scaled ones, the past's, zero.
    """
    grid, par, out = c.grid, c.par, c.predictors
    count = 0
    wanted = par[TIME] - par[REF_TIME_FIRST + ref]
    for turn in range(2):
        for i in range(5):
            gy, gx = neighbour(i, y, x, n)
            if grid[gy, gx, MODE] != INTER:
                continue
            for side in range(2):
                r = grid[gy, gx, REF0 + side]
                if count == 2 or r < 0 or (r == ref) == (turn == 1):
                    continue
                given = par[TIME] - par[REF_TIME_FIRST + r]
                vy = scale(grid[gy, gx, MV0Y + 2 * side], wanted, given)
                vx = scale(grid[gy, gx, MV0X + 2 * side], wanted, given)
                if count == 0 or out[0, 0] != vy or out[0, 1] != vx:
                    out[count, 0], out[count, 1] = vy, vx
                    count += 1
        if turn == 0 and count < 2:
            span, py, px = past_motion(c, y, x, n)
            if span != 0:
                vy, vx = scale(py, wanted, span), scale(px, wanted, span)
                if count == 0 or out[0, 0] != vy or out[0, 1] != vx:
                    out[count, 0], out[count, 1] = vy, vx
                    count += 1
    while count < 2:
        out[count, 0], out[count, 1] = 0, 0
        count += 1
