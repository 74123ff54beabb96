"""A Pillow image of any mode -> an image; what its samples were before, its notes say.

image --of a file that is not read yet: whole? all of it?--> its samples --> modes with a place here, or
converted --> metadata, after the samples
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pil
from PIL import ImageFile

from tersor.errors import SignalError
from tersor.files import exif as exif_blocks
from tersor.files import image_metadata as meta
from tersor.files import png
from tersor.files.fidelity import shortfall
from tersor.signals import Image

EXACT_MODES = ("1", "P", "PA", "RGBX")  # whose colours RGB or RGBA holds exactly
BAND_PIXELS = 1 << 20  # G
DIRECT_MODES = ("L", "LA", "RGB", "RGBA")


def from_pil(
    im: Pil.Image, data: bytes | None = None, whole: png.Png | None = None, why: str | None = None
) -> Image:
    """A Pillow image of any mode; palettes, CMYK and the like are converted, and the notes say so.

    Args:
        im: any; a file just opened is checked as `read_image` does.
        data: its file, if that was checked.
        whole: its chunks, if it is a PNG.
        why: the samples are not all that the file holds.

    Raises:
        SignalError: damaged, or of a mode without a place in an image.
    """
    if data is None:
        whole, why = _check_unloaded(im)
    try:
        im.load()
    except Exception as e:  # damaged files raise whatever comes to Pillow's parsers
        raise SignalError(f"the {im.format} data cannot be decoded ({e!r})") from e
    meta.without_texts(im, whole)
    metadata, found = meta.of_pillow(im, whole)
    notes: tuple[str, ...] = tuple(found)
    if not isinstance(im, ImageFile.ImageFile):
        metadata, stale = _without_stale_orientation(im, metadata)
        notes += stale
    if why:
        notes += (why,)
    mode = im.mode
    if mode.startswith("I;16"):
        deep_grey = np.array(im).astype(np.uint16)[:, :, None]
        return Image(samples=deep_grey, metadata=metadata, notes=notes, exact=not why)
    if mode == "I":
        values = np.array(im)
        if values.min() < 0 or values.max() > 65535:
            raise SignalError(
                f"32-bit integer image with values {values.min()}..{values.max()}; allowed are 0..65535: "
                "its array np.asarray(image) goes through the codecs lossless and field"
            )
        return Image(
            samples=values.astype(np.uint16)[:, :, None], metadata=metadata, notes=notes, exact=not why
        )
    if mode == "F":
        raise SignalError(
            "float image; allowed are 8 and 16-bit integers: scale and round it first, or keep it as an "
            "array of floats with --codec field"
        )
    transparent = "transparency" in im.info
    if whole is not None and whole.transparent is not None and mode in ("1", "L", "RGB"):
        samples = np.array(im.convert("L") if mode == "1" else im)
        samples = png.with_alpha(samples[:, :, None] if samples.ndim == 2 else samples, whole)
        notes += ("one transparent colour became alpha",)
        return Image(samples=samples, metadata=metadata, notes=notes, exact=not why)
    if mode not in DIRECT_MODES or transparent:
        if mode == "1" and not transparent:
            target = "L"
        elif transparent or mode in ("PA", "La", "RGBa"):
            target = "LA" if mode in ("1", "L", "La") else "RGBA"
        else:
            target = "RGB"
        if mode == "CMYK":
            metadata.pop("icc", None)
            notes += ("CMYK converted to RGB without its ICC profile",)
        else:
            notes += (f"{'palette' if mode in ('P', 'PA') else mode} converted to {target}",)
            if "icc" in metadata and not meta.profile_fits(metadata["icc"], len(target)):
                del metadata["icc"]
                notes += (f"the ICC profile for {mode} does not fit {target} and is left out",)
        try:
            im = im.convert("L").convert(target) if mode == "1" and transparent else im.convert(target)
        except (TypeError, ValueError) as e:  # of an info that is not what Pillow takes it for
            raise SignalError(
                f"the {mode} image cannot become {target} ({e}); "
                "convert it, or drop 'transparency' from its info"
            ) from e
    samples = samples_of(im)
    return Image(
        samples=samples[:, :, None] if samples.ndim == 2 else samples,
        metadata=metadata,
        notes=notes,
        exact=mode in (*DIRECT_MODES, *EXACT_MODES) and not why,
    )


def samples_of(im: Pil.Image) -> NDArray[np.uint8]:
    """The samples of an image of 8 bits, a band of rows at a time: np.array(im) holds them twice."""
    rows = max(1, BAND_PIXELS // max(1, im.width))
    out: NDArray[np.uint8] | None = None
    for top in range(0, im.height, rows):
        bottom = min(im.height, top + rows)
        band = np.asarray(im.crop((0, top, im.width, bottom)))
        if out is None:
            out = np.empty((im.height, *band.shape[1:]), band.dtype)
        out[top:bottom] = band
    return np.array(im) if out is None else out


def _check_unloaded(im: Pil.Image) -> tuple[png.Png | None, str | None]:
    """A file that somebody opened with Pillow: whole? and all of it in the samples to come?"""
    file = getattr(im, "fp", None)
    if not getattr(im, "tile", None) or file is None:
        return None, None
    try:
        at = file.tell()
        file.seek(0)
        data = file.read()
        file.seek(at)
    except (OSError, ValueError, AttributeError):  # no file to go back in
        return None, None
    first = getattr(im, "tell", lambda: 0)() == 0
    return (png.parse(data) if data[:8] == png.MAGIC and first else None), shortfall(im, data)


def _without_stale_orientation(
    im: Pil.Image, metadata: dict[str, bytes]
) -> tuple[dict[str, bytes], tuple[str, ...]]:
    """An image that Pillow made from another carries that one's EXIF, also after `transpose`. Its orientation
    holds where the size of the camera's picture, which the EXIF states, lies as that of the samples does.
    """
    stated = exif_blocks.canonical(im.info.get("exif"))
    turn = exif_blocks.orientation(metadata)
    if (
        turn == 1
        or (stated is None and "xmp" not in metadata)
        or im.getexif().get(exif_blocks.ORIENTATION)
        != (exif_blocks.orientation({"exif": stated} if stated else {"xmp": metadata["xmp"]}))
    ):
        return metadata, ()  # upright, or set by hand on this very image
    exif = exif_blocks.parsed(stated) if stated else None
    size = exif.get_ifd(34665) if exif is not None else {}
    width, height = size.get(40962), size.get(40963)
    if isinstance(width, int) and isinstance(height, int) and turn >= 5 and width != height:  # noqa: SIM102
        if (width > height) == (im.width > im.height):
            return metadata, ()
    note = f"EXIF orientation {turn} is left out: Pillow made this image from another, and may have turned it"
    return exif_blocks.without_orientation(metadata), (note,)
