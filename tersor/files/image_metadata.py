"""What a picture file says besides its samples: colour, EXIF, XMP, IPTC, text, resolution, as the entries of
a .tsr file (FORMAT.md, section "Container").

    Pillow image, its samples loaded; a PNG's chunks --of_pillow--> {key: bytes}, notes of what is left out
"""

from __future__ import annotations

import json
import math
import re
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from typing import Any

from PIL import Image as Pil

from tersor.files import exif as exif_blocks
from tersor.files.png import COLOUR_CHUNKS, KNOWN_CHUNKS, Png
from tersor.signals import Image

COLOUR = frozenset(["icc", *COLOUR_CHUNKS])  # how the samples are to be shown; `stripped` keeps these
KEYS = ("icc", "exif", "xmp", "iptc", "comment", "text", "resolution", *COLOUR_CHUNKS)
XMP_KEYWORD = "XML:com.adobe.xmp"
IPTC_RESOURCE = 0x0404  # F: of Photoshop's image resources
HARMLESS_RESOURCES = {
    0x0404,
    0x03ED,
    0x040F,
    0x0422,
    0x0423,
    0x0424,
    0x0425,
}  # copies of what is kept, digests
# blocks that ImageMagick writes into text, and that are read as what they are
READ_PROFILES = ("Raw profile type exif", "Raw profile type iptc", "Raw profile type xmp")
PILLOWS_OWN = {
    *("transparency", "exif", "icc_profile", "gamma", "dpi", "aspect", "srgb", "chromaticity", "xmp"),
    *("photoshop", "jfif_unit", "jfif_density", "comment"),
}
CHUNKS = {"transparency": "tRNS", "exif": "eXIf"}
MOST_TEXT = 1 << 20  # G: bytes of an inflated text
CM_PER_INCH = Fraction(254, 100)


def of_pillow(im: Pil.Image, png: Png | None) -> tuple[dict[str, bytes], list[str]]:
    """Metadata and notes of a Pillow image whose samples are loaded.

    Args:
        im: any.
        png: its file, if it is one of PNG that is at hand.
    """
    found: dict[str, bytes] = {}
    notes: list[str] = []
    info = im.info
    icc = info.get("icc_profile")
    if isinstance(icc, (bytes, bytearray)) and icc:
        found["icc"] = bytes(icc)
    xmp = info.get("xmp") or info.get(XMP_KEYWORD)
    xmp = xmp or _raw_profile(info, "xmp", rb".+")
    if xmp:
        found["xmp"] = xmp if isinstance(xmp, bytes) else str(xmp).encode()
    block, left_out = exif_blocks.of_pillow(im, exif_blocks.orientation_of_xmp(found.get("xmp")))
    if block:
        found["exif"] = block
    if left_out:
        notes.append(f"TIFF tags {', '.join(map(str, left_out))} are left out")
    if iptc := _guarded(_iptc, im, notes):
        found["iptc"] = iptc
    comment = info.get("comment")
    if isinstance(comment, (bytes, str)) and comment:
        found["comment"] = comment if isinstance(comment, bytes) else comment.encode()
    if resolution := _guarded(_resolution, im, notes):
        found["resolution"] = resolution
    found |= _of_chunks(png) if png else _colour_of_info(info)
    if text := _text_of_chunks(png) if png else _text(im):
        found["text"] = json.dumps(text, ensure_ascii=False).encode()
    if png and (others := sorted({n for n, _ in png.chunks} - KNOWN_CHUNKS)):
        notes.append(f"PNG chunks {', '.join(others)} are left out")
    notes += _segments(im)
    return found, notes


def without_texts(im: Pil.Image, png: Png | None) -> None:
    """Pillow puts the texts of a PNG among what it knows of the picture, by their keywords: one called
    "transparency" or "exif" is neither. What the chunks say comes back.

    Args:
        im: loaded.
        png: its file, if it is one of PNG that is at hand.
    """
    for key in PILLOWS_OWN & set(getattr(im, "text", ())) if png else ():
        im.info.pop(key, None)
        body = png.body(CHUNKS.get(key, "")) if png else None
        if key == "exif" and body:
            im.info["exif"] = exif_blocks.PREFIX + body
        elif key == "transparency" and body and im.mode == "P":
            im.info["transparency"] = body


def _guarded(read: Callable[[Pil.Image], bytes | None], im: Pil.Image, notes: list[str]) -> bytes | None:
    """Damaged metadata lose no picture: its samples are loaded."""
    try:
        return read(im)
    except Exception:  # Pillow reads tags when they are asked for, and raises whatever comes to a parser
        notes.append(f"{read.__name__.removeprefix('_')} is damaged and left out")
        return None


def _iptc(im: Pil.Image) -> bytes | None:
    resources = im.info.get("photoshop")
    if isinstance(resources, dict) and isinstance(resources.get(IPTC_RESOURCE), bytes):
        return bytes(resources[IPTC_RESOURCE]) or None
    tags = getattr(im, "tag_v2", None)
    records = tags.get(33723) if tags is not None else None
    if isinstance(records, tuple) and records and all(isinstance(v, int) for v in records):
        order = (
            ">" if tags is not None and tags.prefix == b"MM" else "<"
        )  # stored as 32-bit numbers, by mistake
        records = struct.pack(f"{order}{len(records)}I", *(v & 0xFFFFFFFF for v in records))
    if isinstance(records, bytes):
        return records or None
    return _raw_profile(im.info, "iptc", rb"\x1c\x02.*")


def _raw_profile(info: Mapping[Any, Any], kind: str, wanted: bytes) -> bytes | None:
    """A block that ImageMagick writes into text: a name, a length, hexadecimal digits."""
    text = info.get(f"Raw profile type {kind}")
    if not isinstance(text, str):
        return None
    try:
        block = bytes.fromhex("".join(text.split("\n")[3:]))
    except ValueError:
        return None
    match = re.search(wanted, block, re.DOTALL)
    return match[0] if match else None


def _resolution(im: Pil.Image) -> bytes | None:
    tags = getattr(im, "tag_v2", None)
    if tags is not None:
        x, y, unit = tags.get(282), tags.get(283), {1: "", 3: "cm"}.get(tags.get(296, 2), "inch")
        return resolution_text(x, y, unit) if unit or x != y else None
    dpi = im.info.get("dpi")
    # of a JPEG without a JFIF unit Pillow makes it up, or takes it from EXIF, where it stays
    if isinstance(dpi, tuple) and len(dpi) == 2 and (im.format != "JPEG" or im.info.get("jfif_unit")):
        return resolution_text(dpi[0], dpi[1], "inch")
    ratio = im.info.get("jfif_density") if im.info.get("jfif_unit") == 0 else im.info.get("aspect")
    if isinstance(ratio, tuple) and len(ratio) == 2 and ratio != (1, 1):
        return resolution_text(ratio[0], ratio[1], "")
    return None


def resolution_text(x: Any, y: Any, unit: str) -> bytes | None:
    """ "300 300 inch": pixels a unit across and down; without a unit their ratio is all that counts."""
    try:
        if not (math.isfinite(x) and math.isfinite(y) and x > 0 and y > 0):
            return None
        fractions = [Fraction(*v.as_integer_ratio()).limit_denominator(10000) for v in (float(x), float(y))]
    except (TypeError, ValueError, ZeroDivisionError, OverflowError):
        return None
    return " ".join([*map(str, fractions), unit]).strip().encode() if all(fractions) else None


def resolution_of(metadata: Mapping[str, bytes], unit: str) -> tuple[Fraction, Fraction] | None:
    """Pixels an inch, a cm or a metre; for unit "" the ratio of a file that names no unit."""
    match = re.fullmatch(
        rb"(\d{1,12}(?:/\d{1,12})?) (\d{1,12}(?:/\d{1,12})?)(?: (inch|cm|metre))?",
        metadata.get("resolution", b""),
    )
    if match is None:
        return None
    stored = (match[3] or b"").decode()
    try:
        x, y = Fraction(match[1].decode()), Fraction(match[2].decode())
    except ZeroDivisionError:
        return None
    if not stored or not unit:
        return (x, y) if stored == unit else None
    in_inches = {"inch": Fraction(1), "cm": CM_PER_INCH, "metre": CM_PER_INCH / 100}
    factor = in_inches[stored] / in_inches[unit]
    return x * factor, y * factor


def _of_chunks(png: Png) -> dict[str, bytes]:
    found = {}
    for name in COLOUR_CHUNKS:
        body = png.body(name) or png.body({"mDCV": "mDCv", "cLLI": "cLLi"}.get(name, name))
        if body:
            found[name] = body
    size = png.body("pHYs")
    if size and len(size) == 9:
        x, y, unit = struct.unpack(">IIB", size)
        if x and y:
            found["resolution"] = f"{x} {y}{' metre' if unit == 1 else ''}".encode()
    return found


def _colour_of_info(info: Mapping[Any, Any]) -> dict[str, bytes]:
    """The same from what Pillow keeps of a PNG file."""
    found = {}
    try:
        if "gamma" in info:
            found["gAMA"] = struct.pack(">I", round(info["gamma"] * 100000))
        if "chromaticity" in info:
            found["cHRM"] = struct.pack(">8I", *(round(v * 100000) for v in info["chromaticity"]))
        if "srgb" in info:
            found["sRGB"] = bytes([info["srgb"]])
    except (TypeError, ValueError, struct.error):  # not what PNG means by these
        return {}
    return found


def _text(im: Pil.Image) -> list[list[str]]:
    """[keyword, text] or [keyword, text, language, keyword in it] of a PNG file."""
    out = []
    for key, value in (getattr(im, "text", None) or {}).items() if im.format == "PNG" else ():
        if key == XMP_KEYWORD or key in READ_PROFILES:
            continue
        extra = [str(getattr(value, a, None) or "") for a in ("lang", "tkey")]
        out.append([key, str(value), *(extra if any(extra) else [])])
    return out


def _text_of_chunks(png: Png) -> list[list[str]]:
    """The same of all chunks of text; Pillow keeps one of each keyword."""
    out = []
    for name, body in png.chunks:
        if name not in ("tEXt", "zTXt", "iTXt"):
            continue
        key, _, rest = body.partition(b"\0")
        keyword, extra = key.decode("latin-1"), [b"", b""]
        if keyword == XMP_KEYWORD or keyword in READ_PROFILES:
            continue
        packed = name == "zTXt" or (name == "iTXt" and rest[:1] == b"\1")
        if name == "iTXt":
            *extra, rest = [*rest[2:].split(b"\0", 2), b"", b""][:3]
        text = _inflated(rest[1:] if name == "zTXt" else rest) if packed else rest
        value = text.decode("utf-8" if name == "iTXt" else "latin-1", "replace")
        out.append([keyword, value, *([e.decode("utf-8", "replace") for e in extra] if any(extra) else [])])
    return out


def _inflated(block: bytes) -> bytes:
    """As far as it goes; no more than a text has."""
    try:
        return zlib.decompressobj().decompress(block, MOST_TEXT)
    except zlib.error:
        return b""


def _segments(im: Pil.Image) -> Iterator[str]:
    """What else a JPEG file carries."""
    names = set()
    for marker, body in getattr(im, "applist", ()):
        known = (
            b"JFIF",
            b"Exif",
            b"http://ns.adobe.com/xap",
            b"ICC_PROFILE",
            b"MPF\0",
            b"Adobe",
            b"Photoshop",
        )
        if marker == "COM" or body.startswith(known):
            continue
        names.add(marker + (" (thumbnail)" if body.startswith(b"JFXX") else ""))
    comments = {body for marker, body in getattr(im, "applist", ()) if marker == "COM"}
    if len(comments) > 1:
        yield f"{len(comments) - 1} further comments are left out"
    if names:
        yield f"JPEG segments {', '.join(sorted(names))} are left out"
    resources = im.info.get("photoshop")
    if isinstance(resources, dict) and set(resources) - HARMLESS_RESOURCES:
        yield "Photoshop's resources are left out"


def bmp_profile(data: bytes) -> bytes | None:
    """The ICC profile inside a BMP file of version 5, which Pillow does not read."""
    if data[:2] != b"BM" or len(data) < 138 or struct.unpack_from("<I", data, 14)[0] < 124:
        return None
    kind, at, size = data[70:74], *struct.unpack_from("<II", data, 126)
    return data[14 + at : 14 + at + size] or None if kind == b"DEBM" else None  # "MBED", little endian


def profile_fits(icc: bytes, channels: int) -> bool:
    """Whether an ICC profile is for samples of so many channels, alpha counted."""
    return icc[16:20] == (b"RGB " if channels >= 3 else b"GRAY")


def stripped(image: Image) -> Image:
    """Without what tells of people, places and tools; upright, and with its colours."""
    image = upright(image)
    kept = {k: v for k, v in image.metadata.items() if k in COLOUR}
    return Image(samples=image.samples, metadata=kept, notes=image.notes, exact=image.exact)


def upright(image: Image) -> Image:
    """Turned as EXIF or XMP say, which say so no more."""
    turn = exif_blocks.orientation(image.metadata)
    if turn == 1:
        return image
    metadata = exif_blocks.without_orientation(image.metadata, swap=turn >= 5)
    if turn >= 5 and (size := re.fullmatch(rb"(\S+) (\S+)( \w+)?", metadata.get("resolution", b""))):
        metadata["resolution"] = size[2] + b" " + size[1] + (size[3] or b"")
    return Image(
        samples=exif_blocks.turned(image.samples, turn),
        metadata=metadata,
        notes=image.notes,
        exact=image.exact,
    )


def compressed(block: bytes) -> bytes:
    """The body of an iCCP chunk."""
    return b"icc\0\0" + zlib.compress(block)
