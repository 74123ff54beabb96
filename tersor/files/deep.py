"""Pictures of more than 8 bits a sample, which Pillow reduces: TIFF by tifffile, PPM by hand, AVIF by FFmpeg.

AVIF holds Y'CbCr, mostly of half the chroma: RGB made from it is no sample of the file, and never exact.
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pil

from tersor.files import tiff
from tersor.files.fidelity import coded_colour, coded_depth

PNM_HEAD = re.compile(rb"P([56])" + 3 * rb"(?:\s+|#[^\n\r]*[\n\r])+(\d+)" + rb"\s")
# F: H.273 matrix coefficients, the shares of red and blue in Y'
LUMA_SHARES = {
    1: (0.2126, 0.0722),
    4: (0.30, 0.11),
    5: (0.299, 0.114),
    6: (0.299, 0.114),
    9: (0.2627, 0.0593),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Deep:
    """Samples uint16 [H, W, C], upright for TIFF; `exact` if they are the file's own numbers."""

    samples: NDArray[np.uint16]
    notes: tuple[str, ...] = ()
    exact: bool = False


def samples(im: Pil.Image, data: bytes, page: int) -> Deep | None:
    """All bits of a picture that Pillow would reduce, or None where nothing here can give them."""
    if im.format == "TIFF":
        return of_tiff(data, page)
    if im.format == "PPM":
        return _pnm(data)
    return _avif(im, data) if im.format == "AVIF" and page == 1 else None


def of_tiff(data: bytes, page: int) -> Deep | None:
    """16-bit grey and colour of a page of a TIFF."""
    try:
        found = tiff.read_colour(data, page)
    except (
        Exception
    ):  # not installed, a compression that tifffile lacks, or damage, which Pillow's reading tells of
        return None
    return None if found is None else Deep(samples=found[0], notes=found[1], exact=found[2])


def way_out(im: Pil.Image) -> str:
    """What to install for the bits that were lost."""
    try:
        if im.format == "TIFF" and max(im.tag_v2.get(258, (1,))) == 16:  # type: ignore[attr-defined]
            return f"tifffile keeps them: {tiff.EXTRA}"
    except (TypeError, AttributeError):  # a damaged tag
        pass
    return ""


def _pnm(data: bytes) -> Deep | None:
    head = PNM_HEAD.match(data)
    if head is None or not 255 < int(head[4]) < 65536:
        return None
    channels = 3 if head[1] == b"6" else 1
    width, height, white = (int(head[k]) for k in (2, 3, 4))
    count = width * height * channels
    if len(data) < head.end() + 2 * count:
        return None
    values = np.frombuffer(data, ">u2", count, head.end()).reshape(height, width, channels)
    if white == 65535:
        return Deep(samples=values.astype(np.uint16), exact=True)
    scaled = np.rint(np.minimum(values, white) * (65535 / white)).astype(np.uint16)
    return Deep(samples=scaled, notes=(f"white is {white} in this PNM, and its samples are scaled to 65535",))


def _avif(im: Pil.Image, data: bytes) -> Deep | None:
    """Of an AVIF file of one item of colour, without alpha; others stay with Pillow."""
    if im.mode != "RGB" or coded_depth(data) not in (10, 12):
        return None
    try:
        with av.open(io.BytesIO(data), mode="r") as container:
            if len(container.streams.video) != 1:
                return None
            frame = next(container.decode(video=0))
    except (av.error.FFmpegError, StopIteration, IndexError, ValueError):
        return None
    if (frame.width, frame.height) != im.size:  # turned or cropped by boxes that Pillow follows
        return None
    planes = _planes(frame)
    colour = coded_colour(data) or bytes([2, 2, 6, int(frame.color_range == 2)])
    if planes is None or colour[2] not in (0, *LUMA_SHARES):
        return None
    bits = coded_depth(data) or 10
    note = f"{bits} bits per sample of this AVIF, as Y'CbCr, became RGB of 16 bits"
    return Deep(samples=_to_rgb(planes, bits, colour[2], bool(colour[3])), notes=(note,))


def _planes(frame: av.VideoFrame) -> list[NDArray[np.float32]] | None:
    """Y, Cb, Cr (or G, B, R; or Y alone) at the size of the picture; chroma between its samples by halves."""
    name = frame.format.name
    if not re.fullmatch(r"(yuv4(20|22|44)p|gbrp|gray)1[02]le", name):
        return None
    out = []
    for plane in frame.planes:
        rows = np.frombuffer(memoryview(plane), "<u2").reshape(plane.height, plane.line_size // 2)
        values = rows[:, : plane.width].astype(np.float32)
        for axis, size in enumerate((frame.height, frame.width)):
            if values.shape[axis] != size:
                values = _doubled(values, axis, size)
        out.append(values)
    return out


def _doubled(values: NDArray[np.float32], axis: int, size: int) -> NDArray[np.float32]:
    """Twice the samples along an axis, each of three parts its own and one its neighbour's."""
    first = np.take(values, [0, *range(values.shape[axis] - 1)], axis)
    last = np.take(values, [*range(1, values.shape[axis]), values.shape[axis] - 1], axis)
    pair = np.stack([0.75 * values + 0.25 * first, 0.75 * values + 0.25 * last], axis + 1)
    shape = list(values.shape)
    shape[axis] *= 2
    doubled: NDArray[np.float32] = np.take(pair.reshape(shape), range(size), axis).astype(np.float32)
    return doubled


def _to_rgb(planes: list[NDArray[np.float32]], bits: int, matrix: int, full: bool) -> NDArray[np.uint16]:
    """H.273, equations 22 to 45."""
    top, unit = float((1 << bits) - 1), float(1 << (bits - 8))
    black, span, colour_span = (0.0, top, top) if full else (16 * unit, 219 * unit, 224 * unit)
    if matrix == 0 and len(planes) == 3:
        rgb = [(planes[k] - black) / span for k in (2, 0, 1)]
    else:
        y = (planes[0] - black) / span
        cb, cr = [(p - 128 * unit) / colour_span for p in planes[1:]] or [np.zeros_like(y)] * 2
        red, blue = LUMA_SHARES.get(matrix, LUMA_SHARES[6])
        r, b = y + 2 * (1 - red) * cr, y + 2 * (1 - blue) * cb
        rgb = [r, (y - red * r - blue * b) / (1 - red - blue), b]
    samples: NDArray[np.uint16] = np.rint(np.stack(rgb, 2).clip(0, 1) * 65535).astype(np.uint16)
    return samples
