"""The image codec's header inside the container (FORMAT.md, section "image")."""

from __future__ import annotations

from dataclasses import dataclass

from tersor.codecs.image.tiles import TILE_UNIT, TileGrid
from tersor.container import ByteReader, Reader, put_uvarint
from tersor.errors import BitstreamError, LimitExceededError
from tersor.facts import Facts
from tersor.signals.image import MAX_PIXELS, MAX_SIDE

WIRE_ID = 1  # F
MAX_TILE = 2048  # F
COLOUR, ALPHA, DEEP = 1, 2, 4  # F


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageHeader:
    """What a decoder must know before the first tile.

    Attributes:
        model: wire id of the weights; 0 for none of ours.
        digest: 4 bytes, of the weights file.
        width, height: pixels.
        quality: 1..100.
        tile: side of a tile, a multiple of 64 pixels.
        colour: RGB rather than grey.
        alpha: an alpha plane follows, exact.
        deep: 16 bits per sample rather than 8.
    """

    model: int
    digest: bytes
    width: int
    height: int
    quality: int
    tile: int
    colour: bool
    alpha: bool
    deep: bool

    @property
    def grid(self) -> TileGrid:
        return TileGrid(self.width, self.height, self.tile)

    @property
    def channels(self) -> int:
        return (3 if self.colour else 1) + self.alpha

    @property
    def chunk_count(self) -> int:
        return len(self.grid) * (1 + self.alpha)

    def pack(self) -> bytes:
        flags = COLOUR * self.colour | ALPHA * self.alpha | DEEP * self.deep
        return (
            put_uvarint(self.model)
            + self.digest
            + put_uvarint(self.width)
            + put_uvarint(self.height)
            + bytes([flags, self.quality])
            + put_uvarint(self.tile // TILE_UNIT)
        )

    @classmethod
    def unpack(cls, data: bytes, chunks: int) -> ImageHeader:
        """Parse and check against the number of chunks in the file.

        Raises:
            BitstreamError: not an image header, or one that contradicts the file.
        """
        r = ByteReader(data, "image header")
        model, digest = r.uvarint(1 << 16, "model id"), r.take(4)
        width, height = r.uvarint(MAX_SIDE, "width"), r.uvarint(MAX_SIDE, "height")
        flags, quality = r.byte(), r.byte()
        tile = TILE_UNIT * r.uvarint(MAX_TILE // TILE_UNIT, "tile side")
        r.end()
        if width * height > MAX_PIXELS:
            raise LimitExceededError(f"image header: {width}x{height} is more than {MAX_PIXELS} pixels")
        if not width or not height or not tile or not 1 <= quality <= 100 or flags & ~(COLOUR | ALPHA | DEEP):
            raise BitstreamError(
                f"image header: {width}x{height}, tile {tile}, quality {quality}, "
                f"flags {flags:#x} is not a valid image; the file is damaged"
            )
        header = cls(
            model=model,
            digest=digest,
            width=width,
            height=height,
            quality=quality,
            tile=tile,
            colour=bool(flags & COLOUR),
            alpha=bool(flags & ALPHA),
            deep=bool(flags & DEEP),
        )
        if header.chunk_count != chunks:
            raise BitstreamError(
                f"image header: {header.chunk_count} chunks needed, the file has {chunks}; it is damaged"
            )
        return header


def describe(reader: Reader) -> Facts:
    """Facts for `tersor info`; checks the header."""
    h = ImageHeader.unpack(reader.header, len(reader.chunk_lengths))
    return Facts.of(
        reader,
        codec="image",
        signal="image",
        suffix=".png",
        shape=(h.height, h.width, h.channels),
        extra={
            "width": h.width,
            "height": h.height,
            "channels": h.channels,
            "bits_per_sample": 16 if h.deep else 8,
            "alpha": h.alpha,
            "quality": h.quality,
            "bpp": round(8 * reader.size / (h.width * h.height), 4),
            "tiles": len(h.grid),
            "tile": h.tile,
            "model": h.model,
            "weights": h.digest.hex(),
        },
    )
