"""The front door: encode, decode, open, info, list_codecs, Codec. Importing it imports no torch."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, cast

from tersor import registry
from tersor.container import Reader
from tersor.errors import SignalError
from tersor.signals import Audio, Field, Image, Video


class Codec:
    """A codec on a device, for many signals.

    Args:
        name: of the codec; see `list_codecs`.
        device: "auto" (CUDA where there is one), "cpu" or "cuda".
        batch: tiles that share a batch on the device; the codec's default if None.

    Example:
        codec = tersor.Codec("image", device="cuda")
        files = codec.encode_batch(list_of_images, quality=60)
        images = codec.decode_batch(files)
    """

    def __init__(self, name: str = "image", *, device: str = "auto", batch: int | None = None) -> None:
        self.entry = registry.by_name(name)
        options = {} if batch is None else {"batch": batch}
        self._codec = registry.resolve(self.entry.codec)(device=device, **options)

    def __repr__(self) -> str:
        return f"Codec({self.entry.name!r}, device={self.device!r})"

    @property
    def device(self) -> str:
        return str(self._codec.device)

    def encode_batch(self, signals: Sequence[Any], **options: Any) -> list[bytes]:
        """One .tsr file for each signal; options are the codec's (docs/python.md)."""
        self._check(options, self._codec.encode_options)
        return cast(list[bytes], self._codec.encode_batch(signals, **options))

    def decode_batch(
        self, files: Sequence[bytes | Reader], **options: Any
    ) -> list[Image | Field | Audio | Video]:
        """One signal for each .tsr file."""
        self._check(options, self._codec.decode_options)
        return cast(list[Image | Field | Audio | Video], self._codec.decode_batch(files, **options))

    def encode_to(self, file: BinaryIO, signal: Any, **options: Any) -> int:
        """Audio, video: encode one signal into an empty file that can be read and sought, in memory that
        depends on
        the segment; -> bytes written.

        Raises:
            SignalError: the codec codes whole signals only.
        """
        self._check(options, self._codec.encode_options)
        return cast(int, self._part_by_part("encode_to")(file, signal, **options))

    def open(self, file: Reader, **options: Any) -> Any:
        """Audio, video: a file to be decoded part by part; `.blocks()` yields samples [n, channels] of sound,
        `.frames()` the planes [H, W] of each frame.

        Raises:
            SignalError: the codec codes whole signals only.
        """
        self._check(options, self._codec.decode_options)
        return self._part_by_part("open")(file, **options)

    def stream(self, **options: Any) -> Any:
        """Audio, video: encode what comes as it comes; see `tersor.codecs.audio.stream.AudioStream` and
        `tersor.codecs.video.stream.VideoStream`.

        Raises:
            SignalError: the codec has no streams.
        """
        return self._part_by_part("stream")(**options)

    def _part_by_part(self, name: str) -> Any:
        if not hasattr(self._codec, name):
            raise SignalError(
                f"the codec '{self.entry.name}' has no streams: it codes whole signals, "
                f"with encode and decode; audio and video have {name}"
            )
        return getattr(self._codec, name)

    def _check(self, options: dict[str, Any], known: tuple[str, ...]) -> None:
        if unknown := sorted(set(options) - set(known) - {"progress"}):
            raise SignalError(
                f"the codec '{self.entry.name}' has no option {', '.join(unknown)}; it has {', '.join(known)}"
            )

    def encode(self, signal: Any, **options: Any) -> bytes:
        """A batch of one."""
        return self.encode_batch([signal], **options)[0]

    def decode(self, file: bytes | Reader, **options: Any) -> Any:
        """A batch of one."""
        return self.decode_batch([file], **options)[0]


def encode(x: Any, *, codec: str = "image", device: str = "auto", **options: Any) -> bytes:
    """Encode one signal to the bytes of a .tsr file.

    Args:
        x: "image": a path, the bytes of an image file, a Pillow image, numpy [H, W] or [H, W, C], or torch
            [C, H, W]; uint8 or uint16. "field": any numeric array. "audio": a path or the bytes of a sound
            file, or an array [samples, channels] with rate=. "video": a path or the bytes of a video file, or
            RGB frames [T, H, W, 3] with fps=.
        codec: name of the codec.
        device: "auto", "cpu" or "cuda".
        options: of the codec; for "image": quality (1..100), target_bpp, target_psnr, effort (1..9), tile;
            for "field": one of max_error, rel_error, pointwise_rel_error, target_psnr, target_ratio,
            lossless, and fill_value; for "audio": rate, one of quality, bitrate (kbit/s), lossless, and
            segment (seconds); for "video": one of quality, bitrate (kbit/s), target_psnr; effort, low_delay,
            group (frames), one of no_audio, audio="lossless", audio_bitrate (kbit/s); fps.

    Raises:
        SignalError: a signal or option that cannot be coded.
    """
    return Codec(codec, device=device).encode(x, **options)


def decode(data: bytes | bytearray | memoryview, *, device: str = "auto", **options: Any) -> Any:
    """Decode the bytes of a .tsr file to an Image, a Field, an Audio or a Video; `np.asarray(result)` is the
    samples.

    Args:
        data: the file.
        device: "auto", "cpu" or "cuda".
        options: of the codec; for "image": region (x, y, width, height), salvage; for "field": slices; for
            "audio": start, stop (seconds), salvage; for "video": frames (a slice), or start and stop
            (seconds),
            no_audio, salvage.

    Raises:
        BitstreamError: a damaged or foreign file.
    """
    if not isinstance(data, (bytes, bytearray, memoryview)):
        raise SignalError(
            f"decode takes the bytes of a .tsr file, not {type(data).__name__}; "
            "use tersor.open(path) for files"
        )
    reader = Reader(data, salvage=bool(options.get("salvage")))
    return Codec(registry.by_wire_id(reader.codec).name, device=device).decode(reader, **options)


class File:
    """A .tsr file opened for reading; samples are decoded when asked for, from only the tiles they need.

    Example:
        with tersor.open("map.tsr") as f:
            print(f.info["width"], f.info["height"])
            corner = np.asarray(f.read(region=(0, 0, 256, 256)))
    """

    def __init__(self, source: str | Path | BinaryIO, *, device: str = "auto") -> None:
        if isinstance(source, (str, Path)):
            try:
                self._stream: BinaryIO = Path(source).open("rb")  # noqa: SIM115 (closed by close)
            except OSError as e:
                raise SignalError(f"{source}: cannot be read ({e.strerror})") from e
        else:
            self._stream = source
        self._device = device
        self._codec: Codec | None = None
        try:
            self.reader = Reader(self._stream)
            self.entry = registry.by_wire_id(self.reader.codec)
            self.info: dict[str, Any] = describe(self.reader)
        except BaseException:
            self._stream.close()
            raise

    def read(self, **options: Any) -> Any:
        """Decode; options as for `decode`, such as region=(x, y, width, height)."""
        if self._codec is None:
            self._codec = Codec(self.entry.name, device=self._device)
        return self._codec.decode(self.reader, **options)

    def close(self) -> None:
        self._stream.close()

    def __enter__(self) -> File:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"tersor.File({self.info})"


def open(path: str | Path | BinaryIO, *, device: str = "auto") -> File:
    """Open a .tsr file lazily; see `File`."""
    return File(path, device=device)


def describe(reader: Reader) -> dict[str, Any]:
    entry = registry.by_wire_id(reader.codec)
    facts = registry.resolve(entry.describe)(reader)
    return {
        "codec": entry.name,
        "bytes": reader.size,
        **facts,
        "metadata": sorted(reader.metadata),
        "overhead_bytes": reader.front_size - len(reader.metadata_bytes),
    }


def info(source: str | Path | bytes) -> dict[str, Any]:
    """Facts about a .tsr file from its header alone: no model, no decoding."""
    if isinstance(source, bytes):
        return describe(Reader(io.BytesIO(source)))
    with open(source) as f:
        return f.info


def list_codecs() -> list[dict[str, Any]]:
    """Name, wire id and summary of every codec."""
    return [{"name": e.name, "wire_id": e.wire_id, "summary": e.summary} for e in registry.entries().values()]
