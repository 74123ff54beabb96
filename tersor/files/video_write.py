"""Planes to video files: .mkv (FFV1 and FLAC: every sample), .mp4 (H.264 and AAC), .y4m, or a folder of PNG
files.

    frames, sound --merged by time--> encoders of FFmpeg --> a file beside the target, renamed when it is
    whole

Frames are taken one by one, so memory does not grow with the video.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from tersor.arrays import Numbers, NumberType
from tersor.errors import SignalError
from tersor.files.atomic import FULL, atomic_file, unwritable
from tersor.files.audio import LAYOUTS
from tersor.files.pixels import frame_of, pixel_format
from tersor.files.y4m import Y4mWriter
from tersor.signals.audio import Audio, AudioSource
from tersor.signals.colour import GBR, RANGES, Planes, to_rgb
from tersor.signals.video import VideoSource

WRITABLE = {".mkv": "matroska", ".mp4": "mp4", ".y4m": "yuv4mpegpipe", "": "a folder of PNG files"}
CRF, MAX_CRF = 18, 51
AAC_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000)
AAC_BITS_A_CHANNEL = 96_000
SOUND_AHEAD = 0.5  # seconds of sound that are written before the frames of their time
SLICED_FROM = 64  # FFV1 does not cut small frames
BLOCK = 1 << 12  # samples of sound in one FLAC frame
SITING = {
    "left": "left",
    "centre": "center",
    "top left": "topleft",
    "top": "top",
    "bottom left": "bottomleft",
    "bottom": "bottom",
}


def check_suffix(suffix: str) -> None:
    """Raises: SignalError for a format that is not written."""
    if suffix.lower() not in WRITABLE:
        known = ", ".join(s for s in WRITABLE if s)
        raise SignalError(
            f"'{suffix}' is not a format that video is written in; allowed are {known}, or no "
            "suffix for a folder of PNG files"
        )


def write_video(source: VideoSource, path: Path, crf: int | None = None) -> tuple[str, ...]:
    """A video file, or nothing if anything fails; -> what the format does not hold, for people.

    Args:
        source: a `Video`, or a source whose timing is known from the start.
        path: its suffix names the format.
        crf: .mp4 only: x264's constant rate factor, 0 (no loss) to 51; 18 if None.

    Raises:
        SignalError: a format, or something that does not fit it.
    """
    suffix = path.suffix.lower()
    check_suffix(suffix)
    if crf is not None and (suffix != ".mp4" or not 0 <= crf <= MAX_CRF):
        raise SignalError(f"crf is {crf} for {path.name}; it is for .mp4, 0 to {MAX_CRF}")
    if not suffix:
        return _write_pictures(source, path)
    with atomic_file(path) as file:
        if suffix == ".y4m":
            return write_y4m(source, file)
        return _write_container(source, file, suffix, CRF if crf is None else crf)


def write_y4m(source: VideoSource, file: BinaryIO) -> tuple[str, ...]:
    """As .y4m into a file, which may be a pipe; -> what the format does not hold."""
    writer = Y4mWriter(file, source.format, source.timing.rate)
    for planes in source.frames():
        writer.write(planes)
    lost = [
        n
        for n, there in (
            ("sound", source.has_sound),
            ("rotation", source.format.rotation),
            ("tags", source.tags),
        )
        if there
    ]
    lost += [] if source.timing.is_constant else ["the variable frame rate"]
    return (f"a .y4m file holds no {', '.join(lost)}",) if lost else ()


def _write_pictures(source: VideoSource, folder: Path) -> tuple[str, ...]:
    """One 8-bit PNG file a frame, turned upright."""
    from tersor.files.image import image_bytes
    from tersor.signals import Image

    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    except OSError as e:
        raise SignalError(f"{folder}: cannot be made ({e.strerror})") from e
    form, quarter = source.format, source.format.rotation // 90
    try:
        for i, planes in enumerate(source.frames()):
            rgb = np.rot90(to_rgb(planes, form.depth, form.colour), quarter)
            samples = np.ascontiguousarray(rgb[..., :1] if len(planes) == 1 else rgb)
            (beside / f"{i:06d}.png").write_bytes(image_bytes(Image(samples=samples), ".png"))
        folder.mkdir(exist_ok=True)
        for picture in sorted(beside.iterdir()):
            os.replace(picture, folder / picture.name)
    except OSError as e:
        raise unwritable(folder, e) from e
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    lost = ["timestamps", *(["sound"] if source.has_sound else [])]
    return (f"a folder of pictures holds no {', '.join(lost)}",)


def _write_container(source: VideoSource, file: BinaryIO, suffix: str, crf: int) -> tuple[str, ...]:
    import av

    try:
        with _LibavWriter(source, file, suffix, crf) as writer:
            stamps = source.timing.stamps
            for i, planes in enumerate(source.frames()):
                writer.write_sound_until(float(int(stamps[i]) * source.timing.base) + SOUND_AHEAD)
                writer.write(planes, i)
            writer.write_sound_until(float("inf"))
            return (*writer.notes, *writer.sound_notes)
    except (av.FFmpegError, OSError, ValueError) as e:
        if isinstance(e, SignalError) or getattr(e, "errno", None) in FULL:
            raise
        raise SignalError(
            f"a {suffix} file of this video cannot be written ({getattr(e, 'strerror', None) or e})"
        ) from e


class _LibavWriter(contextlib.AbstractContextManager["_LibavWriter"]):
    """A Matroska or MP4 file that is being written."""

    def __init__(self, source: VideoSource, file: BinaryIO, suffix: str, crf: int) -> None:
        import av

        self.notes: list[str] = []
        self._source, self._form, self._timing = source, source.format, source.timing
        self._container: Any = av.open(file, "w", format=WRITABLE[suffix])
        self._container.metadata.update(source.tags)
        self._native = pixel_format(self._form)
        exact = suffix == ".mkv"
        # FFV1 has RGB of 8 bits in this layout alone.
        lossless = "bgr0" if self._native == "gbrp" else self._native
        self._coded = lossless if exact else self._h264_format()
        rate = self._timing.rate
        self._stream = self._container.add_stream("ffv1" if exact else "libx264", rate=rate)
        context = self._stream.codec_context
        context.width, context.height, context.pix_fmt = self._form.width, self._form.height, self._coded
        context.time_base, context.framerate = self._timing.base, rate
        self._stream.time_base = self._timing.base
        context.sample_aspect_ratio = self._form.aspect
        context.thread_count = os.cpu_count() or 1
        slices = 4 if min(self._form.width, self._form.height) >= SLICED_FROM else 1
        context.options = (
            {"level": "3", "slicecrc": "1", "slices": str(slices)} if exact else {"crf": str(crf)}
        )
        self._tell_colour(context)
        if self._form.rotation:
            self._stream.set_display_rotation(self._form.rotation)
        if (
            exact
            and not self._timing.is_constant
            and any((int(s) * self._timing.base * 1000).denominator > 1 for s in self._timing.stamps)
        ):
            self.notes.append("a .mkv file holds milliseconds, timestamps were rounded to them")
        if exact and self._form.aspect != 1:
            self.notes.append(
                "the aspect of samples is left out of .mkv"
            )  # PyAV gives Matroska's writer no way to it
        self._open_sound(exact)

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if kind is None:
            self._container.start_encoding()
            self._container.mux(self._stream.encode(None))
            if self._sound_stream is not None:
                self._container.mux(self._sound_stream.encode(None))
        self._container.close()

    def _h264_format(self) -> str:
        """What x264 takes for the planes: 8 or 10 bits; 4:4:4 where a side is odd."""
        form = self._form
        deep = "" if form.depth == 8 else "10le"
        if form.depth not in (8, 10):
            self.notes.append(f"{form.depth} bits a sample brought to 10")
        if form.subsampling == "400":
            return "gray" + deep
        odd = (form.subsampling in ("420", "422") and form.width % 2) or (
            form.subsampling == "420" and form.height % 2
        )
        if odd:
            self.notes.append(
                f"H.264 has no {form.subsampling} of {form.width}x{form.height}: chroma brought to 4:4:4"
            )
        return f"yuv{'444' if odd or form.colour.matrix == GBR else form.subsampling}p{deep}"

    def _tell_colour(self, context: Any) -> None:
        colour = self._form.colour
        context.color_range = RANGES.index(colour.range)
        if self._coded in (self._native, "bgr0") or colour.matrix != GBR:
            context.colorspace = colour.matrix
        context.color_primaries, context.color_trc = colour.primaries, colour.transfer
        if colour.location in SITING:
            context.options = {**context.options, "chroma_sample_location": SITING[colour.location]}

    def _open_sound(self, exact: bool) -> None:
        found = self._source.sound()
        self._sound_stream: Any = None
        self._sound: Audio | AudioSource | None = None
        self._blocks: Iterator[Numbers] = iter(())
        self._heard = float("inf")
        if found is None:
            return
        sound, start = found
        self._sound = sound
        rate, channels, dtype, bits = facts_of(sound)
        whole = sound.samples if isinstance(sound, Audio) else None
        self._blocks = iter([whole]) if whole is not None else sound.blocks()  # type: ignore[union-attr]
        if exact:
            layout = getattr(sound, "layout", "") or LAYOUTS[channels]
            kind, self._turn = flac_samples(dtype, bits, self.notes)
            self._sound_stream = self._container.add_stream("flac", rate=rate, layout=layout, format=kind)
        else:
            layout, kind, self._turn = LAYOUTS[channels], "fltp", _to_float
            if rate not in AAC_RATES:
                raise SignalError(
                    f"the sound has {rate} samples a second, which .mp4 does not; write .mkv, or leave it "
                    "out with --no-audio"
                )
            self._sound_stream = self._container.add_stream("aac", rate=rate, layout=layout, format=kind)
            self._sound_stream.codec_context.bit_rate = AAC_BITS_A_CHANNEL * channels
        self._kind, self._layout, self._sound_rate = kind, layout, rate
        self._sample = round(start * rate)
        self._heard = self._sample / rate

    @property
    def sound_notes(self) -> tuple[str, ...]:
        """What the source of the sound has to say, after its last block."""
        return tuple(getattr(self._sound, "notes", ()))

    def write(self, planes: Planes, index: int) -> None:
        """One frame."""
        frame = frame_of(planes, self._native)
        if self._coded != self._native:
            frame = frame.reformat(format=self._coded)
        stamps = self._timing.stamps
        frame.pts, frame.time_base = int(stamps[index]), self._timing.base
        frame.duration = int(stamps[index + 1] if index + 1 < len(stamps) else self._timing.end) - int(
            stamps[index]
        )
        self._container.mux(self._stream.encode(frame))

    def write_sound_until(self, seconds: float) -> None:
        """The sound up to a time; it may be a block more."""
        import av

        while self._heard < seconds and self._sound_stream is not None:
            block = next(self._blocks, None)
            if block is None:
                self._heard = float("inf")
                return
            for at in range(0, len(block), BLOCK):
                part = self._turn(block[at : at + BLOCK])
                packed = (
                    np.ascontiguousarray(part.T)
                    if self._kind == "fltp"
                    else np.ascontiguousarray(part).reshape(1, -1)
                )
                frame = av.AudioFrame.from_ndarray(packed, format=self._kind, layout=self._layout)
                frame.sample_rate, frame.pts, frame.time_base = (
                    self._sound_rate,
                    self._sample,
                    Fraction(1, self._sound_rate),
                )
                self._sample += len(part)
                self._container.mux(self._sound_stream.encode(frame))
            self._heard = self._sample / self._sound_rate


def facts_of(sound: Audio | AudioSource) -> tuple[int, int, NumberType, int]:
    """(rate, channels, type, significant bits)."""
    dtype = sound.samples.dtype if isinstance(sound, Audio) else sound.dtype
    return sound.rate, sound.channels, dtype, sound.bits or 8 * dtype.itemsize


def flac_samples(dtype: NumberType, bits: int, notes: list[str]) -> tuple[str, Any]:
    """(sample format of FLAC, conversion to it)."""
    if dtype == np.int16:
        return "s16", _same
    if dtype == np.uint8:
        return "s16", lambda x: (x.astype(np.int16) - 128) << 8
    if dtype == np.int32:
        if bits > 24:
            notes.append(f"{bits} bits a sample of sound reduced to 24, FLAC's")
        return "s32", _same
    notes.append("floating-point sound rounded to 24 bits, FLAC's")
    return (
        "s32",
        lambda x: (
            np.clip(np.round(x.astype(np.float64) * (1 << 23)), -(1 << 23), (1 << 23) - 1).astype(np.int32)
            << 8
        ),
    )


def _same(x: Numbers) -> Numbers:
    return x


def _to_float(x: Numbers) -> NDArray[np.float32]:
    if x.dtype.kind == "f":
        return x.astype(np.float32)
    centre = 128 if x.dtype == np.uint8 else 0
    return ((x.astype(np.float64) - centre) / 2.0 ** (8 * x.dtype.itemsize - 1)).astype(np.float32)
