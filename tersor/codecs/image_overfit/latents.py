"""Latents of a tile to its payload and back.

    payload = one byte, bit i set: level first + i holds something else than zeros | rANS words, 32 bits
    little endian

Levels are coded coarse to fine in one stream; those of zeros alone are left out, and cost no time either.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tersor.codecs.image_overfit import latent_loops as loops
from tersor.codecs.image_overfit.laplace import tables
from tersor.codecs.image_overfit.layout import Grids
from tersor.codecs.image_overfit.network import REACH, Shape
from tersor.codecs.image_overfit.pair_sums import paired
from tersor.errors import BitstreamError, TruncatedError

Latents = NDArray[np.int8]


class LatentCoder:
    """Codes tiles with one network.

    Args:
        fixed: the networks in fixed point.
        shape: of the networks.
    """

    def __init__(self, fixed: dict[str, NDArray[np.int32]], shape: Shape) -> None:
        self.shape = shape
        self._wf, self._bf = fixed["wf"], fixed["bf"]
        weights = {k: paired(fixed[k]) for k in ("w3", "s")}
        one = 256 * np.eye(shape.width, dtype=np.int32)
        weights |= {k: paired(fixed[k] + one) for k in ("w1", "w2")}
        half = {k: fixed[k] + 128 for k in ("b1", "b2")} | {"b3": np.zeros(4, np.int32)}
        half["b3"][:2] = fixed["b3"] + 128
        self._net = loops.EntropyNet(**weights, **half)

    @cached_property
    def _reach(self) -> NDArray[np.int64]:
        return np.array(REACH[: self.shape.around], np.int64)

    def encode(self, levels: list[Latents]) -> bytes:
        """Payload of a tile; levels: int8 [h, w], fine to coarse, -127..127."""
        kept = sum(1 << i for i, v in enumerate(levels) if v.any())
        parts = []
        for i in reversed(range(len(levels))):
            if kept >> i & 1:
                symbols = np.zeros((2 * levels[i].size, 2), np.uint32)
                self._level(levels, i, np.zeros(2, np.uint64), np.zeros(0, np.uint32), symbols, False)
                parts.append(symbols)
        everything = np.concatenate(parts) if parts else np.zeros((0, 2), np.uint32)
        words = np.zeros(len(everything) + 2, np.uint32)
        at = loops.push_all(everything, len(everything), words)
        return bytes([kept]) + (words[at:].astype("<u4").tobytes() if parts else b"")

    def decode(self, payload: bytes, size: tuple[int, int], name: str) -> list[Latents]:
        """Levels of a tile of `size` (height, width) pixels, fine to coarse.

        Raises:
            BitstreamError: the payload is not one.
        """
        grids = Grids([size], self.shape.first)
        levels = [np.zeros((int(h), int(w)), np.int8) for h, w in zip(grids.height, grids.width, strict=True)]
        if not payload or payload[0] >> len(levels):
            raise BitstreamError(
                f"{name}: it begins with {payload[:1].hex() or 'nothing'}, which is no set of levels; "
                "the file is damaged"
            )
        kept, code = payload[0], payload[1:]
        if not kept and not code:
            return levels
        if len(code) < 8 or len(code) % 4:
            raise TruncatedError(
                f"{name}: {len(code)} bytes of code; needed are 8 or more, in fours; the file is damaged"
            )
        words = np.frombuffer(code, "<u4").astype(np.uint32)
        state = np.array([int(words[0]) << 32 | int(words[1]), 2], np.uint64)
        fine = state[0] >= loops.LOW
        for i in reversed(range(len(levels))):
            if fine and kept >> i & 1:
                fine = self._level(levels, i, state, words, np.zeros((0, 2), np.uint32), True)
        if not fine or state[0] != loops.LOW or state[1] != len(words):
            raise BitstreamError(
                f"{name}: the code of its latents is damaged, or was written with another network"
            )
        return levels

    def _level(
        self, levels: list[Latents], i: int, state: Any, words: Any, symbols: Any, decoding: bool
    ) -> bool:
        ok: bool = loops.code_level(
            levels[i],
            self._features(levels, i),
            self._reach,
            self._net,
            tables(),
            state,
            words,
            symbols,
            decoding,
        )
        return ok

    def _features(self, levels: list[Latents], i: int) -> NDArray[np.int16]:
        """int16 [ceil(h / 2), ceil(w / 2), F], from all coarser levels."""
        wf, bf = self._wf, self._bf[i]
        sizes = np.array([v.size for v in levels[i:]])
        flat = np.concatenate([v.ravel() for v in levels[i:]])
        offset = np.concatenate([[0], np.cumsum(sizes)[:-1]])
        width = np.array([v.shape[1] for v in levels[i:]], np.int64)
        height = np.array([v.shape[0] for v in levels[i:]], np.int64)
        h, w = levels[i].shape
        out = np.zeros(((h + 1) // 2, (w + 1) // 2, len(bf)), np.int16)
        weights = wf[i] if i < len(wf) else np.zeros((len(bf), 0), np.int32)
        loops.features(flat, offset, height, width, weights, bf, out)
        return out
