"""Whether Pillow's samples are all that a picture file holds: depth, sign, sense, channels and scale of the
file against the way in which Pillow unpacks them. What cannot be told is not exact.

    header of the file, Pillow's unpacker (its "raw mode") --shortfall--> None, or the reason in words

Pillow picks an unpacker for each tile of the file; one whose bits per sample are more than the mode's drops
some. Formats whose unpackers work out of sight (JPEG 2000, AVIF) are asked for their depth here.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from typing import Any

from PIL import Image as Pil

# F: Pillow's unpackers that keep every bit, by mode; ";I" turns black and white round as the format means it
EXACT_UNPACKERS = {
    "1": r"1(;I?R?)?",
    "L": r"L(;[124]?I?R?)?",
    "P": r"P(;[124]?L?R?)?",
    "LA": r"LA(;L)?|[LA]",
    "PA": r"PA(;L)?",
    "RGB": r"RGB(;[LR])?|BGR|[RGB]",
    "RGBA": r"RGBA(;L)?|BGRA|ABGR|ARGB|BGAR|[RGBA]",
    "I;16": r"I;16[BLN]?",
    "I;16B": r"I;16[BLN]?",
    "I;16L": r"I;16[BLN]?",
}
PADDED = r"BGRX|XBGR|XRGB|RGBX|BGXR"  # the fourth byte is padding by definition of BMP
# formats of 8 bits a sample, without options that Pillow's decoders pass over
PLAIN = ("GIF", "WEBP", "QOI", "XBM", "XPM", "FLI")
UNPACKED = ("BMP", "DIB", "TGA", "PCX", "SGI", "SUN", "MSP", "IM", "DCX", "PPM", "TIFF", "PNG")
PNM_HEAD = re.compile(rb"P(\d)" + 3 * rb"(?:\s+|#[^\n\r]*[\n\r])+(\d+)" + rb"\s")
NAMES = {"AVIF": "AVIF", "HEIF": "HEIC", "JPEG2000": "JPEG 2000", "PPM": "PNM"}


def shortfall(im: Pil.Image, data: bytes) -> str | None:
    """Why the samples are not all that the file holds, or None.

    Args:
        im: just opened: Pillow forgets its unpackers when it loads.
        data: the file.
    """
    kind = im.format or ""
    name = NAMES.get(kind, kind)
    if kind in ("JPEG", "MPO"):
        return _jpeg(data)
    if kind in ("AVIF", "HEIF"):
        bits = coded_depth(data)
        return (
            None
            if bits == 8
            else f"{bits or 'an unknown number of'} bits per sample of this {name} reduced to 8"
        )
    if kind == "JPEG2000":
        return _jpeg2000(im, data)
    if kind == "PPM" and (why := _pnm(data)):
        return why
    if kind == "TIFF" and (why := tiff_shortfall(im)):
        return why
    if kind in PLAIN:
        return None
    if kind not in UNPACKED:
        return f"Pillow's reader of {name or 'this format'} may give less than the file holds"
    allowed = EXACT_UNPACKERS.get(im.mode, "I;16B|L" if kind == "PPM" and im.mode == "I" else "")
    if kind in ("BMP", "DIB") and im.mode == "RGB":
        allowed += f"|{PADDED}"
    if kind == "TIFF" and im.mode == "RGB" and len(im.tag_v2.get(258, ())) <= 3:  # type: ignore[attr-defined]
        allowed += "|RGBX"  # what libtiff makes of Y'CbCr
    for raw in _unpackers(im):
        if not re.fullmatch(allowed, raw):
            depth = re.search(r";(1[2-6]|32|64)", raw)
            if depth and im.mode not in ("I", "F"):
                per = "pixel" if kind in ("BMP", "TGA") else "sample"
                return f"{depth[1]} bits per {per} of this {name} become 8 per sample"
            return f"{raw} samples of this {name} are read as {im.mode}"
    return None


def _unpackers(im: Pil.Image) -> Iterator[str]:
    for tile in getattr(im, "tile", ()):
        args: Any = tile[3]
        raw = args[0] if isinstance(args, tuple) and args else args
        if isinstance(raw, str):
            yield raw


def _jpeg(data: bytes) -> str | None:
    at = 2
    while at + 9 < len(data):
        marker = data[at + 1]
        if data[at] != 0xFF or marker in (0, 0xFF):
            at += 1
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return None if data[at + 4] == 8 else f"{data[at + 4]} bits per sample of this JPEG reduced to 8"
        else:
            at += 2 + struct.unpack_from(">H", data, at + 2)[0]
    return "no header of samples was found in this JPEG"


def _jpeg2000(im: Pil.Image, data: bytes) -> str | None:
    at = data.find(b"\xff\x4f\xff\x51")
    if at < 0 or at + 42 > len(data):
        return "no header of samples was found in this JPEG 2000"
    count = struct.unpack_from(">H", data, at + 40)[0]
    parts = [data[at + 42 + 3 * k : at + 45 + 3 * k] for k in range(count)]
    depths = {p[0] + 1 if p else 0 for p in parts}
    full = 16 if im.mode.startswith("I;16") else 8
    if depths != {full}:
        some = ", ".join(f"{d - 128} signed" if d > 128 else str(d) for d in sorted(depths))
        return f"{some} bits per sample of this JPEG 2000 read as {full}"
    if any(p[1:] != b"\1\1" for p in parts):
        return "channels of this JPEG 2000 are smaller than the picture"
    if count != len(im.getbands()) or b"colr\x01\0\0\0\0\0\x12" in data[:at]:
        return f"{count} channels of this JPEG 2000 are read as {im.mode}"
    return None


def coded_depth(data: bytes) -> int | None:
    """Bits per sample of an AVIF or HEIC picture, by the property boxes of its items; the deepest of them."""
    found = []
    for kind, body in _boxes(data, ("meta", "iprp", "ipco")):
        if kind == b"pixi" and len(body) > 5:
            found += list(body[5 : 5 + body[4]])
        elif kind == b"av1C" and len(body) > 2:
            found.append(8 if not body[2] & 0x40 else 12 if body[2] & 0x20 else 10)
    return max(found, default=None)


def coded_colour(data: bytes) -> bytes | None:
    """Primaries, transfer, matrix and range (H.273, a byte each) of an AVIF or HEIC picture."""
    for kind, body in _boxes(data, ("meta", "iprp", "ipco")):
        if kind == b"colr" and body[:4] == b"nclx" and len(body) >= 11:
            primaries, transfer, matrix = struct.unpack_from(">HHH", body, 4)
            if max(primaries, transfer, matrix) < 256:
                return bytes([primaries, transfer, matrix, body[10] >> 7])
    return None


def _boxes(data: bytes, path: tuple[str, ...]) -> Iterator[tuple[bytes, bytes]]:
    """(kind, body) of the boxes inside nested boxes of an ISO base media file."""
    at = 0
    while at + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        head = 8
        if size == 1 and at + 16 <= len(data):
            size, head = struct.unpack_from(">Q", data, at + 8)[0], 16
        size = len(data) - at if size == 0 else size
        if size < head or at + size > len(data):
            return
        body = data[at + head : at + size]
        if not path:
            yield kind, body
        elif kind == path[0].encode():
            yield from _boxes(body[4:] if kind == b"meta" else body, path[1:])
        at += size


def _pnm(data: bytes) -> str | None:
    """PGM and PPM state what white is."""
    head = PNM_HEAD.match(data)
    if data[:2] not in (b"P2", b"P3", b"P5", b"P6"):
        return None
    white = int(head[4]) if head else 0
    if white == 255 or (white == 65535 and data[:2] in (b"P2", b"P5")):
        return None
    scaled = 65535 if white > 255 and data[:2] in (b"P2", b"P5") else 255
    return f"white is {white} in this PNM, and its samples are scaled to {scaled}"


def tiff_shortfall(im: Pil.Image) -> str | None:
    """The tags that Pillow's unpackers do not show."""
    tags = im.tag_v2  # type: ignore[attr-defined]
    bits, sense = tuple(tags.get(258, (1,))), tags.get(262)
    kind, extra = set(tags.get(339, (1,))), tuple(tags.get(338, ()))
    if kind - {1, 4}:
        words = {2: "signed", 3: "float", 5: "complex", 6: "complex"}
        return f"{words.get(max(kind), 'unknown')} samples of this TIFF are read as {im.mode}"
    if 1 in extra:
        return "the colours of this TIFF are multiplied with alpha, and are divided by it"
    if max(bits) > 8 and len(bits) > 1:
        return f"{max(bits)} bits per sample of this TIFF reduced to 8"
    if max(bits) not in (1, 2, 4, 8, 16):
        return f"{max(bits)} bits per sample of this TIFF are read as {im.mode}"
    if max(bits) == 16 and sense != 1:
        return (
            "0 is white in this 16-bit TIFF, and its samples are turned round"
            if sense == 0
            else "16-bit samples of this TIFF are no grey"
        )
    if len(extra) > (im.mode in ("RGBA", "LA", "PA")):
        return f"a further channel of this TIFF is left out ({len(bits)} channels are read as {im.mode})"
    if any(v % 257 and v % 256 for v in tags.get(320, ())):
        return "the 16-bit palette of this TIFF is reduced to 8 bits"
    return None
