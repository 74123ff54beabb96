"""HDF5 files through h5py: data sets of any group by their path, attributes, the scales that name their axes,
and how the file is built: groups, links, chunks, deflate, fill values, names of enumerations.
"""

from __future__ import annotations

import errno
import io
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from tersor.arrays import Numbers
from tersor.errors import MissingDependencyError, SignalError, TersorError, unreadable
from tersor.files.atomic import atomic_path
from tersor.files.attributes import held, kept, left_out
from tersor.files.hdf5_chunks import check_chunks
from tersor.files.spool import LARGE_BYTES, Spool, pour
from tersor.signals import Field, FieldSet
from tersor.signals.field import Attributes, Empty, describes, with_related

HDF5 = {".h5", ".hdf5", ".he5"}
OWN_ATTRIBUTES = {  # the library's, made anew
    *("CLASS", "NAME", "DIMENSION_LIST", "REFERENCE_LIST", "DIMENSION_LABELS"),
    *("_Netcdf4Dimid", "_Netcdf4Coordinates", "_nc3_strict", "_NCProperties"),
}
UNCODED = {"float128", "longdouble"}

Node = Any  # a file, group or dataset of h5py, which has no types


def _h5py() -> ModuleType:
    try:
        import h5py
    except ImportError as e:
        raise MissingDependencyError("HDF5 files need h5py: pip install 'tersor[fields]'") from e
    return h5py


def read_hdf5(source: Path | bytes, variables: Sequence[str] | None) -> FieldSet:
    """Data sets of numbers and text, named by their path ("group/name"); those of other types are left out,
    and the notes say so.

    Raises:
        SignalError: not an HDF5 file, or one without the variables asked for.
    """
    h5py = _h5py()
    path = source if isinstance(source, Path) else "standard input"
    if isinstance(source, Path) and not source.exists():
        raise unreadable(path, FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT)))
    try:
        with h5py.File(source if isinstance(source, Path) else io.BytesIO(source), "r") as file:
            return _field_set(file, path, variables)
    except TersorError:
        raise
    except Exception as e:  # damaged files raise whatever comes to h5py
        raise SignalError(f"{path}: not an HDF5 file that can be read ({e})") from e


def _field_set(file: Node, path: Path | str, variables: Sequence[str] | None) -> FieldSet:
    found, built, lost = _walk(file)
    names = list(found) if variables is None else list(variables)
    if missing := sorted(set(names) - set(found)):
        raise SignalError(f"{path}: no dataset {', '.join(missing)}; it has {', '.join(found)}")
    about = {n: (_dims(node), dict(_attributes(node)[0])) for n, node in found.items()}
    describing = {d for n in found for d in with_related([n], about) - {n}}
    fields = {}
    needed = with_related(names, about)
    spool = Spool()
    for name in [n for n in found if n in needed]:
        node = found[name]
        check_chunks(_h5py(), node)
        values = _from_boxes(spool, node) if _is_plain(node) else _values(node)
        if values is None:
            lost.append(f"{name} ({node.dtype})")
            continue
        dims, (attributes, dropped) = _dims(node), _attributes(node)
        lost += [f"{name}:{a}" for a in dropped]
        own = name.rpartition("/")[2]
        exact = name in describing or describes(own, [d.rpartition("/")[2] for d in dims], attributes)
        fields[name] = Field(
            values=values,
            name=name,
            dims=dims,
            attributes=attributes,
            encoding=_encoding(node),
            exact=exact or values.dtype.kind != "f",
        )
    if variables is not None and (odd := sorted(set(names) - set(fields))):
        raise SignalError(f"{path}: {', '.join(odd)} hold no numbers; only numbers can be coded")
    if not any(not f.is_text for f in fields.values()):
        raise SignalError(f"{path}: no datasets of numbers{f' (there are {lost})' if lost else ''}")
    whole, dropped = _attributes(file)
    return FieldSet(
        fields=fields,
        attributes=whole,
        encoding={"source": HDF5_SUFFIX if isinstance(path, str) else path.suffix.lower(), **built},
        notes=left_out("what holds no numbers or text", [*lost, *dropped]),
    )


HDF5_SUFFIX = ".h5"


def _walk(file: Node) -> tuple[dict[str, Node], dict[str, Node], list[str]]:
    """Data sets by the first path that leads to each; groups, links, empty data sets; what cannot be kept."""
    h5py = _h5py()
    found: dict[str, Node] = {}
    groups: dict[str, Node] = {}
    links: dict[str, object] = {}
    empty: dict[str, Node] = {}
    lost: list[str] = []
    first: dict[int, str] = {h5py.h5o.get_info(file.id).addr: ""}

    def visit(group: Node, prefix: str) -> None:
        later = []
        for name in group:
            path = prefix + name
            link = group.get(name, getlink=True)
            if isinstance(link, h5py.SoftLink):
                links[path] = {"soft": link.path}
                continue
            if isinstance(link, h5py.ExternalLink):
                links[path] = {"external": [link.filename, link.path]}
                continue
            node = group[name]
            address = h5py.h5o.get_info(node.id).addr
            if address in first:
                links[path] = {"hard": "/" + first[address]}
            elif isinstance(node, h5py.Group):
                first[address] = path
                attributes, dropped = _attributes(node)
                lost.extend(f"{path}:{a}" for a in dropped)
                groups[path] = attributes
                later.append((node, path + "/"))
            elif isinstance(node, h5py.Dataset) and node.shape is None:
                first[address] = path
                empty[path] = {"dtype": node.dtype.str, "attributes": _attributes(node)[0]}
            elif isinstance(node, h5py.Dataset):
                first[address] = path
                found[path] = node
            else:
                lost.append(f"{path} (a type)")
        for node, path in later:
            visit(node, path)

    visit(file, "")
    used = {p for name in [*found, *empty, *links] for p in _parents(name)}
    groups = {p: a for p, a in groups.items() if a or p not in used}
    built = {"groups": groups, "links": links, "empty": empty}
    return found, {k: v for k, v in built.items() if v}, lost


def _parents(path: str) -> list[str]:
    parts = path.split("/")[:-1]
    return ["/".join(parts[: i + 1]) for i in range(len(parts))]


def _is_plain(node: Node) -> bool:
    return bool(node.ndim) and node.dtype.kind in "fiu" and node.dtype.name not in UNCODED


def _from_boxes(spool: Spool, node: Node) -> Numbers:
    return spool.filled(node.shape, node.dtype, node.chunks or (), lambda box: node[box])


def _values(node: Node) -> Any:
    """Numbers, booleans and text; None for what is neither."""
    h5py = _h5py()
    if h5py.check_string_dtype(node.dtype) is not None:
        if h5py.check_string_dtype(node.dtype).length is not None:
            return np.asarray(node[()])
        return np.asarray(node.asstr()[()], object)
    if node.dtype.kind not in "fiub" or node.dtype.name in UNCODED:
        return None
    return np.asarray(node[()], node.dtype.newbyteorder("=") if node.dtype.kind == "b" else node.dtype)


def _encoding(node: Node) -> dict[str, object]:
    """How the file stores a data set, in the words of `signals.Field`."""
    h5py = _h5py()
    out: dict[str, object] = {}
    if node.chunks:
        out["chunks"] = [int(c) for c in node.chunks]
    if node.compression in ("gzip", "lzf"):
        out["compression"] = node.compression
        out |= {"level": int(node.compression_opts)} if node.compression == "gzip" else {}
    out |= {k: True for k in ("shuffle", "fletcher32") if getattr(node, k)}
    if axes := [i for i, n in enumerate(node.maxshape or ()) if n is None]:
        out["unlimited"] = axes
    if h5py.check_string_dtype(node.dtype) is None and node.fillvalue != 0:
        out["fillvalue"] = np.asarray(node.fillvalue)[()]
    if names := h5py.check_enum_dtype(node.dtype):
        out["enum"] = {str(k): int(v) for k, v in names.items()}
    if scales := {str(i): [s.name.strip("/") for s in d.values()] for i, d in enumerate(node.dims) if len(d)}:
        out["scales"] = scales
    return out


def _dims(node: Node) -> tuple[str, ...]:
    """Names of axes: the path of the scale, or the label, or one made of the data set's name; none if no axis
    has one.
    """
    if node.is_scale and node.ndim == 1:
        return (node.name.strip("/"),)
    names = [d[0].name.strip("/") if len(d) else d.label for d in node.dims]
    if not any(names):
        return ()
    own = node.name.strip("/")
    return tuple(n or f"{own}_axis{i}" for i, n in enumerate(names))


def _attributes(node: Node) -> tuple[dict[str, object], list[str]]:
    """What can be kept, and the names of what cannot."""
    return kept({k: _attribute(node, k) for k in node.attrs if k not in OWN_ATTRIBUTES})


def _attribute(node: Node, name: str) -> Any:
    try:
        return node.attrs[name]
    except (OSError, TypeError, ValueError, UnicodeDecodeError):
        return object()  # a type that h5py cannot read: named as left out


def hdf5_bytes(signal: Field | FieldSet) -> tuple[bytes, tuple[str, ...]]:
    """As `write_hdf5`, the bytes of the file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "out.h5"
        notes = write_hdf5(signal, path)
        return path.read_bytes(), notes


def write_hdf5(signal: Field | FieldSet, path: Path) -> tuple[str, ...]:
    """A file of the same data sets, groups and links, with scales where an axis has the name of one, whole or
    not at all; and a note of what it does not hold.

    Raises:
        SignalError: a file that cannot be written.
    """
    _h5py()
    with atomic_path(path) as beside:
        return _write(signal, beside)


def _write(signal: Field | FieldSet, path: Path) -> tuple[str, ...]:
    h5py = _h5py()
    fields = [signal] if isinstance(signal, Field) else list(signal.fields.values())
    built = {} if isinstance(signal, Field) else signal.encoding
    lost: list[str] = []

    def describe(node: Node, attributes: Attributes, name: str) -> None:
        form, dropped = held(attributes, _form)
        for key, value in form.items():
            try:
                node.attrs[key] = value
            except (TypeError, ValueError, RuntimeError):  # no such type, or too long
                dropped.append(key)
        lost.extend(f"{name}:{d}" if name else d for d in dropped)

    with h5py.File(path, "w") as file:
        for name, attributes in built.get("groups", {}).items():
            describe(file.require_group(name), attributes, name)
        for f in fields:
            describe(_create(file, f), f.attributes, f.name)
            if f.is_coordinate:
                file[f.name].make_scale(f.name.rpartition("/")[2])
        for name, e in built.get("empty", {}).items():
            describe(file.create_dataset(name, data=_form(Empty(e["dtype"]))), e.get("attributes", {}), name)
        for f in fields:
            _name_axes(file, f)
        for name, link in built.get("links", {}).items():
            lost += _link(file, name, link)
        describe(file, {} if isinstance(signal, Field) else signal.attributes, "")
    return left_out("what an HDF5 file cannot hold was", lost)


def _create(file: Node, f: Field) -> Node:
    h5py = _h5py()
    values, e = f.values, f.encoding
    options: dict[str, object] = {}
    if values.dtype.kind in "UO":
        return file.create_dataset(f.name or "field", data=values.astype(object), dtype=h5py.string_dtype())
    chunks = [min(int(c), n) for c, n in zip(e.get("chunks", ()), values.shape, strict=False)]
    unlimited = {int(i) for i in np.atleast_1d(e.get("unlimited", []))}
    if values.ndim and values.size and (chunks or unlimited or e.get("compression")):
        fits = len(chunks) == values.ndim and min(chunks) > 0
        options = {"chunks": tuple(chunks) if fits else True}
        options |= {"maxshape": tuple(None if i in unlimited else n for i, n in enumerate(values.shape))}
        if e.get("compression") in ("gzip", "lzf"):
            options |= {"compression": e["compression"]}
            options |= {"compression_opts": int(e.get("level", 4))} if e["compression"] == "gzip" else {}
        options |= {k: True for k in ("shuffle", "fletcher32") if e.get(k)}
    if e.get("fillvalue") is not None:
        options["fillvalue"] = np.asarray(e["fillvalue"]).astype(values.dtype)
    dtype = values.dtype
    if e.get("enum") and values.dtype.kind in "iu":
        dtype = h5py.enum_dtype({k: int(v) for k, v in e["enum"].items()}, basetype=values.dtype)
        options.pop("fillvalue", None)
    if f.nbytes < LARGE_BYTES:
        return file.create_dataset(f.name or "field", data=values, dtype=dtype, **options)
    node = file.create_dataset(f.name or "field", values.shape, dtype, **options)
    pour(values, node, node.chunks or ())
    return node


def _name_axes(file: Node, f: Field) -> None:
    """Scales where there are data sets of that name, labels elsewhere; made-up names are not written."""
    own = f.name or "field"
    for axis, name in enumerate(() if f.is_coordinate else f.dims):
        node = file[own]
        scales = [s for s in f.encoding.get("scales", {}).get(str(axis), [name]) if s in file]
        for s in scales or []:
            if getattr(file[s], "is_scale", False):
                node.dims[axis].attach_scale(file[s])
        if not scales and name != f"{own}_axis{axis}":
            node.dims[axis].label = name


def _link(file: Node, path: str, link: dict[str, Any]) -> list[str]:
    """Make a link again; -> its name if there is nothing that it could lead to."""
    h5py = _h5py()
    if path in file:
        return []
    if "hard" in link:
        target = str(link["hard"]).strip("/")
        if target and target not in file:
            return [path]
        file[path] = file[target or "/"]
    elif "soft" in link:
        file[path] = h5py.SoftLink(str(link["soft"]))
    else:
        file[path] = h5py.ExternalLink(*map(str, link["external"]))
    return []


def _form(value: object) -> object:
    """An attribute as h5py writes it.

    Raises:
        TypeError: HDF5 has no such attribute.
    """
    if isinstance(value, Empty):
        h5py = _h5py()  # the type of an object is that of text: no other is kept
        return h5py.Empty(h5py.string_dtype() if value.dtype == "|O" else value.dtype)
    if value is None or isinstance(value, dict):
        raise TypeError(value)
    if isinstance(value, np.ndarray) and value.dtype.kind in "OU":
        return value.astype(object).astype(_h5py().string_dtype())
    if isinstance(value, list):
        try:
            return value if np.asarray(value).dtype.kind in "fiubU" else _refuse(value)
        except ValueError:
            return _refuse(value)
    return value


def _refuse(value: object) -> object:
    raise TypeError(value)
