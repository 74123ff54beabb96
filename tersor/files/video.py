"""Video files: whatever FFmpeg decodes through PyAV in, as planes of integers; memory does not grow with the
file.

    packets --FFmpeg--> frames --deinterlaced if need be--> planes of 8 to 12 bits, their layout alone
    changed; RGB to Y, Cb, Cr 4:4:4

The colour description, aspect and rotation are kept beside the planes and not applied. What cannot be kept
is said in notes; what is damaged is an error, since FFmpeg's own way is to go on with what it makes up.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, SupportsInt, cast

import numpy as np

from tersor.errors import SignalError, unreadable
from tersor.files.audio import AudioReader
from tersor.files.checksums import SliceSums, matroska_damage
from tersor.files.cut_short import announced_size
from tersor.files.pixels import deinterlacer, layout_of, plane_array, pulled
from tersor.files.y4m import MAGIC, Y4mReader
from tersor.signals.audio import Audio, AudioSource
from tersor.signals.colour import LOCATIONS, RANGES, RGB_CODED, UNSPECIFIED, Colour, Planes, from_rgb
from tersor.signals.timing import Timing, simplest_timing, usable
from tersor.signals.video import Video, VideoFormat, VideoSource

if TYPE_CHECKING:
    import av
    from av.filter import Graph
    from av.video.stream import VideoStream

# Not .ts, which in most folders is TypeScript; name the codec for a transport stream.
SUFFIXES = frozenset(
    [
        ".mp4",
        ".m4v",
        ".mov",
        ".mkv",
        ".webm",
        ".avi",
        ".mpg",
        ".mpeg",
        ".m2ts",
        ".mts",
        ".ogv",
        ".wmv",
        ".flv",
        ".3gp",
        ".y4m",
    ]
)
TECHNICAL = {
    "encoder",
    "major_brand",
    "minor_version",
    "compatible_brands",
    "handler_name",
    "vendor_id",
    "duration",
    "creation_time",
}
LEFT_OUT = {
    "MASTERING_DISPLAY_METADATA": "the mastering display's description",
    "DYNAMIC_HDR_PLUS": "dynamic HDR metadata",
    "DOVI_METADATA": "dynamic HDR metadata",
    "A53_CC": "captions inside the pictures",
}  # side data of FFmpeg, for people
NO_RATE = Fraction(25)  # of a single frame, or of a stream without any clock
GROWN_BY = 64  # frames that a video in memory is made longer by, when the file does not say its length
SHORT = 0.9  # a video that lasts less than this of what its file says is noted
REPAIR = "repair the file, or cut it there"
STRICT = {"err_detect": "crccheck+bitstream+buffer+explode"}


class VideoReader:
    """A video file opened for reading.

    Attributes:
        format: of the frames.
        rate: frames a second that the file announces.
        expected: about how many frames there are; 0 if the file does not say.
        tags: of the file.
        notes: what is not kept, for people; complete after the last frame.
        has_sound: whether there is a sound track.

    Args:
        source: a path, or the bytes of a file.

    Raises:
        SignalError: not a video, or one that cannot be coded.
    """

    def __init__(self, source: Path | bytes) -> None:
        import av

        self._source = source
        self.name = str(source) if isinstance(source, Path) else "standard input"
        self._check_length()
        try:
            self._container: Any = av.open(str(source) if isinstance(source, Path) else io.BytesIO(source))
        except (av.FFmpegError, OSError, ValueError) as e:
            why = getattr(e, "strerror", None) or e
            raise SignalError(
                f"{self.name}: not a video that can be read ({why}); allowed is what FFmpeg reads"
            ) from e
        try:
            self._open()
        except BaseException:
            self._container.close()
            raise

    def _open(self) -> None:
        pictures = [s for s in self._container.streams.video if not _is_cover(s)]
        if not pictures:
            raise SignalError(
                f"{self.name}: there is no video in it; give a file with a video track, or --codec "
                "audio for its sound"
            )
        self._stream = pictures[0]
        self._stream.thread_type = "AUTO"
        self._stream.codec_context.options = dict(STRICT)
        self.has_sound = bool(self._container.streams.audio)
        self.notes: tuple[str, ...] = ()
        if len(pictures) > 1:
            self.notes += (f"the first of {len(pictures)} video tracks is kept",)
        if len(self._container.streams.audio) > 1:
            self.notes += (f"the first of {len(self._container.streams.audio)} sound tracks is kept",)
        if self._container.streams.subtitles:
            self.notes += ("subtitles are left out",)
        found = {**self._container.metadata, **self._stream.metadata}
        self.tags = {
            str(k): str(v)
            for k, v in found.items()
            if k.lower() not in TECHNICAL and not k.startswith("_STATISTICS")
        }
        self._stamps: list[int] = []
        self._end = 0
        self._joined = False
        self._decoded = self._progressive()
        first = next(self._decoded, None)
        if first is None:
            raise SignalError(f"{self.name}: the video track has no frames; there is nothing to encode")
        self._first = first
        self._base = usable(self._stream.time_base) or Fraction(1, 90_000)
        self._pixels = first.format.name
        self._layout = layout_of(first.format, self.name)
        self.notes += self._layout.notes
        self.format = self._format_of(first)
        self._rates = [
            r
            for r in map(
                usable, (self._stream.guessed_rate, self._stream.average_rate, self._stream.base_rate)
            )
            if r
        ]
        self.rate = self._rates[0] if self._rates else NO_RATE
        self._seconds = self._announced_seconds()
        self.expected = int(self._stream.frames) or round(self._seconds * self.rate)

    def _check_length(self) -> None:
        """Raises: SignalError if the file cannot be read, or ends before its container does."""
        try:
            with (
                self._source.open("rb")
                if isinstance(self._source, Path)
                else io.BytesIO(self._source) as file
            ):
                announced, there = announced_size(file), file.seek(0, 2)
        except OSError as e:
            raise unreadable(self.name, e) from e
        if announced > there:
            raise SignalError(
                f"{self.name}: the file is cut short, {there:,} of {announced:,} bytes are there; get "
                "the whole file"
            )
        if damage := matroska_damage(self._source):
            raise SignalError(f"{self.name}: the file is damaged ({damage}); copy it again")

    def _announced_seconds(self) -> float:
        stream = self._stream
        if stream.duration and stream.time_base:
            return float(stream.duration * stream.time_base)
        hours = [v for k, v in stream.metadata.items() if k.lower().startswith("duration")]
        if hours and len(parts := hours[0].split(":")) == 3:
            try:
                return 3600 * int(parts[0]) + 60 * int(parts[1]) + float(parts[2])
            except ValueError:
                return 0.0
        return self._container.duration / 1e6 if self._container.duration and not self.has_sound else 0.0

    def _format_of(self, frame: Any) -> VideoFormat:
        layout = self._layout
        if layout.rgb:
            colour = Colour(
                range=RGB_CODED.range,
                matrix=RGB_CODED.matrix,
                primaries=_code(frame.color_primaries),
                transfer=_code(frame.color_trc),
            )
        else:
            full = self._pixels.startswith("yuvj") or frame.color_range == 2
            colour = Colour(
                range=RANGES[2 if full else int(frame.color_range == 1)],
                matrix=_code(frame.colorspace) or UNSPECIFIED,
                primaries=_code(frame.color_primaries),
                transfer=_code(frame.color_trc),
                location=LOCATIONS[0],
            )
        present = {d.type.name for d in frame.side_data}
        self.notes += tuple(f"{what} is left out" for name, what in LEFT_OUT.items() if name in present)
        turned = int(frame.rotation) % 360
        if turned % 90:
            self.notes += (f"a rotation by {turned} degrees is left out",)
            turned = 0
        aspect = usable(self._stream.sample_aspect_ratio) or usable(
            self._stream.codec_context.sample_aspect_ratio
        )
        try:
            return VideoFormat(
                width=frame.width,
                height=frame.height,
                depth=layout.depth,
                subsampling=layout.subsampling,
                colour=colour,
                aspect=aspect or Fraction(1),
                rotation=turned,
            )
        except SignalError as e:
            raise SignalError(f"{self.name}: {e}") from e

    def frames(self) -> Iterator[Planes]:
        """Planes [H, W] of each frame, in the order they are shown.

        Raises:
            SignalError: the file is damaged, or its frames change size or format on the way.
        """
        try:
            frame: av.VideoFrame | None = self._first
            while frame is not None:
                self._take_time(frame)
                yield self._planes(frame)
                frame = next(self._decoded, None)
        finally:
            self.close()
        # Matroska announces when the last frame ends, MP4 how long the track is.
        there = float((self._end - min(0, self._stamps[0])) * self._base)
        if there < SHORT * self._seconds and (self._seconds - there) * self.rate > 2:
            self.notes += (f"the file announces {self._seconds:.2f} s, {there:.2f} s are in it",)
        elif "avi" in str(self._container.format.name) and len(self._stamps) < self._stream.frames:
            # a frame whose name is damaged is passed over; a gap that was recorded has no bytes
            self.notes += (f"the file announces {self._stream.frames} frames, {len(self._stamps)} are in it",)

    def _take_time(self, frame: Any) -> None:
        stamp = frame.pts
        if stamp is None or (frame.time_base and frame.time_base != self._base):
            stamp = self._end if stamp is None else round(stamp * frame.time_base / self._base)
        if self._stamps and stamp <= self._stamps[-1]:
            when = float(stamp * self._base)
            raise SignalError(
                f"{self.name}: frame {len(self._stamps)} is shown at {when:g} s, not after the one "
                "before; rewrite the file's timestamps"
            )
        self._stamps.append(int(stamp))
        told = 0 if self._joined else int(frame.duration or 0)  # bwdif says that of a field
        length = told or round(1 / (self.rate * self._base))
        self._end = int(stamp) + max(1, length)

    @property
    def timing(self) -> Timing:
        """Of the frames read so far."""
        if not self._stamps:
            return Timing.constant(self.rate, 0)
        return simplest_timing(self._stamps, self._end, self._base, self._rates)

    def _planes(self, frame: av.VideoFrame) -> Planes:
        here = (frame.format.name, frame.width, frame.height)
        if here != (self._pixels, self.format.width, self.format.height):
            at = f"frame {len(self._stamps) - 1}"
            was = f"{self._pixels} {self.format.width}x{self.format.height}"
            raise SignalError(
                f"{self.name}: {at} is {here[0]} {here[1]}x{here[2]}, those before are {was}; cut the "
                "video there and code the parts"
            )
        planar = frame if self._layout.target == self._pixels else frame.reformat(format=self._layout.target)
        kept = [
            plane_array(p, self.format.depth)
            for p in list(planar.planes)[: 1 if self.format.subsampling == "400" else 3]
        ]
        if self._layout.rgb:
            g, b, r = kept
            return from_rgb(np.stack([r, g, b], axis=2), self.format.depth)
        return tuple(kept)

    def _progressive(self) -> Iterator[av.VideoFrame]:
        """Decoded frames, deinterlaced if the first one is interlaced."""
        graph: Graph | None = None
        for i, frame in enumerate(self._frames()):
            if frame.interlaced_frame and not i:
                graph, self._joined = deinterlacer(frame), True
                self.notes += ("interlaced fields were joined to frames",)
            if graph is None:
                if frame.interlaced_frame:
                    raise SignalError(
                        f"{self.name}: frame {i} is interlaced, those before are not; deinterlace it first, "
                        "such as with ffmpeg -vf bwdif"
                    )
                yield frame
                continue
            graph.push(frame)
            yield from pulled(graph)
        if graph is not None:
            graph.push(None)
            yield from pulled(graph)

    def _frames(self) -> Iterator[av.VideoFrame]:
        import av

        sums = SliceSums() if self._is_ffv1() else None
        try:
            for n, packet in enumerate(self._container.demux(self._stream)):
                if sums is not None and sums.fail(bytes(packet)):
                    raise SignalError(f"{self.name}: frame {n} is damaged; {REPAIR}")
                for frame in packet.decode():
                    if frame.is_corrupt:
                        raise SignalError(f"{self.name}: frame {len(self._stamps)} is damaged; {REPAIR}")
                    yield frame
        except (av.FFmpegError, OSError) as e:
            why = getattr(e, "strerror", None) or e
            raise SignalError(
                f"{self.name}: the video is damaged after frame {len(self._stamps)} ({why}); {REPAIR}"
            ) from e

    def _is_ffv1(self) -> bool:
        """Whether it is FFV1 in slices, as from its version 3 on."""
        context = self._stream.codec_context
        return context.name == "ffv1" and bool(context.extradata)

    def again(self) -> VideoReader:
        """The same file from its start."""
        return VideoReader(self._source)

    def sound(self) -> tuple[AudioReader, Fraction] | None:
        """The sound track, opened, and the second at which it starts on the clock of the timestamps; None if
        there is none.
        """
        if not self.has_sound:
            return None
        start = sound_start(self._source)
        if start is None:
            return None
        reader = AudioReader(self._source)
        reader.tags = {}  # those of the file are the video's
        reader.notes = tuple(n for n in reader.notes if n != "pictures are left out")
        return reader, start

    def close(self) -> None:
        self._container.close()


class Y4mFile(Y4mReader):
    """A .y4m stream as a source of the video codec: without sound, and from a pipe read once only."""

    has_sound = False
    expected = 0

    def __init__(self, file: BinaryIO, name: str, path: Path | None = None) -> None:
        self._path = path
        try:
            super().__init__(file, name)
        except SignalError:
            self._leave(file)
            raise

    def frames(self) -> Iterator[Planes]:
        """As of `Y4mReader`; a file that was opened here is closed after the last one."""
        try:
            yield from super().frames()
        finally:
            self._leave(self._file)

    def _leave(self, file: BinaryIO) -> None:
        if self._path is not None:
            file.close()

    def again(self) -> VideoReader | Y4mFile:
        """Raises: SignalError for a pipe."""
        if self._path is None:
            raise SignalError(f"{self.name}: a stream is read once only; this needs a file")
        return open_video(self._path)

    def sound(self) -> None:
        return None


def open_video(source: Path | bytes | BinaryIO) -> VideoReader | Y4mFile:
    """A video file, its bytes, or a binary stream: .y4m is read as it comes, anything else from a stream is
    read whole first.

    Raises:
        SignalError: see `VideoReader`.
    """
    if isinstance(source, Path):
        try:
            file = source.open("rb")
        except OSError as e:
            raise unreadable(source, e) from e
        if file.peek(len(MAGIC))[: len(MAGIC)] == MAGIC:
            return Y4mFile(file, str(source), source)
        file.close()
        return VideoReader(source)
    stream = io.BufferedReader(io.BytesIO(source)) if isinstance(source, bytes) else source  # type: ignore[arg-type]
    if not isinstance(stream, io.BufferedReader):
        stream = io.BufferedReader(cast(Any, stream))
    if stream.peek(len(MAGIC))[: len(MAGIC)] == MAGIC:
        return Y4mFile(stream, "standard input")
    return VideoReader(source if isinstance(source, bytes) else stream.read())


def read_video(source: Path | bytes | BinaryIO, *, audio: bool = True) -> Video:
    """A whole video file in memory.

    Raises:
        SignalError: see `VideoReader`.
    """
    return in_memory(open_video(source), audio=audio)


def in_memory(source: VideoSource, *, audio: bool = True) -> Video:
    """All frames and the sound of a source."""
    shapes, dtype = source.format.shapes, source.format.dtype
    planes = [np.empty((source.expected or GROWN_BY, *s), dtype) for s in shapes]
    count = 0
    for frame in source.frames():
        for i, own in enumerate(frame):
            if count == len(planes[i]):
                planes[i] = np.concatenate([planes[i], np.empty((count // 2 + GROWN_BY, *shapes[i]), dtype)])
            planes[i][count] = own
        count += 1
    sound, start, notes = None, Fraction(0), source.notes
    if audio and (found := source.sound()):
        opened, start = found
        sound = opened if isinstance(opened, Audio) else whole_sound(opened)
        notes += tuple(getattr(opened, "notes", ()))
    return Video(
        planes=tuple(p[:count] for p in planes),
        format=source.format,
        timing=source.timing,
        audio=sound,
        audio_start=start,
        tags=source.tags,
        notes=notes,
    )


def whole_sound(sound: AudioSource) -> Audio:
    """All blocks of a sound, joined."""
    parts = list(sound.blocks()) or [np.zeros((0, sound.channels), sound.dtype)]
    samples, layout = np.ascontiguousarray(np.concatenate(parts)), getattr(sound, "layout", "")
    return Audio(samples=samples, rate=sound.rate, bits=sound.bits, layout=layout)


def sound_start(source: Path | bytes) -> Fraction | None:
    """The second at which the first sample of the sound track is heard; None if there is none.

    Raises:
        SignalError: the sound is damaged.
    """
    import av

    container: Any
    try:
        with av.open(str(source) if isinstance(source, Path) else io.BytesIO(source)) as container:
            for frame in container.decode(audio=0):
                return Fraction(frame.pts * frame.time_base) if frame.pts is not None else Fraction(0)
    except (av.FFmpegError, OSError) as e:
        name = str(source) if isinstance(source, Path) else "standard input"
        raise SignalError(
            f"{name}: the sound is damaged at its start ({getattr(e, 'strerror', None) or e}); "
            "leave it out with --no-audio"
        ) from e
    return None


def _is_cover(stream: VideoStream) -> bool:
    """Whether a picture track is the still of an album."""
    return bool(int(stream.disposition) & 0x400)  # AV_DISPOSITION_ATTACHED_PIC


def _code(value: SupportsInt) -> int:
    """A code of H.273, which FFmpeg's are; unspecified if it is not one."""
    code = int(value)
    return code if 0 <= code <= 22 else UNSPECIFIED
