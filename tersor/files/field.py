"""Files of arrays, in and out: .npy, .npz, NetCDF, HDF5 and Zarr."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tersor.errors import SignalError
from tersor.files.atomic import write_atomically
from tersor.files.hdf5 import HDF5, hdf5_bytes, read_hdf5
from tersor.files.netcdf_zarr import NETCDF, ZARR, netcdf_bytes, read_dataset, write_zarr
from tersor.signals import Field, FieldSet

SUFFIXES = {".npy", ".npz", ZARR} | NETCDF | HDF5


def read_field(source: Path | bytes, variables: Sequence[str] | None = None) -> Field | FieldSet:
    """The array of a .npy file (pickled objects are refused), or the variables of a file that has several.

    Raises:
        SignalError: not such a file, or one without the variables asked for.
    """
    suffix = source.suffix.lower() if isinstance(source, Path) else ""
    if isinstance(source, Path) and suffix in NETCDF | {ZARR}:
        return read_dataset(source, variables)
    if isinstance(source, Path) and suffix in HDF5:
        return read_hdf5(source, variables)
    name = str(source) if isinstance(source, Path) else "standard input"
    try:
        values = np.load(source if isinstance(source, Path) else io.BytesIO(source), allow_pickle=False)
        if not isinstance(values, np.ndarray):
            with values:
                return _archive(values, name, variables)
    except OSError as e:
        raise SignalError(f"{name}: cannot be read ({e.strerror or e})") from e
    except (ValueError, EOFError, zipfile.BadZipFile) as e:
        if isinstance(e, SignalError):
            raise
        raise SignalError(f"{name}: not a .npy or .npz file of numbers ({e})") from e
    if variables:
        raise SignalError(f"{name}: a .npy file has one array without a name; leave out --variables")
    return Field(values=_numbers(values, name))


def _archive(arrays: Any, name: str, variables: Sequence[str] | None) -> FieldSet:
    """The arrays of a .npz file."""
    names = list(arrays.files) if variables is None else list(variables)
    if missing := sorted(set(names) - set(arrays.files)):
        raise SignalError(f"{name}: no array {', '.join(missing)}; it has {', '.join(arrays.files)}")
    if not names:
        raise SignalError(f"{name}: no arrays")
    return FieldSet(fields={n: Field(values=_numbers(arrays[n], f"{name}, {n}"), name=n) for n in names})


def _numbers(values: Any, name: str) -> Any:
    if values.dtype.kind not in "fiub":
        raise SignalError(f"{name}: the array is {values.dtype}; allowed are floats, integers and booleans")
    return values


def field_bytes(signal: Field | FieldSet, suffix: str) -> bytes:
    """A file of arrays.

    Raises:
        SignalError: a suffix that is not supported, or several variables for a file of one.
    """
    suffix = suffix.lower()
    if suffix in NETCDF:
        return netcdf_bytes(signal)
    if suffix in HDF5:
        return hdf5_bytes(signal)
    if suffix == ZARR:
        raise SignalError("a Zarr store is a folder, not a file; give -o a name that ends with .zarr")
    if suffix not in (".npy", ".npz"):
        raise SignalError(f"'{suffix}' is not a format for arrays; allowed are {', '.join(sorted(SUFFIXES))}")
    fields = [signal] if isinstance(signal, Field) else list(signal.fields.values())
    out = io.BytesIO()
    if texts := [
        f.name
        for f in fields
        if (f.is_text and f.name in getattr(signal, "asked", ())) or (f.is_text and suffix == ".npz")
    ]:
        raise SignalError(
            f"{suffix} files hold numbers, not text ({', '.join(texts)}); write .nc, "
            "or choose others with --variables"
        )
    if suffix == ".npz":
        np.savez(out, **{f.name or "field": f.values for f in fields})
        return out.getvalue()
    if isinstance(signal, FieldSet) and len(signal.asked) == 1:
        fields = [signal[signal.asked[0]]]
    if len(fields) != 1:
        raise SignalError(
            f"a .npy file holds one array, not {len(fields)} variables "
            f"({', '.join(f.name for f in fields)}); write .nc, or choose one with --variables"
        )
    np.save(out, fields[0].values, allow_pickle=False)
    return out.getvalue()


def write_field(signal: Field | FieldSet, path: Path) -> None:
    """Write aside, then rename; the suffix names the format.

    Raises:
        SignalError: as `field_bytes`.
    """
    if path.suffix.lower() == ZARR:
        write_zarr(signal, path)
    else:
        write_atomically(path, field_bytes(signal, path.suffix))


def usual_suffix(signal: Field | FieldSet) -> str:
    """The format for a signal when none was asked for."""
    return ".npy" if isinstance(signal, Field) else ".nc"
