"""A numeric array with a name, axes and attributes; several of one file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """A numeric array; `np.asarray(field)` is its values.

    Attributes:
        values: any float or integer dtype, any number of axes; of text (kinds U, S, O) in a FieldSet that was
            read from a file.
        name: of the variable; may be empty.
        dims: names of the axes, or empty.
        attributes: of the variable: strings, numbers, one-axis arrays.
        exact: code without loss whatever bound is asked for (coordinates).
        notes: what was changed on the way in, for people.
    """

    values: NDArray[Any]
    name: str = ""
    dims: tuple[str, ...] = ()
    attributes: Mapping[str, Any] = field(default_factory=dict)
    exact: bool = False
    notes: tuple[str, ...] = ()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return (
            np.array(self.values, dtype=dtype)
            if copy or dtype not in (None, self.values.dtype)
            else self.values
        )

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
    def nbytes(self) -> int:
        return int(self.values.nbytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldSet:
    """Fields of one file, by name.

    Attributes:
        fields: in order.
        attributes: of the whole.
        asked: names that were asked for; the other fields are their coordinates. Empty if all were.
        notes: what was changed on the way in, for people.
    """

    fields: Mapping[str, Field]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    asked: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __getitem__(self, name: str) -> Field:
        return self.fields[name]

    def __repr__(self) -> str:
        return f"FieldSet({', '.join(f'{n}: {list(f.values.shape)}' for n, f in self.fields.items())})"

    @property
    def nbytes(self) -> int:
        return sum(f.nbytes for f in self.fields.values())
