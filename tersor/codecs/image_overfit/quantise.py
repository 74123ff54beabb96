"""Networks to integers at the least cost: steps by group, then every single parameter.

    for each group, in an order: the step 2^-e with the smallest loss + lambda bits / pixels; it is frozen,
        the others learn on (encode.py calls `freeze_group` between iterations)
    at the end: every integer one nearer to zero where that pays, on a sample of blocks or rows

Latents stay as they are. The entropy network decides bits alone, the synthesis the error alone, so each is
measured alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tersor.codecs.image_overfit.fit import Fit
from tersor.codecs.image_overfit.frozen import (
    BITS,
    GROUPS,
    HIDDEN_LIMIT,
    STEP_MAX,
    TAPS,
    Quantised,
    used,
    zero_of,
)
from tersor.codecs.image_overfit.network import ENTROPY, Floats, Parameters
from tersor.codecs.image_overfit.network_loops import CONTEXTS, code_values
from tersor.entropy.binary import new_io

Group = tuple[str, ...]
# G: what is frozen together; later groups make up for the rounding of earlier ones
STAGES: tuple[tuple[Group, ...], ...] = (
    (("wf",), ("k",)),
    (("w1", "w2"), ("v1",)),
    (("c1",), ("k1", "k2")),
    (("w3", "s"), ("v2",), ("t",)),
    (("bf", "b1", "b2", "b3"), ("c2", "d1", "d2")),
)
PATIENCE = 2  # G: coarser steps tried after the best one
STEP_SAMPLE, SAMPLE = 1 << 20, 1 << 17  # G: steps, and parameters, are judged on about so many pixels
HIDDEN_ROOM = 0.5  # G: of the limit of hidden channels, that those seen may take
LARGEST = 1 << 14  # F: of an integer; larger ones are cut


def code_bits(values: list[NDArray[np.int32]]) -> float:
    """Bits of a group in the network chunk."""
    buffer = np.zeros(64 + 8 * sum(v.size for v in values), np.uint8)
    io, counts = new_io(False), np.zeros((CONTEXTS, 2), np.int64)
    for v in values:
        code_values(io, buffer, v, counts)
    return float(8 * io[3] + 32 - np.log2(io[1] - io[0] + 1))


def price(parameters: Parameters, gradients: Parameters, factor: float) -> None:
    """Add the gradient of factor x the bits that the networks will take: a group's adaptive code costs about
    log2 of its mean magnitude a value.
    """
    for group in GROUPS:
        apart = {n: parameters[n] - zero_of(n, parameters[n].shape) for n in group}
        mean = sum(np.abs(v).sum() for v in apart.values()) / sum(v.size for v in apart.values())
        slope = np.float32(factor / (0.6931 * max(float(mean), 1e-3)))
        for n, v in apart.items():
            gradients[n] += slope * np.sign(v).astype(np.float32)


def balance(fit: Fit) -> None:
    """Scale hidden channels of the synthesis that come near the decoder's limit; the picture stays: a ReLU's
    inputs by s, its outputs by 1 / s.
    """
    fit.evaluate()
    p, z = fit.parameters, fit.stack[0].reshape(len(fit.stack[0]), -1)
    sampled = z[: fit.shape.levels, :: max(1, fit.pixels >> 18)]
    peak = (p["v1"] @ sampled + p["c1"][:, None]).max(1)
    scale = np.minimum(1, HIDDEN_ROOM * HIDDEN_LIMIT / (1 << BITS["v1"]) / np.maximum(peak, 1e-9))
    p["v1"] *= scale[:, None].astype(np.float32)
    p["c1"] *= scale.astype(np.float32)
    p["v2"] /= scale.astype(np.float32)


class Freezer:
    """Turns the networks of a fit into integers, group by group.

    Args:
        fit: its parameters are replaced by what the integers stand for; q must hold the rounded latents.
        lam: of the loss.
    """

    def __init__(self, fit: Fit, lam: float) -> None:
        self.fit, self.lam = fit, lam
        self.values: dict[str, NDArray[np.int32]] = {}
        self.steps: dict[Group, int] = {}
        self._masks = {n: used(n, fit.shape) for g in GROUPS for n in g}

    @property
    def frozen(self) -> set[str]:
        """Tensors that are integers already."""
        return set(self.values)

    def quantised(self) -> Quantised:
        """All networks, when every group is frozen."""
        return Quantised({n: self.values[n] for g in GROUPS for n in g}, {g: self.steps[g] for g in GROUPS})

    def _loss(self, group: Group, every: int = 1) -> float:
        """The part of the loss that a group decides."""
        if group[0] in ENTROPY:
            return self.lam * every * float(self.fit.rate(every).sum()) / self.fit.pixels
        return self.fit.distortion(upsample=group == ("k",) or every == 1, every=every)

    def _integers(self, name: str, source: Floats, e: int) -> NDArray[np.int32]:
        zero = np.array(TAPS) / 1024 if name == "k" else 0
        n = np.rint((source.astype(np.float64) - zero) * (1 << e)).clip(-LARGEST, LARGEST).astype(np.int32)
        return np.asarray(n * self._masks[name], np.int32)

    def _floats(self, name: str, n: NDArray[np.int32], e: int) -> Floats:
        zero = np.array(TAPS) / 1024 if name == "k" else 0
        return (n / (1 << e) + zero).astype(np.float32)

    def _bits(self, values: dict[str, NDArray[np.int32]]) -> float:
        return code_bits([v[self._masks[n]] for n, v in values.items()])

    def freeze_group(self, group: Group) -> None:
        """Choose the group's step, from fine to coarse, and freeze it."""
        source = {n: self.fit.parameters[n] for n in group}
        every = max(1, round(self.fit.pixels / STEP_SAMPLE))
        if every > 1:
            self._loss(group)  # planes outside the sample
        best: tuple[float, int, dict[str, Any]] | None = None
        for e in range(STEP_MAX[group], -1, -1):
            values = {n: self._integers(n, v, e) for n, v in source.items()}
            self.fit.parameters.update({n: self._floats(n, v, e) for n, v in values.items()})
            loss = self._loss(group, every) + self.lam * self._bits(values) / self.fit.pixels
            if best is None or loss < best[0]:
                best = loss, e, values
            elif e < best[1] - PATIENCE:
                break
        assert best is not None
        _, e, values = best
        self.steps[group] = e
        self.values.update(values)
        self.fit.parameters.update({n: self._floats(n, v, e) for n, v in values.items()})

    def refine(self, group: Group) -> int:
        """Move single integers of a frozen group towards zero where the loss falls; -> how many moved."""
        e, moved = self.steps[group], 0
        every = max(1, round(self.fit.pixels / SAMPLE))
        values = {n: self.values[n] for n in group}
        self._loss(group)  # planes and rows outside the sample
        best = self._loss(group, every) + self.lam * self._bits(values) / self.fit.pixels
        for name in group:
            n = values[name]
            for i in np.flatnonzero(n):
                old = int(n.flat[i])
                n.flat[i] = old - (1 if old > 0 else -1)
                self.fit.parameters[name] = self._floats(name, n, e)
                loss = self._loss(group, every) + self.lam * self._bits(values) / self.fit.pixels
                if loss < best:
                    best, moved = loss, moved + 1
                else:
                    n.flat[i] = old
            self.fit.parameters[name] = self._floats(name, n, e)
        return moved


assert {g for stage in STAGES for g in stage} == set(GROUPS)
assert set(BITS) == {n for g in GROUPS for n in g}
