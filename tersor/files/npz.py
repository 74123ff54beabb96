"""Archives of NumPy, .npz: a member at a time, the CRC of each compared; large arrays are on disk.

    zip member --inflated a piece at a time--> header of .npy, cells --> Spool

A member is not mapped, though it may be stored: its CRC would go unread.
"""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, BinaryIO

import numpy as np

from tersor.arrays import Numbers, NumberType
from tersor.errors import SignalError, TersorError, unreadable
from tersor.files.attributes import left_out
from tersor.files.spool import BOX_BYTES, Spool, release
from tersor.signals import Field, FieldSet

PREFIX = b"PK"  # F
NPY = ".npy"  # F: that a member's name ends with
KEPT = "fiubUS"  # kinds of types


def is_npz(front: bytes) -> bool:
    return front.startswith(PREFIX)


def npy_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, NumberType]:
    """Shape, whether the first axis runs fastest, and type of a .npy file, read up to its cells.

    Raises:
        ValueError: no such file, or cut short.
    """
    version = np.lib.format.read_magic(file)  # type: ignore[no-untyped-call]
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    found: tuple[tuple[int, ...], bool, NumberType] = read(file)  # type: ignore[no-untyped-call]
    return found


def read_npz(source: Path | bytes, name: str, variables: Sequence[str] | None) -> FieldSet:
    """The arrays of numbers and text of an archive; what else is in it is left out, and the notes say so.

    Args:
        source: path or bytes.
        name: for errors.
        variables: only these.

    Raises:
        SignalError: not such an archive, damaged, or one without the variables asked for.
    """
    try:
        with zipfile.ZipFile(source if isinstance(source, Path) else io.BytesIO(source)) as archive:
            return _field_set(archive, name, variables)
    except TersorError:
        raise
    except OSError as e:
        raise unreadable(name, e) from e
    except Exception as e:  # damaged files raise whatever comes to zipfile, zlib and NumPy
        raise SignalError(f"{name}: not a .npz file that can be read ({e}); copy it again") from e


def _field_set(archive: zipfile.ZipFile, name: str, variables: Sequence[str] | None) -> FieldSet:
    members = {m.removesuffix(NPY): m for m in archive.namelist()}
    names = list(members) if variables is None else list(variables)
    if missing := sorted(set(names) - set(members)):
        raise SignalError(f"{name}: no array {', '.join(missing)}; it has {', '.join(members)}")
    spool, fields, lost = Spool(), {}, []
    for n in names:
        values, what = _member(archive, members[n], spool)
        if values is None:
            lost.append(f"{n} ({what})")
        else:
            fields[n] = Field(values=values, name=n)
    if (variables is not None and lost) or all(f.is_text for f in fields.values()):
        some = f" ({', '.join(lost)})" if lost else ""
        raise SignalError(f"{name}: no arrays of numbers{some}; only numbers can be coded")
    return FieldSet(
        fields=fields, encoding={"source": ".npz"}, notes=left_out("what holds no numbers or text", lost)
    )


def _member(archive: zipfile.ZipFile, member: str, spool: Spool) -> tuple[Any, str]:
    """The cells of a member, or None and what is there instead. It is read to its end, where zipfile compares
    the CRC.
    """
    with archive.open(member) as file:
        if not member.endswith(NPY):
            _to_the_end(file)
            return None, "no array"
        shape, fortran, dtype = npy_header(file)
        if dtype.kind not in KEPT:
            _to_the_end(file)
            return None, "Python objects" if dtype.hasobject else str(dtype)
        size = archive.getinfo(member).file_size
        if math.prod(shape) * dtype.itemsize > size:
            raise ValueError(f"{member} announces {dtype} {list(shape)}, and has {size:,} bytes")
        values = spool.room(shape[::-1] if fortran else shape, dtype)
        _fill(values, file)
        _to_the_end(file)
    return (values.T if fortran else values), ""


def _fill(values: Numbers, file: IO[bytes]) -> None:
    """Raises: ValueError: there are not enough bytes."""
    if not values.nbytes:
        return
    cells = memoryview(values.reshape(-1).view(np.uint8))  # type: ignore[arg-type]
    at = 0
    while at < len(cells):
        found = file.readinto(cells[at : at + BOX_BYTES])  # type: ignore[attr-defined]
        if not found:
            raise ValueError(f"{at:,} of {len(cells):,} bytes are there")
        at += found
        release(values)


def _to_the_end(file: IO[bytes]) -> None:
    while file.read(BOX_BYTES):
        pass


def write_npz(arrays: Mapping[str, Any], file: BinaryIO) -> None:
    """An archive of arrays by name, not deflated, a piece at a time; texts are strings of one length."""
    with zipfile.ZipFile(file, "w", allowZip64=True) as archive:
        for name, values in arrays.items():
            cells = np.array(values.tolist(), "U").reshape(values.shape) if values.dtype == object else values
            with archive.open(f"{name}{NPY}", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, cells, allow_pickle=False)  # type: ignore[no-untyped-call]
