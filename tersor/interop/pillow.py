"""Pillow opens and saves .tsr once this is imported.

    import tersor.interop.pillow
    Image.open("photo.tsr").show()
    im.save("photo.tsr", quality=60)

Opening reads the header only; samples are decoded when Pillow first needs them. 16-bit colour has no Pillow
mode and is an error there; use tersor.open. Metadata follow Pillow's custom: what the image carries is saved,
but for what `exif=None`, `icc_profile=None` and `xmp=None` leave out and other values replace. An option that
tersor has not is an error.
"""

from __future__ import annotations

from dataclasses import replace
from typing import IO, Any, cast

from PIL import Image as Pil
from PIL import ImageFile, UnidentifiedImageError

from tersor.api import describe, encode
from tersor.container import MAGIC, Reader
from tersor.errors import SignalError, TersorError
from tersor.files.exif import canonical
from tersor.files.image import from_pil, to_pil
from tersor.files.image_metadata import resolution_text
from tersor.signals import Image

FORMAT = "TERSOR"
MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
OPTIONS = ("quality", "target_bpp", "target_psnr", "effort", "tile", "device")
LOSSLESS_OPTIONS = ("block", "device")
METADATA = {"icc_profile": "icc", "exif": "exif", "xmp": "xmp", "comment": "comment"}


class TersorImageFile(ImageFile.ImageFile):
    """One .tsr image."""

    format = FORMAT
    format_description = "tersor learned codec"

    def _open(self) -> None:
        assert self.fp is not None
        try:
            self._data = self.fp.read()
            reader = Reader(self._data)
            facts = describe(reader)
        except TersorError as e:
            raise UnidentifiedImageError(str(e)) from e  # SyntaxError would leave the reason behind
        if not {"width", "height", "channels"} <= facts.keys():
            raise UnidentifiedImageError(
                f"the file holds what the codec '{facts['codec']}' codes, which is no image; use tersor.open"
            )
        if facts["bits_per_sample"] == 16 and facts["channels"] > 1:
            raise UnidentifiedImageError("16-bit colour, which Pillow has no mode for; use tersor.open")
        self._size = (facts["width"], facts["height"])
        self._mode = "I;16" if facts["bits_per_sample"] == 16 else MODES[facts["channels"]]
        self.info.update(_info(dict(reader.metadata)))
        self.tile = []
        self._decoded = False

    def load(self) -> Any:
        if not self._decoded:
            from tersor.api import decode

            try:
                signal = decode(self._data)
                image = signal if isinstance(signal, Image) else Image(samples=signal.values)
                self.im = image.pil().im
            except TersorError as e:
                raise OSError(str(e)) from e
            self._decoded = True
            if self.fp is not None and getattr(self, "_exclusive_fp", False):
                self.fp.close()
            self.fp = None
        return super().load()


def _info(metadata: dict[str, bytes]) -> dict[Any, Any]:
    """What Pillow's images say of a file's metadata."""
    import numpy as np

    return to_pil(Image(samples=np.zeros((1, 1, 1), np.uint8), metadata=metadata)).info


def _accept(prefix: bytes) -> bool:
    return prefix.startswith(MAGIC)


def _save(im: Pil.Image, fp: IO[bytes], filename: str | bytes) -> None:
    options = dict(im.encoderinfo)
    codec = "lossless" if options.pop("lossless", False) else "image"
    signal = from_pil(im)
    signal = replace(signal, metadata=_asked_metadata(dict(signal.metadata), options))
    if options.pop("append_images", None):
        raise ValueError("a .tsr file holds one image; leave out append_images")
    allowed = LOSSLESS_OPTIONS if codec == "lossless" else OPTIONS
    if unknown := sorted(set(options) - set(allowed)):
        raise ValueError(
            f"saving .tsr{' with lossless=True' if codec == 'lossless' else ''} has no option "
            f"{', '.join(unknown)}; it has {', '.join((*allowed, 'lossless', *METADATA, 'dpi'))}"
        )
    try:
        fp.write(encode(signal, codec=codec, **options))
    except SignalError as e:
        raise ValueError(str(e)) from e


def _asked_metadata(metadata: dict[str, bytes], options: dict[str, Any]) -> dict[str, bytes]:
    """The image's own, with what the options of `save` put in their place; takes those out of the options."""
    for name, key in METADATA.items():
        if name not in options:
            continue
        value = options.pop(name)
        metadata.pop(key, None)
        if isinstance(value, Pil.Exif):
            value = value.tobytes() if len(value) else b""
        value = value.encode() if isinstance(value, str) else value
        value = canonical(value) if key == "exif" and value else value
        if value:
            metadata[key] = bytes(value)
    if "dpi" in options:
        dpi = options.pop("dpi")
        metadata.pop("resolution", None)
        if dpi and (text := resolution_text(dpi[0], dpi[1], "inch")):
            metadata["resolution"] = text
    return metadata


Pil.register_open(FORMAT, cast(Any, TersorImageFile), _accept)
Pil.register_save(FORMAT, _save)
Pil.register_extension(FORMAT, ".tsr")
Pil.register_mime(FORMAT, "image/x-tersor")
