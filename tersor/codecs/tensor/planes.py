"""Numbers taken apart into a field that is entropy-coded and bits that are not, and put together again.

    a word of W bits:   [ above | field | below | trailing zeros ]
                                 `bits` wide, at bit `at`; `zeros` bits are 0 in all words and not kept

The rest is above and below side by side, above on top, width = W - bits - zeros. Of its bytes, lowest first,
each whole one is a plane [n]; what is left on top (width mod 8) is cut into pieces of 4, 2 and 1 bits, lowest
first, and each piece packed by blocks of 2^14 values: byte j of a block of m values holds those of values j,
j + s, j + 2 s ..., s = ceil(m / (8 / piece)), lowest first. So packing is a few shifts of whole rows, which
compilers turn into vector instructions.
"""

from __future__ import annotations

import numpy as np

from tersor.entropy.compiled import compiled, inlined

BLOCK = 1 << 14  # F


@compiled
def split(values, at, bits, zeros, field, planes, packed):
    """Take values apart.

    Args:
        values: uint8, uint16, uint32 or uint64 [n].
        at: lowest bit of the field, at least `zeros`.
        bits: width of the field, 1 to 16.
        zeros: trailing bits that are 0 in all values.
        field: uint16 [n], written.
        planes: uint8 [width div 8, n], written.
        packed: uint8 [`packed_size`], zeros; written.
    """
    n = values.size
    top = np.uint64(
        np.iinfo(values.dtype).bits - 1
    )  # a shift known to stay inside lets the compiler use narrow lanes
    width = np.iinfo(values.dtype).bits - bits - zeros
    whole, left = width // 8, width % 8
    mask = np.uint64((1 << bits) - 1)
    below = np.uint64((1 << (at - zeros)) - 1)
    lift, drop = np.uint64(at) & top, np.uint64(zeros) & top
    over = np.uint64(at + bits)
    has_above = at + bits < np.iinfo(values.dtype).bits
    rest = np.empty(BLOCK, values.dtype)
    odd = np.empty(BLOCK, np.uint8)
    to = np.zeros(3, np.int64)
    to[1] = (n * 4 + 7) // 8 if left & 4 else 0
    to[2] = to[1] + ((n * 2 + 7) // 8 if left & 2 else 0)
    for first in range(0, n, BLOCK):
        m = min(BLOCK, n - first)
        part, symbols = values[first : first + m], field[first : first + m]
        for i in range(m):
            symbols[i] = np.uint16(np.uint64(part[i]) >> lift & mask)
        if width == 0:
            continue
        for i in range(m):
            rest[i] = np.uint64(part[i]) >> drop & below
        if has_above:
            for i in range(m):
                rest[i] |= np.uint64(part[i]) >> (over & top) << np.uint64(at - zeros)
        for p in range(whole):
            shift = np.uint64(8 * p) & top
            plane = planes[p, first : first + m]
            for i in range(m):
                plane[i] = np.uint8(np.uint64(rest[i]) >> shift)
        if left:
            shift = np.uint64(8 * whole) & top
            for i in range(m):
                odd[i] = np.uint8(np.uint64(rest[i]) >> shift)
            if left & 4:
                to[0] = _pack(odd, m, 4, packed, to[0])
            if left & 2:
                to[1] = _pack(odd, m, 2, packed, to[1])
            if left & 1:
                to[2] = _pack(odd, m, 1, packed, to[2])


@inlined
def _pack(odd, m, piece, packed, to):
    """The lowest `piece` bits of m values into `packed` from byte `to` on, and out of `odd`; -> the end."""
    per = 8 // piece
    stride = (m + per - 1) // per
    low = odd[:m]
    for k in range(per):
        count = min(stride, m - stride * k)
        if count > 0:
            into, part = packed[to : to + count], low[stride * k : stride * k + count]
            for i in range(count):
                into[i] |= np.uint8((part[i] & np.uint8((1 << piece) - 1)) << np.uint8(piece * k & 7))
    for i in range(m):
        low[i] = low[i] >> np.uint8(piece)
    return to + stride


@compiled
def merge(field, at, bits, zeros, planes, packed, values):
    """Put values together: the inverse of `split`, with its arguments; `values` is written."""
    n = values.size
    top = np.uint64(np.iinfo(values.dtype).bits - 1)
    width = np.iinfo(values.dtype).bits - bits - zeros
    whole, left = width // 8, width % 8
    below = np.uint64((1 << (at - zeros)) - 1)
    lift, drop = np.uint64(at) & top, np.uint64(zeros) & top
    over = np.uint64(at + bits)
    has_above = at + bits < np.iinfo(values.dtype).bits
    rest = np.empty(BLOCK, values.dtype)
    odd = np.empty(BLOCK, np.uint8)
    start = np.zeros(3, np.int64)
    start[1] = (n * 4 + 7) // 8 if left & 4 else 0
    start[2] = start[1] + ((n * 2 + 7) // 8 if left & 2 else 0)
    for first in range(0, n, BLOCK):
        m = min(BLOCK, n - first)
        part, symbols = values[first : first + m], field[first : first + m]
        for i in range(m):
            part[i] = np.uint64(symbols[i]) << lift
        if width == 0:
            continue
        if left:
            for i in range(m):
                odd[i] = 0
            if left & 1:
                start[2] = _unpack(odd, m, 1, packed, start[2])
            if left & 2:
                start[1] = _unpack(odd, m, 2, packed, start[1])
            if left & 4:
                start[0] = _unpack(odd, m, 4, packed, start[0])
            shift = np.uint64(8 * whole) & top
            for i in range(m):
                rest[i] = np.uint64(odd[i]) << shift
        else:
            for i in range(m):
                rest[i] = 0
        for p in range(whole):
            shift = np.uint64(8 * p) & top
            plane = planes[p, first : first + m]
            for i in range(m):
                rest[i] |= np.uint64(plane[i]) << shift
        for i in range(m):
            part[i] |= (np.uint64(rest[i]) & below) << drop
        if has_above:
            for i in range(m):
                part[i] |= np.uint64(rest[i]) >> (np.uint64(at - zeros) & top) << over


@inlined
def _unpack(odd, m, piece, packed, start):
    """The inverse of `_pack`, so pieces come back in the opposite order; -> where the next block starts."""
    per = 8 // piece
    stride = (m + per - 1) // per
    low = odd[:m]
    for i in range(m):
        low[i] = np.uint8(low[i] << np.uint8(piece))
    for k in range(per):
        count = min(stride, m - stride * k)
        if count > 0:
            source, part = packed[start : start + count], low[stride * k : stride * k + count]
            for i in range(count):
                part[i] |= np.uint8(source[i] >> np.uint8(piece * k & 7)) & np.uint8((1 << piece) - 1)
    return start + stride


def packed_size(n: int, left: int) -> int:
    """Bytes of the packed pieces of n values.

    Args:
        n: number of values.
        left: bits that fill no byte, 0 to 7.
    """
    size = 0
    for piece in (4, 2, 1):
        if left & piece:
            per = 8 // piece
            size += n // BLOCK * (BLOCK // per) + -(-(n % BLOCK) // per)
    return size


@compiled
def scales(values, at, bits, floor, columns, rows_out, columns_out):
    """Sums of a field over rows and columns, for the encoder's choice of classes.

    Args:
        values: uint [n], row by row; the last row may be short.
        at: lowest bit of the exponent.
        bits: its width.
        floor: smaller exponents count as this one, so that a few zeros do not hide the scale of the rest.
        columns: values in a row.
        rows_out: int64 [ceil(n / columns)], written.
        columns_out: int64 [columns], written.
    """
    n = values.size
    top = np.uint64(np.iinfo(values.dtype).bits - 1)
    lift, mask = np.uint64(at) & top, np.uint64((1 << bits) - 1)
    low = np.int32(floor)
    sums = np.zeros(columns, np.int32)  # 2^22 values below 2^9 at most, or 2^19 in a row or column below 2^12
    for r in range(rows_out.size):
        part = values[r * columns : min(n, (r + 1) * columns)]
        total = np.int32(0)
        for j in range(part.size):
            e = max(np.int32(np.uint64(part[j]) >> lift & mask), low)
            total += e
            sums[j] += e
        rows_out[r] = total
    for j in range(columns):
        columns_out[j] = sums[j]


@compiled
def classes(rows, columns, highest, out):
    """Class of each value: its row's plus its column's, held inside 0..highest.

    Args:
        rows: int16 [R], each -128 to 127.
        columns: int16 [C], each -128 to 127.
        highest: 0 to 15.
        out: uint8 [n], n <= R C, written row by row.
    """
    n, wide = out.size, columns.size
    for r in range(rows.size):
        row = rows[r]
        part = out[r * wide : min(n, (r + 1) * wide)]
        for j in range(part.size):
            part[j] = np.uint8(min(max(np.int16(row + columns[j]), np.int16(0)), np.int16(highest)))


@compiled
def see(values, at, bits, seen):
    """Mark the values of a field that occur; seen: bool [2^bits]."""
    top = np.uint64(np.iinfo(values.dtype).bits - 1)
    lift, mask = np.uint64(at) & top, np.uint64((1 << bits) - 1)
    for i in range(values.size):
        seen[np.uint64(values[i]) >> lift & mask] = True


@compiled
def entropy(counts):
    """Bits that symbols take with ideal tables, and how many letters the tables have; counts: uint32 [2,
    classes, n].
    """
    total, letters = 0.0, 0
    for k in range(counts.shape[1]):
        all_of_class = 0
        for i in range(counts.shape[2]):
            c = np.int64(counts[0, k, i]) + np.int64(counts[1, k, i])
            if c > 0:
                all_of_class += c
                letters += 1
                total -= c * np.log2(c)
        if all_of_class > 0:
            total += all_of_class * np.log2(all_of_class)
    return total, letters
