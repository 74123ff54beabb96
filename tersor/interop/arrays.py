"""What array stores ask of a codec for chunks: options that are checked once, bytes in, bytes out.

Chunks of floats are coded with the bound; integers and booleans, such as the coordinates of a dataset,
without loss whatever the bound.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tersor.arrays import Numbers
from tersor.codecs.field.codec import FieldCodec
from tersor.codecs.field.options import ENCODE, Bound
from tersor.errors import BitstreamError, SignalError
from tersor.signals import Field

ORDER = "tersor_order"  # F: attribute of a chunk whose transpose is coded, "F"
BOUNDS = tuple(n for n, d in ENCODE.declared.items() if d.option.one_of == "target")


def checked_bound(options: Mapping[str, Any]) -> dict[str, Any]:
    """The one bound of a store's configuration, as plain JSON values. It must be there: a store that loses
    precision should say how much.

    Raises:
        SignalError: none, two, or one that does not exist.
    """
    given = {k: v for k, v in options.items() if v is not None and v is not False}
    if unknown := sorted(set(given) - {*BOUNDS, "fill_value"}):
        raise SignalError(
            f"the tersor codec has no option {', '.join(unknown)}; "
            f"it has {', '.join((*BOUNDS, 'fill_value'))}"
        )
    if not set(given) & set(BOUNDS):
        raise SignalError(f"the tersor codec needs a bound; give one of {', '.join(BOUNDS)}")
    checked = ENCODE.check(given)
    asked, fill = Bound.of(checked), checked.get("fill_value")
    plain: dict[str, Any] = {"lossless": True} if asked.mode == "lossless" else {asked.mode: asked.value}
    return plain | ({} if fill is None else {"fill_value": float(fill)})


def encode_chunk(x: Numbers, options: Mapping[str, Any]) -> bytes:
    """A chunk as a .tsr file. `rel_error` is relative to the range of the chunk.

    Cells are coded in the order of the memory: of an array in Fortran's order the transpose, and the file
    says so.
    """
    by_columns = x.ndim > 1 and x.flags.f_contiguous and not x.flags.c_contiguous
    field = Field(values=x.T if by_columns else np.asarray(x), attributes={ORDER: "F"} if by_columns else {})
    return FieldCodec().encode_batch([field], **(options if x.dtype.kind == "f" else {"lossless": True}))[0]


def decode_chunk(
    data: bytes, shape: tuple[int, ...] | None = None, dtype: np.dtype[np.generic] | None = None
) -> Numbers:
    """The chunk; its shape and type must be the store's, if they are given.

    Raises:
        BitstreamError: a damaged chunk, or one of another shape or type.
    """
    signal = FieldCodec().decode_batch([data])[0]
    if not isinstance(signal, Field):
        raise BitstreamError("the chunk holds several named variables; it was not written by this codec")
    values = signal.values.T if signal.attributes.get(ORDER) == "F" else signal.values
    if dtype is not None and values.dtype.newbyteorder("=") != dtype.newbyteorder("="):
        raise BitstreamError(
            f"the chunk holds {values.dtype}, the array is {dtype}; its metadata do not belong to it"
        )
    if shape is not None and values.shape != tuple(shape):
        raise BitstreamError(
            f"the chunk has shape {values.shape}, the array's chunks {tuple(shape)}; "
            "its metadata do not belong to it"
        )
    return values
