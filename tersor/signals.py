"""Signals: samples plus the metadata that must survive a round trip."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from tersor.errors import SignalError

if TYPE_CHECKING:
    import PIL.Image
    import torch

MAX_PIXELS = 1 << 29
MAX_SIDE = 1 << 24
MIN_RATE, MAX_RATE = 1000, 768_000
MAX_CHANNELS = 8
AUDIO_TYPES = tuple(np.dtype(t) for t in ("i2", "i4", "f4", "f8", "u1"))
SAMPLE_TYPES = (np.dtype(np.uint8), np.dtype(np.uint16))


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """A still image; `np.asarray(image)` is its samples.

    Attributes:
        samples: uint8 or uint16 [H, W, C]; C is 1 (grey), 2 (grey, alpha), 3 (RGB) or 4 (RGB, alpha); rows from the top, not yet turned by EXIF orientation.
        metadata: "icc", "exif", "xmp" blocks as found in the file.
        notes: what was changed on the way in, for people ("palette converted to RGB").
        exact: False if the file held more than these samples (16 bits reduced to 8, CMYK converted).

    Raises:
        SignalError: samples of another type or shape, or no pixels.
    """

    samples: NDArray[Any]
    metadata: Mapping[str, bytes] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    exact: bool = True

    def __post_init__(self) -> None:
        s = self.samples
        if s.dtype not in SAMPLE_TYPES:
            raise SignalError(f"image samples are {s.dtype}; allowed are uint8 and uint16: scale and round floats to one of them first")
        if s.ndim != 3 or s.shape[2] not in (1, 2, 3, 4):
            raise SignalError(f"image samples have shape {s.shape}; needed is [H, W, C] with C of 1, 2, 3 or 4")
        if 0 in s.shape:
            raise SignalError(f"the image is {s.shape[1]}x{s.shape[0]} pixels: there is nothing to encode")
        if s.shape[0] * s.shape[1] > MAX_PIXELS or max(s.shape[:2]) > MAX_SIDE:
            raise SignalError(f"the image is {s.shape[1]}x{s.shape[0]} pixels; allowed are {MAX_PIXELS} in all and {MAX_SIDE} a side: split it first")

    @property
    def width(self) -> int:
        return int(self.samples.shape[1])

    @property
    def height(self) -> int:
        return int(self.samples.shape[0])

    @property
    def nbytes(self) -> int:
        return int(self.samples.nbytes)

    @property
    def bits_per_sample(self) -> int:
        return 8 * self.samples.dtype.itemsize

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(self.samples, dtype=dtype) if copy or dtype not in (None, self.samples.dtype) else self.samples

    def __repr__(self) -> str:
        return f"Image({self.width}x{self.height}, channels={self.samples.shape[2]}, {self.samples.dtype}, metadata={sorted(self.metadata)})"

    def pil(self) -> PIL.Image.Image:
        """As a Pillow image with its ICC profile and EXIF block in `info`.

        Raises:
            SignalError: 16-bit colour, which Pillow has no mode for; `save` writes it, `np.asarray` gives it.
        """
        from tersor.files.images import to_pil

        return to_pil(self)

    def tensor(self) -> torch.Tensor:
        """As a torch tensor, uint8 or uint16 [C, H, W]."""
        import torch

        return torch.from_numpy(np.ascontiguousarray(self.samples.transpose(2, 0, 1)))

    def save(self, path: str | Path) -> None:
        """Write an image file; the suffix names the format (16 bits: .png)."""
        from tersor.files.images import write_image

        write_image(self, Path(path))


def as_image(x: Any) -> Image:
    """Image from a path, the bytes of an image file, a Pillow image, a numpy array or a torch tensor.

    Arrays: uint8 or uint16, numpy [H, W] or [H, W, C], torch [H, W] or [C, H, W].

    Raises:
        SignalError: anything else.
    """
    if isinstance(x, Image):
        return x
    from tersor.files import images

    if isinstance(x, (str, Path)):
        return images.read_image(Path(x))
    if isinstance(x, (bytes, bytearray, memoryview)):
        return images.read_image(bytes(x))
    kinds = {c.__module__.split(".")[0] for c in type(x).__mro__}
    if "PIL" in kinds:
        return images.from_pil(x)
    if "torch" in kinds:
        if x.is_floating_point():
            raise SignalError(f"image samples are {x.dtype}; allowed are uint8 and uint16: scale and round floats to one of them first")
        x = x.detach().cpu().numpy()
        x = x.transpose(1, 2, 0) if x.ndim == 3 else x
    if isinstance(x, np.ndarray) or hasattr(x, "__array__"):
        x = np.asarray(x)
        x = x[:, :, None] if x.ndim == 2 else x
        return Image(samples=x.astype(x.dtype.newbyteorder("="), copy=False))
    raise SignalError(f"cannot make an image of {type(x).__name__}; allowed are paths, bytes of an image file, Pillow images, numpy arrays and torch tensors")


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """A numeric array; `np.asarray(field)` is its values.

    Attributes:
        values: any float or integer dtype, any number of axes; of text (kinds U, S, O) in a FieldSet that was read from a file.
        name: of the variable; may be empty.
        dims: names of the axes, or empty.
        attributes: of the variable: strings, numbers, one-axis arrays.
        exact: code without loss whatever bound is asked for (coordinates).
        notes: what was changed on the way in, for people.
    """

    values: NDArray[Any]
    name: str = ""
    dims: tuple[str, ...] = ()
    attributes: Mapping[str, Any] = field(default_factory=dict)
    exact: bool = False
    notes: tuple[str, ...] = ()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(self.values, dtype=dtype) if copy or dtype not in (None, self.values.dtype) else self.values

    def __repr__(self) -> str:
        return f"Field({self.name!r}, shape={self.values.shape}, {self.values.dtype})"

    @property
    def is_text(self) -> bool:
        return self.values.dtype.kind in "USO"

    @property
    def is_coordinate(self) -> bool:
        """Whether it says where the points of an axis lie: one axis, of its own name."""
        return self.dims == (self.name,)

    @property
    def nbytes(self) -> int:
        return int(self.values.nbytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldSet:
    """Fields of one file, by name.

    Attributes:
        fields: in order.
        attributes: of the whole.
        asked: names that were asked for; the other fields are their coordinates. Empty if all were.
        notes: what was changed on the way in, for people.
    """

    fields: Mapping[str, Field]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    asked: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __getitem__(self, name: str) -> Field:
        return self.fields[name]

    def __repr__(self) -> str:
        return f"FieldSet({', '.join(f'{n}: {list(f.values.shape)}' for n, f in self.fields.items())})"

    @property
    def nbytes(self) -> int:
        return sum(f.nbytes for f in self.fields.values())


def as_field(x: Any) -> Field | FieldSet:
    """Field from a path of a .npy or NetCDF file, a numpy array (masked cells of floats become NaN), a torch tensor, a number, or anything with __array__; FieldSet from
    a dict of arrays.

    Raises:
        SignalError: anything else.
    """
    if isinstance(x, (Field, FieldSet)):
        return x
    if isinstance(x, (str, Path)):
        from tersor.files.fields import read_field

        return read_field(Path(x))
    if isinstance(x, dict):
        parts = {str(k): as_field(v) for k, v in x.items()}
        return FieldSet(fields={k: replace(v, name=k) for k, v in parts.items() if isinstance(v, Field)})
    if "torch" in {c.__module__.split(".")[0] for c in type(x).__mro__}:
        x = x.detach().cpu().numpy()
    if isinstance(x, np.ma.MaskedArray):
        if x.dtype.kind != "f" and x.mask.any():
            raise SignalError(f"a masked array of {x.dtype} has masked cells; fill them and name the value with fill_value")
        x = np.asarray(np.ma.filled(x, np.nan)) if x.dtype.kind == "f" else x.data  # type: ignore[no-untyped-call]
    if isinstance(x, (np.ndarray, np.generic, int, float)) or hasattr(x, "__array__"):
        values = np.asarray(x)
        if values.dtype.kind not in "fiub":
            raise SignalError(f"the array is {values.dtype}; allowed are floats, integers and booleans")
        return Field(values=values)
    raise SignalError(f"cannot make a field of {type(x).__name__}; allowed are paths of .npy and .nc files, numpy arrays, torch tensors and dicts of them")


@dataclass(frozen=True, slots=True, kw_only=True)
class Audio:
    """Sound; `np.asarray(audio)` is its samples.

    Attributes:
        samples: [samples, channels]: int16, int32 (full scale 2^31), uint8 (silence at 128), float32 or float64 (full scale 1); may be empty.
        rate: samples a second.
        bits: significant bits of an integer sample, from the top: 24 for 24-bit sound in int32; all of them if 0.
        tags: title, artist and the like, from the file.
        notes: what was changed on the way in, for people.

    Raises:
        SignalError: samples of another type or shape, a rate or a number of channels that cannot be coded.
    """

    samples: NDArray[Any]
    rate: int
    bits: int = 0
    tags: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        s = self.samples
        if s.dtype not in AUDIO_TYPES:
            raise SignalError(f"audio samples are {s.dtype}; allowed are {', '.join(map(str, AUDIO_TYPES))}: convert them first")
        if s.ndim != 2 or not 1 <= s.shape[1] <= MAX_CHANNELS:
            raise SignalError(f"audio samples have shape {s.shape}; needed is [samples, channels] with 1 to {MAX_CHANNELS} channels")
        if not MIN_RATE <= self.rate <= MAX_RATE:
            raise SignalError(f"the sample rate is {self.rate}; allowed are {MIN_RATE} to {MAX_RATE} samples a second: resample it first")

    @property
    def seconds(self) -> float:
        return len(self.samples) / self.rate

    @property
    def channels(self) -> int:
        return int(self.samples.shape[1])

    @property
    def nbytes(self) -> int:
        return int(self.samples.nbytes)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(self.samples, dtype=dtype) if copy or dtype not in (None, self.samples.dtype) else self.samples

    def __repr__(self) -> str:
        return f"Audio({len(self.samples)} samples at {self.rate}, channels={self.samples.shape[1]}, {self.samples.dtype})"

    def save(self, path: str | Path) -> None:
        """Write a .wav or .flac file."""
        from tersor.files.atomic import write_atomically
        from tersor.files.audio import audio_bytes

        write_atomically(Path(path), audio_bytes(self, Path(path).suffix))


class AudioSource(Protocol):
    """Sound that is read block by block: an opened file."""

    @property
    def rate(self) -> int: ...
    @property
    def channels(self) -> int: ...
    @property
    def dtype(self) -> np.dtype[Any]: ...
    @property
    def bits(self) -> int: ...
    @property
    def tags(self) -> Mapping[str, str]: ...

    def blocks(self) -> Iterator[NDArray[Any]]:
        """Samples [n, channels], in order."""


def audio_source(x: Any, rate: int | None = None) -> AudioSource | Audio:
    """As `as_audio`, but a path or the bytes of a sound file are opened, not read."""
    if isinstance(x, (str, Path, bytes, bytearray, memoryview)):
        from tersor.files.audio import AudioReader

        return AudioReader(Path(x) if isinstance(x, (str, Path)) else bytes(x))
    if hasattr(x, "blocks"):
        return cast(AudioSource, x)
    return as_audio(x, rate)


def as_audio(x: Any, rate: int | None = None) -> Audio:
    """Audio from a path or the bytes of a sound file, a numpy array or a torch tensor.

    Args:
        x: arrays are [samples] or [samples, channels].
        rate: samples a second; needed for arrays.

    Raises:
        SignalError: anything else.
    """
    if isinstance(x, Audio):
        return x
    if isinstance(x, (str, Path, bytes, bytearray, memoryview)):
        from tersor.files.audio import read_audio

        return read_audio(Path(x) if isinstance(x, (str, Path)) else bytes(x))
    if "torch" in {c.__module__.split(".")[0] for c in type(x).__mro__}:
        x = x.detach().cpu().numpy()
    if isinstance(x, np.ndarray) or hasattr(x, "__array__"):
        x = np.asarray(x)
        if rate is None:
            raise SignalError("an array of samples has no sample rate; give it, such as rate=48000")
        x = x[:, None] if x.ndim == 1 else x
        return Audio(samples=x.astype(x.dtype.newbyteorder("="), copy=False), rate=rate)
    raise SignalError(f"cannot make audio of {type(x).__name__}; allowed are paths and bytes of sound files, numpy arrays and torch tensors")
