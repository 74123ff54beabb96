"""Files of arrays: .npy in and out. NetCDF, HDF5 and Zarr are to follow."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from tersor.errors import SignalError
from tersor.signals import Field

SUFFIXES = {".npy"}


def read_field(source: Path | bytes) -> Field:
    """The array of a .npy file; pickled objects are refused.

    Raises:
        SignalError: not such a file.
    """
    name = str(source) if isinstance(source, Path) else "standard input"
    try:
        values = np.load(source if isinstance(source, Path) else io.BytesIO(source), allow_pickle=False)
    except OSError as e:
        raise SignalError(f"{name}: cannot be read ({e.strerror or e})") from e
    except (ValueError, EOFError) as e:
        raise SignalError(f"{name}: not a .npy file of numbers ({e})") from e
    if not isinstance(values, np.ndarray):
        raise SignalError(f"{name}: an archive of several arrays; save the one to encode as .npy")
    if values.dtype.kind not in "fiub":
        raise SignalError(f"{name}: the array is {values.dtype}; allowed are floats, integers and booleans")
    return Field(values=values)


def field_bytes(field: Field, suffix: str) -> bytes:
    """A file of an array.

    Raises:
        SignalError: a suffix that is not supported.
    """
    if suffix.lower() not in SUFFIXES:
        raise SignalError(f"'{suffix}' is not a format for arrays; allowed are {', '.join(sorted(SUFFIXES))}")
    out = io.BytesIO()
    np.save(out, field.values, allow_pickle=False)
    return out.getvalue()
