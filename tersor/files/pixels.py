"""FFmpeg's pixel formats and our planes: what each becomes, whole frames in both directions, interlaced ones
joined.

Formats that are planes of 8 to 12 bits are taken as they are. Others are brought to such a one by FFmpeg's
scaler, which only moves samples about where it can: packed to planar, RGB to planes of G, B, R. Where
something is lost, a note says it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tersor.arrays import Samples
from tersor.errors import SignalError
from tersor.signals.colour import GBR, Planes
from tersor.signals.video import VideoFormat

if TYPE_CHECKING:
    import av
    from av.filter import Graph

DEPTHS = (8, 9, 10, 12)  # of FFmpeg's planes, as far as they are coded
KEPT = {(8, 8): "420", (8, 16): "422", (16, 16): "444"}  # by the chroma of 16 columns and 16 rows


@dataclass(frozen=True, slots=True)
class Layout:
    """How a pixel format becomes planes.

    Attributes:
        target: FFmpeg's name of the planar format to ask for; the format itself where it is one.
        subsampling, depth: of the planes.
        rgb: whether the planes are G, B, R.
        notes: what is lost.
    """

    target: str
    subsampling: str
    depth: int
    rgb: bool
    notes: tuple[str, ...]


def layout_of(pixels: av.VideoFormat, name: str) -> Layout:
    """What a pixel format becomes.

    Raises:
        SignalError: it has no planes of integers.
    """
    kind = str(pixels.name)
    if kind.startswith("xyz") or pixels.is_bayer:
        raise SignalError(f"{name}: pixels of type {kind}; convert them to RGB or YUV first")
    colours = [c for c in pixels.components if not c.is_alpha]
    bits = max((c.bits for c in colours), default=8)
    depth = next((d for d in DEPTHS if d >= bits), DEPTHS[-1])
    deep = "" if depth == 8 else f"{depth}le"
    notes: tuple[str, ...] = (f"{bits} bits a sample reduced to {depth}",) if bits > depth else ()
    if kind == "pal8" or pixels.is_rgb:
        notes += ("transparency is left out",) if len(pixels.components) > 3 and kind != "pal8" else ()
        return Layout("gbrp" + deep, "444", depth, True, (*notes, "RGB coded as Y, Cb, Cr 4:4:4"))
    notes += ("transparency is left out",) if len(colours) < len(pixels.components) else ()
    if len(colours) < 3:
        return Layout("gray" + deep, "400", depth, False, notes)
    halved = (int(pixels.chroma_width(16)), int(pixels.chroma_height(16)))
    subsampling = KEPT.get(halved)
    if subsampling is None:
        subsampling = "444" if halved[0] == 16 else "422" if halved[1] == 16 else "420"
        notes += (f"chroma of {kind} brought to {subsampling}",)
    plain = f"yuv{subsampling}p{deep}"
    same = kind in (plain, f"yuvj{subsampling}p", f"yuva{subsampling}p{deep}")
    return Layout(kind if same else plain, subsampling, depth, False, notes)


def plane_array(plane: Any, depth: int) -> Samples:
    """A copy of FFmpeg's plane, [H, W].

    Raises:
        SignalError: rows that are stored bottom up.
    """
    size = 1 if depth == 8 else 2
    if plane.line_size < size * plane.width:
        raise SignalError(
            "frames are stored bottom up in a way that cannot be read; rewrite the file with ffmpeg -c copy"
        )
    rows = np.frombuffer(
        plane, np.uint8 if depth == 8 else "<u2", count=plane.height * plane.line_size // size
    )
    kept = rows.reshape(plane.height, plane.line_size // size)[:, : plane.width]
    return np.array(kept, np.uint8 if depth == 8 else np.uint16)


def pixel_format(form: VideoFormat) -> str:
    """FFmpeg's name of the planes."""
    deep = "" if form.depth == 8 else f"{form.depth}le"
    if form.subsampling == "400":
        return "gray" + deep
    if form.depth == 11:
        raise SignalError("samples of 11 bits are not in FFmpeg's formats; store them with 12")
    if form.colour.matrix == GBR:
        return "gbrp" + deep
    return f"yuv{form.subsampling}p{deep}"


def frame_of(planes: Planes, pixels: str) -> av.VideoFrame:
    """FFmpeg's frame of planes [H, W]."""
    import av

    rows, columns = planes[0].shape
    frame = av.VideoFrame(columns, rows, pixels)
    for own, plane in zip(planes, frame.planes, strict=True):
        raw = np.ascontiguousarray(own, own.dtype.newbyteorder("<")).view(np.uint8).reshape(own.shape[0], -1)
        held = np.zeros((plane.height, plane.line_size), np.uint8)
        held[:, : raw.shape[1]] = raw
        plane.update(held.tobytes())
    return frame


def deinterlacer(frame: av.VideoFrame) -> Graph:
    """FFmpeg's bwdif, a frame out for a frame in."""
    import av.filter

    graph = av.filter.Graph()
    source = graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base
    )
    join = graph.add("bwdif", "mode=send_frame:deint=interlaced")
    sink = graph.add("buffersink")
    source.link_to(join)
    join.link_to(sink)
    graph.configure()
    return graph


def pulled(graph: Graph) -> Iterator[Any]:
    import av

    while True:
        try:
            yield graph.pull()
        except (av.error.BlockingIOError, av.error.EOFError):
            return
