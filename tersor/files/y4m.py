"""YUV4MPEG2 (.y4m): uncompressed planes in a stream, what encoders and players exchange over pipes.

    YUV4MPEG2 W352 H288 F30:1 Ip A1:1 C420jpeg XCOLORRANGE=LIMITED \\n   FRAME \\n planes   FRAME \\n planes
    ...

Own code, 100 lines, since FFmpeg's reader takes a stream that is cut short for one that ends there. Source:
the format's man page (mjpegtools, yuv4mpeg(5)) and FFmpeg's libavformat/yuv4mpegdec.c for the colour spaces
above 8 bits.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction
from typing import BinaryIO

import numpy as np

from tersor.arrays import Samples
from tersor.errors import SignalError
from tersor.signals.colour import Colour
from tersor.signals.timing import Timing, check_fraction
from tersor.signals.video import VideoFormat

MAGIC = b"YUV4MPEG2"
MAX_LINE = 1 << 12
LOCATED = {"420jpeg": "centre", "420mpeg2": "left", "420paldv": "top left"}  # of 4:2:0, where chroma lies
RATE = Fraction(25)  # of a stream that says F0:0, unknown
KNOWN = "420, 420jpeg, 420mpeg2, 420paldv, 422, 444, mono and these with p9, p10, p12 (mono9, ...)"


class Y4mReader:
    """A .y4m stream opened for reading; it need not be seekable.

    Attributes:
        format: of the frames.
        rate: frames a second.
        tags, notes: none; as of other readers.

    Raises:
        SignalError: not such a stream, or one of a kind that cannot be coded.
    """

    def __init__(self, file: BinaryIO, name: str) -> None:
        self._file, self.name = file, name
        self.tags: dict[str, str] = {}
        self.notes: tuple[str, ...] = ()
        self.frames_read = 0
        fields = _line(file, name).split(b" ")
        if fields[0] != MAGIC:
            raise SignalError(f"{name}: not a .y4m stream, it starts with {fields[0][:16]!r}")
        try:
            self.format, self.rate = _format(fields[1:])
        except (ValueError, ZeroDivisionError) as e:
            raise SignalError(f"{name}: the .y4m header is damaged ({e})") from e
        except SignalError as e:
            raise SignalError(f"{name}: {e}") from e

    def frames(self) -> Iterator[tuple[Samples, ...]]:
        """Planes [H, W] of each frame.

        Raises:
            SignalError: the stream is cut short or damaged.
        """
        dtype = np.dtype(np.uint8 if self.format.depth == 8 else "<u2")
        while start := self._file.read(1):
            line = start + _line(self._file, self.name)
            if line.split(b" ")[0] != b"FRAME":
                raise SignalError(
                    f"{self.name}: frame {self.frames_read} starts with {line[:16]!r}, not FRAME; the "
                    "stream is damaged"
                )
            planes: list[Samples] = []
            for rows, columns in self.format.shapes:
                size = rows * columns * dtype.itemsize
                data = _read(self._file, size)
                if len(data) < size:
                    raise SignalError(f"{self.name}: the stream is cut short in frame {self.frames_read}")
                plane = np.frombuffer(data, dtype).reshape(rows, columns)
                planes.append(plane.astype(self.format.dtype, copy=False))
            if self.format.depth > 8 and max(int(p.max()) for p in planes) >> self.format.depth:
                raise SignalError(
                    f"{self.name}: frame {self.frames_read} has samples of more than {self.format.depth} bits"
                )
            self.frames_read += 1
            yield tuple(planes)

    @property
    def timing(self) -> Timing:
        """Of the frames read so far."""
        return Timing.constant(self.rate, self.frames_read)


def _read(file: BinaryIO, size: int) -> bytes:
    """`size` bytes, or what is left: a pipe gives less at a time."""
    data = file.read(size)
    while len(data) < size and (more := file.read(size - len(data))):
        data += more
    return data


def _line(file: BinaryIO, name: str) -> bytes:
    line = bytearray()
    while (c := file.read(1)) != b"\n":
        line += c
        if not c or len(line) > MAX_LINE:
            raise SignalError(f"{name}: a .y4m header has no end; the stream is cut short or damaged")
    return bytes(line)


def _format(fields: list[bytes]) -> tuple[VideoFormat, Fraction]:
    given = {
        f[:1].decode("ascii", "replace"): f[1:].decode("ascii", "replace")
        for f in fields
        if f and f[:1] != b"X"
    }
    extra = [f.decode("ascii", "replace") for f in fields if f[:1] == b"X"]
    if "W" not in given or "H" not in given:
        raise ValueError("no width or height")
    if given.get("I", "p") not in ("p", "?"):
        raise SignalError("interlaced frames; deinterlace them first, such as with ffmpeg -vf bwdif")
    subsampling, depth, location = _colour_space(given.get("C", "420jpeg"))
    limits = [x.partition("=")[2].lower() for x in extra if x.startswith("XCOLORRANGE=")]
    chosen = limits[0] if limits and limits[0] in ("limited", "full") else "unspecified"
    aspect, rate = (_ratio(given.get(k, "0:0")) for k in ("A", "F"))
    form = VideoFormat(
        width=int(given["W"]),
        height=int(given["H"]),
        depth=depth,
        subsampling=subsampling,
        colour=Colour(range=chosen, location=location),
        aspect=aspect or Fraction(1),
    )
    rate = rate or RATE
    check_fraction(rate, "the frame rate")
    return form, rate


def _ratio(text: str) -> Fraction | None:
    a, _, b = text.partition(":")
    return Fraction(int(a), int(b)) if int(a) and int(b) else None


def _colour_space(name: str) -> tuple[str, int, str]:
    """(subsampling, depth, place of chroma) of a C field."""
    if name in LOCATED:
        return "420", 8, LOCATED[name]
    found = re.fullmatch(r"(420|422|444)(?:p(9|10|12))?|(mono)(9|10|12)?", name)
    if not found:
        raise SignalError(f"colour space C{name}; known are {KNOWN}")
    return found[1] or "400", int(found[2] or found[4] or 8), "unspecified"


class Y4mWriter:
    """Writes frames as .y4m; the file need not be seekable."""

    def __init__(self, file: BinaryIO, form: VideoFormat, rate: Fraction) -> None:
        self._file, self._dtype = file, np.dtype(np.uint8 if form.depth == 8 else "<u2")
        located = {place: name for name, place in LOCATED.items()}
        deep = "" if form.depth == 8 else str(form.depth) if form.subsampling == "400" else f"p{form.depth}"
        space = ("mono" if form.subsampling == "400" else form.subsampling) + deep
        space = located.get(form.colour.location, "420mpeg2") if space == "420" else space
        range_ = "" if form.colour.range == "unspecified" else f" XCOLORRANGE={form.colour.range.upper()}"
        head = f"W{form.width} H{form.height} F{rate.numerator}:{rate.denominator} Ip"
        head += f" A{form.aspect.numerator}:{form.aspect.denominator} C{space}{range_}"
        file.write(MAGIC + b" " + head.encode() + b"\n")

    def write(self, planes: tuple[Samples, ...]) -> None:
        """One frame's planes [H, W]."""
        self._file.write(b"FRAME\n")
        for p in planes:
            self._file.write(np.ascontiguousarray(p.astype(self._dtype, copy=False)).tobytes())
