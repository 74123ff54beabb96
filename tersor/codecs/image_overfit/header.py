"""The header of an overfitted picture inside the container (FORMAT.md, section "image-overfit")."""

from __future__ import annotations

from dataclasses import dataclass

from tersor.codecs.image_overfit.layout import TILE_UNIT, Tiling
from tersor.codecs.image_overfit.network import REACH, Shape
from tersor.container import ByteReader, Reader, put_uvarint
from tersor.errors import BitstreamError, LimitExceededError, UnsupportedVersionError
from tersor.facts import Facts
from tersor.signals.image import MAX_PIXELS, MAX_SIDE

WIRE_ID = 7  # F
PAYLOAD_VERSION = 0  # F: 0 is the draft; its files may not be readable by later versions
MAX_TILE = 4096  # F
MAX_WIDTH, MAX_HIDDEN, MAX_FIRST = 32, 64, 1  # F: bounds of networks in files
COLOUR, ALPHA, DEEP = 1, 2, 4  # F


@dataclass(frozen=True, slots=True, kw_only=True)
class OverfitHeader:
    """What a decoder must know before the first chunk.

    Attributes:
        width, height: pixels.
        tile: side of a tile, a multiple of 64 pixels.
        colour: RGB rather than grey.
        alpha: an alpha plane follows, exact.
        deep: 16 bits per sample rather than 8.
        shape: of the networks.
    """

    width: int
    height: int
    tile: int
    colour: bool
    alpha: bool
    deep: bool
    shape: Shape

    @property
    def tiling(self) -> Tiling:
        return Tiling(self.width, self.height, self.tile)

    @property
    def channels(self) -> int:
        return (3 if self.colour else 1) + self.alpha

    @property
    def chunk_count(self) -> int:
        """The network, the tiles, their alpha planes."""
        return 1 + len(self.tiling) * (1 + self.alpha)

    def pack(self) -> bytes:
        s = self.shape
        flags = COLOUR * self.colour | ALPHA * self.alpha | DEEP * self.deep
        return (
            bytes([PAYLOAD_VERSION])
            + put_uvarint(self.width)
            + put_uvarint(self.height)
            + bytes([flags])
            + put_uvarint(self.tile // TILE_UNIT)
            + bytes([s.around, s.features, s.hidden, s.first])
        )

    @classmethod
    def unpack(cls, data: bytes, chunks: int) -> OverfitHeader:
        """Parse and check against the number of chunks in the file.

        Raises:
            BitstreamError: not such a header, or one that contradicts the file.
        """
        r = ByteReader(data, "image-overfit header")
        if (version := r.byte()) != PAYLOAD_VERSION:
            raise UnsupportedVersionError(
                f"image-overfit header: payload version {version}, this tersor reads {PAYLOAD_VERSION}; "
                "install the tersor that wrote it"
            )
        width, height = r.uvarint(MAX_SIDE, "width"), r.uvarint(MAX_SIDE, "height")
        flags = r.byte()
        tile = TILE_UNIT * r.uvarint(MAX_TILE // TILE_UNIT, "tile side")
        around, features, hidden, first = r.take(4)
        r.end()
        if width * height > MAX_PIXELS:
            raise LimitExceededError(
                f"image-overfit header: {width}x{height} is more than {MAX_PIXELS} pixels"
            )
        d = around + features
        if not (
            width and height and tile and flags < 8 and first <= MAX_FIRST
            and 1 <= around <= len(REACH) and features > 0 and d <= MAX_WIDTH and not d % 4
            and 4 <= hidden <= MAX_HIDDEN and hidden % 4 == 0
        ):  # fmt: skip
            raise BitstreamError(
                f"image-overfit header: {width}x{height}, tile {tile}, flags {flags}, networks "
                f"{around}+{features}/{hidden} from level {first}; the file is damaged"
            )
        colour = bool(flags & COLOUR)
        header = cls(
            width=width,
            height=height,
            tile=tile,
            colour=colour,
            alpha=bool(flags & ALPHA),
            deep=bool(flags & DEEP),
            shape=Shape(
                around=around, features=features, hidden=hidden, colours=3 if colour else 1, first=first
            ),
        )
        if header.chunk_count != chunks:
            raise BitstreamError(
                f"image-overfit header: {header.chunk_count} chunks needed, the file has {chunks}; "
                "it is damaged"
            )
        return header


def describe(reader: Reader) -> Facts:
    """Facts for `tersor info`; checks the header."""
    h = OverfitHeader.unpack(reader.header, len(reader.chunk_lengths))
    s = h.shape
    return Facts.of(
        reader,
        codec="image-overfit",
        signal="image",
        suffix=".png",
        shape=(h.height, h.width, h.channels),
        extra={
            "width": h.width,
            "height": h.height,
            "channels": h.channels,
            "bits_per_sample": 16 if h.deep else 8,
            "alpha": h.alpha,
            "bpp": round(8 * reader.size / (h.width * h.height), 4),
            "tiles": len(h.tiling),
            "tile": h.tile,
            "network": f"{s.around}+{s.features} contexts, {s.hidden} hidden, levels {s.first} to 6",
            "network_bytes": reader.chunk_lengths[0],
        },
    )
