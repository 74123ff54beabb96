"""Which frequencies the classes of a nested block have: those of a frozen table, or measured ones of their
own.

    a byte a class that occurs    0..127: shape + 4 (shift + 20), the frozen table of level class + 1 + shift;
                                  128: measured, frequencies follow

Measured frequencies are those of sizes, the same for both signs: uvarint number of sizes below 16 and of
buckets, then the frequency of each size from 1 and of each bucket; 0 has what is left of 4096.
"""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

from tersor.codecs.field.nested_loops import CLASSES
from tersor.container import ByteReader, put_uvarint
from tersor.entropy.lanes import SLOTS
from tersor.entropy.letters import BUCKETS, ESCAPE, FIRST_BUCKET, LETTERS, OWN, costs, frozen_frequencies
from tersor.entropy.magnitude_tables import LEVELS, SHAPES, MagnitudeTables
from tersor.errors import BitstreamError

LEAST_SHIFT, SHIFTS = -20, 32  # F
MEASURED = 128  # F
WORTH_MEASURING = 2000  # G: symbols of a class

Ints = NDArray[np.int64]


@functools.lru_cache(maxsize=4)
def _frozen_costs(tables: MagnitudeTables) -> NDArray[np.float32]:
    return costs(frozen_frequencies(tables))


def choose(counts: Ints, tables: MagnitudeTables, measure: bool) -> tuple[bytes, Ints, float]:
    """The cheapest tables for a histogram.

    Args:
        counts: int64 [CLASSES, LETTERS]; escapes are not in it.
        measure: try measured frequencies.

    Returns:
        bytes; frequencies int64 [CLASSES, LETTERS], 0 of classes that do not occur; bits of all letters.
    """
    frozen, bits = frozen_frequencies(tables), _frozen_costs(tables)
    used = np.flatnonzero(counts[1:].any(1)) + 1
    out = np.zeros((CLASSES, LETTERS), np.int64)
    out[0, 0] = SLOTS
    head, own, total = bytearray(), bytearray(), 0.0
    shifts = LEAST_SHIFT + np.arange(SHIFTS)
    for c in used.tolist():
        levels = (c + 1 + shifts).clip(0, LEVELS)
        letters = np.flatnonzero(counts[c])
        price = bits[:, levels][:, :, letters] @ counts[c, letters].astype(np.float32)
        shape, shift = divmod(int(price.argmin()), len(shifts))
        best = float(price[shape, shift])
        out[c] = frozen[shape, levels[shift]]
        kind = shape | shift << 2
        if measure and counts[c].sum() >= WORTH_MEASURING:
            frequencies = measured(counts[c])
            packed = _pack(frequencies)
            price_own = float(costs(frequencies) @ counts[c]) + 7 * len(packed)
            if price_own < best:
                best, kind = price_own, MEASURED
                out[c] = frequencies
                own += packed
        head.append(kind)
        total += best
    mask = np.packbits(counts[1:].any(1)).tobytes()
    return mask + bytes(head) + bytes(own), out, total


def measured(counts: Ints) -> Ints:
    """Frequencies of one class, the same for both signs, of letters that occur."""
    pairs = counts[1:FIRST_BUCKET].reshape(-1, 2).sum(1)
    total = int(counts.sum())
    halves = np.where(pairs, np.maximum(1, (pairs * SLOTS + total) // (2 * total)), 0)
    buckets = counts[FIRST_BUCKET:ESCAPE]
    buckets = np.where(buckets, np.maximum(1, (buckets * 2 * SLOTS + total) // (2 * total)), 0)
    ideal = max(1, int(counts[0]) * SLOTS // total)
    while (rest := SLOTS - 2 * int(halves.sum()) - int(buckets.sum())) < ideal:
        if max(int(halves.max()), int(buckets.max())) == 1:
            break  # every letter that occurs keeps its slot
        if int(halves.max()) >= int(buckets.max()):
            halves[int(halves.argmax())] -= 1
        else:
            buckets[int(buckets.argmax())] -= 1
    while rest > ideal + 1 and halves.any():
        halves[int(halves.argmax())] += 1
        rest -= 2
    out = np.zeros(LETTERS, np.int64)
    out[0] = rest
    out[1:FIRST_BUCKET] = halves.repeat(2)
    out[FIRST_BUCKET:ESCAPE] = buckets
    return out


def _pack(frequencies: Ints) -> bytes:
    halves, buckets = frequencies[1:FIRST_BUCKET:2], frequencies[FIRST_BUCKET:ESCAPE]
    n, m = (int(np.flatnonzero(v).max(initial=-1)) + 1 for v in (halves, buckets))
    values = [n, m, *halves[:n].tolist(), *buckets[:m].tolist()]
    return b"".join(map(put_uvarint, values))


def unpack(r: ByteReader, tables: MagnitudeTables) -> Ints:
    """Frequencies [CLASSES, LETTERS].

    Raises:
        BitstreamError: tables that no encoder writes.
    """
    frozen = frozen_frequencies(tables)
    used = np.flatnonzero(np.unpackbits(np.frombuffer(r.take((CLASSES - 1) // 8), np.uint8))) + 1
    out = np.zeros((CLASSES, LETTERS), np.int64)
    out[0, 0] = SLOTS
    for c, kind in zip(used.tolist(), r.take(len(used)), strict=True):
        if kind > MEASURED:
            raise BitstreamError(f"{r.name}: a table of kind {kind}; known are 0 to {MEASURED}")
        if kind < MEASURED:
            level = min(max(c + 1 + (kind >> 2) + LEAST_SHIFT, 0), LEVELS)
            out[c] = frozen[kind % len(SHAPES), level]
        else:
            out[c, 0] = -1
    for c in np.flatnonzero(out[:, 0] < 0).tolist():
        n, m = r.uvarint(OWN - 1, "number of sizes"), r.uvarint(BUCKETS, "number of buckets")
        row = np.zeros(LETTERS, np.int64)
        for i in range(n):
            row[2 * i + 1] = row[2 * i + 2] = r.uvarint(SLOTS, "a frequency")
        for i in range(m):
            row[FIRST_BUCKET + i] = r.uvarint(SLOTS, "a frequency")
        row[0] = SLOTS - int(row.sum())
        if row[0] < 1:
            raise BitstreamError(f"{r.name}: frequencies that sum to more than {SLOTS}; the file is damaged")
        out[c] = row
    return out
