"""Anything people hold (paths, bytes, arrays, tensors, Pillow images) -> a signal."""

from __future__ import annotations

import os
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import numpy as np

from tersor.arrays import Numbers, Samples
from tersor.errors import SignalError
from tersor.signals.audio import Audio, AudioSource
from tersor.signals.colour import RGB_CODED, Colour, Planes, from_rgb
from tersor.signals.field import Field, FieldSet
from tersor.signals.image import Image
from tersor.signals.timing import Timing
from tersor.signals.video import MAX_DEPTH, Video, VideoFormat, VideoSource

ARRAY_SUFFIXES = (".npy", ".npz", ".nc", ".nc4", ".cdf", ".h5", ".hdf5", ".he5", ".zarr")


def as_image(x: Any, page: int | None = None) -> Image:
    """Image from a path, a file open for reading, the bytes of an image file, a Pillow image, a numpy array
    or a torch tensor.

    Args:
        x: arrays: uint8 or uint16, numpy [H, W] or [H, W, C], torch [H, W] or [C, H, W].
        page: of a file of several pictures, from 1.

    Raises:
        SignalError: anything else.
    """
    if isinstance(x, Image):
        return x
    from tersor.files import image as images

    file = _file(x)
    if file is not None:
        return images.read_image(file, page)
    kinds = {c.__module__.split(".")[0] for c in type(x).__mro__}
    if "PIL" in kinds:
        return images.from_pil(x)
    if "torch" in kinds:
        if x.is_floating_point():
            raise SignalError(
                f"image samples are {x.dtype}; allowed are uint8 and uint16: "
                "scale and round floats to one of them first"
            )
        x = x.detach().cpu().numpy()
        x = x.transpose(1, 2, 0) if x.ndim == 3 else x
    if isinstance(x, np.ndarray) or hasattr(x, "__array__"):
        x = _unmasked(x)
        x = x[:, :, None] if x.ndim == 2 else x
        return Image(samples=x.astype(x.dtype.newbyteorder("="), copy=False))
    raise SignalError(
        f"cannot make an image of {type(x).__name__}; allowed are paths, open files and bytes of an image "
        "file, Pillow images, numpy arrays and torch tensors"
    )


def _file(x: Any) -> Path | bytes | None:
    """The path or the bytes of a file, if that is what x is."""
    if isinstance(x, (str, os.PathLike)):
        return Path(x)
    if isinstance(x, (bytes, bytearray, memoryview)):
        return bytes(x)
    if callable(getattr(x, "read", None)) and not hasattr(x, "__array__"):
        data = x.read()
        if not isinstance(data, bytes):
            raise SignalError(f"the open file gives {type(data).__name__}; open it for bytes, with mode 'rb'")
        return data
    return None


def _unmasked(x: Any) -> Numbers:
    """An array without a mask.

    Raises:
        SignalError: masked cells, which samples cannot say.
    """
    if isinstance(x, np.ma.MaskedArray):
        if np.ma.is_masked(x):  # type: ignore[no-untyped-call]
            raise SignalError(
                "a masked array has masked cells, which samples cannot say; fill them first, "
                "with x.filled(value)"
            )
        x = x.data
    return np.asarray(x)


def as_field(x: Any) -> Field | FieldSet:
    """Field from a path of a .npy file, a numpy array (masked cells of floats become NaN, of integers the
    fill value, which is kept), a torch tensor, a number, or anything with __array__; FieldSet from paths of
    NetCDF, HDF5 and Zarr, a dict of arrays, xarray's Dataset or DataArray.

    Raises:
        SignalError: anything else.
    """
    if isinstance(x, (Field, FieldSet)):
        return x
    if (file := _file(x)) is not None:
        from tersor.files.field import read_field

        return read_field(file)
    packages = {c.__module__.split(".")[0] for c in type(x).__mro__}
    if "xarray" in packages:
        return _from_xarray(x)
    if isinstance(x, dict):
        parts = {str(k): as_field(v) for k, v in x.items()}
        if nested := [k for k, v in parts.items() if not isinstance(v, Field)]:
            raise SignalError(f"{', '.join(nested)} hold several variables each; give one dict of arrays")
        return FieldSet(fields={k: replace(v, name=k) for k, v in parts.items() if isinstance(v, Field)})
    notes: tuple[str, ...] = ()
    if "torch" in packages:
        x = x.detach().cpu()
        if str(x.dtype) == "torch.bfloat16":  # numpy has none; every bfloat16 is a float32
            x, notes = x.float(), ("bfloat16 kept as float32",)
        x = x.numpy()
    attributes: dict[str, Any] = {}
    if isinstance(x, np.ma.MaskedArray):
        x, attributes = _filled(x)
    if isinstance(x, (np.ndarray, np.generic, int, float)) or hasattr(x, "__array__"):
        values = np.asarray(x)
        if values.dtype.name == "bfloat16":
            values, notes = values.astype(np.float32), ("bfloat16 kept as float32",)
        if values.dtype.kind not in "fiub":
            raise SignalError(f"the array is {values.dtype}; allowed are floats, integers and booleans")
        return Field(values=values, attributes=attributes, notes=notes)
    raise SignalError(
        f"cannot make a field of {type(x).__name__}; allowed are paths of .npy, .nc, .h5 and .zarr files, "
        "numpy arrays, torch tensors, xarray's datasets and arrays, and dicts of arrays"
    )


def _filled(x: Any) -> tuple[Numbers, dict[str, Any]]:
    """A masked array with its masked cells filled: of floats with NaN, of others with their fill value,
    which is then an attribute.

    Raises:
        SignalError: cells that are not masked have the fill value.
    """
    if x.dtype.kind == "f":
        return np.asarray(x.filled(np.nan)), {}
    mask = np.ma.getmaskarray(x)  # type: ignore[no-untyped-call]
    if not mask.any():
        return np.asarray(x.data), {}
    fill = np.asarray(x.fill_value).astype(x.dtype)
    if (x.data[~mask] == fill).any() or x.dtype.kind == "b":
        raise SignalError(
            f"a masked array of {x.dtype} whose fill value {x.fill_value} stands in cells that are not "
            "masked; fill it with a value of your own and name that with fill_value"
        )
    return np.asarray(x.filled(fill)), {"_FillValue": fill[()]}


def _from_xarray(x: Any) -> FieldSet:
    """A Dataset or DataArray, encoded as in a NetCDF file (times as numbers, CF attributes)."""
    import xarray

    from tersor.files.variables import fields_of

    asked: tuple[str, ...] = ()
    if isinstance(x, xarray.DataArray):
        name = str(x.name or "field")
        x, asked = x.to_dataset(name=name), (name,)
    if not isinstance(x, xarray.Dataset):
        raise SignalError(
            f"cannot make a field of xarray's {type(x).__name__}; give a Dataset or a DataArray"
        )
    variables, attributes = xarray.conventions.encode_dataset_coordinates(x)
    variables, attributes = xarray.conventions.cf_encoder(variables, attributes)
    data = xarray.Dataset(variables, attrs=attributes)
    data.encoding = {"unlimited_dims": x.encoding.get("unlimited_dims", ())}
    found = fields_of("the dataset", {"/": data}, None, ".nc")
    return replace(found, asked=asked)


def audio_source(x: Any, rate: int | None = None) -> AudioSource | Audio:
    """As `as_audio`, but a path or the bytes of a sound file are opened, not read."""
    if not hasattr(x, "blocks") and (file := _file(x)) is not None:
        from tersor.files.audio import AudioReader

        return AudioReader(file)
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
    if (file := _file(x)) is not None:
        from tersor.files.audio import read_audio

        return read_audio(file)
    if "torch" in {c.__module__.split(".")[0] for c in type(x).__mro__}:
        x = x.detach().cpu().numpy()
    if isinstance(x, np.ndarray) or hasattr(x, "__array__"):
        x = _unmasked(x)
        if rate is None:
            raise SignalError("an array of samples has no sample rate; give it, such as rate=48000")
        x = x[:, None] if x.ndim == 1 else x
        return Audio(samples=x.astype(x.dtype.newbyteorder("="), copy=False), rate=rate)
    raise SignalError(
        f"cannot make audio of {type(x).__name__}; allowed are paths and bytes of sound files, "
        "numpy arrays and torch tensors"
    )


def video_source(x: Any, fps: float | None = None) -> VideoSource:
    """A source of frames from a `Video`, a path or the bytes of a video file, an opened reader, a numpy array
    or a torch tensor of RGB frames.

    Raises:
        SignalError: anything else.
    """
    if isinstance(x, Video) or (hasattr(x, "frames") and hasattr(x, "timing")):
        return cast(VideoSource, x)
    if isinstance(x, (str, Path, bytes, bytearray, memoryview)):
        from tersor.files.video import open_video

        return open_video(Path(x) if isinstance(x, (str, Path)) else bytes(x))
    if "torch" in {c.__module__.split(".")[0] for c in type(x).__mro__}:
        x = x.detach().cpu().numpy()
        x = x.transpose(0, 2, 3, 1) if x.ndim == 4 and x.shape[1] == 3 else x
    if hasattr(x, "__array__"):
        if fps is None:
            raise SignalError("an array of frames has no frame rate; give it, such as fps=25")
        x = np.asarray(x)
        return video_of_rgb(x.astype(x.dtype.newbyteorder("="), copy=False), fps)
    raise SignalError(
        f"cannot make a video of {type(x).__name__}; allowed are paths and bytes of video "
        "files, numpy arrays and torch tensors [T, H, W, 3]"
    )


def video_of_rgb(rgb: Samples, rate: Fraction | float, depth: int = 8) -> Video:
    """A video from an array of RGB or grey frames, coded as Y, Cb, Cr 4:4:4 of full range.

    Args:
        rgb: uint8 (or uint16 of `depth` bits) [T, H, W, 3] or [T, H, W].
        rate: frames a second.
        depth: bits of a sample.

    Raises:
        SignalError: an array of another shape or type.
    """
    if rgb.dtype not in (np.dtype(np.uint8), np.dtype(np.uint16)) or (rgb.dtype == np.uint8) != (depth == 8):
        raise SignalError(
            f"frames are {rgb.dtype} of {depth} bits; allowed are uint8, or uint16 with depth= 9 "
            f"to {MAX_DEPTH}"
        )
    if rgb.ndim not in (3, 4) or (rgb.ndim == 4 and rgb.shape[3] != 3):
        raise SignalError(
            f"frames have shape {list(rgb.shape)}; needed is [T, H, W, 3], or [T, H, W] for grey"
        )
    grey = rgb.ndim == 3
    colour = Colour(range="full") if grey else RGB_CODED
    planes: Planes = (
        (rgb,) if grey else tuple(np.stack(p) for p in zip(*(from_rgb(x, depth) for x in rgb), strict=True))
    )
    if not grey and not len(rgb):
        planes = tuple(rgb[..., i] for i in range(3))
    form = VideoFormat(
        width=rgb.shape[2],
        height=rgb.shape[1],
        depth=depth,
        subsampling="400" if grey else "444",
        colour=colour,
    )
    return Video(planes=planes, format=form, timing=Timing.constant(as_rate(rate), len(rgb)))


def as_rate(rate: Any) -> Fraction:
    """A frame rate as a fraction: 29.97 and the like become the 30000/1001 they stand for.

    Raises:
        SignalError: not a positive number.
    """
    try:
        exact = Fraction(rate)
    except (TypeError, ValueError, OverflowError):
        raise SignalError(
            f"the frame rate is {rate!r}; needed is a positive number of frames a second, such as 25"
        ) from None
    film = Fraction(round(exact * Fraction(1001, 1000)) * 1000, 1001)
    if isinstance(rate, float) and exact > 0:
        exact = (
            film
            if film and abs(film - exact) < Fraction(1, 200) and exact.denominator > 1
            else exact.limit_denominator(100_000)
        )
    if exact <= 0:
        raise SignalError(
            f"the frame rate is {rate!r}; needed is a positive number of frames a second, such as 25"
        )
    return exact


def as_video(x: Any, fps: float | None = None) -> Video:
    """A `Video` in memory, from anything that `video_source` takes."""
    source = video_source(x, fps)
    if isinstance(source, Video):
        return source
    from tersor.files.video import in_memory

    return in_memory(source)


def as_integers(x: Any, page: int | None = None) -> Image | Field:
    """An image, or an array of integers; of a file of several pictures, or of other integers than an image
    holds, the array of all: [pages, H, W, channels].

    Raises:
        SignalError: floats, several variables, or an image whose samples were changed when it was read.
    """
    signal: Any = _picture_or_array(x, page) if _is_image(x) else as_field(x)
    if isinstance(signal, Image):
        if not signal.exact:
            raise SignalError(
                f"lossless coding needs the samples as they are: {'; '.join(signal.notes)}; "
                "convert the file to PNG with a tool that keeps them, or encode its samples as an array"
            )
        return signal
    if not isinstance(signal, Field):
        raise SignalError(
            f"lossless coding takes one array, not {len(signal.fields)} variables; "
            "use codec='field' with lossless=True"
        )
    if signal.values.dtype.kind not in "iub":
        raise SignalError(
            f"the array is {signal.values.dtype}; lossless codes integers and booleans: "
            "use codec='field' with lossless=True for floats"
        )
    return signal


def _picture_or_array(x: Any, page: int | None) -> Image | Field:
    from tersor.files.image import read_pages

    file = _file(x)
    if file is None or page is not None:
        return as_image(x if file is None else file, page)
    pages = read_pages(file)
    return as_image(file) if pages is None else pages


def _is_image(x: Any) -> bool:
    if isinstance(x, (str, os.PathLike)):
        return Path(x).suffix.lower() not in ARRAY_SUFFIXES
    if callable(getattr(x, "read", None)) and not hasattr(x, "__array__"):
        return True
    return isinstance(x, (Image, bytes, bytearray, memoryview)) or "PIL" in {
        c.__module__.split(".")[0] for c in type(x).__mro__
    }
