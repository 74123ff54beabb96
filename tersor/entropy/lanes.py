"""Interleaved rANS: coders, usually 32, take turns over the values of a run and share one stream of 16-bit
words.

Each value's symbol is coded with the static table of its class; a table is 4096 slots shared out among the
symbols. A state is 32 bits wide and lies in [2^16, 2^32) between values; it sheds or takes 16 bits at a time,
so at most one word a value. Value i of a run belongs to coder i mod 32: 32 chains without a dependency among
them keep a processor's pipelines full. Runs follow each other in one stream: a decoder may need the values
of one to know the classes of the next.

encode, last value to first:   x >= f 2^20: emit x mod 2^16, x >>= 16;  x = (x div f) 2^12 + x mod f + start
decode, first value to last:   x = f (x >> 12) + (x mod 2^12) - start;  x < 2^16: x = x 2^16 + next word

Source: J. Duda, "Asymmetric numeral systems" (arXiv:1311.2540); interleaving after F. Giesen, "Interleaved
entropy coders" (arXiv:1402.3392). Division by a table's frequency is a multiplication with its reciprocal
and a correction (after Granlund and Montgomery, "Division by invariant integers using multiplication", 1994).
"""

from __future__ import annotations

import numpy as np

from tersor.entropy.compiled import compiled

LANES = 32  # F
TABLE_BITS = 12  # F
SLOTS = 1 << TABLE_BITS
LOWEST = 1 << 16  # F: a state between two values is at least this
MAX_SYMBOLS = 256  # F
CORRUPT = -1  # F
# M (tersor eval --codec tensor): entries between the tables of two classes; equal symbols would lie 4096
# bytes apart otherwise, in the same few lines of a processor's first cache
GAP = 20  # M


@compiled
def count(symbols, classes, counts):
    """How often each symbol occurs in each class.

    Args:
        symbols: uint16 [n].
        classes: uint8 [n].
        counts: uint32 [2, classes, spacing], added to; even values are counted in the first part, odd ones in
            the second, so that two equal neighbours need not wait for each other.
    """
    n = symbols.size
    for i in range(0, n - 1, 2):
        counts[0, np.uint64(classes[i]), np.uint64(symbols[i])] += np.uint32(1)
        counts[1, np.uint64(classes[i + 1]), np.uint64(symbols[i + 1])] += np.uint32(1)
    if n % 2:
        counts[0, np.uint64(classes[n - 1]), np.uint64(symbols[n - 1])] += np.uint32(1)


@compiled
def share_out(counts, frequencies):
    """Counts of each class -> frequencies that sum to 4096, at least 1 for what occurs; a class that does not
    occur gets zeros.

    Rounded down, then the remainder goes to the symbols one by one where it saves most, or is taken where it
    costs least; a step changes one frequency by one, so there are at most as many steps as symbols.

    Args:
        counts: int64 [classes, symbols], each below 2^40; at most 256 symbols.
        frequencies: int64 [classes, symbols], written.
    """
    for k in range(counts.shape[0]):
        total = 0
        for s in range(counts.shape[1]):
            total += counts[k, s]
        left = SLOTS
        for s in range(counts.shape[1]):
            f = 0
            if counts[k, s] > 0:
                f = max(1, counts[k, s] * SLOTS // total)
            frequencies[k, s] = f
            left -= f
        if total == 0:
            continue
        while left != 0:
            step = 1 if left > 0 else -1
            best, at = -1.0, -1
            for s in range(counts.shape[1]):
                f = frequencies[k, s]
                if f == 0 or (step < 0 and f == 1):
                    continue
                # bits saved by one slot more are about counts / f, by one slot less they are lost
                worth = counts[k, s] / (f + 0.5) if step > 0 else f / (counts[k, s] + 0.5)
                if worth > best:
                    best, at = worth, s
            frequencies[k, at] += step
            left -= step


@compiled
def encoding_table(frequencies, alphabet, spacing, table):
    """Frequencies -> for each class and symbol: frequency, reciprocal, start, shift.

    Args:
        frequencies: int64 [classes, letters]; each class sums to 4096 or is all 0.
        alphabet: int64 [letters], the symbol of each letter.
        spacing: rows of the table from one class to the next.
        table: uint32 [classes spacing, 4], written where a frequency is not 0.
    """
    for k in range(frequencies.shape[0]):
        start = 0
        for s in range(frequencies.shape[1]):
            f = frequencies[k, s]
            if f == 0:
                continue
            row = k * spacing + alphabet[s]
            shift = 0
            while (1 << shift) < f:
                shift += 1
            # ceil(2^(31+shift) / f): for f = 2^shift exactly 2^31; else below 2^32, as f > 2^(shift-1)
            table[row, 0] = f
            table[row, 1] = ((1 << (31 + shift)) + f - 1) // f
            table[row, 2] = start
            table[row, 3] = 31 + shift
            start += f


@compiled
def encode(symbols, classes, spacing, table, states, words, at):
    """Code the symbols of a run, last to first; runs too are coded last to first.

    Args:
        symbols: uint16 [n].
        classes: uint8 [n].
        spacing: of the table.
        table: uint32 [classes spacing, 4], of `encoding_table`.
        states: uint32 [lanes]: 2^16 each before the last run; after the first what the decoder starts with.
        words: uint16, at least an entry a symbol and one more; filled from its end.
        at: where the words of the run after this one begin; the number of entries for the last one.

    Returns:
        Where the words begin.
    """
    at = np.uint64(at)
    n, lanes = symbols.size, states.size
    wide = np.uint64(spacing)
    for i in range(n - 1, n - n % lanes - 1, -1):  # the last, incomplete turn
        lane = i % lanes
        at = _push(np.uint64(classes[i]) * wide + np.uint64(symbols[i]), table, states, lane, words, at)
    for turn in range(n - n % lanes - lanes, -1, -lanes):
        for lane in range(lanes - 1, -1, -1):
            i = np.uint64(turn + lane)
            at = _push(np.uint64(classes[i]) * wide + np.uint64(symbols[i]), table, states, lane, words, at)
    return np.int64(at)


@compiled
def encode_runs(symbols, classes, runs, spacing, table, states, words):
    """Code runs, last to first.

    Args:
        symbols, classes: of all runs, one after the other.
        runs: int64, symbols of each.
        spacing, table, states, words: as `encode` takes them.

    Returns:
        Where the words begin.
    """
    at, stop = words.size, symbols.size
    for i in range(runs.size - 1, -1, -1):
        start = stop - runs[i]
        at = encode(symbols[start:stop], classes[start:stop], spacing, table, states, words, at)
        stop = start
    return at


@compiled
def _push(row, table, states, lane, words, at):
    x = np.uint64(states[lane])
    f = np.uint64(table[row, 0])
    full = x >= f << np.uint64(20)
    words[at - np.uint64(1)] = np.uint16(x)
    at -= np.uint64(full)
    x = x >> np.uint64(16) if full else x
    # x < f 2^20 <= 2^32 and the reciprocal < 2^32: the product fits 64 bits
    quotient = x * np.uint64(table[row, 1]) >> np.uint64(table[row, 3])
    quotient -= np.uint64(quotient * f > x)  # the reciprocal is rounded up: too large by one where x is large
    states[lane] = np.uint32(x + np.uint64(table[row, 2]) + quotient * (np.uint64(SLOTS) - f))
    return at


@compiled
def decoding_table(frequencies, table):
    """Frequencies -> for each class and slot: frequency - 1 in bits 20 to 31, slot - start in bits 8 to 19,
    letter in bits 0 to 7.

    Args:
        frequencies: int64 [classes, letters]; each class sums to 4096 or is all 0.
        table: uint32 [classes << 12], written; a class without frequencies keeps what it holds.
    """
    for k in range(frequencies.shape[0]):
        slot = k << TABLE_BITS
        for s in range(frequencies.shape[1]):
            f = frequencies[k, s]
            for j in range(f):
                table[slot + j] = (f - 1) << 20 | j << 8 | s
            slot += f


@compiled
def decode(words, at, states, table, classes, alphabet, symbols):
    """Decode the symbols of a run, first to last.

    Args:
        words: uint16 [m + lanes], the stream and a zero a lane.
        at: the words taken by earlier runs.
        states: uint32 [lanes], of the encoder, or as the run before left them.
        table: uint32 [classes << 12], of `decoding_table`.
        classes: uint8 [n], each below the table's number of classes.
        alphabet: uint16 [256], the symbol of each letter.
        symbols: uint16 [n], written.

    Returns:
        The number of words taken in all, or CORRUPT if more are needed than there are.
    """
    at = np.uint64(at)
    n, lanes = symbols.size, states.size
    end = np.uint64(words.size - lanes)
    entries = np.empty(lanes, np.uint32)
    for turn in range(0, n, lanes):
        if at > end:
            return CORRUPT
        of, out = classes[turn : turn + lanes], symbols[turn : turn + lanes]
        for lane in range(out.size):
            x = states[lane]
            entry = table[np.uint32(of[lane]) << np.uint32(TABLE_BITS) | x & np.uint32(SLOTS - 1)]
            entries[lane] = entry
            # f (x >> 12) + slot - start <= 4096 (2^20 - 1) + 4095 < 2^32
            states[lane] = np.uint32(
                ((entry >> np.uint32(20)) + np.uint32(1)) * (x >> np.uint32(TABLE_BITS))
                + (entry >> np.uint32(8) & np.uint32(SLOTS - 1))
            )
        for lane in range(out.size):
            x = states[lane]
            fed = np.uint32(x << np.uint32(16)) | np.uint32(
                words[at]
            )  # always: a branch here is a coin's throw
            low = x < np.uint32(LOWEST)
            states[lane] = fed if low else x
            at += np.uint64(low)
            out[lane] = alphabet[entries[lane] & np.uint32(0xFF)]
    return np.int64(at) if at <= end else CORRUPT
