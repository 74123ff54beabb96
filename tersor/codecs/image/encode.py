"""From images to the payloads of their tiles, a row of tiles at a time.

samples --windows of tiles--> pixels --analysis--> y --refine (what the decoder will show)--> y_hat -->
LatentCoder --> payload = u8 kind | code
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tersor.arrays import Samples
from tersor.codecs.alpha import encode_alpha
from tersor.codecs.device import parts
from tersor.codecs.hidden import filled
from tersor.codecs.image import pixels as pixels_of_tiles
from tersor.codecs.image.header import ImageHeader
from tersor.codecs.image.latents import LatentCoder, hyper_symbols
from tersor.codecs.image.options import DEFAULT_EFFORT
from tersor.codecs.image.refine import refine
from tersor.codecs.image.tiles import PATCH, Rect, TileGrid, Window, batches
from tersor.codecs.image.work import analysis, at_work, synthesis
from tersor.codecs.parallel import Progress, Team
from tersor.models.exact import ONE
from tersor.models.image import lambda_of
from tersor.models.image_weights import load_image_model
from tersor.models.prior import N_QUALITIES
from tersor.signals import Image
from tersor.timing import stage

REFINE_FROM = 2  # G: the effort from which latents are refined


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """What one tile was coded to.

    Attributes:
        image: number of its image.
        tile: its own number.
        payload: of its chunk.
        bits: that the probability tables promise for it.
    """

    image: int
    tile: int
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
            y, z, kinds, errors = self._latents(pixels, batch[0], quality)
            payloads, bits, y_hat = self._coder.encode(y, quality, z)
            tiles = [
                Tile(image=w.image, tile=w.tile, payload=bytes([kind]) + p, bits=8 + b)
                for w, kind, p, b in zip(batch, kinds.tolist(), payloads, bits, strict=True)
            ]
            if errors is None:
                return tiles
            each = zip(tiles, errors.tolist(), quality[:, None], y_hat[:, None], strict=True)
            return [self._cheaper(*one) for one in each]

    def _latents(
        self, pixels: Tensor, window: Window, quality: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        """Latents [N, M, h, w] of the inner part of equal windows, pixels [N, 3, 16 H, 16 W], 0..255;
        their hyper-latents, int32; which are plain; their squared errors, if known.
        """
        model, effort = self._coder.model, self._effort
        rows, columns = window.inner.relative_to(window.outer).slices()
        with stage("transform"), torch.inference_mode():
            y = analysis(model, pixels, model.log_gain.at(quality).exp())
        unrefined = y[:, :, rows, columns]
        if effort < REFINE_FROM:
            z = hyper_symbols(self._coder.hyper(unrefined))
            return unrefined, z, torch.zeros(len(y), dtype=torch.int64), None
        iterations = 5 * 2 ** (effort - DEFAULT_EFFORT - 1) if effort > DEFAULT_EFFORT else 0
        each = zip(*(parts(v) for v in (pixels, y, quality)), strict=True)
        refined = [refine(self._coder, x, v, q, (rows, columns), iterations) for x, v, q in each]
        latents, z, plain, errors = (torch.cat(v) for v in zip(*refined, strict=True))
        return latents, z, plain.to(torch.int64), errors

    def _cheaper(self, tile: Tile, error: float, quality: Tensor, y_hat: Tensor) -> Tile:
        """A tile, or its samples in place of it, where they cost less in bits and squared error.

        Args:
            tile: of latents.
            error: about its squared error.
            quality: int64 [1].
            y_hat: what it decodes to, int32 [1, M, h, w].
        """
        image, grid = self._images[tile.image], self._grids[tile.image]
        if image.samples.dtype == np.uint16:
            return tile
        weight = float(lambda_of((quality.float() - 1) / (N_QUALITIES - 1))) / 3
        samples = _samples(image.samples, _rows_columns(grid.rect(tile.tile), grid))
        scale = 3 / samples.shape[2]  # grey counts thrice, as in the model
        step = float(self._coder.model.log_ungain.at(quality).exp().square().mean())
        found: list[tuple[float, int, bytes]] = []
        if pixels_of_tiles.may_pay_exactly(samples, tile.bits + weight * error):
            exact = pixels_of_tiles.encode_exactly(samples)
            found.append((8.0 * len(exact), pixels_of_tiles.EXACT, exact))
        if error / (3 * samples.shape[0] * samples.shape[1]) > pixels_of_tiles.BAD * step:
            jpeg, cost = pixels_of_tiles.encode_jpeg(samples, weight * scale)
            found.append((cost, pixels_of_tiles.JPEG, jpeg))
        if not found:
            return tile
        with torch.inference_mode():
            bare, shown = synthesis(self._coder.model, y_hat.float() / ONE, quality)
            decoded = (bare if tile.payload[0] else shown)[0].clamp(0, 255).permute(1, 2, 0).cpu().numpy()
        decoded = decoded[: samples.shape[0], : samples.shape[1]]
        cost, kind, payload = min(found)
        if cost >= tile.bits + weight * pixels_of_tiles.squared_error(decoded, samples):
            return tile
        return replace(tile, payload=bytes([kind]) + payload, bits=8.0 * (1 + len(payload)))


def _rows_columns(rect: Rect, grid: TileGrid) -> tuple[slice, slice]:
    p = rect.scaled(PATCH)
    return slice(p.top, min(p.bottom, grid.height)), slice(p.left, min(p.right, grid.width))


def _pixels(samples: Samples, outer: Rect) -> NDArray[np.float32]:
    """float32 [3, h, w], 0..255, of a window; beyond the image its last row and column repeat, and where
    alpha is 0 colours are free.
    """
    p = outer.scaled(PATCH)
    return extended(_colour(samples, *p.slices()), p.height, p.width)


def _samples(samples: Samples, at: tuple[slice, slice]) -> NDArray[np.uint8]:
    """uint8 [h, w, 1 or 3] of a tile; where alpha is 0 colours are free."""
    return np.ascontiguousarray(np.rint(_colour(samples, *at)).astype(np.uint8))


def _colour(samples: Samples, rows: slice, columns: slice) -> NDArray[np.float32]:
    window = samples[rows, columns]
    colour = window[:, :, : 3 if samples.shape[2] >= 3 else 1].astype(np.float32)
    if samples.dtype == np.uint16:
        colour /= 257
    return filled(colour, window[:, :, -1] > 0) if samples.shape[2] in (2, 4) else colour


def extended(colour: Samples | NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    """Samples [h, w, 1 or 3] -> float32 [3, height, width]: the last row and column repeat."""
    missing = (height - colour.shape[0], width - colour.shape[1])
    planes = colour.astype(np.float32).transpose(2, 0, 1)
    if any(missing):
        planes = np.pad(planes, ((0, 0), (0, missing[0]), (0, missing[1])), "edge")
    return np.array(np.broadcast_to(planes, (3, *planes.shape[1:])), order="C")
