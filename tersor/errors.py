"""One exception tree. Every message says what was wrong, the value, what is allowed, and what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Self


class TersorError(Exception):
    """Base of everything tersor raises on purpose."""


class SignalError(TersorError, ValueError):
    """An input signal (image, array, file) that cannot be coded, or an option out of range."""


class MissingFileError(SignalError, FileNotFoundError):
    """An input file that is not there; with the `errno` and `filename` of an OSError."""

    def __str__(self) -> str:
        return str(self.args[0])


class BitstreamError(TersorError, ValueError):
    """A .tsr file that is foreign, damaged or hostile.

    Attributes:
        section: what is damaged, such as "image header" or "chunk 3"; empty if not known.
        chunk: its number, if it is a chunk.
        offset: in the file where the section is a chunk, else in the section, if known.
    """

    def __init__(
        self, message: str = "", *, section: str = "", chunk: int | None = None, offset: int | None = None
    ) -> None:
        super().__init__(message)
        self.section, self.chunk, self.offset = section, chunk, offset

    def at(self, name: str) -> Self:
        """The same error of a chunk that can be salvaged, with what people call it."""
        message = f"{name}: {self}; salvage (decode --salvage) fills it and decodes the rest"
        return type(self)(message, section=self.section or name, chunk=self.chunk, offset=self.offset)


class TruncatedError(BitstreamError):
    """The file ends before what its header announces."""


class ChecksumError(BitstreamError):
    """A section's bytes do not match their checksum."""


class UnsupportedVersionError(BitstreamError):
    """The file was written in a format version this tersor does not know."""


class UnknownCodecError(BitstreamError):
    """The file names a codec that is not installed."""


class LimitExceededError(BitstreamError):
    """The file announces sizes above the limits of this call."""


class WeightsError(TersorError):
    """Model weights are missing, damaged, or not those the file was written with."""


class MissingDependencyError(TersorError, ImportError):
    """An optional package is needed; the message names the extra to install."""


class BoundError(TersorError, RuntimeError):
    """An encoder found that its own output breaks the bound it promised; a fault of tersor, and nothing was
    written.
    """


class DeviceError(TersorError, RuntimeError):
    """The requested device is not there."""


def unreadable(path: str | Path, error: OSError) -> SignalError:
    """What to raise for an input file that cannot be opened; `except FileNotFoundError` catches it where the
    file is missing.
    """
    if not isinstance(error, FileNotFoundError):
        return SignalError(f"{path}: cannot be read ({error.strerror or error})")
    missing = MissingFileError(f"{path}: cannot be read ({error.strerror})")
    missing.errno, missing.filename = error.errno, str(path)
    return missing
