"""Pictures in square tiles: which pixels each has, and what their headers have in common."""

from __future__ import annotations

from dataclasses import dataclass

from tersor.container import ByteReader, Reader, put_uvarint
from tersor.errors import BitstreamError, LimitExceededError
from tersor.signals.image import MAX_PIXELS, MAX_SIDE

TILE_UNIT = 64  # F: a tile's side is a multiple of it
COLOUR, ALPHA, DEEP = 1, 2, 4  # F
Box = tuple[int, int, int, int]  # top, left, bottom, right; half open


@dataclass(frozen=True, slots=True)
class Tiling:
    """Square tiles, numbered row by row; the last of a row or column may be smaller.

    Attributes:
        width, height: of what is tiled, in pixels or in latents.
        tile: side of a tile.
    """

    width: int
    height: int
    tile: int

    @property
    def columns(self) -> int:
        return -(-self.width // self.tile)

    @property
    def rows(self) -> int:
        return -(-self.height // self.tile)

    def __len__(self) -> int:
        return self.rows * self.columns

    def box(self, index: int) -> Box:
        """Where a tile lies."""
        row, column = divmod(index, self.columns)
        top, left = row * self.tile, column * self.tile
        return top, left, min(top + self.tile, self.height), min(left + self.tile, self.width)

    def touching(self, box: Box) -> list[int]:
        """Tiles that share something with a box inside."""
        top, left, bottom, right = box
        rows = range(top // self.tile, -(-bottom // self.tile))
        return [r * self.columns + c for r in rows for c in range(left // self.tile, -(-right // self.tile))]


@dataclass(frozen=True, slots=True, kw_only=True)
class TiledPicture:
    """What headers of pictures in tiles have in common.

    Attributes:
        width, height: pixels.
        tile: side of a tile, a multiple of 64 pixels.
        colour: RGB rather than grey.
        alpha: an alpha plane follows, exact.
        deep: 16 bits per sample rather than 8.
    """

    width: int
    height: int
    tile: int
    colour: bool
    alpha: bool
    deep: bool

    @property
    def tiling(self) -> Tiling:
        return Tiling(self.width, self.height, self.tile)

    @property
    def channels(self) -> int:
        return (3 if self.colour else 1) + self.alpha

    @property
    def flags(self) -> int:
        return COLOUR * self.colour | ALPHA * self.alpha | DEEP * self.deep

    @property
    def chunk_count(self) -> int:
        """Tiles, and their alpha planes."""
        return len(self.tiling) * (1 + self.alpha)

    def size_bytes(self) -> bytes:
        """Width and height, as `read_size` takes them."""
        return put_uvarint(self.width) + put_uvarint(self.height)

    def tile_bytes(self) -> bytes:
        """The side of a tile, as `read_tile` takes it."""
        return put_uvarint(self.tile // TILE_UNIT)

    def check_chunks(self, chunks: int, name: str) -> None:
        """Raises: BitstreamError: the file has not the chunks that the header speaks of."""
        if self.chunk_count != chunks:
            raise BitstreamError(
                f"{name}: {self.chunk_count} chunks needed, the file has {chunks}; it is damaged"
            )

    def facts(self, reader: Reader) -> dict[str, object]:
        """For `tersor info`."""
        return {
            "width": self.width,
            "height": self.height,
            "channels": self.channels,
            "bits_per_sample": 16 if self.deep else 8,
            "alpha": self.alpha,
            "bpp": round(8 * reader.size / (self.width * self.height), 4),
            "tiles": len(self.tiling),
            "tile": self.tile,
        }


def read_size(r: ByteReader) -> tuple[int, int]:
    """Width and height.

    Raises:
        LimitExceededError: more pixels than any picture may have.
    """
    width, height = r.uvarint(MAX_SIDE, "width"), r.uvarint(MAX_SIDE, "height")
    if width * height > MAX_PIXELS:
        raise LimitExceededError(f"{r.name}: {width}x{height} is more than {MAX_PIXELS} pixels")
    return width, height


def read_tile(r: ByteReader, most: int) -> int:
    """The side of a tile, of at most so many pixels."""
    return TILE_UNIT * r.uvarint(most // TILE_UNIT, "tile side")


def flagged(flags: int) -> dict[str, bool]:
    """Flags as arguments of a header."""
    return {"colour": bool(flags & COLOUR), "alpha": bool(flags & ALPHA), "deep": bool(flags & DEEP)}
