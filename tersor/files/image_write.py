"""Images to picture files, by Pillow and FFmpeg; what a format cannot hold is named, and pixels are turned
upright where it cannot say which way is up.

    Image --samples--> Pillow (16-bit PNG: FFmpeg; 16-bit PNM: by hand) --metadata that it holds--> bytes
    the bytes --read back--> notes of what became of the samples
"""

from __future__ import annotations

import io
import struct
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image as Pil

from tersor.errors import SignalError
from tersor.files import exif as exif_blocks
from tersor.files import image_metadata as meta
from tersor.files import png, tiff
from tersor.files.atomic import write_atomically
from tersor.files.image_options import IPTC_FRAME, OPTIONS, SEGMENT, png_chunks, texts
from tersor.signals import Image

# what a format holds of the metadata of a .tsr file, as Pillow and this file write it
KEEPS: dict[str, frozenset[str]] = {
    "PNG": frozenset(["icc", "exif", "xmp", "comment", "text", "resolution", *png.COLOUR_CHUNKS]),
    "JPEG": frozenset(["icc", "exif", "xmp", "iptc", "comment", "resolution"]),
    "TIFF": frozenset(["icc", "exif", "xmp", "iptc", "resolution"]),
    "WEBP": frozenset(["icc", "exif", "xmp"]),
    "AVIF": frozenset(["icc", "exif", "xmp"]),
    "JXL": frozenset(["icc", "exif", "xmp"]),
    "HEIF": frozenset(["icc", "exif", "xmp"]),
    "GIF": frozenset(["comment"]),
    "BMP": frozenset(["resolution"]),
    "JPEG2000": frozenset(["comment"]),
}
# whose readers follow EXIF; those of JPEG XL and HEIC follow boxes of their own
TURNED_BY_READERS = ("PNG", "JPEG", "TIFF", "WEBP", "AVIF")
COPIES_EXIF = ("PNG", "JPEG", "WEBP")  # byte by byte, damaged or not; others are written tag by tag
WORDS = {"icc": "ICC profile", "exif": "EXIF", "xmp": "XMP", "iptc": "IPTC"}
LOSSY = ("JPEG", "AVIF", "HEIF")
PLUGIN_OF = {".jxl": "pillow_jxl", ".heic": "pillow_heif", ".heif": "pillow_heif"}
KINDS_16_GREY = ("PNG", "TIFF", "PPM", "JPEG2000")
KINDS_16_COLOUR = ("PNG", "PPM", "TIFF")


def to_pil(image: Image) -> Pil.Image:
    """8-bit images and 16-bit grey; see `Image.pil`."""
    s = image.samples
    if s.dtype == np.uint16:
        if s.shape[2] != 1:
            raise SignalError(
                "Pillow has no mode for 16-bit colour; use np.asarray(image), or image.save('x.png')"
            )
        im = Pil.fromarray(s[:, :, 0])
    else:
        im = Pil.fromarray(s[:, :, 0] if s.shape[2] == 1 else s)
    m = image.metadata
    for key, name in (("icc", "icc_profile"), ("exif", "exif"), ("xmp", "xmp"), ("comment", "comment")):
        if key in m:
            im.info[name] = m[key]
    if found := meta.resolution_of(m, "inch"):
        im.info["dpi"] = tuple(float(v) for v in found)
    if len(m.get("gAMA", b"")) == 4:
        im.info["gamma"] = struct.unpack(">I", m["gAMA"])[0] / 100000
    if len(m.get("sRGB", b"")) == 1:
        im.info["srgb"] = m["sRGB"][0]
    if len(m.get("cHRM", b"")) == 32:
        im.info["chromaticity"] = tuple(v / 100000 for v in struct.unpack(">8I", m["cHRM"]))
    return im


def image_bytes(image: Image, suffix: str) -> bytes:
    """The image as a file of the format that `suffix` names (".png", ".jpg", ...).

    Raises:
        SignalError: the format is unknown or cannot hold the image.
    """
    return image_file(image, suffix)[0]


def image_file(image: Image, suffix: str) -> tuple[bytes, tuple[str, ...]]:
    """As `image_bytes`, and what of the image is not in the file or was changed on the way.

    Raises:
        SignalError: the format is unknown or cannot hold the image.
    """
    kind = _format(suffix)
    notes: list[str] = []
    keeps = KEEPS.get(kind, frozenset())
    turns = kind in TURNED_BY_READERS
    if kind == "TIFF" and image.samples.dtype == np.uint16 and image.samples.shape[2] > 1:
        keeps, turns = keeps - {"exif"}, False  # written by tifffile
    if not turns and exif_blocks.orientation(image.metadata) != 1:
        image = meta.upright(image)
        notes.append(f"turned upright, for a {suffix} file holds no orientation")
    metadata, damaged = _sound(image.metadata, image.samples.shape[2], kind)
    notes += damaged
    lost = [k for k in meta.KEYS if k in metadata and k not in keeps]
    held = {k: v for k, v in metadata.items() if k not in lost}
    held, too_long = _fitting(kind, held)
    if words := _words(lost, metadata):
        notes.append(f"a {suffix} file holds no {', '.join(words)}")
    if too_long:
        notes.append(f"{', '.join(WORDS[k] for k in too_long)} too long for a {suffix} file, left out")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data = _encoded(image, held, kind, suffix)
        notes += _changed(data, image, kind, suffix)
    return data, tuple(notes)


def write_image(image: Image, path: Path | IO[bytes], kind: str | None = None) -> tuple[str, ...]:
    """Write aside, then rename; or into an open file; -> what the file does not hold.

    Args:
        image: any.
        path: its suffix names the format; or a file open for bytes.
        kind: the format of an open file, such as "png".

    Raises:
        SignalError: no format, or one that cannot hold the image; the file cannot be written.
    """
    if not isinstance(path, Path):
        name = getattr(path, "name", None)
        suffix = f".{kind.lstrip('.')}" if kind else Path(name).suffix if isinstance(name, str) else ""
        if not suffix:
            raise SignalError("an open file has no suffix that names a format; give format='png' or another")
        data, notes = image_file(image, suffix)
        path.write(data)
        return notes
    data, notes = image_file(image, f".{kind.lstrip('.')}" if kind else path.suffix)
    write_atomically(path, data)
    return notes


def _format(suffix: str) -> str:
    suffix = suffix.lower()
    if suffix in PLUGIN_OF:
        from tersor.files.image import load_plugin

        load_plugin(PLUGIN_OF[suffix])
    kind = Pil.registered_extensions().get(suffix)
    if kind is None or kind not in Pil.SAVE:
        plugin = (
            f" (with the package {PLUGIN_OF[suffix].replace('_', '-')} there is)"
            if suffix in PLUGIN_OF
            else ""
        )
        raise SignalError(
            f"no image format is written to '{suffix}'{plugin}; use .png, .webp, .tif, .ppm or .jpg"
        )
    return "JPEG" if kind == "MPO" else kind


def _sound(metadata: Mapping[str, bytes], channels: int, kind: str) -> tuple[dict[str, bytes], list[str]]:
    """Metadata without what is damaged or of another kind of samples, and notes of that."""
    out, notes = {k: v for k, v in metadata.items() if k in meta.KEYS}, []
    if "exif" in out:
        block = exif_blocks.canonical(out.pop("exif"))
        exif = exif_blocks.parsed(block) if block else None
        if block and exif is not None and exif_blocks.is_of_tiff(exif):
            block = exif_blocks.without_layout(exif)
        copied = kind in COPIES_EXIF and block is not None and block[6:8] in (b"II", b"MM")
        if block and (copied or (exif is not None and len(exif))):
            out["exif"] = block
        elif metadata["exif"] and (exif is None or len(exif)):
            notes.append("the EXIF block is damaged and left out")
    for name, size in png.COLOUR_SIZES.items():
        if name in out and len(out[name]) != size:
            del out[name]
            notes.append(f"{name} is damaged and left out")
    if "icc" in out and len(out["icc"]) < 128:
        del out["icc"]
        notes.append("the ICC profile is damaged and left out")
    if "icc" in out and out["icc"][16:20] in (b"CMYK", b"Lab ") + ((b"GRAY",) if channels >= 3 else ()):
        space = out.pop("icc")[16:20].decode().strip()
        notes.append(f"the ICC profile is one of {space} samples and left out")
    return out, notes


def _fitting(kind: str, held: dict[str, bytes]) -> tuple[dict[str, bytes], list[str]]:
    """JPEG's segments have an end."""
    if kind != "JPEG":
        return held, []
    frames = {"exif": 0, "xmp": 29, "iptc": len(IPTC_FRAME) + 5, "comment": 0}
    too_long = [k for k, frame in frames.items() if k in held and len(held[k]) + frame > SEGMENT]
    return {k: v for k, v in held.items() if k not in too_long}, too_long


def _words(lost: list[str], metadata: dict[str, bytes]) -> list[str]:
    """For people; nothing of what readers assume anyway."""
    if "sRGB" in lost:
        lost = [k for k in lost if k not in ("sRGB", "gAMA", "cHRM")]
    if "cICP" in lost and metadata["cICP"][:2] == b"\x01\x0d":
        lost = [k for k in lost if k != "cICP"]
    words = [WORDS.get(k, k) for k in lost]
    if "text" in lost:
        words[words.index("text")] = f"text ({', '.join(t[0] for t in texts(metadata)) or 'unreadable'})"
    return words


def _encoded(image: Image, held: dict[str, bytes], kind: str, suffix: str) -> bytes:
    s = image.samples
    if s.dtype == np.uint16:
        kinds = KINDS_16_GREY if s.shape[2] == 1 else KINDS_16_COLOUR
        if kind not in kinds or (kind == "PPM" and s.shape[2] in (2, 4)):
            raise SignalError(f"{kind} output cannot hold this 16-bit image; write .png")
        if kind == "TIFF" and s.shape[2] > 1:
            return tiff.colour_bytes(s.astype(np.uint16, copy=False), held)
    if kind == "PNG":
        deep = s.astype(np.uint16, copy=False) if s.dtype == np.uint16 else None
        data = _saved(to_pil(Image(samples=s)), "PNG", {}) if deep is None else png.write_deep(deep)
        return png.insert(data, png_chunks(held))
    if kind == "PPM" and s.dtype == np.uint16:
        head = f"P{5 if s.shape[2] == 1 else 6}\n{image.width} {image.height}\n65535\n"
        return head.encode() + s.astype(">u2").tobytes()
    options = OPTIONS[kind](held) if kind in OPTIONS else {}
    im = to_pil(Image(samples=s))
    try:
        if im.mode not in ("L", "LA"):
            return _saved(im, kind, options)
        try:
            return _saved(im, kind, options)
        except (OSError, ValueError):  # a format without grey, or without its alpha
            return _saved(im.convert("RGB" if im.mode == "L" else "RGBA"), kind, options)
    except Exception as e:  # limits of the format
        raise SignalError(f"{kind} output cannot hold this image ({e!r}); write .png") from e


def _saved(im: Pil.Image, kind: str, options: dict[str, object]) -> bytes:
    out = io.BytesIO()
    im.save(out, kind, **options)
    return out.getvalue()


def _changed(data: bytes, image: Image, kind: str, suffix: str) -> list[str]:
    """What became of the samples: the file is read again."""
    if kind in LOSSY:
        return [f"a {suffix} file holds samples with loss"] if image.exact else []
    if kind in ("PNG", "TIFF", "WEBP") or (kind == "PPM" and image.samples.dtype == np.uint16):
        return []  # their round trips are tested
    try:
        with Pil.open(io.BytesIO(data)) as im:
            im.load()
            if im.size != (image.width, image.height):
                return [f"resized to {im.width}x{im.height}, for a {suffix} file holds no other size"]
            mode = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[image.samples.shape[2]]
            deep = image.samples.dtype == np.uint16
            back = np.array(im).astype(np.uint16) if deep else np.array(im.convert(mode))
    except Exception:  # a format that Pillow writes and does not read
        return [f"what a {suffix} file holds of the samples was not checked"]
    back = back[:, :, None] if back.ndim == 2 else back
    if np.array_equal(back, image.samples):
        return []
    colours = 3 if image.samples.shape[2] >= 3 else 1
    if image.samples.shape[2] in (2, 4) and np.array_equal(back[..., :colours], image.samples[..., :colours]):
        return [f"a {suffix} file holds no alpha"]
    return [f"a {suffix} file holds these samples only roughly{' (256 colours)' if kind == 'GIF' else ''}"]
