"""The lossless codec's header: what was coded, then a field header of one variable (FORMAT.md, section
"Lossless header").
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tersor.codecs.field.header import FieldHeader
from tersor.codecs.lossless.colour import TRANSFORMS
from tersor.container import Reader
from tersor.errors import BitstreamError

WIRE_ID = 5
ARRAY, IMAGE8, IMAGE16, PICTURE8, PICTURE16 = range(5)


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


def describe(reader: Reader) -> dict[str, Any]:
    """Facts for `tersor info`; checks the header."""
    header = LosslessHeader.unpack(reader.header, len(reader.chunk_lengths))
    v = header.field.variables[0]
    if header.kind == ARRAY:
        cells, size = v.shape, v.dtype.itemsize
        facts: dict[str, Any] = {"array": f"{v.dtype} {list(v.shape)}, blocks of {list(v.block)}"}
    else:
        cells, size = v.shape, header.bytes_per_sample
        facts = {
            "width": v.shape[2],
            "height": v.shape[1],
            "channels": v.shape[0],
            "bits_per_sample": 8 * header.bytes_per_sample,
            "colours": header.transform,
        }
    raw = size
    for n in cells:
        raw *= n
    return facts | {
        "blocks": len(reader.chunk_lengths),
        "tables": header.field.digest.hex(),
        "raw_bytes": raw,
        "ratio": round(raw / reader.size, 3),
    }
