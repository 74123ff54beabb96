"""Names of axes, attributes, variables of text, and how the source was built, as JSON in the container's
metadata; every value keeps its type.

    {"attributes": {...}, "variables": {NAME: {"dims", "attributes", ["encoding"]}},
     ["texts": {NAME: ...}], ["encoding": {"source", "groups", "links", "empty"}]}
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tersor.arrays import Numbers
from tersor.errors import BitstreamError, SignalError
from tersor.signals import Field, FieldSet
from tersor.signals.field import Attributes, Empty, with_related

KEY = "fields"


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """What the metadata of a file say.

    Attributes:
        attributes: of the whole.
        dims, variables: names of axes, and attributes, of each variable of numbers that has any.
        texts: variables of text, whole.
        encodings: how the source stored each variable.
        encoding: how the source was built.
    """

    attributes: dict[str, Any]
    dims: dict[str, tuple[str, ...]]
    variables: dict[str, dict[str, Any]]
    texts: dict[str, Field]
    encodings: dict[str, dict[str, Any]]
    encoding: dict[str, Any]


def pack_attributes(signal: Field | FieldSet) -> dict[str, bytes]:
    """Metadata of a file; nothing if there is nothing to keep."""
    fields = [signal] if isinstance(signal, Field) else list(signal.fields.values())
    tree: dict[str, Any] = {
        "attributes": {} if isinstance(signal, Field) else _plain(signal.attributes),
        "variables": {
            f.name: {"dims": list(f.dims), "attributes": _plain(f.attributes)}
            | ({"encoding": _plain(f.encoding)} if f.encoding else {})
            for f in fields
            if (f.dims or f.attributes or f.encoding) and not f.is_text
        },
    }
    if isinstance(signal, FieldSet) and signal.encoding:
        tree["encoding"] = _plain(signal.encoding)
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
            encodings={name: _typed(v.get("encoding", {})) for name, v in each.items()},
            encoding=_typed(tree.get("encoding", {})),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as e:
        raise BitstreamError(
            f"metadata '{KEY}' is not a description of variables ({e!r}); the file is damaged"
        ) from e


def with_coordinates(
    names: Sequence[str], dims: Mapping[str, tuple[str, ...]], attributes: Mapping[str, Attributes]
) -> set[str]:
    """The names, and the variables that describe them (see `signals.field.related`)."""
    return with_related(names, {n: (d, attributes.get(n, {})) for n, d in dims.items()})


def _text(values: Numbers) -> dict[str, Any]:
    """Strings as they are, bytes as Latin-1."""
    kind = "S" if values.dtype.kind == "S" else "U"
    cells = [c.decode("latin-1") if isinstance(c, bytes) else str(c) for c in values.reshape(-1).tolist()]
    return {
        "kind": kind,
        "width": values.dtype.itemsize if kind == "S" else 0,
        "shape": list(values.shape),
        "values": cells,
    }


def _texts(v: dict[str, Any]) -> Numbers:
    shape = tuple(int(n) for n in v["shape"])
    if v["kind"] == "S":
        return np.array([c.encode("latin-1") for c in v["values"]], f"S{max(1, int(v['width']))}").reshape(
            shape
        )
    return np.array([str(c) for c in v["values"]], object if not v["values"] else None).reshape(shape)


def _plain(attributes: Attributes) -> dict[str, Any]:
    return {k: _coded(v, k) for k, v in attributes.items()}


def _coded(value: Any, name: str) -> Any:
    """A value as JSON. What JSON has not is an object: numbers as {"dtype", "values"}, the rest with "kind".

    Raises:
        SignalError: there is no form for it.
    """
    if isinstance(value, Empty):
        return {"kind": "empty", "dtype": value.dtype}
    if isinstance(value, complex):
        value = np.asarray(value)
    if isinstance(value, bytes):
        return {"kind": "bytes", "value": value.decode("latin-1")}
    if isinstance(value, (np.generic, np.ndarray)):
        if value.dtype.kind in "fiub":
            return {"dtype": value.dtype.str, "values": value.tolist()}
        if value.dtype.kind in "OU":
            cells = [str(v) for v in np.asarray(value).reshape(-1)]
            return cells if value.ndim == 1 else {"kind": "text", "shape": list(value.shape), "values": cells}
        if not value.dtype.hasobject:
            raw = base64.b64encode(np.ascontiguousarray(value).tobytes()).decode()
            form = _descr(value.dtype)
            return {"kind": "raw", "dtype": form, "shape": list(value.shape), "values": raw}
    elif value is None or isinstance(value, (str, bool, int, float)):
        return value
    elif isinstance(value, (list, tuple)) and all(isinstance(v, (str, bool, int, float)) for v in value):
        return list(value)
    elif isinstance(value, (list, tuple)):
        return {"kind": "list", "values": [_coded(v, name) for v in value]}
    elif isinstance(value, Mapping):
        return {"kind": "tree", "values": {str(k): _coded(v, f"{name}.{k}") for k, v in value.items()}}
    raise SignalError(
        f"attribute '{name}' is a {type(value).__name__}; allowed are text, bytes, numbers, "
        "and lists, arrays and dictionaries of them: convert it or leave it out"
    )


def _typed(attributes: Attributes) -> dict[str, Any]:
    return {k: _value(v) for k, v in attributes.items()}


def _value(v: Any) -> Any:
    """The value of `_coded`. Raises: ValueError, KeyError, TypeError: it is none."""
    if not isinstance(v, dict):
        return v
    kind = v.get("kind", "numbers")
    if kind == "numbers":
        return np.array(v["values"], np.dtype(v["dtype"]))[()]
    if kind == "empty":
        return Empty(str(v["dtype"]))
    if kind == "bytes":
        return np.bytes_(v["value"].encode("latin-1"))
    if kind == "text":
        return np.array([str(x) for x in v["values"]], object).reshape(v["shape"])
    if kind == "list":
        return [_value(x) for x in v["values"]]
    if kind == "tree":
        return _typed(v["values"])
    if kind == "raw":
        form = [tuple(f) for f in v["dtype"]] if isinstance(v["dtype"], list) else v["dtype"]
        dtype = np.lib.format.descr_to_dtype(form)  # type: ignore[no-untyped-call]
        if dtype.hasobject:
            raise ValueError(f"type {form}")
        return np.frombuffer(base64.b64decode(v["values"]), dtype).reshape(v["shape"]).copy()[()]
    raise ValueError(f"a value of kind {kind!r}")


def _descr(dtype: np.dtype[np.generic]) -> Any:
    """Of a compound type its fields, else its name."""
    return np.lib.format.dtype_to_descr(dtype) if dtype.names else dtype.str  # type: ignore[no-untyped-call]
