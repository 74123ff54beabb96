"""The header of an overfitted picture inside the container (FORMAT.md, section "image-overfit")."""

from __future__ import annotations

from dataclasses import dataclass

from tersor.codecs.image_overfit.network import REACH, Shape
from tersor.codecs.tiled import TiledPicture, flagged, read_size, read_tile
from tersor.container import ByteReader, Reader
from tersor.errors import BitstreamError, UnsupportedVersionError
from tersor.facts import Facts

WIRE_ID = 7  # F
PAYLOAD_VERSION = 1  # F: 0 was a draft
MAX_TILE = 4096  # F
MAX_WIDTH, MAX_HIDDEN, MAX_FIRST = 32, 64, 1  # F: bounds of networks in files


@dataclass(frozen=True, slots=True, kw_only=True)
class OverfitHeader(TiledPicture):
    """What a decoder must know before the first chunk.

    Attributes:
        shape: of the networks.
    """

    shape: Shape

    @property
    def chunk_count(self) -> int:
        """The network, the tiles, their alpha planes."""
        return 1 + len(self.tiling) * (1 + self.alpha)

    def pack(self) -> bytes:
        s = self.shape
        return (
            bytes([PAYLOAD_VERSION])
            + self.size_bytes()
            + bytes([self.flags])
            + self.tile_bytes()
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
        width, height = read_size(r)
        flags = r.byte()
        tile = read_tile(r, MAX_TILE)
        around, features, hidden, first = r.take(4)
        r.end()
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
        looks = flagged(flags)
        header = cls(
            width=width,
            height=height,
            tile=tile,
            **looks,
            shape=Shape(
                around=around,
                features=features,
                hidden=hidden,
                colours=3 if looks["colour"] else 1,
                first=first,
            ),
        )
        header.check_chunks(chunks, r.name)
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
            **h.facts(reader),
            "network": f"{s.around}+{s.features} contexts, {s.hidden} hidden, levels {s.first} to 6",
            "network_bytes": reader.chunk_lengths[0],
        },
    )
