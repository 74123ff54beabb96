"""HDF5 files through h5py: datasets of any group by their path, attributes, and the scales that name their
axes.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tersor.errors import MissingDependencyError, SignalError
from tersor.signals import Field, FieldSet

HDF5 = {".h5", ".hdf5", ".he5"}
OWN_ATTRIBUTES = {
    "CLASS",
    "NAME",
    "DIMENSION_LIST",
    "REFERENCE_LIST",
    "DIMENSION_LABELS",
}  # the library's, made anew


def _h5py() -> Any:
    try:
        import h5py
    except ImportError as e:
        raise MissingDependencyError("HDF5 files need h5py: pip install 'tersor[fields]'") from e
    return h5py


def read_hdf5(path: Path, variables: Sequence[str] | None) -> FieldSet:
    """Datasets of numbers, named by their path ("group/name"); those of other types are left out, and the
    notes say so.

    Raises:
        SignalError: not an HDF5 file, or one without the variables asked for.
    """
    h5py = _h5py()
    if not path.exists():
        raise SignalError(f"{path}: cannot be read (No such file or directory)")
    found: dict[str, Any] = {}
    try:
        with h5py.File(path, "r") as file:
            file.visititems(
                lambda name, node: found.update({name: node}) if isinstance(node, h5py.Dataset) else None
            )
            names = list(found) if variables is None else list(variables)
            if missing := sorted(set(names) - set(found)):
                raise SignalError(f"{path}: no dataset {', '.join(missing)}; it has {', '.join(found)}")
            scales = [d for n in names for d in _dims(found[n]) if d in found]
            fields, skipped = {}, []
            for name in dict.fromkeys([*scales, *names]):
                node = found[name]
                if node.dtype.kind not in "fiub":
                    skipped.append(name)
                    continue
                exact = name in scales or node.dtype.kind != "f"
                fields[name] = Field(
                    values=np.asarray(node[()]),
                    name=name,
                    dims=_dims(node),
                    attributes=_attributes(node),
                    exact=exact,
                )
            attributes = _attributes(file)
    except OSError as e:
        raise SignalError(f"{path}: not an HDF5 file ({e})") from e
    if skipped and variables is not None:
        raise SignalError(f"{path}: {', '.join(skipped)} hold no numbers; only numbers can be coded")
    if not fields:
        raise SignalError(f"{path}: no datasets of numbers")
    return FieldSet(
        fields=fields,
        attributes=attributes,
        notes=(f"datasets that are not numbers left out: {', '.join(skipped)}",) if skipped else (),
    )


def _dims(node: Any) -> tuple[str, ...]:
    """Names of axes: the path of the scale, or the label; none unless all have one."""
    if node.is_scale and node.ndim == 1:
        return (node.name.strip("/"),)
    names = tuple(d[0].name.strip("/") if len(d) else d.label for d in node.dims)
    return names if names and all(names) else ()


def _attributes(node: Any) -> dict[str, Any]:
    return {k: v for k, v in node.attrs.items() if k not in OWN_ATTRIBUTES}


def hdf5_bytes(signal: Field | FieldSet) -> bytes:
    """A file of the same datasets, with scales where an axis has the name of one."""
    h5py = _h5py()
    fields = [signal] if isinstance(signal, Field) else list(signal.fields.values())
    out = io.BytesIO()
    with h5py.File(out, "w") as file:
        for f in fields:
            values = f.values.astype(h5py.string_dtype()) if f.values.dtype.kind in "UO" else f.values
            node = file.create_dataset(f.name or "field", data=values)
            node.attrs.update({k: v for k, v in f.attributes.items()})
            if f.is_coordinate:
                node.make_scale(f.name)
        for f in fields:
            for axis, name in enumerate(() if f.is_coordinate else f.dims):
                node = file[f.name or "field"]
                if name in file and getattr(file[name], "is_scale", False):
                    node.dims[axis].attach_scale(file[name])
                else:
                    node.dims[axis].label = name
        file.attrs.update({} if isinstance(signal, Field) else dict(signal.attributes))
    return out.getvalue()
