"""The .tsr container: bytes, sections and checksums; it knows nothing of models. Normative text: FORMAT.md.

    magic 89 54 53 52 | version | codec | header | metadata | chunk table: (length, CRC-32) per chunk | CRC-32
    of all before | chunks

Numbers are unsigned LEB128 ("uvarint"), checksums CRC-32 (zlib) little endian. The reader checks every size
against the bytes that are there before it allocates.
"""

from __future__ import annotations

import io
import os
import threading
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from tersor.errors import (
    BitstreamError,
    ChecksumError,
    LimitExceededError,
    SignalError,
    TruncatedError,
    UnsupportedVersionError,
)

MAGIC = b"\x89TSR"
VERSION = 1  # F
MAX_HEADER = 1 << 16  # F
MAX_METADATA = 64 << 20  # F
MAX_CHUNKS = 1 << 20  # F
MAX_KEY = 1 << 10  # F
MOVED_AT_ONCE = 1 << 20  # G


def put_uvarint(value: int) -> bytes:
    """Unsigned LEB128, shortest form."""
    assert value >= 0
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


class ByteReader:
    """Reads a section of bytes front to back; running past its end is a TruncatedError that names the
    section.
    """

    def __init__(self, data: bytes, name: str) -> None:
        self.data, self.name, self.at = data, name, 0

    def take(self, n: int) -> bytes:
        if n > len(self.data) - self.at:
            raise TruncatedError(
                f"{self.name}: {n} bytes announced at offset {self.at}, {len(self.data) - self.at} left; "
                "the file is cut short or damaged",
                section=self.name,
                offset=self.at,
            )
        self.at += n
        return self.data[self.at - n : self.at]

    def byte(self) -> int:
        return self.take(1)[0]

    def uvarint(self, limit: int, what: str) -> int:
        """A number up to `limit`, in shortest form."""
        value = shift = 0
        while True:
            b = self.byte()
            value |= (b & 0x7F) << shift
            shift += 7
            if not b & 0x80:
                break
            if shift > 63:
                raise self._wrong(f"{what} is not a valid number; the file is damaged")
        if b == 0 and shift > 7:
            raise self._wrong(f"{what} is not in shortest form; the file is damaged")
        if value > limit:
            raise LimitExceededError(
                f"{self.name}: {what} is {value}, allowed are at most {limit}",
                section=self.name,
                offset=self.at,
            )
        return value

    def end(self) -> None:
        if self.at != len(self.data):
            raise self._wrong(f"{len(self.data) - self.at} bytes left over; the file is damaged")

    def _wrong(self, what: str) -> BitstreamError:
        return BitstreamError(f"{self.name}: {what}", section=self.name, offset=self.at)


def pack_metadata(metadata: Mapping[str, bytes]) -> bytes:
    """Named byte strings -> one zlib stream, or nothing if there are none."""
    if not metadata:
        return b""
    raw = b"".join(
        put_uvarint(len(k.encode())) + k.encode() + put_uvarint(len(v)) + v for k, v in metadata.items()
    )
    packed = zlib.compress(raw, 9)
    if max(len(raw), len(packed)) > MAX_METADATA or any(len(k.encode()) > MAX_KEY for k in metadata):
        raise SignalError(
            f"metadata of {len(raw)} bytes; at most {MAX_METADATA}, with keys of at most {MAX_KEY}, "
            "are allowed: drop the largest entry"
        )
    return packed


def unpack_metadata(data: bytes) -> dict[str, bytes]:
    if not data:
        return {}
    inflate = zlib.decompressobj()
    try:
        raw = inflate.decompress(data, MAX_METADATA + 1)
    except zlib.error as e:
        raise BitstreamError(f"metadata: not a zlib stream ({e}); the file is damaged") from e
    if len(raw) > MAX_METADATA:
        raise LimitExceededError(f"metadata: more than {MAX_METADATA} bytes when inflated")
    if not inflate.eof or inflate.unused_data:
        raise BitstreamError("metadata: incomplete zlib stream; the file is damaged")
    r = ByteReader(raw, "metadata")
    out: dict[str, bytes] = {}
    while r.at < len(raw):
        try:
            key = r.take(r.uvarint(MAX_KEY, "key length")).decode()
        except UnicodeDecodeError as e:
            raise BitstreamError("metadata: a key is not UTF-8; the file is damaged") from e
        out[key] = r.take(r.uvarint(MAX_METADATA, "value length"))
    return out


def write(codec: int, header: bytes, metadata: Mapping[str, bytes], chunks: Sequence[bytes]) -> bytes:
    """A whole file.

    Args:
        codec: wire id, from the registry.
        header: the codec's own header, at most 64 KiB.
        metadata: named byte strings that travel with the signal.
        chunks: independently decodable payloads.

    Raises:
        SignalError: more metadata or chunks than a reader accepts.
    """
    return _front(codec, header, metadata, [(len(c), zlib.crc32(c)) for c in chunks]) + b"".join(chunks)


def write_to(
    file: BinaryIO,
    codec: int,
    header: Callable[[], bytes],
    metadata: Mapping[str, bytes],
    chunks: Iterable[bytes],
) -> int:
    """As `write`, into a file, with one chunk at a time in memory; -> its size.

    Args:
        file: empty, readable and seekable.
        header: asked for after the last chunk.
    """
    table = []
    for c in chunks:
        file.write(c)
        table.append((len(c), zlib.crc32(c)))
    front, end = _front(codec, header(), metadata, table), file.tell()
    for at in reversed(range(0, end, MOVED_AT_ONCE)):
        file.seek(at)
        part = file.read(MOVED_AT_ONCE)
        file.seek(at + len(front))
        file.write(part)
    file.seek(0)
    file.write(front)
    return len(front) + end


def _front(
    codec: int, header: bytes, metadata: Mapping[str, bytes], table: Sequence[tuple[int, int]]
) -> bytes:
    if len(header) > MAX_HEADER or len(table) > MAX_CHUNKS:
        raise SignalError(
            f"{len(table)} chunks and a header of {len(header)} bytes; "
            f"at most {MAX_CHUNKS} and {MAX_HEADER} are allowed: use larger tiles"
        )
    packed = pack_metadata(metadata)
    front = bytearray(MAGIC + bytes([VERSION]) + put_uvarint(codec))
    front += put_uvarint(len(header)) + header + put_uvarint(len(packed)) + packed + put_uvarint(len(table))
    for length, crc in table:
        front += put_uvarint(length) + crc.to_bytes(4, "little")
    return bytes(front + zlib.crc32(front).to_bytes(4, "little"))


@dataclass(frozen=True, slots=True)
class _Span:
    offset: int
    length: int
    crc: int


class Reader:
    """A .tsr file opened for reading; chunks are read, and checked, one at a time.

    Args:
        source: the bytes, or a seekable binary file that stays open while chunks are read.
        salvage: take a file that is cut short, or has something appended; chunks that are not there fail
            their checksum.

    Attributes:
        fault: what is wrong with the length of a file that was taken to be salvaged; None if nothing is.

    Raises:
        BitstreamError: not a .tsr file, or a damaged front; see the subclasses.
    """

    def __init__(self, source: bytes | bytearray | memoryview | BinaryIO, *, salvage: bool = False) -> None:
        self._reading = threading.Lock()
        self._file: BinaryIO = (
            io.BytesIO(bytes(source)) if isinstance(source, (bytes, bytearray, memoryview)) else source
        )
        try:
            self.size = self._file.seek(0, os.SEEK_END)
            self._file.seek(0)
            start = self._file.read(5)
        except (OSError, AttributeError) as e:
            raise SignalError(f"not a seekable binary file ({e}); read a pipe into bytes first") from e
        if start[:4] != MAGIC:
            raise BitstreamError(
                f"not a .tsr file: it starts with {start[:4].hex(' ') or 'nothing'}, not {MAGIC.hex(' ')}"
            )
        if len(start) < 5:
            raise TruncatedError("the file ends after its magic number")
        if start[4] != VERSION:
            raise UnsupportedVersionError(
                f"format version {start[4]}; this tersor reads version {VERSION}: install a newer tersor"
            )
        # The front is small; read it in growing pieces so that a huge file is not loaded to look at its
        # header.
        self._front = bytearray(start)
        self._at = 5
        self.codec = self._uvarint((1 << 32) - 1, "codec id")
        self.header = self._take(self._uvarint(MAX_HEADER, "header length"))
        packed = self._take(self._uvarint(MAX_METADATA, "metadata length"))
        count = self._uvarint(MAX_CHUNKS, "chunk count")
        if count * 5 > self.size - self._at:
            raise TruncatedError(
                f"chunk table: {count} chunks announced, {self.size - self._at} bytes left; "
                "the file is cut short or damaged"
            )
        lengths, crcs = [], []
        for i in range(count):
            lengths.append(
                self._uvarint((1 << 63) - 1, f"length of chunk {i}")
            )  # held against the file below
            crcs.append(int.from_bytes(self._take(4), "little"))
        expected = zlib.crc32(bytes(self._front[: self._at]))
        stored = int.from_bytes(self._take(4), "little")
        if stored != expected:
            raise ChecksumError(f"header: CRC-32 {expected:08x}, stored {stored:08x}; the file is damaged")
        self._front.clear()
        self.metadata_bytes = packed
        self.front_size = self._at
        self._spans = []
        offset = self._at
        for length, crc in zip(lengths, crcs, strict=True):
            self._spans.append(_Span(offset, length, crc))
            offset += length
        self.fault = self._length_fault(offset)
        if self.fault and not salvage:
            raise self.fault

    def _length_fault(self, end: int) -> BitstreamError | None:
        if end > self.size:
            return TruncatedError(
                f"chunks end at byte {end}, the file at {self.size}; it is cut short: "
                "salvage (decode --salvage) keeps the rest",
                offset=self.size,
            )
        if end < self.size:
            return BitstreamError(
                f"{self.size - end} bytes after the last chunk; "
                "the file is damaged or has something appended",
                offset=end,
            )
        return None

    def _take(self, n: int) -> bytes:
        if self._at + n > self.size:
            raise TruncatedError(
                f"header: {n} bytes announced at offset {self._at}, the file ends at {self.size}; "
                "it is cut short or damaged"
            )
        while len(self._front) < self._at + n:
            more = self._file.read(max(4096, len(self._front), self._at + n - len(self._front)))
            if not more:
                raise TruncatedError("header: the file became shorter while it was read")
            self._front += more
        self._at += n
        return bytes(self._front[self._at - n : self._at])

    def _uvarint(self, limit: int, what: str) -> int:
        n = 1
        while self._take(n)[-1] & 0x80:
            self._at -= n
            n += 1
            if n > 10:
                raise BitstreamError(f"header: {what} is not a valid number; the file is damaged")
        return ByteReader(bytes(self._front[self._at - n : self._at]), "header").uvarint(limit, what)

    def part(self, codec: int, header: bytes, metadata: bytes, first: int, count: int) -> Reader:
        """Some of the chunks as if they were a file of their own, of another codec: the sound of a video. It
        reads from the same file.
        """
        own = object.__new__(Reader)
        own._reading, own._file, own.size = self._reading, self._file, self.size
        own.codec, own.header, own.metadata_bytes = codec, header, metadata
        own.front_size, own.fault = 0, None
        own._spans = self._spans[first : first + count]
        return own

    @property
    def metadata(self) -> dict[str, bytes]:
        return unpack_metadata(self.metadata_bytes)

    @property
    def chunk_lengths(self) -> list[int]:
        return [s.length for s in self._spans]

    def chunk(self, index: int) -> bytes:
        """The bytes of one chunk.

        Raises:
            ChecksumError: they do not match their checksum.
        """
        span = self._spans[index]
        with self._reading:  # blocks are decoded in several threads
            at = min(span.offset, self.size)
            self._file.seek(at)
            data = self._file.read(min(span.length, self.size - at))
        crc = zlib.crc32(data)
        if crc != span.crc or len(data) != span.length:
            raise ChecksumError(
                f"chunk {index}: CRC-32 {crc:08x}, stored {span.crc:08x}; the file is damaged there",
                section=f"chunk {index}",
                chunk=index,
                offset=span.offset,
            )
        return data

    def damaged_chunks(self) -> list[int]:
        """Indices of the chunks that fail their checksum; needs no model."""
        bad = []
        for i in range(len(self._spans)):
            try:
                self.chunk(i)
            except ChecksumError:
                bad.append(i)
        return bad
