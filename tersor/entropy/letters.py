"""Integers as letters of a small alphabet and raw bits, and frequencies of letters by class.

    |q| < 16    a letter of its own, 0, -1, 1, -2, ...
    others      a letter for the octave of |q| and its two bits after the first; the rest and the sign are raw
    what a class has no frequency for    the last letter; sign and 32 bits are raw

Classes take their frequencies from the frozen magnitude tables (a shape and a scale), or from the stream.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tersor.entropy.compiled import compiled
from tersor.entropy.lanes import SLOTS
from tersor.entropy.magnitude_tables import LEVELS, MagnitudeTables

OWN = 16  # F: |q| from which letters are buckets
FIRST_BUCKET = 2 * OWN - 1  # F
OCTAVE = 4  # F: of OWN
BUCKETS = 4 * (32 - OCTAVE)  # F
ESCAPE = FIRST_BUCKET + BUCKETS  # F
LETTERS = ESCAPE + 1  # F
ESCAPE_BITS = 33  # F


@compiled
def letter_of(q):  # pragma: no cover
    """The letter of an integer below 2^32 in size."""
    size = abs(np.int64(q))
    if size < OWN:
        return 2 * size - (q < 0)
    octave = OCTAVE
    while size >> (octave + 1):
        octave += 1
    return FIRST_BUCKET + 4 * (octave - OCTAVE) + (size >> (octave - 2)) - 4


@compiled
def letters_of(symbols, classes, letters, counts):  # pragma: no cover
    """Letters [n] of symbols [n]; adds to counts [classes, LETTERS]."""
    for i in range(len(symbols)):
        q = np.int64(symbols[i])
        z = q << 1 ^ q >> 63
        letter = z if z < FIRST_BUCKET else letter_of(q)
        letters[i] = letter
        counts[np.uint64(classes[i]), np.uint64(letter)] += 1


@compiled
def raw_bits(symbols, classes, letters, known, out):  # pragma: no cover
    """What letters leave open, as bits, least significant first; letters that a class does not know become
    ESCAPE.

    Args:
        known: bool [classes, LETTERS].
        out: uint8, zeros; room for 5 bytes a bucket or escape and 8 more.

    Returns:
        the number of bytes.
    """
    at = 0
    for i in range(len(symbols)):
        letter = np.int64(letters[i])
        if not known[classes[i], letter]:
            letters[i] = letter = ESCAPE
        if letter < FIRST_BUCKET:
            continue
        q = np.int64(symbols[i])
        size = abs(q)
        n = ESCAPE_BITS - 1 if letter == ESCAPE else (letter - FIRST_BUCKET) // 4 + OCTAVE - 2
        bits = (size & ((1 << n) - 1)) << 1 | (q < 0)
        n += 1
        while n > 0:
            free = 8 - (at & 7)
            out[at >> 3] |= (bits << (at & 7)) & 255
            used = min(free, n)
            bits >>= used
            at += used
            n -= used
    return (at + 7) >> 3


@compiled
def symbols_of(letters, raw, at, symbols):  # pragma: no cover
    """Symbols [n] of letters [n]; `raw` is read from bit `at` and ends in 8 bytes of nothing.

    Returns:
        the bit after the last one; -1 if there are too few.
    """
    end = 8 * (len(raw) - 8)
    for i in range(len(letters)):
        letter = np.int64(letters[i])
        if letter < FIRST_BUCKET:
            symbols[i] = (letter + 1 >> 1) * (1 - 2 * (letter & 1))
            continue
        n = ESCAPE_BITS - 1 if letter == ESCAPE else (letter - FIRST_BUCKET) // 4 + OCTAVE - 2
        if at + n + 1 > end:
            return -1
        bits = np.int64(0)
        for k in range(6):
            bits |= np.int64(raw[(at >> 3) + k]) << (8 * k)
        bits >>= at & 7
        at += n + 1
        size = bits >> 1 & ((1 << n) - 1)
        if letter != ESCAPE:
            size |= (((letter - FIRST_BUCKET) & 3) + 4) << n
        size = min(size, (1 << 31) - 1)
        symbols[i] = -size if bits & 1 else size
    return at


@functools.lru_cache(maxsize=4)
def frozen_frequencies(tables: MagnitudeTables) -> NDArray[np.int64]:
    """Frequencies of letters of each shape and level of the frozen tables, [shapes, LEVELS + 1, LETTERS]:
    integer arithmetic.
    """
    out = np.zeros((len(tables.shapes), LEVELS + 1, LETTERS), np.int64)
    for shape, frozen in zip(out, tables.shapes, strict=True):
        for row, counts in zip(shape, frozen.counts, strict=True):
            if len(counts) == 1:  # as good as certain
                row[0], row[ESCAPE] = SLOTS - 1, 1
                continue
            radius = len(counts) // 2
            letters = [letter_of(q) for q in range(-radius, radius + 1)]
            letters[0] = letters[-1] = ESCAPE  # "that far or further"
            sums = np.bincount(letters, counts.astype(np.float64), LETTERS).astype(np.int64)
            row[:] = shared_out(sums)
    out.flags.writeable = False
    return out


def shared_out(sums: NDArray[np.int64]) -> NDArray[np.int64]:
    """Counts that sum to 2^16 -> frequencies that sum to 2^12, in integers: rounded, what becomes 0 is left
    to ESCAPE, which has at least 1; the most frequent letter takes the remainder.
    """
    total = int(sums.sum())
    row = (sums * (2 * SLOTS) + total) // (2 * total)
    row[ESCAPE] = max(1, int(row[ESCAPE]))
    row[int(row.argmax())] += SLOTS - int(row.sum())
    return row


def costs(frequencies: NDArray[np.int64]) -> NDArray[np.float32]:
    """Bits of each letter, raw ones included, [..., LETTERS]; what is unknown costs an escape."""
    bits = 12 - np.log2(np.maximum(frequencies, 1)).astype(np.float32)
    raw = np.zeros(LETTERS, np.float32)
    raw[FIRST_BUCKET:ESCAPE] = np.arange(BUCKETS) // 4 + OCTAVE - 1
    raw[ESCAPE] = ESCAPE_BITS
    bits += raw
    escape: Any = np.where(frequencies[..., ESCAPE:] > 0, bits[..., ESCAPE:], 100.0)
    return np.where(frequencies > 0, bits, escape).astype(np.float32)
