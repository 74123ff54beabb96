"""The lossless codec's header: what was coded, then a field header of one variable, or of kinds from 5 the
grid of a picture (FORMAT.md, section "Lossless header").
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from tersor.codecs.field.header import FieldHeader
from tersor.codecs.lossless.colour import TRANSFORMS
from tersor.container import ByteReader, Reader, put_uvarint
from tersor.errors import BitstreamError, LimitExceededError
from tersor.facts import Facts
from tersor.signals.image import MAX_PIXELS, MAX_SIDE

WIRE_ID = 5  # F
ARRAY, IMAGE8, IMAGE16, PICTURE8, PICTURE16 = range(5)  # F
TILED_IMAGE, TILED_PICTURE = 5, 6  # F
MAX_TILE_SIDE = 1 << 14  # F bounds the memory of a tile
MAX_TILE_SAMPLES = 1 << 22  # F


@dataclass(frozen=True, slots=True, kw_only=True)
class LosslessHeader:
    """How the one variable of a file is to be understood.

    Attributes:
        kind: ARRAY, as it is; IMAGE of 8 or 16 bits per sample, PICTURE, an array [H, W, C] of such samples:
            the variable is its planes.
        transform: of the colours; see codecs/colour.py.
        field: the variable.
    """

    kind: int
    transform: str
    field: FieldHeader

    @property
    def image(self) -> bool:
        return self.kind in (IMAGE8, IMAGE16)

    @property
    def bytes_per_sample(self) -> int:
        return 1 if self.kind in (IMAGE8, PICTURE8) else 2

    def pack(self) -> bytes:
        return bytes([self.kind, TRANSFORMS.index(self.transform)]) + self.field.pack()

    @classmethod
    def unpack(cls, data: bytes, chunks: int) -> LosslessHeader:
        """Raises: BitstreamError: not such a header, or one that contradicts itself."""
        if len(data) < 2 or data[0] > PICTURE16 or data[1] >= len(TRANSFORMS):
            raise BitstreamError(
                f"lossless header: it starts with {data[:2].hex(' ') or 'nothing'}, "
                "which is no kind and transform; the file is damaged or newer"
            )
        field = FieldHeader.unpack(data[2:], chunks)
        if len(field.variables) != 1 or field.variables[0].mode != "lossless":
            raise BitstreamError(
                f"lossless header: {len(field.variables)} variables, the first "
                f"{field.variables[0].mode if field.variables else 'missing'}; the file is damaged"
            )
        v = field.variables[0]
        if data[0] != ARRAY and (
            len(v.shape) != 3 or v.shape[0] not in (1, 2, 3, 4) or 0 in v.shape or v.dtype.kind not in "iu"
        ):
            raise BitstreamError(f"lossless header: {v.dtype} {v.shape} is not an image; the file is damaged")
        if data[1] and (data[0] == ARRAY or v.shape[0] < 3):
            raise BitstreamError(
                "lossless header: colours are transformed where there are none; the file is damaged"
            )
        return cls(kind=data[0], transform=TRANSFORMS[data[1]], field=field)


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureHeader:
    """A picture in tiles, row by row; each tile says itself how it is coded (codecs/lossless/pictures.py).

    Attributes:
        image: whether it comes back as an image or as an array [H, W, C].
        bytes_per_sample: 1 or 2.
        channels: 1 to 4.
        width, height: in pixels.
        tile_width, tile_height: of a tile; the last of a row or column may be smaller.
    """

    image: bool
    bytes_per_sample: int
    channels: int
    width: int
    height: int
    tile_width: int
    tile_height: int

    @property
    def columns(self) -> int:
        return -(-self.width // self.tile_width)

    @property
    def rows(self) -> int:
        return -(-self.height // self.tile_height)

    def pack(self) -> bytes:
        kind = TILED_IMAGE if self.image else TILED_PICTURE
        numbers = (self.width, self.height, self.tile_width, self.tile_height)
        return bytes([kind, self.bytes_per_sample, self.channels]) + b"".join(map(put_uvarint, numbers))

    @classmethod
    def unpack(cls, data: bytes, chunks: int) -> PictureHeader:
        """Raises: BitstreamError: not such a header, or one that contradicts the file."""
        r = ByteReader(data, "lossless header")
        kind, size, channels = r.byte(), r.byte(), r.byte()
        width, height = r.uvarint(MAX_SIDE, "width"), r.uvarint(MAX_SIDE, "height")
        tile_width, tile_height = r.uvarint(MAX_TILE_SIDE, "tile width"), r.uvarint(MAX_SIDE, "tile height")
        r.end()
        if kind not in (TILED_IMAGE, TILED_PICTURE) or size not in (1, 2) or channels not in (1, 2, 3, 4):
            raise BitstreamError(
                f"lossless header: kind {kind}, {channels} channels of {size} bytes; "
                "the file is damaged or newer"
            )
        if 0 in (width, height, tile_width, tile_height):
            raise BitstreamError(
                f"lossless header: {width}x{height} in tiles of {tile_width}x{tile_height}; "
                "the file is damaged"
            )
        if width * height > MAX_PIXELS or tile_width * tile_height * channels > MAX_TILE_SAMPLES:
            raise LimitExceededError(
                f"lossless header: {width}x{height} of {channels} channels in tiles of "
                f"{tile_width}x{tile_height}; allowed are {MAX_PIXELS} pixels in all and "
                f"{MAX_TILE_SAMPLES} samples a tile"
            )
        header = cls(
            image=kind == TILED_IMAGE,
            bytes_per_sample=size,
            channels=channels,
            width=width,
            height=height,
            tile_width=tile_width,
            tile_height=tile_height,
        )
        if header.rows * header.columns != chunks:
            raise BitstreamError(
                f"lossless header: {header.rows * header.columns} tiles, but the file has {chunks} chunks; "
                "the file is damaged"
            )
        return header


def read_header(data: bytes, chunks: int) -> LosslessHeader | PictureHeader:
    """Either header, by its kind.

    Raises:
        BitstreamError: neither.
    """
    if data[:1] in (bytes([TILED_IMAGE]), bytes([TILED_PICTURE])):
        return PictureHeader.unpack(data, chunks)
    return LosslessHeader.unpack(data, chunks)


def describe(reader: Reader) -> Facts:
    """Facts for `tersor info`; checks the header."""
    header = read_header(reader.header, len(reader.chunk_lengths))
    facts: dict[str, object]
    if isinstance(header, PictureHeader):
        shape: tuple[int, ...] = (header.height, header.width, header.channels)
        size, tile = header.bytes_per_sample, f"{header.tile_width}x{header.tile_height}"
        facts = {"tiles": f"{len(reader.chunk_lengths)} of {tile}"}
        pictures = True
    else:
        v = header.field.variables[0]
        pictures = header.kind != ARRAY
        shape = (*v.shape[1:], v.shape[0]) if pictures else v.shape
        size = header.bytes_per_sample if pictures else v.dtype.itemsize
        facts = {"colours": header.transform} if pictures else {"type": str(v.dtype)}
        facts |= {
            "block": list(v.block),
            "blocks": len(reader.chunk_lengths),
            "tables": header.field.digest.hex(),
        }
    raw = math.prod(shape, start=size)
    if pictures:
        height, width, channels = shape
        facts = {"width": width, "height": height, "channels": channels, "bits_per_sample": 8 * size} | facts
    return Facts.of(
        reader,
        codec="lossless",
        signal="integers",
        suffix=".png" if header.image else ".npy",
        shape=shape,
        extra=facts | {"raw_bytes": raw, "ratio": round(raw / reader.size, 3)},
    )
