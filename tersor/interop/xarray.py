"""An xarray backend, by entry point: `xarray.open_dataset("data.tsr", engine="tersor")` reads blocks when
their values are asked for, and only those.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from tersor import api
from tersor.arrays import Numbers
from tersor.codecs.field.header import WIRE_ID, FieldHeader, Variable
from tersor.codecs.field.metadata import unpack_attributes
from tersor.errors import MissingDependencyError, SignalError
from tersor.signals import Field

try:
    import xarray
    from xarray.backends import BackendArray, BackendEntrypoint
    from xarray.core import indexing
except ImportError as e:
    raise MissingDependencyError("this backend needs xarray: pip install 'tersor[fields]'") from e

DECODING = (
    "mask_and_scale",
    "decode_times",
    "concat_characters",
    "decode_coords",
    "use_cftime",
    "decode_timedelta",
)


class LazyVariable(BackendArray):
    """One variable of a .tsr file, opened again for every read, so that it can be pickled and read from many
    threads.
    """

    def __init__(self, path: str, variable: Variable) -> None:
        self._path, self._name = path, variable.name
        self.shape, self.dtype = variable.shape, variable.dtype

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(key, self.shape, indexing.IndexingSupport.BASIC, self._read)

    def _read(self, key: tuple[int | slice, ...]) -> Numbers:
        spans, within = (
            zip(*(_span(k, n) for k, n in zip(key, self.shape, strict=True)), strict=True)
            if key
            else ((), ())
        )
        names = [self._name] if self._name else None
        with api.open(self._path) as f:
            found = f.read(variables=names, slices=tuple(spans) or None, coordinates=False)
        values = np.asarray(found if isinstance(found, Field) else found[self._name])
        picked: Numbers = values[within]
        return picked


def _span(key: int | slice, n: int) -> tuple[slice, int | slice]:
    """The range that holds what a key picks from n cells, and how to pick it from there."""
    if not isinstance(key, slice):
        at = int(key) + n if key < 0 else int(key)
        return slice(at, at + 1), 0
    picked = range(*key.indices(n))
    if not picked:
        return slice(0, 0), slice(None)
    low, high = min(picked[0], picked[-1]), max(picked[0], picked[-1])
    return slice(low, high + 1), slice(None, None, picked.step)


class TersorBackend(BackendEntrypoint):
    """Datasets from .tsr files of fields."""

    description = "Open .tsr files of the field codec, lazily"
    open_dataset_parameters = ("filename_or_obj", "drop_variables", *DECODING)

    def open_dataset(
        self, filename_or_obj: Any, *, drop_variables: str | Iterable[str] | None = None, **decode: Any
    ) -> xarray.Dataset:
        """A dataset whose values stay in the file. Coordinates, texts and attributes as in the source;
        `decode_cf` works as with NetCDF.

        Raises:
            SignalError: not a path, or a .tsr file of another codec.
        """
        if not isinstance(filename_or_obj, (str, os.PathLike)):
            raise SignalError(f"engine='tersor' opens paths, not {type(filename_or_obj).__name__}")
        path = os.fspath(Path(filename_or_obj).resolve())
        left_out = {drop_variables} if isinstance(drop_variables, str) else set(drop_variables or ())
        with api.open(path) as f:
            if f.reader.codec != WIRE_ID:
                raise SignalError(
                    f"{path}: a file of the codec '{f.entry.name}'; "
                    "engine='tersor' opens those of the field codec"
                )
            header = FieldHeader.unpack(f.reader.header, len(f.reader.chunk_lengths))
            described = unpack_attributes(f.reader.metadata)
        variables: dict[str, xarray.Variable] = {}
        for v in header.variables:
            name = v.name or "field"
            dims = described.dims.get(v.name) or tuple(f"{name}_axis{i}" for i in range(len(v.shape)))
            lazy = indexing.LazilyIndexedArray(LazyVariable(path, v))
            attributes = dict(described.variables.get(v.name, {}))
            variables[name] = xarray.Variable(
                dims, lazy, attributes, {"preferred_chunks": dict(zip(dims, _chunks(v), strict=True))}
            )
        variables |= {
            n: xarray.Variable(t.dims, t.values, dict(t.attributes)) for n, t in described.texts.items()
        }
        kept = {n: v for n, v in variables.items() if n not in left_out}
        options = {k: v for k, v in decode.items() if k in DECODING}
        decoded, whole, coordinates = xarray.conventions.decode_cf_variables(
            kept, dict(described.attributes), **options
        )
        data = xarray.Dataset(decoded, attrs=whole)
        return data.set_coords(coordinates & set(data.variables))

    def guess_can_open(self, filename_or_obj: Any) -> bool:
        return (
            isinstance(filename_or_obj, (str, os.PathLike)) and Path(filename_or_obj).suffix.lower() == ".tsr"
        )


def _chunks(v: Variable) -> tuple[int, ...]:
    """The shape of a block in the axes of the array."""
    if v.axes == v.shape:
        return v.block
    if len(v.shape) == 3 and v.axes != v.shape:
        return (*v.block[1:], v.block[0])
    return v.shape
