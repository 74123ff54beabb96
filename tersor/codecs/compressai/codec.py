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
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from tersor import container
from tersor.codecs.compressai.header import CompressAIHeader
from tersor.codecs.device import pick_device
from tersor.container import ByteReader, put_uvarint
from tersor.errors import BitstreamError, MissingDependencyError, SignalError, WeightsError
from tersor.files.coerce import as_image
from tersor.signals import Image

try:
    from compressai.zoo import image_models
except ImportError as e:
    raise MissingDependencyError("the compressai codec needs CompressAI: pip install 'tersor[zoo]'") from e

WIRE_ID = 2
ALIGNMENT = 64
DEFAULT_ARCHITECTURE = "mbt2018-mean"
VARIABLE_RATE_QUALITIES = 8
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


class CompressAICodec:
    """All of CompressAI's image models behind `encode_batch` and `decode_batch`.

    Args:
        device: "auto", "cpu" or "cuda".
        batch: images of equal padded size that share a pass through the network.
        loader: (architecture, metric, quality) -> model; tests pass randomly initialised ones.
    """

    name = "compressai"
    wire_id = WIRE_ID
    encode_options = ("architecture", "metric", "quality")
    decode_options = ("salvage",)

    def __init__(self, device: str = "auto", batch: int = 4, loader: Loader = load_pretrained) -> None:
        self.device = pick_device(device)
        if batch < 1:
            raise SignalError(f"batch is {batch}; it must be at least 1")
        self.batch = batch
        self._load = functools.lru_cache(maxsize=4)(functools.partial(self._prepare, loader))

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

    @torch.inference_mode()
    def encode_batch(
        self,
        images: Sequence[Any],
        *,
        architecture: str = DEFAULT_ARCHITECTURE,
        metric: str = "mse",
        quality: int = 4,
        progress: Callable[[int, int], None] | None = None,
    ) -> list[bytes]:
        """Encode 8-bit RGB or grey images.

        Args:
            images: anything `as_image` takes.
            architecture: a key of compressai.zoo.image_models.
            metric: "mse" or "ms-ssim".
            quality: CompressAI's, 1..8 (cheng2020: 1..6).

        Raises:
            SignalError: an image or option it cannot code. WeightsError: no such weights.
        """
        limit = (
            VARIABLE_RATE_QUALITIES
            if architecture.endswith("-vbr")
            else 6
            if architecture.startswith("cheng")
            else 8
        )
        if not 1 <= quality <= limit:
            raise SignalError(f"quality is {quality}; {architecture} has 1..{limit}")
        signals = [as_image(x) for x in images]
        for s in signals:
            if s.bits_per_sample != 8 or s.samples.shape[2] in (2, 4):
                raise SignalError(
                    f"CompressAI's models code 8-bit RGB without alpha, not {s}; use the image codec"
                )
        model, digest = self._load(architecture, metric, quality)
        groups: defaultdict[tuple[int, int], list[int]] = defaultdict(list)
        for i, s in enumerate(signals):
            groups[s.height, s.width].append(i)
        files = [b""] * len(signals)
        for (height, width), members in groups.items():
            for start in range(0, len(members), self.batch):
                part = members[start : start + self.batch]
                x = torch.stack([self._tensor(signals[i]) for i in part]).to(self.device)
                out = model.compress(
                    F.pad(x, (0, -width % ALIGNMENT, 0, -height % ALIGNMENT), "replicate"),
                    **_rate(architecture, quality),
                )  # type: ignore[operator]
                header = CompressAIHeader(
                    architecture=architecture,
                    metric=metric,
                    quality=quality,
                    digest=digest,
                    width=width,
                    height=height,
                )
                for k, i in enumerate(part):
                    chunk = _pack_strings([s[k] for s in out["strings"]], tuple(out["shape"]))
                    files[i] = container.write(WIRE_ID, header.pack(), signals[i].metadata, [chunk])
                if progress:
                    progress(sum(map(bool, files)), len(files))
        return files

    @staticmethod
    def _tensor(image: Image) -> torch.Tensor:
        x = torch.from_numpy(np.ascontiguousarray(image.samples)).permute(2, 0, 1).float() / 255
        return x.expand(3, -1, -1)

    @torch.inference_mode()
    def decode_batch(
        self,
        files: Sequence[bytes | container.Reader],
        *,
        salvage: bool = False,
        progress: Callable[[int, int], None] | None = None,
    ) -> list[Image]:
        """Decode; equal files are decoded one after the other, since CompressAI's strings of a batch share no
        state.

        Raises:
            BitstreamError: a damaged file. WeightsError: other weights than it was written with.
        """
        out = []
        for file in files:
            reader = file if isinstance(file, container.Reader) else container.Reader(file)
            if reader.codec != WIRE_ID:
                raise BitstreamError(f"the file's codec is {reader.codec}, not compressai ({WIRE_ID})")
            h = CompressAIHeader.unpack(reader.header, len(reader.chunk_lengths))
            model, digest = self._load(h.architecture, h.metric, h.quality)
            if digest != h.digest:
                raise WeightsError(
                    f"the file was written with weights {h.digest.hex()} of {h.architecture}, "
                    f"loaded are {digest.hex()}"
                )
            strings, shape = _unpack_strings(reader.chunk(0), h)
            try:
                rate = _rate(h.architecture, h.quality)
                decompressed = model.decompress([[s] for s in strings], shape, **rate)  # type: ignore[operator]
                x = decompressed["x_hat"]
            except (ValueError, RuntimeError, IndexError, AssertionError) as e:
                raise BitstreamError(f"chunk 0: CompressAI cannot decode its strings ({e})") from e
            if x.shape[2] < h.height or x.shape[3] < h.width:
                raise BitstreamError(
                    f"chunk 0: decodes to {x.shape[3]}x{x.shape[2]}, "
                    f"the header says {h.width}x{h.height}; the file is damaged"
                )
            samples = (
                (x[0, :, : h.height, : h.width].clamp(0, 1) * 255)
                .round()
                .to(torch.uint8)
                .permute(1, 2, 0)
                .cpu()
                .numpy()
            )
            out.append(Image(samples=np.ascontiguousarray(samples), metadata=reader.metadata))
            if progress:
                progress(len(out), len(files))
        return out


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
