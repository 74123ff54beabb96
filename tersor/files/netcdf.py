"""NetCDF files: read through xarray, as stored; written in the format of their source, a box at a time."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tersor.errors import SignalError
from tersor.files.atomic import atomic_path
from tersor.files.attributes import for_netcdf, held, left_out
from tersor.files.hdf5_chunks import check_file
from tersor.files.spool import pour
from tersor.files.variables import by_group, group_attributes, named_axes, read_groups, xarray_for
from tersor.signals import Field, FieldSet

if TYPE_CHECKING:
    import xarray as xr

Node = Any  # a file or group of netCDF4, which has few types
NETCDF = {".nc", ".nc4", ".cdf"}
USUAL = "NETCDF4"
CLASSIC = ("NETCDF3_CLASSIC", "NETCDF3_64BIT_OFFSET", "NETCDF3_64BIT_DATA", "NETCDF4_CLASSIC")


def read_netcdf(path: Path, variables: Sequence[str] | None) -> FieldSet:
    """As `variables.read_groups`.

    Raises:
        SignalError: no such file, or one without the variables asked for.
    """
    found = read_groups(path, variables, path.suffix.lower(), "a NetCDF file", _groups)
    model = _model(path)
    return replace(found, encoding={**found.encoding, "format": model}) if model != USUAL else found


def _model(path: Path) -> str:
    """Which of the formats that are called NetCDF."""
    import netCDF4

    with netCDF4.Dataset(path) as file:
        return str(file.data_model)


def _groups(path: Path) -> dict[str, xr.Dataset]:
    """Raw xarray datasets of all groups, by path from "/"; the chunks of all are where their index says."""
    xarray = xarray_for(".nc")
    import netCDF4

    def paths(group: Node) -> list[str]:
        return [group.path, *(p for g in group.groups.values() for p in paths(g))]

    with netCDF4.Dataset(path) as file:
        names, is_hdf5 = paths(file), file.disk_format == "HDF5"
    if is_hdf5:
        check_file(path)
    return {n: xarray.open_dataset(path, engine="netcdf4", group=n, decode_cf=False) for n in names}


def netcdf_bytes(signal: Field | FieldSet) -> tuple[bytes, tuple[str, ...]]:
    """A NetCDF-4 file, and a note of what it does not hold.

    Raises:
        SignalError: values that NetCDF cannot hold.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "out.nc"
        notes = write_netcdf(signal, path)
        return path.read_bytes(), notes


def write_netcdf(signal: Field | FieldSet, path: Path) -> tuple[str, ...]:
    """A NetCDF-4 file, whole or not at all; -> a note of what it does not hold.

    Raises:
        SignalError: values that NetCDF cannot hold, or a file that cannot be written.
    """
    xarray_for(".nc")
    import netCDF4

    model = USUAL if isinstance(signal, Field) else str(signal.encoding.get("format", USUAL))
    models: list[Any] = [model, USUAL] if model in CLASSIC else [USUAL]
    lost: list[str] = []
    with atomic_path(path) as beside:
        for form in models:
            lost = [f"the format {models[0]}"] if form != models[0] else []
            try:
                with contextlib.closing(netCDF4.Dataset(beside, "w", format=form)) as file:
                    _write(file, signal, lost)
                break
            except (ValueError, TypeError, RuntimeError, AttributeError) as e:
                if form == USUAL:  # another may hold less than what was decoded
                    raise SignalError(
                        f"cannot be written as NetCDF ({e}); write .h5, or .npy for arrays of types that it "
                        "lacks"
                    ) from e
    links = [] if isinstance(signal, Field) else list(signal.encoding.get("links", {}))
    return left_out("what a .nc file cannot hold was", [*lost, *links])


def _write(file: Node, signal: Field | FieldSet, lost: list[str]) -> None:
    for group, fields in by_group(signal).items():
        node = file.createGroup(group) if group else file
        attributes, names = held(group_attributes(signal, group), for_netcdf)
        lost += [f"{group}:{n}" if group else n for n in names]
        node.setncatts(attributes)
        _write_group(node, fields, lost)


def _write_group(node: Node, fields: list[Field], lost: list[str]) -> None:
    """Axes, then variables with their attributes, then values."""
    unlimited = {d for f in fields for d in _unlimited(f)}
    targets = []
    for f in fields:
        name, dims, values = f.name.rpartition("/")[2] or "field", named_axes(f), _stored(f)
        if values.dtype.kind == "S" and values.dtype.itemsize > 1:  # strings of one length are characters
            width = values.dtype.itemsize
            values = np.ascontiguousarray(values).view("S1").reshape(*values.shape, width)
            dims = (*dims, f"string{width}")
        for dim, n in zip(dims, values.shape, strict=True):
            if dim not in node.dimensions:
                node.createDimension(dim, None if dim in unlimited else n)
            elif len(node.dimensions[dim]) not in (0, n):
                raise ValueError(f"axis {dim} has {len(node.dimensions[dim])} and {n} cells")
        attributes, names = held(f.attributes, for_netcdf)
        lost += [f"{f.name or name}:{n}" for n in names]
        if values.dtype.byteorder == ">" and values.dtype.itemsize > 1 and values.dtype.kind in "fiu":
            lost.append(f"byte order of {f.name or name}")
        marker = attributes.pop("_FillValue", None)
        if values.dtype == object and marker is not None:
            lost.append(f"{f.name or name}:_FillValue")
            marker = None
        storage = {} if node.data_model.startswith("NETCDF3") else _storage(f, values)
        variable = node.createVariable(name, _type(node, f, values), dims, fill_value=marker, **storage)
        variable.set_auto_maskandscale(False)
        variable.set_auto_chartostring(False)
        variable.setncatts(attributes | ({"dtype": "bool"} if f.values.dtype == np.bool_ else {}))
        targets.append((variable, values))
    for variable, values in targets:
        chunks = variable.chunking()  # None in files of version 3
        pour(values, variable, chunks if chunks and chunks != "contiguous" else ())


def _stored(f: Field) -> Any:
    """Values in a type that NetCDF has: booleans are bytes, text is objects, bytes are of one length."""
    if f.values.dtype == np.bool_:
        return f.values.view(np.int8)
    if f.values.dtype.kind not in "UO":
        return f.values
    cells = f.values.reshape(-1).tolist()
    if cells and all(isinstance(c, bytes) for c in cells):
        return np.array(cells, "S").reshape(f.values.shape)
    return np.array([c.decode() if isinstance(c, bytes) else str(c) for c in cells], object).reshape(
        f.values.shape
    )


def _type(node: Node, f: Field, values: Any) -> Any:
    if values.dtype == object:
        return str
    native = values.dtype.newbyteorder("=")
    if f.encoding.get("enum") and native.kind in "iu":
        names = {str(k): int(v) for k, v in f.encoding["enum"].items()}
        return node.createEnumType(native, f"{f.name.rpartition('/')[2]}_t", names)
    return native


def _storage(f: Field, values: Any) -> dict[str, object]:
    """Chunks and deflate as the source had them, where they still fit."""
    if not f.values.ndim or f.is_text or not f.values.size:
        return {}
    e = f.encoding
    out: dict[str, object] = {}
    chunks = [min(int(c), n) for c, n in zip(e.get("chunks", ()), values.shape, strict=False)]
    if len(chunks) == values.ndim and min(chunks, default=0) > 0:
        out["chunksizes"] = chunks
    if e.get("compression") == "gzip":
        out |= {"zlib": True, "complevel": int(e.get("level", 4)), "shuffle": bool(e.get("shuffle"))}
    if e.get("fletcher32"):
        out["fletcher32"] = True
    return out


def _unlimited(f: Field) -> list[str]:
    axes = np.atleast_1d(f.encoding.get("unlimited", [])).astype(int)
    return [f.dims[i].rpartition("/")[2] for i in axes if i < len(f.dims)]
