"""PNG below Pillow: every chunk's checksum, what the header says, transparency of one colour, 16-bit samples,
and chunks put into a finished file.

Source: Portable Network Graphics (PNG) Specification, third edition, W3C 2025. Pillow checks no CRC from the
first IDAT on and holds no 16-bit colour; FFmpeg (through PyAV) does, read here without its pixel conversions.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from tersor.arrays import Samples
from tersor.errors import SignalError

MAGIC = b"\x89PNG\r\n\x1a\n"
GREY, RGB, PALETTE, GREY_ALPHA, RGB_ALPHA = 0, 2, 3, 4, 6  # F: colour types
AFTER_HEADER = 33  # F: magic, and the IHDR chunk of 25 bytes
LAYOUTS = {1: "gray16be", 2: "ya16be", 3: "rgb48be", 4: "rgba64be"}  # FFmpeg's names, by channels
# chunks that say how to show or name the samples; the bodies are metadata of a .tsr file under these names
COLOUR_CHUNKS = ("gAMA", "cHRM", "sRGB", "cICP", "mDCV", "cLLI")
COLOUR_SIZES = {"gAMA": 4, "cHRM": 32, "sRGB": 1, "cICP": 4, "mDCV": 24, "cLLI": 8}  # F: bytes
# chunks that are read elsewhere, or say nothing that is left once the samples are read
KNOWN_CHUNKS = frozenset(
    [*COLOUR_CHUNKS, "IHDR", "PLTE", "IDAT", "IEND", "tRNS", "iCCP", "eXIf", "pHYs", "tEXt", "zTXt", "iTXt"]
) | {"sBIT", "hIST", "acTL", "fcTL", "fdAT", "tIME", "mDCv", "cLLi"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Png:
    """A PNG file whose checksums all hold.

    Attributes:
        width, height: pixels.
        depth: bits per sample: 1, 2, 4, 8 or 16.
        colour_type: 0 grey, 2 RGB, 3 palette, 4 grey and alpha, 6 RGB and alpha.
        chunks: (name, body) in order, without the image data.
        trailing: bytes after the end.
    """

    width: int
    height: int
    depth: int
    colour_type: int
    chunks: tuple[tuple[str, bytes], ...]
    trailing: int

    def body(self, name: str) -> bytes | None:
        """Of the first chunk of a name."""
        return next((b for n, b in self.chunks if n == name), None)

    @property
    def transparent(self) -> tuple[int, ...] | None:
        """The one colour that is transparent, of grey and RGB files, in samples of the file's depth."""
        body = self.body("tRNS")
        if body is None or self.colour_type not in (GREY, RGB):
            return None
        count = 1 if self.colour_type == GREY else 3
        if len(body) < 2 * count:
            return None
        return tuple(v & ((1 << self.depth) - 1) for v in struct.unpack(f">{count}H", body[: 2 * count]))


def parse(data: bytes) -> Png:
    """The chunks of a PNG file, their checksums compared.

    Raises:
        SignalError: a chunk that fails its checksum or is cut short, or no header, image data or end.
    """
    chunks: list[tuple[str, bytes]] = []
    at, image_data, ended = len(MAGIC), 0, False
    view = memoryview(data)
    while at < len(data) and not ended:
        if at + 12 > len(data):
            raise SignalError(f"PNG: cut short inside a chunk at byte {at}; the file is damaged")
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        name = kind.decode("latin-1")
        if end > len(data):
            raise SignalError(f"PNG: chunk {name!r} at byte {at} is cut short; the file is damaged")
        if zlib.crc32(view[at + 4 : end - 4]) != struct.unpack_from(">I", data, end - 4)[0]:
            raise SignalError(f"PNG: chunk {name!r} at byte {at} fails its checksum; the file is damaged")
        if name in ("IDAT", "fdAT"):
            image_data += 1
        else:
            chunks.append((name, bytes(view[at + 8 : end - 4])))
        ended = name == "IEND"
        at = end
    header = chunks[0][1] if chunks and chunks[0][0] == "IHDR" else b""
    if len(header) != 13 or not image_data or not ended:
        lacks = "header" if len(header) != 13 else "end" if image_data else "image data"
        raise SignalError(f"PNG: the {lacks} is missing; the file is damaged")
    width, height, depth, colour_type = struct.unpack_from(">IIBB", header)
    return Png(
        width=width,
        height=height,
        depth=depth,
        colour_type=colour_type,
        chunks=tuple(chunks),
        trailing=len(data) - at,
    )


def check_inside(data: bytes) -> None:
    """Compare the checksums of the PNG files that a file of icons holds.

    Raises:
        SignalError: as `parse`.
    """
    at = data.find(MAGIC)
    while at >= 0:
        at = data.find(MAGIC, len(data) - parse(data[at:]).trailing)


def with_alpha(samples: Samples, png: Png) -> Samples:
    """Samples [H, W, 1 or 3], as deep as the file or scaled to 8 bits, with the alpha that tRNS means."""
    colour = png.transparent
    if colour is None:
        return samples
    scale = 255 // ((1 << png.depth) - 1) if png.depth < 8 else 1
    top = np.iinfo(samples.dtype).max
    hidden = (samples == np.array([scale * v for v in colour], samples.dtype)).all(2, keepdims=True)
    return np.concatenate([samples, np.where(hidden, 0, top).astype(samples.dtype)], 2)


def read_deep(data: bytes, png: Png) -> NDArray[np.uint16]:
    """uint16 [H, W, C] of a file of 16 bits per sample; C counts the alpha of tRNS.

    Raises:
        SignalError: FFmpeg cannot decode it.
    """
    stored = {GREY: 1, RGB: 3, GREY_ALPHA: 2, RGB_ALPHA: 4}[png.colour_type]
    _check_inflates(data, png, stored)
    channels = stored + (png.transparent is not None)
    with av.open(io.BytesIO(data), mode="r", format="png_pipe") as container:
        frame = next(container.decode(video=0))
    if frame.format.name != LAYOUTS[channels] or (frame.width, frame.height) != (png.width, png.height):
        raise SignalError(
            f"PNG: 16-bit samples decoded as {frame.format.name} of {frame.width}x{frame.height}"
        )
    samples = _plane(frame, channels)
    if png.transparent is None:
        return samples
    return with_alpha(samples[..., :-1], png).astype(np.uint16, copy=False)


def _check_inflates(data: bytes, png: Png, channels: int) -> None:
    """FFmpeg shows what it could inflate, and says nothing of the rest."""
    steps = (
        (0, 0, 8, 8),
        (4, 0, 8, 8),
        (0, 4, 4, 8),
        (2, 0, 4, 4),
        (0, 2, 2, 4),
        (1, 0, 2, 2),
        (0, 1, 1, 2),
    )  # F
    interlaced = (png.body("IHDR") or b"")[-1:] == b"\1"
    passes = steps if interlaced else ((0, 0, 1, 1),)
    expected = 0
    for x, y, by_x, by_y in passes:
        columns, rows = -(-max(0, png.width - x) // by_x), -(-max(0, png.height - y) // by_y)
        expected += rows * (1 + 2 * channels * columns) if columns else 0
    inflater, found = zlib.decompressobj(), 0
    try:
        for name, body in _all_chunks(data):
            while name == "IDAT" and body and not inflater.eof and found <= expected:
                found += len(inflater.decompress(body, 1 << 20))
                body = inflater.unconsumed_tail
    except zlib.error as e:
        raise SignalError(f"PNG: the image data cannot be inflated ({e}); the file is damaged") from e
    if found < expected or not inflater.eof:
        raise SignalError(
            f"PNG: the image data has {found} bytes, needed are {expected}; the file is damaged"
        )


def _plane(frame: Any, channels: int) -> NDArray[np.uint16]:
    plane = frame.planes[0]
    rows = np.frombuffer(plane, ">u2").reshape(plane.height, plane.line_size // 2)
    pixels = rows[: frame.height, : frame.width * channels].astype(np.uint16)
    return pixels.reshape(frame.height, frame.width, channels)


def write_deep(samples: NDArray[np.uint16]) -> bytes:
    """A PNG file of 16 bits per sample from uint16 [H, W, C], no metadata."""
    height, width, channels = samples.shape
    layout = LAYOUTS[channels]
    context = av.CodecContext.create("png", "w")
    context.width, context.height, context.pix_fmt = width, height, layout
    context.time_base = Fraction(1)
    frame = av.VideoFrame(width, height, layout)
    plane = frame.planes[0]
    rows = np.zeros((plane.height, plane.line_size // 2), ">u2")
    rows[:height, : width * channels] = samples.reshape(height, width * channels)
    plane.update(rows.tobytes())
    written = b"".join(bytes(p) for p in [*context.encode(frame), *context.encode(None)])
    keep = ("IHDR", "IDAT", "IEND")  # FFmpeg adds chunks of its own about colours
    return MAGIC + b"".join(chunk(n, b) for n, b in _all_chunks(written) if n in keep)


def _all_chunks(data: bytes) -> Iterable[tuple[str, bytes]]:
    at = len(MAGIC)
    while at + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        yield data[at + 4 : at + 8].decode("latin-1"), data[at + 8 : at + 8 + length]
        at += 12 + length


def chunk(name: str, body: bytes) -> bytes:
    """One chunk with its length and checksum."""
    tagged = name.encode("latin-1") + body
    return struct.pack(">I", len(body)) + tagged + struct.pack(">I", zlib.crc32(tagged))


def insert(data: bytes, chunks: Iterable[tuple[str, bytes]]) -> bytes:
    """A PNG file with these chunks after its header."""
    added = b"".join(chunk(n, b) for n, b in chunks)
    return data[:AFTER_HEADER] + added + data[AFTER_HEADER:]
