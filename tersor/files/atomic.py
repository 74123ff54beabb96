"""Whole files or none."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from tersor.errors import SignalError


def write_atomically(path: Path, data: bytes) -> None:
    """Write beside the target and rename, so that no reader and no crash sees part of a file.

    Raises:
        SignalError: the folder is missing or not writable.
    """
    path = Path(os.path.realpath(path))
    if path.exists() and not path.is_file():  # a device or a pipe: nothing to replace
        _write_through(path, data)
        return
    with atomic_file(path) as f:
        f.write(data)


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """A file beside the target that takes its place if the block ends well.

    Raises:
        SignalError: the folder is missing or not writable, or the disk is full.
    """
    with atomic_path(path) as beside, beside.open("r+b") as f:
        yield f


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """As `atomic_file`, the name of the file, for libraries that open it themselves.

    Raises:
        SignalError: the folder is missing or not writable, or the disk is full.
    """
    path = Path(os.path.realpath(path))
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        os.close(handle)
    except OSError as e:
        raise SignalError(
            f"{path}: cannot be written ({e.strerror}); check that the folder exists and is writable"
        ) from e
    beside = Path(name)
    try:
        yield beside
        with beside.open("rb") as f:
            os.fsync(f.fileno())
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(beside, 0o666 & ~umask)
        os.replace(beside, path)
    except OSError as e:
        raise SignalError(f"{path}: cannot be written ({e.strerror or e})") from e
    finally:
        beside.unlink(missing_ok=True)


def _write_through(path: Path, data: bytes) -> None:
    try:
        path.write_bytes(data)
    except OSError as e:
        raise SignalError(f"{path}: cannot be written ({e.strerror})") from e


def write_output(path: Path | None, data: bytes) -> None:
    """To a file, its folder made where it is missing, or to standard output."""
    if path is None:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        return
    write_atomically(prepared(path), data)


def prepared(path: Path) -> Path:
    """The path, its folder made."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise SignalError(f"{path.parent}: cannot be made ({e.strerror})") from e
    return path
