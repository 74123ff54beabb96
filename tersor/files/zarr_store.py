"""Zarr stores of both versions, read and written through xarray and zarr."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from tersor.errors import SignalError
from tersor.files.atomic import unwritable
from tersor.files.attributes import for_zarr, held, left_out
from tersor.files.spool import LARGE_BYTES, pour
from tersor.files.variables import by_group, group_attributes, named_axes, quiet, read_groups, xarray_for
from tersor.signals import Field, FieldSet
from tersor.signals.field import Attributes

if TYPE_CHECKING:
    import xarray as xr

Node = Any  # a group or array of zarr
ZARR = ".zarr"
MARKS = ("zarr.json", ".zgroup", ".zarray", ".zmetadata")
REMOVALS, SECONDS_BETWEEN = 50, 0.1  # G
CHUNK_CELLS = 1 << 20  # G: of large arrays whose source had no chunks


def read_zarr(path: Path, variables: Sequence[str] | None) -> FieldSet:
    """As `variables.read_groups`.

    Raises:
        SignalError: no such store, or one without the variables asked for.
    """
    found = read_groups(path, variables, ZARR, "a Zarr store", _groups)
    if (path / "zarr.json").exists():
        return found
    return replace(found, encoding={**found.encoding, "format": 2})


def _groups(path: Path) -> dict[str, xr.Dataset]:
    """What xarray reads of a store, and what it does not: arrays without named axes, or without a group."""
    xarray = xarray_for(ZARR)
    import zarr

    root = zarr.open(path, mode="r")
    if isinstance(root, zarr.Array):
        return {"/": xarray.Dataset({path.stem: _variable(xarray, path.stem, root)})}
    groups = {"/": root} | {f"/{n}": g for n, g in root.members(max_depth=None) if isinstance(g, zarr.Group)}
    out = {}
    for name, group in groups.items():
        arrays = dict(group.arrays())
        try:
            data = xarray.open_zarr(path, group=name, decode_cf=False, consolidated=False, chunks=None)
        except KeyError:
            variables = {n: _variable(xarray, n, z) for n, z in arrays.items()}
            data = xarray.Dataset(variables, attrs=dict(group.attrs))
        for n, z in arrays.items():
            if n in data.variables and z.fill_value is not None:
                data.variables[n].encoding["fillvalue"] = z.fill_value
        out[name] = data
    return out


def _variable(xarray: ModuleType, name: str, array: Node) -> Any:
    """Of an array that xarray does not read; its values stay in the store."""
    from xarray.backends.zarr import ZarrArrayWrapper
    from xarray.core.indexing import LazilyIndexedArray

    dims = getattr(array.metadata, "dimension_names", None) or array.attrs.get("_ARRAY_DIMENSIONS")
    if not dims or None in dims:
        dims = [f"{name}_axis{i}" for i in range(array.ndim)]
    attributes = {k: v for k, v in array.attrs.items() if k != "_ARRAY_DIMENSIONS"}
    lazy = LazilyIndexedArray(ZarrArrayWrapper(array))  # type: ignore[no-untyped-call]
    return xarray.Variable(dims, lazy, attributes, {"chunks": array.chunks})


def write_zarr(signal: Field | FieldSet, path: Path) -> tuple[str, ...]:
    """A Zarr store, a folder: written aside, then renamed. What was there is replaced, if it was a Zarr
    store. -> a note of what it does not hold.

    Raises:
        SignalError: values that Zarr cannot hold, a folder that is something else, or that cannot be written.
    """
    xarray = xarray_for(ZARR)
    version = 3 if isinstance(signal, Field) or signal.encoding.get("format") != 2 else 2
    if path.exists() and not any((path / mark).exists() for mark in MARKS):
        raise SignalError(f"{path} exists and is no Zarr store; it is left as it is: give another name")
    lost: list[str] = []
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    except OSError as e:
        raise unwritable(path, e) from e
    try:
        with quiet():
            for group, fields in by_group(signal).items():
                attributes, names = held(group_attributes(signal, group), for_zarr)
                lost += [f"{group}:{n}" if group else n for n in names]
                _write_group(xarray, aside / "store", version, group, fields, attributes, lost)
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
    except OSError as e:
        raise unwritable(path, e) from e
    finally:
        _remove(aside)
    links = [] if isinstance(signal, Field) else list(signal.encoding.get("links", {}))
    return left_out("what a .zarr file cannot hold was", [*lost, *links])


def _remove(folder: Path) -> None:
    """After an error zarr's other tasks go on for a while, and make files in what is being removed."""
    for _ in range(REMOVALS):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        time.sleep(SECONDS_BETWEEN)


def _write_group(
    xarray: ModuleType,
    store: Path,
    version: int,
    group: str,
    fields: list[Field],
    attributes: Attributes,
    lost: list[str],
) -> None:
    """Small arrays by xarray, all at once. Of a large one xarray writes the first cells, and with them all
    that is said of it; then the array grows, and is filled box by box."""
    import zarr

    made = {f.name.rpartition("/")[2] or "field": (f, _made(xarray, f, lost)) for f in fields}
    large = {n: (f, v) for n, (f, v) in made.items() if f.nbytes >= LARGE_BYTES}
    small = xarray.Dataset({n: v for n, (_, v) in made.items() if n not in large}, attrs=attributes)
    small.to_zarr(
        store, mode="a" if group else "w", group=group or None, consolidated=False, zarr_format=version
    )
    for name, (f, v) in large.items():
        first = xarray.Dataset({name: v[tuple(slice(0, 1) for _ in v.dims)]}).drop_vars(
            v.dims, errors="ignore"
        )
        first.to_zarr(store, mode="a", group=group or None, consolidated=False, zarr_format=version)
        array: Node = zarr.open_group(store, mode="r+", path=group or "")[name]
        array.resize(f.values.shape)
        pour(f.values, array, array.chunks)


def _made(xarray: ModuleType, f: Field, lost: list[str]) -> xr.Variable:
    name = f.name.rpartition("/")[2] or "field"
    attributes, names = held(f.attributes, for_zarr)
    lost += [f"{f.name or name}:{n}" for n in names]
    if f.values.dtype.byteorder == ">" and not f.is_text and f.values.dtype.itemsize > 1:
        lost.append(f"byte order of {f.name or name}")
    large = f.nbytes >= LARGE_BYTES
    values = f.values if f.is_text or large else f.values.astype(f.values.dtype.newbyteorder("="), copy=False)
    return xarray.Variable(named_axes(f), values, attributes, _storage(f, large))


def _storage(f: Field, large: bool) -> dict[str, object]:
    """Chunks as the source had them, where they still fit."""
    chunks = [min(int(c), n) for c, n in zip(f.encoding.get("chunks", ()), f.values.shape, strict=False)]
    if chunks and len(chunks) == f.values.ndim and min(chunks) > 0 and not f.is_text:
        return {"chunks": tuple(chunks)}
    if not large:
        return {}
    sides = list(f.values.shape)
    while np.prod(sides) > CHUNK_CELLS:
        longest = max(range(len(sides)), key=sides.__getitem__)
        sides[longest] = -(-sides[longest] // 2)
    return {"chunks": tuple(sides)}
