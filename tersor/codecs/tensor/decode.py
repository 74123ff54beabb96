"""Chunks -> tensors: those asked for, or their first axis's rows, straight into the memory they end in."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tersor.codecs.tensor import chunk, quantised
from tersor.codecs.tensor.header import LOSSLESS, TIED, Entry, TensorHeader
from tersor.container import Reader
from tersor.errors import BitstreamError, ChecksumError, LimitExceededError, SignalError
from tersor.signals.tensors import Tensor


@dataclass(slots=True, kw_only=True)
class Target:
    """A tensor, or rows of it, on its way.

    Attributes:
        entry: of the file.
        first_chunk: its number in the file.
        shape: of the part.
        start: word of the tensor where the part starts.
        words: uint [n] of the part.
        fault: why it cannot be had, if so.
    """

    entry: Entry
    first_chunk: int
    shape: tuple[int, ...]
    start: int
    words: NDArray[Any]
    fault: BitstreamError | None = field(default=None)

    def jobs(self) -> Iterator[tuple[Target, int]]:
        """Itself with each chunk that holds some of the part."""
        stop = self.start + len(self.words)
        if stop > self.start:
            size = self.entry.chunk_words
            for i in range(self.start // size, -(-stop // size)):
                yield self, i


def targets(
    header: TensorHeader,
    names: Sequence[str] | None,
    rows: slice | None,
    out: Mapping[str, Any],
    max_bytes: int | None,
) -> dict[str, Target]:
    """Where each tensor asked for will be; tied ones share.

    Raises:
        SignalError: a name, rows or a buffer that does not fit.
        LimitExceededError: more than `max_bytes`, or than there is memory.
    """
    starts = header.starts()
    numbers = range(len(header.entries)) if names is None else [header.number(n) for n in names]
    wanted = {i: header.entries[i].tied_to if header.entries[i].coding == TIED else i for i in numbers}
    parts = {own: part(header.entries[own], rows) for own in wanted.values()}
    total = sum(n * header.entries[own].kind.word for own, (_, _, n) in parts.items())
    if max_bytes is not None and total > max_bytes:
        raise LimitExceededError(
            f"the tensors take {total} bytes, allowed are {max_bytes}; ask for fewer, or raise max_bytes"
        )
    if unknown := sorted(set(out) - {header.entries[i].name for i in wanted}):
        raise SignalError(
            f"a buffer is given for '{unknown[0]}', which is not decoded; drop it, or ask for the tensor"
        )
    made: dict[int, Target] = {}
    for i, own in wanted.items():
        entry, (shape, start, n) = header.entries[own], parts[own]
        buffer = out.get(header.entries[i].name)
        if own in made and buffer is None:
            continue
        if own in made:
            raise SignalError(
                f"a buffer is given for '{header.entries[i].name}', which is tied to '{entry.name}'; give "
                "that one's"
            )
        words = _allocate(entry, n) if buffer is None else _buffer(entry, shape, buffer)
        made[own] = Target(entry=entry, first_chunk=starts[own], shape=shape, start=start, words=words)
    return {header.entries[i].name: made[own] for i, own in wanted.items()}


def part(entry: Entry, rows: slice | None) -> tuple[tuple[int, ...], int, int]:
    """(shape, first word, number of words) of rows of a tensor's first axis."""
    if rows is None:
        return entry.shape, 0, entry.words
    if not entry.shape or rows.step not in (None, 1):
        raise SignalError(
            f"rows {rows} of '{entry.name}' {list(entry.shape)}; give slice(start, stop) of a first axis"
        )
    start, stop, _ = rows.indices(entry.shape[0])
    shape = (max(0, stop - start), *entry.shape[1:])
    each, rest = divmod(entry.words, max(1, entry.shape[0]))
    if rest or (math.prod(shape) * entry.kind.bits) % 8 or (math.prod(entry.shape[1:]) * entry.kind.bits) % 8:
        raise SignalError(
            f"rows of '{entry.name}' {list(entry.shape)} of {entry.dtype} end inside a byte; read it whole"
        )
    return shape, start * each, shape[0] * each


def _allocate(entry: Entry, n: int) -> NDArray[Any]:
    try:
        return np.empty(n, f"u{entry.kind.word}")
    except (MemoryError, ValueError) as e:
        raise LimitExceededError(
            f"no memory for the {n * entry.kind.word} bytes of '{entry.name}'; read rows of it"
        ) from e


def _buffer(entry: Entry, shape: tuple[int, ...], buffer: Any) -> NDArray[Any]:
    """Memory that was given, as words."""
    try:
        view = memoryview(buffer)
        words = np.frombuffer(view.cast("B"), f"u{entry.kind.word}") if view.nbytes else _allocate(entry, 0)
    except (TypeError, ValueError) as e:
        raise SignalError(f"the buffer for '{entry.name}' is not contiguous memory ({e})") from e
    if view.readonly or words.nbytes * 8 != math.prod(shape) * entry.kind.bits:
        raise SignalError(
            f"the buffer for '{entry.name}' has {view.nbytes} "
            f"bytes{' and cannot be written' * view.readonly}; "
            f"needed are {math.prod(shape) * entry.kind.bits // 8} of {entry.dtype} {list(shape)}"
        )
    return words


def decode_job(reader: Reader, job: tuple[Target, int], salvage: bool) -> None:
    """One chunk into its target.

    Raises:
        BitstreamError: it is damaged, with the tensor named; not if `salvage`, the target remembers it then.
    """
    target, i = job
    entry = target.entry
    first = i * entry.chunk_words
    n = min(entry.chunk_words, entry.words - first)
    name = f"tensor '{entry.name}', chunk {i + 1} of {entry.chunks}"
    try:
        try:
            data = reader.chunk(target.first_chunk + i)
        except ChecksumError as e:
            raise ChecksumError(
                f"{name}: {e}; decode --salvage leaves the tensor out and decodes the rest"
            ) from e
        at = first - target.start
        if at >= 0 and at + n <= len(target.words):
            _decode_chunk(data, entry, target.words[at : at + n], name)
        else:
            whole = np.empty(n, target.words.dtype)
            _decode_chunk(data, entry, whole, name)
            low, high = max(0, -at), min(n, len(target.words) - at)
            target.words[at + low : at + high] = whole[low:high]
    except BitstreamError as e:
        if not salvage:
            raise
        target.fault = e


def _decode_chunk(data: bytes, entry: Entry, out: NDArray[Any], name: str) -> None:
    if data[:1] == bytes([quantised.QUANTISED]) and entry.coding != LOSSLESS:
        quantised.decode(data, entry.columns, out, entry.dtype, name)
    else:
        chunk.decode(data, entry.columns, out, name)


def finished(targets_: Mapping[str, Target]) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """-> tensors that are whole, notes on the others."""
    made: dict[int, Tensor] = {}
    entries, notes = {}, []
    for name, t in targets_.items():
        if t.fault is not None:
            notes.append(f"left out, damaged: {name}")
            continue
        if id(t) not in made:
            made[id(t)] = Tensor(dtype=t.entry.dtype, shape=t.shape, words=t.words)
        entries[name] = made[id(t)]
    return entries, tuple(notes)
