"""The front door: encode, decode, open, info, list_codecs, Codec. Importing it imports no torch."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol, TypedDict, cast

from tersor import registry
from tersor.arrays import Numbers
from tersor.container import Reader
from tersor.errors import SignalError, unreadable
from tersor.facts import Facts
from tersor.files.kinds import codec_of

if TYPE_CHECKING:
    from typing import Unpack

    from tersor.codecs.asked import AnyDecodeOptions, AnyEncodeOptions

Progress = Callable[[int, int], None]
Source = bytes | bytearray | memoryview | Reader | str | Path


class Opened(Protocol):
    """A file that is decoded piece by piece; of sound also its rate, channels, dtype, bits and tags."""

    @property
    def notes(self) -> tuple[str, ...]: ...
    def blocks(self) -> Iterator[Numbers]:
        """Pieces that join along the first axis: rows of an image [h, W, C], slabs of an array, samples
        [n, channels].
        """


class Codec:
    """A codec on a device, for many signals.

    Args:
        name: of the codec; see `list_codecs`.
        device: "auto" (CUDA where there is one), "cpu" or "cuda".
        batch: tiles that share a batch on the device; the codec's default if None.
        threads: at work at a time, torch's own included; all cores if None, and one in a worker process (of a
            DataLoader, say).

    Example:
        codec = tersor.Codec("image", device="cuda")
        files = codec.encode_batch(list_of_images, quality=60)
        images = codec.decode_batch(files)
    """

    def __init__(
        self,
        name: str = "image",
        *,
        device: str = "auto",
        batch: int | None = None,
        threads: int | None = None,
    ) -> None:
        self.entry = registry.by_name(name)
        given = {k: v for k, v in {"batch": batch, "threads": threads}.items() if v is not None}
        make = registry.resolve(self.entry.codec)
        self._codec: registry.AnyCodec = make(device=device, **given)

    def __repr__(self) -> str:
        return f"Codec({self.entry.name!r}, device={self.device!r})"

    @property
    def device(self) -> str:
        return str(self._codec.device)

    def encode_batch(
        self,
        signals: Sequence[object],
        *,
        progress: Progress | None = None,
        **options: Unpack[AnyEncodeOptions],
    ) -> list[bytes]:
        """One .tsr file for each signal; options are the codec's (docs/codecs/), `progress` is called with
        (done, in all).
        """
        self._check(options, self._codec.encode_options)
        return self._codec.encode_batch(signals, progress=progress, **options)

    def decode_batch(
        self,
        files: Sequence[Source],
        *,
        progress: Progress | None = None,
        **options: Unpack[AnyDecodeOptions],
    ) -> list[Any]:
        """One signal for each .tsr file: bytes, a path or an opened container."""
        self._check(options, self._codec.decode_options)
        return self._codec.decode_batch(files, progress=progress, **options)

    def encode_to(
        self,
        file: BinaryIO,
        signal: Any,
        *,
        progress: Progress | None = None,
        **options: Unpack[AnyEncodeOptions],
    ) -> int:
        """Encode one signal into an empty file that can be read and sought, a chunk at a time in memory;
        arrays may be mapped from a file (np.load(path, mmap_mode="r")). -> bytes written.

        Raises:
            SignalError: the codec codes whole signals only.
        """
        self._check(options, self._codec.encode_options)
        return cast(int, self._can("encode_to")(file, signal, progress=progress, **options))

    def open(
        self, file: bytes | Reader, *, progress: Progress | None = None, **options: Unpack[AnyDecodeOptions]
    ) -> Opened:
        """A file to be decoded piece by piece: `.blocks()` yields rows, slabs or samples, `.notes` says then
        what was damaged.

        Raises:
            SignalError: the codec decodes whole signals only.
        """
        self._check(options, self._codec.decode_options)
        return cast(Opened, self._can("open")(file, progress=progress, **options))

    def decode_into(
        self,
        file: bytes | Reader,
        room: Any,
        *,
        progress: Progress | None = None,
        **options: Unpack[AnyDecodeOptions],
    ) -> Any:
        """As `decode`, with the arrays of the signal where `room(shape, dtype)` makes place for them, such as
        `tersor.files.spool.Spool().room`: on disk, where they are large.
        """
        if not hasattr(self._codec, "open"):
            return self.decode(file, progress=progress, **options)
        return cast(Any, self.open(file, progress=progress, **options)).read(room)

    def stream(self, **options: object) -> Any:
        """Encode a signal as it comes; see `tersor.codecs.audio.stream.AudioStream` and
        `tersor.codecs.video.stream.VideoStream`.

        Raises:
            SignalError: the codec has no streams.
        """
        return self._can("stream")(**options)

    def _can(self, name: str) -> Any:
        if not hasattr(self._codec, name):
            raise SignalError(
                f"the codec '{self.entry.name}' has no streams, and no {name}; use encode and decode"
            )
        return getattr(self._codec, name)

    def _check(self, options: Mapping[str, object], known: Iterable[str]) -> None:
        if unknown := sorted(set(options) - set(known)):
            raise SignalError(
                f"the codec '{self.entry.name}' has no option {', '.join(unknown)}; it has {', '.join(known)}"
            )

    def encode(
        self, signal: Any, *, progress: Progress | None = None, **options: Unpack[AnyEncodeOptions]
    ) -> bytes:
        """A batch of one."""
        return self.encode_batch([signal], progress=progress, **options)[0]

    def decode(
        self, file: Source, *, progress: Progress | None = None, **options: Unpack[AnyDecodeOptions]
    ) -> Any:
        """A batch of one."""
        return self.decode_batch([file], progress=progress, **options)[0]


def encode(
    x: object,
    *,
    codec: str | None = None,
    device: str = "auto",
    threads: int | None = None,
    progress: Progress | None = None,
    **options: Unpack[AnyEncodeOptions],
) -> bytes:
    """Encode one signal to the bytes of a .tsr file.

    Args:
        x: a path of a picture, sound or array file; an Image, Audio, Field, FieldSet or dict of arrays. For
            "image" also the bytes of an image file, a Pillow image, numpy [H, W] or [H, W, C], or torch
            [C, H, W], uint8 or uint16; for "field" and "lossless" any numeric array; for "audio" the bytes of
            a sound file, or an array [samples, channels] with rate=; for "video" RGB frames [T, H, W, 3] with
            fps=.
        codec: name of the codec; None for that of the signal's type or the file's suffix, else image.
        device: "auto", "cpu" or "cuda".
        threads: at work at a time; all cores if None.
        progress: called with (done, in all).
        options: of the codec; see docs/codecs/.

    Raises:
        SignalError: a signal or option that cannot be coded.
    """
    name = codec_of(x, codec)
    return Codec(name, device=device, threads=threads).encode(x, progress=progress, **options)


def decode(
    data: bytes | bytearray | memoryview,
    *,
    device: str = "auto",
    threads: int | None = None,
    progress: Progress | None = None,
    **options: Unpack[AnyDecodeOptions],
) -> Any:
    """Decode the bytes of a .tsr file to an Image, a Field, a FieldSet, an Audio, a Video or Tensors;
    `np.asarray(result)` is the samples.

    Args:
        data: the file.
        device: "auto", "cpu" or "cuda".
        threads: at work at a time; all cores if None.
        progress: called with (done, in all).
        options: of the codec, such as region=(x, y, width, height), slices, start and stop, salvage; see
            docs/codecs/.

    Raises:
        BitstreamError: a damaged or foreign file.
    """
    if not isinstance(data, (bytes, bytearray, memoryview)):
        raise SignalError(
            f"decode takes the bytes of a .tsr file, not {type(data).__name__}; "
            "use tersor.open(path) for files"
        )
    reader = Reader(data, salvage=bool(options.get("salvage")))
    name = registry.by_wire_id(reader.codec).name
    return Codec(name, device=device, threads=threads).decode(reader, progress=progress, **options)


class File:
    """A .tsr file opened for reading; samples are decoded when asked for, from only the tiles they need.

    Args:
        source: a path, or a binary file that can be sought, which stays the caller's to close.
        device: "auto", "cpu" or "cuda".
        threads: at work at a time; all cores if None.

    Attributes:
        info: what the header says, also of a file that is cut short.

    Example:
        with tersor.open("map.tsr") as f:
            print(f.info["width"], f.info["height"])
            corner = np.asarray(f.read(region=(0, 0, 256, 256)))
    """

    def __init__(
        self, source: str | Path | BinaryIO, *, device: str = "auto", threads: int | None = None
    ) -> None:
        self._own: BinaryIO | None = None
        if isinstance(source, (str, Path)):
            try:
                self._own = Path(source).open("rb")  # noqa: SIM115 (closed by close)
            except OSError as e:
                raise unreadable(source, e) from e
        self._device, self._threads = device, threads
        self._codec: Codec | None = None
        try:
            # whether a file that is cut short may be read is said by read
            self.reader = Reader(self._own or cast(BinaryIO, source), salvage=True)
            self.entry = registry.by_wire_id(self.reader.codec)
            self.info: Facts = describe(self.reader)
        except BaseException:
            self.close()
            raise

    @property
    def codec(self) -> Codec:
        if self._codec is None:
            self._codec = Codec(self.entry.name, device=self._device, threads=self._threads)
        return self._codec

    def read(self, *, progress: Progress | None = None, **options: Unpack[AnyDecodeOptions]) -> Any:
        """Decode; options as for `decode`, such as region=(x, y, width, height) and salvage."""
        self._check_length(options)
        return self.codec.decode(self.reader, progress=progress, **options)

    def blocks(
        self, *, progress: Progress | None = None, **options: Unpack[AnyDecodeOptions]
    ) -> Iterator[Numbers]:
        """Decode piece by piece: rows of an image, slabs of an array, samples of sound; see `Codec.open`."""
        self._check_length(options)
        return self.codec.open(self.reader, progress=progress, **options).blocks()

    def _check_length(self, options: Mapping[str, object]) -> None:
        if self.reader.fault and not options.get("salvage"):
            raise self.reader.fault

    def close(self) -> None:
        """Close the file, if it was opened here."""
        if self._own:
            self._own.close()

    def __enter__(self) -> File:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"tersor.File({self.info})"


def open(path: str | Path | BinaryIO, *, device: str = "auto", threads: int | None = None) -> File:
    """Open a .tsr file lazily; see `File`."""
    return File(path, device=device, threads=threads)


def describe(reader: Reader) -> Facts:
    """Facts about an opened file from its header alone."""
    entry = registry.by_wire_id(reader.codec)
    found = registry.resolve(entry.describe)(reader)
    if isinstance(found, Facts):
        return found
    suffix = {"image": ".png", "audio": ".wav"}.get(entry.signal, ".npy")
    return Facts.of(reader, codec=entry.name, signal=entry.signal, suffix=suffix, extra=dict(found))


def info(source: str | Path | bytes) -> Facts:
    """Facts about a .tsr file from its header alone: no model, no decoding.

    Raises:
        BitstreamError: a damaged or foreign file, or one that is cut short.
    """
    if isinstance(source, bytes):
        return describe(Reader(io.BytesIO(source)))
    with open(source) as f:
        if f.reader.fault:
            raise f.reader.fault
        return f.info


class CodecSummary(TypedDict):
    """A codec, as `list_codecs` tells."""

    name: str
    wire_id: int
    summary: str


def list_codecs() -> list[CodecSummary]:
    """Name, wire id and summary of every codec."""
    return [{"name": e.name, "wire_id": e.wire_id, "summary": e.summary} for e in registry.entries().values()]
