"""Overfitted pictures: latents and two tiny networks fitted to one picture and shipped in its file.

    Image --fit: minutes--> latents, entropy network, synthesis --> network chunk, one chunk a tile (and its alpha)
    chunks --integers alone--> Image, the same pixels on every machine

The encoder is slow and the decoder is not; the rate is the best of tersor's image codecs from about 0.2 megapixels on. Alpha is
kept exactly. Samples of 16 bits are coded to about 12.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from tersor import container
from tersor.codecs.image_overfit.decode import Decoder, Region
from tersor.codecs.image_overfit.encode import Watch, encode_image
from tersor.codecs.image_overfit.header import WIRE_ID
from tersor.codecs.image_overfit.options import EncodeOptions
from tersor.codecs.image_overfit.schedule import Status
from tersor.codecs.parallel import Progress
from tersor.errors import SignalError
from tersor.files.coerce import as_image
from tersor.signals import Image


class ImageOverfitCodec:
    """Encoder and decoder, on the CPU.

    Args:
        device: "auto" or "cpu"; the codec has no other.
        batch: ignored.
    """

    name = "image-overfit"
    wire_id = WIRE_ID
    encode_options = (*(f.name for f in fields(EncodeOptions)), "watch")
    decode_options = ("region", "salvage")

    def __init__(self, device: str = "auto", batch: int | None = None) -> None:
        if device not in ("auto", "cpu"):
            raise SignalError(f"image-overfit runs on the CPU, not on '{device}'; use device auto or cpu")
        self.device = "cpu"

    def encode_batch(
        self, images: Sequence[Any], *, progress: Progress | None = None, watch: Watch | None = None, **options: Any
    ) -> list[bytes]:
        """Encode images (anything `as_image` takes) to files, one after the other.

        Args:
            images: any number, any sizes.
            progress: called with (iterations done, iterations in all), over all images.
            watch: called with a `Status` every ten iterations; True ends the fit of the picture early.
            options: of `EncodeOptions`, the same for all.

        Returns:
            one .tsr file each.

        Raises:
            SignalError: an image or option that cannot be coded.
        """
        o = EncodeOptions(**options)
        files = []
        for i, image in enumerate([as_image(x) for x in images]):

            def look(status: Status, before: int = i) -> bool:
                if progress:
                    progress(before * o.steps + status.iteration, len(images) * o.steps)
                return bool(watch and watch(status))

            header, chunks, _ = encode_image(image, o, look if progress or watch else None)
            files.append(container.write(WIRE_ID, header.pack(), image.metadata, chunks))
        return files

    def decode_batch(
        self,
        files: Sequence[bytes | container.Reader],
        *,
        region: Region | None = None,
        salvage: bool = False,
        progress: Progress | None = None,
    ) -> list[Image]:
        """Decode files to images.

        Args:
            files: bytes of .tsr files, or opened containers.
            region: x, y, width, height in pixels: only this part, from only the tiles it needs.
            salvage: fill damaged tiles with grey (alpha: opaque) and note which, instead of failing.
            progress: called with (files done, files in all).

        Raises:
            BitstreamError: a damaged file, with the chunk named.
            SignalError: a region outside the image.
        """
        out = []
        for f in files:
            reader = f if isinstance(f, container.Reader) else container.Reader(f)
            out.append(Decoder(reader, region, salvage).decode())
            if progress:
                progress(len(out), len(files))
        return out
