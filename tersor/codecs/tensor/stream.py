"""One entropy-coded stream of a chunk: its tables, and the words of 32 interleaved coders.

tables:  letters (uvarint) | the symbol of each, as differences (uvarints) | frequencies, uint16 [classes,
    letters], low bytes first
stream:  32 states, uint32 | words, uint16                            (all little endian)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tersor.arrays import Words
from tersor.container import ByteReader, put_uvarint
from tersor.entropy import lanes
from tersor.errors import BitstreamError

STATES_BYTES = 4 * lanes.LANES


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """Tables, and where the words of a chunk's stream are.

    Attributes:
        alphabet: int64 [letters], rising.
        frequencies: int64 [classes, letters]; a class sums to 4096, or to 0 if it does not occur.
        words: number of them.
    """

    alphabet: NDArray[np.int64]
    frequencies: NDArray[np.int64]
    words: int

    @property
    def size(self) -> int:
        """Bytes of the states and words."""
        return STATES_BYTES + 2 * self.words


def histogram(
    symbols: NDArray[np.uint16], classes: NDArray[np.uint8], number: int, bits: int
) -> NDArray[np.uint32]:
    """Counts [number of classes, 2^bits] of symbols [n] of classes [n]."""
    counts = np.zeros((2, number, (1 << bits) + lanes.GAP), np.uint32)
    lanes.count(symbols, classes, counts)
    return (counts[0] + counts[1])[:, : 1 << bits]


def write(
    symbols: NDArray[np.uint16], classes: NDArray[np.uint8], counts: NDArray[np.uint32]
) -> tuple[bytes, list[Words]]:
    """Code symbols; -> tables, parts of the stream.

    Args:
        symbols: uint16 [n].
        classes: uint8 [n], below the number of rows of counts.
        counts: uint32 [classes, 2^bits], the histogram; at most 256 symbols occur.
    """
    spacing = counts.shape[1] + lanes.GAP
    occurs = counts.any(0)
    alphabet = np.flatnonzero(occurs)
    assert len(alphabet) <= lanes.MAX_SYMBOLS
    frequencies = np.empty((len(counts), len(alphabet)), np.int64)
    lanes.share_out(counts[:, alphabet].astype(np.int64), frequencies)
    table = np.empty((len(counts) * spacing, 4), np.uint32)
    lanes.encoding_table(frequencies, alphabet, spacing, table)
    states, words = np.full(lanes.LANES, lanes.LOWEST, np.uint32), np.empty(len(symbols) + 1, np.uint16)
    first = lanes.encode(symbols, classes, spacing, table, states, words, len(words))
    shares = frequencies.astype("<u2").view(np.uint8).reshape(-1, 2).T
    tables = put_uvarint(len(words) - first) + np.packbits(occurs).tobytes() + shares.tobytes()
    return tables, [states.astype("<u4", copy=False), words[first:].astype("<u2", copy=False)]


def read_tables(r: ByteReader, classes: int, bits: int, n: int) -> Stream:
    """The tables of a stream.

    Args:
        r: where they begin.
        classes: number of them.
        bits: symbols are below 2^bits.
        n: symbols of the stream.

    Raises:
        BitstreamError: tables that no encoder writes.
    """
    words = r.uvarint(n, "number of words")
    occurs = np.unpackbits(np.frombuffer(r.take(((1 << bits) + 7) // 8), np.uint8))
    alphabet = np.flatnonzero(occurs)
    letters = len(alphabet)
    if not 1 <= letters <= lanes.MAX_SYMBOLS or alphabet[-1] >= 1 << bits:
        raise BitstreamError(f"{r.name}: a table of {letters} letters; allowed are 1 to {lanes.MAX_SYMBOLS}")
    shares = np.frombuffer(r.take(2 * classes * letters), np.uint8).reshape(2, classes, letters)
    shares = shares.astype(np.int64)
    frequencies = shares[0] | shares[1] << 8
    sums = frequencies.sum(1)
    if ((sums != 0) & (sums != lanes.SLOTS)).any():
        raise BitstreamError(f"{r.name}: frequencies that do not sum to {lanes.SLOTS}; the file is damaged")
    return Stream(alphabet=alphabet, frequencies=frequencies, words=words)


def read(stream: Stream, r: ByteReader, classes: NDArray[np.uint8], symbols: NDArray[np.uint16]) -> None:
    """Decode the symbols [n] of classes [n] into `symbols`.

    Raises:
        BitstreamError: words that do not fit the tables.
    """
    # a class that does not occur decodes to its zeros
    table = np.zeros(len(stream.frequencies) << lanes.TABLE_BITS, np.uint32)
    lanes.decoding_table(stream.frequencies, table)
    alphabet = np.zeros(lanes.MAX_SYMBOLS, np.uint16)
    alphabet[: len(stream.alphabet)] = stream.alphabet
    states = np.frombuffer(r.take(STATES_BYTES), "<u4").astype(np.uint32)
    words: Words = np.empty(stream.words + lanes.LANES, np.uint16)
    words[: stream.words] = taken_as(r, "<u2", stream.words)
    words[stream.words :] = 0
    taken = lanes.decode(words, 0, states, table, classes, alphabet, symbols)
    if taken != stream.words or (states != lanes.LOWEST).any():
        raise BitstreamError(
            f"{r.name}: the coded values do not end where their words do; the file is damaged"
        )


def taken_as(r: ByteReader, dtype: str, n: int) -> Words:
    """The next n numbers of a section, where they lie."""
    size = n * np.dtype(dtype).itemsize
    if size > len(r.data) - r.at:
        r.take(size)  # which says what is missing
    r.at += size
    return np.frombuffer(r.data, dtype, n, r.at - size)
