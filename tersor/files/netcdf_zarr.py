"""NetCDF files and Zarr stores through xarray: values as stored, all attributes, coordinates, names of axes,
texts.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tersor.errors import MissingDependencyError, SignalError
from tersor.signals import Field, FieldSet

NETCDF = {".nc", ".nc4", ".cdf"}
ZARR = ".zarr"
ZARR_MARKS = ("zarr.json", ".zgroup", ".zarray", ".zmetadata")


def _xarray(suffix: str) -> Any:
    package, extra = ("zarr", "zarr") if suffix == ZARR else ("netCDF4", "fields")
    try:
        __import__(package)
        import xarray
    except ImportError as e:
        raise MissingDependencyError(
            f"{suffix} files need xarray and {package}: pip install 'tersor[{extra}]'"
        ) from e
    return xarray


def read_dataset(path: Path, variables: Sequence[str] | None) -> FieldSet:
    """Raw values, as stored: packed integers stay integers, times stay numbers.

    Raises:
        SignalError: no such file, or one without the variables asked for.
    """
    suffix = path.suffix.lower()
    xarray = _xarray(suffix)
    if not path.exists():
        raise SignalError(f"{path}: cannot be read (No such file or directory)")
    kind = "a Zarr store" if suffix == ZARR else "a NetCDF file"
    options: dict[str, Any] = (
        {"engine": "zarr", "consolidated": None, "chunks": None} if suffix == ZARR else {"engine": "netcdf4"}
    )
    try:
        with _quiet(), xarray.open_dataset(path, decode_cf=False, **options) as data:
            names = list(data.variables) if variables is None else list(variables)
            if missing := sorted(set(names) - set(data.variables)):
                raise SignalError(
                    f"{path}: no variable {', '.join(missing)}; it has {', '.join(map(str, data.variables))}"
                )
            named = [c for n in names for c in str(data[n].attrs.get("coordinates", "")).split()]
            needed = [d for n in names for d in (*data[n].dims, *named) if d in data.variables]
            needed = [d for n in needed for d in data[n].dims if d in data.variables] + needed
            fields = {}
            for name in dict.fromkeys([*needed, *names]):
                v = data.variables[name]
                values = v.to_numpy()
                if values.dtype.kind not in "fiubUSO":
                    raise SignalError(
                        f"{path}: variable {name} is {values.dtype}; floats, integers, "
                        "booleans and text can be coded: choose others with --variables"
                    )
                exact = name in v.dims or name in named or values.dtype.kind != "f"
                fields[str(name)] = Field(
                    values=values,
                    name=str(name),
                    dims=tuple(map(str, v.dims)),
                    attributes=dict(v.attrs),
                    exact=exact,
                )
            attributes = dict(data.attrs)
    except (OSError, ValueError, KeyError) as e:
        if isinstance(e, SignalError):
            raise
        raise SignalError(f"{path}: not {kind} ({e})") from e
    if not any(not f.is_text for f in fields.values()):
        raise SignalError(f"{path}: no variables of numbers")
    return FieldSet(fields=fields, attributes=attributes)


def _dataset(signal: Field | FieldSet, suffix: str) -> Any:
    xarray = _xarray(suffix)
    fields = [signal] if isinstance(signal, Field) else list(signal.fields.values())
    variables = {}
    for f in fields:
        dims = f.dims or tuple(f"{f.name or 'field'}_axis{i}" for i in range(f.values.ndim))
        encoding = {} if "_FillValue" in f.attributes or suffix == ZARR else {"_FillValue": None}
        values = f.values if f.is_text else f.values.astype(f.values.dtype.newbyteorder("="), copy=False)
        variables[f.name or "field"] = xarray.Variable(dims, values, dict(f.attributes), encoding)
    return xarray.Dataset(variables, attrs={} if isinstance(signal, Field) else dict(signal.attributes))


def netcdf_bytes(signal: Field | FieldSet) -> bytes:
    """Raises: SignalError: values that NetCDF cannot hold."""
    data = _dataset(signal, ".nc")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "out.nc"
        try:
            data.to_netcdf(path, engine="netcdf4")
        except ValueError as e:
            raise SignalError(
                f"cannot be written as NetCDF ({e}); write .npy for arrays of types that it lacks"
            ) from e
        return path.read_bytes()


def write_zarr(signal: Field | FieldSet, path: Path) -> None:
    """A Zarr store, a folder: written aside, then renamed. What was there is replaced, if it was a Zarr
    store.

    Raises:
        SignalError: values that Zarr cannot hold, or a folder that is something else.
    """
    data = _dataset(signal, ZARR)
    if path.exists() and not any((path / mark).exists() for mark in ZARR_MARKS):
        raise SignalError(f"{path} exists and is no Zarr store; it is left as it is: give another name")
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        with _quiet():
            data.to_zarr(aside / "store", mode="w", consolidated=False)
        old = aside / "old"
        if path.exists():
            path.rename(old)
        try:
            (aside / "store").rename(path)
        except OSError:
            if old.exists():
                old.rename(path)
            raise
    except (ValueError, TypeError) as e:
        raise SignalError(f"cannot be written as Zarr ({e})") from e
    finally:
        shutil.rmtree(aside, ignore_errors=True)


@contextlib.contextmanager
def _quiet() -> Any:
    """zarr warns of string types whose specification is young, and of stores without common metadata."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
