"""Metadata of an image as each format of file takes it: PNG's chunks, options of Pillow's writers."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from fractions import Fraction
from typing import Any

from tersor.files import exif as exif_blocks
from tersor.files import image_metadata as meta
from tersor.files import png

SEGMENT = 65533  # F: most bytes of a segment of JPEG after its length
IPTC_FRAME = b"Photoshop 3.0\x008BIM\x04\x04\0\0"  # F: resource 0x0404 without a name


def texts(metadata: Any) -> list[list[str]]:
    """[keyword, text] or [keyword, text, language, keyword in it]."""
    try:
        found = json.loads(metadata.get("text", b"[]"))
    except ValueError:
        return []
    good = isinstance(found, list) and all(
        isinstance(t, list) and len(t) in (2, 4) and all(isinstance(v, str) for v in t) for t in found
    )
    return found if good else []


def png_chunks(held: dict[str, bytes]) -> list[tuple[str, bytes]]:
    chunks = [(k, held[k]) for k in png.COLOUR_CHUNKS if k in held]
    if "icc" in held:
        chunks = [c for c in chunks if c[0] != "sRGB"]  # F: the two exclude each other
        chunks.append(("iCCP", meta.compressed(held["icc"])))
    if found := meta.resolution_of(held, "metre") or meta.resolution_of(held, ""):
        unit = 0 if meta.resolution_of(held, "") else 1
        x, y = (min(round(v if unit else v * _whole(found)), 2**31 - 1) for v in found)
        if x and y:
            chunks.append(("pHYs", struct.pack(">IIB", x, y, unit)))
    if "exif" in held:
        chunks.append(("eXIf", held["exif"].removeprefix(exif_blocks.PREFIX)))
    if "xmp" in held:
        chunks.append(("iTXt", meta.XMP_KEYWORD.encode() + b"\0\0\0\0\0" + held["xmp"]))
    known = texts(held)
    if "comment" in held and not any(t[0].lower() == "comment" for t in known):
        known = [*known, ["Comment", _decoded(held["comment"])]]
    return chunks + [c for t in known for c in _text_chunk(t)]


def _whole(fractions: tuple[Fraction, Fraction]) -> int:
    return fractions[0].denominator * fractions[1].denominator


def _text_chunk(text: list[str]) -> list[tuple[str, bytes]]:
    keyword = text[0].encode("latin-1", "replace")[:79].replace(b"\0", b" ")
    if not keyword:
        return []
    value = text[1].replace("\0", " ")
    if len(text) == 2 and all(ord(c) < 256 for c in value):
        return [("tEXt", keyword + b"\0" + value.encode("latin-1"))]
    language, translated = (v.replace("\0", "").encode() for v in (text[2:] or ("", "")))
    return [("iTXt", keyword + b"\0\0\0" + language + b"\0" + translated + b"\0" + value.encode())]


def _decoded(comment: bytes) -> str:
    try:
        return comment.decode()
    except UnicodeDecodeError:
        return comment.decode("latin-1")


def _blocks(held: dict[str, bytes]) -> dict[str, object]:
    """What WebP, AVIF and others take under the same names."""
    names = {"icc": "icc_profile", "exif": "exif", "xmp": "xmp"}
    return {name: held[k] for k, name in names.items() if k in held}


def _jpeg_options(held: dict[str, bytes]) -> dict[str, object]:
    options = _blocks(held) | {"quality": 95, "subsampling": 0}
    if found := meta.resolution_of(held, "inch"):
        options["dpi"] = tuple(min(round(v), 65535) for v in found)
    if "comment" in held:
        options["comment"] = held["comment"]
    if "iptc" in held:
        records = held["iptc"]
        body = IPTC_FRAME + struct.pack(">I", len(records)) + records + b"\0" * (len(records) % 2)
        options["extra"] = b"\xff\xed" + struct.pack(">H", len(body) + 2) + body
    return options


def _tiff_options(held: dict[str, bytes]) -> dict[str, object]:
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    tags = ImageFileDirectory_v2()  # with these Pillow takes no EXIF beside them
    if "exif" in held and (exif := exif_blocks.parsed(held["exif"])) is not None:
        kept = exif_blocks.only(exif, exif_blocks.OF_PICTURE | {exif_blocks.ORIENTATION})
        for tag in kept:
            tags[tag] = kept[tag]
    for key, tag in (("xmp", 700), ("iptc", 33723)):
        if key in held:
            tags.tagtype[tag] = 1 if tag == 700 else 7
            tags[tag] = held[key]
    options: dict[str, object] = {"tiffinfo": tags} if len(tags) else {}
    if "icc" in held:
        options["icc_profile"] = held["icc"]
    cm = held.get("resolution", b"").endswith(b" cm")
    if found := meta.resolution_of(held, "cm" if cm else "inch") or meta.resolution_of(held, ""):
        unit = 1 if meta.resolution_of(held, "") else 3 if cm else 2
        options |= {"resolution_unit": unit, "x_resolution": float(found[0]), "y_resolution": float(found[1])}
    return options


def _bmp_options(held: dict[str, bytes]) -> dict[str, object]:
    found = meta.resolution_of(held, "inch")
    return {"dpi": tuple(float(v) for v in found)} if found else {}


def _comment(held: dict[str, bytes]) -> dict[str, object]:
    return {"comment": held["comment"]} if "comment" in held else {}


OPTIONS: dict[str, Callable[[dict[str, bytes]], dict[str, object]]] = {
    "JPEG": _jpeg_options,
    "TIFF": _tiff_options,
    "WEBP": lambda held: _blocks(held) | {"lossless": True, "exact": True},
    "AVIF": lambda held: _blocks(held) | {"quality": 95, "subsampling": "4:4:4"},
    "HEIF": lambda held: _blocks(held) | {"quality": 95},
    "JXL": lambda held: _blocks(held) | {"lossless": True},
    "GIF": _comment,
    "JPEG2000": _comment,
    "BMP": _bmp_options,
}
