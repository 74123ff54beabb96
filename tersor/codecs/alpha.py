"""The alpha plane of a tile, exactly: one PNG image, or nothing if it is opaque."""

from __future__ import annotations

import io
import warnings

import numpy as np
import PIL.Image

from tersor.arrays import Samples
from tersor.errors import BitstreamError


def encode_alpha(plane: Samples) -> bytes:
    """An alpha plane [h, w] exactly: PNG, or nothing if it is opaque."""
    if (plane == np.iinfo(plane.dtype).max).all():
        return b""
    out = io.BytesIO()
    PIL.Image.fromarray(plane).save(out, "PNG", optimize=True)
    return out.getvalue()


def decode_alpha(chunk: bytes, size: tuple[int, int], deep: bool, name: str) -> Samples:
    """The plane of a tile of size (height, width).

    Raises:
        BitstreamError: it is no PNG plane of this size and depth.
    """
    dtype = np.uint16 if deep else np.uint8
    if not chunk:
        return np.full(size, np.iinfo(dtype).max, dtype)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with PIL.Image.open(io.BytesIO(chunk), formats=["PNG"]) as im:
                if im.size != size[::-1] or im.mode != ("I;16" if deep else "L"):
                    raise BitstreamError(
                        f"{name}: a plane of {im.size} {im.mode}, needed is {size[1]}x{size[0]}; "
                        "the file is damaged"
                    )
                return np.array(im).astype(dtype)
    except BitstreamError:
        raise
    except Exception as e:  # bombs, and whatever comes to a parser of damaged bytes
        raise BitstreamError(f"{name}: not a PNG plane ({e}); the file is damaged") from e
