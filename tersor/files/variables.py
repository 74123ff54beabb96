"""What NetCDF files and Zarr stores share: xarray's raw variables to fields, with values as stored, all
attributes, coordinates, names of axes, texts; and fields by their groups.
"""

from __future__ import annotations

import contextlib
import errno
import os
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from tersor.arrays import Numbers
from tersor.errors import MissingDependencyError, SignalError, TersorError, unreadable
from tersor.files.attributes import kept, left_out
from tersor.files.spool import Spool
from tersor.signals import Field, FieldSet
from tersor.signals.field import Attributes, describes, with_related

if TYPE_CHECKING:
    import xarray as xr

UNCODED = {"float128", "longdouble", "complex64", "complex128", "bfloat16"}


def xarray_for(suffix: str) -> ModuleType:
    """xarray, where the package that reads and writes files of the suffix is there too.

    Raises:
        MissingDependencyError: one is not.
    """
    package, extra = ("zarr", "zarr") if suffix == ".zarr" else ("netCDF4", "fields")
    try:
        __import__(package)
        import xarray
    except ImportError as e:
        raise MissingDependencyError(
            f"{suffix} files need xarray and {package}: pip install 'tersor[{extra}]'"
        ) from e
    return xarray


def read_groups(
    path: Path,
    variables: Sequence[str] | None,
    suffix: str,
    kind: str,
    groups_of: Callable[[Path], dict[str, xr.Dataset]],
) -> FieldSet:
    """Raw values, as stored: packed integers stay integers, times stay numbers. Variables of groups are named
    by their path ("run/t"). What describes a variable comes along and is coded exactly. Of large files the
    values are spooled, not read.

    Args:
        path: of the file.
        variables: only these, and what describes them.
        suffix: of files of this kind, for what is remembered of the source.
        kind: "a NetCDF file".
        groups_of: a path -> raw xarray datasets by path from "/".

    Raises:
        SignalError: no such file, or one without the variables asked for.
    """
    xarray_for(suffix)
    if not path.exists():
        raise unreadable(path, FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT)))
    try:
        with quiet(), contextlib.ExitStack() as stack:
            groups = groups_of(path)
            for data in groups.values():
                stack.callback(data.close)
            return fields_of(str(path), groups, variables, suffix, Spool())
    except TersorError:
        raise
    except Exception as e:  # damaged files raise whatever comes to the codecs of their chunks
        raise SignalError(f"{path}: not {kind} that can be read ({e})") from e


def fields_of(
    path: str,
    groups: Mapping[str, xr.Dataset],
    variables: Sequence[str] | None,
    suffix: str,
    spool: Spool | None = None,
) -> FieldSet:
    """Groups of raw xarray variables, by path from "/", as fields, with notes of what is left out.

    Args:
        path: for errors.
        groups: the variables.
        variables: only these, and what describes them.
        suffix: of the source.
        spool: for the values; as they are if None.

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
        values = _from_boxes(spool, v) if spool and _is_plain(v) else _values(v)
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


def _is_plain(v: xr.Variable) -> bool:
    """Whether it is an array of numbers; of a ragged one xarray names the type of what its cells hold."""
    if not v.size or v.dtype.kind not in "fiub" or v.dtype.name in UNCODED:
        return False
    return bool(v[tuple(slice(0, 1) for _ in v.dims)].to_numpy().dtype == v.dtype)


def _from_boxes(spool: Spool, v: xr.Variable) -> Numbers:
    chunks = v.encoding.get("chunksizes") or v.encoding.get("chunks") or ()
    chunks = () if v.encoding.get("contiguous") or len(chunks) != v.ndim else chunks
    return spool.filled(v.shape, v.dtype, chunks, lambda box: v[box].to_numpy())


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


def by_group(signal: Field | FieldSet) -> dict[str, list[Field]]:
    """Fields by their group; the root first, parents before children, empty groups too."""
    fields = [signal] if isinstance(signal, Field) else list(signal.fields.values())
    out: dict[str, list[Field]] = {"": []}
    for g in [] if isinstance(signal, Field) else signal.encoding.get("groups", {}):
        out[g] = []
    for f in fields:
        out.setdefault(f.name.rpartition("/")[0].strip("/"), []).append(f)
    return dict(sorted(out.items()))


def group_attributes(signal: Field | FieldSet, group: str) -> Attributes:
    """Of a group of `by_group`."""
    if isinstance(signal, Field):
        return {}
    found: Attributes = signal.encoding.get("groups", {}).get(group, {}) if group else signal.attributes
    return found


def named_axes(f: Field) -> tuple[str, ...]:
    """A name for each axis, inside the field's group; made up where it has none."""
    dims = tuple(d.rpartition("/")[2] for d in f.dims)
    if len(set(dims)) == len(dims) == f.values.ndim:
        return dims
    return tuple(f"{f.name.rpartition('/')[2] or 'field'}_axis{i}" for i in range(f.values.ndim))


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """zarr warns of string types whose specification is young, and of stores without common metadata."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
