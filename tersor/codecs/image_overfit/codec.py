"""Overfitted pictures: latents and two tiny networks fitted to one picture and shipped in its file.

    Image --fit: minutes--> latents, entropy network, synthesis --> network chunk, a chunk a tile (its alpha)
    chunks --integers alone--> Image, the same pixels on every machine

The encoder is slow and the decoder is not; the rate is the best of tersor's image codecs from about 0.2
megapixels on. Alpha is kept exactly. Samples of 16 bits are coded to about 12.
"""

from __future__ import annotations

from collections.abc import Sequence

from tersor.codecs.assembly import Coded, Job
from tersor.codecs.base import ChunkCodec
from tersor.codecs.image_overfit.decode import Picture
from tersor.codecs.image_overfit.encode import encode_image, seconds_of_an_iteration
from tersor.codecs.image_overfit.header import WIRE_ID
from tersor.codecs.image_overfit.options import DECODE, ENCODE, DecodeOptions, EncodeOptions, plan_of
from tersor.codecs.parallel import Progress
from tersor.container import Reader
from tersor.files.coerce import as_image
from tersor.signals import Image


class ImageOverfitCodec(ChunkCodec[Image, Picture, EncodeOptions, DecodeOptions]):
    """Encoder and decoder, on the CPU. Progress counts iterations of a picture, then chunks."""

    name = "image-overfit"
    wire_id = WIRE_ID
    encode_options = ENCODE
    decode_options = DECODE

    def signal_of(self, x: object, options: EncodeOptions) -> Image:
        return as_image(x)

    def chunks_of(self, signal: Image, options: EncodeOptions, progress: Progress | None) -> Coded:
        header, chunks = self.team.each(
            lambda plan: encode_image(signal, plan, progress), [plan_of(options)]
        )[0]
        return Coded(header=header.pack, metadata=signal.metadata, payloads=chunks)

    def seconds_of_an_iteration(self, image: Image, options: EncodeOptions) -> float:
        """What an iteration takes of a picture, here and now; options as `ENCODE.check` returns them."""
        return self.team.each(lambda x: seconds_of_an_iteration(x, plan_of(options)), [image])[0]

    def assembly(self, reader: Reader, options: DecodeOptions) -> Picture:
        return Picture(reader, options["region"])

    def decode_chunks(self, jobs: Sequence[Job[Picture]]) -> Sequence[object]:
        return [j.of.decode(j.chunk, j.payload) for j in jobs]
