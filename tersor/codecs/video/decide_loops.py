"""The encoder's choice of blocks: every trial is predicted, transformed, quantised and measured by the coder itself; the least of error + weight x bits wins."""

from __future__ import annotations

import numpy as np

from tersor.codecs.video.block_loops import intra_mode, transform_kind
from tersor.codecs.video.coefficient_loops import choose_levels
from tersor.codecs.video.compiled import compiled, entry, inlined
from tersor.codecs.video.inter_loops import find_predictors, merge_candidates, predict_inter
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
            a, b = e.original[plane, py + i, px : px + width], frame[py + MARGIN + i, px + MARGIN : px + MARGIN + width]
            part = np.int64(0)
            for j in range(width):
                d = np.int32(a[j]) - np.int32(b[j])
                part += d * d
            total += part
    return total


@compiled
def code_square(c, e, plane, ty, tx, side, intra, busy, level):  # pragma: no cover
    """Transform, quantise and rebuild a square whose prediction is in the frame; -> (squared error, sum of magnitudes)."""
    n = 1 << side
    frame = c.frames[c.par[CURRENT], plane]
    x = c.scratch[1]
    for i in range(n):
        a, b, o = e.original[plane, ty + i, tx : tx + n], frame[ty + MARGIN + i, tx + MARGIN : tx + MARGIN + n], x[i]
        for j in range(n):
            o[j] = np.int32(a[j]) - np.int32(b[j])
    kind, depth = transform_kind(plane, side, intra), c.par[DEPTH]
    forward(x, c.scratch[2], c.scratch[0], kind, side, depth)
    q = c.coefficients[plane]
    error, count = choose_levels(
        c.k, c.scratch[0], q, ty & 31, tx & 31, c.scratch[3], side, plane, intra, busy, level, depth, e.real[WEIGHT], e.work
    )
    if count:
        add_residual(q, ty & 31, tx & 31, frame, ty + MARGIN, tx + MARGIN, c.scratch, kind, side, depth, level)
    return error, count


@compiled
def code_planes(c, e, y, x, bits, intra, first):  # pragma: no cover
    """Code the planes from `first` on of a block, predicting as it goes if intra; sets CODED; -> squared error."""
    par = c.par
    gy, gx = y // UNIT + 1, x // UNIT + 1
    cell, left, up = c.grid[gy, gx], c.grid[gy, gx - 1], c.grid[gy - 1, gx]
    error = 0.0
    coded = np.int64(cell[CODED]) & 15 if first else np.int64(0)
    for plane in range(first, par[PLANES]):
        sy, sx = (par[SHIFT_Y], par[SHIFT_X]) if plane else (np.int64(0), np.int64(0))
        field = ENERGY_CHROMA if plane else ENERGY
        around = (left[field] + up[field] + 1) >> 1
        level = par[CHROMA_LEVEL] if plane else par[LEVEL]
        total = 0
        i, count = 0, 1
        while i < count:
            ty, tx, side, count = tile(c, plane, y, x, bits, cell[SPLIT], i)
            if intra:
                predict_intra(c, plane, ty, tx, side, intra_mode(cell, plane, i), y >> sy, x >> sx, (1 << bits) >> sx)
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
def try_motion(c, e, y, x, bits, best):  # pragma: no cover
    """Trials of a block whose motion is set: without residual, with it, with split transforms; -> (least cost so far, whether a residual is worth it)."""
    cell = c.grid[y // UNIT + 1, x // UNIT + 1]
    weight = e.real[WEIGHT]
    cell[MODE] = INTER
    predict_inter(c, y, x, 1 << bits, cell[REF0 : REF0 + MOTION])
    cell[SKIP] = 1 if cell[MERGE] >= 0 else 0
    cell[SPLIT], cell[CODED] = 0, 0
    cost = squared_error(c, e, y, x, bits) + weight * measured(c, y, x, bits)
    first = cost
    if cost < best:
        best = cost
        keep(c, e, y, x, bits)
    for split in range(1 + e.options[SPLIT_TRIALS]):
        if split:
            predict_inter(c, y, x, 1 << bits, cell[REF0 : REF0 + MOTION])
        cell[SKIP], cell[SPLIT] = 0, split
        error = code_planes(c, e, y, x, bits, 0, 0)
        if not cell[CODED]:
            break
        cost = error + weight * measured(c, y, x, bits)
        if cost < best:
            best = cost
            keep(c, e, y, x, bits)
    return best, best < first


@compiled
def try_merges(c, e, y, x, bits, best):  # pragma: no cover
    """The most promising motions of neighbours."""
    n = 1 << bits
    cell = c.grid[y // UNIT + 1, x // UNIT + 1]
    merge_candidates(c, y, x, n)
    for i in range(MAX_MERGE):
        e.scores[i] = transformed_difference(e, c, y, x, n, c.candidates[i]) + e.real[MOTION_WEIGHT] * (i + 1)
    least = e.scores[0]
    residual = False
    for _ in range(e.options[MERGE_TRIALS]):
        k = 0
        for i in range(1, MAX_MERGE):
            if e.scores[i] < e.scores[k]:
                k = i
        if e.scores[k] < least:
            least = e.scores[k]
        if e.scores[k] > 1.5 * least:
            break
        e.scores[k] = 1e300
        merge_candidates(c, y, x, n)
        cell[MERGE] = k
        for f in range(MOTION):
            cell[REF0 + f] = c.candidates[k, f]
        best, coded = try_motion(c, e, y, x, bits, best)
        residual = residual or coded
    return best, least, residual


@inlined
def set_predictors(c, y, x, n, cell):  # pragma: no cover
    """The nearer predictor of each side."""
    which = 0
    for side in range(2):
        if cell[REF0 + side] < 0:
            continue
        find_predictors(c, y, x, n, cell[REF0 + side])
        cost = np.zeros(2, np.int64)
        for i in range(2):
            for axis in range(2):
                d = abs(cell[6 + 2 * side + axis] - c.predictors[i, axis])
                cost[i] += d
        if cost[1] < cost[0]:
            which |= 1 << side
    cell[PREDICTOR] = which


@compiled
def try_vectors(c, e, y, x, bits, best, least):  # pragma: no cover
    """Motion from a search: one reference, or two; -> (least cost so far, least transformed difference)."""
    n = 1 << bits
    cell = c.grid[y // UNIT + 1, x // UNIT + 1]
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
    for turn in range(2):
        cost = single_cost if turn == 0 else pair_cost
        if cost > 1.25 * min(least, min(single_cost, pair_cost)):
            continue
        cell[MERGE] = NONE
        if turn == 0:
            cell[REF0], cell[REF0 + 1] = single, NONE
            cell[REF0 + 2], cell[REF0 + 3] = found[single, 0], found[single, 1]
            cell[REF0 + 4], cell[REF0 + 5] = 0, 0
        else:
            for f in range(MOTION):
                cell[REF0 + f] = pair[f]
        set_predictors(c, y, x, n, cell)
        best, _ = try_motion(c, e, y, x, bits, best)
    return best, min(least, min(single_cost, pair_cost))


@compiled
def intra_difference(c, e, plane, ty, tx, n):  # pragma: no cover
    """Transformed difference of what is in the frame, in the units of the search."""
    frame = c.frames[c.par[CURRENT], plane]
    shift = 14 - c.par[DEPTH]
    for i in range(n):
        a, b, o = e.original[plane, ty + i, tx : tx + n], frame[ty + MARGIN + i, tx + MARGIN : tx + MARGIN + n], e.block[i]
        for j in range(n):
            o[j] = (np.int32(a[j]) - np.int32(b[j])) << shift
    return hadamard(e.block, n)


@compiled
def score_mode(c, e, y, x, side, mode, left, up):  # pragma: no cover
    """Cost of a mode of luma whose references are gathered and smoothed."""
    n = 1 << side
    fill(c, c.frames[c.par[CURRENT], 0], y + MARGIN, x + MARGIN, n, side, mode, is_smoothed(n, mode))
    bits = 2 if mode == left or mode == up else 6
    return intra_difference(c, e, 0, y, x, n) + e.real[MOTION_WEIGHT] * bits


@compiled
def rank_modes(c, e, y, x, side, cy, cx, width, left, up):  # pragma: no cover
    """Scores of modes in e.scores (1e300: not tried): every fourth direction, then around the best ones; or all."""
    gather(c, 0, y, x, 1 << side, cy, cx, width)
    smooth(c, 1 << side)
    step = 1 if e.options[ALL_MODES] else 4
    for mode in range(INTRA_MODES):
        e.scores[mode] = 1e300
        if mode < 2 or (mode - 2) % step == 0 or mode == left or mode == up:
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


@inlined
def set_intra(cell):  # pragma: no cover
    cell[MODE], cell[SKIP], cell[MERGE] = INTRA, 0, NONE
    cell[REF0], cell[REF0 + 1] = NONE, NONE


@compiled
def try_intra(c, e, y, x, bits, best, least):  # pragma: no cover
    """The most promising modes of a block predicted from itself; least: transformed difference of the best motion."""
    gy, gx = y // UNIT + 1, x // UNIT + 1
    cell, left, up = c.grid[gy, gx], c.grid[gy, gx - 1], c.grid[gy - 1, gx]
    weight = e.real[WEIGHT]
    n = 1 << bits
    a = np.int64(left[INTRA1]) if left[MODE] == INTRA else np.int64(DC)
    b = np.int64(up[INTRA2]) if up[MODE] == INTRA else np.int64(DC)
    rank_modes(c, e, y, x, bits, y, x, n, a, b)
    modes = np.zeros(8, np.int64)
    trials = e.options[INTRA_TRIALS]
    first = 0.0
    for t in range(trials):
        k = 0
        for i in range(1, INTRA_MODES):
            if e.scores[i] < e.scores[k]:
                k = i
        if t == 0:
            first = e.scores[k]
        if e.scores[k] > 1.2 * first:
            trials = t
            break
        modes[t] = k
        e.scores[k] = 1e300
    if first > 1.3 * least:
        return best
    for t in range(trials):
        for split in range(1 + (1 if e.options[SPLIT_TRIALS] and bits > 3 and t == 0 else 0)):
            set_intra(cell)
            cell[SPLIT] = split
            for i in range(4):
                cell[INTRA0 + i] = modes[t]
            if c.par[PLANES] > 1:
                choose_chroma(c, e, y, x, bits)
            cost = code_planes(c, e, y, x, bits, 1, 0) + weight * measured(c, y, x, bits)
            if cost < best:
                best = cost
                keep(c, e, y, x, bits)
    if bits == 3 and e.options[SPLIT_TRIALS]:
        best = try_quarters(c, e, y, x, best)
    return best


@compiled
def try_quarters(c, e, y, x, best):  # pragma: no cover
    """A block of 8 whose quarters have modes of their own."""
    gy, gx = y // UNIT + 1, x // UNIT + 1
    cell, left, up = c.grid[gy, gx], c.grid[gy, gx - 1], c.grid[gy - 1, gx]
    set_intra(cell)
    cell[SPLIT] = 1
    error = 0.0
    coded = np.int64(0)
    around = (left[ENERGY] + up[ENERGY] + 1) >> 1
    total = 0
    for i in range(4):
        ty, tx = y + 4 * (i >> 1), x + 4 * (i & 1)
        a = np.int64(cell[INTRA0 + i - 1] if i & 1 else left[INTRA1 + (2 if i else 0)] if left[MODE] == INTRA else DC)
        b = np.int64(cell[INTRA0 + i - 2] if i & 2 else up[INTRA2 + (i & 1)] if up[MODE] == INTRA else DC)
        rank_modes(c, e, ty, tx, 2, y, x, 8, a, b)
        mode = 0
        for m in range(1, INTRA_MODES):
            if e.scores[m] < e.scores[mode]:
                mode = m
        cell[INTRA0 + i] = mode
        predict_intra(c, 0, ty, tx, 2, mode, y, x, 8)
        busy = max(around, 1) if total else around
        part, sizes = code_square(c, e, 0, ty, tx, 2, 1, busy, c.par[LEVEL])
        error += part
        total += sizes
        if sizes:
            coded |= 1 << i
    cell[CODED] = coded
    if c.par[PLANES] > 1:
        choose_chroma(c, e, y, x, 3)
        error += code_planes(c, e, y, x, 3, 1, 1)
    cost = error + e.real[WEIGHT] * measured(c, y, x, 3)
    if cost < best:
        best = cost
        keep(c, e, y, x, 3)
    return best


@compiled
def decide_leaf(c, e, y, x, bits):  # pragma: no cover
    """The best block of one size, left in place; -> (its cost, whether it is as good as it gets)."""
    best, least = 1e300, 1e300
    done = False
    if c.par[REFS]:
        best, least, residual = try_merges(c, e, y, x, bits, best)
        done = not residual and e.options[STOP_EARLY] > 0
        if not done:
            best, least = try_vectors(c, e, y, x, bits, best, least)
    if not done:
        best = try_intra(c, e, y, x, bits, best, least)
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
    """Choose how a block of 32, counted row by row, is split and what its parts are; fields go to c.planned, levels stay in c.coefficients.

    For each size, `whole` is the cost of the block that is not split, `parts` of what is chosen of its quarters so far, `place` how many those are.
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
