"""A codec of Zarr version 3, by entry point: the serializer of an array, from chunks of numbers to bytes.

zarr.create_array(store, shape=..., dtype="float32", chunks=..., serializer=TersorCodec(max_error=0.01),
    compressors=None)
dataset.to_zarr(store, encoding={"t": {"serializer": TersorCodec(max_error=0.01), "compressors": None}})
"""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np

from tersor.errors import MissingDependencyError, SignalError
from tersor.interop.arrays import checked_bound, decode_chunk, encode_chunk

try:
    from zarr.abc.codec import ArrayBytesCodec
    from zarr.core.array_spec import ArraySpec
    from zarr.core.buffer import Buffer, NDBuffer
except ImportError as e:
    raise MissingDependencyError("this codec needs zarr 3: pip install 'tersor[zarr]'") from e

NAME = "tersor"


class TersorCodec(ArrayBytesCodec):
    """Chunks with a guaranteed bound; integers without loss. Equal options make equal codecs.

    Args:
        bound: one of max_error, rel_error (of the range of each chunk), pointwise_rel_error, target_psnr,
            target_ratio, lossless; and fill_value.
    """

    is_fixed_size = False

    def __init__(self, **bound: Any) -> None:
        self._options = checked_bound(bound)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TersorCodec) and other._options == self._options

    def __hash__(self) -> int:
        return hash(tuple(sorted(self._options.items())))

    def __repr__(self) -> str:
        return f"TersorCodec({', '.join(f'{k}={v!r}' for k, v in self._options.items())})"

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> TersorCodec:
        return cls(**data.get("configuration", {}))

    def to_dict(self) -> dict[str, Any]:
        return {"name": NAME, "configuration": dict(self._options)}

    def validate(self, *, shape: tuple[int, ...], dtype: Any, chunk_grid: Any) -> None:
        native = dtype.to_native_dtype() if hasattr(dtype, "to_native_dtype") else np.dtype(dtype)
        if native.kind not in "fiub":
            raise SignalError(
                f"an array of {native} cannot use the tersor codec; it codes floats, integers and booleans"
            )

    def compute_encoded_size(self, input_byte_length: int, chunk_spec: ArraySpec) -> int:
        raise NotImplementedError("how large a chunk becomes is known when it is coded")

    async def _decode_single(self, chunk_data: Buffer, chunk_spec: ArraySpec) -> NDBuffer:
        native = chunk_spec.dtype.to_native_dtype()
        values = await asyncio.to_thread(decode_chunk, chunk_data.to_bytes(), chunk_spec.shape, native)
        return chunk_spec.prototype.nd_buffer.from_ndarray_like(values.astype(native, copy=False))

    async def _encode_single(self, chunk_data: NDBuffer, chunk_spec: ArraySpec) -> Buffer:
        data = await asyncio.to_thread(encode_chunk, np.asarray(chunk_data.as_ndarray_like()), self._options)
        return chunk_spec.prototype.buffer.from_bytes(data)
