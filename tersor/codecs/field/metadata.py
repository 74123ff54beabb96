"""Names of axes, attributes, and whole variables of text as JSON in the container's metadata; numbers keep
their type.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tersor.errors import BitstreamError
from tersor.signals import Field, FieldSet

KEY = "fields"


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """What the metadata of a file say.

    Attributes:
        attributes: of the whole.
        dims, variables: names of axes, and attributes, of each variable of numbers that has any.
        texts: variables of text, whole.
    """

    attributes: dict[str, Any]
    dims: dict[str, tuple[str, ...]]
    variables: dict[str, dict[str, Any]]
    texts: dict[str, Field]


def pack_attributes(signal: Field | FieldSet) -> dict[str, bytes]:
    """Metadata of a file; nothing if there is nothing to keep."""
    fields = [signal] if isinstance(signal, Field) else list(signal.fields.values())
    tree: dict[str, Any] = {
        "attributes": {} if isinstance(signal, Field) else _plain(signal.attributes),
        "variables": {
            f.name: {"dims": list(f.dims), "attributes": _plain(f.attributes)}
            for f in fields
            if (f.dims or f.attributes) and not f.is_text
        },
    }
    if texts := {
        f.name: {"dims": list(f.dims), "attributes": _plain(f.attributes), **_text(f.values)}
        for f in fields
        if f.is_text
    }:
        tree["texts"] = texts
    return {KEY: json.dumps(tree, allow_nan=True).encode()} if any(tree.values()) else {}


def unpack_attributes(metadata: Mapping[str, bytes]) -> Described:
    """Raises: BitstreamError: not what `pack_attributes` writes."""
    try:
        tree = json.loads(metadata.get(KEY, b'{"attributes": {}, "variables": {}}'))
        each = tree["variables"]
        return Described(
            attributes=_typed(tree["attributes"]),
            dims={name: tuple(map(str, v["dims"])) for name, v in each.items()},
            variables={name: _typed(v["attributes"]) for name, v in each.items()},
            texts={
                name: Field(
                    values=_texts(v),
                    name=name,
                    dims=tuple(map(str, v["dims"])),
                    attributes=_typed(v["attributes"]),
                    exact=True,
                )
                for name, v in tree.get("texts", {}).items()
            },
        )
    except (ValueError, KeyError, TypeError, AttributeError) as e:
        raise BitstreamError(
            f"metadata '{KEY}' is not a description of variables ({e!r}); the file is damaged"
        ) from e


def with_coordinates(
    names: Sequence[str], dims: Mapping[str, tuple[str, ...]], attributes: Mapping[str, Mapping[str, Any]]
) -> set[str]:
    """The names, and the variables that say where their cells lie: named as an axis, or in the attribute
    `coordinates` (CF conventions, section 5).
    """
    out = set(names)
    for name in names:
        listed = attributes.get(name, {}).get("coordinates", "")
        out |= {c for c in (*dims[name], *(listed.split() if isinstance(listed, str) else ())) if c in dims}
    return out | {d for name in out for d in dims[name] if d in dims}


def _text(values: NDArray[Any]) -> dict[str, Any]:
    """Strings as they are, bytes as Latin-1."""
    kind = "S" if values.dtype.kind == "S" else "U"
    cells = [c.decode("latin-1") if isinstance(c, bytes) else str(c) for c in values.reshape(-1).tolist()]
    return {
        "kind": kind,
        "width": values.dtype.itemsize if kind == "S" else 0,
        "shape": list(values.shape),
        "values": cells,
    }


def _texts(v: dict[str, Any]) -> NDArray[Any]:
    shape = tuple(int(n) for n in v["shape"])
    if v["kind"] == "S":
        return np.array([c.encode("latin-1") for c in v["values"]], f"S{max(1, int(v['width']))}").reshape(
            shape
        )
    return np.array([str(c) for c in v["values"]], object if not v["values"] else None).reshape(shape)


def _plain(attributes: Mapping[str, Any]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for k, v in attributes.items():
        if isinstance(v, (np.generic, np.ndarray)) and v.dtype.kind in "fiub":
            out[k] = {"dtype": v.dtype.str, "values": v.tolist()}
        elif isinstance(v, np.ndarray):
            out[k] = [str(x) for x in v.tolist()]
        else:
            out[k] = v if isinstance(v, (str, int, float, list)) else str(v)
    return out


def _typed(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {
        k: np.array(v["values"], np.dtype(v["dtype"]))[()] if isinstance(v, dict) else v
        for k, v in attributes.items()
    }
