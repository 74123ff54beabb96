"""Stencils and contexts of a block as bytes (FORMAT.md, section "Field block", "Models")."""

from __future__ import annotations

import numpy as np

from tersor.codecs.dyadic import Ints, Plan
from tersor.codecs.dyadic_loops import N_FEATURES
from tersor.codecs.stencils import Context, Key
from tersor.container import ByteReader
from tersor.entropy.magnitude import MAX_SHIFT, SHAPES
from tersor.errors import BitstreamError


def _keys(plan: Plan) -> dict[Key, int]:
    """Keys in order of first use, with their number of taps."""
    return {p.key: p.n_taps for p in plan.passes}


def pack_models(plan: Plan, stencils: dict[Key, Ints], common: Ints, contexts: dict[Key, Context]) -> bytes:
    out = common.astype("<i2").tobytes()
    keys = _keys(plan)
    head, weights = bytearray(), bytearray()
    for key in keys:
        c = contexts[key]
        head.append((c.shape | (key in stencils) << 2 | (c.weights is not None) << 3) | (c.shift + MAX_SHIFT) << 4)
        for w in (stencils.get(key), c.weights):
            if w is not None:
                weights += w.astype("<i2").tobytes()
    return out + bytes(head) + bytes(weights)


def unpack_models(r: ByteReader, plan: Plan) -> tuple[dict[Key, Ints], Ints, dict[Key, Context]]:
    def take(n: int) -> Ints:
        return np.frombuffer(r.take(2 * n), "<i2").astype(np.int64)

    common = take(N_FEATURES)
    keys = _keys(plan)
    head = r.take(len(keys))
    stencils, contexts = {}, {}
    for (key, taps), h in zip(keys.items(), head, strict=True):
        if h >> 4 > 2 * MAX_SHIFT or (h & 3) >= len(SHAPES):
            raise BitstreamError(f"{r.name}: context {h:#x} is not one; the file is damaged")
        if h & 4:
            stencils[key] = take(taps)
        contexts[key] = Context(weights=take(N_FEATURES) if h & 8 else None, shape=h & 3, shift=(h >> 4) - MAX_SHIFT)
    return stencils, common, contexts
