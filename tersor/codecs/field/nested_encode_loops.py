"""Encoder side of nested blocks, compiled: all passes, and what they are predicted with fitted just
before.
"""

from __future__ import annotations

import numpy as np

from tersor.codecs.field.nested_fit_loops import (
    RUN,
    WEIGHT_BITS,
    class_bits,
    cubic,
    fit_stencil,
    fit_weights,
    gather_phase,
    residual_sizes,
)
from tersor.codecs.field.nested_loops import (
    LEAD,
    MAX_TAPS,
    N_FEATURES,
    close_rows,
    code_phase,
    extend,
    find_taps,
    phase_points,
    row_counts,
    weave,
)
from tersor.entropy.compiled import compiled

LEAST_OWN = 1500  # G: points of a key that are worth their own weights of contexts
NOTHING, FIT, COLLECT = 0, 1, 2  # G: names of what is done with a key


@compiled
def encode_passes(values, sizes, g, passes, models, snap, target, valid, base, fit, room, out):
    # pragma: no cover
    """All passes of a block, or of some of its frames.

    Args:
        passes: int64 [n, 6], of nested.Plan.
        models: stencils [keys, MAX_TAPS], weights [keys, N_FEATURES], caps, slope of ghosts; written where
            fitted.
        base: float64 [frames], values of their first cells.
        fit: what to do with a key before it is coded (int64 [keys]: NOTHING, FIT, or COLLECT samples),
            points of each, its parent (-1: none), heads [keys, 2] (how the stencil and the weights came
            about, written), steps of weights in files, and where its samples lie (int64 [keys, 3]: start,
            how many there are, room).
        room: for samples: around, wanted, features.
        out: symbols and classes of all points.
    """
    stencils, contexts, caps, slope = models
    symbols, classes = out
    actions, points, parents, heads, _, places = fit
    around, wanted, features = room
    k = 0
    for i in range(len(passes)):
        frame, h, a, time, cells, key0 = passes[i]
        if a < 0:
            values[frame + LEAD], sizes[frame + LEAD] = base[key0], 0.0
            continue
        extend(values, sizes, g, frame, a, h, slope)
        n = row_counts(g, a, h)
        for phase in range(2):
            key = key0 + phase
            p = (frame, a, h, phase, time, cells)
            total = phase_points(n, phase, n[0] * n[1] * n[2])
            if heads[key, 0] < 0:
                inherit(stencils, contexts, key, parents[key], heads)
            if actions[key] and total:
                start, have, most = places[key]
                begin, stop = start + have, start + most
                share = (around[begin:stop], wanted[begin:stop], features[begin:stop])
                every = (points[key] + most - 1) // most | 1  # odd: not in step with rows
                have += gather_phase(values, sizes, g, p, target, valid, every, share)
                if actions[key] == COLLECT:
                    places[key, 1] = have
                else:
                    share = (around[start:stop], wanted[start:stop], features[start:stop])
                    fit_key(share, have, key, (g, a, phase, time), models, snap, fit, True, True)
            code_phase(
                values,
                sizes,
                g,
                p,
                (stencils[key], contexts[key], caps),
                snap,
                target,
                valid,
                (symbols[k : k + total], classes[k : k + total]),
            )
            k += total
            if phase == 0:
                close_rows(values, sizes, g, frame, a, h)
        if a == 3:
            weave(values, sizes, g, frame, h)
    return k


@compiled
def fit_key(samples, count, key, of, models, snap, fit, stencil, weights):  # pragma: no cover
    """The stencil of a key, or its weights, or both, from samples."""
    around, wanted, features = samples
    g, a, phase, time = of
    stencils, contexts, caps, _ = models
    _, points, parents, heads, units, _ = fit
    if count < RUN:
        return
    one = 1.0 if snap else 64.0
    _, plane, n_taps, _ = find_taps(
        g, 0, a, 1, phase, time, np.zeros(3, np.int64), np.empty(MAX_TAPS, np.int64)
    )
    parent = parents[key]
    candidates = np.zeros((4, MAX_TAPS))
    cubic(candidates[0])
    candidates[1] = stencils[parent] if parent >= 0 else candidates[0]
    n_candidates = 2
    if time:
        candidates[2:, plane] = 4096
        candidates[3, 0] = candidates[3, 1] = 2048
        candidates[3, plane + 1] = candidates[3, plane + 2] = -2048
        n_candidates = 4
    if not stencil:  # keep it
        candidates[0] = stencils[key]
        n_candidates = 1
    found = fit_stencil(
        around, wanted, count, n_taps, points[key], one, candidates[:n_candidates], stencils[key], stencil
    )
    if stencil:
        heads[key, 0] = 4 if found < 0 else found
    if weights and points[key] >= LEAST_OWN and count >= 4 * N_FEATURES:
        q = np.empty(count)
        residual_sizes(around, wanted, count, n_taps, stencils[key], q)
        fitted = np.empty(N_FEATURES)
        if fit_weights(features, q, count, caps, units, fitted):
            scale = points[key] / count
            own = scale * class_bits(features, q, count, units, fitted) + 1.2 * WEIGHT_BITS * N_FEATURES
            if own < scale * class_bits(features, q, count, units, contexts[key]):
                contexts[key] = fitted
                heads[key, 1] = 1


@compiled
def inherit(stencils, contexts, key, parent, heads):  # pragma: no cover
    """A key begins as its parent."""
    heads[key, 0], heads[key, 1] = 0, 0
    if parent >= 0:
        stencils[key] = stencils[parent]
        contexts[key] = contexts[parent]
        heads[key, 0] = 1
    else:
        cubic(stencils[key])
