"""Arrays of one to four axes (more are merged) with a guaranteed error bound, or without loss.

    array --blocks--> cells --special cells aside--> lattice? --block_encode--> payload, decoded again and
    checked --> container

Blocks are independent: a slice decodes only those it touches. Everything runs on the CPU; blocks run side by
side on all cores, since the loops release the GIL. The reconstruction is integer arithmetic and one float64
product and sum: the same numbers on every machine.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence

from tersor.arrays import Numbers
from tersor.codecs.assembly import Coded, Job
from tersor.codecs.base import ChunkCodec
from tersor.codecs.field.decode import FieldAssembly
from tersor.codecs.field.effort import USUAL
from tersor.codecs.field.encode import VariableEncoder
from tersor.codecs.field.header import WIRE_ID, FieldHeader, Variable
from tersor.codecs.field.metadata import pack_attributes
from tersor.codecs.field.options import (
    BLOCK_CELLS,
    DECODE,
    ENCODE,
    LOSSLESS,
    Bound,
    FieldDecodeOptions,
    FieldEncodeOptions,
)
from tersor.codecs.field.target import reach_psnr, reach_ratio
from tersor.codecs.parallel import Progress
from tersor.container import Reader, write
from tersor.entropy.magnitude_tables import magnitude_tables
from tersor.files.coerce import as_field
from tersor.signals import Field, FieldSet

MOST_LENGTH = 4  # G: bytes of the length of a chunk, beyond the first


class FieldCodec(ChunkCodec[Field | FieldSet, FieldAssembly, FieldEncodeOptions, FieldDecodeOptions]):
    """Error-bounded coding of scientific fields; lossless coding of integers.

    Signals are arrays (numpy, also mapped from a file, masked, torch, anything with __array__), dicts of
    them, or paths of .npy and .nc files. A bound holds for every variable on its own; coordinates are kept
    exactly. A file decodes to a Field, or to a FieldSet where it holds named variables.
    """

    name = "field"
    wire_id = WIRE_ID
    encode_options = ENCODE
    decode_options = DECODE

    def signal_of(self, x: object, options: FieldEncodeOptions) -> Field | FieldSet:
        return as_field(x)

    def chunks_of(
        self, signal: Field | FieldSet, options: FieldEncodeOptions, progress: Progress | None
    ) -> Coded:
        bound, fill, block = Bound.of(options), options.get("fill_value"), options["block"] or BLOCK_CELLS
        fields = (
            [signal] if isinstance(signal, Field) else [f for f in signal.fields.values() if not f.is_text]
        )
        encoders = [
            VariableEncoder(
                f,
                LOSSLESS if f.exact else bound,
                fill,
                block,
                self.team,
                progress,
                options["effort"] or USUAL,
            )
            for f in fields
            if not f.is_text
        ]
        metadata = pack_attributes(signal)
        if bound.mode == "target_ratio":
            coded = reach_ratio(encoders, bound.value, _overhead(encoders, metadata))
        elif bound.mode == "target_psnr":
            coded = [e.encode() if e.exact else reach_psnr(e, bound.value) for e in encoders]
        else:
            coded = [e.encode() for e in encoders]
        header = _header(c.variable for c in coded)
        payloads = itertools.chain.from_iterable(c.payloads for c in coded)
        return Coded(header=header.pack, metadata=metadata, payloads=payloads)

    def assembly(self, reader: Reader, options: FieldDecodeOptions) -> FieldAssembly:
        return FieldAssembly(reader, options)

    def decode_chunks(self, jobs: Sequence[Job[FieldAssembly]]) -> list[Numbers]:
        return [j.of.decode(j.chunk, j.payload) for j in jobs]


def _header(variables: Iterable[Variable]) -> FieldHeader:
    return FieldHeader(digest=magnitude_tables().digest, variables=tuple(variables))


def _overhead(encoders: Sequence[VariableEncoder], metadata: Mapping[str, bytes]) -> int:
    """Bytes of a file beside its payloads."""
    header = _header(e.described(0.0) for e in encoders)
    chunks = sum(v.n_blocks for v in header.variables)
    return len(write(WIRE_ID, header.pack(), metadata, [b""] * chunks)) + MOST_LENGTH * chunks
