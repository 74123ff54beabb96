"""Integers without loss: images of 8 and 16 bits per sample, volumes, arrays of any number of axes.

picture --tiles--> photographs or graphics (pictures.py)
array, and picture at effort 1 and 2 --reversible colour transform, chosen on its middle--> planes [C, H, W],
  each predicted with the two before it at hand --> blocks of the field codec, without a bound
"""

from __future__ import annotations

from collections.abc import Sequence

from tersor.arrays import Numbers
from tersor.codecs.assembly import Coded, Job
from tersor.codecs.base import ChunkCodec
from tersor.codecs.field.header import FieldHeader
from tersor.codecs.lossless.decode import LosslessAssembly
from tersor.codecs.lossless.encode import encode_integers
from tersor.codecs.lossless.header import WIRE_ID, LosslessHeader, PictureHeader, read_header
from tersor.codecs.lossless.options import (
    BLOCK_CELLS,
    DECODE,
    ENCODE,
    PICTURES_FROM,
    LosslessDecodeOptions,
    LosslessEncodeOptions,
)
from tersor.codecs.lossless.pictures import PictureAssembly, encode_tiles, grid_of, picture_of
from tersor.codecs.parallel import Progress
from tersor.container import Reader
from tersor.entropy.magnitude_tables import magnitude_tables
from tersor.files.coerce import as_integers
from tersor.signals import Field, Image


class LosslessCodec(
    ChunkCodec[
        Image | Field, LosslessAssembly | PictureAssembly, LosslessEncodeOptions, LosslessDecodeOptions
    ]
):
    """Every bit of integer samples.

    Image, Pillow images and paths or bytes of image files come back as images; integer or boolean arrays,
    paths of .npy files and Field as fields.
    """

    name = "lossless"
    wire_id = WIRE_ID
    encode_options = ENCODE
    decode_options = DECODE

    def signal_of(self, x: object, options: LosslessEncodeOptions) -> Image | Field:
        return as_integers(x)

    def chunks_of(
        self, signal: Image | Field, options: LosslessEncodeOptions, progress: Progress | None
    ) -> Coded:
        metadata = signal.metadata if isinstance(signal, Image) else {}
        samples = picture_of(signal) if (options["effort"] or PICTURES_FROM) >= PICTURES_FROM else None
        if samples is not None:
            grid = grid_of(samples, isinstance(signal, Image), options["block"])
            return Coded(
                header=grid.pack, metadata=metadata, payloads=encode_tiles(samples, grid, self.team, progress)
            )
        block = options["block"] or BLOCK_CELLS
        kind, transform, coded = encode_integers(signal, block, self.team, progress)
        field = FieldHeader(digest=magnitude_tables().digest, variables=(coded.variable,))
        header = LosslessHeader(kind=kind, transform=transform, field=field)
        return Coded(header=header.pack, metadata=metadata, payloads=coded.payloads)

    def assembly(self, reader: Reader, options: LosslessDecodeOptions) -> LosslessAssembly | PictureAssembly:
        header = read_header(reader.header, len(reader.chunk_lengths))
        if isinstance(header, PictureHeader):
            return PictureAssembly(reader, header, options)
        return LosslessAssembly(reader, options)

    def decode_chunks(self, jobs: Sequence[Job[LosslessAssembly | PictureAssembly]]) -> list[Numbers]:
        return [j.of.decode(j.chunk, j.payload) for j in jobs]
