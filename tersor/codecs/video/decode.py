"""Chunks to frames: the groups that a range of frames touches, and what stands for those that are damaged."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import accumulate
from typing import Any

import numpy as np

from tersor import registry, weights
from tersor.arrays import Samples
from tersor.codecs.assembly import Assembly, Opened
from tersor.codecs.tags import unpack_tags
from tersor.codecs.video.group import decode_group
from tersor.codecs.video.header import VideoHeader, timing_of
from tersor.codecs.video.model import KIND
from tersor.codecs.video.options import DecodeOptions
from tersor.container import Reader
from tersor.errors import BitstreamError, SignalError
from tersor.files.video import whole_sound
from tersor.signals.audio import AudioSource
from tersor.signals.colour import Planes
from tersor.signals.timing import Timing
from tersor.signals.video import Video, VideoSource

Planar = list[Samples]  # [T, H, W] of each plane


class VideoAssembly(Assembly[VideoSource]):
    """A file on its way back to a video: a part is a group with frames that were asked for.

    Attributes:
        header: of the file.
        timing: of the frames that were asked for.
        tags: of the video.
    """

    def __init__(self, reader: Reader, options: DecodeOptions) -> None:
        self.header = VideoHeader.unpack(reader.header, len(reader.chunk_lengths))
        weights.find(KIND, self.header.digest)  # says at once if they are not installed
        metadata = reader.metadata
        self.tags = unpack_tags(metadata)
        everything = timing_of(self.header, metadata)
        self.wanted = wanted(everything, options["frames"], options["start"], options["stop"])
        self.timing = timing_of_range(everything, self.wanted)
        self._edges = [0, *accumulate(self.header.groups)]
        self._spans = dict(self._touched())
        self._salvage, self._there = bool(options["salvage"]), dict[int, Planar]()
        self.sound_file = None if options["no_audio"] else self.header.sound_reader(reader)
        self._planes: Planar | None = None
        super().__init__(reader, len(self._spans))
        self._groups = list(self._spans)

    def _touched(self) -> Iterator[tuple[int, slice]]:
        """(group, frames of it) for every group with frames that are wanted."""
        for i, first in enumerate(self._edges[:-1]):
            inside = range(*_overlap(self.wanted, first, self._edges[i + 1]))
            if inside:
                yield i, slice(inside.start - first, inside[-1] + 1 - first, inside.step)

    def called(self, chunk: int) -> str:
        return f"group {chunk}, frames {self._edges[chunk]} to {self._edges[chunk + 1] - 1}"

    def decode(self, chunk: int, payload: bytes, frames: slice | None = None) -> Planar:
        """The frames of a group that were asked for, or others of it."""
        shapes = [(self.header.groups[chunk], *s) for s in self.header.format.shapes]
        return decode_group(
            payload,
            shapes=shapes,
            depth=self.header.format.depth,
            name=self.called(chunk),
            frames=frames or self._spans[chunk],
            digest=self.header.digest,
        )

    def needs(self, part: int) -> Iterable[int]:
        return (self._groups[part],)

    def place(self, chunk: int, x: Planar) -> None:
        self._there[chunk] = x

    def fill(self, chunk: int) -> None:
        """Of each frame of a damaged group the nearest one, in time, that is not damaged; grey if there is
        none.
        """
        others = range(len(self.header.groups))
        before = next((x for i in reversed(others[:chunk]) if (x := self._edge(i, -1)) is not None), None)
        after = next((x for i in others[chunk + 1 :] if (x := self._edge(i, 0)) is not None), None)
        frames, form = self.header.groups[chunk], self.header.format
        out = [np.empty((frames, *s), form.dtype) for s in form.shapes]
        for i in range(frames):
            nearest = before if after is None or (before is not None and 2 * i < frames) else after
            for p, plane in enumerate(out):
                plane[i] = 1 << (form.depth - 1) if nearest is None else nearest[p]
        self._there[chunk] = [p[self._spans[chunk]] for p in out]

    def _edge(self, chunk: int, frame: int) -> Planes | None:
        """The first (0) or last (-1) frame of a group; None if it is damaged."""
        at = frame % self.header.groups[chunk]
        try:
            return tuple(p[0] for p in self.decode(chunk, self.reader.chunk(chunk), slice(at, at + 1)))
        except BitstreamError:
            return None

    def piece(self, part: int) -> Any:  # one array for each plane
        return self._there.pop(self._groups[part])

    def keep(self, part: int, piece: Any) -> None:
        if self.parts == 1:
            self._planes = piece
            return
        if self._planes is None:
            self._planes = [np.empty((len(self.wanted), *p.shape[1:]), p.dtype) for p in piece]
        for own, theirs in zip(self._planes, piece, strict=True):
            own[self._at : self._at + len(theirs)] = theirs
        self._at += len(piece[0])

    def finish(self) -> Video:
        form = self.header.format
        planes = self._planes or [np.empty((0, *s), form.dtype) for s in form.shapes]
        audio, start, notes = None, Fraction(0), self.notes()
        if found := self.sound():
            source, start = found
            audio = whole_sound(source)
            notes += tuple(getattr(source, "notes", ()))
        return Video(
            planes=tuple(planes),
            format=form,
            timing=self.timing,
            audio=audio,
            audio_start=start,
            tags=self.tags,
            notes=notes,
        )

    def sound(self) -> tuple[AudioSource, Fraction] | None:
        """The sound of the frames that were asked for, to be decoded block by block, and the second at which
        it starts on the clock of the timestamps.
        """
        if self.sound_file is None:
            return None
        codec = registry.resolve(registry.by_name("audio").codec)()
        start = self.header.sound_start
        if self.wanted == range(self.header.frames):
            return codec.open(self.sound_file, salvage=self._salvage), start
        whole = codec.open(self.sound_file)
        rate = Fraction(whole.rate)
        span = (self.timing.start_seconds - start, self.timing.end * self.timing.base - start)
        a, b = (min(max(round(t * rate), 0), int(whole.length)) for t in span)
        opened = codec.open(
            self.sound_file, start=float(a / rate), stop=float(b / rate), salvage=self._salvage
        )
        return opened, start + a / rate

    def notes(self) -> tuple[str, ...]:
        runs: list[list[int]] = []
        for i in sorted(set(self.damaged)):
            if runs and runs[-1][1] == i:
                runs[-1][1] = i + 1
            else:
                runs.append([i, i + 1])
        edges = self._edges
        return tuple(f"frames {edges[a]} to {edges[b] - 1} are damaged, and stand still" for a, b in runs)


class OpenedVideo:
    """A .tsr file of a video, a source of frames: decoding happens as they are taken, and reads only the
    groups it needs.

    Attributes:
        notes: what was damaged, after the last frame.
    """

    def __init__(self, opened: Opened[VideoAssembly]) -> None:
        self._opened = opened
        self.notes: tuple[str, ...] = ()
        assembly = opened.assembly
        self.format, self.timing, self.tags = assembly.header.format, assembly.timing, assembly.tags
        self.has_sound = assembly.sound_file is not None

    @property
    def expected(self) -> int:
        return len(self.timing)

    def __len__(self) -> int:
        return len(self.timing)

    def frames(self) -> Iterator[Planes]:
        """Planes [H, W] of each frame, in order.

        Raises:
            BitstreamError: a damaged group, which is named.
        """
        for planes in self._opened.blocks():
            for i in range(len(planes[0])):
                yield tuple(p[i] for p in planes)
        self.notes = self._opened.notes

    def sound(self) -> tuple[AudioSource, Fraction] | None:
        """As of `VideoAssembly`."""
        return self._opened.assembly.sound()

    def again(self) -> OpenedVideo:
        return self


def wanted(timing: Timing, frames: object, start: float | None, stop: float | None) -> range:
    """The frames that are asked for.

    Raises:
        SignalError: both ways at once, or frames that are not there.
    """
    if frames is None:
        if start is None and stop is None:
            return range(len(timing))
        return range(*timing.frames_between(start, stop))
    if start is not None or stop is not None:
        raise SignalError("frames and start, stop exclude each other; give one")
    if not isinstance(frames, slice):
        raise SignalError(f"frames is {frames!r}; needed is a slice, such as slice(10, 20)")
    if frames.step is not None and frames.step < 1:
        raise SignalError(f"frames has a step of {frames.step}; allowed are 1 and more")
    found = range(*frames.indices(len(timing)))
    return range(found.start, max(found.start, found.stop), found.step)


def timing_of_range(whole: Timing, chosen: range) -> Timing:
    """The timing of some frames; one that was skipped lengthens the one before."""
    if chosen.step == 1:
        return whole.part(chosen.start, chosen.stop)
    stamps = whole.stamps[chosen.start : chosen.stop : chosen.step]
    after = (chosen[-1] + chosen.step) if chosen else 0
    end = int(whole.stamps[after]) if after < len(whole) else whole.end
    return replace(whole, rate=whole.rate / chosen.step, stamps=stamps, end=end)


def _overlap(chosen: range, first: int, last: int) -> tuple[int, int, int]:
    """Of a range, what lies in [first, last)."""
    skipped = max(0, -(-(first - chosen.start) // chosen.step))
    return chosen.start + skipped * chosen.step, min(chosen.stop, last), chosen.step
