"""CompressAI's pretrained image models as a tersor codec: their networks and strings, our container,
checksums, batches and command line.

    codec = tersor.Codec("compressai")                       # downloads weights as CompressAI does
    file = codec.encode("photo.png", architecture="mbt2018-mean", quality=4)

CompressAI chooses probability tables with floating-point networks: its strings decode only where the
arithmetic rounds as it did at the encoder. For files that must decode anywhere use the image codec.
"""

from __future__ import annotations

import functools
import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

from tersor.codecs.assembly import Assembly, Coded, Job
from tersor.codecs.base import ChunkCodec
from tersor.codecs.compressai.header import CompressAIHeader
from tersor.codecs.compressai.options import DECODE, ENCODE, CompressAIEncodeOptions
from tersor.codecs.device import pick_device
from tersor.codecs.options import DecodeOptions
from tersor.codecs.parallel import Progress, Team
from tersor.container import ByteReader, Reader, put_uvarint
from tersor.errors import BitstreamError, MissingDependencyError, SignalError, WeightsError
from tersor.files.coerce import as_image
from tersor.signals import Image

try:
    from compressai.zoo import image_models
except ImportError as e:
    raise MissingDependencyError("the compressai codec needs CompressAI: pip install 'tersor[zoo]'") from e

WIRE_ID = 2  # F
ALIGNMENT = 64  # F: of those models
GREY = 128  # G: of damaged files
Loader = Callable[[str, str, int], nn.Module]


def load_pretrained(architecture: str, metric: str, quality: int) -> nn.Module:
    """CompressAI's own loading: from its cache, or downloaded.

    Raises:
        WeightsError: the weights cannot be had.
    """
    options = {} if architecture.endswith("-vbr") else {"quality": quality}
    try:
        model: nn.Module = image_models[architecture](metric=metric, pretrained=True, **options)
    except (ValueError, RuntimeError, OSError) as e:
        raise WeightsError(
            f"CompressAI has no weights for {architecture}, {metric}, quality {quality} here ({e})"
        ) from e
    return model


def digest_of(model: nn.Module) -> bytes:
    """4 bytes of the SHA-256 over all parameters and tables."""
    h = hashlib.sha256()
    for key, value in sorted(model.state_dict().items()):
        h.update(key.encode() + value.detach().cpu().contiguous().numpy().tobytes())
    return h.digest()[:4]


class CompressAIAssembly(Assembly[Image]):
    """One file: one part, one chunk."""

    def __init__(self, reader: Reader, header: CompressAIHeader) -> None:
        super().__init__(reader, 1, (header.height, header.width, 3))
        self.header = header
        self._samples: NDArray[np.uint8] | None = None

    def needs(self, part: int) -> tuple[int]:
        return (0,)

    def place(self, chunk: int, x: NDArray[np.uint8]) -> None:
        self._samples = x

    def fill(self, chunk: int) -> None:
        self._samples = np.full(self.shape, GREY, np.uint8)

    def piece(self, part: int) -> NDArray[np.uint8]:
        assert self._samples is not None
        return self._samples

    def finish(self) -> Image:
        return Image(samples=self.whole(), metadata=self.reader.metadata, notes=self.notes())


class CompressAICodec(ChunkCodec[Image, CompressAIAssembly, CompressAIEncodeOptions, DecodeOptions]):
    """All of CompressAI's image models. Signals are 8-bit RGB or grey images, anything `as_image` takes.

    Args:
        device: "auto", "cpu" or "cuda".
        batch: images of equal padded size that share a pass through the network.
        threads: of torch.
        loader: (architecture, metric, quality) -> model; tests pass randomly initialised ones.
    """

    name = "compressai"
    wire_id = WIRE_ID
    encode_options = ENCODE
    decode_options = DECODE
    usual_batch = 4

    def __init__(
        self,
        device: str = "auto",
        batch: int | None = None,
        threads: int | None = None,
        loader: Loader = load_pretrained,
    ) -> None:
        super().__init__(device, batch, threads)
        self._one = Team(1)  # torch's own threads share the work
        self._load = functools.lru_cache(maxsize=4)(functools.partial(self._prepare, loader))

    @property
    def team(self) -> Team:
        return self._one

    def pick_device(self, name: str) -> str:
        return pick_device(name)

    def _prepare(
        self, loader: Loader, architecture: str, metric: str, quality: int
    ) -> tuple[nn.Module, bytes]:
        if architecture not in image_models:
            raise SignalError(
                f"CompressAI has no image model '{architecture}'; it has {', '.join(image_models)}"
            )
        model = loader(architecture, metric, quality).eval().to(self.device)
        model.update()  # type: ignore[operator]
        return model, digest_of(model)

    def signal_of(self, x: Any, options: CompressAIEncodeOptions) -> Image:
        image = as_image(x)
        if image.bits_per_sample != 8 or image.samples.shape[2] in (2, 4):
            raise SignalError(
                f"CompressAI's models code 8-bit RGB without alpha, not {image}; use the image codec"
            )
        return image

    def chunks_of(self, signal: Image, options: CompressAIEncodeOptions, progress: Progress | None) -> Coded:
        (coded,) = self.coded([signal], options, progress)
        return coded

    def coded(
        self, signals: Iterable[Any], options: CompressAIEncodeOptions, progress: Progress | None
    ) -> list[Coded]:
        """A file of each; images of equal size share a pass."""
        architecture, metric = options["architecture"] or "", options["metric"] or ""
        quality = int(options["quality"] or 0)
        limit = 6 if architecture.startswith("cheng") else 8
        if quality > limit:
            raise SignalError(f"quality is {quality}; {architecture} has 1..{limit}")
        images = [self.signal_of(x, options) for x in signals]
        model, digest = self._load(architecture, metric, quality)
        groups: defaultdict[tuple[int, int], list[int]] = defaultdict(list)
        for i, image in enumerate(images):
            groups[image.height, image.width].append(i)
        files: dict[int, Coded] = {}
        for (height, width), members in groups.items():
            header = CompressAIHeader(
                architecture=architecture,
                metric=metric,
                quality=quality,
                digest=digest,
                width=width,
                height=height,
            )
            for start in range(0, len(members), self.batch):
                part = members[start : start + self.batch]
                chunks = self._chunks(model, [images[i] for i in part], header)
                for i, chunk in zip(part, chunks, strict=True):
                    files[i] = Coded(header=header.pack, metadata=images[i].metadata, payloads=[chunk])
                if progress:
                    progress(len(files), len(images))
        return [files[i] for i in range(len(images))]

    @torch.inference_mode()
    def _chunks(self, model: nn.Module, images: Sequence[Image], h: CompressAIHeader) -> list[bytes]:
        """Strings of images of equal size."""
        x = torch.stack([self._tensor(i) for i in images]).to(self.device)
        padded = F.pad(x, (0, -h.width % ALIGNMENT, 0, -h.height % ALIGNMENT), "replicate")
        out = model.compress(padded, **_rate(h.architecture, h.quality))  # type: ignore[operator]
        return [
            _pack_strings([s[k] for s in out["strings"]], tuple(out["shape"])) for k in range(len(images))
        ]

    @staticmethod
    def _tensor(image: Image) -> torch.Tensor:
        x = torch.from_numpy(np.ascontiguousarray(image.samples)).permute(2, 0, 1).float() / 255
        return x.expand(3, -1, -1)

    def assembly(self, reader: Reader, options: DecodeOptions) -> CompressAIAssembly:
        h = CompressAIHeader.unpack(reader.header, len(reader.chunk_lengths))
        digest = self._load(h.architecture, h.metric, h.quality)[1]
        if digest != h.digest:
            raise WeightsError(
                f"the file was written with weights {h.digest.hex()} of {h.architecture}, "
                f"loaded are {digest.hex()}"
            )
        return CompressAIAssembly(reader, h)

    def decode_chunks(self, jobs: Sequence[Job[CompressAIAssembly]]) -> list[NDArray[np.uint8]]:
        return [self._pixels(j.payload, j.of.header) for j in jobs]

    @torch.inference_mode()
    def _pixels(self, payload: bytes, h: CompressAIHeader) -> NDArray[np.uint8]:
        """Samples [h, w, 3] of one image: strings of a batch share no state, so nothing is won by one."""
        model = self._load(h.architecture, h.metric, h.quality)[0]
        strings, shape = _unpack_strings(payload, h)
        try:
            rate = _rate(h.architecture, h.quality)
            decompressed = model.decompress([[s] for s in strings], shape, **rate)  # type: ignore[operator]
            x = decompressed["x_hat"]
        except (ValueError, RuntimeError, IndexError, AssertionError) as e:
            raise BitstreamError(f"chunk 0: CompressAI cannot decode its strings ({e})", chunk=0) from e
        if x.shape[2] < h.height or x.shape[3] < h.width:
            raise BitstreamError(
                f"chunk 0: decodes to {x.shape[3]}x{x.shape[2]}, "
                f"the header says {h.width}x{h.height}; the file is damaged",
                chunk=0,
            )
        inside = (x[0, :, : h.height, : h.width].clamp(0, 1) * 255).round().to(torch.uint8)
        samples: NDArray[np.uint8] = np.ascontiguousarray(inside.permute(1, 2, 0).cpu().numpy())
        return samples


def _rate(architecture: str, quality: int) -> dict[str, int]:
    return {"s": quality - 1} if architecture.endswith("-vbr") else {}


def _pack_strings(strings: Sequence[Any], shape: tuple[int, ...]) -> bytes:
    out = put_uvarint(shape[0]) + put_uvarint(shape[1]) + put_uvarint(len(strings))
    for s in strings:
        out += put_uvarint(len(s)) + s
    return out


def _unpack_strings(chunk: bytes, h: CompressAIHeader) -> tuple[list[bytes], tuple[int, int]]:
    r = ByteReader(chunk, "chunk 0")
    shape = r.uvarint(h.height // 4 + 64, "rows"), r.uvarint(h.width // 4 + 64, "columns")
    strings = [
        r.take(r.uvarint(len(chunk), "string length")) for _ in range(r.uvarint(16, "number of strings"))
    ]
    r.end()
    return strings, shape
