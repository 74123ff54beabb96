"""What the command line does with files of one kind of signal."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeVar

from tersor.errors import SignalError
from tersor.files.atomic import atomic_file, prepared, write_output

if TYPE_CHECKING:
    from tersor.container import Reader

S = TypeVar("S")
OptionsByName = Mapping[str, object]
FOLDER = ".zarr"  # stores that are folders but count as files


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """How a file is to be read.

    Attributes:
        name: of the file, for errors.
        variables: only these.
        page: of a file of several pictures, from 1.
        salvage: take what is there of a damaged file.
    """

    name: str
    variables: list[str] | None = None
    page: int | None = None
    salvage: bool = False


class FileCodec(Protocol):
    """What codes into open files and out of them, as `tersor.Codec` does."""

    @property
    def encode_to(self) -> Callable[..., int]: ...

    @property
    def open(self) -> Callable[..., Any]: ...

    @property
    def decode_into(self) -> Callable[..., Any]: ...


class Kind(ABC, Generic[S]):
    """Files of one kind of signal; heavy imports happen inside the methods.

    Attributes:
        called: one signal, for people.
        suffixes: of its files, lower case.
        codec: that codes it if none was asked for.
        at_once: whether several are coded in one call; not if they are read while they are coded.
        streams: whether standard input is read as it comes, not whole.
        has_variables: whether its files hold several signals by name.
        salvages: whether damaged files can be read.
    """

    called: ClassVar[str]
    suffixes: ClassVar[frozenset[str]]
    codec: ClassVar[str]
    at_once: ClassVar[bool] = True
    streams: ClassVar[bool] = False
    has_variables: ClassVar[bool] = False
    salvages: ClassVar[bool] = False

    @abstractmethod
    def read(self, source: Any, asked: Asked) -> S:
        """A signal from a path, the bytes of a file, or, where the kind streams, an open binary file.

        Raises:
            SignalError: not such a file, or one that is not to be read as asked.
        """

    def check(self, asked: Asked) -> None:
        """Raises: SignalError: something was asked for that the kind has not."""
        if asked.variables and not self.has_variables:
            raise SignalError(f"{asked.name}: {self.called} has no variables; leave out --variables")
        if asked.salvage and not self.salvages:
            raise SignalError(
                f"{asked.name}: what is left of a damaged file is not read for {self.called}; repair it, or "
                "leave out --salvage"
            )

    @abstractmethod
    def to_bytes(self, signal: S, suffix: str) -> bytes:
        """A file of a signal, of the type its suffix names."""

    def write(self, signal: S, path: Path | None, usual: str) -> tuple[str, ...]:
        """A file of a signal where the command's output goes; of the usual type on standard output. -> notes
        of what the file does not hold."""
        write_output(path, self.to_bytes(signal, usual if path is None else path.suffix))
        return ()

    @abstractmethod
    def describe(self, signal: S, size: int) -> tuple[str, str, dict[str, object]]:
        """(what it is, how small its file of `size` bytes is, facts)."""

    def encode_to(self, codec: FileCodec, signal: S, path: Path | None, options: OptionsByName) -> int | None:
        """Encode straight into a file, a chunk at a time in memory; its size, or None if that cannot be, for
        standard output, a device or a pipe.
        """
        if path is None or (path.exists() and not path.is_file()):
            return None
        with atomic_file(prepared(path)) as file:
            return int(codec.encode_to(file, signal, **options))

    def decode(self, codec: FileCodec, reader: Reader, options: OptionsByName) -> S:
        """The whole signal; large arrays of it are on disk."""
        from tersor.files.spool import Spool

        decoded: S = codec.decode_into(reader, Spool().room, **options)
        return decoded

    def decode_to(
        self,
        codec: FileCodec,
        reader: Reader,
        path: Path | None,
        options: OptionsByName,
        writing: dict[str, int],
    ) -> S | None:
        """Decode straight into a file, for signals that need not fit in memory; the signal's description, or
        None if the kind does not, or not there.

        Args:
            codec, reader: what decodes, and what.
            path: where to; None is standard output.
            options: of the codec.
            writing: of the writer: crf.
        """
        return None
