"""Moving pictures as plain data: planes of integers, when each is shown, and how they are colours."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

from tersor.arrays import Samples, SampleType, sample_type
from tersor.errors import SignalError
from tersor.signals.audio import Audio, AudioSource
from tersor.signals.colour import Colour, Planes, to_rgb
from tersor.signals.timing import Timing, check_fraction

SUBSAMPLINGS = {
    "400": None,
    "420": (1, 1),
    "422": (0, 1),
    "444": (0, 0),
}  # halvings of chroma rows and columns
MIN_DEPTH, MAX_DEPTH = 8, 12  # F
MAX_SIDE = 1 << 14  # F
MAX_PIXELS = 1 << 26  # F
ROTATIONS = (0, 90, 180, 270)  # F


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoFormat:
    """What every frame of a video shares.

    Attributes:
        width, height: of the luma, in samples.
        depth: bits of a sample, 8 to 12.
        subsampling: of chroma: "420", "422", "444", or "400" for grey.
        colour: what the numbers mean.
        aspect: width of a sample over its height; 1 if nothing is said.
        rotation: degrees to turn the picture counterclockwise for showing: 0, 90, 180 or 270; the planes are
            not turned.

    Raises:
        SignalError: what cannot be coded.
    """

    width: int
    height: int
    depth: int = 8
    subsampling: str = "420"
    colour: Colour = field(default_factory=Colour)
    aspect: Fraction = Fraction(1)
    rotation: int = 0

    def __post_init__(self) -> None:
        if self.width < 1 or self.height < 1:
            raise SignalError(f"frames of {self.width}x{self.height}: there is nothing to encode")
        if max(self.width, self.height) > MAX_SIDE or self.width * self.height > MAX_PIXELS:
            raise SignalError(
                f"frames of {self.width}x{self.height}; allowed are {MAX_PIXELS} pixels and {MAX_SIDE} "
                "a side: scale the video down"
            )
        if not MIN_DEPTH <= self.depth <= MAX_DEPTH:
            raise SignalError(f"samples of {self.depth} bits; allowed are {MIN_DEPTH} to {MAX_DEPTH}")
        if self.subsampling not in SUBSAMPLINGS:
            raise SignalError(
                f"chroma subsampling {self.subsampling!r}; allowed are {', '.join(SUBSAMPLINGS)}"
            )
        if self.rotation not in ROTATIONS:
            raise SignalError(
                f"a rotation by {self.rotation} degrees; allowed are {', '.join(map(str, ROTATIONS))}"
            )
        check_fraction(self.aspect, "the aspect of a sample")

    @property
    def shapes(self) -> tuple[tuple[int, int], ...]:
        """(rows, columns) of each plane; chroma of odd sizes is rounded up."""
        luma = (self.height, self.width)
        halvings = SUBSAMPLINGS[self.subsampling]
        if halvings is None:
            return (luma,)
        rows, columns = halvings
        chroma = ((self.height + rows) >> rows, (self.width + columns) >> columns)
        return (luma, chroma, chroma)

    @property
    def samples(self) -> int:
        """Of one frame, all planes together."""
        return sum(h * w for h, w in self.shapes)

    @property
    def dtype(self) -> SampleType:
        return sample_type(self.depth)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Video:
    """Moving pictures and their sound; `np.asarray(video)` is uint8 RGB [T, H, W, 3].

    Attributes:
        planes: the coded integers: one array (grey) or three (Y, Cb, Cr, chroma of its own size), uint8 or
            uint16 [T, H, W] each.
        format: what all frames share.
        timing: when they are shown.
        audio: its sound, if it has some.
        audio_start: when the sound starts, in seconds on the clock of the timestamps.
        tags: title, artist and the like, from the file.
        notes: what was changed on the way in, for people.

    Raises:
        SignalError: planes that do not fit the format, or timestamps that do not fit the planes.
    """

    planes: Planes
    format: VideoFormat
    timing: Timing
    audio: Audio | None = None
    audio_start: Fraction = Fraction(0)
    tags: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        shapes = self.format.shapes
        if len(self.planes) != len(shapes):
            raise SignalError(f"{len(self.planes)} planes; {self.format.subsampling} has {len(shapes)}")
        for p, shape in zip(self.planes, shapes, strict=True):
            if p.dtype != self.format.dtype or p.shape != (len(self.timing), *shape):
                raise SignalError(
                    f"a plane is {p.dtype} {list(p.shape)}; needed is {self.format.dtype} "
                    f"{[len(self.timing), *shape]}"
                )
        if self.format.depth > 8 and max(int(p.max(initial=0)) for p in self.planes) >> self.format.depth:
            raise SignalError(
                f"samples above {(1 << self.format.depth) - 1}; the format says {self.format.depth} bits"
            )
        self.timing.check()

    @property
    def width(self) -> int:
        return self.format.width

    @property
    def height(self) -> int:
        return self.format.height

    @property
    def rate(self) -> Fraction:
        """Frames a second."""
        return self.timing.rate

    @property
    def seconds(self) -> float:
        return self.timing.seconds

    @property
    def nbytes(self) -> int:
        return sum(int(p.nbytes) for p in self.planes) + (self.audio.nbytes if self.audio else 0)

    @property
    def expected(self) -> int:
        return len(self.timing)

    @property
    def has_sound(self) -> bool:
        return self.audio is not None

    def frames(self) -> Iterator[Planes]:
        """Planes [H, W] of each frame."""
        for i in range(len(self)):
            yield tuple(p[i] for p in self.planes)

    def sound(self) -> tuple[Audio, Fraction] | None:
        """The sound, and the second at which it starts on the clock of the timestamps."""
        return None if self.audio is None else (self.audio, self.audio_start)

    def again(self) -> Video:
        return self

    def __len__(self) -> int:
        return len(self.timing)

    def __getitem__(self, frames: slice) -> Video:
        """The frames of a slice, without the sound."""
        if not isinstance(frames, slice) or frames.step not in (None, 1):
            raise SignalError("a video is cut by a slice of frames without a step, such as video[10:20]")
        first, last, _ = frames.indices(len(self))
        last = max(first, last)
        return replace(
            self,
            planes=tuple(p[first:last] for p in self.planes),
            timing=self.timing.part(first, last),
            audio=None,
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Video):
            return NotImplemented
        own, theirs = self.audio, other.audio
        if (own is None) != (theirs is None):
            return False
        if own is not None and theirs is not None:
            same_sound = own.rate == theirs.rate and np.array_equal(own.samples, theirs.samples)
            if not same_sound or self.audio_start != other.audio_start:
                return False
        same = (
            self.format == other.format
            and self.timing == other.timing
            and dict(self.tags) == dict(other.tags)
        )
        return same and all(np.array_equal(a, b) for a, b in zip(self.planes, other.planes, strict=True))

    __hash__ = None  # type: ignore[assignment]

    def rgb(self, frame: int) -> NDArray[np.uint8]:
        """One frame, uint8 [H, W, 3], by the stated matrix; not turned by the rotation."""
        return to_rgb(tuple(p[frame] for p in self.planes), self.format.depth, self.format.colour)

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> Samples:
        out = np.empty((len(self), self.height, self.width, 3), np.uint8)
        for i in range(len(self)):
            out[i] = self.rgb(i)
        return out if dtype in (None, out.dtype) else out.astype(dtype)

    def __repr__(self) -> str:
        sound = f", {self.audio!r}" if self.audio else ""
        f = self.format
        return (
            f"Video({len(self)} frames of {f.width}x{f.height}, {f.subsampling}, {f.depth} bits, "
            f"{float(self.rate):g} frames/s{sound})"
        )

    def save(self, path: str | Path) -> None:
        """Write .mkv (exact), .mp4, .y4m, or a folder of PNG files; the suffix names the format."""
        importlib.import_module("tersor.files.video_write").write_video(self, Path(path))


class VideoSource(Protocol):
    """Moving pictures that are read frame by frame: an opened file, or a `Video`."""

    @property
    def format(self) -> VideoFormat: ...
    @property
    def timing(self) -> Timing:
        """Of the frames read so far; of all, where they are known."""

    @property
    def expected(self) -> int:
        """About how many frames there are; 0 if that is not known."""

    @property
    def tags(self) -> Mapping[str, str]: ...
    @property
    def notes(self) -> tuple[str, ...]: ...
    @property
    def has_sound(self) -> bool: ...

    def frames(self) -> Iterator[Planes]:
        """Planes [H, W] of each frame, in the order they are shown."""

    def sound(self) -> tuple[Audio | AudioSource, Fraction] | None:
        """The sound, and the second at which it starts on the clock of the timestamps."""

    def again(self) -> VideoSource:
        """The same from the start."""
