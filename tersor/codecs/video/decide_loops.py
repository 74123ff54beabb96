"""The encoder's choice of blocks: every trial is predicted, transformed, quantised and measured by the coder
itself; the least of error + weight x bits wins.
"""

from __future__ import annotations

import numpy as np

from tersor.codecs.video.block_loops import intra_mode, transform_kind
from tersor.codecs.video.coefficient_loops import choose_levels
from tersor.codecs.video.compiled import compiled, entry, inlined
from tersor.codecs.video.inter_loops import find_predictors, merge_candidates, predict_inter, set_candidate
from tersor.codecs.video.intra_loops import fill, gather, is_smoothed, predict_intra, smooth
from tersor.codecs.video.search_loops import (
    ALL_MODES,
    INTRA_TRIALS,
    MERGE_TRIALS,
    MOTION_WEIGHT,
    REFINE_PAIRS,
    SPLIT_TRIALS,
    STOP_EARLY,
    WEIGHT,
    hadamard,
    refine,
    search,
    transformed_difference,
)
from tersor.codecs.video.state import (
    BLOCK,
    CHROMA,
    CHROMA_LEVEL,
    CODED,
    COST,
    COST_BITS,
    CURRENT,
    DEPTH,
    ENERGY,
    ENERGY_CHROMA,
    FIELDS,
    INTER,
    INTRA,
    INTRA0,
    INTRA1,
    INTRA2,
    LEVEL,
    MARGIN,
    MAX_MERGE,
    MEASURING,
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
    SKIP,
    SPLIT,
    UNIT,
    WIDTH,
)
from tersor.codecs.video.syntax_loops import (
    CHROMA_BITS,
    CHROMA_MODES,
    code_leaf,
    code_split,
    in_frame,
    spread,
    tile,
)
from tersor.codecs.video.tables import DC, INTRA_MODES
from tersor.codecs.video.transform_loops import add_residual, forward


@compiled
def keep(c, e, y, x, bits):  # pragma: no cover
    """Keep the block as it is now as the best of its size."""
    k, par = bits - 3, c.par
    for plane in range(par[PLANES]):
        sy, sx = (par[SHIFT_Y], par[SHIFT_X]) if plane else (np.int64(0), np.int64(0))
        height, width, py, px = (1 << bits) >> sy, (1 << bits) >> sx, y >> sy, x >> sx
        frame = c.frames[par[CURRENT], plane]
        for i in range(height):
            for j in range(width):
                e.kept_frames[k, plane, i, j] = frame[py + MARGIN + i, px + MARGIN + j]
                e.kept_coefficients[k, plane, i, j] = c.coefficients[plane, (py & 31) + i, (px & 31) + j]
    cell = c.grid[y // UNIT + 1, x // UNIT + 1]
    for f in range(FIELDS):
        e.kept_cells[k, f] = cell[f]


@compiled
def take_back(c, e, y, x, bits):  # pragma: no cover
    """The best of its size is the block."""
    k, par = bits - 3, c.par
    for plane in range(par[PLANES]):
        sy, sx = (par[SHIFT_Y], par[SHIFT_X]) if plane else (np.int64(0), np.int64(0))
        height, width, py, px = (1 << bits) >> sy, (1 << bits) >> sx, y >> sy, x >> sx
        frame = c.frames[par[CURRENT], plane]
        for i in range(height):
            for j in range(width):
                frame[py + MARGIN + i, px + MARGIN + j] = e.kept_frames[k, plane, i, j]
                c.coefficients[plane, (py & 31) + i, (px & 31) + j] = e.kept_coefficients[k, plane, i, j]
    cell = c.grid[y // UNIT + 1, x // UNIT + 1]
    for f in range(FIELDS):
        cell[f] = e.kept_cells[k, f]
    spread(c, y, x, bits)


@compiled
def measured(c, y, x, bits):  # pragma: no cover
    """Bits of a block whose fields are set."""
    io = c.k.io
    io[MEASURING], io[COST] = 1, 0
    code_leaf(c, y, x, bits)
    io[MEASURING] = 0
    return io[COST] / (1 << COST_BITS)


@compiled
def measured_split(c, y, x, bits, split):  # pragma: no cover
    """Bits of the split flag of a block inside the frame."""
    io = c.k.io
    io[MEASURING], io[COST] = 1, 0
    code_split(c, y, x, bits, split)
    io[MEASURING] = 0
    return io[COST] / (1 << COST_BITS)


@compiled
def squared_error(c, e, y, x, bits):  # pragma: no cover
    """Of the block as it is now, all planes."""
    par = c.par
    total = 0.0
    for plane in range(par[PLANES]):
        sy, sx = (par[SHIFT_Y], par[SHIFT_X]) if plane else (np.int64(0), np.int64(0))
        height, width, py, px = (1 << bits) >> sy, (1 << bits) >> sx, y >> sy, x >> sx
        frame = c.frames[par[CURRENT], plane]
        for i in range(height):
            a, b = (
                e.original[plane, py + i, px : px + width],
                frame[py + MARGIN + i, px + MARGIN : px + MARGIN + width],
            )
            part = np.int64(0)
            for j in range(width):
                d = np.int32(a[j]) - np.int32(b[j])
                part += d * d
            total += part
    return total


@compiled
def code_square(c, e, plane, ty, tx, side, intra, busy, level):  # pragma: no cover
    """Transform, quantise and rebuild a square whose prediction is in the frame; -> (squared error, sum of
    magnitudes).
    """
    n = 1 << side
    frame = c.frames[c.par[CURRENT], plane]
    x = c.scratch[1]
    for i in range(n):
        a, b, o = (
            e.original[plane, ty + i, tx : tx + n],
            frame[ty + MARGIN + i, tx + MARGIN : tx + MARGIN + n],
            x[i],
        )
        for j in range(n):
            o[j] = np.int32(a[j]) - np.int32(b[j])
    kind, depth = transform_kind(plane, side, intra), c.par[DEPTH]
    forward(x, c.scratch[2], c.scratch[0], kind, side, depth)
    q = c.coefficients[plane]
    error, count = choose_levels(
        c.k,
        c.scratch[0],
        q,
        (ty & 31, tx & 31),
        c.scratch[3],
        side,
        plane,
        intra,
        busy,
        (level, depth),
        e.real[WEIGHT],
        e.work,
    )
    if count:
        add_residual(
            q, ty & 31, tx & 31, frame, ty + MARGIN, tx + MARGIN, c.scratch, kind, side, depth, level
        )
    return error, count


@compiled
def intra_difference(c, e, plane, ty, tx, n):  # pragma: no cover
    """Transformed difference of what is in the frame, in the units of the search."""
    frame = c.frames[c.par[CURRENT], plane]
    shift = 14 - c.par[DEPTH]
    for i in range(n):
        a, b, o = (
            e.original[plane, ty + i, tx : tx + n],
            frame[ty + MARGIN + i, tx + MARGIN : tx + MARGIN + n],
            e.block[i],
        )
        for j in range(n):
            o[j] = (np.int32(a[j]) - np.int32(b[j])) << shift
    return hadamard(e.block, n)


@compiled
def score_mode(c, e, y, x, side, mode, left, up):  # pragma: no cover
    """Cost of a mode of luma whose references are gathered and smoothed."""
    n = 1 << side
    fill(c, c.frames[c.par[CURRENT], 0], y + MARGIN, x + MARGIN, n, side, mode, is_smoothed(n, mode))
    bits = 2 if mode in (left, up) else 6
    return intra_difference(c, e, 0, y, x, n) + e.real[MOTION_WEIGHT] * bits


@compiled
def rank_modes(c, e, y, x, side, cy, cx, width, left, up):  # pragma: no cover
    """Scores of modes in e.scores (1e300: not tried): every fourth direction, then around the best ones; or
    all.
    """
    gather(c, 0, y, x, 1 << side, cy, cx, width)
    smooth(c, 1 << side)
    step = 1 if e.options[ALL_MODES] else 4
    for mode in range(INTRA_MODES):
        e.scores[mode] = 1e300
        if mode < 2 or (mode - 2) % step == 0 or mode in (left, up):
            e.scores[mode] = score_mode(c, e, y, x, side, mode, left, up)
    while step > 1:
        step >>= 1
        best = 2
        for mode in range(2, INTRA_MODES):
            if e.scores[mode] < e.scores[best]:
                best = mode
        for mode in (best - step, best + step):
            if 2 <= mode < INTRA_MODES and e.scores[mode] == 1e300:
                e.scores[mode] = score_mode(c, e, y, x, side, mode, left, up)


@compiled
def choose_chroma(c, e, y, x, bits):  # pragma: no cover
    """The mode of chroma that predicts best, into the block's field."""
    par = c.par
    cell = c.grid[y // UNIT + 1, x // UNIT + 1]
    sy, sx = par[SHIFT_Y], par[SHIFT_X]
    least, chosen = 1e300, np.int64(DC)
    for k in range(5):
        mode = np.int64(cell[INTRA0]) if k == 0 else np.int64(CHROMA_MODES[k - 1])
        cost = e.real[MOTION_WEIGHT] * (1 if k == 0 else 3)
        for plane in range(1, 3):
            i, count = 0, 1
            while i < count:
                ty, tx, side, count = tile(c, plane, y, x, bits, 0, i)
                predict_intra(c, plane, ty, tx, side, mode, y >> sy, x >> sx, (1 << bits) >> sx)
                cost += intra_difference(c, e, plane, ty, tx, 1 << side)
                i += 1
        if cost < least:
            least, chosen = cost, mode
    cell[CHROMA] = chosen


@compiled
def code_planes(c, e, y, x, bits, intra):  # pragma: no cover
    """Code all planes of a block; if intra, predicting as it goes, and choosing the mode of chroma and those
    of quarters; sets CODED; -> squared error.
    """
    par = c.par
    gy, gx = y // UNIT + 1, x // UNIT + 1
    cell, left, up = c.grid[gy, gx], c.grid[gy, gx - 1], c.grid[gy - 1, gx]
    error = 0.0
    coded = np.int64(0)
    for plane in range(par[PLANES]):
        sy, sx = (par[SHIFT_Y], par[SHIFT_X]) if plane else (np.int64(0), np.int64(0))
        field = ENERGY_CHROMA if plane else ENERGY
        around = (left[field] + up[field] + 1) >> 1
        level = par[CHROMA_LEVEL] if plane else par[LEVEL]
        total = 0
        if plane == 1 and intra:
            choose_chroma(c, e, y, x, bits)
        i, count = 0, 1
        while i < count:
            ty, tx, side, count = tile(c, plane, y, x, bits, cell[SPLIT], i)
            if intra:
                if plane == 0 and bits == 3 and cell[SPLIT]:
                    a = (
                        cell[INTRA0 + i - 1]
                        if i & 1
                        else left[INTRA1 + (2 if i else 0)]
                        if left[MODE] == INTRA
                        else DC
                    )
                    b = cell[INTRA0 + i - 2] if i & 2 else up[INTRA2 + (i & 1)] if up[MODE] == INTRA else DC
                    rank_modes(c, e, ty, tx, 2, y, x, 8, a, b)
                    cell[INTRA0 + i] = np.argmin(e.scores[:INTRA_MODES])
                predict_intra(
                    c, plane, ty, tx, side, intra_mode(cell, plane, i), y >> sy, x >> sx, (1 << bits) >> sx
                )
            busy = max(around, 1) if total and not plane else around
            part, sizes = code_square(c, e, plane, ty, tx, side, intra, busy, level)
            error += part
            total += sizes
            if sizes:
                coded |= np.int64(1) << (i if plane == 0 else CHROMA_BITS[plane - 1] + i)
            i += 1
    cell[CODED] = coded
    return error


@compiled
def trial(c, e, y, x, bits, splits, best):  # pragma: no cover
    """Try a block whose motion or mode is set: without residual, with it, with split transforms (splits: up
    to how many times).

    Returns:
        (the least cost so far, whether a residual was worth it); the best is kept.
    """
    cell = c.grid[y // UNIT + 1, x // UNIT + 1]
    weight = e.real[WEIGHT]
    intra = 1 if cell[MODE] == INTRA else 0
    bare = 1e300
    if not intra:
        predict_inter(c, y, x, 1 << bits, cell[REF0 : REF0 + MOTION])
        cell[SKIP] = 1 if cell[MERGE] >= 0 else 0
        cell[SPLIT], cell[CODED] = 0, 0
        bare = squared_error(c, e, y, x, bits) + weight * measured(c, y, x, bits)
        if bare < best:
            best = bare
            keep(c, e, y, x, bits)
    least = bare
    cell[SKIP] = 0
    for split in range(1 + splits):
        if split and not intra:
            predict_inter(c, y, x, 1 << bits, cell[REF0 : REF0 + MOTION])
        cell[SPLIT] = split
        error = code_planes(c, e, y, x, bits, intra)
        if not intra and not cell[CODED]:
            break
        cost = error + weight * measured(c, y, x, bits)
        least = min(least, cost)
        if cost < best:
            best = cost
            keep(c, e, y, x, bits)
    return best, least < bare


@compiled
def list_merges(c, e, y, x, bits):  # pragma: no cover
    """The most promising motions of neighbours, in e.listed with their indices; -> (how many, least
    transformed difference).
    """
    n = 1 << bits
    merge_candidates(c, y, x, n)
    for i in range(MAX_MERGE):
        e.scores[i] = transformed_difference(e, c, y, x, n, c.candidates[i]) + e.real[MOTION_WEIGHT] * (i + 1)
    least = e.scores[:MAX_MERGE].min()
    for count in range(e.options[MERGE_TRIALS]):
        k = np.argmin(e.scores[:MAX_MERGE])
        if e.scores[k] > 1.5 * least:
            return count, least
        e.scores[k] = 1e300
        e.listed[count, MOTION] = k
        for f in range(MOTION):
            e.listed[count, f] = c.candidates[k, f]
    return e.options[MERGE_TRIALS], least


@compiled
def list_vectors(c, e, y, x, bits, least):  # pragma: no cover
    """Motions found by search: of one reference and of two, in e.listed; -> (how many, least transformed
    difference, given that of neighbours).
    """
    n = 1 << bits
    refs = c.par[REFS]
    merge_candidates(c, y, x, n)
    found = e.found[bits - 3]
    single, single_cost = 0, 1e300
    for r in range(refs):
        search(c, e, y, x, bits, r)
        cost = found[r, 2] + e.real[MOTION_WEIGHT] * (2 + r)
        if cost < single_cost:
            single, single_cost = r, cost
    pair, pair_cost = c.candidates[MAX_MERGE + 1], 1e300
    if refs > 1:
        other = 0 if single else 1
        pair[0], pair[1] = min(single, other), max(single, other)
        for side in range(2):
            pair[2 + 2 * side], pair[3 + 2 * side] = found[pair[side], 0], found[pair[side], 1]
        vector = np.zeros(3, np.int64)
        for turn in range(e.options[REFINE_PAIRS]):
            side = turn & 1
            find_predictors(c, y, x, n, pair[side])
            vector[0], vector[1] = pair[2 + 2 * side], pair[3 + 2 * side]
            refine(c, e, y, x, n, pair, side, vector)
        pair_cost = transformed_difference(e, c, y, x, n, pair) + e.real[MOTION_WEIGHT] * 14
    least = min(least, min(single_cost, pair_cost))
    count = 0
    if single_cost <= 1.25 * least:
        set_candidate(e.listed, count, single, NONE, found[single, 0], found[single, 1], 0, 0)
        count += 1
    if pair_cost <= 1.25 * least:
        for f in range(MOTION):
            e.listed[count, f] = pair[f]
        count += 1
    for i in range(count):
        e.listed[i, MOTION] = NONE
    return count, least


@compiled
def nearer_predictors(c, y, x, n, cell):  # pragma: no cover
    """Which predictor is nearer to a block's vectors: a bit for each side."""
    which = 0
    for side in range(2):
        if cell[REF0 + side] < 0:
            continue
        find_predictors(c, y, x, n, cell[REF0 + side])
        far = np.zeros(2, np.int64)
        for i in range(2):
            for axis in range(2):
                far[i] += abs(cell[MV0Y + 2 * side + axis] - c.predictors[i, axis])
        if far[1] < far[0]:
            which |= 1 << side
    return which


@compiled
def list_modes(c, e, y, x, bits):  # pragma: no cover
    """The most promising modes of luma, in e.listed; -> (how many, least score)."""
    gy, gx = y // UNIT + 1, x // UNIT + 1
    left, up = c.grid[gy, gx - 1], c.grid[gy - 1, gx]
    a = left[INTRA1] if left[MODE] == INTRA else DC
    b = up[INTRA2] if up[MODE] == INTRA else DC
    rank_modes(c, e, y, x, bits, y, x, 1 << bits, a, b)
    least = e.scores[:INTRA_MODES].min()
    for count in range(e.options[INTRA_TRIALS]):
        k = np.argmin(e.scores[:INTRA_MODES])
        if e.scores[k] > 1.2 * least:
            return count, least
        e.scores[k] = 1e300
        e.listed[count, 0] = k
    return e.options[INTRA_TRIALS], least


@inlined
def decide_leaf(c, e, y, x, bits):  # pragma: no cover
    """The best block of one size, left in place; -> (its cost, whether it is as good as it gets)."""
    cell = c.grid[y // UNIT + 1, x // UNIT + 1]
    best, least = 1e300, 1e300
    done = False
    splits = e.options[SPLIT_TRIALS]
    for turn in range(2 if c.par[REFS] else 0):
        if turn == 0:
            count, least = list_merges(c, e, y, x, bits)
        else:
            count, least = list_vectors(c, e, y, x, bits, least)
        residual = False
        for i in range(count):
            cell[MODE], cell[MERGE] = INTER, e.listed[i, MOTION]
            for f in range(MOTION):
                cell[REF0 + f] = e.listed[i, f]
            if turn:
                cell[PREDICTOR] = nearer_predictors(c, y, x, 1 << bits, cell)
            best, worth = trial(c, e, y, x, bits, splits, best)
            residual = residual or worth
        done = turn == 0 and not residual and e.options[STOP_EARLY] > 0
        if done:
            break
    if not done:
        count, score = list_modes(c, e, y, x, bits)
        for i in range(count if score <= 1.3 * least else 0):
            cell[MODE], cell[SKIP], cell[MERGE] = INTRA, 0, NONE
            cell[REF0], cell[REF0 + 1] = NONE, NONE
            for q in range(4):
                cell[INTRA0 + q] = e.listed[i, 0]
            best, worth = trial(c, e, y, x, bits, splits if i == 0 else 0, best)
    take_back(c, e, y, x, bits)
    return best, done


@compiled
def hide(c, y, x, bits):  # pragma: no cover
    """The block's units are not there yet."""
    gy, gx, n = y // UNIT + 1, x // UNIT + 1, (1 << bits) // UNIT
    for i in range(min(n, c.grid.shape[0] - gy)):
        for j in range(min(n, c.grid.shape[1] - gx)):
            cell = c.grid[gy + i, gx + j]
            cell[:] = 0
            cell[MODE], cell[REF0], cell[REF0 + 1], cell[MERGE] = NONE, NONE, NONE, NONE


@entry
def decide(c, e, block):  # pragma: no cover
    """Choose how a block of 32, counted row by row, is split and what its parts are; fields go to c.planned,
    levels stay in c.coefficients.

    For each size, `whole` is the cost of the block that is not split, `parts` of what is chosen of its
    quarters so far, `place` how many those are.
    """
    columns = (c.par[WIDTH] + BLOCK - 1) // BLOCK
    weight = e.real[WEIGHT]
    whole, parts = e.scores[40:48], e.scores[48:56]
    ys, xs, place = np.zeros(6, np.int64), np.zeros(6, np.int64), np.zeros(6, np.int64)
    ys[5], xs[5] = block // columns * BLOCK, block % columns * BLOCK
    bits = 5
    while True:
        y, x = ys[bits], xs[bits]
        inside = in_frame(c, y, x, 1 << bits)
        cost, done = 0.0, inside == 0
        whole[bits], parts[bits] = 1e300, 0.0
        if inside == 2:
            cost, done = decide_leaf(c, e, y, x, bits)
            if bits == 3:
                done = True
            else:
                cost += weight * measured_split(c, y, x, bits, 0)
                if not done:
                    whole[bits] = cost
                    hide(c, y, x, bits)
                    parts[bits] = weight * measured_split(c, y, x, bits, 1)
        if not done:
            place[bits] = 0
            bits -= 1
            ys[bits], xs[bits] = y, x
            continue
        # done with a block: add its cost to the larger one's parts, which may be done as well
        while bits < 5:
            bits += 1
            parts[bits] += cost
            place[bits] += 1
            if place[bits] < 4 and parts[bits] < whole[bits]:
                break
            cost = parts[bits]
            if whole[bits] <= cost:
                cost = whole[bits]
                take_back(c, e, ys[bits], xs[bits], bits)
        else:
            break
        half = 1 << (bits - 1)
        ys[bits - 1], xs[bits - 1] = ys[bits] + half * (place[bits] >> 1), xs[bits] + half * (place[bits] & 1)
        bits -= 1
    gy, gx = ys[5] // UNIT + 1, xs[5] // UNIT + 1
    for i in range(min(4, c.grid.shape[0] - gy)):
        for j in range(min(4, c.grid.shape[1] - gx)):
            for f in range(FIELDS):
                c.planned[i, j, f] = c.grid[gy + i, gx + j, f]
    hide(c, ys[5], xs[5], 5)
