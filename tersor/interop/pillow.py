"""Pillow opens and saves .tsr once this is imported.

    import tersor.interop.pillow
    Image.open("photo.tsr").show()
    im.save("photo.tsr", quality=60)

Opening reads the header only; samples are decoded when Pillow first needs them. 16-bit colour has no Pillow
mode and is an error there; use tersor.open.
"""

from __future__ import annotations

from typing import IO, Any, cast

from PIL import Image as Pil
from PIL import ImageFile

from tersor.api import describe, encode
from tersor.container import MAGIC, Reader
from tersor.errors import SignalError, TersorError
from tersor.files.image import from_pil

FORMAT = "TERSOR"
MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
OPTIONS = ("quality", "target_bpp", "target_psnr", "effort", "tile", "device")


class TersorImageFile(ImageFile.ImageFile):
    """One .tsr image."""

    format = FORMAT
    format_description = "tersor learned codec"

    def _open(self) -> None:
        assert self.fp is not None
        try:
            self._data = self.fp.read()
            facts = describe(Reader(self._data))
            metadata = Reader(self._data).metadata
        except TersorError as e:
            raise SyntaxError(str(e)) from e  # what Pillow's plugins raise for "not mine, or damaged"
        if facts["bits_per_sample"] == 16 and facts["channels"] > 1:
            raise SyntaxError("16-bit colour, which Pillow has no mode for; use tersor.open")
        self._size = (facts["width"], facts["height"])
        self._mode = "I;16" if facts["bits_per_sample"] == 16 else MODES[facts["channels"]]
        for key, name in (("icc", "icc_profile"), ("exif", "exif"), ("xmp", "xmp")):
            if key in metadata:
                self.info[name] = metadata[key]
        self.tile = []
        self._decoded = False

    def load(self) -> Any:
        if not self._decoded:
            from tersor.api import decode

            try:
                self.im = decode(self._data).pil().im
            except TersorError as e:
                raise OSError(str(e)) from e
            self._decoded = True
            if self.fp is not None and getattr(self, "_exclusive_fp", False):
                self.fp.close()
            self.fp = None
        return super().load()


def _accept(prefix: bytes) -> bool:
    return prefix.startswith(MAGIC)


def _save(im: Pil.Image, fp: IO[bytes], filename: str | bytes) -> None:
    options = {k: v for k, v in im.encoderinfo.items() if k in OPTIONS}
    signal = from_pil(im)
    extra = {"icc": im.encoderinfo.get("icc_profile"), "exif": im.encoderinfo.get("exif")}
    metadata = dict(signal.metadata)
    for key, value in extra.items():
        if value:
            metadata[key] = value.tobytes() if isinstance(value, Pil.Exif) else bytes(value)
    try:
        fp.write(encode(type(signal)(samples=signal.samples, metadata=metadata), **options))
    except SignalError as e:
        raise ValueError(str(e)) from e


Pil.register_open(FORMAT, cast(Any, TersorImageFile), _accept)
Pil.register_save(FORMAT, _save)
Pil.register_extension(FORMAT, ".tsr")
Pil.register_mime(FORMAT, "image/x-tersor")
