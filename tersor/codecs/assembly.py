"""One file on its way: being written (`Coded`), or back to a signal (`Assembly`, `Opened`). codecs/base.py
walks over them; a codec derives its assembly.
"""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from tersor import container
from tersor.arrays import Numbers
from tersor.container import Reader
from tersor.errors import unreadable
from tersor.files.spool import release

Room: TypeAlias = Callable[[tuple[int, ...], np.dtype[Any]], NDArray[Any]]
"""An array of a shape and type, its cells not set: np.empty, or one on disk (files/spool.py)."""
Source: TypeAlias = bytes | bytearray | memoryview | Reader | str | Path
S = TypeVar("S")  # the signal
A = TypeVar("A", bound="Assembly[Any]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Coded:
    """A file that is being written.

    Attributes:
        header: the codec's header; asked for after the last payload.
        metadata: named byte strings.
        payloads: of the chunks, in order.
    """

    header: Callable[[], bytes]
    metadata: Mapping[str, bytes]
    payloads: Iterable[bytes]

    def file(self, wire_id: int) -> bytes:
        """All of it."""
        payloads = list(self.payloads)
        return container.write(wire_id, self.header(), self.metadata, payloads)


class Assembly(ABC, Generic[S]):
    """One file on its way back to a signal.

    Attributes:
        reader: the file.
        parts: how many there are.
        shape: of the pieces of all parts, joined along axis 0.
        damaged: chunks that were filled.
    """

    def __init__(self, reader: Reader, parts: int, shape: tuple[int, ...] = ()) -> None:
        self.reader, self.parts, self.shape = reader, parts, shape
        self.damaged: list[int] = []
        self._room: Room | None = None
        self._whole: NDArray[Any] | None = None
        self._at = 0

    def into(self, room: Room) -> None:
        """Join the pieces where `room` makes place; before the first is kept."""
        self._room = room

    @abstractmethod
    def needs(self, part: int) -> Iterable[int]:
        """Chunks without which a part cannot be finished; those of earlier parts may be among them."""

    @abstractmethod
    def place(self, chunk: int, x: Any) -> None:
        """Take what a chunk was decoded to."""

    @abstractmethod
    def fill(self, chunk: int) -> None:
        """Take a chunk as damaged: put in its place what the codec promises, NaN, grey or silence."""

    @abstractmethod
    def piece(self, part: int) -> Numbers:
        """The samples of a part, all of whose chunks were placed or filled; called once each, in order."""

    @abstractmethod
    def finish(self) -> S:
        """The signal, of the pieces that were kept."""

    def called(self, chunk: int) -> str:
        """What people call a chunk: "tile 3"."""
        return f"chunk {chunk}"

    def notes(self) -> tuple[str, ...]:
        """What was filled, for people."""
        return tuple(f"{self.called(i)} is damaged and was filled" for i in sorted(self.damaged))

    def keep(self, part: int, piece: Numbers) -> None:
        """Join a piece to those before it. Room for all is made when the first is there, so that a header
        alone allocates nothing.
        """
        if self.parts == 1 and self._room is None:
            self._whole = piece
            return
        if self._whole is None:
            self._whole = (self._room or np.empty)(self.shape, piece.dtype)
        self._whole[self._at : self._at + len(piece)] = piece
        self._at += len(piece)
        release(self._whole)

    def whole(self) -> NDArray[Any]:
        """The pieces that were kept, joined; of their type."""
        assert self._whole is not None
        return self._whole


@dataclass(frozen=True, slots=True)
class Job(Generic[A]):
    """One chunk to be decoded, of one of the files of a call."""

    of: A
    chunk: int
    payload: bytes = b""


class Opened(Generic[A]):
    """A file to be decoded piece by piece; memory depends on a part.

    Attributes:
        assembly: what the codec knows of the file; its notes are complete when the last piece was given.
    """

    def __init__(self, make: Callable[[], A], walk: Callable[[A], Iterator[NDArray[Any]]]) -> None:
        self._make, self._walk = make, walk
        self.assembly = make()
        self._fresh = True
        self._more: tuple[str, ...] = ()

    @property
    def notes(self) -> tuple[str, ...]:
        return self.assembly.notes() + self._more

    def note(self, *notes: str) -> None:
        """Add to the notes what became of the pieces."""
        self._more += notes

    def blocks(self) -> Iterator[NDArray[Any]]:
        """The pieces, in order, that join along axis 0."""
        if not self._fresh:
            self.assembly = self._make()
        self._fresh = False
        return self._walk(self.assembly)

    def read(self, room: Room) -> Any:
        """The whole signal, its samples or arrays where `room` makes place."""
        self.assembly.into(room)
        for part, piece in enumerate(self.blocks()):
            self.assembly.keep(part, piece)
        return self.assembly.finish()


@contextlib.contextmanager
def reading(file: Source, salvage: bool) -> Iterator[Reader]:
    """A reader of a file, open as long as it is needed.

    Raises:
        SignalError: a path that cannot be read. BitstreamError: no .tsr file.
    """
    if isinstance(file, Reader):
        yield file
    elif isinstance(file, (str, Path)):
        try:
            stream = Path(file).open("rb")  # noqa: SIM115 (closed below)
        except OSError as e:
            raise unreadable(file, e) from e
        with stream:
            yield Reader(stream, salvage=salvage)
    else:
        yield Reader(file, salvage=salvage)
