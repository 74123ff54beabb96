"""A video to the chunks of a file: groups of frames, each coded alone, then the segments of the sound.

frames --groups.py--> [T, H, W] --quality: asked, or by rate.py over one or more passes--> group.py --> chunks
sound  --the codec "audio", into a temporary file--> its chunks
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TypeVar, cast

from tersor import registry
from tersor.codecs.parallel import Progress, Team
from tersor.codecs.tags import pack_tags
from tersor.codecs.video.coder import OFF, GroupCoder, OnePass, bits_a_pixel
from tersor.codecs.video.groups import Group, groups_of, longest
from tersor.codecs.video.header import SOUND, VideoHeader, pack_stamps
from tersor.codecs.video.model import start_digest
from tersor.codecs.video.options import DEFAULT_GROUP, ENCODE, EncodeOptions
from tersor.codecs.video.rate import Sizes, clipped, foreseen, guess, next_for_psnr, psnr_611, quality_for
from tersor.container import Reader
from tersor.errors import SignalError
from tersor.signals.video import VideoSource

B = TypeVar("B")
MAX_PASSES = 3  # G: over a file with a bit rate, the last one included
NEAR = 3.0  # G: steps of quality: as far the sizes of a pass are trusted
CLOSE = 0.004  # G: and the last one, of all bytes


@dataclass(slots=True)
class Encoding:
    """One video being coded: take all of `payloads`, then `header` and `metadata`."""

    source: VideoSource
    options: EncodeOptions
    team: Team
    progress: Progress | None = None
    metadata: dict[str, bytes] = field(default_factory=dict)
    _lengths: list[int] = field(default_factory=list)
    _sound: tuple[bytes, int, Fraction] = (b"", 0, Fraction(0))
    _done: int = 0
    _passes: int = 1
    coder: GroupCoder = field(init=False)

    def __post_init__(self) -> None:
        self.coder = GroupCoder(self.source.format.depth, self.options)

    def payloads(self) -> Iterator[bytes]:
        """Chunks in the order of the file.

        Raises:
            SignalError: a source that cannot be read to its end, or has no frames.
        """
        coded = {"quality": self._at_quality, "bitrate": self._at_bitrate, "target_psnr": self._at_psnr}[
            self._asked[0]
        ]
        for frames, payload in coded():
            self._lengths.append(frames)
            yield payload
        if not self._lengths:
            raise SignalError("the video has no frames; there is nothing to encode")
        if not self.options["no_audio"]:
            yield from self._sound_chunks()
        self.metadata.update(pack_stamps(self.source.timing) | pack_tags(self.source.tags))
        if self.progress:
            self.progress(self._done, self._done)

    @property
    def _asked(self) -> tuple[str, float]:
        name, value = ENCODE.asked(self.options, "target")
        return name, float(cast(float, value))

    def header(self) -> bytes:
        timing, (sound, chunks, start) = self.source.timing, self._sound
        return VideoHeader(
            digest=start_digest(),
            format=self.source.format,
            groups=tuple(self._lengths),
            rate=timing.rate,
            base=timing.base,
            start=int(timing.stamps[0]),
            end=timing.end,
            constant=timing.is_constant,
            asked=self._asked[0],
            value=self._asked[1],
            sound=sound,
            sound_chunks=chunks,
            sound_start=start,
        ).pack()

    def _groups(self, source: VideoSource) -> Iterator[Group]:
        """Groups of a pass over the source, with the progress said."""
        form = source.format
        for group in groups_of(source.frames(), form, longest(form, self.options["group"] or DEFAULT_GROUP)):
            yield group
            self._done += len(group[0])
            if self.progress:
                self.progress(self._done, max(self._passes * source.expected, self._done + 1))

    def _at_quality(self) -> Iterator[tuple[int, bytes]]:
        quality = clipped(self._asked[1])
        yield from self.team.ahead(
            lambda g: (len(g[0]), self.coder.code(g, quality)), self._groups(self.source)
        )

    def _pass(self, source: VideoSource, quality: float, measure: Callable[[Group, float], B]) -> list[B]:
        """What is measured of every group at a quality, in a pass that keeps no bytes."""
        self._passes += 1
        return list(self.team.ahead(lambda g: measure(g, quality), self._groups(source)))

    def _size(self, group: Group, quality: float) -> tuple[int, int]:
        return len(group[0]), len(self.coder.code(group, quality))

    def _distortion(self, group: Group, quality: float) -> tuple[float, int]:
        return psnr_611(group, self.coder.rebuilt(group, quality), self.source.format.depth)

    def _at_bitrate(self) -> Iterator[tuple[int, bytes]]:
        """Passes at one quality until the sizes of the groups are known near the one that fits, then one
        that spends the bytes group by group: what one leaves over goes to those to come. A stream has that
        one alone.
        """
        bytes_a_second = self._asked[1] * 1000 / 8
        rate, form = self._rate(), self.source.format
        try:
            source = self.source.again()
        except SignalError:
            stream = OnePass(self.coder, form, rate, bytes_a_second)
            for group in self._groups(self.source):
                yield len(group[0]), stream.code(group)
            return
        quality = guess(bits_a_pixel(form, rate, bytes_a_second))
        known: list[Sizes] = []
        lengths: list[int] = []
        while True:
            coded = self._pass(source, quality, self._size)
            known = known or [{} for _ in coded]
            lengths = [frames for frames, _ in coded]
            for sizes, (_, size) in zip(known, coded, strict=True):
                sizes[quality] = size
            total = bytes_a_second * self._seconds(sum(lengths))
            wanted = quality_for(known, total)
            if min(abs(wanted - q) for q in known[0]) <= NEAR or len(known[0]) == MAX_PASSES - 1:
                break
            quality, source = clipped(wanted), self.source.again()
        spent = 0
        for i, group in enumerate(self._groups(self.source)):
            last = i == len(known) - 1
            wanted = quality_for(known[i:], total - spent)
            share = foreseen(known[i], wanted) if not last else max(1.0, total - spent)
            payload = self.coder.of_size(group, share, dict(known[i]), CLOSE * total / share if last else OFF)
            spent += len(payload)
            yield lengths[i], payload

    def _at_psnr(self) -> Iterator[tuple[int, bytes]]:
        """Passes at qualities that close in on the lowest that reaches the PSNR, then one at it."""
        target = self._asked[1]
        points: dict[int, float] = {}
        while (quality := next_for_psnr(points, target)) is not None:
            sums = self._pass(self.source.again(), quality, self._distortion)
            points[quality] = sum(s for s, _ in sums) / max(1, sum(n for _, n in sums))
        reached = [q for q, p in points.items() if p >= target]
        if not reached:
            raise SignalError(
                f"the highest quality reaches {max(points.values()):.2f} dB, not {target:g}; ask for less"
            )
        quality = min(reached)
        yield from self.team.ahead(
            lambda g: (len(g[0]), self.coder.code(g, quality)), self._groups(self.source)
        )

    def _rate(self) -> Fraction:
        return getattr(self.source, "rate", None) or self.source.timing.rate

    def _seconds(self, frames: int) -> float:
        """How long the whole video lasts: by its clock if that is known already, else by its rate."""
        whole = len(self.source.timing) == frames
        return self.source.timing.seconds if whole else frames / float(self._rate())

    def _sound_chunks(self) -> Iterator[bytes]:
        """The sound, coded into a temporary file first: it is read front to back while its chunks come after
        those of the pictures.
        """
        found = self.source.sound()
        if found is None:
            return
        sound, start = found
        options: dict[str, object] = {"lossless": True} if self.options["audio"] else {}
        if self.options["audio_bitrate"]:
            options["bitrate"] = self.options["audio_bitrate"]
        codec = registry.resolve(registry.by_name("audio").codec)()
        with tempfile.TemporaryFile() as file:
            codec.encode_to(file, sound, **options)
            reader = Reader(file)
            if reader.metadata_bytes:  # the layout of channels that is not the usual one
                self.metadata[SOUND] = reader.metadata_bytes
            self._sound = (reader.header, len(reader.chunk_lengths), start)
            for i in range(len(reader.chunk_lengths)):
                yield reader.chunk(i)
