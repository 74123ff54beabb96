"""Encoder side of a predicted block: quantise, fit, quantise again, code.

target --default stencils--> values --fit--> stencils --> values, symbols, features --fit--> contexts --> payload
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tersor.codecs import dyadic
from tersor.codecs.dyadic import Ints, Plan
from tersor.codecs.dyadic_loops import FRACTION_BITS, N_FEATURES, code_rows, sort_by_level
from tersor.codecs.field_cells import reconstruct, within
from tersor.codecs.field_models import pack_models
from tersor.codecs.field_sections import pack_low, pack_outliers, pack_side, pack_special, put_ints
from tersor.codecs.helpers import in_parts
from tersor.codecs.stencils import Coded, Key, fit_contexts, fit_stencils, levels_of
from tersor.entropy.coder import SymbolEncoder
from tersor.entropy.magnitude import LEVELS, magnitude_tables
from tersor.timing import stage

PREDICTED = 1
FRAMES, SNAP, SPECIALS, OUTLIERS, SHIFTED = 1, 2, 4, 8, 16
EXACT_SHARE = 0.25
SHIFT_ABOVE = 64.0
MAX_LOW_BITS = 24


class Trial:
    """A block predicted one way: fitted and quantised, not yet coded.

    Args:
        shape: of the block.
        target: float64 [cells], what the values should be, in units.
        valid: cells that count.
        frames: axis 0 is a sequence.
        snap: values lie on a lattice.

    Attributes:
        cost: proportional to bits, for comparison with other ways.
    """

    def __init__(self, shape: tuple[int, ...], target: NDArray[np.float64], valid: NDArray[np.bool_], frames: bool, snap: bool) -> None:
        self.valid, self.frames, self.snap = valid, frames, snap
        with stage("plan"):
            self.plan = dyadic.plan(shape, frames)
        with stage("prediction"):
            first = _quantise(self.plan, target, valid, {}, 0, snap, features=False)
        with stage("fitting"):
            self.stencils = fit_stencils(self.plan.passes, first, target, valid)
        with stage("prediction"):
            self.shift = 0
            self.coded = _quantise(self.plan, target, valid, self.stencils, 0, snap)
            sizes = np.abs(self.coded.symbols)
            self.cost = float(np.log2(sizes + np.float32(0.3)).sum(dtype=np.float64))
            mean = float(sizes.sum(dtype=np.float64)) / max(1, int(valid.sum()))
            if mean > SHIFT_ABOVE:
                self.shift = min(MAX_LOW_BITS, int(np.ceil(np.log2(mean / SHIFT_ABOVE))) + 2)
                self.coded = _quantise(self.plan, target, valid, self.stencils, self.shift, snap)

    def payload(self, flat: NDArray[Any], bound: float, offset: float, unit: float) -> bytes | None:
        """None if too many cells miss the bound."""
        valid, shift, coded, passes = self.valid, self.shift, self.coded, self.plan.passes
        rebuilt = reconstruct(coded.values, offset, unit, self.snap, flat.dtype)
        wrong = valid & ~within(flat, rebuilt, bound)
        if wrong.mean() > EXACT_SHARE:
            return None
        tables = magnitude_tables()
        with stage("fitting"):
            common, contexts = fit_contexts(passes, coded, valid, tables)
        with stage("coder"):
            encoder = SymbolEncoder(estimate=False)
            counts = np.empty(LEVELS + 1, np.int64)
            for p, (start, stop) in zip(passes, coded.spans, strict=True):
                context = contexts[p.key]
                weights = common if context.weights is None else context.weights
                levels = levels_of(coded.features[start:stop], weights, context.shift, coded.points[start:stop], valid)
                order = np.empty(p.count, np.int64)
                sort_by_level(levels, counts, order)
                encoder.push_sorted(coded.symbols[start:stop][order], counts, tables.shapes[context.shape])
            symbols = encoder.finish()
        flags = FRAMES * self.frames | SNAP * self.snap | SPECIALS * (not valid.all()) | OUTLIERS * bool(wrong.any()) | SHIFTED * bool(shift)
        side = struct.pack("<dd", offset, unit) + (bytes([shift]) if shift else b"")
        side += put_ints(coded.base) + pack_models(self.plan, self.stencils, common, contexts)
        if flags & SPECIALS:
            side += pack_special(flat, valid)
        if flags & OUTLIERS:
            side += pack_outliers(flat, wrong)
        return pack_side(PREDICTED, flags, side) + pack_low(coded.low, shift) + symbols


def _quantise(plan: Plan, target: NDArray[np.float64], valid: NDArray[np.bool_], stencils: dict[Key, Ints], shift: int, snap: bool, features: bool = True) -> Coded:
    """The closed loop; features are left out if they are not wanted."""
    values, q = np.zeros(target.size, np.int64), np.zeros(target.size, np.int32)
    one = 1 << FRACTION_BITS
    at = plan.base[valid[plan.base]]
    base = np.zeros(len(plan.base), np.int64)
    base[valid[plan.base]] = np.floor(target[at] / one + 0.5).astype(np.int64)
    values[plan.base] = base * one
    n = plan.count
    points, symbols, low = np.empty(n, np.int64), np.empty(n, np.int32), np.empty(n if shift else 0, np.int64)
    described = np.empty((n if features else 0, N_FEATURES), np.uint16)
    spans, stop = [], 0
    for p in plan.passes:
        start, stop = stop, stop + p.count
        spans.append((start, stop))
        stencil = dyadic.stencil_of(p, stencils)
        out = points[start:stop], symbols[start:stop], low[start:stop], described[start:stop]

        def rows(first: int, last: int, p: dyadic.Pass = p, stencil: Ints = stencil, out: tuple[Any, ...] = out) -> None:
            code_rows(values, q, *p.points, *p.taps, p.along, p.plane, p.key[2], stencil, shift, snap, first, last, target, valid, *out)

        in_parts(rows, p.rows, p.count)
    return Coded(values=values, base=base, points=points, symbols=symbols, low=low, features=described, spans=tuple(spans))
