"""What the passes of a nested block are predicted and coded with, and its bytes (FORMAT.md, "Nested
block").
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tersor.codecs.field.nested import Floats, Ints, Plan
from tersor.codecs.field.nested_fit_loops import STENCIL_LIMIT, cubic
from tersor.codecs.field.nested_loops import MAX_TAPS, N_FEATURES
from tersor.container import ByteReader
from tersor.errors import BitstreamError


@dataclass(slots=True, kw_only=True)
class Models:
    """What passes are predicted and coded with.

    Attributes:
        stencils: float64 [keys, MAX_TAPS], whole numbers in Q12.
        weights: float64 [keys, N_FEATURES], whole numbers in Q20: expected |q| a feature.
        heads: int64 [keys, 2]: where the stencil comes from (0 cubic, 1 the parent's, 2 the frame before, 3
            what the frame before adds to its own neighbours, 4 its own; -1: not known yet), and the weights
            (0 the parent's, 1 their own).
    """

    stencils: Floats
    weights: Floats
    heads: Ints

    @classmethod
    def of(cls, p: Plan, snap: bool) -> Models:
        keys = len(p.points)
        models = cls(
            stencils=np.zeros((keys, MAX_TAPS)),
            weights=np.zeros((keys, N_FEATURES)),
            heads=np.full((keys, 2), -1, np.int64),
        )
        models.weights[:] = preset(snap)
        return models


OF_SIZES, OF_CONSTANT = 32, 32  # F: a step of a weight in a file, of |q| and of the constant


def units(snap: bool) -> Floats:
    """What a step of each weight in a file is worth in Q20; rough features count in bins or in 1/64."""
    rough = 64.0 if snap else 1.0
    return np.array(
        [OF_CONSTANT, OF_SIZES, OF_SIZES, rough, rough, rough, rough, OF_SIZES, rough, OF_SIZES], np.float64
    )


def caps(snap: bool) -> tuple[float, float]:
    """Where rough features and small ones end."""
    one = 1.0 if snap else 64.0
    return one * 4096, one * 4


PRESET = (1000, 7000, 1000, 20, 10, 5, 3, 1500, 3, 3000)  # F


def preset(snap: bool) -> Floats:
    """Weights of contexts where nothing was fitted."""
    return np.array(PRESET, np.float64) * units(snap)


def settle(models: Models, p: Plan, snap: bool) -> None:
    """As a decoder will know them."""
    packed = pack_models(models, p, snap)
    same = unpack_models(ByteReader(packed, "models"), p, snap)
    models.stencils[:], models.weights[:], models.heads[:] = same.stencils, same.weights, same.heads


def _taps(p: Plan) -> list[tuple[int, int]]:
    """Taps of each key: how many before those of frames, and in all."""
    active = int((p.g[:4] > 1).sum())
    known = 4 + 4 * (active - 1)
    out = []
    seen = len(p.points) // 2 if p.frames > 1 else len(p.points)  # keys of the first frame come first
    for key in range(len(p.points)):
        plane = known + (2 * active if key % 2 else 0)
        out.append((plane, plane + 6 if key >= seen else plane))
    return out


def pack_models(models: Models, p: Plan, snap: bool) -> bytes:
    """A byte a key (stencil in bits 0-2, own weights in bit 3), then what keys have of their own, i16."""
    head, numbers = bytearray(), bytearray()
    steps = units(snap)
    for key, (_, taps) in enumerate(_taps(p)):
        stencil, own = (max(0, int(v)) for v in models.heads[key])
        if models.heads[key, 0] < 0:
            stencil = int(p.parents[key] >= 0)
        head.append(stencil | own << 3)
        if stencil == 4:
            numbers += models.stencils[key, :taps].astype("<i2").tobytes()
        if own:
            numbers += np.rint(models.weights[key] / steps).astype("<i2").tobytes()
    return bytes(head) + bytes(numbers)


def unpack_models(r: ByteReader, p: Plan, snap: bool) -> Models:
    """Models of a plan.

    Raises:
        BitstreamError: models that no encoder writes.
    """
    models = Models.of(p, snap)
    steps = units(snap)
    head = r.take(len(p.points))
    for key, ((plane, taps), h) in enumerate(zip(_taps(p), head, strict=True)):
        stencil, parent = h & 7, int(p.parents[key])
        row = models.stencils[key]
        if stencil == 0:
            cubic(row)
        elif stencil == 1 and parent >= 0:
            row[:] = models.stencils[parent]
        elif stencil in (2, 3) and taps > plane:
            row[plane] = 4096
            if stencil == 3:
                row[0] = row[1] = 2048
                row[plane + 1] = row[plane + 2] = -2048
        elif stencil == 4:
            row[:taps] = np.frombuffer(r.take(2 * taps), "<i2")
            if np.abs(row).sum() >= STENCIL_LIMIT:
                raise BitstreamError(
                    f"{r.name}: a stencil with weights of {np.abs(row).sum():g}; it is damaged"
                )
        else:
            raise BitstreamError(
                f"{r.name}: models {h:#x} are none of this version; the file is damaged or newer"
            )
        if h & 8:
            models.weights[key] = np.frombuffer(r.take(2 * N_FEATURES), "<i2") * steps
        elif parent >= 0:
            models.weights[key] = models.weights[parent]
        models.heads[key] = stencil, h >> 3 & 1
        if h >> 4:
            raise BitstreamError(
                f"{r.name}: models {h:#x} are none of this version; the file is damaged or newer"
            )
    return models
