"""The tensor codec's header: the index of tensors (FORMAT.md, section "tensor").

0: the rest is chunk 0 (of files with many tensors, whose index is longer than a header may be), or
length of the index inflated | index (zlib): number of tensors, then of each, in the order of the chunks:
    name | type | shape | coding | tied: number of the tensor it is;  else: words in a row | rows in a chunk |
    bound
"""

from __future__ import annotations

import functools
import math
import struct
import zlib
from collections import Counter
from dataclasses import dataclass

from tersor.container import ByteReader, Reader, put_uvarint
from tersor.errors import BitstreamError, LimitExceededError, SignalError
from tersor.facts import Facts
from tersor.signals.dtypes import KINDS, Kind, size_bytes

WIRE_ID = 8  # F
MAX_INDEX = 1 << 26  # F: bytes of the index, inflated
IN_CHUNK = b"\0"  # F: a header whose index is in chunk 0
MAX_AXES = 64  # F
MAX_TENSORS = 1 << 20  # F: no more than a container has chunks
MAX_BYTES = 1 << 48  # F: of one tensor
MAX_CHUNK_WORDS = 1 << 23  # F
MAX_NAME = 1 << 12  # F: bytes
TYPES = tuple(KINDS)  # F: a type's number in files; new ones go to the end of KINDS
CODINGS = ("lossless", "tied", "max_error", "rel_error", "cosine_error", "bits_per_value")  # F
LOSSLESS, TIED = CODINGS[:2]
FILE_KEY, INDEX_KEY, TEXT_KEY = "safetensors/", "index/", "text"  # F: in the container's metadata


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One tensor of a file.

    Attributes:
        name: UTF-8.
        dtype: see `tersor.signals.dtypes`.
        shape: of its numbers.
        coding: of CODINGS.
        tied_to: number of the earlier tensor that it is, if the coding is "tied".
        columns: words in a row, as the chunks see it; 0 if tied.
        rows: rows in a chunk; the last chunk may be shorter, and its last row too.
        asked: the bound, of codings with loss.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    coding: str = LOSSLESS
    tied_to: int = 0
    columns: int = 0
    rows: int = 0
    asked: float = 0.0

    @property
    def kind(self) -> Kind:
        return KINDS[self.dtype]

    @property
    def words(self) -> int:
        """Words of the whole tensor."""
        return size_bytes(self.dtype, self.shape) // self.kind.word

    @property
    def chunk_words(self) -> int:
        return self.rows * self.columns

    @property
    def chunks(self) -> int:
        return 0 if self.coding == TIED else -(-self.words // self.chunk_words)

    def pack(self) -> bytes:
        name = self.name.encode()
        out = put_uvarint(len(name)) + name + bytes([TYPES.index(self.dtype)]) + put_uvarint(len(self.shape))
        out += b"".join(map(put_uvarint, self.shape)) + bytes([CODINGS.index(self.coding)])
        if self.coding == TIED:
            return out + put_uvarint(self.tied_to)
        out += put_uvarint(self.columns) + put_uvarint(self.rows)
        return out if self.coding == LOSSLESS else out + struct.pack("<d", self.asked)

    @classmethod
    def unpack(cls, r: ByteReader) -> Entry:
        try:
            name = r.take(r.uvarint(MAX_NAME, "length of a name")).decode()
        except UnicodeDecodeError as e:
            raise BitstreamError(f"{r.name}: a name is not UTF-8; the file is damaged") from e
        code = r.byte()
        shape = tuple(r.uvarint(MAX_BYTES, "shape") for _ in range(r.uvarint(MAX_AXES, "axes")))
        coding = r.byte()
        if code >= len(TYPES) or coding >= len(CODINGS):
            raise BitstreamError(
                f"{r.name}: '{name}' has type {code} and coding {coding}; the file is damaged or newer"
            )
        dtype, coding_name = TYPES[code], CODINGS[coding]
        if math.prod(shape) > MAX_BYTES or math.prod(shape) * KINDS[dtype].bits % 8:
            raise LimitExceededError(
                f"{r.name}: '{name}' has the shape {list(shape)}, which is no tensor of {dtype}"
            )
        if coding_name == TIED:
            return cls(
                name=name, dtype=dtype, shape=shape, coding=TIED, tied_to=r.uvarint(MAX_TENSORS, "tie")
            )
        columns = r.uvarint(MAX_CHUNK_WORDS, "words in a row")
        rows = r.uvarint(MAX_CHUNK_WORDS, "rows in a chunk")
        if not 1 <= rows * columns <= MAX_CHUNK_WORDS:
            raise LimitExceededError(
                f"{r.name}: chunks of '{name}' have {rows} rows of {columns} words; allowed are 1 to "
                f"{MAX_CHUNK_WORDS} words"
            )
        asked = 0.0 if coding_name == LOSSLESS else float(struct.unpack("<d", r.take(8))[0])
        return cls(
            name=name, dtype=dtype, shape=shape, coding=coding_name, columns=columns, rows=rows, asked=asked
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorHeader:
    """All tensors of a file, in the order of their chunks.

    Attributes:
        entries: of each.
        first: the first chunk that holds some of them; 1 where chunk 0 is the index.
    """

    entries: tuple[Entry, ...]
    first: int = 0

    @classmethod
    def of(cls, reader: Reader) -> TensorHeader:
        """The header of an opened file.

        Raises:
            BitstreamError: not such a header, or one that contradicts itself or the number of chunks.
        """
        chunks = len(reader.chunk_lengths)
        if reader.header != IN_CHUNK:
            return cls.unpack(reader.header, chunks, 0)
        if not chunks:
            raise BitstreamError(
                "tensor header: the index is to be in chunk 0, and there is none; it is damaged"
            )
        return cls.unpack(reader.chunk(0), chunks, 1)

    def pack(self) -> bytes:
        raw = put_uvarint(len(self.entries)) + b"".join(e.pack() for e in self.entries)
        return put_uvarint(len(raw)) + zlib.compress(raw, 9)

    @classmethod
    @functools.lru_cache(
        maxsize=8
    )  # an index of thousands takes longer than a tensor: info and read share it
    def unpack(cls, data: bytes, chunks: int, first: int) -> TensorHeader:
        """Check and take apart.

        Args:
            data: of `pack`.
            chunks: of the file.
            first: of the tensors.

        Raises:
            BitstreamError: not such a header, or one that contradicts itself or the number of chunks.
        """
        outer = ByteReader(data, "tensor header")
        length = outer.uvarint(MAX_INDEX, "length of the index")
        inflate = zlib.decompressobj()
        try:
            raw = inflate.decompress(data[outer.at :], length + 1)
        except zlib.error as e:
            raise BitstreamError(f"tensor header: not a zlib stream ({e}); the file is damaged") from e
        if len(raw) != length or not inflate.eof or inflate.unused_data:
            raise BitstreamError(
                f"tensor header: its index is not of the {length} bytes announced; the file is damaged"
            )
        r = ByteReader(raw, "tensor header")
        entries: list[Entry] = []
        names = set()
        for i in range(r.uvarint(MAX_TENSORS, "number of tensors")):
            entry = Entry.unpack(r)
            if entry.name in names:
                raise BitstreamError(
                    f"tensor header: two tensors are called '{entry.name}'; the file is damaged"
                )
            names.add(entry.name)
            if entry.coding == TIED:
                of = entries[entry.tied_to] if entry.tied_to < i else entry
                if of.coding == TIED or (of.dtype, of.shape) != (entry.dtype, entry.shape):
                    raise BitstreamError(
                        f"tensor header: '{entry.name}' is tied to number {entry.tied_to}, which it cannot be"
                    )
            entries.append(entry)
        r.end()
        if (needed := first + sum(e.chunks for e in entries)) != chunks:
            raise BitstreamError(
                f"tensor header: its shapes take {needed} chunks, the file has {chunks}; the file is damaged"
            )
        return cls(entries=tuple(entries), first=first)

    def starts(self) -> list[int]:
        """Number of each tensor's first chunk."""
        out, at = [], self.first
        for e in self.entries:
            out.append(at)
            at += e.chunks
        return out

    def number(self, name: str) -> int:
        """Position of a tensor.

        Raises:
            SignalError: there is none of this name.
        """
        for i, e in enumerate(self.entries):
            if e.name == name:
                return i
        first = ", ".join(e.name for e in self.entries[:8])
        raise SignalError(
            f"no tensor '{name}'; the file has {len(self.entries)}: {first}{' ...' * (len(self.entries) > 8)}"
        )


def describe(reader: Reader) -> Facts:
    """Facts for `tersor info`; checks the header."""
    header = TensorHeader.of(reader)
    own = [e for e in header.entries if e.coding != TIED]
    raw = sum(size_bytes(e.dtype, e.shape) for e in own)
    types = Counter(e.dtype for e in own)
    lossy = Counter(f"{e.coding} {e.asked:g}" for e in own if e.coding != LOSSLESS)
    facts: dict[str, object] = {
        "tensors": len(header.entries),
        "numbers": sum(math.prod(e.shape) for e in own),
        "types": ", ".join(f"{n} {t}" for t, n in sorted(types.items())),
        "coding": ", ".join(
            [f"{n} {c}" for c, n in lossy.items()] + ["lossless"] * (sum(lossy.values()) < len(own))
        ),
        "chunks": len(reader.chunk_lengths),
        "raw_bytes": raw,
        "ratio": round(raw / reader.size, 3),
    }
    if tied := len(header.entries) - len(own):
        facts["tied"] = tied
    # model.safetensors.index.tsr -> model.safetensors.index.json
    index = any(k.startswith(INDEX_KEY) for k in reader.metadata)
    return Facts.of(
        reader,
        codec="tensor",
        signal="tensors",
        suffix=".json" if index else ".safetensors",
        extra=facts,
    )
