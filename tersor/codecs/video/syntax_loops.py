"""What a block says and in which order: one set of functions that codes, decodes and measures.

    block of 32 -> split? -> blocks of 16 -> split? -> blocks of 8 (those that cross the border split unasked)
    block       -> skip? which neighbour's motion | intra? modes | neighbour's motion, or references and
                   vectors -> residual: transforms split? levels

Fields lie in the block's first unit of the grid; a coder reads them there, a decoder writes them.
"""

from __future__ import annotations

import numpy as np

from tersor.codecs.video.coefficient_loops import code_flag, code_levels, code_raw
from tersor.codecs.video.compiled import compiled, inlined
from tersor.codecs.video.inter_loops import find_predictors, merge_candidates
from tersor.codecs.video.state import (
    CHROMA,
    CHROMA_LEVEL,
    CODED,
    DELTA,
    ENERGY,
    ENERGY_CHROMA,
    FIELDS,
    HEIGHT,
    INTER,
    INTRA,
    INTRA0,
    INTRA1,
    INTRA2,
    K_BI,
    K_CHROMA,
    K_CODED,
    K_CODED_CHROMA,
    K_EXPONENT,
    K_INTRA,
    K_MANTISSA,
    K_MERGE,
    K_MERGE_INDEX,
    K_PREDICTOR,
    K_REF,
    K_ROOT,
    K_SAME,
    K_SKIP,
    K_SPLIT,
    K_TRANSFORM_SPLIT,
    K_TREE,
    K_ZERO,
    LAYER,
    LEVEL,
    MAX_MERGE,
    MERGE,
    MODE,
    MOTION,
    MV0Y,
    NONE,
    PLANES,
    PREDICTOR,
    REF0,
    REFS,
    SHIFT_X,
    SHIFT_Y,
    SIZE,
    SKIP,
    SPLIT,
    UNIT,
    VECTOR_LIMIT,
    WIDTH,
)
from tersor.codecs.video.tables import DC, HORIZONTAL, INTRA_MODES, PLANAR, VERTICAL
from tersor.codecs.video.transform_loops import clip
from tersor.entropy.binary import DECODING

VECTOR_EXPONENTS = 15  # F
CHROMA_BITS = 4, 12  # F: first bits of Cb and Cr in CODED
CHROMA_MODES = np.array([PLANAR, DC, HORIZONTAL, VERTICAL], np.int64)


@inlined
def bit_length(n):  # pragma: no cover
    out = 0
    while n >> out:
        out += 1
    return out


@inlined
def tile_bits(c, plane, bits, split):  # pragma: no cover
    """Side of the transforms of a plane in a block of 2^bits luma samples, as a power of two."""
    out = bits
    if plane:
        out = bits - max(c.par[SHIFT_Y], c.par[SHIFT_X])
    return out - 1 if split and out > 2 else out


@inlined
def tile(c, plane, y, x, bits, split, i):  # pragma: no cover
    """The i-th transform of a plane in the block at luma (y, x): (its y, x in the plane, side as a power of
    two, how many there are).
    """
    side = tile_bits(c, plane, bits, split)
    sy, sx = (c.par[SHIFT_Y], c.par[SHIFT_X]) if plane else (np.int64(0), np.int64(0))
    rows, columns = (1 << (bits - sy)) >> side, (1 << (bits - sx)) >> side
    return (y >> sy) + ((i // columns) << side), (x >> sx) + ((i % columns) << side), side, rows * columns


@compiled
def code_vector(c, y, x, bits, side):  # pragma: no cover
    """The vector of a block's first or second reference, as its difference from one of two predictors."""
    k, gy, gx = c.k, y // UNIT + 1, x // UNIT + 1
    cell = c.grid[gy, gx]
    left, up = c.grid[gy, gx - 1], c.grid[gy - 1, gx]
    find_predictors(c, y, x, 1 << bits, cell[REF0 + side])
    which = (cell[PREDICTOR] >> side) & 1
    same = c.predictors[0, 0] == c.predictors[1, 0] and c.predictors[0, 1] == c.predictors[1, 1]
    which = 0 if same else code_flag(k, K_PREDICTOR, side, bits, c.par[LAYER], which)
    around = min((left[DELTA] + up[DELTA] + 1) >> 1, 7)
    apart = min(
        bit_length(
            abs(c.predictors[0, 0] - c.predictors[1, 0]) + abs(c.predictors[0, 1] - c.predictors[1, 1])
        ),
        7,
    )
    total = 0
    for axis in range(2):
        difference = np.int64(cell[MV0Y + 2 * side + axis]) - c.predictors[which, axis]
        size = abs(difference)
        before = min(bit_length(total), 7) if axis else 0
        got = code_flag(
            k, K_ZERO, around * 2 + axis, apart * 2 + axis, before * 16 + axis * 8 + bits, 1 if size else 0
        )
        if got:
            exponent = 0
            while exponent < VECTOR_EXPONENTS:
                e = exponent
                if not code_flag(
                    k,
                    K_EXPONENT,
                    around * 16 + e,
                    apart * 16 + e,
                    before * 16 + e,
                    1 if size >> (exponent + 1) else 0,
                ):
                    break
                exponent += 1
            got = 1
            if exponent:
                got = 2 + code_flag(
                    k, K_MANTISSA, exponent, exponent + 16 * axis, around, (size >> (exponent - 1)) & 1
                )
                got = (got << (exponent - 1)) | code_raw(k, size & ((1 << (exponent - 1)) - 1), exponent - 1)
            total += got
            if code_raw(k, 1 if difference < 0 else 0, 1):
                got = -got
        cell[MV0Y + 2 * side + axis] = clip(c.predictors[which, axis] + got, -VECTOR_LIMIT, VECTOR_LIMIT)
    if side == 0:
        cell[PREDICTOR] = which
        cell[DELTA] = min(bit_length(total), 7)
    else:
        cell[PREDICTOR] = (cell[PREDICTOR] & 1) | (which << 1)
        cell[DELTA] = max(cell[DELTA], min(bit_length(total), 7))


@inlined
def code_ref(c, bits, side, first, ref):  # pragma: no cover
    """Index of a reference, in unary."""
    got = 0
    while got < c.par[REFS] - 1:
        context = (side * 5 + first + 1) * 4 + got
        if not code_flag(c.k, K_REF, context, got * 4 + c.par[LAYER], got * 8 + bits, 1 if ref > got else 0):
            break
        got += 1
    return got


@compiled
def code_motion(c, y, x, bits, skip):  # pragma: no cover
    """A neighbour's motion, or references and vectors."""
    k, gy, gx = c.k, y // UNIT + 1, x // UNIT + 1
    cell = c.grid[gy, gx]
    left, up = c.grid[gy, gx - 1], c.grid[gy - 1, gx]
    merge = cell[MERGE]
    s, layer = bits - 3, c.par[LAYER]
    merging = 1
    if not skip:
        around = (left[MERGE] >= 0) + 2 * (up[MERGE] >= 0)
        merging = code_flag(
            k,
            K_MERGE,
            s * 4 + around,
            min(left[DELTA], 7) * 8 + min(up[DELTA], 7),
            layer * 4 + s,
            1 if merge >= 0 else 0,
        )
    if merging:
        got = 0
        while got < MAX_MERGE - 1:
            at = got * 2 + skip
            context = at * 4 + (left[MODE] == INTER) + 2 * (up[MODE] == INTER)
            if not code_flag(k, K_MERGE_INDEX, context, at * 4 + s, at * 4 + layer, 1 if merge > got else 0):
                break
            got += 1
        merge_candidates(c, y, x, 1 << bits)
        cell[MERGE] = got
        for f in range(MOTION):
            cell[REF0 + f] = c.candidates[got, f]
        cell[DELTA] = 0
        cell[PREDICTOR] = 0
        return
    cell[MERGE] = NONE
    two = 0
    if c.par[REFS] > 1:
        around = (left[REF0 + 1] >= 0) + 2 * (up[REF0 + 1] >= 0)
        two = code_flag(k, K_BI, s * 4 + around, layer * 4 + s, around, 1 if cell[REF0 + 1] >= 0 else 0)
    for side in range(1 + two):
        cell[REF0 + side] = code_ref(c, bits, side, cell[REF0] if side else two - 1, cell[REF0 + side])
    if not two:
        cell[REF0 + 1] = NONE
    if not two:
        cell[MV0Y + 2] = 0
        cell[MV0Y + 3] = 0
    for side in range(1 + two):
        code_vector(c, y, x, bits, side)


@inlined
def direction(mode):  # pragma: no cover
    """Class of a mode for contexts: smooth, mean, across, down."""
    return mode if mode < 2 else 2 if mode < 18 else 3


@compiled
def code_mode(k, left, up, size, wanted):  # pragma: no cover
    """An intra mode of luma, given those to the left and above (or DC)."""
    first = left
    second = up if up != left else PLANAR if left != PLANAR else VERTICAL
    third = PLANAR
    if first == PLANAR or second == PLANAR:
        third = DC
        if first == DC or second == DC:
            third = VERTICAL
            if first == VERTICAL or second == VERTICAL:
                third = HORIZONTAL
    around = direction(left) * 4 + direction(up)
    same = 16 if left == up else 0
    if code_flag(k, K_SAME, around + same, size, 0, 1 if wanted == first else 0):
        return first
    if code_flag(k, K_SAME, 32 + around + same, 8 + size, 1, 1 if wanted == second else 0):
        return second
    if code_flag(k, K_SAME, 64 + around + same, 16 + size, 2, 1 if wanted == third else 0):
        return third
    node = 1
    for i in range(5, -1, -1):
        node = 2 * node + code_flag(
            k, K_TREE, node, 64 * direction(left) + node, 64 * direction(up) + node, (wanted >> i) & 1
        )
    return min(node - 64, INTRA_MODES - 1)


@compiled
def code_intra(c, y, x, bits):  # pragma: no cover
    """Whether transforms are split, the modes of luma (four in a split block of 8) and the mode of chroma."""
    k, gy, gx = c.k, y // UNIT + 1, x // UNIT + 1
    cell = c.grid[gy, gx]
    left, up = c.grid[gy, gx - 1], c.grid[gy - 1, gx]
    around = left[ENERGY] * 8 + up[ENERGY]
    split = code_flag(
        k, K_TRANSFORM_SPLIT, bits, around, 64 * (bits - 3) + left[SPLIT] + 2 * up[SPLIT], cell[SPLIT]
    )
    cell[SPLIT] = split
    count = 4 if split and bits == 3 else 1
    for i in range(count):
        a = cell[INTRA0 + i - 1] if i & 1 else left[INTRA1 + (2 if i else 0)] if left[MODE] == INTRA else DC
        b = cell[INTRA0 + i - 2] if i & 2 else up[INTRA2 + (i & 1)] if up[MODE] == INTRA else DC
        mode = code_mode(k, np.int64(a), np.int64(b), bits - split, np.int64(cell[INTRA0 + i]))
        cell[INTRA0 + i] = mode
    for i in range(count, 4):
        cell[INTRA0 + i] = cell[INTRA0]
    if c.par[PLANES] > 1:
        d = direction(cell[INTRA0])
        if code_flag(k, K_CHROMA, d, bits, 0, 1 if cell[CHROMA] == cell[INTRA0] else 0):
            cell[CHROMA] = cell[INTRA0]
        else:
            wanted = 0
            for i in range(4):
                if CHROMA_MODES[i] == cell[CHROMA]:
                    wanted = i
            node = 1
            for i in range(2):
                node = 2 * node + code_flag(
                    k, K_CHROMA, 16 + d * 4 + node, 16 + node, 1 + node, (wanted >> (1 - i)) & 1
                )
            cell[CHROMA] = CHROMA_MODES[node & 3]


@compiled
def code_residual(c, y, x, bits, intra):  # pragma: no cover
    """Which transforms have levels, and the levels; fills the block's energies."""
    k, gy, gx = c.k, y // UNIT + 1, x // UNIT + 1
    cell = c.grid[gy, gx]
    left, up = c.grid[gy, gx - 1], c.grid[gy - 1, gx]
    split, layer = cell[SPLIT], c.par[LAYER]
    coded = np.int64(0)
    s = bits - 3
    for plane in range(c.par[PLANES]):
        field = ENERGY_CHROMA if plane else ENERGY
        around = (left[field] + up[field] + 1) >> 1
        level = c.par[CHROMA_LEVEL] if plane else c.par[LEVEL]
        total = 0
        i, count = 0, 1
        while i < count:
            ty, tx, side, count = tile(c, plane, y, x, bits, split, i)
            mask = np.int64(1) << (i if plane == 0 else CHROMA_BITS[plane - 1] + i)
            wanted = 1 if cell[CODED] & mask else 0
            before = min(bit_length(coded), 15)
            if plane:
                kind = K_CODED_CHROMA
                c0 = ((plane - 1) * 2 + (1 if coded & 15 else 0)) * 2 + intra
                c0 = (c0 * 2 + (1 if coded & 4080 else 0)) * 4 + side - 2
                c1 = (around * 2 + plane - 1) * 2 + intra
                c2 = (layer * 4 + side - 2) * 4 + (plane - 1) * 2 + (1 if coded & 4080 else 0)
            else:
                kind = K_CODED
                c0 = ((s * 2 + split) * 2 + intra) * 16 + before
                c1 = (left[field] * 8 + up[field]) * 2 + intra
                c2 = (layer * 8 + around) * 4 + s
            if code_flag(k, kind, c0, c1, c2, wanted):
                coded |= mask
                busy = around
                if total and not plane:
                    busy = max(around, 1)
                total += code_levels(
                    k, c.coefficients[plane], ty & 31, tx & 31, c.scratch[3], side, plane, intra, busy, level
                )
            i += 1
        energy = min(bit_length((total << 8) >> (2 * tile_bits(c, plane, bits, 0))), 7)
        if plane == 0:
            cell[ENERGY] = energy
        elif plane == 1:
            cell[ENERGY_CHROMA] = energy
        else:
            cell[ENERGY_CHROMA] = max(cell[ENERGY_CHROMA], energy)
    cell[CODED] = coded


@compiled
def code_leaf(c, y, x, bits):  # pragma: no cover
    """A block that is not split, of 2^bits samples at luma (y, x)."""
    k, gy, gx = c.k, y // UNIT + 1, x // UNIT + 1
    cell = c.grid[gy, gx]
    left, up = c.grid[gy, gx - 1], c.grid[gy - 1, gx]
    s, layer = bits - 3, c.par[LAYER]
    skip, intra = 0, 1
    if c.par[REFS]:
        around = left[SKIP] + up[SKIP]
        busy = (min(left[ENERGY], 3) * 4 + min(up[ENERGY], 3)) * 3 + s
        skip = code_flag(k, K_SKIP, s * 3 + around, busy, (s * 4 + layer) * 3 + around, cell[SKIP])
        if not skip:
            around = (left[MODE] == INTRA) + 2 * (up[MODE] == INTRA)
            intra = code_flag(
                k, K_INTRA, s * 4 + around, layer * 4 + around, s, 1 if cell[MODE] == INTRA else 0
            )
        else:
            intra = 0
    cell[SIZE] = bits
    cell[SKIP] = skip
    cell[MODE] = INTRA if intra else INTER
    root = 1
    if intra:
        cell[MERGE] = NONE
        cell[REF0] = NONE
        cell[REF0 + 1] = NONE
        cell[DELTA] = 0
        code_intra(c, y, x, bits)
    else:
        code_motion(c, y, x, bits, skip)
        if skip:
            root = 0
        elif cell[MERGE] < 0:
            root = code_flag(
                k, K_ROOT, s, left[ENERGY] * 8 + up[ENERGY], layer * 4 + s, 1 if cell[CODED] else 0
            )
        if root:
            around = left[ENERGY] * 8 + up[ENERGY]
            c2 = 64 * s + left[SPLIT] + 2 * up[SPLIT]
            cell[SPLIT] = code_flag(k, K_TRANSFORM_SPLIT, 8 + bits, 64 + around, 4 + c2, cell[SPLIT])
    if root:
        code_residual(c, y, x, bits, intra)
    else:
        cell[SPLIT] = 0
        cell[CODED] = 0
        cell[ENERGY] = 0
        cell[ENERGY_CHROMA] = 0


@inlined
def spread(c, y, x, bits):  # pragma: no cover
    """Copy the fields of a block's first unit to all its units."""
    gy, gx, n = y // UNIT + 1, x // UNIT + 1, (1 << bits) // UNIT
    cell = c.grid[gy, gx]
    for i in range(n):
        for j in range(n):
            if i or j:
                for f in range(FIELDS):
                    c.grid[gy + i, gx + j, f] = cell[f]


@compiled
def code_split(c, y, x, bits, split):  # pragma: no cover
    """Whether a block of 16 or 32 that lies inside the frame is split."""
    gy, gx = y // UNIT + 1, x // UNIT + 1
    left, up = c.grid[gy, gx - 1], c.grid[gy - 1, gx]
    a = 3 if left[MODE] == NONE else left[SIZE] - 3
    b = 3 if up[MODE] == NONE else up[SIZE] - 3
    smaller = (1 if a < bits - 3 else 0) + (1 if b < bits - 3 else 0)
    t = bits - 4
    inter = 1 if c.par[REFS] else 0
    busy = (min(left[ENERGY], 7) * 8 + min(up[ENERGY], 7)) * 2 + t
    return code_flag(
        c.k,
        K_SPLIT,
        (a * 4 + b) * 4 + t * 2 + inter,
        busy,
        ((c.par[LAYER] * 3 + smaller) * 2 + t) * 2 + inter,
        split,
    )


@inlined
def in_frame(c, y, x, n):  # pragma: no cover
    """2: the whole block is inside the frame; 1: part of it; 0: nothing."""
    height, width = c.par[HEIGHT], c.par[WIDTH]
    if y >= height or x >= width:
        return 0
    return 2 if y + n <= height and x + n <= width else 1


@inlined
def is_decoding(c):  # pragma: no cover
    return c.k.io[DECODING] != 0
