"""One image file on its way through the decoder: which tiles it needs, their latents, a row of samples."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tersor.arrays import Samples
from tersor.codecs.alpha import decode_alpha
from tersor.codecs.assembly import Assembly
from tersor.codecs.image.header import ImageHeader
from tersor.codecs.image.options import ImageDecodeOptions
from tersor.codecs.image.pixels import EXACT, JPEG
from tersor.codecs.image.tiles import PATCH, Rect, Window
from tersor.codecs.options import checked_region
from tersor.container import Reader
from tersor.errors import BitstreamError, WeightsError
from tersor.models.image_weights import load_image_model
from tersor.signals import Image

PLAIN = 1  # F, kind of a tile: latents that are shown without the filter


@dataclass(frozen=True, slots=True)
class DecodedTile:
    """A tile on its way to its place.

    Attributes:
        plain: shown without the filter.
        y_hat: its latents, int32 [M, h, w], Q8; of samples, what analysis makes of them.
        samples: uint8 [h, w, C] of a tile that has no latents of its own.
    """

    plain: bool
    y_hat: Tensor
    samples: NDArray[np.uint8] | None = None


class ImageAssembly(Assembly[Image]):
    """One file; a part is a row of tiles, of the region that was asked for.

    Raises:
        BitstreamError: not an image header. WeightsError: its weights are not installed.
        SignalError: a region outside the image.
    """

    def __init__(self, reader: Reader, options: ImageDecodeOptions, device: str) -> None:
        self.header = h = ImageHeader.unpack(reader.header, len(reader.chunk_lengths))
        self.released = load_image_model(h.digest, device)
        if self.released.version != h.model:
            raise WeightsError(
                f"the file needs image model {h.model}, but its digest is that of {self.released.name}; "
                "it is damaged"
            )
        x, y, w, height = checked_region(options.get("region"), h.width, h.height)
        self._wanted = Rect(y, x, y + height, x + w)
        self._target = Rect(y // PATCH, x // PATCH, -(-(y + height) // PATCH), -(-(x + w) // PATCH))
        self._rows: dict[int, list[int]] = {}
        for t in h.grid.touching(self._target.scaled(PATCH)):
            self._rows.setdefault(t // h.grid.columns, []).append(t)
        self._first = min(self._rows)
        self._device = device
        self._halo = self.released.model.config.synthesis_halo
        self._latents: dict[int, Tensor] = {}
        self._alpha: dict[int, Samples] = {}
        self.plain: set[int] = set()
        self.samples: dict[int, NDArray[np.uint8]] = {}
        self._row: Samples | None = None
        super().__init__(reader, len(self._rows), (height, w, h.channels))

    def is_alpha(self, chunk: int) -> bool:
        return chunk >= len(self.header.grid)

    def windows(self, image: int, part: int) -> list[Window]:
        """What synthesis makes of a part; `image` is the number of this file in its call."""
        grid, out = self.header.grid, []
        for t in self._rows[self._first + part]:
            if inner := grid.rect(t).overlap(self._target):
                outer = inner.grown(self._halo, grid.whole)
                out.append(Window(image=image, tile=t, inner=inner, outer=outer))
        return out

    def needs(self, part: int) -> list[int]:
        grid = self.header.grid
        tiles = sorted({t for w in self.windows(0, part) for t in grid.touching(w.outer.scaled(PATCH))})
        alpha = [len(grid) + t for t in self._rows[self._first + part]] if self.header.alpha else []
        return tiles + alpha

    def place(self, chunk: int, x: DecodedTile | Samples) -> None:
        if isinstance(x, np.ndarray):
            self._alpha[chunk - len(self.header.grid)] = x
            return
        self._latents[chunk] = x.y_hat
        if x.plain:
            self.plain.add(chunk)
        if x.samples is not None:
            self.samples[chunk] = x.samples

    def fill(self, chunk: int) -> None:
        """Grey, and opaque: latents that are not there are 0, alpha that is not there is full."""

    def called(self, chunk: int) -> str:
        tiles = len(self.header.grid)
        return f"alpha of tile {chunk - tiles}" if self.is_alpha(chunk) else f"tile {chunk}"

    def plane(self, chunk: int, payload: bytes) -> Samples:
        """The alpha plane of a tile."""
        area = self.pixels_of(chunk - len(self.header.grid))
        return decode_alpha(
            payload, (area.height, area.width), self.header.deep, f"chunk {chunk} ({self.called(chunk)})"
        )

    def gather(self, rect: Rect) -> Tensor:
        """Latents of any rectangle from the tiles decoded; damaged ones are 0."""
        channels = self.released.model.config.latent
        y_hat = torch.zeros((channels, rect.height, rect.width), dtype=torch.int32, device=self._device)
        for t in self.header.grid.touching(rect.scaled(PATCH)):
            tile = self.header.grid.rect(t)
            part = tile.overlap(rect)
            if part is None or t not in self._latents:
                continue
            to, source = part.relative_to(rect).slices(), part.relative_to(tile).slices()
            y_hat[(slice(None), *to)] = self._latents[t][(slice(None), *source)]
        return y_hat

    def paint(self, part: int, inner: Rect, pixels: NDArray[np.float32]) -> None:
        """Round and store the pixels of a window's inner part, cut to the region."""
        row = self._rect_of(part)
        area = inner.scaled(PATCH)
        common = area.overlap(row)
        if common is None:
            return
        values = pixels[common.relative_to(area).slices()].clip(0, 255)
        if not self.header.colour:
            values = values.mean(2, keepdims=True)
        to_rows, to_columns = common.relative_to(row).slices()
        colours = self.row(part)[to_rows, to_columns, : self.colours]
        colours[:] = np.rint(values * 257 if self.header.deep else values)

    def row(self, part: int) -> Samples:
        """Room for the samples of a part."""
        if self._row is None:
            rect, dtype = self._rect_of(part), np.uint16 if self.header.deep else np.uint8
            self._row = np.zeros((rect.height, rect.width, self.header.channels), dtype)
        return self._row

    @property
    def colours(self) -> int:
        """Channels without alpha."""
        return 3 if self.header.colour else 1

    def piece(self, part: int) -> Samples:
        samples, self._row = self.row(part), None
        row, tiles = self._rect_of(part), self._rows[self._first + part]
        grey, opaque = (0x8080, 65535) if self.header.deep else (0x80, 255)
        damaged = set(self.damaged)
        for t in tiles:
            area = self.pixels_of(t)
            common = area.overlap(row)
            if common is None:
                continue
            to, source = common.relative_to(row).slices(), common.relative_to(area).slices()
            if t in damaged:
                samples[to] = grey
            if (kept := self.samples.pop(t, None)) is not None:
                samples[to][..., : self.colours] = kept[source]
            if self.header.alpha:
                plane = self._alpha.pop(t, None)
                samples[..., -1][to] = opaque if plane is None else plane[source]
        self._forget_before(self._first + part)
        return samples

    def _forget_before(self, row: int) -> None:
        """Drop latents that no later row of tiles can see."""
        columns = self.header.grid.columns
        reach = -(-self._halo * PATCH // self.header.tile)
        for t in [t for t in self._latents if t // columns < row + 1 - reach]:
            del self._latents[t]

    def finish(self) -> Image:
        return Image(samples=self.whole(), metadata=self.reader.metadata, notes=self.notes())

    def _rect_of(self, part: int) -> Rect:
        """Pixels of the region that a part gives."""
        top = (self._first + part) * self.header.tile
        rows = Rect(top, self._wanted.left, top + self.header.tile, self._wanted.right)
        rect = rows.overlap(self._wanted)
        assert rect is not None
        return rect

    def pixels_of(self, tile: int) -> Rect:
        """Pixels of a tile that exist."""
        p = self.header.grid.rect(tile).scaled(PATCH)
        return Rect(p.top, p.left, min(p.bottom, self.header.height), min(p.right, self.header.width))


def split_payload(payload: bytes, chunk: int, deep: bool) -> tuple[int, bytes]:
    """The kind of a tile, and its code.

    Raises:
        BitstreamError: a kind that there is not.
    """
    allowed = (0, PLAIN) if deep else (0, PLAIN, EXACT, JPEG)
    if payload[:1] not in (bytes([kind]) for kind in allowed):
        raise BitstreamError(
            f"chunk {chunk} (tile {chunk}): it begins with {payload[:1].hex() or 'nothing'}, "
            f"allowed are {', '.join(f'{kind:02x}' for kind in allowed)}; the file is damaged",
            section=f"chunk {chunk}",
            chunk=chunk,
            offset=0,
        )
    return payload[0], payload[1:]
