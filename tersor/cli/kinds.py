"""The kinds of signal that commands read and write: which files are of which kind, and how each is described.
A new kind is added here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

from tersor.cli.paths import FOLDER
from tersor.errors import SignalError
from tersor.files.atomic import prepared, write_output


class Kind(ABC):
    """Files of one kind of signal; heavy imports happen inside the methods.

    Attributes:
        suffixes: of its files, lower case.
        codec: that codes it if none was asked for.
        at_once: whether several are coded in one call; not if they are read while they are coded.
    """

    suffixes: frozenset[str]
    codec: str
    at_once: bool = True

    @abstractmethod
    def read(self, source: bytes | Path, name: str, variables: list[str] | None) -> Any:
        """A signal from a file."""

    @abstractmethod
    def to_bytes(self, signal: Any, suffix: str) -> bytes:
        """A file of a signal, of the type its suffix names."""

    def write(self, signal: Any, path: Path | None, usual: str) -> tuple[str, ...]:
        """A file of a signal where the command's output goes; of the usual type on standard output. -> notes
        of what the file does not hold."""
        write_output(path, self.to_bytes(signal, usual if path is None else path.suffix))
        return ()

    @abstractmethod
    def usual_suffix(self, reader: Any) -> str:
        """What a .tsr file decodes to if nothing was said."""

    @abstractmethod
    def describe(self, signal: Any, size: int) -> tuple[str, str, dict[str, Any]]:
        """(what it is, how small its file of `size` bytes is, facts)."""

    def encode_to(self, codec: Any, signal: Any, path: Path | None, options: dict[str, Any]) -> int | None:
        """Encode straight into a file, for signals that need not fit in memory; its size, or None if the kind
        does not, or not there.
        """
        return None

    def decode_to(self, codec: Any, reader: Any, path: Path, options: dict[str, Any]) -> Any | None:
        """Decode straight into a file, for signals that need not fit in memory; the signal's description, or
        None if the kind does not.
        """
        return None


class ImageKind(Kind):
    suffixes = frozenset(
        {".png", ".jpg", ".jpeg", ".webp", ".avif", ".tif", ".tiff", ".bmp", ".ppm", ".pgm", ".gif", ".jp2"}
    )
    codec = "image"

    def read(self, source: bytes | Path, name: str, variables: list[str] | None) -> Any:
        from tersor.files.coerce import as_image

        if variables:
            raise SignalError(f"{name}: an image has no variables; leave out --variables")
        return as_image(source)

    def to_bytes(self, signal: Any, suffix: str) -> bytes:
        from tersor.files.image import image_bytes

        return image_bytes(signal, suffix)

    def usual_suffix(self, reader: Any) -> str:
        return ".png"

    def describe(self, signal: Any, size: int) -> tuple[str, str, dict[str, Any]]:
        bpp = 8 * size / (signal.width * signal.height)
        return (
            f"{signal.width}x{signal.height}",
            f"{size:,} bytes  {bpp:.3f} bpp  {signal.nbytes / size:.1f}:1",
            {"bpp": round(bpp, 4)},
        )


class FieldKind(Kind):
    suffixes = frozenset({".npy", ".npz", ".nc", ".nc4", ".cdf", ".h5", ".hdf5", ".he5", ".zarr"})
    codec = "field"

    def read(self, source: bytes | Path, name: str, variables: list[str] | None) -> Any:
        from tersor.files.field import read_field

        return read_field(source, variables)

    def to_bytes(self, signal: Any, suffix: str) -> bytes:
        from tersor.files.field import field_bytes

        return field_bytes(signal, suffix)

    def write(self, signal: Any, path: Path | None, usual: str) -> tuple[str, ...]:
        from tersor.files.field import field_file, write_field

        if path is not None and path.suffix.lower() == FOLDER:
            return write_field(signal, path)
        data, notes = field_file(signal, usual if path is None else path.suffix)
        write_output(path, data)
        return notes

    def usual_suffix(self, reader: Any) -> str:
        from tersor.codecs.field.header import FieldHeader
        from tersor.codecs.field.metadata import unpack_attributes

        if source := unpack_attributes(reader.metadata).encoding.get("source"):
            return str(source) if source in self.suffixes else ".nc"
        variables = FieldHeader.unpack(reader.header, len(reader.chunk_lengths)).variables
        return ".npy" if len(variables) == 1 and not variables[0].name else ".nc"

    def describe(self, signal: Any, size: int) -> tuple[str, str, dict[str, Any]]:
        if hasattr(signal, "fields"):
            what = f"{len(signal.fields)} variable{'s' * (len(signal.fields) != 1)}"
        else:
            what = f"{signal.values.dtype} {'x'.join(map(str, signal.values.shape)) or 'scalar'}"
        ratio = signal.nbytes / size
        return what, f"{size:,} bytes  {ratio:.1f}:1", {"ratio": round(ratio, 3)}


class IntegersKind(Kind):
    """Images and arrays; never the kind of a suffix, since both have their own."""

    suffixes = frozenset()
    codec = "lossless"

    def read(self, source: bytes | Path, name: str, variables: list[str] | None) -> Any:
        of = KINDS["field"] if Path(name).suffix.lower() in KINDS["field"].suffixes else KINDS["image"]
        return of.read(source, name, variables)

    def to_bytes(self, signal: Any, suffix: str) -> bytes:
        return self._of(signal).to_bytes(signal, suffix)

    def usual_suffix(self, reader: Any) -> str:
        from tersor.codecs.lossless.header import ARRAY, LosslessHeader

        return (
            ".npy"
            if LosslessHeader.unpack(reader.header, len(reader.chunk_lengths)).kind == ARRAY
            else ".png"
        )

    def describe(self, signal: Any, size: int) -> tuple[str, str, dict[str, Any]]:
        return self._of(signal).describe(signal, size)

    def _of(self, signal: Any) -> Kind:
        return KINDS["image" if hasattr(signal, "samples") else "field"]


class AudioKind(Kind):
    suffixes = frozenset(
        {".wav", ".flac", ".mp3", ".ogg", ".oga", ".opus", ".m4a", ".aac", ".aiff", ".aif", ".wma"}
    )
    codec = "audio"
    at_once = False

    def read(self, source: bytes | Path, name: str, variables: list[str] | None) -> Any:
        from tersor.files.audio import AudioReader

        if variables:
            raise SignalError(f"{name}: a sound has no variables; leave out --variables")
        return AudioReader(source)

    def to_bytes(self, signal: Any, suffix: str) -> bytes:
        from tersor.files.audio import audio_bytes

        return audio_bytes(signal, suffix)

    def usual_suffix(self, reader: Any) -> str:
        return ".wav"

    def describe(self, signal: Any, size: int) -> tuple[str, str, dict[str, Any]]:
        seconds = signal.seconds or 1 / signal.rate
        kbps = 8 * size / seconds / 1000
        raw = signal.seconds * signal.rate * signal.channels * signal.bits / 8
        plural = "s" * (signal.channels != 1)
        what = f"{signal.seconds:.2f} s  {signal.rate} Hz  {signal.channels} channel{plural}"
        return (
            what,
            f"{size:,} bytes  {kbps:.2f} kbps  {raw / size:.1f}:1",
            {"bitrate_kbps": round(kbps, 3), "seconds_of_sound": round(signal.seconds, 3)},
        )

    def encode_to(self, codec: Any, signal: Any, path: Path | None, options: dict[str, Any]) -> int | None:
        from tersor.files.atomic import atomic_file

        if path is None or (path.exists() and not path.is_file()):  # standard output, a device or a pipe
            return None
        with atomic_file(prepared(path)) as file:
            return int(codec.encode_to(file, signal, **options))

    def decode_to(self, codec: Any, reader: Any, path: Path, options: dict[str, Any]) -> Any | None:
        from tersor.files.atomic import atomic_file
        from tersor.files.audio import AudioWriter

        sound = codec.open(reader, **options)
        with atomic_file(path) as file:
            writer = AudioWriter(
                file, path.suffix, sound.rate, sound.channels, sound.dtype, sound.bits, dict(sound.tags)
            )
            for x in sound.blocks():
                writer.write(x)
            writer.close()
        if writer.lost:
            sound.notes += (f"a {path.suffix} file holds no {', '.join(writer.lost)}; .flac does",)
        return sound


KINDS: dict[str, Kind] = {
    "image": ImageKind(),
    "field": FieldKind(),
    "integers": IntegersKind(),
    "audio": AudioKind(),
}
SIGNAL_SUFFIXES = frozenset().union(*(k.suffixes for k in KINDS.values()))


def codec_of(name: str, asked: str | None) -> str:
    """The codec for an input: the one asked for, or by the suffix; image if that says nothing."""
    suffix = Path(name).suffix.lower()
    return asked or next((k.codec for k in KINDS.values() if suffix in k.suffixes), "image")
