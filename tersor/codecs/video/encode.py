"""A video to the chunks of a file: groups of frames, each coded alone, then the segments of the sound.

frames --groups.py--> [T, H, W] --quality: asked, or by rate.py over one or more passes--> group.py --> chunks
sound  --the codec "audio", into a temporary file--> its chunks
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, TypeVar

from tersor import registry
from tersor.codecs.parallel import Progress, in_order
from tersor.codecs.video.group import GroupSettings, decode_group, encode_group
from tersor.codecs.video.groups import Group, groups_of, longest
from tersor.codecs.video.header import VideoHeader, pack_stamps
from tersor.codecs.video.metadata import pack_tags
from tersor.codecs.video.options import Options
from tersor.codecs.video.rate import BitBudget, clipped, guess, measured_slope, next_for_psnr, psnr_611
from tersor.container import Reader
from tersor.errors import SignalError
from tersor.signals.video import VideoSource

B = TypeVar("B")
MAX_PASSES = 3  # over a file with a bit rate, the last one included
FAR = 6  # steps of quality from which the model of one pass is not trusted for the next
CLOSE = 0.005  # of the bytes asked for: the last group is not tried again
LAST_TRIES = 4
OFF = 0.1  # of the bytes of a stream's first group: it is coded again


@dataclass(slots=True)
class Encoding:
    """One video being coded: take all of `payloads`, then `header` and `metadata`."""

    source: VideoSource
    options: Options
    progress: Progress | None = None
    metadata: dict[str, bytes] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    _lengths: list[int] = field(default_factory=list)
    _sound: tuple[bytes, int, Fraction] = (b"", 0, Fraction(0))
    _done: int = 0
    _passes: int = 1

    def payloads(self) -> Iterator[bytes]:
        """Chunks in the order of the file.

        Raises:
            SignalError: a source that cannot be read to its end, or has no frames.
        """
        coded = {"quality": self._at_quality, "bitrate": self._at_bitrate, "target_psnr": self._at_psnr}[
            self.options.asked
        ]
        for frames, payload in coded():
            self._lengths.append(frames)
            yield payload
        if not self._lengths:
            raise SignalError("the video has no frames; there is nothing to encode")
        if self.options.audio:
            yield from self._sound_chunks()
        self.metadata.update(pack_stamps(self.source.timing) | pack_tags(self.source.tags))
        if self.progress:
            self.progress(self._done, self._done)

    def header(self) -> bytes:
        timing, (sound, chunks, start) = self.source.timing, self._sound
        return VideoHeader(
            format=self.source.format,
            groups=tuple(self._lengths),
            rate=timing.rate,
            base=timing.base,
            start=int(timing.stamps[0]),
            end=timing.end,
            constant=timing.is_constant,
            asked=self.options.asked,
            value=self.options.value,
            sound=sound,
            sound_chunks=chunks,
            sound_start=start,
        ).pack()

    def _code(self, group: Group, quality: int) -> bytes:
        settings = GroupSettings(
            quality=quality, effort=self.options.effort, low_delay=self.options.low_delay
        )
        return encode_group(group, depth=self.source.format.depth, settings=settings)

    def _groups(self, source: VideoSource) -> Iterator[Group]:
        """Groups of a pass over the source, with the progress said."""
        form = source.format
        for group in groups_of(source.frames(), form, longest(form, self.options.group)):
            yield group
            self._done += len(group[0])
            if self.progress:
                self.progress(self._done, max(self._passes * source.expected, self._done + 1))

    def _at_quality(self) -> Iterator[tuple[int, bytes]]:
        quality = clipped(self.options.value)
        yield from in_order(lambda g: (len(g[0]), self._code(g, quality)), self._groups(self.source))

    def _pass(self, quality: int, measure: Callable[[Group, bytes], B]) -> list[B]:
        """What is measured of every group in a pass that keeps no bytes."""
        self._passes += 1
        return list(in_order(lambda g: measure(g, self._code(g, quality)), self._groups(self.source.again())))

    def _at_bitrate(self) -> Iterator[tuple[int, bytes]]:
        """Passes at one quality until the model fits, then one that spends the bytes group by group; a stream
        has that one alone.
        """
        bytes_a_second = self.options.value * 1000 / 8
        try:
            probe = self.source.again()
        except SignalError:
            yield from self._in_one_pass(bytes_a_second)
            return
        form = probe.format
        quality = guess(8 * bytes_a_second / float(self._rate(probe)) / (form.width * form.height))
        points: list[tuple[int, float]] = []
        slope = BitBudget(0.0).slope
        while True:
            sizes = self._pass(quality, lambda g, payload: (len(g[0]), len(payload)))
            known = [(frames, quality, size) for frames, size in sizes]
            total = bytes_a_second * self._seconds(sum(f for f, *_ in known))
            points.append((quality, sum(b for *_, b in known)))
            slope = measured_slope(points, slope)
            budget = BitBudget(total, known, slope)
            wanted = clipped(budget.exact_quality(0))
            if abs(wanted - quality) <= FAR or len(points) == MAX_PASSES - 1:
                break
            quality = wanted
        for i, group in enumerate(self._groups(self.source)):
            frames = len(group[0])
            quality = budget.quality(frames)
            payload = self._code(group, quality)
            if i == len(known) - 1:
                quality, payload = self._closest(group, quality, payload, budget.left, total)
            budget.took(frames, quality, len(payload))
            yield frames, payload

    def _closest(
        self, group: Group, quality: int, payload: bytes, left: float, total: float
    ) -> tuple[int, bytes]:
        """The last group at the quality whose bytes are nearest to those that are left."""
        tried = {quality: payload}
        for _ in range(LAST_TRIES):
            best = min(tried, key=lambda q: abs(len(tried[q]) - left))
            step = 1 if len(tried[best]) < left else -1
            if (
                abs(len(tried[best]) - left) <= CLOSE * total
                or best + step in tried
                or not 1 <= best + step <= 100
            ):
                break
            tried[best + step] = self._code(group, best + step)
        best = min(tried, key=lambda q: abs(len(tried[q]) - left))
        return best, tried[best]

    def _in_one_pass(self, bytes_a_second: float) -> Iterator[tuple[int, bytes]]:
        form, rate = self.source.format, self._rate(self.source)
        a_frame = bytes_a_second / float(rate)
        budget = BitBudget(a_frame)
        for i, group in enumerate(self._groups(self.source)):
            frames = len(group[0])
            quality = budget.quality(frames) if i else guess(8 * a_frame / (form.width * form.height))
            payload = self._code(group, quality)
            points = [(quality, float(len(payload)))]
            while not i and abs(len(payload) / (a_frame * frames) - 1) > OFF and len(points) < LAST_TRIES:
                budget.slope = measured_slope(points, budget.slope)
                trial = BitBudget(a_frame * frames, [(frames, quality, len(payload))], budget.slope)
                if (wanted := trial.quality(frames)) == quality:
                    break
                quality, payload = wanted, self._code(group, wanted)
                points.append((quality, float(len(payload))))
            budget.took(frames, quality, len(payload))
            yield frames, payload

    def _at_psnr(self) -> Iterator[tuple[int, bytes]]:
        """Passes at qualities that close in on the lowest that reaches the PSNR, then one at it."""
        depth, target = self.source.format.depth, self.options.value

        def measure(group: Group, payload: bytes) -> tuple[float, int]:
            decoded = decode_group(
                payload,
                shapes=[(p.shape[0], p.shape[1], p.shape[2]) for p in group],
                depth=depth,
                name="the group just coded",
            )
            return psnr_611(group, decoded, depth)

        points: dict[int, float] = {}
        while (quality := next_for_psnr(points, target)) is not None:
            sums = self._pass(quality, measure)
            points[quality] = sum(s for s, _ in sums) / max(1, sum(n for _, n in sums))
        reached = [q for q, p in points.items() if p >= target]
        if not reached:
            raise SignalError(
                f"the highest quality reaches {max(points.values()):.2f} dB, not {target:g}; ask for less"
            )
        quality = min(reached)
        yield from in_order(lambda g: (len(g[0]), self._code(g, quality)), self._groups(self.source))

    def _rate(self, source: VideoSource) -> Fraction:
        return getattr(source, "rate", None) or source.timing.rate

    def _seconds(self, frames: int) -> float:
        """How long the whole video lasts: by its clock if that is known already, else by its rate."""
        whole = len(self.source.timing) == frames
        return self.source.timing.seconds if whole else frames / float(self._rate(self.source))

    def _sound_chunks(self) -> Iterator[bytes]:
        """The sound, coded into a temporary file first: it is read front to back while its chunks come after
        those of the pictures.
        """
        found = self.source.sound()
        if found is None:
            return
        sound, start = found
        options: dict[str, Any] = {"lossless": True} if self.options.audio == "lossless" else {}
        if self.options.audio_bitrate is not None:
            options["bitrate"] = self.options.audio_bitrate
        codec = registry.resolve(registry.by_name("audio").codec)()
        with tempfile.TemporaryFile() as file:
            codec.encode_to(file, sound, **options)
            reader = Reader(file)
            self._sound = (reader.header, len(reader.chunk_lengths), start)
            self.notes += tuple(getattr(sound, "notes", ()))
            for i in range(len(reader.chunk_lengths)):
                yield reader.chunk(i)
