"""NetCDF files and Zarr stores through xarray: values as stored, all attributes, coordinates, names of axes,
texts.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from tersor.errors import MissingDependencyError, SignalError, unreadable
from tersor.files.attributes import for_netcdf, for_zarr, held, kept, left_out
from tersor.signals import Field, FieldSet
from tersor.signals.field import describes, with_related

if TYPE_CHECKING:
    import xarray as xr

NETCDF = {".nc", ".nc4", ".cdf"}
ZARR = ".zarr"
UNCODED = {"float128", "longdouble", "complex64", "complex128", "bfloat16"}
ZARR_MARKS = ("zarr.json", ".zgroup", ".zarray", ".zmetadata")


def _xarray(suffix: str) -> ModuleType:
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
    """Raw values, as stored: packed integers stay integers, times stay numbers. Variables of groups are named
    by their path ("run/t"). What describes a variable comes along and is coded exactly.

    Raises:
        SignalError: no such file, or one without the variables asked for.
    """
    suffix = path.suffix.lower()
    xarray = _xarray(suffix)
    if not path.exists():
        raise unreadable(path, FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT)))
    kind = "a Zarr store" if suffix == ZARR else "a NetCDF file"
    try:
        with _quiet(), contextlib.ExitStack() as stack:
            groups = _zarr_groups(xarray, path) if suffix == ZARR else _netcdf_groups(xarray, path)
            for data in groups.values():
                stack.callback(data.close)
            return fields_of(str(path), groups, variables, suffix)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as e:
        if isinstance(e, SignalError):
            raise
        raise SignalError(f"{path}: not {kind} that can be read ({e})") from e


def _netcdf_groups(xarray: ModuleType, path: Path) -> dict[str, xr.Dataset]:
    import netCDF4

    def paths(group: Any) -> list[str]:
        return [group.path, *(p for g in group.groups.values() for p in paths(g))]

    with netCDF4.Dataset(path) as file:
        names = paths(file)
    return {n: xarray.open_dataset(path, engine="netcdf4", group=n, decode_cf=False) for n in names}


def _zarr_groups(xarray: ModuleType, path: Path) -> dict[str, xr.Dataset]:
    """What xarray reads of a store, and what it does not: arrays without named axes, or without a group."""
    import zarr

    root = zarr.open(path, mode="r")
    if isinstance(root, zarr.Array):
        return {"/": xarray.Dataset({path.stem: _zarr_variable(xarray, path.stem, root)})}
    groups = {"/": root} | {f"/{n}": g for n, g in root.members(max_depth=None) if isinstance(g, zarr.Group)}
    out = {}
    for name, group in groups.items():
        arrays = dict(group.arrays())
        try:
            data = xarray.open_zarr(path, group=name, decode_cf=False, consolidated=False, chunks=None)
        except KeyError:
            variables = {n: _zarr_variable(xarray, n, z) for n, z in arrays.items()}
            data = xarray.Dataset(variables, attrs=dict(group.attrs))
        for n, z in arrays.items():
            if n in data.variables and z.fill_value is not None:
                data.variables[n].encoding["fillvalue"] = z.fill_value
        out[name] = data
    return out


def _zarr_variable(xarray: ModuleType, name: str, array: Any) -> Any:
    dims = getattr(array.metadata, "dimension_names", None) or array.attrs.get("_ARRAY_DIMENSIONS")
    if not dims or None in dims:
        dims = [f"{name}_axis{i}" for i in range(array.ndim)]
    attributes = {k: v for k, v in array.attrs.items() if k != "_ARRAY_DIMENSIONS"}
    return xarray.Variable(dims, array[...], attributes, {"chunks": array.chunks})


def fields_of(
    path: str, groups: Mapping[str, xr.Dataset], variables: Sequence[str] | None, suffix: str
) -> FieldSet:
    """Groups of raw xarray variables, by path from "/", as fields, with notes of what is left out.

    Raises:
        SignalError: none of the variables asked for, or none that can be coded.
    """
    found: dict[str, tuple[str, xr.Variable]] = {}
    for group, data in groups.items():
        inside = group.strip("/")
        found |= {f"{inside}/{n}" if inside else str(n): (inside, v) for n, v in data.variables.items()}
    names = list(found) if variables is None else list(variables)
    if missing := sorted(set(names) - set(found)):
        raise SignalError(f"{path}: no variable {', '.join(missing)}; it has {', '.join(map(str, found))}")
    lost: list[str] = []
    fields, about = {}, {n: (_dims(g, v), v.attrs) for n, (g, v) in found.items()}
    describing = with_related(names, about) - set(names)
    describing |= {d for n in found for d in with_related([n], about) - {n}}
    needed = with_related(names, about)
    for name in [n for n in found if n in needed]:
        group, v = found[name]
        values = _values(v)
        if values is None:
            lost.append(f"{name} ({v.dtype})")
            continue
        dims, attributes = _dims(group, v), kept(v.attrs)
        lost += [f"{name}:{a}" for a in attributes[1]]
        short = name.rpartition("/")[2]
        own = tuple(d.rpartition("/")[2] for d in dims)
        exact = name in describing or describes(short, own, v.attrs) or values.dtype.kind != "f"
        fields[name] = Field(
            values=values,
            name=name,
            dims=dims,
            attributes=attributes[0],
            encoding=_encoding(v, groups[f"/{group}"].encoding.get("unlimited_dims", ())),
            exact=exact,
        )
    if not any(not f.is_text for f in fields.values()):
        others = f" that can be coded (there are {', '.join(lost)})" if lost else ""
        raise SignalError(f"{path}: no variables of numbers{others}")
    whole, dropped = kept(groups["/"].attrs)
    encoding: dict[str, object] = {"source": suffix}
    if len(groups) > 1:
        inner = {g.strip("/"): kept(d.attrs) for g, d in groups.items() if g != "/"}
        encoding["groups"] = {g: a for g, (a, _) in inner.items()}
        dropped += [f"{g}:{a}" for g, (_, names) in inner.items() for a in names]
    return FieldSet(
        fields=fields,
        attributes=whole,
        encoding=encoding,
        asked=() if variables is None else tuple(variables),
        notes=left_out("what holds no numbers, text or times", [*lost, *dropped]),
    )


def _dims(group: str, v: xr.Variable) -> tuple[str, ...]:
    return tuple(f"{group}/{d}" if group else str(d) for d in v.dims)


def _values(v: xr.Variable) -> Any:
    """Numbers, booleans and text; None for what is neither (ragged arrays, compound types)."""
    values = v.to_numpy()
    if values.dtype.kind == "T":
        values = values.astype(object)
    if values.dtype.kind == "O" and not all(isinstance(c, (str, bytes)) for c in values.reshape(-1)):
        return None
    return values if values.dtype.kind in "fiubUSO" and values.dtype.name not in UNCODED else None


def _encoding(v: xr.Variable, unlimited: Collection[str]) -> dict[str, object]:
    """How a source stored a variable, in the words of `signals.Field`."""
    e = v.encoding
    out: dict[str, object] = {}
    chunks = e.get("chunksizes") or e.get("chunks")
    if chunks and not e.get("contiguous"):
        out["chunks"] = [int(c) for c in chunks]
    if e.get("zlib") or e.get("compression") == "zlib":
        out |= {"compression": "gzip", "level": int(e.get("complevel", 4)), "shuffle": bool(e.get("shuffle"))}
    if e.get("fletcher32"):
        out["fletcher32"] = True
    if axes := [i for i, d in enumerate(v.dims) if d in unlimited]:
        out["unlimited"] = axes
    fill = e.get("fillvalue")
    if fill is not None and np.asarray(fill).dtype.kind in "fiu" and np.asarray(fill) != 0:
        out["fillvalue"] = np.asarray(fill)[()]
    if names := (getattr(e.get("dtype"), "metadata", None) or {}).get("enum"):
        out["enum"] = {str(k): int(n) for k, n in names.items()}
    return out


def _variables(
    xarray: ModuleType, fields: Sequence[Field], suffix: str, lost: list[str]
) -> dict[str, xr.Variable]:
    """The variables of one group; what the format does not hold is added to `lost`."""
    variables = {}
    form = for_zarr if suffix == ZARR else for_netcdf
    for f in fields:
        name = f.name.rpartition("/")[2] or "field"
        dims = tuple(d.rpartition("/")[2] for d in f.dims)
        dims = dims if len(set(dims)) == len(dims) == f.values.ndim else ()
        dims = dims or tuple(f"{name}_axis{i}" for i in range(f.values.ndim))
        attributes, names = held(f.attributes, form)
        lost += [f"{f.name or name}:{n}" for n in names]
        if f.values.dtype.byteorder == ">" and not f.is_text and f.values.dtype.itemsize > 1:
            lost.append(f"byte order of {f.name or name}")
        values = f.values if f.is_text else f.values.astype(f.values.dtype.newbyteorder("="), copy=False)
        storage = _storage(f, suffix)
        if values.dtype == "S1" and values.ndim and values.size and suffix != ZARR:
            # characters: xarray splits strings into them, along an axis that it is told
            storage["char_dim_name"], dims = dims[-1], dims[:-1]
            values = np.ascontiguousarray(values).view(f"S{values.shape[-1]}")[..., 0]
        variables[name] = xarray.Variable(dims, values, attributes, storage)
    return variables


def _storage(f: Field, suffix: str) -> dict[str, object]:
    """xarray's encoding of a field: chunks and deflate as the source had them, where they still fit."""
    e = f.encoding
    chunks = [min(int(c), n) for c, n in zip(e.get("chunks", ()), f.values.shape, strict=False)]
    fits = bool(chunks) and len(chunks) == f.values.ndim and min(chunks) > 0 and not f.is_text
    if suffix == ZARR:
        return {"chunks": tuple(chunks)} if fits else {}
    out: dict[str, object] = {} if "_FillValue" in f.attributes else {"_FillValue": None}
    if f.values.ndim and not f.is_text and f.values.size:
        out |= {"chunksizes": tuple(chunks)} if fits else {}
        if e.get("compression") == "gzip":
            out |= {"zlib": True, "complevel": int(e.get("level", 4)), "shuffle": bool(e.get("shuffle"))}
        if e.get("fletcher32"):
            out["fletcher32"] = True
        if e.get("enum") and suffix != ZARR:
            about = {"enum": dict(e["enum"]), "enum_name": f"{f.name.rpartition('/')[2]}_t"}
            out["dtype"] = np.dtype(f.values.dtype, metadata=about)  # type: ignore[call-overload]
    return out


def _by_group(signal: Field | FieldSet) -> dict[str, list[Field]]:
    """Fields by their group; the root first, parents before children, empty groups too."""
    fields = [signal] if isinstance(signal, Field) else list(signal.fields.values())
    out: dict[str, list[Field]] = {"": []}
    for g in [] if isinstance(signal, Field) else signal.encoding.get("groups", {}):
        out[g] = []
    for f in fields:
        out.setdefault(f.name.rpartition("/")[0].strip("/"), []).append(f)
    return dict(sorted(out.items()))


def _datasets(signal: Field | FieldSet, suffix: str) -> tuple[dict[str, xr.Dataset], tuple[str, ...]]:
    """An xarray dataset for each group, and a note of what the format does not hold."""
    xarray = _xarray(suffix)
    lost: list[str] = []
    out = {}
    for group, fields in _by_group(signal).items():
        attributes: Any = {}
        if isinstance(signal, FieldSet):
            attributes = signal.encoding.get("groups", {}).get(group, {}) if group else signal.attributes
        attributes, names = held(attributes, for_zarr if suffix == ZARR else for_netcdf)
        lost += [f"{group}:{n}" if group else n for n in names]
        out[group] = xarray.Dataset(_variables(xarray, fields, suffix, lost), attrs=attributes)
    links = [] if isinstance(signal, Field) else list(signal.encoding.get("links", {}))
    return out, left_out(f"what a {suffix} file cannot hold was", [*lost, *links])


def netcdf_bytes(signal: Field | FieldSet) -> tuple[bytes, tuple[str, ...]]:
    """A NetCDF-4 file, and a note of what it does not hold.

    Raises:
        SignalError: values that NetCDF cannot hold.
    """
    datasets, notes = _datasets(signal, ".nc")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "out.nc"
        try:
            for group, data in datasets.items():
                fields = _by_group(signal)[group]
                unlimited = {d for f in fields for d in _unlimited(f) if d in data.dims}
                mode: Literal["a", "w"] = "a" if group else "w"
                data.to_netcdf(path, mode, engine="netcdf4", group=group or None, unlimited_dims=unlimited)
        except (ValueError, TypeError, RuntimeError, AttributeError) as e:
            raise SignalError(
                f"cannot be written as NetCDF ({e}); write .h5, or .npy for arrays of types that it lacks"
            ) from e
        return path.read_bytes(), notes


def _unlimited(f: Field) -> list[str]:
    axes = np.atleast_1d(f.encoding.get("unlimited", [])).astype(int)
    return [f.dims[i].rpartition("/")[2] for i in axes if i < len(f.dims)]


def write_zarr(signal: Field | FieldSet, path: Path) -> tuple[str, ...]:
    """A Zarr store, a folder: written aside, then renamed. What was there is replaced, if it was a Zarr
    store. -> a note of what it does not hold.

    Raises:
        SignalError: values that Zarr cannot hold, or a folder that is something else.
    """
    datasets, notes = _datasets(signal, ZARR)
    if path.exists() and not any((path / mark).exists() for mark in ZARR_MARKS):
        raise SignalError(f"{path} exists and is no Zarr store; it is left as it is: give another name")
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        with _quiet():
            for group, data in datasets.items():
                mode: Literal["a", "w"] = "a" if group else "w"
                data.to_zarr(aside / "store", mode=mode, group=group or None, consolidated=False)
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
    return notes


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """zarr warns of string types whose specification is young, and of stores without common metadata."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
