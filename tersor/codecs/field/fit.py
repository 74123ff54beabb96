"""Encoder side of the field codec's predictors: least squares on what the decoder will know.

    first run with default stencils -> decoded values -> one stencil a key (level, axis, phase), where it pays
    second run -> symbols, features -> weights of the expected magnitude, table shape and shift a key

Regressors are decoded values, so the fit sees the noise of quantisation and what masked cells were filled
with. Robust weights keep a few fronts or stars from deciding for everybody.

Source: Wu, Barthel, Zhang, "Piecewise 2D autoregression for predictive image coding" (1998); iteratively
reweighted least squares.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tersor.codecs.field.grid import Ints, Pass, default_stencil
from tersor.codecs.field.grid_loops import (
    CONTEXT_BITS,
    FEATURE_BITS,
    N_FEATURES,
    STENCIL_BITS,
    gather,
    normal_equations,
    residuals,
    scale_levels,
)
from tersor.codecs.parallel import side_by_side
from tersor.entropy.magnitude_tables import LEVELS, MAX_SHIFT, RADIUS, SHAPES, MagnitudeTables, thresholds

Key = tuple[int, int, int]
SAMPLES = 8_000  # G: points of a fit of a stencil
CONTEXT_SAMPLES = 32_000  # G: of the weights of contexts
COMMON_SAMPLES = 1_000  # G: of each key for what all keys share
LEAST_OWN = 1_000  # G: points from which a key has weights of its own
WEIGHT_BITS = 10  # G: that a weight costs
COPY_BITS = 16  # G: bits that naming a key to copy costs
LEAST_POINTS = 8  # G: of a fit
WEIGHT_LIMIT = 1 << 14  # G: larger weights fit noise
ITERATIONS = 3  # G: of reweighting


@dataclass(frozen=True, slots=True, kw_only=True)
class Coded:
    """A block after quantisation: what its passes code, one after the other.

    Attributes:
        values: int64 [cells], decoded, in units.
        base: int64, in bins.
        points: int64 [n], flat indices.
        symbols: int32 [n].
        low: int64 [n], bits set aside; empty without a shift.
        features: uint16 [n, N_FEATURES]; [0, N_FEATURES] if none were wanted.
        spans: where each pass begins and ends in these.
    """

    values: Ints
    base: Ints
    points: Ints
    symbols: NDArray[np.int32]
    low: Ints
    features: NDArray[np.uint16]
    spans: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """How one key's symbols are coded: `weights` of the features, int64 [N_FEATURES] (None: the block's
    common ones), table `shape`, `shift` of the ladder.
    """

    weights: Ints | None
    shape: int
    shift: int


def fit_stencils(
    passes: Sequence[Pass], coded: Coded, target: NDArray[np.float64], valid: NDArray[np.bool_]
) -> dict[Key, Ints]:
    """Stencils that save more bits than they cost.

    Args:
        passes: of the plan.
        coded: with default stencils.
        target: what the values should be, in units.
        valid: cells that count.
    """
    groups = list(by_key(passes).values())
    found = side_by_side(
        lambda members: _fit_stencil([passes[i] for i in members], coded.values, target, valid), groups
    )
    return {passes[members[0]].key: w for members, w in zip(groups, found, strict=True) if w is not None}


def by_key(passes: Sequence[Pass]) -> dict[Key, list[int]]:
    """Which passes share a key, in order of first use."""
    groups: dict[Key, list[int]] = {}
    for i, p in enumerate(passes):
        groups.setdefault(p.key, []).append(i)
    return groups


def _fit_stencil(
    passes: list[Pass], values: Ints, target: NDArray[np.float64], valid: NDArray[np.bool_]
) -> Ints | None:
    """The stencil of one key; None for the default one."""
    total, taps = sum(p.size for p in passes), passes[0].n_taps
    every = total // SAMPLES | 1  # odd: not in step with rows
    room = sum(-(-p.size // every) for p in passes)
    a, y, n = np.empty((room, taps)), np.empty(room), 0
    for k, p in enumerate(passes):
        n += gather(values, p, target, valid, k % every, every, a[n:], y[n:])
    a, y = a[:n], y[:n]
    if n < LEAST_POINTS:
        return None

    def bits(stencil: Ints) -> float:
        return total * float(
            np.log2(np.abs(np.round(residuals(a, y, stencil / (1 << STENCIL_BITS)))) + 0.3).mean()
        )

    candidates: list[tuple[float, Ints | None]] = [(bits(default_stencil(passes[0])), None)]
    if (
        plane := passes[0].plane
    ) < taps:  # fitted weights never quite copy, and small keys cannot pay for them
        one = 1 << STENCIL_BITS
        for frame in (
            (one, 0, 0),
            (one, -one // 2, -one // 2),
        ):  # the frame before as it is, or what it adds to its own neighbours
            copy = np.zeros(taps, np.int64)
            copy[plane : plane + 3] = frame
            candidates.append((bits(copy) + COPY_BITS, copy))
    if n >= 4 * taps and total >= 8 * taps:
        fitted = (
            np.round(_robust(a, y) * (1 << STENCIL_BITS)).clip(-WEIGHT_LIMIT, WEIGHT_LIMIT).astype(np.int64)
        )
        candidates.append((bits(fitted) + WEIGHT_BITS * taps + 30, fitted))
    return min(candidates, key=lambda c: c[0])[1]


def fit_contexts(
    passes: Sequence[Pass], coded: Coded, valid: NDArray[np.bool_], tables: MagnitudeTables
) -> tuple[Ints, dict[Key, Context]]:
    """The common weights of a block, and how each key is coded."""
    groups = by_key(passes)
    samples = {
        key: _sample(coded, [coded.spans[i] for i in members], valid) for key, members in groups.items()
    }
    some = [
        (
            s.features[:: len(s.symbols) // COMMON_SAMPLES + 1],
            s.symbols[:: len(s.symbols) // COMMON_SAMPLES + 1],
        )
        for s in samples.values()
    ]
    if not some:
        return np.zeros(N_FEATURES, np.int64), {}
    common = _fit_magnitude(np.concatenate([f for f, _ in some]), np.concatenate([s for _, s in some]))
    found = side_by_side(lambda s: _fit_context(s, common, tables), samples.values())
    return common, dict(zip(samples, found, strict=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sample:
    """Some symbols of a key with their features; each stands for `weight` of them."""

    features: NDArray[np.uint16]
    symbols: NDArray[np.int32]
    weight: float


def _sample(coded: Coded, spans: Sequence[tuple[int, int]], valid: NDArray[np.bool_]) -> _Sample:
    total = sum(stop - start for start, stop in spans)
    every = total // CONTEXT_SAMPLES | 1
    rows = np.concatenate(
        [np.arange(start + k % every, stop, every) for k, (start, stop) in enumerate(spans)]
    )
    rows = rows[valid[coded.points[rows]]]
    return _Sample(features=coded.features[rows], symbols=coded.symbols[rows], weight=every)


def _fit_context(sample: _Sample, common: Ints, tables: MagnitudeTables) -> Context:
    """The cheapest way to code a key's symbols."""
    n = len(sample.symbols)
    stride = n // SAMPLES + 1
    own = (
        [_fit_magnitude(sample.features[::stride], sample.symbols[::stride])]
        if n * sample.weight >= LEAST_OWN
        else []
    )
    choices: list[tuple[float, Context]] = []
    for weights in (common, *own):
        levels = levels_of(sample.features, weights, 0, np.arange(n), np.ones(n, np.bool_))
        histogram = np.bincount(
            levels * (2 * RADIUS + 1) + sample.symbols.clip(-RADIUS, RADIUS) + RADIUS,
            minlength=(LEVELS + 1) * (2 * RADIUS + 1),
        )
        histogram = histogram.reshape(LEVELS + 1, -1)[1:]
        used, columns = np.flatnonzero(histogram.any(1)), np.flatnonzero(histogram.any(0))
        part = histogram[np.ix_(used, columns)]
        side = 0 if weights is common else WEIGHT_BITS * N_FEATURES

        def cost(
            shape: int,
            shift: int,
            used: Ints = used,
            columns: Ints = columns,
            part: Ints = part,
            side: int = side,
        ) -> float:
            rows = (used + shift).clip(0, LEVELS - 1) + 1
            return sample.weight * float((part * tables.bits[shape][np.ix_(rows, columns)]).sum()) + side

        own_weights = None if weights is common else weights
        shape = min(range(len(SHAPES)), key=lambda s: cost(s, 0))
        choices += [
            (cost(shape, shift), Context(weights=own_weights, shape=shape, shift=shift))
            for shift in range(-MAX_SHIFT, MAX_SHIFT + 1)
        ]
    return min(choices, key=lambda c: c[0])[1]


def levels_of(
    features: NDArray[np.uint16], weights: Ints, ladder: int, points: Ints, valid: NDArray[np.bool_]
) -> Ints:
    """Scale levels on a shifted ladder; 0 where nothing is coded."""
    levels = np.empty(len(features), np.int64)
    scale_levels(features, weights, thresholds(), ladder, points, valid, levels)
    return levels


def _robust(a: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Least squares in which steep places, and those that fit badly, weigh less."""
    weight = 1 / (1 + np.abs(a).mean(1).clip(max=300))
    w = _least_squares(a, y, weight)
    for _ in range(ITERATIONS - 1):
        residual = np.abs(residuals(a, y, w))
        w = _least_squares(a, y, weight / np.sqrt(1 + (residual / (3 * np.median(residual) + 0.3)) ** 2))
    return w


def _least_squares(
    a: NDArray[np.float64], y: NDArray[np.float64], weight: NDArray[np.float64]
) -> NDArray[np.float64]:
    gram, right = np.zeros((a.shape[1], a.shape[1])), np.zeros(a.shape[1])
    normal_equations(a, y, weight, gram, right)
    ridge = 1e-6 * np.trace(gram) / len(gram) + 1e-12
    solution: NDArray[np.float64] = np.linalg.solve(gram + ridge * np.eye(len(gram)), right)
    return solution


def _fit_magnitude(features: NDArray[np.uint16], symbols: NDArray[np.int32]) -> Ints:
    """Weights of E|q|, least squares of the relative error: the likelihood of a Laplace distribution asks for
    it.
    """
    a = features / (1 << FEATURE_BITS)
    y = np.abs(symbols).clip(max=100).astype(np.float64)
    mean = np.full(len(y), max(float(y.mean()) if len(y) else 0.0, 1e-3))
    w = np.zeros(N_FEATURES)
    for _ in range(ITERATIONS + 1):
        w = _least_squares(a, y, 1 / (mean + 0.05) ** 2)
        mean = np.maximum(y - residuals(a, y, w), 1e-3)
    return np.round(w * (1 << CONTEXT_BITS)).clip(-WEIGHT_LIMIT, WEIGHT_LIMIT).astype(np.int64)
