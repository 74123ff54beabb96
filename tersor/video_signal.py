"""Moving pictures as plain data: planes of integers, when each is shown, and how they are colours."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tersor.errors import SignalError
from tersor.signals import Audio, AudioSource
from tersor.video_colour import RGB_CODED, Colour, Planes, from_rgb, to_rgb

SUBSAMPLINGS = {"400": None, "420": (1, 1), "422": (0, 1), "444": (0, 0)}  # halvings of chroma rows and columns
MIN_DEPTH, MAX_DEPTH = 8, 12
MAX_SIDE = 1 << 16
MAX_PIXELS = 1 << 26
MAX_FRAMES = 1 << 32
MAX_TERM = 1 << 31  # of a rate, an aspect or a time base
ROTATIONS = (0, 90, 180, 270)


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoFormat:
    """What every frame of a video shares.

    Attributes:
        width, height: of the luma, in samples.
        depth: bits of a sample, 8 to 12.
        subsampling: of chroma: "420", "422", "444", or "400" for grey.
        colour: what the numbers mean.
        aspect: width of a sample over its height; 1 if nothing is said.
        rotation: degrees to turn the picture counterclockwise for showing: 0, 90, 180 or 270; the planes are not turned.

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
                f"frames of {self.width}x{self.height}; allowed are {MAX_PIXELS} pixels and {MAX_SIDE} a side: scale the video down"
            )
        if not MIN_DEPTH <= self.depth <= MAX_DEPTH:
            raise SignalError(f"samples of {self.depth} bits; allowed are {MIN_DEPTH} to {MAX_DEPTH}")
        if self.subsampling not in SUBSAMPLINGS:
            raise SignalError(f"chroma subsampling {self.subsampling!r}; allowed are {', '.join(SUBSAMPLINGS)}")
        if self.rotation not in ROTATIONS:
            raise SignalError(f"a rotation by {self.rotation} degrees; allowed are {', '.join(map(str, ROTATIONS))}")
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
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(np.uint8 if self.depth == 8 else np.uint16)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Timing:
    """When the frames of a video are shown.

    Attributes:
        rate: frames a second; of a variable rate, the mean or what the file calls it.
        base: seconds of one unit of the timestamps.
        stamps: int64 [frames], rising; when each frame appears.
        end: when the last one goes, in the same units.
    """

    rate: Fraction
    base: Fraction
    stamps: NDArray[np.int64]
    end: int

    @classmethod
    def constant(cls, rate: Fraction, frames: int, base: Fraction | None = None, start: int = 0) -> Timing:
        """Frames at equal distances, rounded to the time base (one frame, if none is given)."""
        check_fraction(rate, "the frame rate")
        base = base or 1 / rate
        check_fraction(base, "the time base")
        return cls(rate=rate, base=base, stamps=constant_stamps(rate, base, start, 0, frames), end=rounded(rate, base, start, frames))

    def __len__(self) -> int:
        return len(self.stamps)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Timing):
            return NotImplemented
        same = (self.rate, self.base, self.end) == (other.rate, other.base, other.end)
        return same and np.array_equal(self.stamps, other.stamps)

    __hash__ = None  # type: ignore[assignment]

    def check(self) -> None:
        """Raises: SignalError if the stamps do not rise."""
        check_fraction(self.rate, "the frame rate")
        check_fraction(self.base, "the time base")
        edges = np.append(self.stamps, self.end)
        if (edges[1:] <= edges[:-1]).any():
            at = int(np.argmax(edges[1:] <= edges[:-1]))
            raise SignalError(f"frame {at} is shown at {edges[at]} until {edges[at + 1]}; timestamps must rise")

    @property
    def start_seconds(self) -> Fraction:
        return int(self.stamps[0]) * self.base if len(self.stamps) else Fraction(0)

    @property
    def seconds(self) -> float:
        """From the first frame to the end of the last."""
        return float((self.end - int(self.stamps[0])) * self.base) if len(self.stamps) else 0.0

    @property
    def is_constant(self) -> bool:
        """Whether rate, time base and the first stamp say all."""
        if not len(self.stamps):
            return True
        return bool((self.stamps == constant_stamps(self.rate, self.base, int(self.stamps[0]), 0, len(self.stamps))).all())

    def part(self, first: int, last: int) -> Timing:
        """Of frames [first, last)."""
        end = int(self.stamps[last]) if last < len(self.stamps) else self.end
        return replace(self, stamps=self.stamps[first:last], end=end)

    def frames_between(self, start: float | None, stop: float | None) -> tuple[int, int]:
        """Frames [first, last) that are shown between two times, in seconds from the first frame's.

        Raises:
            SignalError: the times do not lie in the video.
        """
        begin, end = 0.0 if start is None else float(start), self.seconds if stop is None else float(stop)
        if not 0 <= begin <= end or begin > self.seconds:  # also true for NaN
            until = "the end" if stop is None else f"{stop:g} s"
            raise SignalError(
                f"from {begin:g} s to {until} does not fit; the video lasts {self.seconds:g} s: give a start from 0 to that, a stop after it"
            )
        seconds = (self.stamps - self.stamps[:1]).astype(np.float64) * float(self.base)
        slack = float(self.base) / 4
        first = max(0, int(np.searchsorted(seconds, begin + slack, side="right")) - 1)
        return first, max(first, int(np.searchsorted(seconds, end - slack, side="left")))


def rounded(rate: Fraction, base: Fraction, start: int, index: int) -> int:
    """When frame `index` of a constant rate is shown, in the time base, to the nearest unit."""
    step = 1 / (rate * base)
    return start + (2 * index * step.numerator + step.denominator) // (2 * step.denominator)


def constant_stamps(rate: Fraction, base: Fraction, start: int, first: int, last: int) -> NDArray[np.int64]:
    """As `rounded`, of frames [first, last)."""
    step = 1 / (rate * base)
    if 2 * last * step.numerator + step.denominator < 1 << 62:
        index = np.arange(first, last, dtype=np.int64)
        return start + (2 * index * step.numerator + step.denominator) // (2 * step.denominator)
    return np.array([rounded(rate, base, start, i) for i in range(first, last)], np.int64)


def check_fraction(x: Fraction, what: str) -> None:
    """Raises: SignalError unless it is positive and its terms fit a file."""
    if not isinstance(x, Fraction) or x <= 0 or max(x.numerator, x.denominator) > MAX_TERM:
        raise SignalError(f"{what} is {x}; needed is a positive fractions.Fraction with terms up to {MAX_TERM}")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Video:
    """Moving pictures and their sound; `np.asarray(video)` is uint8 RGB [T, H, W, 3].

    Attributes:
        planes: the coded integers: one array (grey) or three (Y, Cb, Cr, chroma of its own size), uint8 or uint16 [T, H, W] each.
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
                    f"a plane is {p.dtype} {list(p.shape)}; needed is {self.format.dtype} {[len(self.timing), *shape]}"
                )
        if self.format.depth > 8 and max(int(p.max(initial=0)) for p in self.planes) >> self.format.depth:
            raise SignalError(f"samples above {(1 << self.format.depth) - 1}; the format says {self.format.depth} bits")
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
        return replace(self, planes=tuple(p[first:last] for p in self.planes), timing=self.timing.part(first, last), audio=None)

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
        same = self.format == other.format and self.timing == other.timing and dict(self.tags) == dict(other.tags)
        return same and all(np.array_equal(a, b) for a, b in zip(self.planes, other.planes, strict=True))

    __hash__ = None  # type: ignore[assignment]

    def rgb(self, frame: int) -> NDArray[np.uint8]:
        """One frame, uint8 [H, W, 3], by the stated matrix; not turned by the rotation."""
        return to_rgb(tuple(p[frame] for p in self.planes), self.format.depth, self.format.colour)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        out = np.empty((len(self), self.height, self.width, 3), np.uint8)
        for i in range(len(self)):
            out[i] = self.rgb(i)
        return out if dtype in (None, out.dtype) else out.astype(dtype)

    def __repr__(self) -> str:
        sound = f", {self.audio!r}" if self.audio else ""
        f = self.format
        return f"Video({len(self)} frames of {f.width}x{f.height}, {f.subsampling}, {f.depth} bits, {float(self.rate):g} frames/s{sound})"

    def save(self, path: str | Path) -> None:
        """Write .mkv (exact), .mp4, .y4m, or a folder of PNG files; the suffix names the format."""
        from tersor.files.video_write import write_video

        write_video(self, Path(path))


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


def video_of_rgb(rgb: NDArray[Any], rate: Fraction | float, depth: int = 8) -> Video:
    """A video from an array of RGB or grey frames, coded as Y, Cb, Cr 4:4:4 of full range.

    Args:
        rgb: uint8 (or uint16 of `depth` bits) [T, H, W, 3] or [T, H, W].
        rate: frames a second.
        depth: bits of a sample.

    Raises:
        SignalError: an array of another shape or type.
    """
    if rgb.dtype not in (np.dtype(np.uint8), np.dtype(np.uint16)) or (rgb.dtype == np.uint8) != (depth == 8):
        raise SignalError(f"frames are {rgb.dtype} of {depth} bits; allowed are uint8, or uint16 with depth= 9 to {MAX_DEPTH}")
    if rgb.ndim not in (3, 4) or (rgb.ndim == 4 and rgb.shape[3] != 3):
        raise SignalError(f"frames have shape {list(rgb.shape)}; needed is [T, H, W, 3], or [T, H, W] for grey")
    grey = rgb.ndim == 3
    colour = Colour(range="full") if grey else RGB_CODED
    planes: Planes = (rgb,) if grey else tuple(np.stack(p) for p in zip(*(from_rgb(x, depth) for x in rgb), strict=True))
    if not grey and not len(rgb):
        planes = tuple(rgb[..., i] for i in range(3))
    form = VideoFormat(
        width=rgb.shape[2], height=rgb.shape[1], depth=depth, subsampling="400" if grey else "444", colour=colour
    )
    return Video(planes=planes, format=form, timing=Timing.constant(as_rate(rate), len(rgb)))


def as_rate(rate: Any) -> Fraction:
    """A frame rate as a fraction: 29.97 and the like become the 30000/1001 they stand for.

    Raises:
        SignalError: not a positive number.
    """
    try:
        exact = Fraction(rate)
    except (TypeError, ValueError, OverflowError):
        raise SignalError(f"the frame rate is {rate!r}; needed is a positive number of frames a second, such as 25") from None
    film = Fraction(round(exact * Fraction(1001, 1000)) * 1000, 1001)
    if isinstance(rate, float) and exact > 0:
        exact = film if film and abs(film - exact) < Fraction(1, 200) and exact.denominator > 1 else exact.limit_denominator(100_000)
    if exact <= 0:
        raise SignalError(f"the frame rate is {rate!r}; needed is a positive number of frames a second, such as 25")
    return exact
