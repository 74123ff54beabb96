"""Prediction of a square from the decoded samples around it: planar, mean, 33 directions.

Source: ITU-T H.265, 8.4.4.2, without the strong filter and without the smoothing of borders.
"""

from __future__ import annotations

import numpy as np

from tersor.codecs.video.compiled import compiled, inlined
from tersor.codecs.video.state import CURRENT, DEPTH, MARGIN, MODE, NONE, SHIFT_X, SHIFT_Y, UNIT
from tersor.codecs.video.tables import ANGLES, DC, HORIZONTAL, INVERSE_ANGLES, PLANAR, VERTICAL

ORIGIN = 64  # F: of the line of references of a direction


@compiled
def gather(c, plane, y, x, n, cy, cx, width):  # pragma: no cover
    """References of the square at (y, x): c.edge[0], the corner and 2 n samples above, and c.edge[1], the
    corner and 2 n samples to the left.

    Args:
        y, x, n: of the square, in samples of the plane.
        cy, cx, width: place and width of its block, in samples of the plane.

    What is not decoded yet repeats its nearest neighbour.
    """
    frame, grid = c.frames[c.par[CURRENT], plane], c.grid
    sy, sx = (c.par[SHIFT_Y], c.par[SHIFT_X]) if plane else (np.int64(0), np.int64(0))
    top, left = c.edge[0], c.edge[1]
    fy, fx = y + MARGIN, x + MARGIN
    has_top, has_left = y > 0, x > 0
    more_top, more_left = 0, 0
    if has_top:
        if y > cy:
            more_top = min(max(cx + width - x - n, 0), n)
        else:
            row = ((y - 1) << sy) // UNIT + 1
            step = min(n, UNIT >> sx)
            while more_top < n and grid[row, ((x + n + more_top) << sx) // UNIT + 1, MODE] != NONE:
                more_top += step
    if has_left and x == cx:
        column = ((x - 1) << sx) // UNIT + 1
        step = min(n, UNIT >> sy)
        while more_left < n and grid[((y + n + more_left) << sy) // UNIT + 1, column, MODE] != NONE:
            more_left += step
    middle = 1 << (c.par[DEPTH] - 1)
    if has_top:
        for i in range(n + more_top):
            top[1 + i] = frame[fy - 1, fx + i]
        for i in range(n + more_top, 2 * n):
            top[1 + i] = top[n + more_top]
    if has_left:
        for i in range(n + more_left):
            left[1 + i] = frame[fy + i, fx - 1]
        for i in range(n + more_left, 2 * n):
            left[1 + i] = left[n + more_left]
    if not has_top:
        for i in range(2 * n):
            top[1 + i] = left[1] if has_left else middle
    if not has_left:
        for i in range(2 * n):
            left[1 + i] = top[1] if has_top else middle
    corner = top[1] if has_top else left[1]
    if has_top and has_left:
        corner = np.int32(frame[fy - 1, fx - 1])
    top[0] = corner
    left[0] = corner


@compiled
def smooth(c, n):  # pragma: no cover
    """References filtered by 1 2 1, from c.edge[0:2] to c.edge[2:4]."""
    for s in range(2):
        a, b = c.edge[s], c.edge[2 + s]
        other = c.edge[1 - s, 1]
        b[0] = (other + 2 * a[0] + a[1] + 2) >> 2
        for i in range(1, 2 * n):
            b[i] = (a[i - 1] + 2 * a[i] + a[i + 1] + 2) >> 2
        b[2 * n] = a[2 * n]


@inlined
def is_smoothed(n, mode):  # pragma: no cover
    """Whether a mode of luma sees filtered references."""
    if n == 4 or mode == DC:
        return False
    if mode == PLANAR:
        return True
    return min(abs(mode - HORIZONTAL), abs(mode - VERTICAL)) > (7 if n == 8 else 1 if n == 16 else 0)


@compiled
def fill(c, frame, y, x, n, bits, mode, smoothed):  # pragma: no cover
    """Predict frame[y:, x:], n x n, from the references of `gather` (or of `smooth`). Sums of 32 samples of
    12 bits fit int32.
    """
    first = 2 if smoothed else 0
    top, left = c.edge[first], c.edge[first + 1]
    if mode == PLANAR:
        for i in range(n):
            for j in range(n):
                total = (
                    (n - 1 - j) * left[1 + i]
                    + (j + 1) * top[1 + n]
                    + (n - 1 - i) * top[1 + j]
                    + (i + 1) * left[1 + n]
                )
                frame[y + i, x + j] = (total + n) >> (bits + 1)
    elif mode == DC:
        total = 0
        for i in range(1, n + 1):
            total += top[i] + left[i]
        mean = (total + n) >> (bits + 1)
        for i in range(n):
            for j in range(n):
                frame[y + i, x + j] = mean
    else:
        upright = mode >= 18
        main, side = (top, left) if upright else (left, top)
        angle = ANGLES[mode]
        line = c.scratch[1].reshape(-1)
        for i in range(2 * n + 1):
            line[ORIGIN + i] = main[i]
        for k in range((n * angle) >> 5, 0):
            line[ORIGIN + k] = side[min((k * INVERSE_ANGLES[mode] + 128) >> 8, 2 * n)]
        for i in range(n):
            whole, f = ((i + 1) * angle) >> 5, ((i + 1) * angle) & 31
            at = ORIGIN + whole + 1
            if upright:
                for j in range(n):
                    frame[y + i, x + j] = ((32 - f) * line[at + j] + f * line[at + j + 1] + 16) >> 5
            else:
                for j in range(n):
                    frame[y + j, x + i] = ((32 - f) * line[at + j] + f * line[at + j + 1] + 16) >> 5


@compiled
def predict_intra(c, plane, y, x, bits, mode, cy, cx, width):  # pragma: no cover
    """Predict the square of 2^bits samples at (y, x) of a plane of the current frame, in place."""
    n = 1 << bits
    gather(c, plane, y, x, n, cy, cx, width)
    smoothed = plane == 0 and is_smoothed(n, mode)
    if smoothed:
        smooth(c, n)
    fill(c, c.frames[c.par[CURRENT], plane], y + MARGIN, x + MARGIN, n, bits, mode, smoothed)
