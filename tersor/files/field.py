"""Files of arrays, in and out: .npy, .npz, NetCDF, HDF5 and Zarr."""

from __future__ import annotations

import contextlib
import io
import math
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tersor.arrays import Numbers, NumberType
from tersor.errors import SignalError, unreadable
from tersor.files.atomic import atomic_file, write_atomically
from tersor.files.hdf5 import HDF5, hdf5_bytes, read_hdf5, write_hdf5
from tersor.files.netcdf import NETCDF, netcdf_bytes, read_netcdf, write_netcdf
from tersor.files.npz import is_npz, npy_header, read_npz, write_npz
from tersor.files.spool import LARGE_BYTES, allocate, boxes, pour, release
from tersor.files.zarr_store import ZARR, read_zarr, write_zarr
from tersor.signals import Field, FieldSet

STRAY = 30.0  # G: how many times the spread of the middle 96 % an extreme is away before a note says so
NPY_HEADER = 128  # F: bytes of a header without names
TIFF = {".tif", ".tiff"}
REFUSED = {
    ".h4": "HDF4 files are not read; convert it to NetCDF first (h4toncff, or ncks)",
    ".hdf": "HDF4 files are not read: convert it to NetCDF (h4toncff, or ncks); an HDF5 file is named .h5",
    ".grib": "GRIB files are not read; convert it to NetCDF first (cdo -f nc copy, or grib_to_netcdf)",
    ".grb": "GRIB files are not read; convert it to NetCDF first (cdo -f nc copy, or grib_to_netcdf)",
    ".mat": "MATLAB files are not read; those of version 7.3 are HDF5: name them .h5",
}
SUFFIXES = {".npy", ".npz", ZARR} | NETCDF | HDF5


def read_field(source: Path | bytes, variables: Sequence[str] | None = None) -> Field | FieldSet:
    """The array of a .npy file (pickled objects are refused), or the variables of a file that has several;
    bytes are told apart by how they begin.

    Raises:
        SignalError: not such a file, or one without the variables asked for.
    """
    signal = _read(source, variables)
    fields = [signal] if isinstance(signal, Field) else list(signal.fields.values())
    notes = [note for f in fields if (note := stray_values(f))]
    return replace(signal, notes=(*signal.notes, *notes)) if notes else signal


def _read(source: Path | bytes, variables: Sequence[str] | None) -> Field | FieldSet:
    suffix = source.suffix.lower() if isinstance(source, Path) else ""
    name = str(source) if isinstance(source, Path) else "standard input"
    if isinstance(source, bytes):
        suffix = _suffix_of(source)
        if suffix in NETCDF:
            return _from_bytes(source, suffix, variables)
    if isinstance(source, Path) and suffix in NETCDF | {ZARR}:
        return (read_zarr if suffix == ZARR else read_netcdf)(source, variables)
    if suffix in HDF5:
        return read_hdf5(source, variables)
    if suffix in TIFF:
        from tersor.files.tiff import numbers

        return numbers(source.read_bytes() if isinstance(source, Path) else source, name)
    if suffix in REFUSED:
        raise SignalError(f"{name}: {REFUSED[suffix]}")
    try:
        if is_npz(_front(source)):
            return read_npz(source, name, variables)
        values = _load(source)
    except OSError as e:
        raise unreadable(name, e) from e
    except (ValueError, EOFError) as e:
        if isinstance(e, SignalError):
            raise
        if cut := _cut_short(source):
            raise SignalError(f"{name}: {cut}") from e
        is_npy = _front(source).startswith(b"\x93NUMPY")
        what = "it holds Python objects, which are not read" if "pickle" in str(e) and is_npy else e
        if "pickle" in str(e) and not is_npy:
            what = f"it begins with {_front(source)!r}"
        raise SignalError(
            f"{name}: not a .npy or .npz file of numbers ({what}); allowed are .npy, .npz, NetCDF and HDF5"
        ) from e
    if variables:
        raise SignalError(f"{name}: a .npy file has one array without a name; leave out --variables")
    return Field(values=_numbers(values, name))


def _cut_short(source: Path | bytes) -> str:
    """How much of a .npy file is missing, in words; "" if nothing is, or it is no such file."""
    with source.open("rb") if isinstance(source, Path) else io.BytesIO(source) as f:
        found = f.seek(0, io.SEEK_END)
        f.seek(0)
        try:
            shape, _, dtype = npy_header(f)
        except (ValueError, EOFError):
            begun = _front(source)[:6] == b"\x93NUMPY"[: min(6, found)] and 0 < found < NPY_HEADER
            return f"the .npy file is cut short inside its header; it has {found} bytes" if begun else ""
        expected = f.tell() + math.prod(shape) * dtype.itemsize
        if found >= expected or dtype.hasobject:
            return ""
        return (
            f"the .npy file is cut short: {expected:,} bytes are expected for {dtype} {list(shape)}, "
            f"{found:,} are there; copy it again"
        )


def _front(source: Path | bytes) -> bytes:
    if isinstance(source, bytes):
        return source[:8]
    with source.open("rb") as f:
        return f.read(8)


def _suffix_of(data: bytes) -> str:
    """Of a file by how it begins; NetCDF-4 is HDF5 with a mark of its library."""
    if data[:3] == b"CDF":
        return ".nc"
    if data[:8] == b"\x89HDF\r\n\x1a\n":
        return ".nc" if b"_NCProperties" in data or b"_Netcdf4Dimid" in data else ".h5"
    if data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return ".tif"
    return ""


def _from_bytes(data: bytes, suffix: str, variables: Sequence[str] | None) -> FieldSet:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"input{suffix}"
        write_atomically(path, data)
        try:
            return read_netcdf(path, variables)
        except SignalError as e:
            raise SignalError(str(e).replace(str(path), "standard input")) from e


def stray_values(f: Field) -> str:
    """A note where the extreme values stand so far from the rest that they look like marks of missing data:
    a bound relative to the range would then be useless. "" if there is nothing to say."""
    x = f.values
    if f.exact or x.dtype.kind != "f" or x.size < 2:
        return ""
    own = [
        f.attributes.get(k) for k in ("_FillValue", "missing_value", "valid_range", "valid_min", "valid_max")
    ]
    if any(v is not None for v in (*own, f.encoding.get("fillvalue"))):
        return ""
    low, high, some = math.inf, -math.inf, np.empty(0)
    every = max(1, x.size // 100_000)
    for box in boxes(x.shape, (), x.itemsize):
        flat = x[box].reshape(-1)
        known = flat[np.isfinite(flat) & (flat != flat.dtype.type(9.969209968386869e36))]
        if known.size:
            low, high = min(low, float(known.min())), max(high, float(known.max()))
            some = np.concatenate([some, known[::every].astype(np.float64)])
        release(x)
    if some.size < 2:
        return ""
    a, b = np.quantile(some, [0.02, 0.98]) if some.size > 100 else (low, high)
    spread = max(b - a, abs(a) * 1e-3, abs(b) * 1e-3)
    far = [v for v in (low, high) if max(a - v, v - b) > STRAY * spread > 0]
    if not far:
        return ""
    values = " and ".join(f"{v:g}" for v in far)
    return (
        f"{f.name + ': ' if f.name else ''}{values} stands far from the rest ({a:g} to {b:g}); "
        "if it marks missing cells, give it as --fill-value"
    )


def _load(source: Path | bytes) -> Any:
    """What a .npy file holds; a large one is mapped, not read."""
    if isinstance(source, bytes):
        return np.load(io.BytesIO(source), allow_pickle=False)
    large = source.suffix.lower() == ".npy" and source.stat().st_size >= LARGE_BYTES
    # copy on write: nothing is written, but loops are compiled once, for arrays that can be
    return np.load(source, mmap_mode="c" if large else None, allow_pickle=False)


def _numbers(values: Any, name: str) -> Any:
    if values.dtype.kind not in "fiub":
        raise SignalError(f"{name}: the array is {values.dtype}; allowed are floats, integers and booleans")
    return values


def field_bytes(signal: Field | FieldSet, suffix: str) -> bytes:
    """A file of arrays; `field_file` says as well what it does not hold.

    Raises:
        SignalError: see `field_file`.
    """
    return field_file(signal, suffix)[0]


@contextlib.contextmanager
def mapped_npy(path: Path, shape: tuple[int, ...], dtype: NumberType) -> Iterator[Numbers]:
    """The cells of a .npy file, to be set; it takes its place if the block ends well.

    Raises:
        SignalError: it cannot be written.
    """
    with atomic_file(path) as file:
        descr = np.lib.format.dtype_to_descr(dtype)  # type: ignore[no-untyped-call]
        described = {"descr": descr, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, described)  # type: ignore[no-untyped-call]
        begin = file.tell()
        allocate(file, math.prod(shape) * dtype.itemsize)
        yield np.memmap(file, dtype, "r+", offset=begin, shape=shape)


def field_file(signal: Field | FieldSet, suffix: str) -> tuple[bytes, tuple[str, ...]]:
    """A file of arrays, and notes of what it does not hold.

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
    if suffix not in (".npy", ".npz", *TIFF):
        raise SignalError(f"'{suffix}' is not a format for arrays; allowed are {', '.join(sorted(SUFFIXES))}")
    fields = [signal] if isinstance(signal, Field) else list(signal.fields.values())
    out = io.BytesIO()
    if suffix == ".npz":
        write_npz(_by_name(signal), out)
        return out.getvalue(), _unkept(signal, suffix)
    if texts := [f.name for f in fields if f.is_text and f.name in getattr(signal, "asked", ())]:
        raise SignalError(
            f"{suffix} files hold numbers, not text ({', '.join(texts)}); write .nc, "
            "or choose others with --variables"
        )
    values = _only(signal, suffix).values
    if suffix in TIFF:
        from tersor.files.tiff import array_bytes

        return array_bytes(values), _unkept(signal, suffix)
    np.save(out, values, allow_pickle=False)
    return out.getvalue(), _unkept(signal, suffix)


def _by_name(signal: Field | FieldSet) -> dict[str, Any]:
    fields = [signal] if isinstance(signal, Field) else list(signal.fields.values())
    return {f.name or "field": f.values for f in fields}


def _only(signal: Field | FieldSet, suffix: str) -> Field:
    """The one array that a file without names holds.

    Raises:
        SignalError: there are several, or it is text.
    """
    fields = [signal] if isinstance(signal, Field) else list(signal.fields.values())
    if isinstance(signal, FieldSet) and len(signal.asked) == 1:
        fields = [signal[signal.asked[0]]]
    if len(fields) != 1:
        raise SignalError(
            f"a {suffix} file holds one array, not {len(fields)} variables "
            f"({', '.join(f.name for f in fields)}); write .nc, or choose one with --variables"
        )
    return fields[0]


def _unkept(signal: Field | FieldSet, suffix: str) -> tuple[str, ...]:
    """Files of NumPy and TIFF hold numbers alone."""
    fields = [signal] if isinstance(signal, Field) else list(signal.fields.values())
    attributes = any(f.attributes for f in fields) or bool(getattr(signal, "attributes", None))
    return (f"a {suffix} file holds no attributes; .nc and .h5 do",) if attributes else ()


def write_field(signal: Field | FieldSet, path: Path) -> tuple[str, ...]:
    """Write aside, then rename; the suffix names the format. -> notes of what it does not hold.

    Raises:
        SignalError: as `field_bytes`.
    """
    suffix = path.suffix.lower()
    for suffixes, write in (({ZARR}, write_zarr), (NETCDF, write_netcdf), (HDF5, write_hdf5)):
        if suffix in suffixes:
            return write(signal, path)
    if suffix == ".npy" and signal.nbytes >= LARGE_BYTES and not _only(signal, suffix).is_text:
        x = _only(signal, suffix).values
        with mapped_npy(path, x.shape, x.dtype) as cells:
            pour(x, cells)
        return _unkept(signal, suffix)
    if suffix == ".npz":
        with atomic_file(path) as file:
            write_npz(_by_name(signal), file)
        return _unkept(signal, suffix)
    data, notes = field_file(signal, path.suffix)
    write_atomically(path, data)
    return notes
