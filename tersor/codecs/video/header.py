"""The video codec's header inside the container (FORMAT.md, section "video").

Chunks are the groups of frames in order, then the segments of the sound, whose own header (codec "audio") is
kept whole in this one.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from tersor import registry
from tersor.container import MAX_CHUNKS, ByteReader, Reader, put_uvarint
from tersor.errors import BitstreamError, LimitExceededError, SignalError
from tersor.facts import Facts
from tersor.signals.colour import LOCATIONS, RANGES, Colour
from tersor.signals.timing import MAX_TERM, Timing, constant_stamps
from tersor.signals.video import MAX_SIDE, ROTATIONS, SUBSAMPLINGS, VideoFormat
from tersor.weights import DIGEST_BYTES

WIRE_ID = 6  # F
VERSION = 1  # F: of the groups' bytes; 0 was a draft
ASKED = ("quality", "bitrate", "target_psnr")  # F
SAMPLINGS = tuple(SUBSAMPLINGS)  # F: 400, 420, 422, 444
MAX_GROUP = 1 << 8  # F: frames
MAX_FRAMES = 1 << 32  # F: of a stream
MAX_GROUP_SAMPLES = 1 << 28  # F: what a group may take in memory, in samples
MAX_SOUND_HEADER = 1 << 10  # F
MAX_STAMP = 1 << 62  # F
STAMPS, SOUND = "timestamps", "sound"  # F: keys of the metadata


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoHeader:
    """What a decoder must know before the first group.

    Attributes:
        digest: of the tables that the groups were coded with.
        format: of the frames.
        groups: frames of each.
        rate, base: frames a second; seconds of one unit of the timestamps.
        start, end: when the first frame is shown and the last one goes, in these units.
        constant: whether the timestamps follow from rate and start; else they are in the metadata.
        asked: what the encoder was asked for: "quality", "bitrate" or "target_psnr".
        value: of it.
        sound: header of the sound; empty without.
        sound_chunks: its segments, after the groups.
        sound_start: second at which it starts, on the clock of the timestamps.
    """

    digest: bytes
    format: VideoFormat
    groups: tuple[int, ...]
    rate: Fraction
    base: Fraction
    start: int
    end: int
    constant: bool
    asked: str
    value: float
    sound: bytes = b""
    sound_chunks: int = 0
    sound_start: Fraction = Fraction(0)

    @property
    def frames(self) -> int:
        return sum(self.groups)

    def pack(self) -> bytes:
        f, c = self.format, self.format.colour
        out = bytearray([VERSION]) + self.digest
        out += bytes([f.depth, SAMPLINGS.index(f.subsampling), ROTATIONS.index(f.rotation)])
        out += bytes([RANGES.index(c.range), c.matrix, c.primaries, c.transfer, LOCATIONS.index(c.location)])
        out += bytes([ASKED.index(self.asked), int(self.constant)]) + struct.pack("<d", self.value)
        for n in (f.width, f.height, *_terms(f.aspect), *_terms(self.rate), *_terms(self.base)):
            out += put_uvarint(n)
        out += put_uvarint(zigzag(self.start)) + put_uvarint(self.end - self.start)
        runs = [(frames, len(list(same))) for frames, same in groupby(self.groups)]
        out += put_uvarint(len(runs))
        for frames, times in runs:
            out += put_uvarint(frames) + put_uvarint(times)
        out += put_uvarint(len(self.sound)) + self.sound + put_uvarint(self.sound_chunks)
        out += put_uvarint(zigzag(self.sound_start.numerator)) + put_uvarint(self.sound_start.denominator)
        return bytes(out)

    @classmethod
    def unpack(cls, data: bytes, chunks: int) -> VideoHeader:
        """Parse and check against the number of chunks in the file.

        Raises:
            BitstreamError: not a video header, or one that contradicts the file.
        """
        r = ByteReader(data, "video header")
        version, digest = r.byte(), r.take(DIGEST_BYTES)
        depth, sampling, rotation, limits, matrix, primaries, transfer, location, asked, constant = r.take(10)
        if version != VERSION:
            raise BitstreamError(
                f"video header: groups of version {version}, this tersor reads {VERSION}; install the "
                "tersor that wrote it"
            )
        (value,) = struct.unpack("<d", r.take(8))
        width, height = r.uvarint(MAX_SIDE, "width"), r.uvarint(MAX_SIDE, "height")
        aspect, rate, base = (_fraction(r, what) for what in ("aspect", "frame rate", "time base"))
        start = unzigzag(r.uvarint(MAX_STAMP, "first timestamp"))
        end = start + r.uvarint(MAX_STAMP, "length")
        groups = _groups(r, chunks)
        sound = r.take(r.uvarint(MAX_SOUND_HEADER, "length of the sound's header"))
        sound_chunks = r.uvarint(MAX_CHUNKS, "segments of sound")
        numerator = unzigzag(r.uvarint(MAX_STAMP, "start of the sound"))
        denominator = r.uvarint(MAX_STAMP, "start of the sound")
        r.end()
        tables = (
            (sampling, SAMPLINGS),
            (rotation, ROTATIONS),
            (limits, RANGES),
            (location, LOCATIONS),
            (asked, ASKED),
            (constant, (0, 1)),
        )
        if any(i >= len(table) for i, table in tables) or not denominator:
            raise BitstreamError("video header: a field has no meaning; the file is damaged or newer")
        colour = Colour(
            range=RANGES[limits],
            matrix=matrix,
            primaries=primaries,
            transfer=transfer,
            location=LOCATIONS[location],
        )
        try:
            form = VideoFormat(
                width=width,
                height=height,
                depth=depth,
                subsampling=SAMPLINGS[sampling],
                colour=colour,
                aspect=aspect,
                rotation=ROTATIONS[rotation],
            )
        except SignalError as e:
            raise BitstreamError(f"video header: {e}; the file is damaged") from e
        if form.samples * max(groups, default=0) > MAX_GROUP_SAMPLES and max(groups) > 1:
            raise LimitExceededError(
                f"video header: groups of {max(groups)} frames of {width}x{height} are above the limit "
                f"of {MAX_GROUP_SAMPLES} samples"
            )
        if len(groups) + sound_chunks != chunks or bool(sound_chunks) > bool(sound):
            raise BitstreamError(
                f"video header: {len(groups)} groups and {sound_chunks} segments of sound, the file "
                f"has {chunks} chunks; it is damaged"
            )
        return cls(
            digest=digest,
            format=form,
            groups=groups,
            rate=rate,
            base=base,
            start=start,
            end=end,
            constant=bool(constant),
            asked=ASKED[asked],
            value=value,
            sound=sound,
            sound_chunks=sound_chunks,
            sound_start=Fraction(numerator, denominator),
        )

    def sound_reader(self, reader: Reader) -> Reader | None:
        """The sound as a file of its own; None without."""
        if not self.sound:
            return None
        own, first = reader.metadata.get(SOUND, b""), len(self.groups)
        return reader.part(registry.by_name("audio").wire_id, self.sound, own, first, self.sound_chunks)


def _groups(r: ByteReader, chunks: int) -> tuple[int, ...]:
    groups: list[int] = []
    for _ in range(r.uvarint(chunks, "runs of groups")):
        frames, times = (
            r.uvarint(MAX_GROUP, "frames of a group"),
            r.uvarint(chunks - len(groups), "groups of a run"),
        )
        if not frames or not times:
            raise BitstreamError("video header: a group without frames; the file is damaged")
        groups += [frames] * times
    return tuple(groups)


def _terms(x: Fraction) -> tuple[int, int]:
    return x.numerator, x.denominator


def _fraction(r: ByteReader, what: str) -> Fraction:
    a, b = r.uvarint(MAX_TERM, what), r.uvarint(MAX_TERM, what)
    if not a or not b:
        raise BitstreamError(f"video header: {what} is {a}/{b}; the file is damaged")
    return Fraction(a, b)


def zigzag(x: int) -> int:
    return 2 * x if x >= 0 else -2 * x - 1


def unzigzag(x: int) -> int:
    return x >> 1 if not x & 1 else -(x + 1 >> 1)


def pack_stamps(timing: Timing) -> dict[str, bytes]:
    """The timestamps, for the metadata: their distances less the one before, where no constant rate gives
    them.
    """
    if timing.is_constant:
        return {}
    steps = np.diff(timing.stamps)
    return {STAMPS: b"".join(put_uvarint(zigzag(int(d))) for d in np.diff(steps, prepend=0))}


def timing_of(header: VideoHeader, metadata: Mapping[str, bytes]) -> Timing:
    """Raises: BitstreamError if the timestamps are damaged."""
    frames = header.frames
    if header.constant:
        stamps = constant_stamps(header.rate, header.base, header.start, 0, frames)
    else:
        stamps = _listed_stamps(metadata.get(STAMPS, b""), header)
    timing = Timing(rate=header.rate, base=header.base, stamps=stamps, end=header.end)
    try:
        timing.check()
    except SignalError as e:
        raise BitstreamError(f"timestamps: {e}; the file is damaged") from e
    return timing


def _listed_stamps(data: bytes, header: VideoHeader) -> NDArray[np.int64]:
    frames = header.frames
    if len(data) < frames - 1:
        raise BitstreamError(f"timestamps: {len(data)} bytes for {frames} frames; the file is damaged")
    r = ByteReader(data, "timestamps")
    at, step, stamps = header.start, 0, [header.start] if frames else []
    for _ in range(frames - 1):
        step += unzigzag(r.uvarint(MAX_STAMP, "a timestamp"))
        at += step
        if not header.start <= at <= header.end:
            raise BitstreamError("timestamps: one lies outside the video; the file is damaged")
        stamps.append(at)
    r.end()
    return np.array(stamps, np.int64)


def describe(reader: Reader) -> Facts:
    """Facts for `tersor info`; checks the header, and that of the sound."""
    h = VideoHeader.unpack(reader.header, len(reader.chunk_lengths))
    f, c = h.format, h.format.colour
    seconds = float((h.end - h.start) * h.base)
    pictures = sum(reader.chunk_lengths[: len(h.groups)])
    facts: dict[str, object] = {
        "width": f.width,
        "height": f.height,
        "frames": h.frames,
        "seconds": round(seconds, 3),
        "rate": f"{float(h.rate):g} frames/s" + ("" if h.constant else ", variable"),
        "samples": f"{f.subsampling}, {f.depth} bits",
        "colour": (
            f"{c.range} range, matrix {c.matrix}, primaries {c.primaries}, transfer {c.transfer} "
            f"(H.273), chroma {c.location}"
        ),
        "aspect": str(f.aspect),
        "rotation": f.rotation,
        "asked": f"{h.asked} {h.value:g}",
        "tables": h.digest.hex(),
        "groups": len(h.groups),
        "longest_group": max(h.groups, default=0),
        "pictures_kbps": round(8 * pictures / seconds / 1000, 3) if seconds else 0.0,
        "pictures_bpp": round(8 * pictures / max(1, h.frames * f.width * f.height), 5),
    }
    sound = h.sound_reader(reader)
    text = "none" if sound is None else _sound_facts(sound, float(h.sound_start))
    return Facts.of(
        reader,
        codec="video",
        signal="video",
        suffix=".mkv",
        shape=(h.frames, f.height, f.width),
        extra={**facts, "sound": text},
    )


def _sound_facts(sound: Reader, start: float) -> str:
    """In a line."""
    about = registry.resolve(registry.by_name("audio").describe)(sound)
    kbps = 8 * sum(sound.chunk_lengths) / about["seconds"] / 1000 if about["seconds"] else 0.0
    return (
        f"{about['mode']}, {about['rate']} Hz, channels {about['channels']}, "
        f"{about['seconds']} s from {start:g} s, {kbps:.1f} kbit/s"
    )
