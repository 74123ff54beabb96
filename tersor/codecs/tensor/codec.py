"""Tensors of networks: weights, checkpoints, caches, embeddings; bit by bit, or with a bound that is stated
and kept.

    tensors --encode.plan--> index;  words --chunk.encode--> payloads, side by side --> container
                          a bound: --quantised.encode--> payloads, decoded again and held against it

Chunks are independent and a tensor's lie one after the other: one tensor, or rows of it, reads only its own.
Everything runs on the CPU with integer arithmetic; what is with loss is one product of a float64 and a whole
number: the same on every machine.
"""

from __future__ import annotations

import itertools
import json
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, BinaryIO, TypeVar

from tersor import container
from tersor.codecs.parallel import Progress
from tersor.codecs.tensor import decode, encode
from tersor.codecs.tensor.header import FILE_KEY, INDEX_KEY, TEXT_KEY, WIRE_ID, TensorHeader
from tersor.codecs.tensor.options import Rules
from tersor.errors import BitstreamError, SignalError
from tersor.files.coerce import as_tensors
from tersor.files.tensors import METADATA, check_file_name, parse_header
from tersor.signals.tensors import Tensors

A = TypeVar("A")
B = TypeVar("B")
AHEAD = 2  # G: chunks that wait for their turn, a thread


class TensorCodec:
    """Named tensors.

    Args:
        device: "auto" or "cpu"; the codec has no other.
        batch: ignored; chunks are coded side by side.
    """

    wire_id = WIRE_ID
    encode_options = (
        *("max_error", "rel_error", "cosine_error", "bits_per_value", "lossless"),
        *("groups", "anchor", "per_tensor", "threads"),
    )
    decode_options = ("tensors", "rows", "out", "max_bytes", "salvage", "threads")

    def __init__(self, device: str = "auto", batch: int | None = None) -> None:
        if device not in ("auto", "cpu"):
            raise SignalError(f"the tensor codec runs on the CPU, not on '{device}'; use device auto or cpu")
        self.device = "cpu"

    def encode_batch(self, signals: Sequence[Any], **options: Any) -> list[bytes]:
        """One file for each set of tensors.

        Args:
            signals: Tensors, paths of .safetensors files or of an index of several, dicts of numpy arrays and
                torch tensors, or single ones.
            options: see `payloads`.

        Raises:
            SignalError: a type that is not supported, or a bound that is not one.
        """
        out = []
        for s in signals:
            signal = as_tensors(s)
            header, chunks = self.payloads(signal, **options)
            out.append(container.write(WIRE_ID, header.pack(), _metadata(signal), list(chunks)))
        return out

    def encode_to(self, file: BinaryIO, signal: Any, **options: Any) -> int:
        """Encode into an empty file that can be read and sought, in the memory of a few chunks; -> bytes
        written.
        """
        tensors = as_tensors(signal)
        header, chunks = self.payloads(tensors, **options)
        return container.write_to(file, WIRE_ID, header.pack, _metadata(tensors), chunks)

    def payloads(
        self,
        signal: Tensors,
        *,
        per_tensor: Mapping[str, Mapping[str, Any]] | None = None,
        threads: int | None = None,
        progress: Progress | None = None,
        **bound: Any,
    ) -> tuple[TensorHeader, Iterator[bytes]]:
        """The header, and the chunks as they are coded.

        Args:
            signal: the tensors.
            per_tensor: pattern of names -> options of `tersor.codecs.tensor.options.Settings` instead of the
                common ones.
            threads: at work; as many as there are cores if None.
            progress: called with (chunks done, chunks in all).
            bound: one of max_error, rel_error, cosine_error, bits_per_value, lossless; groups, anchor.

        Raises:
            SignalError: a bound that is not one, or numbers that cannot have one.
        """
        planned = encode.plan(signal, Rules(bound, per_tensor))
        header = TensorHeader(entries=tuple(p.entry for p in planned))
        total = sum(e.chunks for e in header.entries)
        return header, counted(
            in_order(encode.encode_piece, encode.pieces(planned), threads), total, progress
        )

    def decode_batch(
        self,
        files: Sequence[bytes | container.Reader],
        *,
        tensors: Sequence[str] | None = None,
        rows: slice | None = None,
        out: Mapping[str, Any] | None = None,
        max_bytes: int | None = None,
        salvage: bool = False,
        threads: int | None = None,
        progress: Progress | None = None,
    ) -> list[Tensors]:
        """Files to tensors.

        Args:
            files: bytes of .tsr files, or opened containers.
            tensors: names; all if None. Only their chunks are read.
            rows: of the first axis of each.
            out: name -> memory to decode into, contiguous and as large as the tensor; others get new memory.
            max_bytes: refuse to decode more.
            salvage: leave damaged tensors out and note which, instead of failing.
            threads: at work; as many as there are cores if None.
            progress: called with (chunks done, chunks in all).

        Raises:
            BitstreamError: a damaged file, with the tensor named.
            SignalError: names, rows or buffers that do not fit.
        """
        return [
            self._decode(
                f if isinstance(f, container.Reader) else container.Reader(f, salvage=salvage),
                tensors, rows, out or {}, max_bytes, salvage, threads, progress,
            )
            for f in files
        ]  # fmt: skip

    def _decode(
        self,
        reader: container.Reader,
        names: Sequence[str] | None,
        rows: slice | None,
        out: Mapping[str, Any],
        max_bytes: int | None,
        salvage: bool,
        threads: int | None,
        progress: Progress | None,
    ) -> Tensors:
        if reader.codec != WIRE_ID:
            raise BitstreamError(
                f"the file's codec is {reader.codec}, not {WIRE_ID}; use tersor.decode, which finds it"
            )
        header = TensorHeader.unpack(reader.header, len(reader.chunk_lengths))
        targets = decode.targets(header, names, rows, out, max_bytes)
        jobs = [job for t in {id(t): t for t in targets.values()}.values() for job in t.jobs()]
        done = in_order(lambda job: decode.decode_job(reader, job, salvage), jobs, threads)
        for _ in counted(done, len(jobs), progress):
            pass
        entries, notes = decode.finished(targets)
        files, index, text = _from_metadata(reader.metadata)
        whole = names is None and rows is None and not notes
        return Tensors(
            entries=entries,
            metadata=text,
            files=files if whole else {},
            index=index if whole else None,
            notes=notes,
        )


def _metadata(signal: Tensors) -> dict[str, bytes]:
    """What the container keeps beside the tensors."""
    out = {FILE_KEY + name: header for name, header in signal.files.items()}
    if signal.index is not None:
        out[INDEX_KEY + signal.index[0]] = signal.index[1]
    if signal.metadata and not signal.files:
        out[TEXT_KEY] = json.dumps(dict(signal.metadata), ensure_ascii=False).encode()
    return out


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
            text = {METADATA: json.loads(stored[TEXT_KEY])}[METADATA]
            if not isinstance(text, dict) or not all(isinstance(v, str) for v in text.values()):
                raise BitstreamError("metadata: its text is no table of names and text; the file is damaged")
    except ValueError as e:
        raise BitstreamError(f"metadata: {e}; the file is damaged") from e
    return files, indices[0] if indices else None, text


def in_order(work: Callable[[A], B], items: Iterable[A], threads: int | None) -> Iterator[B]:
    """`work` of each item, in order, a few items ahead of what is taken."""
    number = threads or os.cpu_count() or 1
    if number == 1:
        yield from map(work, items)
        return
    rest = iter(items)
    with ThreadPoolExecutor(number, thread_name_prefix="tersor") as pool:
        waiting: deque[Future[B]] = deque(
            pool.submit(work, i) for i in itertools.islice(rest, AHEAD * number)
        )
        try:
            while waiting:
                done = waiting.popleft().result()
                waiting.extend(pool.submit(work, i) for i in itertools.islice(rest, 1))
                yield done
        finally:
            for future in waiting:
                future.cancel()


def counted(results: Iterable[B], total: int, progress: Progress | None) -> Iterator[B]:
    """Results as they come, with progress told."""
    for i, r in enumerate(results):
        if progress:
            progress(i + 1, total)
        yield r
