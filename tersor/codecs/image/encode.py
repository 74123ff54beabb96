"""From images to the payloads of their tiles, a row of tiles at a time.

samples --windows of tiles--> pixels --analysis--> y --refine (what the decoder will show)--> y_hat -->
LatentCoder --> payload = u8 plain | code
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tersor.arrays import Samples
from tersor.codecs.alpha import encode_alpha
from tersor.codecs.device import parts
from tersor.codecs.hidden import filled
from tersor.codecs.image.header import ImageHeader
from tersor.codecs.image.latents import LatentCoder
from tersor.codecs.image.options import DEFAULT_EFFORT
from tersor.codecs.image.refine import refine
from tersor.codecs.image.tiles import PATCH, Rect, TileGrid, Window, batches
from tersor.codecs.image.work import analysis, at_work
from tersor.codecs.parallel import Progress, Team
from tersor.models.image_weights import load_image_model
from tersor.signals import Image
from tersor.timing import stage

REFINE_FROM = 2  # G: the effort from which latents are refined


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """What one tile was coded to.

    Attributes:
        image: number of its image.
        payload: of its chunk.
        bits: that the probability tables promise for it.
    """

    image: int
    payload: bytes
    bits: float


class TileEncoder:
    """Images on their way to their tiles; equal windows share a batch.

    Args:
        images: of any size.
        qualities: 1..100, of each.
        effort: 1..9.
        tile: side, in pixels.
        device: of the network.
        batch: windows at a time.
        team: threads for batches.
    """

    def __init__(
        self,
        images: Sequence[Image],
        qualities: Sequence[int],
        *,
        effort: int,
        tile: int,
        device: str,
        batch: int,
        team: Team,
    ) -> None:
        self._images, self._qualities, self._effort, self._tile = images, qualities, effort, tile
        self._device, self._batch, self._team = device, batch, team
        self._released = load_image_model(None, device)
        self._coder = LatentCoder(self._released)
        self._grids = [TileGrid(i.width, i.height, tile) for i in images]

    def header(self, image: int) -> ImageHeader:
        """Of one of the images."""
        samples = self._images[image].samples
        return ImageHeader(
            model=self._released.version,
            digest=self._released.digest,
            width=samples.shape[1],
            height=samples.shape[0],
            quality=self._qualities[image],
            tile=self._tile,
            colour=samples.shape[2] >= 3,
            alpha=samples.shape[2] in (2, 4),
            deep=samples.dtype == np.uint16,
        )

    def tiles(self, progress: Progress | None = None) -> Iterator[Tile]:
        """The tiles of every image in order, rows of all images by turns."""
        plan = [batches(row, self._batch) for row in self._rows()]
        done, total = 0, sum(map(len, self._grids))
        coded = self._team.ahead(self._encoded, itertools.chain.from_iterable(plan))
        for row in plan:
            tiles: dict[tuple[int, int], Tile] = {}
            for batch in row:
                for w, tile in zip(batch, next(coded), strict=True):
                    tiles[w.image, w.tile] = tile
                done += len(batch)
                if progress:
                    progress(done, total)
            yield from (tiles[at] for at in sorted(tiles))

    def alpha(self, image: int) -> Iterator[bytes]:
        """Payloads of the alpha planes of the tiles of an image; none if it has none."""
        grid, samples = self._grids[image], self._images[image].samples
        if samples.shape[2] in (2, 4):
            for t in range(len(grid)):
                yield encode_alpha(np.ascontiguousarray(samples[..., -1][_rows_columns(grid.rect(t), grid)]))

    def _rows(self) -> Iterator[list[Window]]:
        # refinement looks at what the decoder will show around a tile
        halo = self._released.model.config.synthesis_halo if self._effort >= REFINE_FROM else 0
        for row in range(max((g.rows for g in self._grids), default=0)):
            yield [
                Window(image=k, tile=t, inner=g.rect(t), outer=g.rect(t).grown(halo, g.whole))
                for k, g in enumerate(self._grids)
                if row < g.rows
                for t in range(row * g.columns, (row + 1) * g.columns)
            ]

    def _encoded(self, batch: Sequence[Window]) -> list[Tile]:
        with at_work(self._device):
            pixels = torch.from_numpy(
                np.stack([_pixels(self._images[w.image].samples, w.outer) for w in batch])
            ).to(self._device)
            quality = torch.tensor([self._qualities[w.image] for w in batch], device=self._device)
            y, unrefined, plain = self._latents(pixels, batch[0], quality)
            payloads, bits = self._coder.encode(y, quality, unrefined)
        return [
            Tile(image=w.image, payload=bytes([flag]) + p, bits=8 + b)
            for w, flag, p, b in zip(batch, plain.tolist(), payloads, bits, strict=True)
        ]

    def _latents(self, pixels: Tensor, window: Window, quality: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Latents [N, M, h, w] of the inner part of equal windows, pixels [N, 3, 16 H, 16 W], 0..255; the
        same before refinement; which are plain.
        """
        model, effort = self._coder.model, self._effort
        rows, columns = window.inner.relative_to(window.outer).slices()
        with stage("transform"), torch.inference_mode():
            y = analysis(model, pixels, model.log_gain.at(quality).exp())
        unrefined = y[:, :, rows, columns]
        if effort < REFINE_FROM:
            return unrefined, unrefined, torch.zeros(len(y), dtype=torch.bool)
        iterations = 5 * 2 ** (effort - DEFAULT_EFFORT - 1) if effort > DEFAULT_EFFORT else 0
        each = zip(*(parts(v) for v in (pixels, y, quality)), strict=True)
        refined = [refine(self._coder, x, v, q, (rows, columns), iterations) for x, v, q in each]
        return torch.cat([r for r, _ in refined]), unrefined, torch.cat([p for _, p in refined])


def _rows_columns(rect: Rect, grid: TileGrid) -> tuple[slice, slice]:
    p = rect.scaled(PATCH)
    return slice(p.top, min(p.bottom, grid.height)), slice(p.left, min(p.right, grid.width))


def _pixels(samples: Samples, outer: Rect) -> NDArray[np.float32]:
    """float32 [3, h, w], 0..255, of a window; beyond the image its last row and column repeat, and where
    alpha is 0 colours are free.
    """
    p = outer.scaled(PATCH)
    window = samples[p.top : p.bottom, p.left : p.right]
    colour = window[:, :, : 3 if samples.shape[2] >= 3 else 1].astype(np.float32)
    if samples.dtype == np.uint16:
        colour /= 257
    if samples.shape[2] in (2, 4):
        colour = filled(colour, window[:, :, -1] > 0)
    missing = (p.height - colour.shape[0], p.width - colour.shape[1])
    if any(missing):
        colour = np.pad(colour, ((0, missing[0]), (0, missing[1]), (0, 0)), "edge")
    planes = colour.transpose(2, 0, 1)
    return np.ascontiguousarray(np.broadcast_to(planes, (3, *planes.shape[1:])))
