"""TIFF files that Pillow holds only in part: 16-bit colour, signed and float samples, stacks of pages; by
tifffile (the extra `pictures`), whose arrays are the file's own numbers.
"""

from __future__ import annotations

import io
import logging
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pil

from tersor.arrays import Numbers
from tersor.errors import MissingDependencyError, SignalError
from tersor.signals import Field

PREFIXES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # F: also BigTIFF's
EXTRA = "pip install 'tersor[pictures]'"
UNREADABLE = (
    "Pillow cannot read this kind of TIFF; its numbers go through as an array, with --codec lossless or "
    f"--codec field ({EXTRA})"
)
MOST_INFLATED = 5000  # G: of bytes a byte; deflate reaches 1032, LZW 1365
BROKEN = "a page of this TIFF lies outside the file, which is damaged or cut short"
REDUCED, MASK = 1, 4  # F: bits of NewSubfileType
CAMERA_RAW = (32803, 34892)  # F: photometric senses CFA and LinearRaw
GREY_FROM_WHITE, GREY, RGB = 0, 1, 2


def is_tiff(data: bytes) -> bool:
    return data[:4] in PREFIXES


def chain_is_broken(data: bytes) -> bool:
    """Whether the directory of a page lies outside the file: it is damaged, or pages were cut off."""
    order, big = ("<" if data[:2] == b"II" else ">"), 43 in data[2:4]
    word, count, entry = ("Q", "Q", 20) if big else ("I", "H", 12)
    at, seen = struct.unpack_from(f"{order}{word}", data + bytes(16), 8 if big else 4)[0], set[int]()
    while at and at not in seen:
        seen.add(at)
        size = struct.calcsize(f"<{count}")
        if at + size > len(data):
            return True
        end = at + size + entry * struct.unpack_from(order + count, data, at)[0]
        if end + struct.calcsize(f"<{word}") > len(data):
            return True
        at = struct.unpack_from(order + word, data, end)[0]
    return False


def others_are_copies(im: Pil.Image) -> bool:
    """Whether every page but the first is a smaller copy or a mask of it."""
    kinds = []
    for n in range(1, im.n_frames):  # type: ignore[attr-defined]
        im.seek(n)
        kinds.append(im.tag_v2.get(254, 0))  # type: ignore[attr-defined]
    im.seek(0)
    return all(isinstance(k, int) and k & (REDUCED | MASK) for k in kinds)


def check_picture(im: Pil.Image) -> tuple[str, ...]:
    """Notes of what hangs beside the page.

    Raises:
        SignalError: the page is a preview; the picture itself is where Pillow does not look.
    """
    tags = im.tag_v2  # type: ignore[attr-defined]
    if 330 not in tags:
        return ()
    if tags.get(254, 0) & REDUCED or 50706 in tags:
        raise SignalError(
            "this TIFF (or DNG) opens with a preview, and its picture lies deeper, where Pillow does not "
            "look; develop or convert it to a plain TIFF or PNG first (the package rawpy does)"
        )
    below = tags[330]
    count = len(below) if isinstance(below, tuple) else 1
    return (f"{count} smaller or further pictures below this TIFF page are left out",)


def _tifffile() -> Any:
    try:
        import tifffile
    except ImportError as e:
        raise MissingDependencyError(f"this TIFF needs tifffile: {EXTRA}") from e
    log = logging.getLogger("tifffile")
    if not log.handlers:  # it tells of damage on stderr, where nobody has asked for logs
        log.addHandler(logging.NullHandler())
    return tifffile


def read_colour(data: bytes, page: int) -> tuple[NDArray[np.uint16], tuple[str, ...], bool] | None:
    """Samples uint16 [H, W, C] of a page of 16-bit grey or RGB, alpha or not, upright; notes; whether they
    are the file's own. None if it is another kind of page.

    Raises:
        MissingDependencyError: tifffile is not installed.
    """
    with _tifffile().TiffFile(io.BytesIO(data)) as file:
        if page > len(file.pages):
            return None
        p = file.pages[page - 1]
        sense, extras = int(p.photometric), tuple(int(v) for v in p.extrasamples)
        colours = {GREY_FROM_WHITE: 1, GREY: 1, RGB: 3}.get(sense, 0)
        if p.dtype != np.uint16 or not colours or p.bitspersample != 16 or p.axes not in ("YX", "YXS", "SYX"):
            return None
        if p.nbytes > MOST_INFLATED * len(data):
            return None
        samples = p.asarray()
        turn = p.tags.get(274)
    samples = samples[:, :, None] if samples.ndim == 2 else samples
    samples = np.moveaxis(samples, 0, 2) if p.axes == "SYX" else samples
    if samples.shape[2] not in (colours, colours + 1):
        return None
    notes: tuple[str, ...] = ()
    if extras[:1] == (0,):
        samples, notes = samples[:, :, :colours], ("a further channel of this TIFF is left out",)
    elif extras[:1] == (1,):
        return None
    if sense == GREY_FROM_WHITE:
        samples[:, :, 0] = 65535 - samples[:, :, 0]
        notes += ("0 is white in this 16-bit TIFF, and its samples are turned round",)
    from tersor.files.exif import turned

    upright = turned(samples.astype(np.uint16, copy=False), int(turn.value) if turn is not None else 1)
    return upright, notes, not notes


def several(im: Pil.Image, count: int) -> bool:
    """Whether a file of so many pictures holds more than copies of one."""
    return count > 1 and not (im.format == "TIFF" and others_are_copies(im))


def is_numbers(im: Pil.Image) -> bool:
    """Whether a TIFF's page holds other samples than unsigned ones of up to 16 bits."""
    tags = getattr(im, "tag_v2", {})
    kinds, bits = set(tags.get(339, (1,))), max(tags.get(258, (1,)), default=1)
    return im.format == "TIFF" and (bool(kinds - {1, 4}) or bits > 16)


def numbers(data: bytes, name: str) -> Field:
    """The file as an array.

    Raises:
        SignalError, MissingDependencyError: as `read_array`.
    """
    try:
        values = read_array(data)
    except (SignalError, MissingDependencyError) as e:
        raise type(e)(f"{name}: {e}") from e
    return Field(values=values, notes=("this TIFF became an array, without what the file says of it",))


def read_array(data: bytes) -> Numbers:
    """The numbers of a TIFF file: [pages, H, W, channels], without the axes that it has not.

    Raises:
        MissingDependencyError: tifffile, or the codec package that it needs, is not installed.
        SignalError: damaged, or pages of several sizes.
    """
    tifffile = _tifffile()
    if chain_is_broken(data):
        raise SignalError(BROKEN)
    try:
        with tifffile.TiffFile(io.BytesIO(data)) as file:
            series = [s for s in file.series if not s.keyframe.is_reduced] or file.series
            if not series:
                raise SignalError("this TIFF holds no page that tifffile can read")
            if len(series) > 1:
                shapes = ", ".join(str(s.shape) for s in series[:4])
                raise SignalError(
                    f"this TIFF holds arrays of several shapes ({shapes}); choose one with --pages"
                )
            if series[0].nbytes > MOST_INFLATED * len(data):
                raise SignalError(f"this TIFF announces {series[0].nbytes:,} bytes, and has {len(data):,}")
            return np.ascontiguousarray(series[0].asarray())
    except SignalError:
        raise
    except Exception as e:  # damaged files raise whatever comes to a parser
        if "imagecodecs" in str(e):
            raise MissingDependencyError(f"this TIFF's compression needs imagecodecs: {EXTRA}") from e
        raise SignalError(f"the TIFF data cannot be decoded ({e!r})") from e


def array_bytes(values: Numbers) -> bytes:
    """A TIFF of an array, a page for each of its pictures; `read_array` gives the same.

    Raises:
        MissingDependencyError: tifffile is not installed.
        SignalError: a type that TIFF has not, or no values.
    """
    tifffile = _tifffile()
    out = io.BytesIO()
    colour = values.ndim >= 3 and values.shape[-1] in (3, 4) and values.dtype in (np.uint8, np.uint16)
    alpha = ["unassalpha"] if colour and values.shape[-1] == 4 else None
    try:
        sense = "rgb" if colour else "minisblack"
        tifffile.imwrite(out, values, photometric=sense, extrasamples=alpha, compression="zlib")
    except Exception as e:  # whatever a writer says of types and shapes
        raise SignalError(
            f"a TIFF file cannot hold {values.dtype} {list(values.shape)} ({e}); write .npy"
        ) from e
    return out.getvalue()


def colour_bytes(samples: NDArray[np.uint16], held: Mapping[str, bytes]) -> bytes:
    """A TIFF of 16-bit samples [H, W, C], with ICC profile, XMP, IPTC and resolution.

    Raises:
        MissingDependencyError: tifffile is not installed.
    """
    from tersor.files.image_metadata import resolution_of

    tifffile = _tifffile()
    colours = 3 if samples.shape[2] >= 3 else 1
    options: dict[str, object] = {
        "photometric": "rgb" if colours == 3 else "minisblack",
        "planarconfig": "contig",
    }
    if samples.shape[2] > colours:
        options["extrasamples"] = ["unassalpha"]
    if "icc" in held:
        options["iccprofile"] = held["icc"]
    if found := resolution_of(held, "inch"):
        options |= {"resolution": tuple(float(v) for v in found), "resolutionunit": "inch"}
    tags = [
        (tag, 7 if tag == 33723 else 1, held[key])
        for key, tag in (("xmp", 700), ("iptc", 33723))
        if key in held
    ]
    options["extratags"] = [(tag, kind, len(body), body, True) for tag, kind, body in tags]
    out = io.BytesIO()
    tifffile.imwrite(
        out, samples, compression="zlib", predictor=True, metadata=None, software=False, **options
    )
    return out.getvalue()
