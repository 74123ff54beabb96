"""A numeric array with a name, axes and attributes; several of one file."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from tersor.arrays import Numbers
from tersor.signals.compare import fingerprint, same, same_array

Attributes = Mapping[str, Any]  # values as a file holds them: text, numbers, arrays, and what lies in those


@dataclass(frozen=True, slots=True)
class Empty:
    """An attribute or data set with a type and no value (HDF5's null dataspace)."""

    dtype: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Field:
    """A numeric array; `np.asarray(field)` is its values.

    Attributes:
        values: any float or integer dtype, any number of axes; of text (kinds U, S, O) in a FieldSet that was
            read from a file.
        name: of the variable; may be empty.
        dims: names of the axes, or empty.
        attributes: of the variable: text, bytes, numbers, complex numbers, arrays of these.
        encoding: how its source stored it, which changes no value: "chunks", "compression", "level",
            "shuffle", "fletcher32", "fillvalue", "enum"; writers keep what their format has.
        exact: code without loss whatever bound is asked for (coordinates).
        notes: what was changed on the way in, for people.
    """

    values: Numbers
    name: str = ""
    dims: tuple[str, ...] = ()
    attributes: Attributes = field(default_factory=dict)
    encoding: Attributes = field(default_factory=dict)
    exact: bool = False
    notes: tuple[str, ...] = ()

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> Numbers:
        return (
            np.array(self.values, dtype=dtype)
            if copy or dtype not in (None, self.values.dtype)
            else self.values
        )

    def __eq__(self, other: object) -> bool:
        """Whether values, name, axes and attributes are the same."""
        if not isinstance(other, Field):
            return NotImplemented
        return (
            (self.name, self.dims) == (other.name, other.dims)
            and same_array(self.values, other.values)
            and same(self.attributes, other.attributes)
        )

    def __hash__(self) -> int:
        return hash((self.name, self.dims, fingerprint(self.values)))

    def __repr__(self) -> str:
        return f"Field({self.name!r}, shape={self.values.shape}, {self.values.dtype})"

    @property
    def is_text(self) -> bool:
        return self.values.dtype.kind in "USO"

    @property
    def is_coordinate(self) -> bool:
        """Whether it says where the points of an axis lie: one axis, of its own name."""
        return self.dims == (self.name,)

    @property
    def related(self) -> tuple[str, ...]:
        """Names of variables that describe this one: its axes, and what its attributes name (CF conventions,
        sections 3.4, 4.3, 5, 5.6, 7)."""
        return related(self.dims, self.attributes)

    @property
    def nbytes(self) -> int:
        return int(self.values.nbytes)

    def save(self, path: str | Path) -> None:
        """Write a file of arrays; the suffix names the format: .npy, .npz, .nc, .h5, .zarr."""
        importlib.import_module("tersor.files.field").write_field(self, Path(path))


NAMING = (
    *("coordinates", "bounds", "climatology", "grid_mapping"),
    *("formula_terms", "cell_measures", "ancillary_variables"),
)


def related(dims: Sequence[str], attributes: Attributes) -> tuple[str, ...]:
    """Names in the dims and in the attributes that name variables: "lat lon", "area: areacella",
    "a: hya b: hyb", "crs: x y"."""
    texts = [v for k in NAMING if isinstance(v := attributes.get(k), str)]
    return (*dims, *(word.rstrip(":") for text in texts for word in text.split()))


def with_related(names: Iterable[str], fields: Mapping[str, tuple[Sequence[str], Attributes]]) -> set[str]:
    """The names, all that describe them, and what describes those; `fields`: dims and attributes by name.

    In a group ("run/t") a name means one of the same group, or else one of the root.
    """
    found: set[str] = set()
    waiting = [n for n in names if n in fields]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            group = name.rpartition("/")[0]
            for word in related(*fields[name]):
                inside = f"{group}/{word}" if group else word
                waiting += [n for n in dict.fromkeys((inside, word)) if n in fields][:1]
    return found


def describes(name: str, dims: Sequence[str], attributes: Attributes) -> bool:
    """Whether a variable says where cells lie, by itself: named as its axis, or a latitude, longitude, height
    or time by CF's units and names."""
    units, standard = attributes.get("units"), attributes.get("standard_name")
    degrees = isinstance(units, str) and units.lower().startswith(
        ("degrees_n", "degrees_e", "degree_n", "degree_e")
    )
    return (
        tuple(dims) == (name,)
        or degrees
        or attributes.get("axis") in ("X", "Y", "Z", "T")
        or standard in ("latitude", "longitude", "grid_latitude", "grid_longitude", "time")
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FieldSet:
    """Fields of one file, by name.

    Attributes:
        fields: in order.
        attributes: of the whole.
        encoding: how the source was built, which changes no value: "source" (its suffix), "unlimited" (axes),
            "format" (of NetCDF; 2 of Zarr; if it is not the usual one),
            "groups" (attributes by path), "links" (targets by path), "empty" (types by path).
        asked: names that were asked for; the other fields are their coordinates. Empty if all were.
        notes: what was changed on the way in, for people.
    """

    fields: Mapping[str, Field]
    attributes: Attributes = field(default_factory=dict)
    encoding: Attributes = field(default_factory=dict)
    asked: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __getitem__(self, name: str) -> Field:
        return self.fields[name]

    def __eq__(self, other: object) -> bool:
        """Whether fields and attributes are the same."""
        if not isinstance(other, FieldSet):
            return NotImplemented
        return same(self.fields, other.fields) and same(self.attributes, other.attributes)

    def __hash__(self) -> int:
        return hash(frozenset(self.fields.items()))

    def __repr__(self) -> str:
        return f"FieldSet({', '.join(f'{n}: {list(f.values.shape)}' for n, f in self.fields.items())})"

    @property
    def nbytes(self) -> int:
        return sum(f.nbytes for f in self.fields.values())

    def save(self, path: str | Path) -> None:
        """Write a file of arrays; the suffix names the format: .npy, .npz, .nc, .h5, .zarr."""
        importlib.import_module("tersor.files.field").write_field(self, Path(path))
