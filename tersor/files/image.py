"""Picture files to images: by Pillow, and where Pillow holds less than the file, by FFmpeg or tifffile.

    bytes --Pillow opens--> Pillow image --fidelity: what would be lost?--> deeper reader, or Pillow's
                                                                            samples and a note
    samples first, metadata after them: a damaged picture is an error whatever guards its metadata

Pillow images of people's own are in `image_pillow`, writing is in `image_write`.
"""

from __future__ import annotations

import importlib
import io
import re
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image as Pil
from PIL import ImageFile, UnidentifiedImageError

from tersor.arrays import Samples
from tersor.errors import MissingDependencyError, SignalError, unreadable
from tersor.files import deep, png, tiff
from tersor.files import image_metadata as meta
from tersor.files.fidelity import coded_colour, shortfall
from tersor.files.image_pillow import from_pil as from_pil
from tersor.files.image_write import image_bytes as image_bytes
from tersor.files.image_write import image_file as image_file
from tersor.files.image_write import to_pil as to_pil
from tersor.files.image_write import write_image as write_image
from tersor.signals import Field, Image
from tersor.signals.image import MAX_PIXELS

SRGB = ((1, 2), (13, 2))  # F: H.273, primaries and transfer that say no more than readers assume
# what a file calls its several pictures, and whether its first stands for all
PARTS = {"TIFF": "pages", "MPO": "pictures", "PSD": "layers", "DCX": "pages", "ICNS": "sizes"}
FIRST_STANDS_FOR_ALL = ("MPO", "PSD")
# F: first bytes, and the package that teaches Pillow the format
PLUGINS: tuple[tuple[str, Callable[[bytes], bool], str, str], ...] = (
    ("JPEG XL", lambda d: d[:2] == b"\xff\x0a" or d[4:8] == b"JXL ", "pillow_jxl", "pillow-jxl-plugin"),
    (
        "HEIC",
        lambda d: (
            d[4:8] == b"ftyp" and b"avif" not in d[8:64] and re.search(rb"he[iv][cmsx]", d[8:64]) is not None
        ),
        "pillow_heif",
        "pillow-heif",
    ),
)
# formats that hold pictures and nothing else; others of Pillow's are named by hand
PICTURES = frozenset(
    (
        *("AVIF", "BMP", "DDS", "DIB", "GIF", "HEIF", "ICNS", "ICO", "JPEG", "JPEG2000", "JXL", "MPO"),
        *("PCX", "PNG", "PPM", "PSD", "QOI", "SGI", "TGA", "TIFF", "WEBP"),
    )
)
PLUGIN_SUFFIXES = {".jxl": 0, ".heic": 1, ".heif": 1, ".hif": 1}
RAW_SUFFIXES = frozenset(
    (".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".raf", ".pef", ".srw", ".raw")
)
RAW_WAY_OUT = "develop it to a TIFF or PNG first (the package rawpy does), and encode that"


def read_image(source: Path | bytes, page: int | None = None) -> Image:
    """Read a picture file, or its bytes, of any format that Pillow and its installed plugins know.

    Args:
        source: path or bytes.
        page: of a file of several pictures, from 1.

    Returns:
        an image whose `notes` say what of the file it does not hold; `exact` is False if samples are missing.

    Raises:
        SignalError: no such file, not an image, damaged, several pictures and no page, empty, or larger than
            Pillow's limit against decompression bombs (179 megapixels).
        MissingDependencyError: the format needs a plugin of Pillow.
    """
    name = str(source) if isinstance(source, Path) else f"{len(source)} bytes"
    data = _bytes_of(source, name)
    try:
        with _open(data, source, name) as im:
            return _read_opened(im, data, name, page)
    except _NotForPillow:
        found = deep.of_tiff(data, page or 1)
        if found is None:
            raise
        note = "what this TIFF says besides its samples is left out, for Pillow cannot read it"
        return Image(samples=found.samples, notes=(*found.notes, note), exact=found.exact)


def page_count(source: Path | bytes) -> int:
    """How many pictures a file holds.

    Raises:
        SignalError: as `read_image`.
    """
    name = str(source) if isinstance(source, Path) else f"{len(source)} bytes"
    with _open(_bytes_of(source, name), source, name) as im:
        return _frames(im, name)


class _NotForPillow(SignalError):
    """A TIFF of a kind that Pillow does not know."""


def picture_suffixes() -> frozenset[str]:
    """Of the files that Pillow and its installed plugins open as pictures, lower case."""
    for _, _, module, _ in PLUGINS:
        load_plugin(module)
    found = Pil.registered_extensions()
    return frozenset(s.lower() for s, kind in found.items() if kind in PICTURES and kind in Pil.OPEN)


def read_pages(source: Path | bytes) -> Field | None:
    """All pictures of a file as one array [pages, H, W, channels], without channels for grey; or the numbers
    of a TIFF that no image holds. None if one image holds the file.

    Raises:
        SignalError: as `read_image`, or pictures of several sizes, or not all of the file.
        MissingDependencyError: this TIFF needs tifffile.
    """
    name = str(source) if isinstance(source, Path) else f"{len(source)} bytes"
    data = _bytes_of(source, name)
    try:
        with warnings.catch_warnings(), _open(data, source, name) as im:
            warnings.simplefilter("ignore")
            count, parts = _frames(im, name), PARTS.get(im.format or "", "frames")
            if im.format == "TIFF" and count > 1 and tiff.chain_is_broken(data):
                raise SignalError(f"{name}: {tiff.BROKEN}")
            if im.format in FIRST_STANDS_FOR_ALL or not tiff.several(im, count):
                return tiff.numbers(data, name) if tiff.is_numbers(im) else None
            pages = [_read_opened(im, data, name, n + 1) for n in range(count)]
    except SignalError:
        if not tiff.is_tiff(data):
            raise
        return tiff.numbers(data, name)
    if inexact := [p for p in pages if not p.exact]:
        if tiff.is_tiff(data):
            return tiff.numbers(data, name)
        raise SignalError(
            f"{name}: {count} {parts}, and an array would not hold them as they are: "
            f"{'; '.join(inexact[0].notes)}; choose one with --pages"
        )
    channels = max(p.samples.shape[2] for p in pages)
    samples = [_with_channels(p.samples, channels) for p in pages]
    if len({(s.shape, s.dtype) for s in samples}) > 1:
        raise SignalError(f"{name}: {count} {parts} of several sizes; choose one with --pages")
    values = np.stack(samples)
    note = f"{count} {parts} became an array, without what the file says of them"
    return Field(values=values[..., 0] if channels == 1 else values, notes=(note,))


def _with_channels(samples: Samples, channels: int) -> Samples:
    """Grey as RGB, opaque as with alpha: the same colours in as many channels."""
    have = samples.shape[2]
    if have == channels:
        return samples
    opaque = np.full((*samples.shape[:2], 1), np.iinfo(samples.dtype).max, samples.dtype)
    colour = samples[..., : 3 if have >= 3 else 1]
    if channels >= 3 and colour.shape[2] == 1:
        colour = np.repeat(colour, 3, 2)
    alpha = [] if channels in (1, 3) else [samples[..., -1:] if have in (2, 4) else opaque]
    return np.concatenate([colour, *alpha], 2)


def _bytes_of(source: Path | bytes, name: str) -> bytes:
    try:
        data = source.read_bytes() if isinstance(source, Path) else source
    except OSError as e:
        raise unreadable(name, e) from e
    if not data:
        raise SignalError(f"{name}: the file is empty")
    return data


def _open(data: bytes, source: Path | bytes, name: str) -> Pil.Image:
    suffix = source.suffix.lower() if isinstance(source, Path) else ""
    if suffix in RAW_SUFFIXES:
        raise SignalError(f"{name}: the raw data of a camera are no picture yet; {RAW_WAY_OUT}")
    for what, begins, module, package in PLUGINS:
        if begins(data) and not load_plugin(module):
            raise MissingDependencyError(
                f"{name}: {what} needs a plugin of Pillow; pip install {package}, or convert it to PNG"
            )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return Pil.open(io.BytesIO(data))
    except UnidentifiedImageError as e:
        if suffix in PLUGIN_SUFFIXES:
            what, _, _, package = PLUGINS[PLUGIN_SUFFIXES[suffix]]
            raise SignalError(
                f"{name}: not a {what} file that Pillow can read (with the package {package})"
            ) from e
        if tiff.is_tiff(data):
            raise _NotForPillow(f"{name}: {tiff.UNREADABLE}") from e
        raise SignalError(f"{name}: not an image that Pillow can read") from e
    except Exception as e:  # damaged headers raise whatever comes to a parser; bombs raise here too
        raise SignalError(f"{name}: not an image that Pillow can read ({e})") from e


def load_plugin(module: str) -> bool:
    """Whether an installed plugin of Pillow was taken into use."""
    try:
        found = importlib.import_module(module)
    except ImportError:
        return False
    if module == "pillow_heif":
        found.register_heif_opener()
    return True


def _frames(im: Pil.Image, name: str) -> int:
    try:
        return int(getattr(im, "n_frames", 1))
    except Exception as e:  # Pillow walks through the file for it
        raise SignalError(f"{name}: the {im.format} data cannot be decoded ({e!r})") from e


def _read_opened(im: Pil.Image, data: bytes, name: str, page: int | None) -> Image:
    if im.width * im.height > MAX_PIXELS:
        raise SignalError(
            f"{name}: {im.width}x{im.height} is more than {MAX_PIXELS} pixels; split the image first"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            notes, complete = _select(im, name, page)
            if im.format == "TIFF" and tiff.chain_is_broken(data):
                notes, complete = [*notes, tiff.BROKEN], False
            image = _read_selected(im, data, page, tuple(notes))
            return image if complete else replace(image, exact=False)
    except SignalError as e:
        raise e if name in str(e) else SignalError(f"{name}: {e}") from e
    except Exception as e:  # damaged files raise whatever comes to Pillow's and FFmpeg's parsers
        raise SignalError(f"{name}: the {im.format} data cannot be decoded ({e!r})") from e


def _select(im: Pil.Image, name: str, page: int | None) -> tuple[list[str], bool]:
    """Turn to the page asked for; -> notes of what is left out unasked, and False if that are pictures."""
    count, parts = _frames(im, name), PARTS.get(im.format or "", "frames")
    if page is not None:
        if not 1 <= page <= count:
            raise SignalError(f"{name}: page {page} was asked for; the file has {count}")
        if im.format != "PSD":
            im.seek(page - 1)
        return [], True
    if count == 1:
        return [], True
    if im.format in FIRST_STANDS_FOR_ALL:
        what = "merged" if im.format == "PSD" else "the first is taken"
        return [f"{count} {parts}: {what}"], False
    if im.format == "TIFF" and tiff.others_are_copies(im):
        im.seek(0)
        return [f"{count - 1} smaller copies or masks of this TIFF are left out"], True
    raise SignalError(
        f"{name}: {'' if parts == 'pages' else 'animated, '}{count} {parts}; the image codec takes one: "
        "choose with --pages (page= of read_image), or keep all as an array with --codec lossless"
    )


def _read_selected(im: Pil.Image, data: bytes, page: int | None, notes: tuple[str, ...]) -> Image:
    whole = png.parse(data) if data[:8] == png.MAGIC else None
    if im.format in ("ICO", "ICNS", "CUR"):
        png.check_inside(data)
    if im.format == "TIFF":
        notes += tiff.check_picture(im)
    why = shortfall(im, data)
    if ImageFile.LOAD_TRUNCATED_IMAGES:
        notes += ("Pillow's LOAD_TRUNCATED_IMAGES is on: what is missing of the file goes unnoticed",)
    if whole is not None and whole.trailing:
        notes += (f"{whole.trailing} bytes after the end of the PNG are left out",)
    if whole is not None and whole.depth == 16 and not getattr(im, "is_animated", False):
        image = _image(im, png.read_deep(data, whole), whole)
    elif why and (found := deep.samples(im, data, page or 1)) is not None:
        image = _image(im, found.samples, whole)
        image = replace(image, notes=(*image.notes, *found.notes), exact=found.exact)
    else:
        image = from_pil(im, data, whole, why)
        if why and deep.way_out(im):
            image = replace(image, notes=(*image.notes, deep.way_out(im)))
    extra: dict[str, bytes] = {}
    colour = coded_colour(data) if im.format in ("AVIF", "HEIF") else None
    if colour and not (colour[0] in SRGB[0] and colour[1] in SRGB[1]):
        extra["cICP"] = bytes([colour[0], colour[1], 0, 1])  # the samples are RGB now, of full range
    if (profile := meta.bmp_profile(data)) is not None:
        extra["icc"] = profile
    return replace(
        image,
        metadata={**image.metadata, **extra},
        notes=(*notes, *image.notes),
        exact=image.exact and not ImageFile.LOAD_TRUNCATED_IMAGES,
    )


def _image(im: Pil.Image, samples: Samples, whole: png.Png | None) -> Image:
    """Samples from elsewhere, with Pillow's metadata of the file."""
    im.load()  # metadata after the samples, and some of it stands behind them
    meta.without_texts(im, whole)
    metadata, notes = meta.of_pillow(im, whole)
    return Image(samples=samples, metadata=metadata, notes=tuple(notes))
