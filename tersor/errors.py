"""One exception tree. Every message says what was wrong, the value, what is allowed, and what to do."""

from __future__ import annotations


class TersorError(Exception):
    """Base of everything tersor raises on purpose."""


class SignalError(TersorError, ValueError):
    """An input signal (image, array, file) that cannot be coded, or an option out of range."""


class BitstreamError(TersorError, ValueError):
    """A .tsr file that is foreign, damaged or hostile."""


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
