"""The field codec's header inside the container (FORMAT.md, section "field")."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tersor.arrays import NumberType
from tersor.container import ByteReader, Reader, put_uvarint
from tersor.errors import BitstreamError, LimitExceededError
from tersor.facts import Facts, VariableFacts

WIRE_ID = 3  # F
MAX_AXES = 32  # F
MAX_CELLS = 1 << 40  # F
MAX_BLOCK = 1 << 22  # F
MAX_VARIABLES = 1 << 12  # F
LEAST_SIDE = 16  # G
SUFFIXES = (".npy", ".npz", ".nc", ".nc4", ".cdf", ".h5", ".hdf5", ".he5", ".zarr")
MODES = ("lossless", "max_error", "rel_error", "pointwise_rel_error", "target_psnr", "target_ratio")
DTYPES = tuple(np.dtype(t) for t in ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """One array of a file.

    Attributes:
        name: UTF-8.
        dtype: as it went in, byte order included.
        shape: any number of axes; 0-d and empty ones too.
        axes: the shape that is coded, 1 to 4 axes: leading axes merged.
        block: shape of a block, of `axes`; the last ones are smaller.
        mode: how the bound was asked for.
        asked: the number asked for.
        bound: the absolute error that holds, in the units of the values (pointwise_rel_error: relative).
    """

    name: str
    dtype: NumberType
    shape: tuple[int, ...]
    axes: tuple[int, ...]
    block: tuple[int, ...]
    mode: str
    asked: float
    bound: float

    @property
    def counts(self) -> tuple[int, ...]:
        """Blocks along each axis."""
        return tuple(-(-n // b) if n else 0 for n, b in zip(self.axes, self.block, strict=True))

    def blocks(self) -> Iterator[tuple[slice, ...]]:
        """Where each block lies in `axes`, in file order."""
        for index in itertools.product(*map(range, self.counts)):
            yield tuple(
                slice(i * b, min(n, (i + 1) * b))
                for i, b, n in zip(index, self.block, self.axes, strict=True)
            )

    @property
    def n_blocks(self) -> int:
        return int(np.prod(self.counts, dtype=np.int64)) if self.axes else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldHeader:
    """What a decoder must know before the first block: the digest of the tables and the variables."""

    digest: bytes
    variables: tuple[Variable, ...]

    def pack(self) -> bytes:
        out = self.digest + put_uvarint(len(self.variables))
        for v in self.variables:
            name = v.name.encode()
            swapped = v.dtype.byteorder == ">"
            out += (
                put_uvarint(len(name))
                + name
                + bytes([DTYPES.index(v.dtype.newbyteorder("=")) | swapped << 7, len(v.shape)])
            )
            for n in v.shape:
                out += put_uvarint(n)
            for b in v.block:
                out += put_uvarint(b)
            out += bytes([MODES.index(v.mode)]) + struct.pack("<dd", v.asked, v.bound)
        return out

    @classmethod
    def unpack(cls, data: bytes, chunks: int) -> FieldHeader:
        """Parse and check against the number of chunks in the file.

        Raises:
            BitstreamError: not a field header, or one that contradicts the file.
        """
        r = ByteReader(data, "field header")
        digest = r.take(4)
        variables = []
        for _ in range(r.uvarint(MAX_VARIABLES, "number of variables")):
            try:
                name = r.take(r.uvarint(1 << 10, "length of a name")).decode()
            except UnicodeDecodeError as e:
                raise BitstreamError("field header: a name is not UTF-8; the file is damaged") from e
            kind, n_axes = r.byte(), r.byte()
            if kind & 0x7F >= len(DTYPES) or n_axes > MAX_AXES:
                raise BitstreamError(
                    f"field header: type {kind:#x} with {n_axes} axes is unknown; "
                    "the file is damaged or newer"
                )
            dtype = DTYPES[kind & 0x7F]
            shape = tuple(r.uvarint(MAX_CELLS, "an axis") for _ in range(n_axes))
            cells = 1
            for n in shape:
                cells *= n
            if cells > MAX_CELLS:
                raise LimitExceededError(f"field header: {name} has {cells} cells, allowed are {MAX_CELLS}")
            axes = coded_axes(shape)
            block = tuple(r.uvarint(MAX_BLOCK, "side of a block") for _ in axes)
            mode = r.byte()
            asked, bound = struct.unpack("<dd", r.take(16))
            if (
                mode >= len(MODES)
                or 0 in block
                or int(np.prod(block, dtype=object)) > MAX_BLOCK
                or not bound >= 0
            ):
                raise BitstreamError(
                    f"field header: {name}: mode {mode}, block {block}, bound {bound} are not valid; "
                    "the file is damaged"
                )
            dtype = dtype.newbyteorder(">") if kind & 0x80 else dtype
            variables.append(
                Variable(
                    name=name,
                    dtype=dtype,
                    shape=shape,
                    axes=axes,
                    block=block,
                    mode=MODES[mode],
                    asked=asked,
                    bound=bound,
                )
            )
        r.end()
        header = cls(digest=digest, variables=tuple(variables))
        needed = sum(v.n_blocks for v in variables)
        if needed != chunks:
            raise BitstreamError(
                f"field header: {needed} chunks needed, the file has {chunks}; it is damaged"
            )
        return header


def channels_last(shape: tuple[int, ...]) -> bool:
    """Whether the last of three axes is one of channels: then it is coded first, as a sequence of planes."""
    return len(shape) == 3 and shape[2] in (2, 3, 4) and min(shape[:2]) >= LEAST_SIDE


def coded_axes(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape that is coded: at least one axis, at most four, leading ones merged; a last axis of two to
    four channels comes first.
    """
    if channels_last(shape):
        return (shape[2], *shape[:2])
    if len(shape) <= 4:
        return shape or (1,)
    return (int(np.prod(shape[:-3], dtype=object)), *shape[-3:])


def describe(reader: Reader) -> Facts:
    """Facts for `tersor info`; checks the header."""
    header = FieldHeader.unpack(reader.header, len(reader.chunk_lengths))
    raw, variables = 0, []
    for v in header.variables:
        raw += v.dtype.itemsize * int(np.prod(v.shape, dtype=object))
        how = "lossless" if v.mode == "lossless" else f"{v.mode} {v.asked:g}, bound {v.bound:g}"
        extra = {"block": list(v.block), "bound": how}
        variables.append(VariableFacts(name=v.name, dtype=str(v.dtype), shape=v.shape, extra=extra))
    alone = len(variables) == 1 and not variables[0].name
    return Facts.of(
        reader,
        codec="field",
        signal="field",
        suffix=_suffix(reader, alone),
        shape=variables[0].shape if alone else (),
        variables=tuple(variables),
        extra={
            "tables": header.digest.hex(),
            "blocks": len(reader.chunk_lengths),
            "raw_bytes": raw,
            "ratio": round(raw / reader.size, 3),
        },
    )


def _suffix(reader: Reader, alone: bool) -> str:
    """Of the kind of file that the array came from, if the metadata say so."""
    from tersor.codecs.field.metadata import unpack_attributes

    source = str(unpack_attributes(reader.metadata).encoding.get("source", ""))
    if source:
        return source if source in SUFFIXES else ".nc"
    return ".npy" if alone else ".nc"
