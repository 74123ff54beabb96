"""What happens to a decoded frame before others refer to it: edges of blocks are smoothed, borders repeated,
motion kept.
"""

from __future__ import annotations

import numpy as np

from tersor.codecs.video.compiled import compiled, entry, inlined
from tersor.codecs.video.filter_loops import filter_frame
from tersor.codecs.video.inter_loops import NO_TIME
from tersor.codecs.video.state import (
    CODED,
    CURRENT,
    DEPTH,
    HEIGHT,
    INTER,
    INTRA,
    LEVEL,
    MARGIN,
    MODE,
    MV0Y,
    PLANES,
    REF0,
    REF_TIME_FIRST,
    SHIFT_X,
    SHIFT_Y,
    SIZE,
    SPLIT,
    UNIT,
    WIDTH,
)
from tersor.codecs.video.tables import BETAS, TCS


@inlined
def has_levels(cell, gy, gx):  # pragma: no cover
    """Whether the luma transform that covers a unit has levels."""
    if not cell[SPLIT] or cell[SIZE] == 3:
        return (cell[CODED] & 15) != 0
    half = (cell[SIZE] - 4) & 3  # units of half a block, as a power of two
    i = 2 * (((gy - 1) >> half) & 1) + (((gx - 1) >> half) & 1)
    return (cell[CODED] >> i) & 1 != 0


@compiled
def edge_strength(grid, gy, gx, hy, hx):  # pragma: no cover
    """Of the edge between unit (gy, gx) and the one before it, (hy, hx): 2 intra, 1 levels or other motion, 0
    none.
    """
    a, b = grid[hy, hx], grid[gy, gx]
    if a[MODE] == INTRA or b[MODE] == INTRA:
        side = b[SIZE] - (1 if b[SPLIT] and b[SIZE] > 3 else 0) - 3
        at = (gx - 1) if hy == gy else (gy - 1)
        inner = at & ((1 << max(side, 0)) - 1)
        return 0 if inner else 2
    side = b[SIZE] - (1 if b[SPLIT] and b[SIZE] > 3 else 0) - 3
    at = (gx - 1) if hy == gy else (gy - 1)
    if at & ((1 << max(side, 0)) - 1):
        return 0
    if has_levels(a, hy, hx) or has_levels(b, gy, gx):
        return 1
    if a[REF0] == b[REF0] and a[REF0 + 1] == b[REF0 + 1]:
        far = 0
        for f in range(MV0Y, MV0Y + (4 if a[REF0 + 1] >= 0 else 2)):
            if abs(a[f] - b[f]) >= 4:
                far = 1
        return far
    if a[REF0] == b[REF0 + 1] and a[REF0 + 1] == b[REF0]:
        far = 0
        for f in range(2):
            if abs(a[MV0Y + f] - b[MV0Y + 2 + f]) >= 4 or abs(a[MV0Y + 2 + f] - b[MV0Y + f]) >= 4:
                far = 1
        return far
    return 1


@compiled
def smooth_luma(frame, y, x, dy, dx, beta, tc, top):  # pragma: no cover
    """Filter 8 lines across an edge in two groups of four; (dy, dx) steps along the line, samples are at
    -4..3 steps.
    """
    ly, lx = dx, dy  # from line to line
    p = np.zeros(8, np.int64)
    for group in range(0, 8, 4):
        d = np.int64(0)
        ends = np.int64(0)
        strong = True
        for line in (group, group + 3):
            for s in range(8):
                p[s] = frame[y + line * ly + (s - 4) * dy, x + line * lx + (s - 4) * dx]
            dp = abs(p[1] - 2 * p[2] + p[3])
            dq = abs(p[6] - 2 * p[5] + p[4])
            d += dp + dq
            ends += (dp << 32) + dq
            if (
                2 * (dp + dq) >= beta >> 2
                or abs(p[0] - p[3]) + abs(p[4] - p[7]) >= beta >> 3
                or abs(p[3] - p[4]) >= (5 * tc + 1) >> 1
            ):
                strong = False
        if d >= beta:
            continue
        side_p, side_q = (
            (ends >> 32) < (beta + (beta >> 1)) >> 3,
            (ends & 0xFFFFFFFF) < (beta + (beta >> 1)) >> 3,
        )
        for line in range(group, group + 4):
            by, bx = y + line * ly, x + line * lx
            for s in range(8):
                p[s] = frame[by + (s - 4) * dy, bx + (s - 4) * dx]
            if strong:
                t = 2 * tc
                p2, p1, p0, q0, q1, q2 = p[1], p[2], p[3], p[4], p[5], p[6]
                n0 = (p2 + 2 * p1 + 2 * p0 + 2 * q0 + q1 + 4) >> 3
                n1 = (p2 + p1 + p0 + q0 + 2) >> 2
                n2 = (2 * p[0] + 3 * p2 + p1 + p0 + q0 + 4) >> 3
                m0 = (p1 + 2 * p0 + 2 * q0 + 2 * q1 + q2 + 4) >> 3
                m1 = (p0 + q0 + q1 + q2 + 2) >> 2
                m2 = (p0 + q0 + q1 + 3 * q2 + 2 * p[7] + 4) >> 3
                frame[by - dy, bx - dx] = min(max(n0, p0 - t), p0 + t)
                frame[by - 2 * dy, bx - 2 * dx] = min(max(n1, p1 - t), p1 + t)
                frame[by - 3 * dy, bx - 3 * dx] = min(max(n2, p2 - t), p2 + t)
                frame[by, bx] = min(max(m0, q0 - t), q0 + t)
                frame[by + dy, bx + dx] = min(max(m1, q1 - t), q1 + t)
                frame[by + 2 * dy, bx + 2 * dx] = min(max(m2, q2 - t), q2 + t)
                continue
            delta = (9 * (p[4] - p[3]) - 3 * (p[5] - p[2]) + 8) >> 4
            if abs(delta) >= 10 * tc:
                continue
            delta = min(max(delta, -tc), tc)
            frame[by - dy, bx - dx] = min(max(p[3] + delta, 0), top)
            frame[by, bx] = min(max(p[4] - delta, 0), top)
            half = tc >> 1
            if side_p:
                more = min(max((((p[1] + p[3] + 1) >> 1) - p[2] + delta) >> 1, -half), half)
                frame[by - 2 * dy, bx - 2 * dx] = min(max(p[2] + more, 0), top)
            if side_q:
                more = min(max((((p[6] + p[4] + 1) >> 1) - p[5] - delta) >> 1, -half), half)
                frame[by + dy, bx + dx] = min(max(p[5] + more, 0), top)


@compiled
def deblock(c):  # pragma: no cover
    """Smooth the edges of blocks and transforms, first upright, then level ones; luma by strength, chroma
    where a side is intra.
    """
    par, grid = c.par, c.grid
    rows, columns = par[HEIGHT] // UNIT, par[WIDTH] // UNIT
    depth = par[DEPTH]
    top = (1 << depth) - 1
    index = (par[LEVEL] >> 3) + 4
    beta = np.int64(BETAS[min(index, 51)]) << (depth - 8)
    for across in range(2):
        dy, dx = (0, 1) if across == 0 else (1, 0)
        for gy in range(1, rows + 1):
            for gx in range(1, columns + 1):
                hy, hx = gy - dy, gx - dx
                if hy == 0 or hx == 0:
                    continue
                strength = edge_strength(grid, gy, gx, hy, hx)
                if strength == 0:
                    continue
                tc = np.int64(TCS[min(index + 2 * (strength - 1), 53)]) << (depth - 8)
                y, x = (gy - 1) * UNIT, (gx - 1) * UNIT
                smooth_luma(c.frames[par[CURRENT], 0], y + MARGIN, x + MARGIN, dy, dx, beta, tc, top)
                if strength < 2:
                    continue
                sy, sx = par[SHIFT_Y], par[SHIFT_X]
                at = (x >> sx) if across == 0 else (y >> sy)
                if at & 7:
                    continue
                lines = (UNIT >> sy) if across == 0 else (UNIT >> sx)
                for plane in range(1, par[PLANES]):
                    frame = c.frames[par[CURRENT], plane]
                    for line in range(lines):
                        by, bx = (y >> sy) + MARGIN + line * dx, (x >> sx) + MARGIN + line * dy
                        p1, p0 = np.int64(frame[by - 2 * dy, bx - 2 * dx]), np.int64(frame[by - dy, bx - dx])
                        q0, q1 = np.int64(frame[by, bx]), np.int64(frame[by + dy, bx + dx])
                        delta = min(max((((q0 - p0) << 2) + p1 - q1 + 4) >> 3, -tc), tc)
                        frame[by - dy, bx - dx] = min(max(p0 + delta, 0), top)
                        frame[by, bx] = min(max(q0 - delta, 0), top)


@compiled
def extend(frame, height, width):  # pragma: no cover
    """Repeat the borders of a plane into its margins."""
    for y in range(height):
        row = frame[y + MARGIN]
        for x in range(MARGIN):
            row[x] = row[MARGIN]
            row[MARGIN + width + x] = row[MARGIN + width - 1]
    stop = width + 2 * MARGIN
    for y in range(MARGIN):
        for x in range(stop):
            frame[y, x] = frame[MARGIN, x]
            frame[MARGIN + height + y, x] = frame[MARGIN + height - 1, x]


@compiled
def extend_planes(c):  # pragma: no cover
    """Repeat the borders of all planes."""
    par = c.par
    for plane in range(par[PLANES]):
        sy, sx = (par[SHIFT_Y], par[SHIFT_X]) if plane else (np.int64(0), np.int64(0))
        extend(c.frames[par[CURRENT], plane], par[HEIGHT] >> sy, par[WIDTH] >> sx)


@entry
def smooth_frame(c):  # pragma: no cover
    """Deblock a frame whose blocks are done, and repeat its borders."""
    deblock(c)
    extend_planes(c)


@entry
def finish_frame(c):  # pragma: no cover
    """Filter a smoothed frame, repeat its borders, and keep the motion with times instead of references."""
    par = c.par
    filter_frame(c)
    extend_planes(c)
    past = c.motions[par[CURRENT]]
    for gy in range(c.grid.shape[0]):
        for gx in range(c.grid.shape[1]):
            cell = c.grid[gy, gx]
            past[gy, gx, 0] = NO_TIME
            past[gy, gx, 1] = NO_TIME
            if cell[MODE] == INTER:
                past[gy, gx, 0] = par[REF_TIME_FIRST + cell[REF0]]
                if cell[REF0 + 1] >= 0:
                    past[gy, gx, 1] = par[REF_TIME_FIRST + cell[REF0 + 1]]
                for f in range(4):
                    past[gy, gx, 2 + f] = cell[MV0Y + f]
