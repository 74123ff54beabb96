"""Symbols to bytes and back: frozen tables, rANS.

A table holds integer counts that sum to 65,536 over the symbols -R..R; R differs by table and its two ends
mean "this far or further": what lies beyond follows as a uvarint beside the rANS stream. Symbols are sorted
by table (stable) and coded table by table, so the coder runs on arrays, not on symbols.

    payload = uvarint(2 x bytes of escapes + (exceptions?)) | [uvarint(bytes of exceptions) | exceptions] |
    escapes | rANS words, 32 bit little endian

A certain table, of radius 0, says that its symbols are 0, and they are not coded. The few that are not 0 are
exceptions, listed beside the stream by their place among all certain symbols: whatever a model is sure of, a
picture it never saw may do otherwise.

rANS is a stack, so an encoder keeps what it is given and codes it backwards at the end; the decoder reads
forwards.

Source: Duda 2013 (ANS); the coder is constriction's (Bamler 2022), whose stream format is stable across
platforms and versions.
"""

from __future__ import annotations

from collections import deque

import constriction
import numpy as np
from numpy.typing import NDArray

from tersor.arrays import Integers
from tersor.container import ByteReader, put_uvarint
from tersor.entropy.tables import NO_LIMIT, FrozenTables
from tersor.errors import BitstreamError

MAX_ESCAPE = 1 << 20  # F
MAX_PLACE = 1 << 40  # F


def _sorted_by_table(tables: Integers, count: int) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
    """Stable order by table, and how many symbols each of `count` tables has."""
    return np.argsort(tables.astype(np.uint16), kind="stable"), np.bincount(tables, minlength=count)


class SymbolEncoder:
    """Collects groups of symbols in the order a decoder will ask for them.

    Args:
        estimate: sum `estimated_bits`, the model's own estimate, on the way.
    """

    def __init__(self, estimate: bool = True) -> None:
        self._estimate = estimate
        self._runs: list[tuple[NDArray[np.int32], object]] = []
        self._escapes = bytearray()
        self._exceptions = bytearray()
        self._certain, self._next = 0, 0
        self._bits = 0.0

    def push(self, symbols: Integers, tables: Integers, frozen: FrozenTables) -> None:
        """Add symbols [n], each coded by the table [n] beside it."""
        order, counts = _sorted_by_table(tables, len(frozen))
        self.push_sorted(symbols[order], counts, frozen)

    def push_sorted(self, symbols: Integers, counts: Integers, frozen: FrozenTables) -> None:
        """Add symbols [n] that are sorted by table: the first `counts[0]` are of table 0, and so on."""
        used = counts.nonzero()[0]
        sizes = counts[used]
        symbols = symbols.astype(np.int32, copy=False)
        limits = frozen.limits[used].repeat(sizes)
        if not frozen.radii[used].all():
            self._push_certain(symbols[limits == NO_LIMIT])
        over = (np.abs(symbols) >= limits).nonzero()[0]
        if len(over):
            for beyond in (np.abs(symbols[over]) - limits[over]).tolist():
                self._escapes += put_uvarint(beyond)
            symbols = np.minimum(np.maximum(symbols, -limits), limits)
        stop = 0
        for table, size in zip(used.tolist(), sizes.tolist(), strict=True):
            start, stop = stop, stop + size
            if (model := frozen.models[table]) is not None:
                index = symbols[start:stop] + frozen.limits[table]
                self._runs.append((index, model))
                if self._estimate:
                    self._bits += float(frozen.bits[table][index].sum())

    def _push_certain(self, certain: NDArray[np.int32]) -> None:
        """Symbols that are sure to be 0; those that are not all the same are listed."""
        for i in np.flatnonzero(certain).tolist():
            place, value = self._certain + i, int(certain[i])
            self._exceptions += put_uvarint(place - self._next) + put_uvarint(2 * abs(value) + (value < 0))
            self._next = place + 1
        self._certain += len(certain)

    @property
    def estimated_bits(self) -> float:
        """The model's own estimate of what is collected."""
        return self._bits + 8 * (len(self._escapes) + len(self._exceptions))

    def finish(self) -> bytes:
        """The payload."""
        ans = constriction.stream.stack.AnsCoder()
        for index, model in reversed(self._runs):
            ans.encode_reverse(index, model)
        words = np.asarray(ans.get_compressed()).astype("<u4")
        exceptions = put_uvarint(len(self._exceptions)) + bytes(self._exceptions) if self._exceptions else b""
        return (
            put_uvarint(2 * len(self._escapes) + bool(exceptions))
            + exceptions
            + bytes(self._escapes)
            + words.tobytes()
        )


class SymbolDecoder:
    """Reads what `SymbolEncoder` wrote.

    Raises:
        BitstreamError: the payload is not one.
    """

    def __init__(self, payload: bytes, name: str) -> None:
        self._name = name
        reader = ByteReader(payload, name)
        escapes, has_exceptions = divmod(reader.uvarint(2 * len(payload) + 1, "length of escapes"), 2)
        self._exceptions = (
            self._read_exceptions(reader.take(reader.uvarint(len(payload), "length of exceptions")))
            if has_exceptions
            else deque()
        )
        self._certain = 0
        self._escapes = ByteReader(reader.take(escapes), f"{name}, escapes")
        rest = payload[reader.at :]
        if len(rest) % 4:
            raise BitstreamError(
                f"{name}: {len(rest)} bytes of code, not a multiple of 4; the file is damaged"
            )
        words = np.frombuffer(rest, "<u4").astype(np.uint32)
        if len(words) and words[-1] == 0:
            raise BitstreamError(f"{name}: the code ends in a zero word; the file is damaged")
        self._ans = constriction.stream.stack.AnsCoder(words)

    def _read_exceptions(self, data: bytes) -> deque[tuple[int, int]]:
        """(place among the certain symbols, value), in rising order."""
        reader, place = ByteReader(data, f"{self._name}, exceptions"), 0
        out: deque[tuple[int, int]] = deque()
        while reader.at < len(data):
            place += reader.uvarint(MAX_PLACE, "place")
            size, negative = divmod(reader.uvarint(2 * MAX_ESCAPE + 1, "exception"), 2)
            out.append((place, -size if negative else size))
            place += 1
        return out

    def pop(self, tables: Integers, frozen: FrozenTables) -> NDArray[np.int32]:
        """The symbols [n] coded by tables [n]."""
        order, counts = _sorted_by_table(tables, len(frozen))
        ordered = self.pop_sorted(counts, frozen)
        out = np.empty_like(ordered)
        out[order] = ordered
        return out

    def pop_sorted(self, counts: Integers, frozen: FrozenTables) -> NDArray[np.int32]:
        """Symbols [sum of counts], sorted by table: `counts[t]` of table t."""
        used = counts.nonzero()[0]
        sizes = counts[used]
        ordered = np.zeros(int(sizes.sum()), np.int32)
        stop = 0
        for table, size in zip(used.tolist(), sizes.tolist(), strict=True):
            start, stop = stop, stop + size
            if (model := frozen.models[table]) is not None:
                np.subtract(self._ans.decode(model, size), frozen.limits[table], out=ordered[start:stop])
        limits = frozen.limits[used].repeat(sizes)
        for i in (np.abs(ordered) >= limits).nonzero()[0].tolist():
            beyond = self._escapes.uvarint(MAX_ESCAPE, "escape")
            ordered[i] += beyond if ordered[i] > 0 else -beyond
        if self._exceptions:
            self._place_exceptions(ordered, np.flatnonzero(limits == NO_LIMIT))
        return ordered

    def _place_exceptions(self, ordered: NDArray[np.int32], certain: NDArray[np.intp]) -> None:
        """Set those of the next certain symbols, at indices `certain` of `ordered`, that are not 0."""
        begin, self._certain = self._certain, self._certain + len(certain)
        while self._exceptions and self._exceptions[0][0] < self._certain:
            place, value = self._exceptions.popleft()
            ordered[certain[place - begin]] = value

    def end(self) -> None:
        """Check that nothing is left."""
        self._escapes.end()
        if self._exceptions:
            raise BitstreamError(
                f"{self._name}: exceptions are left over after the last symbol; "
                "the file is damaged or was written with other weights"
            )
        if not self._ans.is_empty():
            raise BitstreamError(
                f"{self._name}: code is left over after the last symbol; "
                "the file is damaged or was written with other weights"
            )
