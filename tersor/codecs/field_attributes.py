"""Names of axes and attributes of fields as JSON in the container's metadata; numbers keep their type."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from tersor.errors import BitstreamError
from tersor.signals import Field, FieldSet

KEY = "fields"


def pack_attributes(signal: Field | FieldSet) -> dict[str, bytes]:
    """Metadata of a file; nothing if there is nothing to keep."""
    fields = [signal] if isinstance(signal, Field) else list(signal.fields.values())
    each = {f.name: {"dims": list(f.dims), "attributes": _plain(f.attributes)} for f in fields if f.dims or f.attributes}
    whole = {} if isinstance(signal, Field) else _plain(signal.attributes)
    return {KEY: json.dumps({"attributes": whole, "variables": each}, allow_nan=True).encode()} if each or whole else {}


def unpack_attributes(metadata: Mapping[str, bytes]) -> tuple[dict[str, Any], dict[str, tuple[tuple[str, ...], dict[str, Any]]]]:
    """(attributes of the whole, {variable: (dims, attributes)}).

    Raises:
        BitstreamError: not what `pack_attributes` writes.
    """
    if KEY not in metadata:
        return {}, {}
    try:
        tree = json.loads(metadata[KEY])
        each = {name: (tuple(map(str, v["dims"])), _typed(v["attributes"])) for name, v in tree["variables"].items()}
        return _typed(tree["attributes"]), each
    except (ValueError, KeyError, TypeError, AttributeError) as e:
        raise BitstreamError(f"metadata '{KEY}' is not a description of variables ({e!r}); the file is damaged") from e


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
    return {k: np.array(v["values"], np.dtype(v["dtype"]))[()] if isinstance(v, dict) else v for k, v in attributes.items()}
