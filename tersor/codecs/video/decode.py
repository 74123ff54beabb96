"""Chunks to frames: a file, or a range of its frames, opened to be decoded group by group."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tersor import registry
from tersor.codecs.parallel import Progress, in_order
from tersor.codecs.video.group import decode_group
from tersor.codecs.video.header import WIRE_ID, VideoHeader, timing_of
from tersor.codecs.video.metadata import unpack_tags
from tersor.container import Reader
from tersor.errors import BitstreamError, ChecksumError, SignalError
from tersor.signals import AudioSource
from tersor.signals.colour import Planes
from tersor.signals.timing import Timing


class OpenedVideo:
    """A .tsr file of a video; decoding happens as its frames are taken, and reads only the groups it needs.

    Attributes:
        format: of the frames.
        timing: of the frames that were asked for.
        tags: of the video.
        notes: what was damaged, of the frames decoded so far.
        has_sound: whether there is sound, and it was asked for.

    Args:
        reader: the file.
        frames: which; a step skips frames.
        start, stop: or seconds from the first frame; the frames shown between them.
        salvage: fill damaged groups with the nearest good frame.
        audio: whether the sound is wanted.
        progress: called with (frames done, frames in all).

    Raises:
        BitstreamError: not a video file, or a damaged front.
        SignalError: frames or seconds that are not in the video.
    """

    def __init__(
        self,
        reader: Reader,
        *,
        frames: slice | None = None,
        start: float | None = None,
        stop: float | None = None,
        salvage: bool = False,
        audio: bool = True,
        progress: Progress | None = None,
    ) -> None:
        if reader.codec != WIRE_ID:
            raise BitstreamError(
                f"the file's codec is {reader.codec}, not the video codec ({WIRE_ID}); use tersor.decode"
            )
        self._reader, self._salvage, self._progress = reader, salvage, progress
        self.header = VideoHeader.unpack(reader.header, len(reader.chunk_lengths))
        metadata = reader.metadata
        self.format, self.tags = self.header.format, unpack_tags(metadata)
        whole = timing_of(self.header, metadata)
        self._wanted = wanted(whole, frames, start, stop)
        self.timing = _timing_of_range(whole, self._wanted)
        self._edges = [0, *accumulate(self.header.groups)]
        self._sound = self.header.sound_reader(reader) if audio else None
        self.notes: tuple[str, ...] = ()
        self._damaged: list[int] = []
        self._is_whole = self._wanted == range(self.header.frames)

    @property
    def has_sound(self) -> bool:
        return self._sound is not None

    @property
    def expected(self) -> int:
        return len(self._wanted)

    @property
    def width(self) -> int:
        return self.format.width

    @property
    def height(self) -> int:
        return self.format.height

    @property
    def seconds(self) -> float:
        return self.timing.seconds

    @property
    def nbytes(self) -> int:
        return len(self._wanted) * self.format.samples * self.format.dtype.itemsize

    def __len__(self) -> int:
        return len(self._wanted)

    def again(self) -> OpenedVideo:
        return self

    def frames(self) -> Iterator[Planes]:
        """Planes [H, W] of each frame, in order.

        Raises:
            BitstreamError: a damaged group, which is named.
        """
        done = 0
        for planes in in_order(self._group, self._touched()):
            for i in range(len(planes[0])):
                yield tuple(p[i] for p in planes)
                done += 1
                if self._progress:
                    self._progress(done, len(self._wanted))
        self.notes = self._damage()

    def _touched(self) -> Iterator[tuple[int, slice]]:
        """(group, frames of it) for every group with frames that are wanted."""
        for i, first in enumerate(self._edges[:-1]):
            inside = range(*_overlap(self._wanted, first, self._edges[i + 1]))
            if inside:
                yield i, slice(inside.start - first, inside[-1] + 1 - first, inside.step)

    def _group(self, item: tuple[int, slice]) -> list[NDArray[Any]]:
        index, part = item
        try:
            return self._decoded(index, part)
        except BitstreamError:
            if not self._salvage:
                raise
            self._damaged.append(index)
            return self._filled(index, part)

    def _decoded(self, index: int, part: slice) -> list[NDArray[Any]]:
        first, frames = self._edges[index], self.header.groups[index]
        name = f"group {index}, frames {first} to {first + frames - 1}"
        try:
            payload = self._reader.chunk(index)
        except ChecksumError as e:
            raise ChecksumError(f"{name}: {e}; decode --salvage fills it and decodes the rest") from e
        shapes = [(frames, *s) for s in self.format.shapes]
        return decode_group(payload, shapes=shapes, depth=self.format.depth, name=name, frames=part)

    def _filled(self, index: int, part: slice) -> list[NDArray[Any]]:
        """What stands for a damaged group: of each frame the nearest one, in time, that is not damaged;
        mid-grey if there is none.
        """
        before = next((x for i in reversed(range(index)) if (x := self._edge(i, -1)) is not None), None)
        after = next(
            (x for i in range(index + 1, len(self.header.groups)) if (x := self._edge(i, 0)) is not None),
            None,
        )
        frames = self.header.groups[index]
        out = [np.empty((frames, *s), self.format.dtype) for s in self.format.shapes]
        for i in range(frames):
            nearest = before if after is None or (before is not None and 2 * i < frames) else after
            for p, plane in enumerate(out):
                plane[i] = 1 << (self.format.depth - 1) if nearest is None else nearest[p]
        return [p[part] for p in out]

    def _edge(self, index: int, frame: int) -> Planes | None:
        """The first (0) or last (-1) frame of a group; None if it is damaged."""
        at = frame % self.header.groups[index]
        try:
            return tuple(p[0] for p in self._decoded(index, slice(at, at + 1)))
        except BitstreamError:
            return None

    def _damage(self) -> tuple[str, ...]:
        """Which frames were damaged."""
        runs: list[list[int]] = []
        for i in sorted(set(self._damaged)):
            if runs and runs[-1][1] == i:
                runs[-1][1] = i + 1
            else:
                runs.append([i, i + 1])
        return tuple(
            f"frames {self._edges[a]} to {self._edges[b] - 1} are damaged, and stand still" for a, b in runs
        )

    def sound(self) -> tuple[AudioSource, Fraction] | None:
        """The sound of the frames that were asked for, to be decoded block by block, and the second at which
        it starts on the clock of the timestamps.
        """
        if self._sound is None:
            return None
        codec = registry.resolve(registry.by_name("audio").codec)()
        start = self.header.sound_start
        if self._is_whole:
            return codec.open(self._sound, salvage=self._salvage), start
        rate = Fraction(codec.open(self._sound).rate)
        length = Fraction(codec.open(self._sound).length)
        first = self.timing.start_seconds - start
        last = self.timing.end * self.timing.base - start
        a, b = (min(max(round(t * rate), 0), int(length)) for t in (first, last))
        opened = codec.open(self._sound, start=float(a / rate), stop=float(b / rate), salvage=self._salvage)
        return opened, start + a / rate


def wanted(timing: Timing, frames: slice | None, start: float | None, stop: float | None) -> range:
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


def _timing_of_range(whole: Timing, chosen: range) -> Timing:
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
