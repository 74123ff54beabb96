"""Inputs and outputs of a command: names to files, nothing overwritten unasked."""

from __future__ import annotations

import io
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

from tersor.errors import SignalError, unreadable
from tersor.files.kinds import FOLDER

MOST_NAMED = 10  # G: file names in one line
# packages that teach Pillow a format
PLUGINS = {".heic": "pillow-heif", ".heif": "pillow-heif", ".jxl": "pillow-jxl-plugin"}


class Inputs(NamedTuple):
    """The files that arguments name.

    Attributes:
        items: (name, path inside the folder it came from) of each.
        many: whether several outputs are to be expected.
        passed_over: names of the files in folders that are none of those asked for.
    """

    items: list[tuple[str, Path | None]]
    many: bool
    passed_over: list[str]


def expand(inputs: Sequence[str], suffixes: Collection[str]) -> Inputs:
    """Files, and those in folders whose suffix is one of these; hidden ones are never looked at.

    Raises:
        SignalError: a folder without such files.
    """
    out: list[tuple[str, Path | None]] = []
    passed_over: list[str] = []
    for name in inputs:
        path = Path(name)
        if name != "-" and path.is_dir() and path.suffix.lower() != FOLDER:
            found = []
            for p in sorted(path.rglob("*")):
                if any(part.startswith(".") for part in p.relative_to(path).parts) or _in_store(p, path):
                    continue
                if p.suffix.lower() in suffixes and (p.is_file() or p.suffix.lower() == FOLDER):
                    found.append(p)
                elif p.is_file():
                    passed_over.append(str(p))
            if not found:
                raise SignalError(f"{name}: no files here end with {' '.join(sorted(suffixes))}")
            out += [(str(p), p.relative_to(path)) for p in found]
        else:
            out.append((name, None))
    return Inputs(out, len(inputs) > 1 or any(r is not None for _, r in out), passed_over)


def _in_store(path: Path, folder: Path) -> bool:
    """Whether a file is part of a store, which counts as one."""
    return any(p.suffix.lower() == FOLDER for p in path.relative_to(folder).parents)


def said_of_passed_over(names: Sequence[str]) -> str:
    """ "2 files passed over: y.tga, z.heic (HEIC: pip install pillow-heif)"."""
    shown = [Path(n).name for n in names[:MOST_NAMED]] + ["..."] * (len(names) > MOST_NAMED)
    packages = sorted({PLUGINS[s] for n in names if (s := Path(n).suffix.lower()) in PLUGINS})
    way_out = f"; for some of them: pip install {' '.join(packages)}" if packages else ""
    return f"{len(names)} file{'s' * (len(names) != 1)} passed over: {', '.join(shown)}{way_out}"


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
        raise unreadable(name, e) from e


def open_input(name: str) -> BinaryIO:
    """A file to read parts of; standard input is read whole."""
    if name == "-":
        return io.BytesIO(sys.stdin.buffer.read())
    try:
        return Path(name).open("rb")
    except OSError as e:
        raise unreadable(name, e) from e


class Outputs:
    """The files of one run: none is overwritten without -f, none is written twice.

    Args:
        force: overwrite what is there.
        given: the name of the one output, if it was given by hand: it has no other.
    """

    def __init__(self, force: bool, given: str | None = None) -> None:
        self._force = force
        self._given = given
        self._taken: dict[Path, str] = {}  # -> suffix of the input that has it

    def claim(self, path: Path | None, name: str) -> Path | None:
        """The path; or, if an input of this run has it whose name differs only in its suffix, the path with
        the suffix of this input kept.

        Raises:
            SignalError: neither is free.
        """
        if path is None:
            return None
        suffix = Path(name).suffix
        try:
            exists, real = path.exists(), path.resolve()
        except OSError as e:
            raise SignalError(f"{path}: cannot be written ({e.strerror})") from e
        if real in self._taken:
            if suffix == self._taken[real] or path.stem.endswith(suffix) or str(path) == self._given:
                raise SignalError(
                    f"two inputs would be written to {path}; give them different names or folders"
                )
            return self.claim(path.with_name(f"{path.stem}{suffix}{path.suffix}"), name)
        self._taken[real] = suffix
        if exists and not self._force:
            raise SignalError(f"{path} exists; give -f to overwrite it, or -o another name")
        return path

    def release(self, path: Path | None) -> None:
        """The name is free again: nothing was written there."""
        if path is not None:
            self._taken.pop(path.resolve(), None)
