"""From a block's fields and levels to samples, and the walk over the blocks of a frame, which encoder and decoder share."""

from __future__ import annotations

import numpy as np

from tersor.codecs.video.compiled import compiled
from tersor.codecs.video.inter_loops import predict_inter
from tersor.codecs.video.intra_loops import predict_intra
from tersor.codecs.video.state import (
    BLOCK,
    CHROMA,
    CHROMA_LEVEL,
    CODED,
    CURRENT,
    DEPTH,
    HEIGHT,
    INTRA,
    INTRA0,
    LEVEL,
    MARGIN,
    MODE,
    MOTION,
    PLANES,
    REF0,
    SHIFT_X,
    SHIFT_Y,
    SIZE,
    SPLIT,
    UNIT,
    WIDTH,
)
from tersor.codecs.video.syntax_loops import (
    CHROMA_BITS,
    code_leaf,
    code_split,
    in_frame,
    is_decoding,
    spread,
    tile,
)
from tersor.codecs.video.tables import DST
from tersor.codecs.video.transform_loops import add_residual


@compiled
def transform_kind(plane, side, intra):  # pragma: no cover
    """Row of TRANSFORMS."""
    return DST if intra and plane == 0 and side == 2 else side - 2


@compiled
def intra_mode(cell, plane, i):  # pragma: no cover
    """Mode of a plane's i-th transform."""
    return np.int64(cell[CHROMA]) if plane else np.int64(cell[INTRA0 + (i & 3)])


@compiled
def reconstruct_leaf(c, y, x, bits):  # pragma: no cover
    """Predict a block and add its residual."""
    par = c.par
    cell = c.grid[y // UNIT + 1, x // UNIT + 1]
    intra = cell[MODE] == INTRA
    if not intra:
        predict_inter(c, y, x, 1 << bits, cell[REF0 : REF0 + MOTION])
        if not cell[CODED]:
            return
    for plane in range(par[PLANES]):
        sy, sx = (par[SHIFT_Y], par[SHIFT_X]) if plane else (np.int64(0), np.int64(0))
        level = par[CHROMA_LEVEL] if plane else par[LEVEL]
        i, count = 0, 1
        while i < count:
            ty, tx, side, count = tile(c, plane, y, x, bits, cell[SPLIT], i)
            if intra:
                predict_intra(c, plane, ty, tx, side, intra_mode(cell, plane, i), y >> sy, x >> sx, (1 << bits) >> sx)
            if cell[CODED] >> (i if plane == 0 else CHROMA_BITS[plane - 1] + i) & 1:
                add_residual(
                    c.coefficients[plane],
                    ty & 31,
                    tx & 31,
                    c.frames[par[CURRENT], plane],
                    ty + MARGIN,
                    tx + MARGIN,
                    c.scratch,
                    transform_kind(plane, side, intra),
                    side,
                    par[DEPTH],
                    level,
                )
            i += 1


@compiled
def finish_leaf(c, y, x, bits):  # pragma: no cover
    """Code or decode a block, and rebuild it."""
    code_leaf(c, y, x, bits)
    spread(c, y, x, bits)
    reconstruct_leaf(c, y, x, bits)


@compiled
def code_tree(c, y, x):  # pragma: no cover
    """Code or decode a block of 32 and what it is split into."""
    grid = c.grid
    decoding = is_decoding(c)
    inside = in_frame(c, y, x, 32)
    split = 1 if inside == 1 else 0
    if inside == 2:
        split = code_split(c, y, x, 5, 0 if decoding or grid[y // UNIT + 1, x // UNIT + 1, SIZE] == 5 else 1)
    if not split:
        finish_leaf(c, y, x, 5)
        return
    for i in range(4):
        y1, x1 = y + 16 * (i >> 1), x + 16 * (i & 1)
        inside = in_frame(c, y1, x1, 16)
        if inside == 0:
            continue
        split = 1
        if inside == 2:
            split = code_split(c, y1, x1, 4, 0 if decoding or grid[y1 // UNIT + 1, x1 // UNIT + 1, SIZE] == 4 else 1)
        if not split:
            finish_leaf(c, y1, x1, 4)
            continue
        for j in range(4):
            y2, x2 = y1 + 8 * (j >> 1), x1 + 8 * (j & 1)
            if in_frame(c, y2, x2, 8):
                finish_leaf(c, y2, x2, 3)


@compiled
def clear(c):  # pragma: no cover
    """Nothing of the frame is there yet."""
    c.grid[:] = 0
    c.grid[:, :, MODE] = -1
    c.grid[:, :, REF0 : REF0 + 2] = -1
    c.grid[:, :, 3] = -1


@compiled
def decode_blocks(c):  # pragma: no cover
    """Decode all blocks of a frame."""
    clear(c)
    for y in range(0, c.par[HEIGHT], BLOCK):
        for x in range(0, c.par[WIDTH], BLOCK):
            code_tree(c, y, x)
