"""Whole files or none; a full disk is named as that, whatever a library makes of it."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from tersor.errors import SignalError

FULL = (errno.ENOSPC, errno.EDQUOT)
PROBE = 1 << 16  # G: bytes; a library may leave as much of a full disk
TOLD_BY_HDF5 = re.compile(r"errno = (\d+)")


def unwritable(path: Path, error: OSError) -> SignalError:
    """What to raise for a file that cannot be written."""
    told = TOLD_BY_HDF5.search(str(error)) if error.errno is None else None
    number = int(told[1]) if told else error.errno
    if number in FULL:
        return SignalError(f"{path}: no space left on {path.parent}; make room there, or name another folder")
    why = os.strerror(number) if number is not None else error
    return SignalError(f"{path}: cannot be written ({why})")


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
        raise unwritable(path, e) from e
    except Exception as e:  # of NetCDF and others, who do not say why
        if full := _fullness(beside):
            raise unwritable(path, full) from e
        raise
    finally:
        beside.unlink(missing_ok=True)


def _fullness(file: Path) -> OSError | None:
    """What is in the way of a longer file."""
    try:
        with file.open("ab") as f:
            f.write(bytes(PROBE))
            f.flush()
            os.fsync(f.fileno())
    except OSError as e:
        return e
    return None


def _write_through(path: Path, data: bytes) -> None:
    try:
        path.write_bytes(data)
    except OSError as e:
        raise unwritable(path, e) from e


def write_output(path: Path | None, data: bytes) -> None:
    """To a file, its folder made where it is missing, or to standard output."""
    if path is None:
        with to_stdout() as file:
            file.write(data)
        return
    write_atomically(prepared(path), data)


@contextlib.contextmanager
def to_stdout() -> Iterator[BinaryIO]:
    """Standard output, for bytes; what is in it is written out at the end.

    Raises:
        SignalError: it cannot be written; BrokenPipeError: nobody reads it any more.
    """
    try:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        raise
    except OSError as e:
        with contextlib.suppress(OSError):  # or the interpreter tries again when it ends
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SignalError(f"standard output cannot be written ({e.strerror or e})") from e


def prepared(path: Path) -> Path:
    """The path, its folder made."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise SignalError(f"{path.parent}: cannot be made ({e.strerror})") from e
    return path
