from __future__ import annotations

import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tersor import container
from tersor.container import ByteReader, Reader
from tersor.errors import (
    BitstreamError,
    ChecksumError,
    LimitExceededError,
    TruncatedError,
    UnsupportedVersionError,
)

VECTOR = bytes.fromhex(
    "89 54 53 52 01 e8 07 02 68 69 0c 78 da 63 cc 66 2c 03 00 01 c1 00 e4 02 03 7f 89 54 08 00 00 00 00 "
    "00 7d 5e ab 49 00 01 02"
)
files = st.builds(
    container.write,
    st.integers(0, (1 << 32) - 1),
    st.binary(max_size=40),
    st.dictionaries(st.text(max_size=8), st.binary(max_size=40), max_size=3),
    st.lists(st.binary(max_size=60), max_size=5),
)


def test_vector_of_the_specification() -> None:
    r = Reader(VECTOR)
    assert (r.codec, r.header, r.metadata) == (1000, b"hi", {"k": b"v"})
    assert [r.chunk(i) for i in range(2)] == [b"\0\1\2", b""]


@given(
    st.integers(0, (1 << 32) - 1),
    st.binary(max_size=300),
    st.dictionaries(st.text(max_size=20), st.binary(max_size=300)),
    st.lists(st.binary(max_size=9000), max_size=8),
)
def test_round_trip(codec: int, header: bytes, metadata: dict[str, bytes], chunks: list[bytes]) -> None:
    r = Reader(io.BytesIO(container.write(codec, header, metadata, chunks)))
    assert (r.codec, r.header, r.metadata) == (codec, header, metadata)
    assert [r.chunk(i) for i in range(len(chunks))] == chunks
    assert r.damaged_chunks() == []


@given(files, st.data())
@settings(max_examples=300)
def test_any_truncation_is_an_error(file: bytes, data: st.DataObject) -> None:
    with pytest.raises(BitstreamError):
        Reader(file[: data.draw(st.integers(0, len(file) - 1))])


@given(files, st.data())
@settings(max_examples=500)
def test_any_flipped_bit_is_an_error(file: bytes, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, 8 * len(file) - 1))
    damaged = bytearray(file)
    damaged[at // 8] ^= 1 << at % 8
    with pytest.raises(BitstreamError):
        r = Reader(bytes(damaged))
        for i in range(len(r.chunk_lengths)):
            r.chunk(i)


@given(st.binary(max_size=200))
def test_garbage_is_an_error(data: bytes) -> None:
    for garbage in (data, container.MAGIC + data, container.MAGIC + b"\1" + data):
        with pytest.raises(BitstreamError):
            Reader(garbage)


@given(st.integers(0, (1 << 63) - 1))
def test_uvarint_round_trip(value: int) -> None:
    r = ByteReader(container.put_uvarint(value), "test")
    assert r.uvarint(1 << 63, "number") == value
    r.end()


@pytest.mark.parametrize("data", [b"\x80\x00", b"\xff" * 11, b"\x80" * 12 + b"\1"])
def test_uvarint_in_any_other_form_is_an_error(data: bytes) -> None:
    with pytest.raises(BitstreamError):
        ByteReader(data, "test").uvarint(1 << 64, "number")


def test_each_failure_has_its_own_error() -> None:
    file = container.write(1, b"header", {}, [b"payload"])
    with pytest.raises(UnsupportedVersionError, match="version 9"):
        Reader(file[:4] + b"\x09" + file[5:])
    with pytest.raises(TruncatedError):
        Reader(file[:-1])
    with pytest.raises(ChecksumError, match="chunk 0"):
        Reader(file[:-1] + b"!").chunk(0)
    with pytest.raises(BitstreamError, match="not a .tsr file"):
        Reader(b"\x89PNG\r\n")
    with pytest.raises(BitstreamError, match="nothing"):
        Reader(b"")


def test_huge_announcements_allocate_nothing() -> None:
    front = container.MAGIC + b"\1\1" + container.put_uvarint(1 << 40)
    with pytest.raises(LimitExceededError):
        Reader(front)
    with pytest.raises(TruncatedError, match="chunk table"):
        Reader(container.MAGIC + b"\1\1\0\0" + container.put_uvarint(1 << 19) + b"\0" * 64)


def test_metadata_bomb_is_an_error() -> None:
    import zlib

    bomb = zlib.compress(b"\0" * (container.MAX_METADATA + 10), 9)
    with pytest.raises(LimitExceededError):
        container.unpack_metadata(bomb)
