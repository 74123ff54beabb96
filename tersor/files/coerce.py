"""Anything people hold (paths, bytes, arrays, tensors, Pillow images) -> a signal."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from tersor.errors import SignalError
from tersor.signals.audio import Audio, AudioSource
from tersor.signals.field import Field, FieldSet
from tersor.signals.image import Image


def as_image(x: Any) -> Image:
    """Image from a path, the bytes of an image file, a Pillow image, a numpy array or a torch tensor.

    Arrays: uint8 or uint16, numpy [H, W] or [H, W, C], torch [H, W] or [C, H, W].

    Raises:
        SignalError: anything else.
    """
    if isinstance(x, Image):
        return x
    from tersor.files import image as images

    if isinstance(x, (str, Path)):
        return images.read_image(Path(x))
    if isinstance(x, (bytes, bytearray, memoryview)):
        return images.read_image(bytes(x))
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
        x = np.asarray(x)
        x = x[:, :, None] if x.ndim == 2 else x
        return Image(samples=x.astype(x.dtype.newbyteorder("="), copy=False))
    raise SignalError(
        f"cannot make an image of {type(x).__name__}; allowed are paths, bytes of an image file, "
        "Pillow images, numpy arrays and torch tensors"
    )


def as_field(x: Any) -> Field | FieldSet:
    """Field from a path of a .npy file, a numpy array (masked cells of floats become NaN, of integers the
    fill value, which is kept), a torch tensor, a number, or anything with __array__; FieldSet from paths of
    NetCDF, HDF5 and Zarr, a dict of arrays, xarray's Dataset or DataArray.

    Raises:
        SignalError: anything else.
    """
    if isinstance(x, (Field, FieldSet)):
        return x
    if isinstance(x, (str, Path)):
        from tersor.files.field import read_field

        return read_field(Path(x))
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


def _filled(x: Any) -> tuple[NDArray[Any], dict[str, Any]]:
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

    from tersor.files.netcdf_zarr import fields_of

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
    raise SignalError(
        f"cannot make audio of {type(x).__name__}; allowed are paths and bytes of sound files, "
        "numpy arrays and torch tensors"
    )
