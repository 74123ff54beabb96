"""Arrays, alone or several by name."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tersor.files.atomic import prepared, write_output
from tersor.files.kinds.base import FOLDER, Asked, FileCodec, Kind, OptionsByName
from tersor.signals import Field, FieldSet

if TYPE_CHECKING:
    from tersor.container import Reader


class FieldKind(Kind["Field | FieldSet"]):
    called, has_variables = "an array", True
    suffixes = frozenset({".npy", ".npz", ".nc", ".nc4", ".cdf", ".h5", ".hdf5", ".he5", ".zarr"})
    codec = "field"

    def read(self, source: Any, asked: Asked) -> Field | FieldSet:
        from tersor.files.field import read_field

        self.check(asked)
        return read_field(source, asked.variables)

    def to_bytes(self, signal: Field | FieldSet, suffix: str) -> bytes:
        from tersor.files.field import field_bytes

        return field_bytes(signal, suffix)

    def write(self, signal: Field | FieldSet, path: Path | None, usual: str) -> tuple[str, ...]:
        from tersor.files.field import field_file, write_field

        if path is not None and (path.is_file() or not path.exists() or path.suffix.lower() == FOLDER):
            return write_field(signal, prepared(path))
        data, notes = field_file(signal, usual if path is None else path.suffix)
        write_output(path, data)
        return notes

    def describe(self, signal: Field | FieldSet, size: int) -> tuple[str, str, dict[str, object]]:
        if hasattr(signal, "fields"):
            what = f"{len(signal.fields)} variable{'s' * (len(signal.fields) != 1)}"
        else:
            what = f"{signal.values.dtype} {'x'.join(map(str, signal.values.shape)) or 'scalar'}"
        ratio = signal.nbytes / size
        return what, f"{size:,} bytes  {ratio:.1f}:1", {"ratio": round(ratio, 3)}

    def decode_to(
        self,
        codec: FileCodec,
        reader: Reader,
        path: Path | None,
        options: OptionsByName,
        writing: dict[str, int],
    ) -> Field | FieldSet | None:
        """A large array straight into a .npy file."""
        import numpy as np

        from tersor.files.field import mapped_npy
        from tersor.files.spool import LARGE_BYTES

        if path is None or path.suffix.lower() != ".npy" or (path.exists() and not path.is_file()):
            return None
        opened = codec.open(reader, **options)
        array = opened.assembly.array
        if array is None:
            return None
        shape, dtype = array.asked_shape, array.v.dtype
        if math.prod(shape) * dtype.itemsize < LARGE_BYTES:
            return None
        with mapped_npy(prepared(path), shape, dtype) as values:
            opened.read(lambda joined, _: values.reshape(joined))
        return Field(values=np.load(path, mmap_mode="r"), notes=opened.notes)
