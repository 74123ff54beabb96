"""One image file on its way through the decoder: which tiles it needs, their latents, the samples so far."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tersor import container
from tersor.codecs.image.alpha import decode_alpha
from tersor.codecs.image.header import WIRE_ID, ImageHeader
from tersor.codecs.image.tiles import PATCH, Rect, Window
from tersor.errors import BitstreamError, ChecksumError, SignalError, WeightsError
from tersor.models.image_weights import load_image_model
from tersor.signals import Image


class DecodeJob:
    """One file on its way to an image."""

    def __init__(
        self,
        reader: container.Reader,
        region: tuple[int, int, int, int] | None = None,
        salvage: bool = False,
        device: str = "cpu",
    ) -> None:
        if reader.codec != WIRE_ID:
            raise BitstreamError(
                f"the file's codec is {reader.codec}, not the image codec ({WIRE_ID}); use tersor.decode"
            )
        self.reader = reader
        self.header = h = ImageHeader.unpack(reader.header, len(reader.chunk_lengths))
        self.released = load_image_model(h.digest, device)
        if self.released.version != h.model:
            raise WeightsError(
                f"the file needs image model {h.model}, but its digest is that of {self.released.name}; "
                "it is damaged"
            )
        self.halo = self.released.model.config.synthesis_halo
        grid = h.grid
        self.region = _checked_region(region, h)
        x, y, w, height = self.region
        self.target = Rect(y // PATCH, x // PATCH, -(-(y + height) // PATCH), -(-(x + w) // PATCH))
        self.tiles = grid.touching(self.target)
        self.tiles_of_row: dict[int, list[int]] = {}
        for t in self.tiles:
            self.tiles_of_row.setdefault(t // grid.columns, []).append(t)
        self.salvage = salvage
        self.damaged: list[int] = []
        self.latents: dict[int, Tensor] = {}
        self.plain: set[int] = set()
        dtype = np.uint16 if h.deep else np.uint8
        self.samples = np.zeros((height, w, h.channels), dtype)

    @property
    def last_row(self) -> int:
        return self.tiles[-1] // self.header.grid.columns

    def windows(self, image: int, row: int) -> list[Window]:
        grid = self.header.grid
        out = []
        for t in self.tiles_of_row.get(row, ()):
            if inner := grid.rect(t).overlap(self.target):
                out.append(Window(image=image, tile=t, inner=inner, outer=inner.grown(self.halo, grid.whole)))
        return out

    def payload(self, tile: int) -> bytes | None:
        """The tile's code; None if it is damaged and to be salvaged. Notes whether it is decoded without the
        filter.
        """
        try:
            chunk = self.reader.chunk(tile)
            if chunk[:1] not in (b"\0", b"\1"):
                raise BitstreamError(
                    f"chunk {tile} (tile {tile}): it begins with {chunk[:1].hex() or 'nothing'}, "
                    "allowed are 00 and 01; the file is damaged"
                )
            if chunk[0]:
                self.plain.add(tile)
            return chunk[1:]
        except ChecksumError as e:
            if not self.salvage:
                raise ChecksumError(
                    f"tile {tile} of {len(self.header.grid)}: {e}; "
                    "decode --salvage fills it and decodes the rest"
                ) from e
            if tile not in self.damaged:
                self.damaged.append(tile)
            return None

    def gather(self, rect: Rect, device: str, channels: int) -> Tensor:
        """Latents of any rectangle from the tiles decoded; damaged ones are 0."""
        y_hat = torch.zeros((channels, rect.height, rect.width), dtype=torch.int32, device=device)
        for t in self.header.grid.touching(rect):
            tile = self.header.grid.rect(t)
            part = tile.overlap(rect)
            if part is None or t not in self.latents:
                continue
            to, source = (
                (slice(None), *part.relative_to(rect).slices()),
                (slice(None), *part.relative_to(tile).slices()),
            )
            y_hat[to] = self.latents[t][source]
        return y_hat

    def place(self, inner: Rect, pixels: NDArray[np.float32]) -> None:
        """Round and store the pixels of a window's inner part, cut to the region."""
        x, y, w, height = self.region
        wanted = Rect(y, x, y + height, x + w)
        area = inner.scaled(PATCH)
        part = area.overlap(wanted)
        if part is None:
            return
        rows, columns = part.relative_to(area).slices()
        values = pixels[rows, columns].clip(0, 255)
        if not self.header.colour:
            values = values.mean(2, keepdims=True)
        to_rows, to_columns = part.relative_to(wanted).slices()
        colour = 3 if self.header.colour else 1
        self.samples[to_rows, to_columns, :colour] = np.rint(values * 257 if self.header.deep else values)

    def forget_before(self, row: int) -> None:
        """Drop latents that no later row of tiles can see."""
        columns = self.header.grid.columns
        reach = -(-self.halo * PATCH // self.header.tile)
        for t in [t for t in self.latents if t // columns < row + 1 - reach]:
            del self.latents[t]

    def finish(self) -> Image:
        h = self.header
        x, y, w, height = self.region
        wanted = Rect(y, x, y + height, x + w)
        for t in self.damaged:
            if part := _pixel_rect(h.grid.rect(t), h).overlap(wanted):
                self.samples[part.relative_to(wanted).slices()] = 0x8080 if h.deep else 0x80
        if h.alpha:
            self._place_alpha(wanted)
        notes = tuple(f"tile {t} is damaged and was filled" for t in sorted(set(self.damaged)))
        return Image(samples=self.samples, metadata=self.reader.metadata, notes=notes)

    def _place_alpha(self, wanted: Rect) -> None:
        opaque = 65535 if self.header.deep else 255
        for t in self.tiles:
            area = _pixel_rect(self.header.grid.rect(t), self.header)
            part = area.overlap(wanted)
            if part is None:
                continue
            chunk = len(self.header.grid) + t
            try:
                plane = decode_alpha(
                    self.reader.chunk(chunk), area, self.header.deep, f"chunk {chunk} (alpha of tile {t})"
                )
            except BitstreamError:
                if not self.salvage:
                    raise
                self.damaged.append(t)
                plane = np.full((area.height, area.width), opaque, self.samples.dtype)
            self.samples[..., -1][part.relative_to(wanted).slices()] = plane[part.relative_to(area).slices()]


def _checked_region(region: tuple[int, int, int, int] | None, h: ImageHeader) -> tuple[int, int, int, int]:
    if region is None:
        return 0, 0, h.width, h.height
    if len(region) != 4 or not all(isinstance(v, (int, np.integer)) for v in region):
        raise SignalError(f"region is {region!r}; it must be four whole numbers: x, y, width, height")
    x, y, w, height = region
    if x < 0 or y < 0 or w < 1 or height < 1 or x + w > h.width or y + height > h.height:
        raise SignalError(
            f"region {x},{y},{w},{height} does not lie inside the image of {h.width}x{h.height} pixels; "
            "give x,y,width,height"
        )
    return region


def _pixel_rect(rect: Rect, h: ImageHeader) -> Rect:
    """Pixels of a tile that exist."""
    p = rect.scaled(PATCH)
    return Rect(p.top, p.left, min(p.bottom, h.height), min(p.right, h.width))
