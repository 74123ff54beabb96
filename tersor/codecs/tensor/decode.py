"""Chunks -> tensors: those asked for, or rows of their first axis, straight into the memory they end in."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Mapping
from typing import Any

import numpy as np

from tersor.arrays import Numbers, Words
from tersor.codecs.assembly import Assembly
from tersor.codecs.tensor import chunk, quantised
from tersor.codecs.tensor.header import FILE_KEY, INDEX_KEY, LOSSLESS, TEXT_KEY, TIED, Entry, TensorHeader
from tersor.codecs.tensor.options import DecodeOptions
from tersor.container import Reader
from tersor.errors import BitstreamError, LimitExceededError, SignalError
from tersor.files.tensors import check_file_name, parse_header
from tersor.signals.tensors import Tensor, Tensors


class Target:
    """A tensor, or rows of it, on its way.

    Args:
        entry: of the file.
        first_chunk: its number in the file.
        rows: of the first axis, or None for all.
        memory: to decode into, or None for new memory, made when the first chunk is there.

    Raises:
        SignalError: rows or memory that do not fit.
    """

    def __init__(self, entry: Entry, first_chunk: int, rows: slice | None, memory: Any) -> None:
        self.entry, self.first_chunk = entry, first_chunk
        self.shape, self.start, self.size = _part(entry, rows)
        self.damaged = False
        self._words: Words | None = None
        self._making = threading.Lock()
        if memory is not None:
            self.use(memory)

    @property
    def words(self) -> Words:
        """uint [size] of the part."""
        with self._making:
            if self._words is None:
                self._words = _allocate(self.entry, self.size)
            return self._words

    def use(self, memory: Any) -> None:
        """Decode into this memory.

        Raises:
            SignalError: it does not fit.
        """
        self._words = _buffer(self.entry, self.shape, memory)

    def forget(self) -> None:
        """Let go of the memory of a part that was given away."""
        self._words = None

    def chunks(self) -> range:
        """Words in the file of the chunks that hold some of the part."""
        if self.size == 0:
            return range(0)
        size, stop = self.entry.chunk_words, self.start + self.size
        return range(self.first_chunk + self.start // size, self.first_chunk - (-stop // size))

    def decode(self, number: int, data: bytes, name: str) -> None:
        """A chunk's words to where they belong.

        Raises:
            BitstreamError: bytes that no encoder writes.
        """
        first = (number - self.first_chunk) * self.entry.chunk_words
        n = min(self.entry.chunk_words, self.entry.words - first)
        at = first - self.start
        if at >= 0 and at + n <= self.size:
            _decode(data, self.entry, self.words[at : at + n], name)
        else:
            whole = np.empty(n, self.words.dtype)
            _decode(data, self.entry, whole, name)
            low, high = max(0, -at), min(n, self.size - at)
            self.words[at + low : at + high] = whole[low:high]


class TensorAssembly(Assembly[Tensors]):
    """Parts are tensors; their chunks are placed as they are decoded.

    Raises:
        BitstreamError: a header that is not valid. SignalError: names, rows or memory that do not fit.
        LimitExceededError: more than `max_bytes`.
    """

    def __init__(self, reader: Reader, options: DecodeOptions) -> None:
        header = TensorHeader.of(reader)
        names, rows, memory = options.get("tensors"), options.get("rows"), options.get("out") or {}
        numbers = range(len(header.entries)) if names is None else [header.number(n) for n in names]
        entries, starts = header.entries, header.starts()
        own = {i: entries[i].tied_to if entries[i].coding == TIED else i for i in numbers}
        given = {header.number(n): m for n, m in memory.items()}
        if lost := sorted(entries[i].name for i in given if own.get(i) != i):
            raise SignalError(
                f"memory is given for '{lost[0]}', which is not decoded or tied to another; give that one's"
            )
        made = {i: Target(entries[i], starts[i], rows, given.get(i)) for i in dict.fromkeys(own.values())}
        self.of = {entries[i].name: made[k] for i, k in own.items()}
        self.targets = list(made.values())
        total = sum(t.size * t.entry.kind.word for t in self.targets)
        most = options.get("max_bytes")
        if most is not None and total > most:
            raise LimitExceededError(
                f"the tensors take {total} bytes, allowed are {most}; ask for fewer, or raise max_bytes"
            )
        super().__init__(reader, len(self.targets))
        self._whole_file = names is None and rows is None
        self._by_chunk = {c: t for t in self.targets for c in t.chunks()}
        self._files, self._index, self._text = _from_metadata(reader.metadata)

    def needs(self, part: int) -> range:
        return self.targets[part].chunks()

    def decode(self, number: int, data: bytes) -> None:
        """A chunk to its place."""
        self._by_chunk[number].decode(number, data, self.called(number))

    def place(self, chunk: int, x: object) -> None:
        """It is there already."""

    def fill(self, chunk: int) -> None:
        self._by_chunk[chunk].damaged = True

    def piece(self, part: int) -> Words:
        return self.targets[part].words

    def keep(self, part: int, piece: Numbers) -> None:
        """Every tensor has memory of its own."""

    def called(self, chunk: int) -> str:
        t = self._by_chunk[chunk]
        return f"tensor '{t.entry.name}', part {chunk - t.first_chunk + 1} of {t.entry.chunks}"

    def notes(self) -> tuple[str, ...]:
        return tuple(f"left out, damaged: {name}" for name, t in self.of.items() if t.damaged)

    def finish(self) -> Tensors:
        made = {
            id(t): Tensor(dtype=t.entry.dtype, shape=t.shape, words=t.words)
            for t in self.targets
            if not t.damaged
        }
        whole = self._whole_file and len(made) == len(self.targets)
        return Tensors(
            entries={name: made[id(t)] for name, t in self.of.items() if not t.damaged},
            metadata=self._text,
            files=self._files if whole else {},
            index=self._index if whole else None,
            notes=self.notes(),
        )


def _part(entry: Entry, rows: slice | None) -> tuple[tuple[int, ...], int, int]:
    """(shape, first word, number of words) of rows of a tensor's first axis."""
    if rows is None:
        return entry.shape, 0, entry.words
    if not isinstance(rows, slice) or not entry.shape or rows.step not in (None, 1):
        raise SignalError(
            f"rows {rows} of '{entry.name}' {list(entry.shape)}; give slice(start, stop) of a first axis"
        )
    start, stop, _ = rows.indices(entry.shape[0])
    shape = (max(0, stop - start), *entry.shape[1:])
    if math.prod(entry.shape[1:]) * entry.kind.bits % 8:
        raise SignalError(
            f"rows of '{entry.name}' {list(entry.shape)} of {entry.dtype} end inside a byte; read it whole"
        )
    each = entry.words // max(1, entry.shape[0])
    return shape, start * each, shape[0] * each


def _allocate(entry: Entry, n: int) -> Words:
    try:
        return np.empty(n, f"u{entry.kind.word}")
    except (MemoryError, ValueError) as e:
        raise LimitExceededError(
            f"no memory for the {n * entry.kind.word} bytes of '{entry.name}'; read rows of it"
        ) from e


def _buffer(entry: Entry, shape: tuple[int, ...], memory: Any) -> Words:
    """Memory that was given, as words."""
    try:
        view = memoryview(memory)
        needed = math.prod(shape) * entry.kind.bits // 8
        if view.readonly or view.nbytes != needed:
            raise SignalError(
                f"the memory for '{entry.name}' has {view.nbytes} "
                f"bytes{' and cannot be written' * view.readonly}"
                f"; needed are {needed} of {entry.dtype} {list(shape)}"
            )
        return np.frombuffer(view.cast("B"), f"u{entry.kind.word}") if needed else _allocate(entry, 0)
    except (TypeError, ValueError) as e:
        if isinstance(e, SignalError):
            raise
        raise SignalError(f"the memory for '{entry.name}' is not contiguous ({e}); copy it") from e


def _decode(data: bytes, entry: Entry, out: Words, name: str) -> None:
    if data[:1] == bytes([quantised.QUANTISED]) and entry.coding != LOSSLESS:
        quantised.decode(data, entry.columns, out, entry.dtype, name)
    else:
        chunk.decode(data, entry.columns, out, name)


def _from_metadata(
    stored: Mapping[str, bytes],
) -> tuple[dict[str, bytes], tuple[str, bytes] | None, dict[str, str]]:
    """-> headers of files, index, text."""
    files = {k.removeprefix(FILE_KEY): v for k, v in stored.items() if k.startswith(FILE_KEY)}
    indices = [(k.removeprefix(INDEX_KEY), v) for k, v in stored.items() if k.startswith(INDEX_KEY)]
    text: dict[str, str] = {}
    try:
        for name, header in files.items():
            if indices:
                check_file_name(name)
            text |= parse_header(header, name)[1]
        if TEXT_KEY in stored:
            found = json.loads(stored[TEXT_KEY])
            if not isinstance(found, dict) or not all(isinstance(v, str) for v in found.values()):
                raise BitstreamError("metadata: its text is no table of names and text; the file is damaged")
            text = found
    except (ValueError, RecursionError) as e:
        raise BitstreamError(f"metadata: {e}; the file is damaged") from e
    return files, indices[0] if indices else None, text
