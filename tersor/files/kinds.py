"""The kinds of signal: which files, and which signals in memory, are of which kind, how their files are read,
written and described, and which codec codes them. A new kind is added here.
"""

from __future__ import annotations

import io
import math
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from tersor.errors import SignalError
from tersor.files.atomic import atomic_file, prepared, write_output
from tersor.files.audio import SUFFIXES as AUDIO_SUFFIXES
from tersor.files.video import SUFFIXES as VIDEO_SUFFIXES
from tersor.signals import Audio, Field, FieldSet

if TYPE_CHECKING:
    from tersor.container import Reader
    from tersor.signals import Image
    from tersor.signals.tensors import Tensors

FOLDER = ".zarr"  # stores that are folders but count as files


S = TypeVar("S")
Asked = Mapping[str, object]  # options by name


class FileCodec(Protocol):
    """What codes into open files and out of them, as `tersor.Codec` does."""

    @property
    def encode_to(self) -> Callable[..., int]: ...

    @property
    def open(self) -> Callable[..., Any]: ...


class Kind(ABC, Generic[S]):
    """Files of one kind of signal; heavy imports happen inside the methods.

    Attributes:
        suffixes: of its files, lower case.
        codec: that codes it if none was asked for.
        at_once: whether several are coded in one call; not if they are read while they are coded.
        streams: whether standard input is read as it comes, not whole.
    """

    suffixes: frozenset[str]
    codec: str
    at_once: bool = True
    streams: bool = False

    @abstractmethod
    def read(
        self, source: bytes | Path, name: str, variables: list[str] | None, page: int | None = None
    ) -> S:
        """A signal from a file; of pictures of several pages, one of them."""

    @abstractmethod
    def to_bytes(self, signal: S, suffix: str) -> bytes:
        """A file of a signal, of the type its suffix names."""

    def write(self, signal: S, path: Path | None, usual: str) -> tuple[str, ...]:
        """A file of a signal where the command's output goes; of the usual type on standard output. -> notes
        of what the file does not hold."""
        write_output(path, self.to_bytes(signal, usual if path is None else path.suffix))
        return ()

    @abstractmethod
    def describe(self, signal: S, size: int) -> tuple[str, str, dict[str, object]]:
        """(what it is, how small its file of `size` bytes is, facts)."""

    def encode_to(self, codec: FileCodec, signal: S, path: Path | None, options: Asked) -> int | None:
        """Encode straight into a file, a chunk at a time in memory; its size, or None if that cannot be, for
        standard output, a device or a pipe.
        """
        if path is None or (path.exists() and not path.is_file()):
            return None
        with atomic_file(prepared(path)) as file:
            return int(codec.encode_to(file, signal, **options))

    def decode_to(
        self,
        codec: FileCodec,
        reader: Reader,
        path: Path | None,
        options: Asked,
        writing: dict[str, int],
    ) -> S | None:
        """Decode straight into a file, for signals that need not fit in memory; the signal's description, or
        None if the kind does not, or not there.

        Args:
            codec, reader: what decodes, and what.
            path: where to; None is standard output.
            options: of the codec.
            writing: of the writer: crf.
        """
        return None


class ImageKind(Kind["Image"]):
    suffixes = frozenset(
        {".png", ".jpg", ".jpeg", ".webp", ".avif", ".tif", ".tiff", ".bmp", ".ppm", ".pgm", ".gif", ".jp2"}
    )
    codec = "image"

    def read(
        self, source: bytes | Path, name: str, variables: list[str] | None, page: int | None = None
    ) -> Image:
        from tersor.files.coerce import as_image

        if variables:
            raise SignalError(f"{name}: an image has no variables; leave out --variables")
        return as_image(source, page)

    def to_bytes(self, signal: Image, suffix: str) -> bytes:
        from tersor.files.image import image_bytes

        return image_bytes(signal, suffix)

    def write(self, signal: Image, path: Path | None, usual: str) -> tuple[str, ...]:
        from tersor.files.image import image_file

        data, lost = image_file(signal, usual if path is None else path.suffix)
        write_output(path, data)
        return lost

    def describe(self, signal: Image, size: int) -> tuple[str, str, dict[str, object]]:
        bpp = 8 * size / (signal.width * signal.height)
        return (
            f"{signal.width}x{signal.height}",
            f"{size:,} bytes  {bpp:.3f} bpp  {signal.nbytes / size:.1f}:1",
            {"width": signal.width, "height": signal.height, "bpp": round(bpp, 4)},
        )


class FieldKind(Kind["Field | FieldSet"]):
    suffixes = frozenset({".npy", ".npz", ".nc", ".nc4", ".cdf", ".h5", ".hdf5", ".he5", ".zarr"})
    codec = "field"

    def read(
        self, source: bytes | Path, name: str, variables: list[str] | None, page: int | None = None
    ) -> Field | FieldSet:
        from tersor.files.field import read_field

        return read_field(source, variables)

    def to_bytes(self, signal: Field | FieldSet, suffix: str) -> bytes:
        from tersor.files.field import field_bytes

        return field_bytes(signal, suffix)

    def write(self, signal: Field | FieldSet, path: Path | None, usual: str) -> tuple[str, ...]:
        from tersor.files.field import field_file, write_field

        if path is not None and path.suffix.lower() == FOLDER:
            return write_field(signal, path)
        data, notes = field_file(signal, usual if path is None else path.suffix)
        write_output(path, data)
        return notes

    def describe(self, signal: Field | FieldSet, size: int) -> tuple[str, str, dict[str, object]]:
        if hasattr(signal, "fields"):
            what = f"{len(signal.fields)} variable{'s' * (len(signal.fields) != 1)}"
        else:
            what = f"{signal.values.dtype} {'x'.join(map(str, signal.values.shape)) or 'scalar'}"
        ratio = signal.nbytes / size
        return what, f"{size:,} bytes  {ratio:.1f}:1", {"ratio": round(ratio, 3)}

    def decode_to(
        self,
        codec: FileCodec,
        reader: Reader,
        path: Path | None,
        options: Asked,
        writing: dict[str, int],
    ) -> Field | FieldSet | None:
        """A large array straight into a .npy file."""
        import numpy as np

        from tersor.files.field import MAPPED_BYTES, write_npy

        if path is None or path.suffix.lower() != ".npy" or (path.exists() and not path.is_file()):
            return None
        opened = codec.open(reader, **options)
        array = opened.assembly.array
        if array is None:
            return None
        shape, dtype = array.asked_shape, array.v.dtype
        if math.prod(shape) * dtype.itemsize < MAPPED_BYTES:
            return None
        with atomic_file(prepared(path)) as file:
            write_npy(file, shape, dtype, opened.blocks())
        return Field(values=np.load(path, mmap_mode="r"), notes=opened.notes)


class IntegersKind(Kind["Image | Field"]):
    """Images and arrays; never the kind of a suffix, since both have their own."""

    suffixes = frozenset()
    codec = "lossless"

    def read(
        self, source: bytes | Path, name: str, variables: list[str] | None, page: int | None = None
    ) -> Image | Field:
        from tersor.files.coerce import as_integers

        if Path(name).suffix.lower() in KINDS["field"].suffixes:
            return KINDS["field"].read(source, name, variables)
        if variables:
            raise SignalError(f"{name}: an image has no variables; leave out --variables")
        return as_integers(source, page)

    def to_bytes(self, signal: Image | Field, suffix: str) -> bytes:
        return self._of(signal).to_bytes(signal, suffix)

    def write(self, signal: Image | Field, path: Path | None, usual: str) -> tuple[str, ...]:
        return self._of(signal).write(signal, path, usual)

    def describe(self, signal: Image | Field, size: int) -> tuple[str, str, dict[str, object]]:
        return self._of(signal).describe(signal, size)

    def _of(self, signal: Image | Field) -> Kind[Any]:
        return KINDS["image" if hasattr(signal, "samples") else "field"]


class AudioKind(Kind[Any]):
    suffixes = frozenset(AUDIO_SUFFIXES)
    codec = "audio"
    at_once = False

    def read(
        self, source: bytes | Path, name: str, variables: list[str] | None, page: int | None = None
    ) -> Any:
        from tersor.files.audio import AudioReader

        if variables:
            raise SignalError(f"{name}: a sound has no variables; leave out --variables")
        return AudioReader(source)

    def to_bytes(self, signal: Any, suffix: str) -> bytes:
        from tersor.files.audio import audio_bytes

        return audio_bytes(signal, suffix)

    def describe(self, signal: Any, size: int) -> tuple[str, str, dict[str, object]]:
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

    def decode_to(
        self,
        codec: FileCodec,
        reader: Reader,
        path: Path | None,
        options: Asked,
        writing: dict[str, int],
    ) -> Any | None:
        from tersor.files.audio import AudioWriter

        if path is None:
            return None
        sound = codec.open(reader, **options)
        with atomic_file(prepared(path)) as file:
            writer = AudioWriter(
                file,
                path.suffix,
                sound.rate,
                sound.channels,
                sound.dtype,
                sound.bits,
                dict(sound.tags),
                sound.layout,
            )
            for x in sound.blocks():
                writer.write(x)
            writer.close()
        sound.note(*writer.notes)
        return sound


class TensorsKind(Kind["Tensors"]):
    suffixes = frozenset({".safetensors", ".safetensors.index.json"})
    codec = "tensor"
    at_once = False

    def read(
        self, source: bytes | Path, name: str, variables: list[str] | None, page: int | None = None
    ) -> Tensors:
        from tersor.files.tensors import read_tensors

        if variables:
            raise SignalError(f"{name}: tensors are coded together; leave out --variables")
        return read_tensors(source)

    def to_bytes(self, signal: Tensors, suffix: str) -> bytes:
        from tersor.files.tensors import pieces

        return b"".join(pieces(signal, suffix))

    def write(self, signal: Tensors, path: Path | None, usual: str) -> tuple[str, ...]:
        from tersor.files.tensors import write_tensors

        if path is None:
            return super().write(signal, path, ".safetensors")
        write_tensors(signal, prepared(path))
        return ()

    def describe(self, signal: Tensors, size: int) -> tuple[str, str, dict[str, object]]:
        plural = "s" * (len(signal) != 1)
        ratio = signal.nbytes / size
        return (
            f"{len(signal)} tensor{plural}  {signal.nbytes:,} bytes",
            f"{size:,} bytes  {100 * size / max(1, signal.nbytes):.2f} %",
            {"ratio": round(ratio, 3)},
        )


class VideoKind(Kind[Any]):
    suffixes = VIDEO_SUFFIXES
    codec = "video"
    at_once = False
    streams = True

    def read(
        self, source: bytes | Path, name: str, variables: list[str] | None, page: int | None = None
    ) -> Any:
        from tersor.files.video import open_video

        if variables:
            raise SignalError(f"{name}: a video has no variables; leave out --variables")
        return open_video(source)

    def to_bytes(self, signal: Any, suffix: str) -> bytes:
        from tersor.files.video_write import write_y4m

        out = io.BytesIO()
        write_y4m(signal, out)
        return out.getvalue()

    def describe(self, signal: Any, size: int) -> tuple[str, str, dict[str, object]]:
        frames, seconds = len(signal.timing), signal.timing.seconds
        kbps = 8 * size / max(seconds, 1e-9) / 1000
        bpp = 8 * size / max(1, frames * signal.format.width * signal.format.height)
        what = f"{frames} frames of {signal.format.width}x{signal.format.height}  {seconds:.2f} s"
        facts = {"frames": frames, "seconds_of_video": round(seconds, 3), "bitrate_kbps": round(kbps, 3)}
        return what, f"{size:,} bytes  {kbps:.1f} kbps  {bpp:.4f} bpp", {**facts, "bpp": round(bpp, 5)}

    def decode_to(
        self,
        codec: FileCodec,
        reader: Reader,
        path: Path | None,
        options: Asked,
        writing: dict[str, int],
    ) -> Any | None:
        from tersor.files.video_write import check_suffix, write_video, write_y4m

        if path is not None:
            check_suffix(path.suffix)
        video = codec.open(reader, **options)
        if path is None:
            lost = write_y4m(video, sys.stdout.buffer)
            sys.stdout.buffer.flush()
        else:
            lost = write_video(video, prepared(path), **writing)
        video.notes += lost  # what was damaged is known after the last frame
        return video


def without_metadata(signal: object) -> Image:
    """An image without what tells of people, places and tools.

    Raises:
        SignalError: another kind of signal.
    """
    from tersor.files.image_metadata import stripped
    from tersor.signals import Image

    if not isinstance(signal, Image):
        raise SignalError("--strip is for images; leave it out")
    return stripped(signal)


KINDS: dict[str, Kind[Any]] = {
    "image": ImageKind(),
    "field": FieldKind(),
    "integers": IntegersKind(),
    "audio": AudioKind(),
    "tensors": TensorsKind(),
    "video": VideoKind(),
}
SIGNAL_SUFFIXES = frozenset().union(*(k.suffixes for k in KINDS.values()))


def codec_of(x: object, asked: str | None = None) -> str:
    """The codec for a signal or the name of a file: the one asked for, or that of its type or suffix; image
    if that says nothing.
    """
    if asked:
        return asked
    if isinstance(x, Audio) or (hasattr(x, "blocks") and hasattr(x, "rate")):
        return KINDS["audio"].codec
    if isinstance(x, (Field, FieldSet, Mapping)):
        return KINDS["field"].codec
    name = str(x).lower() if isinstance(x, (str, Path)) else ""
    return next((k.codec for k in KINDS.values() if any(map(name.endswith, k.suffixes))), "image")
