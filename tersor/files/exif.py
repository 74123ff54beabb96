"""EXIF blocks: one framing for all containers, edits that a Pillow image carries, tags that describe the
layout of a TIFF file and not the picture, and the orientation.

A block of a .tsr file begins with "Exif\\0\\0", as in JPEG; PNG, WebP and AVIF hold it without, HEIC with an
offset in front. The rest is a TIFF directory (CIPA DC-008, Exif 3.0).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pil

PREFIX = b"Exif\0\0"  # F
ORIENTATION = 0x0112
# F: tags of a TIFF file that say something of the picture: title, maker, model, software, date, artist,
# host, rating, copyright, the EXIF and GPS directories, Print Image Matching; Windows' XP texts; GeoTIFF's
OF_PICTURE = frozenset(
    [
        *(270, 271, 272, 305, 306, 315, 316, 18246, 18249, 33432, 34665, 34853, 50341),
        *range(40091, 40096),
        *(33550, 33922, 34264, 34735, 34736, 34737, 42112, 42113),
    ]
)
# read by themselves, or of no meaning once the samples are read: layout, orientation, resolution
ELSEWHERE = frozenset(
    [
        *(*range(254, 270), *range(273, 300), 301, 317, 318, 319, 320, *range(321, 326)),
        *(330, 332, 334, 336, 338, 339, 340, 341, 342, 347, *range(512, 522), 529, 530, 531, 532),
        *(700, 33723, 34377, 34675),
    ]
)
P = TypeVar("P", bound=np.generic)
LAYOUT = frozenset([273, 279, 284, 322, 323, 324, 325, 330])  # where a TIFF file's samples lie


def canonical(block: Any) -> bytes | None:
    """A block as .tsr files hold it; None if nothing is in it."""
    if not isinstance(block, (bytes, bytearray, memoryview)):
        return None
    offset = rb"\A\0\0\0.(?=(?:Exif\0\0)?(?:II|MM))"  # of HEIC
    directory = re.sub(offset, b"", bytes(block), flags=re.DOTALL)
    directory = re.sub(rb"\A(?:Exif\0\0){1,2}", b"", directory)
    return PREFIX + directory if directory else None


def parsed(block: bytes) -> Pil.Exif | None:
    """The block's tags; None if it is damaged."""
    exif = Pil.Exif()
    try:
        exif.load(block)
        exif.tobytes()  # reads every directory
    except Exception:  # whatever comes to a parser of damaged bytes
        return None
    return exif


def of_pillow(im: Pil.Image, from_xmp: int | None) -> tuple[bytes | None, list[int]]:
    """The block of a loaded Pillow image with what was edited by `getexif`; and the tags of a TIFF file that
    are left out.

    A block that was not edited is kept byte by byte: offsets inside maker notes stay true.

    Args:
        im: its samples loaded, so that its EXIF speaks of the samples that it has now.
        from_xmp: the orientation that XMP states; Pillow mixes it into the EXIF.
    """
    block = canonical(im.info.get("exif"))
    try:
        exif = im.getexif()
        if hasattr(im, "tag_v2"):
            return _of_tiff(exif)
        now = exif.tobytes()
    except Exception:  # damaged EXIF must not lose the picture, which is loaded
        return block, []
    if block is None:
        return (now if len(exif) and dict(exif) != {ORIENTATION: from_xmp} else None), []
    before = parsed(block)
    if before is None:
        return block, []
    if ORIENTATION not in before and exif.get(ORIENTATION) == from_xmp is not None:
        before[ORIENTATION] = from_xmp
    return (block if before.tobytes() == now else now), []


def _of_tiff(exif: Pil.Exif) -> tuple[bytes | None, list[int]]:
    left_out = sorted(set(exif) - OF_PICTURE - ELSEWHERE)
    block = without_layout(exif)
    return block, left_out


def without_layout(exif: Pil.Exif) -> bytes | None:
    """A block of only the tags that say something of the picture."""
    kept = only(exif, OF_PICTURE)
    return kept.tobytes() if len(kept) else None


def only(exif: Pil.Exif, tags: Collection[int]) -> Pil.Exif:
    """These tags of a block, with the directories below them."""
    kept = Pil.Exif()
    kept.endian = exif.endian or "<"
    for tag in set(exif) & set(tags):
        kept[tag] = exif[tag]
        if tag in (34665, 34853):
            below = dict(exif.get_ifd(tag))
            if 40965 in below and not isinstance(below[40965], dict):  # where the next directory lay
                below[40965] = exif.get_ifd(40965)
            kept[tag] = below
    return kept


def is_of_tiff(exif: Pil.Exif) -> bool:
    """Whether these are all the tags of a TIFF file, as tersor 0.1 kept them."""
    return bool(LAYOUT & set(exif))


def orientation(metadata: Mapping[str, bytes]) -> int:
    """1 to 8, of EXIF, or of XMP where that says nothing; 1 is upright."""
    found = None
    if "exif" in metadata:
        exif = Pil.Exif()
        try:  # of a damaged block its beginning may be whole
            exif.load(metadata["exif"])
            found = exif.get(ORIENTATION)
        except Exception:  # whatever comes to a parser of damaged bytes
            found = None
    if found is None:
        found = orientation_of_xmp(metadata.get("xmp"))
    return found if isinstance(found, int) and 1 <= found <= 8 else 1


def orientation_of_xmp(xmp: bytes | None) -> int | None:
    match = re.search(rb"tiff:Orientation(?:=\"|=\'|>)([1-8])", xmp or b"")
    return int(match[1]) if match else None


def without_orientation(metadata: Mapping[str, bytes], swap: bool = False) -> dict[str, bytes]:
    """Metadata of a picture that was turned upright; its width and height swapped if so."""
    out = dict(metadata)
    exif = parsed(out["exif"]) if "exif" in out else None
    if exif is not None and ORIENTATION in exif:
        del exif[ORIENTATION]
        size = exif.get_ifd(34665) if swap else {}
        if 40962 in size and 40963 in size:
            size[40962], size[40963] = size[40963], size[40962]
        if len(exif):
            out["exif"] = exif.tobytes()
        else:
            del out["exif"]
    if "xmp" in out:
        out["xmp"] = re.sub(rb"(tiff:Orientation(?:=\"|=\'|>))[1-8]", rb"\g<1>1", out["xmp"])
    return out


def turned(samples: NDArray[P], orientation: int) -> NDArray[P]:
    """Samples [H, W, C] as people should see them.

    Source: Exif 3.0, tag 274: where row 0 and column 0 of the stored picture lie in the one seen.
    """
    if orientation in (5, 6, 7, 8):
        samples = samples.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        samples = samples[::-1]
    if orientation in (2, 3, 6, 7):
        samples = samples[:, ::-1]
    return np.ascontiguousarray(samples)
