"""Inputs and outputs of a command: names to files, nothing overwritten unasked."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import BinaryIO

from tersor.errors import SignalError

FOLDER = ".zarr"  # stores that are folders but count as files


def expand(inputs: Sequence[str], suffixes: Iterable[str]) -> tuple[list[tuple[str, Path | None]], bool]:
    """(input, path inside the folder it came from) for each file; and whether many outputs are to be
    expected.
    """
    out: list[tuple[str, Path | None]] = []
    for name in inputs:
        path = Path(name)
        if name != "-" and path.is_dir() and path.suffix.lower() != FOLDER:
            found = [
                p
                for p in sorted(path.rglob("*"))
                if p.suffix.lower() in suffixes and (p.is_file() or p.suffix.lower() == FOLDER)
            ]
            if not found:
                raise SignalError(f"{name}: no files here end with {' '.join(sorted(suffixes))}")
            out += [(str(p), p.relative_to(path)) for p in found]
        else:
            out.append((name, None))
    return out, len(inputs) > 1 or any(r is not None for _, r in out)


def output_path(name: str, relative: Path | None, output: str | None, many: bool, suffix: str) -> Path | None:
    """Where the result goes; None is standard output.

    Raises:
        SignalError: no place follows from the arguments.
    """
    if output is None:
        return None if name == "-" else Path(name).with_suffix(suffix)
    if output == "-":
        if many:
            raise SignalError("-o - takes one input; several files cannot share standard output")
        return None
    folder = Path(output)
    if (folder.is_dir() and folder.suffix.lower() != FOLDER) or output.endswith("/") or many:
        if name == "-":
            raise SignalError("standard input has no name; give -o a file, not a folder")
        return folder / (relative or Path(Path(name).name)).with_suffix(suffix)
    return folder


def read_input(name: str) -> bytes:
    if name == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(name).read_bytes()
    except OSError as e:
        raise SignalError(f"{name}: cannot be read ({e.strerror})") from e


def open_input(name: str) -> BinaryIO:
    """A file to read parts of; standard input is read whole."""
    if name == "-":
        return io.BytesIO(sys.stdin.buffer.read())
    try:
        return Path(name).open("rb")
    except OSError as e:
        raise SignalError(f"{name}: cannot be read ({e.strerror})") from e


class Outputs:
    """The files of one run: none is overwritten without -f, none is written twice."""

    def __init__(self, force: bool) -> None:
        self._force = force
        self._taken: set[Path] = set()

    def claim(self, path: Path | None) -> None:
        """Raises: SignalError if the path is not free."""
        if path is None:
            return
        try:
            exists, real = path.exists(), path.resolve()
        except OSError as e:
            raise SignalError(f"{path}: cannot be written ({e.strerror})") from e
        if real in self._taken:
            raise SignalError(f"two inputs would be written to {path}; give them different names or folders")
        if exists and not self._force:
            raise SignalError(f"{path} exists; give -f to overwrite it, or -o another name")
        self._taken.add(real)
