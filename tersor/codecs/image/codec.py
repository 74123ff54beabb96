"""The image codec: photographs and pictures of any size, at any rate, with one network.

    Image --windows of tiles--> analysis --> latents of a tile --LatentCoder--> payload of the tile
    payloads --LatentCoder--> latents of tiles --windows: tile + halo--> synthesis --> Image

Tiles are coded independently; their latents are those of the whole image (analysis is block by block) and
synthesis sees a halo of neighbouring latents, so tile borders are invisible. Equal windows of all images in a
call share a batch on the device. Alpha is coded exactly, as one PNG plane a tile.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tersor import container
from tersor.codecs.device import _parts, exact_convolutions, pick_device
from tersor.codecs.image.alpha import encode_alpha
from tersor.codecs.image.decode import DecodeJob
from tersor.codecs.image.encode import REFINE_FROM, _pixels, _rows_columns
from tersor.codecs.image.header import WIRE_ID, ImageHeader
from tersor.codecs.image.latents import LatentCoder
from tersor.codecs.image.options import DEFAULT_EFFORT, DEFAULT_QUALITY, EncodeOptions
from tersor.codecs.image.refine import refine
from tersor.codecs.image.tiles import PATCH, TileGrid, Window, batches
from tersor.codecs.parallel import Progress
from tersor.errors import SignalError
from tersor.files.coerce import as_image
from tersor.metrics.psnr import psnr
from tersor.models.exact import ONE
from tersor.models.image_weights import load_image_model
from tersor.signals import Image
from tersor.timing import stage

DEFAULT_BATCH = 4


class ImageCodec:
    """Encoder and decoder on one device.

    Args:
        device: "auto", "cpu" or "cuda".
        batch: tiles that share a batch.
    """

    name = "image"
    wire_id = WIRE_ID
    encode_options = tuple(f.name for f in fields(EncodeOptions))
    decode_options = ("region", "salvage")

    def __init__(self, device: str = "auto", batch: int = DEFAULT_BATCH) -> None:
        self.device = pick_device(device)
        if batch < 1:
            raise SignalError(f"batch is {batch}; it must be at least 1")
        self.batch = batch
        # Two batches in flight on an accelerator: while one waits for the CPU's entropy coder the other keeps
        # the device busy.
        self._workers = 1 if self.device == "cpu" else 2

    # Encoding

    def encode_batch(
        self, images: Sequence[Any], *, progress: Progress | None = None, **options: Any
    ) -> list[bytes]:
        """Encode images (anything `as_image` takes) to files.

        Args:
            images: any number, any sizes; equal tiles share batches.
            progress: called with (tiles done, tiles in all).
            options: of `EncodeOptions`, the same for all.

        Returns:
            one .tsr file each.

        Raises:
            SignalError: an image or option that cannot be coded.
        """
        return [file for file, _ in self.encode_with_estimate(images, progress=progress, **options)]

    def encode_with_estimate(
        self, images: Sequence[Any], *, progress: Progress | None = None, **options: Any
    ) -> list[tuple[bytes, float]]:
        """As `encode_batch`, each with the bits that the probability tables promise for it."""
        o = EncodeOptions(**options)
        signals = [as_image(x) for x in images]
        if o.target_bpp is None and o.target_psnr is None:
            return self._encode(signals, [o.quality or DEFAULT_QUALITY] * len(signals), o, progress)
        return [self._search(s, o) for s in signals]

    def _search(self, image: Image, o: EncodeOptions) -> tuple[bytes, float]:
        """Bisect the quality: rate and PSNR grow with it."""
        low, high = 1, 100
        best: tuple[bytes, float] | None = None
        reached = ""
        while low <= high:
            quality = (low + high) // 2
            result = self._encode([image], [quality], o, None)[0]
            if o.target_bpp is not None:
                value = 8 * len(result[0]) / (image.width * image.height)
                fits = value <= o.target_bpp
                low, high = (quality + 1, high) if fits else (low, quality - 1)
                reached = f"{value:.4f} bpp at quality {quality}"
            else:
                value = psnr(np.asarray(self.decode_batch([result[0]])[0]), image.samples)
                fits = value >= (o.target_psnr or 0)
                low, high = (low, quality - 1) if fits else (quality + 1, high)
                reached = f"{value:.2f} dB at quality {quality}"
            if fits:
                best = result
        if best is None:
            target = (
                f"target_bpp {o.target_bpp}" if o.target_bpp is not None else f"target_psnr {o.target_psnr}"
            )
            raise SignalError(f"{target} is out of reach for this image: the closest is {reached}")
        return best

    def _encode(
        self, images: Sequence[Image], qualities: Sequence[int], o: EncodeOptions, progress: Progress | None
    ) -> list[tuple[bytes, float]]:
        released = load_image_model(None, self.device)
        coder = LatentCoder(released)
        halo = (
            released.model.config.synthesis_halo if o.effort >= REFINE_FROM else 0
        )  # refinement looks at what the decoder will show around a tile
        grids = [TileGrid(i.width, i.height, o.tile) for i in images]
        windows = [
            Window(image=k, tile=t, inner=g.rect(t), outer=g.rect(t).grown(halo, g.whole))
            for k, g in enumerate(grids)
            for t in range(len(g))
        ]
        payloads: list[list[bytes]] = [[b""] * len(g) for g in grids]
        bits = [0.0] * len(images)

        def work(batch: list[Window]) -> tuple[list[bytes], list[float]]:
            pixels = torch.from_numpy(
                np.stack([_pixels(images[w.image].samples, w.outer) for w in batch])
            ).to(self.device)
            quality = torch.tensor([qualities[w.image] for w in batch], device=self.device)
            y, unrefined, plain = self._latents(coder, pixels, batch[0], quality, o.effort)
            payloads, bits = coder.encode(y, quality, unrefined)
            return [bytes([flag]) + p for flag, p in zip(plain.tolist(), payloads, strict=True)], [
                8 + b for b in bits
            ]

        done = 0
        for batch, (files, estimates) in self._map(work, batches(windows, self.batch)):
            for w, payload, estimate in zip(batch, files, estimates, strict=True):
                payloads[w.image][w.tile] = payload
                bits[w.image] += estimate
            done += len(batch)
            if progress:
                progress(done, len(windows))
        out = []
        for image, grid, quality, chunks, estimate in zip(
            images, grids, qualities, payloads, bits, strict=True
        ):
            channels = image.samples.shape[2]
            header = ImageHeader(
                model=released.version,
                digest=released.digest,
                width=image.width,
                height=image.height,
                quality=quality,
                tile=o.tile,
                colour=channels >= 3,
                alpha=channels in (2, 4),
                deep=image.bits_per_sample == 16,
            )
            if header.alpha:
                chunks += [
                    encode_alpha(image.samples[..., -1][_rows_columns(grid.rect(t), grid)])
                    for t in range(len(grid))
                ]
            out.append((container.write(WIRE_ID, header.pack(), image.metadata, chunks), estimate))
        return out

    @staticmethod
    def _latents(
        coder: LatentCoder, pixels: Tensor, window: Window, quality: Tensor, effort: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Latents [N, M, h, w] of the inner part of equal windows, pixels [N, 3, 16 H, 16 W], 0..255; the
        same before refinement; which are plain.
        """
        model = coder.model
        rows, columns = window.inner.relative_to(window.outer).slices()
        with stage("transform"), torch.inference_mode():
            y = model.analysis(pixels, model.log_gain.at(quality).exp())
        unrefined = y[:, :, rows, columns]
        if effort < REFINE_FROM:
            return unrefined, unrefined, torch.zeros(len(y), dtype=torch.bool)
        iterations = 5 * 2 ** (effort - DEFAULT_EFFORT - 1) if effort > DEFAULT_EFFORT else 0
        parts = zip(*(_parts(v) for v in (pixels, y, quality)), strict=True)
        refined = [refine(coder, x, v, q, (rows, columns), iterations) for x, v, q in parts]
        return torch.cat([r for r, _ in refined]), unrefined, torch.cat([p for _, p in refined])

    # Decoding

    def decode_batch(
        self,
        files: Sequence[bytes | container.Reader],
        *,
        region: tuple[int, int, int, int] | None = None,
        salvage: bool = False,
        progress: Progress | None = None,
    ) -> list[Image]:
        """Decode files to images.

        Args:
            files: bytes of .tsr files, or opened containers.
            region: x, y, width, height in pixels: only this part, from only the tiles it needs.
            salvage: fill damaged tiles with grey (alpha: opaque) and note which, instead of failing.
            progress: called with (tiles done, tiles in all).

        Raises:
            BitstreamError: a damaged file, with the chunk named.
            WeightsError: weights it was written with are not installed.
            SignalError: a region outside the image.
        """
        readers = [f if isinstance(f, container.Reader) else container.Reader(f) for f in files]
        jobs = [DecodeJob(r, region, salvage, self.device) for r in readers]
        rows = max((j.last_row for j in jobs), default=-1) + 1
        total = sum(len(j.tiles) for j in jobs)
        done = 0
        for row in range(rows):
            windows = []
            needed: list[tuple[int, int]] = []
            for k, j in enumerate(jobs):
                row_windows = j.windows(k, row)
                windows += row_windows
                wanted = sorted(
                    {t for w in row_windows for t in j.header.grid.touching(w.outer)} - j.latents.keys()
                )
                needed += [(k, t) for t in wanted]
            self._decode_latents(jobs, needed)
            done += self._synthesise(jobs, windows)
            if progress:
                progress(done, total)
            for j in jobs:
                j.forget_before(row)
        return [j.finish() for j in jobs]

    def _decode_latents(self, jobs: Sequence[DecodeJob], needed: Sequence[tuple[int, int]]) -> None:
        loaded: dict[tuple[bytes, int, int], list[tuple[int, int, bytes]]] = defaultdict(list)
        for k, t in needed:
            payload = jobs[k].payload(t)
            if payload is not None:
                rect = jobs[k].header.grid.rect(t)
                loaded[jobs[k].header.digest, rect.height, rect.width].append((k, t, payload))

        def work(batch: tuple[tuple[bytes, int, int], list[tuple[int, int, bytes]]]) -> Tensor:
            (digest, h, w), items = batch
            coder = LatentCoder(load_image_model(digest, self.device))
            quality = torch.tensor([jobs[k].header.quality for k, _, _ in items], device=self.device)
            names = [f"chunk {t} (tile {t})" for _, t, _ in items]
            return coder.decode([p for _, _, p in items], names, quality, h, w)

        split = [
            (key, items[i : i + self.batch])
            for key, items in loaded.items()
            for i in range(0, len(items), self.batch)
        ]
        for (_, items), y_hat in self._map(work, split):
            for i, (k, t, _) in enumerate(items):
                jobs[k].latents[t] = y_hat[i]

    def _synthesise(self, jobs: Sequence[DecodeJob], windows: Sequence[Window]) -> int:
        def work(batch: list[Window]) -> NDArray[np.float32]:
            model = jobs[batch[0].image].released.model
            quality = torch.tensor([jobs[w.image].header.quality for w in batch], device=self.device)
            y_hat = (
                torch.stack(
                    [jobs[w.image].gather(w.outer, self.device, model.config.latent) for w in batch]
                ).float()
                / ONE
            )
            with stage("transform"), torch.inference_mode():
                ungain, bias = model.log_ungain.at(quality).exp(), model.filter.quality.at(quality)
                x = torch.cat(
                    [
                        model.synthesis(*part)
                        for part in zip(*(_parts(v) for v in (y_hat, ungain, bias)), strict=True)
                    ]
                )
                for i, w in enumerate(batch):
                    if w.tile in jobs[w.image].plain:
                        x[i] = model.base_synthesis(y_hat[i : i + 1], ungain[i : i + 1])[0]
            rows, columns = batch[0].inner.relative_to(batch[0].outer).scaled(PATCH).slices()
            out: NDArray[np.float32] = x[:, :, rows, columns].permute(0, 2, 3, 1).cpu().numpy()
            return out

        models: defaultdict[bytes, list[Window]] = defaultdict(list)
        for w in windows:
            models[jobs[w.image].header.digest].append(w)
        split = [b for group in models.values() for b in batches(group, self.batch)]
        for batch, pixels in self._map(work, split):
            for w, p in zip(batch, pixels, strict=True):
                jobs[w.image].place(w.inner, p)
        return len(windows)

    def _map(self, work: Callable[[Any], Any], items: Sequence[Any]) -> Iterator[tuple[Any, Any]]:
        """(item, work(item)) in order; two at a time on an accelerator, and never more results waiting than
        that.
        """
        with exact_convolutions(), ThreadPoolExecutor(self._workers) as pool:
            for i in range(0, len(items), self._workers):
                part = items[i : i + self._workers]
                results = [work(v) for v in part] if len(part) == 1 else list(pool.map(work, part))
                yield from zip(part, results, strict=True)
