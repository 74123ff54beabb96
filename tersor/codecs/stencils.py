"""Encoder side of the field codec's predictors: least squares on what the decoder will know.

    first run with default stencils -> decoded values -> one stencil a key (level, axis, phase), where it pays
    second run -> symbols, features -> weights of the expected magnitude, table shape and shift a key

Regressors are decoded values, so the fit sees the noise of quantisation and what masked cells were filled with. Robust weights keep a few fronts or stars from deciding
for everybody.

Source: Wu, Barthel, Zhang, "Piecewise 2D autoregression for predictive image coding" (1998); iteratively reweighted least squares.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tersor.codecs.dyadic import Ints, Pass, default_stencil, neighbourhood
from tersor.codecs.dyadic_loops import CONTEXT_BITS, FEATURE_BITS, FRACTION_BITS, N_FEATURES, STENCIL_BITS, scale_levels
from tersor.entropy.magnitude import LEVELS, MAX_SHIFT, RADIUS, SHAPES, MagnitudeTables, thresholds

Key = tuple[int, int, int]
SAMPLES = 8_000
WEIGHT_BITS = 10
COPY_BITS = 16
LEAST_POINTS = 8
WEIGHT_LIMIT = 1 << 14
ITERATIONS = 3


@dataclass(slots=True)
class Coded:
    """One pass after quantisation: flat indices, symbols, features of its points."""

    key: Key
    points: Ints
    symbols: NDArray[np.int32]
    features: NDArray[np.int32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """How one key's symbols are coded: `weights` of the features, int64 [N_FEATURES] (None: the block's common ones), table `shape`, `shift` of the ladder."""

    weights: Ints | None
    shape: int
    shift: int


def fit_stencils(passes: Sequence[Pass], values: Ints, target: NDArray[np.float64], valid: NDArray[np.bool_], points: Sequence[Ints]) -> dict[Key, Ints]:
    """Stencils that save more bits than they cost.

    Args:
        passes: of the plan.
        values: decoded with default stencils, in units.
        target: what they should be.
        valid: cells that count.
        points: flat indices of each pass.
    """
    groups: dict[Key, list[int]] = {}
    for i, p in enumerate(passes):
        groups.setdefault(p.key, []).append(i)
    out: dict[Key, Ints] = {}
    for key, members in groups.items():
        total, taps = sum(passes[i].count for i in members), passes[members[0]].n_taps
        every = max(1, total // SAMPLES)
        rows_of = [np.flatnonzero(valid[points[i]])[k % every :: every] for k, i in enumerate(members)]
        around = np.concatenate([neighbourhood(passes[i], values, rows) for i, rows in zip(members, rows_of, strict=True)]).astype(np.float64)
        wanted = np.concatenate([target[points[i][rows]] for i, rows in zip(members, rows_of, strict=True)])
        if len(wanted) < LEAST_POINTS:
            continue
        middle = (around[:, 0] + around[:, 1]) / 2
        a, y = (around - middle[:, None]) / (1 << FRACTION_BITS), (wanted - middle) / (1 << FRACTION_BITS)

        def bits(stencil: Ints, a: NDArray[np.float64] = a, y: NDArray[np.float64] = y, total: int = total) -> float:
            return total * float(np.log2(np.abs(np.round(y - a @ (stencil / (1 << STENCIL_BITS)))) + 0.3).mean())

        candidates: list[tuple[float, Ints | None]] = [(bits(default_stencil(passes[members[0]])), None)]
        if (plane := passes[members[0]].plane) < taps:  # fitted weights never quite copy, and small keys cannot pay for them
            one = 1 << STENCIL_BITS
            for frame in ((one, 0, 0), (one, -one // 2, -one // 2)):  # the frame before as it is, or what it adds to its own neighbours
                copy = np.zeros(taps, np.int64)
                copy[plane : plane + 3] = frame
                candidates.append((bits(copy) + COPY_BITS, copy))
        if len(wanted) >= 4 * taps and total >= 8 * taps:
            fitted = np.round(_robust(a, y) * (1 << STENCIL_BITS)).clip(-WEIGHT_LIMIT, WEIGHT_LIMIT).astype(np.int64)
            candidates.append((bits(fitted) + WEIGHT_BITS * taps + 30, fitted))
        _, best = min(candidates, key=lambda c: c[0])
        if best is not None:
            out[key] = best
    return out


def fit_contexts(coded: Sequence[Coded], valid: NDArray[np.bool_], tables: MagnitudeTables) -> tuple[Ints, dict[Key, Context]]:
    """The common weights of a block, and how each key is coded."""
    groups: dict[Key, list[Coded]] = {}
    for c in coded:
        groups.setdefault(c.key, []).append(c)
    merged = {key: (np.concatenate([c.points for c in g]), np.concatenate([c.symbols for c in g]), np.concatenate([c.features for c in g])) for key, g in groups.items()}
    everything = [(f[valid[p]], s[valid[p]]) for p, s, f in merged.values()]
    some = [(f[:: len(f) // 1000 + 1], s[:: len(s) // 1000 + 1]) for f, s in everything]
    if not some:
        return np.zeros(N_FEATURES, np.int64), {}
    common = _fit_magnitude(np.concatenate([f for f, _ in some]), np.concatenate([s for _, s in some]))
    out = {}
    for key, (points, symbols, features) in merged.items():
        choices: list[tuple[float, Context]] = []
        own = features[valid[points]]
        for weights in (common, *([_fit_magnitude(own[:: len(own) // SAMPLES + 1], symbols[valid[points]][:: len(own) // SAMPLES + 1])] if len(own) >= 1000 else [])):
            levels = levels_of(features, weights, points, valid)
            histogram = np.bincount(levels * (2 * RADIUS + 1) + symbols.clip(-RADIUS, RADIUS) + RADIUS, minlength=(LEVELS + 1) * (2 * RADIUS + 1))
            histogram = histogram.reshape(LEVELS + 1, -1)[1:]
            side = 0 if weights is common else WEIGHT_BITS * N_FEATURES
            used = np.flatnonzero(histogram.any(1))
            columns = np.flatnonzero(histogram.any(0))
            part = histogram[np.ix_(used, columns)]

            def cost(shape: int, shift: int, used: Ints = used, columns: Ints = columns, part: Ints = part, side: int = side) -> float:
                rows = (used + shift).clip(0, LEVELS - 1) + 1
                return float(np.vdot(part, tables.bits[shape][np.ix_(rows, columns)])) + side

            own_weights = None if weights is common else weights
            shape = min(range(len(SHAPES)), key=lambda s: cost(s, 0))
            choices += [(cost(shape, shift), Context(weights=own_weights, shape=shape, shift=shift)) for shift in range(-MAX_SHIFT, MAX_SHIFT + 1)]
        out[key] = min(choices, key=lambda c: c[0])[1]
    return common, out


def levels_of(features: NDArray[np.int32], weights: Ints, points: Ints, valid: NDArray[np.bool_]) -> Ints:
    """Scale levels before the ladder is shifted; 0 where nothing is coded."""
    levels = np.empty(len(features), np.int64)
    scale_levels(features, weights, thresholds(), points, valid, levels)
    return levels


def _robust(a: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Least squares in which steep places, and those that fit badly, weigh less."""
    weight = 1 / (1 + np.abs(a).mean(1).clip(max=300))
    w = _least_squares(a, y, weight)
    for _ in range(ITERATIONS - 1):
        residual = np.abs(y - a @ w)
        w = _least_squares(a, y, weight / np.sqrt(1 + (residual / (3 * np.median(residual) + 0.3)) ** 2))
    return w


def _least_squares(a: NDArray[np.float64], y: NDArray[np.float64], weight: NDArray[np.float64]) -> NDArray[np.float64]:
    weighted = a * weight[:, None]
    gram = weighted.T @ a
    ridge = 1e-6 * np.trace(gram) / len(gram) + 1e-12
    solution: NDArray[np.float64] = np.linalg.solve(gram + ridge * np.eye(len(gram)), weighted.T @ y)
    return solution


def _fit_magnitude(features: NDArray[np.int32], symbols: NDArray[np.int32]) -> Ints:
    """Weights of E|q|, least squares of the relative error: the likelihood of a Laplace distribution asks for it."""
    a = features / (1 << FEATURE_BITS)
    y = np.abs(symbols).clip(max=100).astype(np.float64)
    mean = np.full(len(y), max(float(y.mean()) if len(y) else 0.0, 1e-3))
    w = np.zeros(N_FEATURES)
    for _ in range(ITERATIONS + 1):
        w = _least_squares(a, y, 1 / (mean + 0.05) ** 2)
        mean = np.maximum(a @ w, 1e-3)
    return np.round(w * (1 << CONTEXT_BITS)).clip(-WEIGHT_LIMIT, WEIGHT_LIMIT).astype(np.int64)
