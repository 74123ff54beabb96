"""The header of files that hold a CompressAI model's strings (FORMAT.md, section "compressai"); knows no
torch.
"""

from __future__ import annotations

from dataclasses import dataclass

from tersor.container import ByteReader, Reader, put_uvarint
from tersor.errors import BitstreamError, LimitExceededError
from tersor.facts import Facts
from tersor.signals.image import MAX_PIXELS


@dataclass(frozen=True, slots=True, kw_only=True)
class CompressAIHeader:
    """Architecture and metric as CompressAI names them, its quality, 4 bytes of the weights' digest, and the
    image's size.
    """

    architecture: str
    metric: str
    quality: int
    digest: bytes
    width: int
    height: int

    def pack(self) -> bytes:
        names = b"".join(put_uvarint(len(s)) + s.encode() for s in (self.architecture, self.metric))
        return (
            names + bytes([self.quality]) + self.digest + put_uvarint(self.width) + put_uvarint(self.height)
        )

    @classmethod
    def unpack(cls, data: bytes, chunks: int) -> CompressAIHeader:
        r = ByteReader(data, "compressai header")
        try:
            architecture, metric = (r.take(r.uvarint(64, "name length")).decode("ascii") for _ in range(2))
        except UnicodeDecodeError as e:
            raise BitstreamError("compressai header: a name is not ASCII; the file is damaged") from e
        quality, digest = r.byte(), r.take(4)
        width, height = r.uvarint(1 << 24, "width"), r.uvarint(1 << 24, "height")
        r.end()
        if width * height > MAX_PIXELS:
            raise LimitExceededError(f"compressai header: {width}x{height} is more than {MAX_PIXELS} pixels")
        if not width or not height or chunks != 1:
            raise BitstreamError(
                f"compressai header: {width}x{height} in {chunks} chunks is not valid; the file is damaged"
            )
        return cls(
            architecture=architecture,
            metric=metric,
            quality=quality,
            digest=digest,
            width=width,
            height=height,
        )


def describe(reader: Reader) -> Facts:
    """Facts for `tersor info`."""
    h = CompressAIHeader.unpack(reader.header, len(reader.chunk_lengths))
    return Facts.of(
        reader,
        codec="compressai",
        signal="image",
        suffix=".png",
        shape=(h.height, h.width, 3),
        extra={
            "width": h.width,
            "height": h.height,
            "channels": 3,
            "bits_per_sample": 8,
            "quality": h.quality,
            "bpp": round(8 * reader.size / (h.width * h.height), 4),
            "model": f"{h.architecture} ({h.metric})",
            "weights": h.digest.hex(),
        },
    )
