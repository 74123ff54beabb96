"""Sound files through PyAV: whatever FFmpeg decodes in, wav and flac out. Reading and writing go block by
block; memory does not grow with the file.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from tersor.arrays import Numbers, NumberType
from tersor.errors import SignalError, unreadable
from tersor.files.atomic import write_atomically
from tersor.files.checksums import flac_md5, matroska_damage, ogg_damage
from tersor.signals import Audio
from tersor.signals.audio import AUDIO_TYPES, MAX_CHANNELS, MAX_RATE, MIN_RATE

SUFFIXES = {
    *(".wav", ".w64", ".rf64", ".flac", ".ogg", ".oga", ".opus", ".spx", ".mp3", ".mp2", ".mpga"),
    *(
        ".m4a",
        ".m4b",
        ".m4r",
        ".aac",
        ".mka",
        ".weba",
        ".wma",
        ".aiff",
        ".aif",
        ".aifc",
        ".caf",
        ".au",
        ".snd",
    ),
    *(".wv", ".ape", ".tta", ".tak", ".ac3", ".eac3", ".dts", ".amr"),
}
# FFmpeg's decoders of formats that carry checksums, which it compares only when it is asked to
CHECKED = {"flac", "wavpack", "tta", "ape", "tak", "ac3", "eac3", "truehd", "mlp"} | {
    f"mp{layer}{kind}" for layer in (1, 2, 3) for kind in ("", "float")
}
STRICT = {"err_detect": "crccheck+explode"}
GAP_SECONDS = 0.01  # G: time stamps of containers are rounded to milliseconds
DELAY_SECONDS = 0.1  # G: a shorter start time is the delay of an encoder
WRITABLE = {".wav": "wav", ".flac": "flac"}
BLOCK = 1 << 16
MAX_LENGTH = 1 << 62
LAYOUTS = {1: "mono", 2: "stereo", 3: "3.0", 4: "quad", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}
WAV_TAGS = {
    "artist",
    "comment",
    "copyright",
    "date",
    "genre",
    "language",
    "title",
    "album",
    "track",
    "timecode",
    "encoded_by",
}
LEFT_OUT = {"encoder", "major_brand", "minor_version", "compatible_brands", "handler_name", "vendor_id"}


class AudioReader:
    """A sound file opened for reading. Checksums of the format are compared (frames and MD5 of FLAC, pages of
    Ogg, frames of WavPack, TTA, AC-3 and others), and gaps in the time stamps noticed.

    Args:
        source: a path, or the bytes of a file.
        salvage: what is damaged becomes silence and is named in the notes, instead of an error.

    Attributes:
        rate: samples a second.
        channels: 1 to 8.
        dtype: of the blocks.
        bits: that are significant.
        tags: of the file.
        layout: of the channels, if it is not the usual one of their number.
        expected: about how many samples there are; 0 if the file does not say.
        length: samples read so far.
        notes: what is not kept, for people.

    Raises:
        SignalError: not a sound file, or one that cannot be coded.
    """

    def __init__(self, source: Path | bytes, salvage: bool = False) -> None:
        import av

        self._salvage = salvage

        self.name = str(source) if isinstance(source, Path) else "standard input"
        try:
            self._container: Any = av.open(str(source) if isinstance(source, Path) else io.BytesIO(source))
        except (FileNotFoundError, IsADirectoryError, PermissionError) as e:
            raise unreadable(self.name, e) from e
        except (av.FFmpegError, OSError) as e:
            allowed = " ".join(sorted(SUFFIXES))
            raise SignalError(
                f"{self.name}: not a sound file that can be read ({getattr(e, 'strerror', None) or e}); "
                f"allowed is what FFmpeg reads: {allowed}"
            ) from e
        if not self._container.streams.audio:
            self._container.close()
            raise SignalError(f"{self.name}: there is no sound in it; give a file with a sound track")
        stream = self._container.streams.audio[0]
        context = stream.codec_context
        self._stream = stream
        self.rate, self.channels = int(context.sample_rate), int(context.layout.nb_channels)
        self.dtype = np.dtype(_dtype(context.format.packed.name, self.name))
        raw = _bits_of_codec(context.name, bytes(context.extradata or b""))
        self.bits = (
            raw if self.dtype.kind != "f" and 0 < raw <= 8 * self.dtype.itemsize else 8 * self.dtype.itemsize
        )
        self.length = 0
        self._form = str(self._container.format.name)
        self.expected = (
            round(stream.duration * stream.time_base * self.rate)
            if stream.duration and stream.time_base
            else 0
        )
        # What fills an mp4's last frame is cut off; the file may say in milliseconds where.
        self._last = self.expected + self.rate // 500 if "mp4" in self._form and self.expected else MAX_LENGTH
        self.notes = _notes(source, self._container, stream)
        name = str(context.layout.name)
        self.layout = "" if name in (LAYOUTS.get(self.channels), f"{self.channels} channels") else name
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._announced_md5 = flac_md5(bytes(context.extradata or b"")) if context.name == "flac" else b""
        if context.name in CHECKED:
            context.options = dict(STRICT)
        if "ogg" in self._form and (damage := ogg_damage(source)):
            self._damaged(f"{damage}; FFmpeg would leave it out without a word")
        if "matroska" in self._form and (damage := matroska_damage(source)):
            self._damaged(damage)
        self.tags = {
            str(k): str(v)
            for k, v in {**self._container.metadata, **stream.metadata}.items()
            if str(k).lower() not in LEFT_OUT
        }
        if not 1 <= self.channels <= MAX_CHANNELS:
            self._container.close()
            raise SignalError(f"{self.name}: {self.channels} channels; allowed are 1 to {MAX_CHANNELS}")
        if not MIN_RATE <= self.rate <= MAX_RATE:
            self._container.close()
            raise SignalError(
                f"{self.name}: the sample rate is {self.rate}; "
                f"allowed are {MIN_RATE} to {MAX_RATE} samples a second: resample it first"
            )

    @property
    def seconds(self) -> float:
        return self.length / self.rate

    def blocks(self) -> Iterator[Numbers]:
        """Samples [n, channels], in order."""
        held = np.zeros((0, self.channels), self.dtype)
        for x in self._frames():
            yield held
            held = x
        filled = self.length - self._last
        if 0 < filled < len(held):
            held, self.length = held[:-filled], self._last
        if (
            self.length < 0.9 * self.expected and self._form != "wav"
        ):  # of a wav, the size says it; written to a pipe it announces anything
            self.notes += (
                f"the file announces {self.expected / self.rate:.2f} s, {self.seconds:.2f} s are in it",
            )
        yield held

    def _damaged(self, what: str) -> None:
        """Raises: SignalError, or makes it a note if what can be saved is wanted."""
        if not self._salvage:
            self._container.close()
            raise SignalError(
                f"{self.name}: the sound is damaged ({what}); repair it, or code what is there with --salvage"
            )
        if what not in self.notes:
            self.notes += (what,)

    def _frames(self) -> Iterator[Numbers]:
        """Samples as they come, with silence where `salvage` is to fill a gap."""
        import av

        due: float | None = None
        try:
            for packet in self._container.demux(self._stream):
                try:
                    frames = packet.decode()
                except av.FFmpegError as e:
                    self._damaged(f"after {self.seconds:.2f} s: {getattr(e, 'strerror', None) or e}")
                    continue
                for frame in frames:
                    if frame.is_corrupt:
                        self._damaged(f"after {self.seconds:.2f} s: a frame fails its checks")
                    x = self._samples(frame)
                    start = None if frame.pts is None else float(frame.pts * frame.time_base)
                    if start is not None:
                        if due is not None and start - due > GAP_SECONDS:
                            yield from self._gap(start - due)
                        due = start
                    due = None if due is None else due + len(x) / self.rate
                    self.length += len(x)
                    if self._announced_md5:
                        self._md5.update(_flac_bytes(x, self.bits))
                    yield x
            if self._announced_md5 and self._md5.digest() != self._announced_md5:
                self._damaged("the MD5 of its samples is not the one that it states")
        except (av.FFmpegError, OSError) as e:
            self._damaged(f"after {self.seconds:.2f} s: {getattr(e, 'strerror', None) or e}")
        finally:
            self._container.close()

    def _gap(self, seconds: float) -> Iterator[Numbers]:
        """Samples are missing: an error where the format promises them all, else a note."""
        what = f"{seconds:.3f} s are missing after {self.seconds:.3f} s"
        if self._announced_md5 or self._salvage:
            self._damaged(what)
        else:
            self.notes += (what,)
        if self._salvage:
            n = round(seconds * self.rate)
            self.length += n
            yield np.full((n, self.channels), 128 if self.dtype == np.uint8 else 0, self.dtype)

    def _samples(self, frame: Any) -> Numbers:
        x = frame.to_ndarray()
        if (frame.sample_rate, frame.layout.nb_channels, x.dtype) != (self.rate, self.channels, self.dtype):
            raise SignalError(
                f"{self.name}: sample rate, channels or type change after {self.seconds:.2f} s; "
                "cut it there and code the parts"
            )
        y: Numbers = x.T if frame.format.is_planar else x.reshape(-1, self.channels)
        return y


def _flac_bytes(x: Numbers, bits: int) -> bytes:
    """Samples [n, channels] as FLAC's MD5 takes them: signed, little endian, no more bytes than needed."""
    values = x.astype("<i4") >> (8 * x.dtype.itemsize - bits)
    return np.ascontiguousarray(values).view(np.uint8).reshape(-1, 4)[:, : -(-bits // 8)].tobytes()


def _notes(source: Path | bytes, container: Any, stream: Any) -> tuple[str, ...]:
    """What of a file is not there, or not kept."""
    notes = ["pictures are left out"] if container.streams.video else []
    if others := len(container.streams.audio) - 1:
        notes.append(f"the first of {others + 1} tracks is taken, {others} left out")
    if chapters := len(container.chapters()):
        notes.append(f"{chapters} chapters are left out")
    if stream.start_time and stream.start_time * stream.time_base > DELAY_SECONDS:
        notes.append(f"it starts at {float(stream.start_time * stream.time_base):.3f} s, which is not kept")
    if isinstance(source, Path):
        size = source.stat().st_size
        with source.open("rb") as f:
            front = f.read(12)
    else:
        size, front = len(source), source[:12]
    riff = int.from_bytes(front[4:8], "little")
    # more: written to a pipe, its length not known
    if front[:4] == b"RIFF" and front[8:] == b"WAVE" and size < riff < 0x7FFF0000:
        notes.append(f"the file is cut short, {size:,} of {riff + 8:,} bytes are there")
    return tuple(notes)


def _dtype(name: str, file: str) -> str:
    kinds = {"u8": "u1", "s16": "i2", "s32": "i4", "flt": "f4", "dbl": "f8"}
    if name not in kinds:
        raise SignalError(f"{file}: samples of type {name}; allowed are {', '.join(kinds)}")
    return kinds[name]


def _bits_of_codec(name: str, extra: bytes) -> int:
    """Significant bits where samples are wider: 24-bit PCM, and what FLAC's STREAMINFO and ALAC's cookie say;
    0 if unknown.
    """
    if name == "flac" and len(extra) >= 14:
        return ((extra[12] & 1) << 4 | extra[13] >> 4) + 1
    if name == "alac" and len(extra) >= 18:
        return extra[17]
    return 24 if name.startswith("pcm_s24") else 0


def read_audio(source: Path | bytes) -> Audio:
    """A whole sound file.

    Raises:
        SignalError: see `AudioReader`.
    """
    reader = AudioReader(source)
    blocks = list(reader.blocks())
    samples = np.concatenate(blocks) if blocks else np.zeros((0, reader.channels), reader.dtype)
    return Audio(
        samples=np.ascontiguousarray(samples),
        rate=reader.rate,
        bits=reader.bits,
        tags=reader.tags,
        layout=reader.layout,
        notes=reader.notes,
    )


class AudioWriter:
    """Writes a .wav or .flac file block by block.

    Args:
        file: binary, seekable.
        suffix: ".wav" or ".flac".
        rate, channels, dtype, bits: as of `Audio`.
        tags: for the file.
        layout: of the channels; the usual one if empty.
        level: FLAC's compression level, 0 to 12.

    Attributes:
        notes: what the format does not hold.

    Raises:
        SignalError: a suffix or type that the format does not have.
    """

    _container: Any
    _stream: Any

    def __init__(
        self,
        file: BinaryIO,
        suffix: str,
        rate: int,
        channels: int,
        dtype: NumberType,
        bits: int,
        tags: dict[str, str],
        layout: str = "",
        level: int | None = None,
    ) -> None:
        import av

        if suffix.lower() not in WRITABLE:
            raise SignalError(
                f"'{suffix}' is not a format that sound is written in; allowed are {', '.join(WRITABLE)}"
            )
        if dtype not in AUDIO_TYPES:
            raise SignalError(f"samples of {dtype} cannot be written")
        kind = WRITABLE[suffix.lower()]
        self._channels = channels
        self._container = av.open(file, "w", format=kind)
        self._container.metadata.update(tags)
        lost = [k for k in tags if kind == "wav" and k.lower() not in WAV_TAGS]
        self.notes = (f"a {suffix} file holds no {', '.join(lost)}; .flac does",) if lost else ()
        self._layout = layout or LAYOUTS[channels]
        codec, self._format, self._scale = _pcm(dtype, bits) if kind == "wav" else _flac(dtype, bits)
        self._dtype = dtype
        self._stream = self._container.add_stream(codec, rate=rate, layout=self._layout, format=self._format)
        if kind == "flac" and level is not None:
            self._stream.codec_context.options = {"compression_level": str(level)}
        self._at = 0

    def write(self, x: Numbers) -> None:
        """Samples [n, channels] of the dtype."""
        import av

        for first in range(0, len(x), BLOCK):
            part = np.ascontiguousarray(self._scale(x[first : first + BLOCK])).reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(part, format=self._format, layout=self._layout)
            frame.sample_rate = self._stream.rate
            frame.pts, frame.time_base = self._at, Fraction(1, self._stream.rate)
            self._at += part.shape[1] // self._channels
            self._container.mux(self._stream.encode(frame))

    def close(self) -> None:
        self._container.start_encoding()  # an empty sound has a header too
        self._container.mux(self._stream.encode(None))
        self._container.close()


def _pcm(dtype: NumberType, bits: int) -> tuple[str, str, Any]:
    """wav: codec, sample format, conversion."""
    if dtype == np.int32:
        return ("pcm_s24le" if bits <= 24 else "pcm_s32le"), "s32", _same
    names = {
        "i2": ("pcm_s16le", "s16"),
        "f4": ("pcm_f32le", "flt"),
        "f8": ("pcm_f64le", "dbl"),
        "u1": ("pcm_u8", "u8"),
    }
    return (*names[dtype.str[1:]], _same)


def _flac(dtype: NumberType, bits: int) -> tuple[str, str, Any]:
    """flac: 16 or 24 bits; floats are rounded to 24, 8 bits become 16."""
    if dtype == np.int16:
        return "flac", "s16", _same
    if dtype == np.uint8:
        return "flac", "s16", lambda x: (x.astype(np.int16) - 128) << 8
    if dtype == np.int32:
        if bits > 24:
            raise SignalError(f"samples of {bits} bits do not fit a .flac file of 24; write .wav")
        return "flac", "s32", _same
    return (
        "flac",
        "s32",
        lambda x: (
            (np.clip(np.round(x.astype(np.float64) * (1 << 23)), -(1 << 23), (1 << 23) - 1).astype(np.int32))
            << 8
        ),
    )


def _same(x: Numbers) -> Numbers:
    return x


def audio_bytes(audio: Audio, suffix: str, level: int | None = None) -> bytes:
    """A whole sound file.

    Raises:
        SignalError: see `AudioWriter`.
    """
    out = io.BytesIO()
    bits = audio.bits or 8 * audio.samples.dtype.itemsize
    writer = AudioWriter(
        out,
        suffix,
        audio.rate,
        audio.samples.shape[1],
        audio.samples.dtype,
        bits,
        dict(audio.tags),
        audio.layout,
        level,
    )
    writer.write(audio.samples)
    writer.close()
    return out.getvalue()


def write_audio(audio: Audio, path: Path) -> None:
    """Write a .wav or .flac file."""
    write_atomically(path, audio_bytes(audio, path.suffix))
