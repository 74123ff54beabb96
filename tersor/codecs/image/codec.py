"""The image codec: photographs and pictures of any size, at any rate, with one network.

    Image --windows of tiles--> analysis --> latents of a tile --LatentCoder--> payload of the tile
    payloads --LatentCoder--> latents of tiles --windows: tile + halo--> synthesis --> Image

Tiles are coded independently; their latents are those of the whole image (analysis is block by block) and
synthesis sees a halo of neighbouring latents, so tile borders are invisible. Equal windows of all images in a
call share a batch on the device. Alpha is coded exactly, as one PNG plane a tile.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from tersor.arrays import Samples
from tersor.codecs.assembly import Coded, Job
from tersor.codecs.base import ChunkCodec
from tersor.codecs.device import parts, pick_device
from tersor.codecs.image import pixels
from tersor.codecs.image.decode import PLAIN, DecodedTile, ImageAssembly, split_payload
from tersor.codecs.image.encode import TileEncoder, extended
from tersor.codecs.image.header import WIRE_ID
from tersor.codecs.image.latents import LatentCoder
from tersor.codecs.image.options import DECODE, ENCODE, ImageDecodeOptions, ImageEncodeOptions
from tersor.codecs.image.tiles import PATCH, Window, batches
from tersor.codecs.image.work import analysis, at_work, synthesis
from tersor.codecs.parallel import Progress, Team
from tersor.codecs.rate_control import narrow
from tersor.container import Reader
from tersor.errors import SignalError
from tersor.files.coerce import as_image
from tersor.metrics.psnr import psnr
from tersor.models.exact import ONE
from tersor.signals import Image
from tersor.timing import stage

CodedWithBits = tuple[Coded, float]


class ImageCodec(ChunkCodec[Image, ImageAssembly, ImageEncodeOptions, ImageDecodeOptions]):
    """Encoder and decoder on one device. Signals are anything that `as_image` takes.

    Args:
        device: "auto", "cpu" or "cuda".
        batch: tiles that share a batch.
        threads: at work at a time on a CPU: all cores if None, one in a worker process.
    """

    name = "image"
    wire_id = WIRE_ID
    encode_options = ENCODE
    decode_options = DECODE
    usual_batch = 4

    def __init__(self, device: str = "auto", batch: int | None = None, threads: int | None = None) -> None:
        super().__init__(device, batch, threads)
        self._on_cpu = self.device == "cpu"
        if self._on_cpu and batch is None:
            self.batch = 1  # a tile a thread
        # Two batches in flight on an accelerator: while one waits for the CPU's entropy coder the other keeps
        # the device busy.
        self._in_flight = Team(1 if self._on_cpu or threads == 1 else 2)

    @property
    def team(self) -> Team:
        return super().team if self._on_cpu else self._in_flight

    def pick_device(self, name: str) -> str:
        return pick_device(name)

    # Encoding

    def signal_of(self, x: object, options: ImageEncodeOptions) -> Image:
        return as_image(x)

    def chunks_of(self, signal: Image, options: ImageEncodeOptions, progress: Progress | None) -> Coded:
        asked, target = ENCODE.asked(options, "target")
        if asked != "quality":
            return self._search(signal, options, asked, float(target))[0]
        encoder = self._encoder([signal], [int(target)], options)

        def payloads() -> Iterator[bytes]:
            yield from (t.payload for t in encoder.tiles(progress))
            yield from encoder.alpha(0)

        return Coded(header=encoder.header(0).pack, metadata=signal.metadata, payloads=payloads())

    def coded(
        self, signals: Iterable[object], options: ImageEncodeOptions, progress: Progress | None
    ) -> Iterator[Coded]:
        return (c for c, _ in self._coded(signals, options, progress))

    def encode_with_estimate(
        self, images: Sequence[object], *, progress: Progress | None = None, **options: object
    ) -> list[tuple[bytes, float]]:
        """As `encode_batch`, each with the bits that the probability tables promise for it."""
        coded = self._coded(images, ENCODE.check(options), progress)
        return [(c.file(WIRE_ID), bits) for c, bits in coded]

    def _coded(
        self, signals: Iterable[object], options: ImageEncodeOptions, progress: Progress | None
    ) -> list[CodedWithBits]:
        images = [as_image(x) for x in signals]
        asked, target = ENCODE.asked(options, "target")
        if asked != "quality":
            return [self._search(i, options, asked, float(target)) for i in images]
        return self._at(images, int(target), options, progress)

    def _encoder(
        self, images: Sequence[Image], qualities: Sequence[int], options: ImageEncodeOptions
    ) -> TileEncoder:
        return TileEncoder(
            images,
            qualities,
            effort=options["effort"] or 1,
            tile=options["tile"] or 0,
            device=self.device,
            batch=self.batch,
            team=self.team,
        )

    def _at(
        self, images: Sequence[Image], quality: int, options: ImageEncodeOptions, progress: Progress | None
    ) -> list[CodedWithBits]:
        encoder = self._encoder(images, [quality] * len(images), options)
        payloads: list[list[bytes]] = [[] for _ in images]
        bits = [0.0] * len(images)
        for tile in encoder.tiles(progress):
            payloads[tile.image].append(tile.payload)
            bits[tile.image] += tile.bits
        return [
            (
                Coded(
                    header=encoder.header(k).pack,
                    metadata=image.metadata,
                    payloads=[*payloads[k], *encoder.alpha(k)],
                ),
                bits[k],
            )
            for k, image in enumerate(images)
        ]

    def _search(self, image: Image, options: ImageEncodeOptions, asked: str, target: float) -> CodedWithBits:
        """Bisect the quality: rate and PSNR grow with it."""
        by_rate = asked == "target_bpp"

        def encode(quality: int) -> tuple[CodedWithBits, float]:
            (result,) = self._at([image], quality, options, None)
            file = result[0].file(WIRE_ID)
            if by_rate:
                return result, 8 * len(file) / (image.width * image.height)
            return result, psnr(np.asarray(self.decode_batch([file])[0]), image.samples)

        def fits(value: float) -> bool:
            return value <= target if by_rate else value >= target

        tried = narrow(encode, lambda r: 1 if fits(r[1]) == by_rate else -1, 1, 100)
        if good := [result for _, (result, value) in tried if fits(value)]:
            return good[-1]
        quality, (_, value) = tried[-1]
        reached = f"{value:.4f} bpp" if by_rate else f"{value:.2f} dB"
        raise SignalError(
            f"{asked} {target} is out of reach for this image: the closest is {reached} at quality {quality}"
        )

    # Decoding

    def assembly(self, reader: Reader, options: ImageDecodeOptions) -> ImageAssembly:
        return ImageAssembly(reader, options, self.device)

    def groups(self, jobs: Sequence[Job[ImageAssembly]]) -> list[list[Job[ImageAssembly]]]:
        """Tiles of equal size and weights, of all files; alpha planes alone."""
        equal: defaultdict[Hashable, list[Job[ImageAssembly]]] = defaultdict(list)
        alone = []
        for job in jobs:
            if job.of.is_alpha(job.chunk):
                alone.append([job])
                continue
            rect = job.of.header.grid.rect(job.chunk)
            equal[job.of.header.digest, rect.height, rect.width].append(job)
        n = self.batch
        return [group[i : i + n] for group in equal.values() for i in range(0, len(group), n)] + alone

    def decode_chunks(self, jobs: Sequence[Job[ImageAssembly]]) -> list[DecodedTile] | list[Samples]:
        first = jobs[0]
        if first.of.is_alpha(first.chunk):
            return [j.of.plane(j.chunk, j.payload) for j in jobs]
        split = [split_payload(j.payload, j.chunk, j.of.header.deep) for j in jobs]
        names = [f"chunk {j.chunk} (tile {j.chunk})" for j in jobs]
        coded = [n for n, (kind, _) in enumerate(split) if kind <= PLAIN]
        tiles: dict[int, DecodedTile] = {}
        with at_work(self.device):
            if coded:
                coder, rect = LatentCoder(first.of.released), first.of.header.grid.rect(first.chunk)
                quality = torch.tensor([jobs[n].of.header.quality for n in coded], device=self.device)
                codes, named = [split[n][1] for n in coded], [names[n] for n in coded]
                y_hat = coder.decode(codes, named, quality, rect.height, rect.width)
                tiles = {n: DecodedTile(split[n][0] == PLAIN, y) for n, y in zip(coded, y_hat, strict=True)}
            for n in tiles.keys() ^ range(len(jobs)):
                tiles[n] = self._kept(jobs[n], *split[n], names[n])
        return [tiles[n] for n in range(len(jobs))]

    def _kept(self, job: Job[ImageAssembly], kind: int, payload: bytes, name: str) -> DecodedTile:
        """A tile of samples, and what its neighbours see of it."""
        header, model = job.of.header, job.of.released.model
        rect, area = header.grid.rect(job.chunk), job.of.pixels_of(job.chunk)
        samples = pixels.decode(kind, payload, (area.height, area.width, job.of.colours), name)
        whole = torch.from_numpy(extended(samples, rect.height * PATCH, rect.width * PATCH))
        with torch.inference_mode():
            gain = model.log_gain.at(torch.tensor([header.quality], device=self.device)).exp()
            y = analysis(model, whole[None].to(self.device), gain)[0]
        return DecodedTile(False, torch.round(y * ONE).to(torch.int32), samples)

    def complete(self, assemblies: Sequence[ImageAssembly], part: int) -> None:
        """Synthesis of a row of tiles of all files."""
        models: defaultdict[bytes, list[Window]] = defaultdict(list)
        for k, a in enumerate(assemblies):
            if part < a.parts:
                models[a.header.digest] += [w for w in a.windows(k, part) if w.tile not in a.samples]
        split = [b for group in models.values() for b in batches(group, self.batch)]
        synthesised = self.team.ahead(lambda batch: self._synthesised(assemblies, batch), split)
        for batch, shown in zip(split, synthesised, strict=True):
            for w, p in zip(batch, shown, strict=True):
                assemblies[w.image].paint(part, w.inner, p)

    def _synthesised(
        self, assemblies: Sequence[ImageAssembly], batch: Sequence[Window]
    ) -> NDArray[np.float32]:
        """Pixels [N, h, w, 3] of the inner part of equal windows, 0..255, neither rounded nor clipped."""
        model = assemblies[batch[0].image].released.model
        quality = torch.tensor([assemblies[w.image].header.quality for w in batch], device=self.device)
        y_hat = torch.stack([assemblies[w.image].gather(w.outer) for w in batch]).float() / ONE
        with at_work(self.device), stage("transform"), torch.inference_mode():
            each = [synthesis(model, *part) for part in zip(parts(y_hat), parts(quality), strict=True)]
            bare, x = (torch.cat(v) for v in zip(*each, strict=True))
            for i, w in enumerate(batch):
                if w.tile in assemblies[w.image].plain:
                    x[i] = bare[i]
        rows, columns = batch[0].inner.relative_to(batch[0].outer).scaled(PATCH).slices()
        out: NDArray[np.float32] = x[:, :, rows, columns].permute(0, 2, 3, 1).cpu().numpy()
        return out
