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
from collections.abc import Iterable, Sequence

from tersor.codecs.assembly import Coded, Job
from tersor.codecs.base import ChunkCodec
from tersor.codecs.parallel import Progress
from tersor.codecs.tensor import encode
from tersor.codecs.tensor.decode import TensorAssembly
from tersor.codecs.tensor.header import FILE_KEY, IN_CHUNK, INDEX_KEY, TEXT_KEY, WIRE_ID, TensorHeader
from tersor.codecs.tensor.options import DECODE, ENCODE, DecodeOptions, EncodeOptions, Rules
from tersor.container import MAX_HEADER, Reader
from tersor.files.coerce_tensors import as_tensors
from tersor.signals.tensors import Tensors


class TensorCodec(ChunkCodec[Tensors, TensorAssembly, EncodeOptions, DecodeOptions]):
    """Named tensors: Tensors, paths of .safetensors files or of an index of several, dicts of numpy arrays
    and torch tensors, or single ones.
    """

    name, wire_id = "tensor", WIRE_ID
    encode_options, decode_options = ENCODE, DECODE

    def signal_of(self, x: object, options: EncodeOptions) -> Tensors:
        return as_tensors(x)

    def chunks_of(self, signal: Tensors, options: EncodeOptions, progress: Progress | None) -> Coded:
        planned = encode.plan(signal, Rules(options))
        header = TensorHeader(entries=tuple(p.entry for p in planned))
        total = sum(e.chunks for e in header.entries)
        payloads = _counted(self.team.ahead(encode.encode_piece, encode.pieces(planned)), total, progress)
        index = header.pack()
        if len(index) > MAX_HEADER:
            payloads, index = itertools.chain([index], payloads), IN_CHUNK
        return Coded(header=lambda: index, metadata=_metadata(signal), payloads=payloads)

    def assembly(self, reader: Reader, options: DecodeOptions) -> TensorAssembly:
        return TensorAssembly(reader, options)

    def decode_chunks(self, jobs: Sequence[Job[TensorAssembly]]) -> list[bool]:
        for job in jobs:
            job.of.decode(job.chunk, job.payload)
        return [True] * len(jobs)


def _metadata(signal: Tensors) -> dict[str, bytes]:
    """What the container keeps beside the tensors."""
    out = {FILE_KEY + name: header for name, header in signal.files.items()}
    if signal.index is not None:
        out[INDEX_KEY + signal.index[0]] = signal.index[1]
    if signal.metadata and not signal.files:
        out[TEXT_KEY] = json.dumps(dict(signal.metadata), ensure_ascii=False).encode()
    return out


def _counted(payloads: Iterable[bytes], total: int, progress: Progress | None) -> Iterable[bytes]:
    for i, payload in enumerate(payloads):
        yield payload
        if progress:
            progress(i + 1, total)
