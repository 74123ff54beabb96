"""Chunks of a file to a picture: whole, a region, or what damage has left of it.

    network chunk --> LatentCoder, Synthesis
    payloads of the tiles that a window touches --> int8 levels --> planes of windows --> samples of the region
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tersor import container
from tersor.codecs.alpha import decode_alpha
from tersor.codecs.image_overfit.header import WIRE_ID, OverfitHeader
from tersor.codecs.image_overfit.latents import LatentCoder, Latents
from tersor.codecs.image_overfit.layout import LEVELS, Box, level_size
from tersor.codecs.image_overfit.network_bytes import read_network
from tersor.codecs.image_overfit.synthesis import Synthesis, around
from tersor.codecs.parallel import side_by_side
from tersor.errors import BitstreamError, ChecksumError, SignalError
from tersor.signals import Image

PIECE = 1408  # samples are made in squares of this side where a picture is larger than WHOLE: memory
WHOLE = 2048
Region = tuple[int, int, int, int]


class Decoder:
    """One file on its way to a picture.

    Args:
        reader: the opened container.
        region: x, y, width, height in pixels, or all.
        salvage: fill damaged tiles with grey instead of failing.

    Raises:
        BitstreamError: header or network are damaged.
        SignalError: a region outside the picture.
    """

    def __init__(self, reader: container.Reader, region: Region | None, salvage: bool) -> None:
        if reader.codec != WIRE_ID:
            raise BitstreamError(f"the file's codec is {reader.codec}, not image-overfit ({WIRE_ID}); use tersor.decode")
        self.reader, self.salvage = reader, salvage
        self.header = h = OverfitHeader.unpack(reader.header, len(reader.chunk_lengths))
        x, y, width, height = _checked(region, h)
        self.box: Box = (y, x, y + height, x + width)
        fixed = read_network(reader.chunk(0), h.shape).fixed(h.shape)
        self.coder, self.synthesis = LatentCoder(fixed, h.shape), Synthesis(fixed, h.shape)
        self.tiles = h.tiling.touching(around(self.box, h.height, h.width))
        self.damaged: set[int] = set()
        self.latents: dict[int, list[Latents]] = {}

    def decode(self) -> Image:
        """The region's picture."""
        for t, levels in zip(self.tiles, side_by_side(self._tile, self.tiles), strict=True):
            if levels is None:
                self.damaged.add(t)
            else:
                self.latents[t] = levels
        top, left, bottom, right = self.box
        h = self.header
        samples = np.zeros((bottom - top, right - left, h.channels), np.uint16 if h.deep else np.uint8)
        step = PIECE if max(bottom - top, right - left) > WHOLE else WHOLE
        for y in range(top, bottom, step):
            for x in range(left, right, step):
                box = (y, x, min(y + step, bottom), min(x + step, right))
                samples[y - top : box[2] - top, x - left : box[3] - left, : h.shape.colours] = self._samples(box)
        self._fill(samples)
        if h.alpha:
            self._alpha(samples)
        notes = tuple(f"tile {t} is damaged and was filled" for t in sorted(self.damaged & self._shown()))
        return Image(samples=samples, metadata=self.reader.metadata, notes=notes)

    def _tile(self, tile: int) -> list[Latents] | None:
        """Levels of a tile; None if it is damaged and to be salvaged."""
        top, left, bottom, right = self.header.tiling.box(tile)
        name = f"chunk {1 + tile} (tile {tile})"
        try:
            return self.coder.decode(self.reader.chunk(1 + tile), (bottom - top, right - left), name)
        except BitstreamError as e:
            if self.salvage:
                return None
            if isinstance(e, ChecksumError):
                message = f"tile {tile} of {len(self.header.tiling)}: {e}; decode --salvage fills it and decodes the rest"
                raise ChecksumError(message) from e
            raise

    def _samples(self, box: Box) -> NDArray[Any]:
        """Colours of a box of pixels, [h, w, C]."""
        h = self.header
        window = around(box, h.height, h.width)
        height, width = window[2] - window[0], window[3] - window[1]
        planes = self._planes(window, height, width)
        out = self.synthesis.samples(planes, height, width, np.uint16 if h.deep else np.uint8)
        return out[box[0] - window[0] : box[2] - window[0], box[1] - window[1] : box[3] - window[1]]

    def _planes(self, window: Box, height: int, width: int) -> list[Latents]:
        """Latents of a window, level by level, from the tiles it touches; those of damaged tiles are 0."""
        h = self.header
        first = h.shape.first
        sizes = [(level_size(height, v), level_size(width, v)) for v in range(first, LEVELS)]
        planes = [np.zeros(s, np.int8) for s in sizes]
        for t in h.tiling.touching(window):
            if t not in self.latents:
                continue
            tile = h.tiling.box(t)
            for level, (plane, source) in enumerate(zip(planes, self.latents[t], strict=True), first):
                y, x = (tile[0] >> level) - (window[0] >> level), (tile[1] >> level) - (window[1] >> level)
                rows, columns = plane.shape
                a, b = max(0, y), min(rows, y + source.shape[0])
                c, d = max(0, x), min(columns, x + source.shape[1])
                plane[a:b, c:d] = source[a - y : b - y, c - x : d - x]
        return planes

    def _shown(self) -> set[int]:
        """Tiles with pixels in the region."""
        return set(self.header.tiling.touching(self.box))

    def _part(self, tile: int) -> tuple[Box, Box]:
        """The part of a tile inside the region, as it lies in the region and in the tile."""
        t, r = self.header.tiling.box(tile), self.box
        part = (max(t[0], r[0]), max(t[1], r[1]), min(t[2], r[2]), min(t[3], r[3]))
        return tuple(v - r[i % 2] for i, v in enumerate(part)), tuple(v - t[i % 2] for i, v in enumerate(part))  # type: ignore[return-value]

    def _fill(self, samples: NDArray[Any]) -> None:
        """Grey for damaged tiles."""
        for t in self.damaged & self._shown():
            (a, b, c, d), _ = self._part(t)
            samples[a:c, b:d, : self.header.shape.colours] = 0x8080 if self.header.deep else 0x80

    def _alpha(self, samples: NDArray[Any]) -> None:
        tiling, deep = self.header.tiling, self.header.deep
        for t in sorted(self._shown()):
            chunk = 1 + len(tiling) + t
            top, left, bottom, right = tiling.box(t)
            try:
                plane = decode_alpha(
                    self.reader.chunk(chunk), (bottom - top, right - left), deep, f"chunk {chunk} (alpha of tile {t})"
                )
            except BitstreamError:
                if not self.salvage:
                    raise
                self.damaged.add(t)
                plane = np.full((bottom - top, right - left), 65535 if deep else 255, samples.dtype)
            (a, b, c, d), (e, f, g, i) = self._part(t)
            samples[a:c, b:d, -1] = plane[e:g, f:i]


def _checked(region: Region | None, h: OverfitHeader) -> Region:
    if region is None:
        return 0, 0, h.width, h.height
    if len(region) != 4 or not all(isinstance(v, (int, np.integer)) for v in region):
        raise SignalError(f"region is {region!r}; it must be four whole numbers: x, y, width, height")
    x, y, w, height = region
    if x < 0 or y < 0 or w < 1 or height < 1 or x + w > h.width or y + height > h.height:
        raise SignalError(
            f"region {x},{y},{w},{height} does not lie inside the image of {h.width}x{h.height} pixels; give x,y,width,height"
        )
    return x, y, w, height
