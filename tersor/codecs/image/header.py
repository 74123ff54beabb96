"""The image codec's header inside the container (FORMAT.md, section "image")."""

from __future__ import annotations

from dataclasses import dataclass

from tersor.codecs.image.tiles import TileGrid
from tersor.codecs.tiled import ALPHA, COLOUR, DEEP, TiledPicture, flagged, read_size, read_tile
from tersor.container import ByteReader, Reader, put_uvarint
from tersor.errors import BitstreamError
from tersor.facts import Facts

WIRE_ID = 1  # F
MAX_TILE = 2048  # F


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageHeader(TiledPicture):
    """What a decoder must know before the first tile.

    Attributes:
        model: wire id of the weights; 0 for none of ours.
        digest: 4 bytes, of the weights file.
        quality: 1..100.
    """

    model: int
    digest: bytes
    quality: int

    @property
    def grid(self) -> TileGrid:
        return TileGrid(self.width, self.height, self.tile)

    def pack(self) -> bytes:
        front = put_uvarint(self.model) + self.digest
        return front + self.size_bytes() + bytes([self.flags, self.quality]) + self.tile_bytes()

    @classmethod
    def unpack(cls, data: bytes, chunks: int) -> ImageHeader:
        """Parse and check against the number of chunks in the file.

        Raises:
            BitstreamError: not an image header, or one that contradicts the file.
        """
        r = ByteReader(data, "image header")
        model, digest = r.uvarint(1 << 16, "model id"), r.take(4)
        width, height = read_size(r)
        flags, quality = r.byte(), r.byte()
        tile = read_tile(r, MAX_TILE)
        r.end()
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
            **flagged(flags),
        )
        header.check_chunks(chunks, r.name)
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
            **h.facts(reader),
            "quality": h.quality,
            "model": h.model,
            "weights": h.digest.hex(),
        },
    )
