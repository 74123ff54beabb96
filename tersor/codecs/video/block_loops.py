"""From a block's fields and levels to samples, and the walk over the blocks of a frame, which encoder and
decoder share.
"""

from __future__ import annotations

import numpy as np

from tersor.codecs.video.compiled import compiled, entry, inlined
from tersor.codecs.video.inter_loops import predict_inter
from tersor.codecs.video.intra_loops import predict_intra
from tersor.codecs.video.state import (
    BLOCK,
    CHROMA,
    CHROMA_LEVEL,
    CODED,
    CURRENT,
    DEPTH,
    FIELDS,
    INTRA,
    INTRA0,
    LEVEL,
    MARGIN,
    MERGE,
    MODE,
    MOTION,
    NONE,
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


@inlined
def transform_kind(plane, side, intra):  # pragma: no cover
    """Row of TRANSFORMS."""
    return DST if intra and plane == 0 and side == 2 else side - 2


@inlined
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
                predict_intra(
                    c, plane, ty, tx, side, intra_mode(cell, plane, i), y >> sy, x >> sx, (1 << bits) >> sx
                )
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


@entry
def start_frame(c):  # pragma: no cover
    """Nothing of the frame is there yet."""
    c.grid[:] = 0
    c.grid[:, :, MODE] = NONE
    c.grid[:, :, REF0 : REF0 + 2] = NONE
    c.grid[:, :, MERGE] = NONE


@entry
def code_blocks(c, first, stop):  # pragma: no cover
    """Code or decode, and rebuild, the blocks of 32 from `first` to `stop`, counted row by row.

    Inside one, `at` counts units of 8 along a Z; a block of 2^bits samples starts there or is split.
    """
    decoding = is_decoding(c)
    columns = (c.par[WIDTH] + BLOCK - 1) // BLOCK
    for block in range(first, stop):
        top, left = block // columns * BLOCK, block % columns * BLOCK
        at, bits = 0, 5
        while at < 16:
            y = top + 8 * (2 * (at >> 3) + (at >> 1 & 1))
            x = left + 8 * (2 * (at >> 2 & 1) + (at & 1))
            inside = in_frame(c, y, x, 1 << bits)
            split = 1 if inside == 1 else 0
            if inside == 2 and bits > 3:
                smaller = 0 if decoding or c.planned[y // UNIT & 3, x // UNIT & 3, SIZE] == bits else 1
                split = code_split(c, y, x, bits, smaller)
            if split:
                bits -= 1
                continue
            if inside == 2:
                if not decoding:
                    for f in range(FIELDS):
                        c.grid[y // UNIT + 1, x // UNIT + 1, f] = c.planned[y // UNIT & 3, x // UNIT & 3, f]
                code_leaf(c, y, x, bits)
                spread(c, y, x, bits)
                reconstruct_leaf(c, y, x, bits)
            at += 1 << (2 * (bits - 3))
            bits = 3 if at & 3 else 4
