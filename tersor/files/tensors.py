"""Files of tensors: safetensors, alone or several of them beside an index (model.safetensors.index.json).

    8 bytes: length of the header | header (JSON: name -> dtype, shape, data_offsets; `__metadata__`) | data,
    without gaps

Read by mapping: a tensor's bytes are touched when it is coded. Headers are kept as they are, so that a file
comes back byte by byte. Source: the format's page in the safetensors repository, with its list of what a
reader must refuse.
"""

from __future__ import annotations

import json
import mmap
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tersor.errors import SignalError, unreadable
from tersor.files.atomic import atomic_file
from tersor.signals.dtypes import KINDS, size_bytes
from tersor.signals.tensors import Tensor, Tensors

SUFFIX = ".safetensors"
INDEX_SUFFIX = ".index.json"
MAX_HEADER = 100_000_000  # safetensors' own limit
METADATA = "__metadata__"


def read_tensors(source: Path | bytes) -> Tensors:
    """The tensors of a .safetensors file, or of all files that an index names.

    Raises:
        SignalError: not such a file.
    """
    if isinstance(source, Path) and source.name.endswith(INDEX_SUFFIX):
        return _read_sharded(source)
    name = source.name if isinstance(source, Path) else "standard input"
    header, entries, metadata = _read_file(
        _mapped(source) if isinstance(source, Path) else np.frombuffer(source, np.uint8), name
    )
    return Tensors(entries=entries, metadata=metadata, files={name: header})


def _read_sharded(path: Path) -> Tensors:
    try:
        data = path.read_bytes()
        names = sorted(set(json.loads(data)["weight_map"].values()))
    except OSError as e:
        raise unreadable(path, e) from e
    except (ValueError, KeyError, AttributeError, TypeError) as e:
        raise SignalError(
            f"{path}: not an index of safetensors files: it has no weight_map of names ({e!r})"
        ) from e
    entries: dict[str, Tensor] = {}
    metadata: dict[str, str] = {}
    files = {}
    for name in names:
        check_file_name(name)
        files[name], more, text = _read_file(_mapped(path.parent / name), name)
        if twice := sorted(entries.keys() & more.keys()):
            raise SignalError(f"{path}: tensor '{twice[0]}' is in two of its files; remove one")
        entries |= more
        metadata |= text
    return Tensors(entries=entries, metadata=metadata, files=files, index=(path.name, data))


def check_file_name(name: Any) -> None:
    """Raises: SignalError: not the plain name of a file, which could be written elsewhere."""
    if (
        not isinstance(name, str)
        or not name
        or name != os.path.basename(name)
        or name in (".", "..")
        or "\\" in name
    ):
        raise SignalError(f"a model's file is called {name!r}; allowed are names without folders")


def _mapped(path: Path) -> NDArray[np.uint8]:
    try:
        with path.open("rb") as f:
            if os.fstat(f.fileno()).st_size == 0:
                return np.empty(0, np.uint8)
            # copy on write: nothing is written, but loops are compiled once, for arrays that can be
            return np.frombuffer(mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_COPY), np.uint8)
    except OSError as e:
        raise unreadable(path, e) from e


def _read_file(data: NDArray[np.uint8], name: str) -> tuple[bytes, dict[str, Tensor], dict[str, str]]:
    """-> header, tensors in the order of their data, metadata."""
    length = int.from_bytes(data[:8].tobytes(), "little")
    if len(data) < 8 or length > min(MAX_HEADER, len(data) - 8):
        raise SignalError(
            f"{name}: not a safetensors file: it announces a header of {length} bytes and has {len(data)}"
        )
    header, body = data[8 : 8 + length].tobytes(), data[8 + length :]
    spans, metadata = parse_header(header, name)
    entries, at = {}, 0
    for key, dtype, shape, start, stop in spans:
        if start != at or stop > len(body):
            raise SignalError(
                f"{name}: tensor '{key}' lies at bytes {start} to {stop}, expected is a start at {at} and an "
                f"end by {len(body)}; it is damaged"
            )
        entries[key] = Tensor(dtype=dtype, shape=shape, words=body[start:stop].view(f"u{KINDS[dtype].word}"))
        at = stop
    if at != len(body):
        raise SignalError(f"{name}: {len(body) - at} bytes after the last tensor; it is damaged")
    return header, entries, metadata


Span = tuple[str, str, tuple[int, ...], int, int]


def parse_header(header: bytes, name: str) -> tuple[list[Span], dict[str, str]]:
    """Tensors of a safetensors header in the order of their data, and its metadata.

    Returns:
        (name, dtype, shape, first byte, byte after the last) of each tensor; metadata.

    Raises:
        SignalError: not such a header.
    """
    try:
        parsed = json.loads(header)
        metadata = parsed.pop(METADATA, None) or {}
        spans = [(k, v["dtype"], tuple(v["shape"]), *v["data_offsets"]) for k, v in parsed.items()]
        if not all(
            isinstance(n, int) and n >= 0 for _, _, shape, start, stop in spans for n in (*shape, start, stop)
        ):
            raise SignalError(f"{name}: a shape or an offset is not a whole number; it is damaged")
        if not all(isinstance(v, str) for v in metadata.values()):
            raise SignalError(f"{name}: its metadata is not text; it is damaged")
        for key, dtype, shape, start, stop in spans:
            if (needed := size_bytes(dtype, shape)) != stop - start:
                raise SignalError(
                    f"{name}: tensor '{key}' {list(shape)} of {dtype} takes {needed} bytes and has "
                    f"{stop - start}; it is damaged"
                )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as e:
        if isinstance(e, SignalError):
            raise
        raise SignalError(f"{name}: its header is not that of a safetensors file ({e!r})") from e
    return sorted(spans, key=lambda s: (s[3], s[4])), metadata


def write_tensors(signal: Tensors, path: Path) -> None:
    """Write aside, then rename; an index and the files it names if the model came in several.

    Raises:
        SignalError: the suffix is none of these, or the signal did not come in several files.
    """
    if path.name.endswith(INDEX_SUFFIX):
        if signal.index is None:
            raise SignalError(
                f"{path}: the tensors did not come with an index; write them to one {SUFFIX} file"
            )
        for name, header in signal.files.items():
            check_file_name(name)
            _write(path.parent / name, _with_header(signal, header, name))
        _write(path, iter([signal.index[1]]))
    else:
        _write(path, pieces(signal, path.suffix))


def _write(path: Path, parts: Iterator[Any]) -> None:
    with atomic_file(path) as f:
        for part in parts:
            f.write(part)


def pieces(signal: Tensors, suffix: str) -> Iterator[Any]:
    """The bytes of one .safetensors file, part by part: the original file if there was one.

    Raises:
        SignalError: another suffix.
    """
    if suffix.lower() != SUFFIX:
        raise SignalError(
            f"'{suffix}' is not a format for tensors; allowed are {SUFFIX} and {SUFFIX}{INDEX_SUFFIX}"
        )
    if len(signal.files) == 1:
        ((name, header),) = signal.files.items()
        return _with_header(signal, header, name)
    return _with_header(signal, header_of(signal.entries, signal.metadata), "the new file")


def header_of(entries: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    """A safetensors header: wide numbers first, so that all are aligned; padded to 8 bytes."""
    out: dict[str, object] = {METADATA: dict(metadata)} if metadata else {}
    at = 0
    for name, t in sorted(entries.items(), key=lambda item: -KINDS[item[1].dtype].word):
        out[name] = {"dtype": t.dtype, "shape": list(t.shape), "data_offsets": [at, at + t.nbytes]}
        at += t.nbytes
    header = json.dumps(out, separators=(",", ":"), ensure_ascii=False).encode()
    return header + b" " * (-len(header) % 8)


def _with_header(signal: Tensors, header: bytes, name: str) -> Iterator[Any]:
    yield len(header).to_bytes(8, "little") + header
    for key, dtype, shape, *_ in parse_header(header, name)[0]:
        tensor = signal[key]
        if (tensor.dtype, tensor.shape) != (dtype, shape):
            raise SignalError(f"{name}: its header says {dtype} {list(shape)} of '{key}', which is {tensor}")
        yield tensor.words.data
