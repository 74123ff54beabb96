"""Which bits of a chunk's words are entropy-coded: chosen by the encoder, three bytes in the chunk."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tersor.arrays import Words
from tersor.codecs.tensor import planes
from tersor.container import ByteReader
from tersor.entropy.lanes import MAX_SYMBOLS
from tersor.errors import BitstreamError
from tersor.signals.dtypes import Kind

# M: by tersor eval --codec tensor, on weights that packages ship.
MAX_FIELD = 12  # F: bits of a field; 16 classes of it are a histogram of 256 KiB
TOP_BITS = 2  # M: mantissa bits coded with the exponent; a third one costs tables what it saves
SAMPLE = 1 << 12  # G


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The field of a word.

    Attributes:
        at: its lowest bit.
        bits: its width, 1 to 12.
        zeros: bits at the bottom of every word that are 0, at most `at`.
        word_bits: 8, 16, 32 or 64.
    """

    at: int
    bits: int
    zeros: int
    word_bits: int

    @property
    def width(self) -> int:
        """Bits of the rest."""
        return self.word_bits - self.bits - self.zeros

    @property
    def planes(self) -> int:
        """Whole bytes of the rest."""
        return self.width // 8

    def packed_size(self, n: int) -> int:
        """Bytes of what the planes leave, for n words."""
        return planes.packed_size(n, self.width % 8)

    def pack(self) -> bytes:
        return bytes([self.at, self.bits, self.zeros])

    @classmethod
    def unpack(cls, r: ByteReader, word_bits: int) -> Layout:
        at, bits, zeros = r.take(3)
        if not 1 <= bits <= MAX_FIELD or at + bits > word_bits or zeros > at:
            raise BitstreamError(
                f"{r.name}: a field of {bits} bits at bit {at} above {zeros} zeros in words of {word_bits} "
                "bits; the file is damaged"
            )
        return cls(at=at, bits=bits, zeros=zeros, word_bits=word_bits)


def layouts(words: Words, kind: Kind) -> Iterator[Layout]:
    """Layouts to try in turn until the field has no more than 256 symbols: exponent and the top of the
    mantissa for floats, fewer of it, then the lowest byte, as for integers.
    """
    word_bits = 8 * words.itemsize
    zeros = _trailing_zeros(words)
    if kind.exponent:
        for top in _tops(kind, zeros):
            at = max(kind.mantissa - top, zeros)
            bits = kind.mantissa + kind.exponent - at
            if 1 <= bits <= MAX_FIELD:
                yield Layout(at=at, bits=bits, zeros=zeros, word_bits=word_bits)
    at = min(zeros, word_bits - 8)
    yield Layout(at=at, bits=8, zeros=at, word_bits=word_bits)


def number_layout(words: Words, used: int) -> Layout:
    """For whole numbers in the upper `used` bits: all of them, or without the lowest if more than 256 values
    occur.
    """
    word_bits = 8 * words.itemsize
    for bits in range(min(used, MAX_FIELD), 0, -1):
        if bits <= 8 or _letters(words, word_bits - bits, bits) <= MAX_SYMBOLS:
            break
    return Layout(at=word_bits - bits, bits=bits, zeros=word_bits - used, word_bits=word_bits)


def _tops(kind: Kind, zeros: int) -> tuple[int, ...]:
    """Mantissa bits to code, best first: one more than usual where the rest then fills bytes."""
    if kind.bits == 8:
        return (kind.mantissa, 0)
    fills = (1 + kind.mantissa - (TOP_BITS + 1) - zeros) % 8 == 0
    return (TOP_BITS + 1, TOP_BITS, 1, 0) if fills else (TOP_BITS, 1, 0)


def _trailing_zeros(words: Words) -> int:
    some = int(np.bitwise_or.reduce(words[:: max(1, len(words) // SAMPLE)]))
    used = some if some & 1 else int(np.bitwise_or.reduce(words))
    return (used & -used).bit_length() - 1 if used else 0


def _letters(words: Words, at: int, bits: int) -> int:
    """Different values of a field."""
    seen = np.zeros(1 << bits, np.bool_)
    planes.see(words, at, bits, seen)
    return int(seen.sum())
