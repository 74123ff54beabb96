"""One chunk of a tensor without loss: unsigned words in, bytes out, and back (FORMAT.md, "Tensor chunk").

    words --split--> field (exponent, top of the mantissa) --classes of rows and columns--> interleaved rANS
                 |-> bytes of the rest, each raw, or rANS where it is not uniform (numbers rounded once)
                 `-> the last bits, packed

    STORED    0 | the words
    CONSTANT  1 | one word
    REPEATED  4 | the words (LZMA2)
    CODED     2 | length of side information, side information (zlib) | stream of the field |
                  stream or raw bytes of each plane | packed bits

Source: exponents of networks hold 2 to 3 bits: T. Zhang et al., "70% size, 100% accuracy" (DFloat11,
arXiv:2504.11651) and M. Hershcovitch et al., "ZipNN" (arXiv:2411.05239). What is added here are classes: a
weight's scale is its row's times its column's.
"""

from __future__ import annotations

import lzma
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tersor.arrays import Words
from tersor.codecs.tensor import planes, scales, stream
from tersor.codecs.tensor.layout import Layout, layouts
from tersor.container import ByteReader, put_uvarint
from tersor.entropy import lanes
from tersor.errors import BitstreamError
from tersor.signals.dtypes import Kind

STORED, CONSTANT, CODED, REPEATED = 0, 1, 2, 4  # F: 3 is quantised.QUANTISED
# M: by tersor eval --codec tensor, on weights that packages ship.
MAX_VALUES = 1 << 22  # F
MAX_SIDE = 1 << 24  # F: of side information, inflated; 2^22 rows of one byte and tables take less
SAMPLE = 1 << 15  # M: of a plane, to see whether it is uniform
UNIFORM = 0.994  # G: entropy of a plane, per bit, from which it is kept raw
SAMPLE_OF_ALIKE = 1 << 13  # G: words on which it is seen whether numbers come again
ALIKE = 0.75  # G: share of different numbers, and of bytes after LZMA, up to which it is taken
# F: what decoders must know; the encoder's effort is that of preset 0
LZMA = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 1 << 20, "lc": 0, "lp": 2, "pb": 2}]
SIDE_EFFORT = 6  # M: zlib's; 9 takes three times as long and saves nothing visible


def encode(words: Words, columns: int, kind: Kind) -> bytes:
    """Bytes of a chunk.

    Args:
        words: uint8, uint16, uint32 or uint64 [n], 1 to 2^23, row by row.
        columns: words in a row; the last row may be short.
        kind: of the numbers.
    """
    if words[0] == words[len(words) // 2] and (words == words[0]).all():
        return bytes([CONSTANT]) + words[:1].tobytes()
    if words.itemsize >= 4 and (data := _repeated(words)):
        return data
    for layout in layouts(words, kind):
        levels = None
        if kind.exponent and layout.at + layout.bits == kind.mantissa + kind.exponent:
            levels = scales.Levels(words=words, at=kind.mantissa, bits=kind.exponent)
        if data := encode_words(words, columns, layout, levels):
            return data
    raise AssertionError("the last layout fits everything")


def _repeated(words: Words) -> bytes | None:
    """For numbers that are few and come again and again, such as the basis of a transform."""
    some = words[:: max(1, len(words) // SAMPLE_OF_ALIKE)]
    if len(np.unique(some)) > ALIKE * len(some):
        return None
    middle = words[len(words) // 2 :][: 4 * SAMPLE_OF_ALIKE]
    if len(_lzma(middle)) > ALIKE * middle.nbytes:
        return None
    packed = _lzma(words)
    return bytes([REPEATED]) + packed if len(packed) < ALIKE * words.nbytes else None


def _lzma(words: Words) -> bytes:
    return lzma.compress(words.data, lzma.FORMAT_RAW, filters=LZMA)


def encode_words(words: Words, columns: int, layout: Layout, levels: scales.Levels | None) -> bytes | None:
    """As `encode`, with the layout given and a scale that may be read elsewhere; never longer than the words
    and a byte. None if the field has more than 256 symbols.
    """
    n = len(words)
    field = np.empty(n, np.uint16)
    rest, packed = np.empty((layout.planes, n), np.uint8), np.zeros(layout.packed_size(n), np.uint8)
    planes.split(words, layout.at, layout.bits, layout.zeros, field, rest, packed)
    grid = scales.choose(levels, field, columns, layout.bits)
    classes = grid.classes(n, columns)
    counts = stream.histogram(field, classes, grid.number, layout.bits)
    if counts.any(0).sum() > lanes.MAX_SYMBOLS:
        return None
    tables, coded = stream.write(field, classes, counts)
    side: list[bytes] = [layout.pack(), grid.pack(), tables]
    body: list[Words] = list(coded)
    by_row = np.zeros(n if layout.planes else 0, np.uint8)
    if layout.planes:
        short = _short_rows(rest[0], columns)
        side.append(bytes([bool(short.any())]))
        if short.any():
            side.append(np.packbits(short).tobytes())
            by_row = _spread(short, n, columns)
    for plane in rest:
        if _is_uniform(plane, by_row):
            side.append(b"\0")
            body.append(plane)
        else:
            field[:] = plane  # its symbols are coded: the array serves again
            tables, coded = stream.write(field, by_row, stream.histogram(field, by_row, 2, 8))
            side.append(b"\1" + tables)
            body += coded
    packed_side = zlib.compress(b"".join(side), SIDE_EFFORT)
    # type: ignore[list-item]
    parts: list[Any] = [bytes([CODED]), put_uvarint(len(packed_side)), packed_side, *body, packed]
    data = b"".join(parts)
    return data if len(data) <= words.nbytes else bytes([STORED]) + words.tobytes()


def _short_rows(plane: NDArray[np.uint8], columns: int) -> NDArray[np.bool_]:
    """Rows whose lowest byte is 0 throughout: they were rounded once, and their other bytes look different as
    well.
    """
    whole = len(plane) // columns * columns
    short = ~plane[:whole].reshape(-1, columns).any(1)
    return short if whole == len(plane) else np.append(short, not plane[whole:].any())


def _is_uniform(plane: NDArray[np.uint8], by_row: NDArray[np.uint8]) -> bool:
    """Whether coding a plane would save too little; on a sample."""
    step = max(1, len(plane) // SAMPLE)
    counts = np.zeros((2, 2, 256 + lanes.GAP), np.uint32)
    lanes.count(plane[::step].astype(np.uint16), np.ascontiguousarray(by_row[::step]), counts)
    return float(planes.entropy(counts)[0]) > 8 * UNIFORM * len(plane[::step])


def _spread(short: NDArray[np.bool_], n: int, columns: int) -> NDArray[np.uint8]:
    out = np.empty(n, np.uint8)
    planes.classes(short.astype(np.int16), np.zeros(columns, np.int16), 1, out)
    return out


def decode(data: bytes, columns: int, out: Words, name: str) -> None:
    """Words of a chunk.

    Args:
        data: of `encode`.
        columns: words in a row.
        out: uint [n], written.
        name: of the chunk, for errors.

    Raises:
        BitstreamError: bytes that no encoder writes.
    """
    r = ByteReader(data, name)
    mode = r.byte()
    if mode == STORED:
        out[:] = stream.taken_as(r, out.dtype.str, len(out))
    elif mode == CONSTANT:
        out[:] = np.frombuffer(r.take(out.itemsize), out.dtype)
    elif mode == REPEATED:
        out[:] = np.frombuffer(_unlzma(r.take(len(data) - 1), out.nbytes, name), out.dtype)
    elif mode == CODED:
        _decode_coded(r, columns, out)
    else:
        raise BitstreamError(
            f"{name}: a chunk of kind {mode}; known are 0 to 4: the file is damaged or newer"
        )
    r.end()


def _decode_coded(r: ByteReader, columns: int, out: Words) -> None:
    n, rows = len(out), -(-len(out) // columns)
    side = ByteReader(
        inflate(r.take(r.uvarint(MAX_SIDE, "length of side information")), r.name),
        f"{r.name}: side information",
    )
    layout = Layout.unpack(side, 8 * out.itemsize)
    grid = scales.Grid.unpack(side, rows, columns)
    field = np.empty(n, np.uint16)
    heads = [stream.read_tables(side, grid.number, layout.bits, n)]
    by_row = np.zeros(n if layout.planes else 0, np.uint8)
    if layout.planes and side.byte():
        short = np.unpackbits(np.frombuffer(side.take(-(-rows // 8)), np.uint8), count=rows)
        by_row = _spread(short.astype(bool), n, columns)
    coded = []
    for _ in range(layout.planes):
        coded.append(side.byte() != 0)
        if coded[-1]:
            heads.append(stream.read_tables(side, 2, 8, n))
    side.end()
    needed = sum(h.size for h in heads) + (layout.planes - sum(coded)) * n + layout.packed_size(n)
    if needed != len(r.data) - r.at:
        raise BitstreamError(
            f"{r.name}: {len(r.data) - r.at} bytes of data where its tables announce {needed}; the file is "
            "damaged"
        )
    stream.read(heads.pop(0), r, grid.classes(n, columns), field)
    rest = np.empty((layout.planes, n), np.uint8)
    symbols = np.empty(n if any(coded) else 0, np.uint16)
    for plane, is_coded in zip(rest, coded, strict=True):
        if is_coded:
            stream.read(heads.pop(0), r, by_row, symbols)
            plane[:] = symbols
        else:
            plane[:] = stream.taken_as(r, "u1", n)
    packed = stream.taken_as(r, "u1", layout.packed_size(n)).copy()
    planes.merge(field, layout.at, layout.bits, layout.zeros, rest, packed, out)


def _unlzma(data: bytes, size: int, name: str) -> bytes:
    coder = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=LZMA)
    try:
        raw = coder.decompress(data, size + 1)
    except (lzma.LZMAError, EOFError) as e:
        raise BitstreamError(f"{name}: not an LZMA stream ({e}); the file is damaged") from e
    if len(raw) != size or coder.unused_data:
        raise BitstreamError(f"{name}: an LZMA stream that is not of {size} bytes; the file is damaged")
    return raw


def inflate(data: bytes, name: str) -> bytes:
    """A zlib stream of at most MAX_SIDE bytes.

    Raises:
        BitstreamError: it is longer, cut short or damaged.
    """
    coder = zlib.decompressobj()
    try:
        raw = coder.decompress(data, MAX_SIDE + 1)
    except zlib.error as e:
        raise BitstreamError(f"{name}: not a zlib stream ({e}); the file is damaged") from e
    if len(raw) > MAX_SIDE or not coder.eof or coder.unused_data:
        raise BitstreamError(
            f"{name}: a zlib stream longer than {MAX_SIDE} bytes or cut short; the file is damaged"
        )
    return raw
