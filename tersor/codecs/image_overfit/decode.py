"""Chunks of a file to a picture: whole, a region, or what damage has left of it.

network chunk --> LatentCoder, Synthesis
    payloads of the tiles that a band's window touches --> int8 levels --> planes --> samples of the band
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from tersor.arrays import Samples, sample_type
from tersor.codecs.alpha import decode_alpha
from tersor.codecs.assembly import Assembly
from tersor.codecs.image_overfit.header import OverfitHeader
from tersor.codecs.image_overfit.latents import LatentCoder, Latents
from tersor.codecs.image_overfit.layout import LEVELS, level_size
from tersor.codecs.image_overfit.network_bytes import read_network
from tersor.codecs.image_overfit.synthesis import Synthesis, around
from tersor.codecs.options import checked_region
from tersor.codecs.tiled import Box
from tersor.container import Reader
from tersor.signals import Image

WHOLE = 2048  # G: up to this side samples are made all at once; larger regions in squares of PIECE: memory
PIECE = 1408  # G


class Picture(Assembly[Image]):
    """One file on its way to a picture; a part is a band of rows of the region.

    Args:
        reader: the opened container.
        region: x, y, width, height in pixels, or None for all.

    Raises:
        BitstreamError: header or network are damaged.
        SignalError: a region outside the picture.
    """

    def __init__(self, reader: Reader, region: object) -> None:
        self.header = h = OverfitHeader.unpack(reader.header, len(reader.chunk_lengths))
        x, y, width, height = checked_region(region, h.width, h.height)
        self.box: Box = (y, x, y + height, x + width)
        self._step = WHOLE if max(height, width) <= WHOLE else PIECE
        super().__init__(reader, -(-height // self._step), (height, width, h.channels))
        fixed = read_network(reader.chunk(0), h.shape).fixed(h.shape)
        self._coder, self._synthesis = LatentCoder(fixed, h.shape), Synthesis(fixed, h.shape)
        self._latents: dict[int, list[Latents]] = {}
        self._alpha: dict[int, Samples] = {}
        self._dtype = sample_type(16 if h.deep else 8)

    def _band(self, part: int) -> Box:
        top, left, bottom, right = self.box
        y = top + part * self._step
        return y, left, min(y + self._step, bottom), right

    def needs(self, part: int) -> Iterable[int]:
        band, h = self._band(part), self.header
        tiles = h.tiling.touching(around(band, h.height, h.width))
        shown = h.tiling.touching(band) if h.alpha else []
        return [1 + t for t in tiles] + [1 + len(h.tiling) + t for t in shown]

    def called(self, chunk: int) -> str:
        if chunk == 0:
            return "chunk 0 (network)"
        kind, tile = divmod(chunk - 1, len(self.header.tiling))
        return f"{'alpha of ' * kind}tile {tile} of {len(self.header.tiling)}"

    def decode(self, chunk: int, payload: bytes) -> list[Latents] | Samples:
        """Levels of a tile, or its alpha plane; changes nothing, so that threads share the work."""
        kind, tile = divmod(chunk - 1, len(self.header.tiling))
        top, left, bottom, right = self.header.tiling.box(tile)
        size, name = (bottom - top, right - left), f"chunk {chunk} ({self.called(chunk)})"
        return (
            decode_alpha(payload, size, self.header.deep, name)
            if kind
            else self._coder.decode(payload, size, name)
        )

    def place(self, chunk: int, x: Any) -> None:
        kind, tile = divmod(chunk - 1, len(self.header.tiling))
        (self._alpha if kind else self._latents)[tile] = x

    def fill(self, chunk: int) -> None:
        """Grey colours, where `piece` finds no latents; opaque alpha."""
        kind, tile = divmod(chunk - 1, len(self.header.tiling))
        if kind:
            top, left, bottom, right = self.header.tiling.box(tile)
            self._alpha[tile] = np.full((bottom - top, right - left), np.iinfo(self._dtype).max, self._dtype)

    def piece(self, part: int) -> Samples:
        band, h = self._band(part), self.header
        top, left, bottom, right = band
        out = np.zeros((bottom - top, right - left, h.channels), self._dtype)
        colours = out[..., : h.shape.colours]
        for x in range(left, right, self._step):
            box = (top, x, bottom, min(x + self._step, right))
            colours[:, x - left : box[3] - left] = self._samples(box)
        for t in h.tiling.touching(band):
            to, source = _overlap(band, h.tiling.box(t))
            if t not in self._latents:
                colours[to] = 0x8080 if h.deep else 0x80
            if h.alpha:
                out[..., -1][to] = self._alpha[t][source]
        self._forget_above(bottom)
        return out

    def _forget_above(self, row: int) -> None:
        """Drop tiles that no later band can see."""
        top = around((row, 0, row + 1, 1), self.header.height + 1, self.header.width)[0]
        for held in (self._latents, self._alpha):
            for t in [t for t in held if self.header.tiling.box(t)[2] <= top]:
                del held[t]

    def _samples(self, box: Box) -> Samples:
        """Colours of a box of pixels, [h, w, C]."""
        window = around(box, self.header.height, self.header.width)
        height, width = window[2] - window[0], window[3] - window[1]
        out = self._synthesis.samples(self._planes(window), height, width, self._dtype)
        return out[box[0] - window[0] : box[2] - window[0], box[1] - window[1] : box[3] - window[1]]

    def _planes(self, window: Box) -> list[Latents]:
        """Latents of a window, level by level, from the tiles it touches; those of damaged tiles are 0."""
        tiling, planes = self.header.tiling, []
        for i, level in enumerate(range(self.header.shape.first, LEVELS)):
            at = _at_level(window, level)
            plane = np.zeros((at[2] - at[0], at[3] - at[1]), np.int8)
            for t in tiling.touching(window):
                if t in self._latents:
                    to, source = _overlap(at, _at_level(tiling.box(t), level))
                    plane[to] = self._latents[t][i][source]
            planes.append(plane)
        return planes

    def finish(self) -> Image:
        return Image(samples=self.whole(), metadata=self.reader.metadata, notes=self.notes())


def _at_level(box: Box, level: int) -> Box:
    """Latents of a box that begins on whole ones."""
    top, left = box[0] >> level, box[1] >> level
    return top, left, top + level_size(box[2] - box[0], level), left + level_size(box[3] - box[1], level)


def _overlap(a: Box, b: Box) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Where two boxes overlap, as slices of each."""
    top, left, bottom, right = max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])
    return tuple((slice(top - v[0], bottom - v[0]), slice(left - v[1], right - v[1])) for v in (a, b))  # type: ignore[return-value]
