"""Files of arrays: .npy, and NetCDF through xarray, in and out."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tersor.errors import MissingDependencyError, SignalError
from tersor.signals import Field, FieldSet

NETCDF = {".nc", ".nc4", ".cdf"}
SUFFIXES = {".npy"} | NETCDF


def read_field(source: Path | bytes, variables: Sequence[str] | None = None) -> Field | FieldSet:
    """The array of a .npy file (pickled objects are refused), or the variables of a NetCDF file.

    Raises:
        SignalError: not such a file, or one without the variables asked for.
    """
    if isinstance(source, Path) and source.suffix.lower() in NETCDF:
        return _read_netcdf(source, variables)
    name = str(source) if isinstance(source, Path) else "standard input"
    if variables:
        raise SignalError(f"{name}: a .npy file has one array without a name; leave out --variables")
    try:
        values = np.load(source if isinstance(source, Path) else io.BytesIO(source), allow_pickle=False)
    except OSError as e:
        raise SignalError(f"{name}: cannot be read ({e.strerror or e})") from e
    except (ValueError, EOFError) as e:
        raise SignalError(f"{name}: not a .npy file of numbers ({e})") from e
    if not isinstance(values, np.ndarray):
        raise SignalError(f"{name}: an archive of several arrays; save the one to encode as .npy")
    if values.dtype.kind not in "fiub":
        raise SignalError(f"{name}: the array is {values.dtype}; allowed are floats, integers and booleans")
    return Field(values=values)


def field_bytes(signal: Field | FieldSet, suffix: str) -> bytes:
    """A file of arrays.

    Raises:
        SignalError: a suffix that is not supported, or several variables for a file of one.
    """
    if suffix.lower() in NETCDF:
        return _netcdf_bytes(signal)
    if suffix.lower() != ".npy":
        raise SignalError(f"'{suffix}' is not a format for arrays; allowed are {', '.join(sorted(SUFFIXES))}")
    fields = [signal] if isinstance(signal, Field) else list(signal.fields.values())
    if len(fields) != 1:
        raise SignalError(f"a .npy file holds one array, not {len(fields)} variables ({', '.join(f.name for f in fields)}); write .nc, or choose one with --variables")
    out = io.BytesIO()
    np.save(out, fields[0].values, allow_pickle=False)
    return out.getvalue()


def usual_suffix(signal: Field | FieldSet) -> str:
    """The format for a signal when none was asked for."""
    return ".npy" if isinstance(signal, Field) else ".nc"


def _xarray() -> Any:
    try:
        import netCDF4  # noqa: F401
        import xarray
    except ImportError as e:
        raise MissingDependencyError("NetCDF files need xarray and netCDF4: pip install 'tersor[fields]'") from e
    return xarray


def _read_netcdf(path: Path, variables: Sequence[str] | None) -> FieldSet:
    """Raw values, as stored: packed integers stay integers, times stay numbers."""
    xarray = _xarray()
    if not path.exists():
        raise SignalError(f"{path}: cannot be read (No such file or directory)")
    try:
        with xarray.open_dataset(path, engine="netcdf4", decode_cf=False) as data:
            names = list(data.variables) if variables is None else list(variables)
            if missing := sorted(set(names) - set(data.variables)):
                raise SignalError(f"{path}: no variable {', '.join(missing)}; it has {', '.join(map(str, data.variables))}")
            needed = [d for n in names for d in data[n].dims if d in data.variables]
            names = list(dict.fromkeys([*needed, *names]))
            fields, skipped = {}, []
            for name in names:
                v = data.variables[name]
                if v.dtype.kind not in "fiub":
                    skipped.append(str(name))
                    continue
                exact = name in v.dims or v.dtype.kind != "f"
                fields[str(name)] = Field(values=v.to_numpy(), name=str(name), dims=tuple(map(str, v.dims)), attributes=dict(v.attrs), exact=exact)
            attributes = dict(data.attrs)
    except (OSError, ValueError) as e:
        if isinstance(e, SignalError):
            raise
        raise SignalError(f"{path}: not a NetCDF file ({e})") from e
    if skipped and variables is not None:
        raise SignalError(f"{path}: {', '.join(skipped)} hold text; only numbers can be coded")
    notes = (f"text variables left out: {', '.join(skipped)}",) if skipped else ()
    if not fields:
        raise SignalError(f"{path}: no variables of numbers")
    return FieldSet(fields=fields, attributes=attributes, notes=notes)


def _netcdf_bytes(signal: Field | FieldSet) -> bytes:
    xarray = _xarray()
    fields = [signal] if isinstance(signal, Field) else list(signal.fields.values())
    variables = {}
    for f in fields:
        dims = f.dims or tuple(f"{f.name or 'field'}_axis{i}" for i in range(f.values.ndim))
        encoding = {} if "_FillValue" in f.attributes else {"_FillValue": None}
        variables[f.name or "field"] = xarray.Variable(dims, f.values.astype(f.values.dtype.newbyteorder("="), copy=False), dict(f.attributes), encoding)
    data = xarray.Dataset(variables, attrs={} if isinstance(signal, Field) else dict(signal.attributes))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "out.nc"
        try:
            data.to_netcdf(path, engine="netcdf4")
        except ValueError as e:
            raise SignalError(f"cannot be written as NetCDF ({e}); write .npy for arrays of types that it lacks") from e
        return path.read_bytes()
