"""A numcodecs codec, by entry point: Zarr v2 arrays, HDF5 through kerchunk, anything that takes
`numcodecs.abc.Codec`.

numcodecs.get_codec({"id": "tersor", "max_error": 0.01}).encode(array) -> bytes
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tersor.arrays import Numbers
from tersor.errors import MissingDependencyError, SignalError
from tersor.interop.arrays import checked_bound, decode_chunk, encode_chunk

try:
    from numcodecs.abc import Codec
    from numcodecs.compat import ensure_bytes, ndarray_copy
except ImportError as e:
    raise MissingDependencyError("this codec needs numcodecs: pip install 'tersor[zarr]'") from e


class TersorCodec(Codec):
    """Chunks with a guaranteed bound; integers without loss.

    Args:
        bound: one of max_error, rel_error (of the range of each chunk), pointwise_rel_error, target_psnr,
            target_ratio, lossless; and fill_value.
    """

    codec_id = "tersor"

    def __init__(self, **bound: object) -> None:
        self._options = checked_bound(bound)

    def get_config(self) -> dict[str, object]:
        return {"id": self.codec_id, **self._options}

    def encode(self, buf: Any) -> bytes:
        x = np.asarray(buf)
        if x.dtype.kind not in "fiub":
            raise SignalError(f"the chunk is {x.dtype}; tersor codes floats, integers and booleans")
        return encode_chunk(x, self._options)

    def decode(self, buf: Any, out: Numbers | None = None) -> Any:
        values = decode_chunk(ensure_bytes(buf))
        return values if out is None else ndarray_copy(values, out)
