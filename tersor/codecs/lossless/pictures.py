"""Pictures in tiles: each is coded as a photograph, as graphics, or as it is, whichever is smallest.

samples [H, W, C] --grid--> tiles --u8 method--> photo.py | graphics.py | the samples --> chunks
"""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tersor.codecs.lossless.graphics import decode_graphics, encode_graphics, palette_of
from tersor.codecs.lossless.header import MAX_TILE_SIDE, PictureHeader
from tersor.codecs.lossless.photo import decode_photo, encode_photo
from tersor.codecs.parallel import Progress, side_by_side
from tersor.errors import BitstreamError

PHOTO, GRAPHICS, PLAIN = range(3)  # F
PHOTO_PIXELS = 1 << 18  # of a tile: two make a picture of 768x512, for two cores
GRAPHICS_PIXELS = 1 << 20  # repetition pays from afar, and graphics are fast
TRIAL_SIDE = 128
CLEAR = 0.7  # G if a trial makes one method smaller than this part of the other, the other is not tried


def grid(height: int, width: int, pixels: int) -> tuple[int, int]:
    """Height and width of tiles that are alike, at most twice as wide as high, of at most `pixels`."""
    most = min(max(math.isqrt(4 * pixels), 1), MAX_TILE_SIDE)
    tile_width = -(-width // -(-width // most))
    most = max(pixels // tile_width, 1)
    return -(-height // -(-height // most)), tile_width


def encode_pictures(
    samples: NDArray[Any], image: bool, block: int | None, progress: Progress | None
) -> tuple[PictureHeader, list[bytes]]:
    """Header and chunks of a picture.

    Args:
        samples: uint8 or uint16 [H, W, C], C from 1 to 4.
        image: whether it is to come back as an image.
        block: most samples of a tile; None for what suits it.
        progress: called with (tiles done, tiles in all).
    """
    height, width, channels = samples.shape
    step = max(1, height // 256)
    few = palette_of(samples[::step]) is not None
    pixels = (GRAPHICS_PIXELS if few else PHOTO_PIXELS) if block is None else max(block // channels, 1)
    tile_height, tile_width = grid(height, width, pixels)
    header = PictureHeader(
        image=image,
        bytes_per_sample=samples.dtype.itemsize,
        channels=channels,
        width=width,
        height=height,
        tile_width=tile_width,
        tile_height=tile_height,
    )
    places = [(y, x) for y in range(0, height, tile_height) for x in range(0, width, tile_width)]
    return header, _together(
        lambda at: encode_tile(
            np.ascontiguousarray(samples[at[0] : at[0] + tile_height, at[1] : at[1] + tile_width])
        ),
        places,
        progress,
    )


def encode_tile(samples: NDArray[Any]) -> bytes:
    """The smallest chunk of a rectangle: uint8 or uint16 [H, W, C]."""
    height, width, _ = samples.shape
    best = bytes([PLAIN]) + samples.astype(samples.dtype.newbyteorder("<")).tobytes()
    coders: dict[int, Callable[[NDArray[Any]], bytes | None]] = {
        GRAPHICS: encode_graphics,
        PHOTO: encode_photo,
    }
    y, x = max(0, (height - TRIAL_SIDE) // 2), max(0, (width - TRIAL_SIDE) // 2)
    middle = np.ascontiguousarray(samples[y : y + TRIAL_SIDE, x : x + TRIAL_SIDE])
    trials = {method: coder(middle) for method, coder in coders.items()}
    sizes = {method: math.inf if payload is None else len(payload) for method, payload in trials.items()}
    for method, coder in coders.items():
        if sizes[method] * CLEAR <= min(sizes.values()):
            payload = trials[method] if middle.shape == samples.shape else coder(samples)
            if payload is not None and len(payload) + 1 < len(best):
                best = bytes([method]) + payload
    return best


def decode_tile(chunk: bytes, shape: tuple[int, int, int], dtype: np.dtype[Any], name: str) -> NDArray[Any]:
    """What `encode_tile` was given.

    Args:
        chunk: as it is in the file.
        shape: [H, W, C].
        dtype: uint8 or uint16.
        name: of the chunk, for errors.

    Raises:
        BitstreamError: damaged.
    """
    method, payload = chunk[0] if chunk else 255, chunk[1:]
    if method == PHOTO:
        return decode_photo(payload, shape, dtype, name)
    if method == GRAPHICS:
        return decode_graphics(payload, shape, dtype, name)
    if method != PLAIN or len(payload) != math.prod(shape) * dtype.itemsize:
        raise BitstreamError(
            f"{name}: method {method} with {len(payload)} bytes for {shape}; the file is damaged or newer"
        )
    return np.frombuffer(payload, dtype.newbyteorder("<")).astype(dtype).reshape(shape)


def decode_window(
    header: PictureHeader,
    chunk: Callable[[int], bytes],
    rows: slice,
    columns: slice,
    progress: Progress | None,
) -> NDArray[Any]:
    """Rows and columns of a picture [H, W, C], from the tiles that they touch.

    Args:
        header: of the file.
        chunk: its chunks by number, checked.
        rows, columns: with start and stop inside the picture.
        progress: called with (tiles done, tiles in all).

    Raises:
        BitstreamError: damaged; the chunk is named.
    """
    h, w = header.tile_height, header.tile_width
    dtype = np.dtype(np.uint8 if header.bytes_per_sample == 1 else np.uint16)
    out = np.empty(
        (max(rows.stop - rows.start, 0), max(columns.stop - columns.start, 0), header.channels), dtype
    )

    def work(at: tuple[int, int]) -> None:
        row, column = at
        y, x = row * h, column * w
        shape = (min(h, header.height - y), min(w, header.width - x), header.channels)
        number = row * header.columns + column
        tile = decode_tile(chunk(number), shape, dtype, f"chunk {number}")
        top, left = max(y, rows.start), max(x, columns.start)
        bottom, right = min(y + shape[0], rows.stop), min(x + shape[1], columns.stop)
        out[top - rows.start : bottom - rows.start, left - columns.start : right - columns.start] = tile[
            top - y : bottom - y, left - x : right - x
        ]

    if out.size:
        touched = itertools.product(
            range(rows.start // h, -(-rows.stop // h)), range(columns.start // w, -(-columns.stop // w))
        )
        _together(work, list(touched), progress)
    return out


def _together(
    work: Callable[[tuple[int, int]], Any], items: list[tuple[int, int]], progress: Progress | None
) -> list[Any]:
    """`work` of each item, as many at once as there are cores."""
    results: list[Any] = []
    at_once = os.cpu_count() or 1
    for first in range(0, len(items), at_once):
        results += side_by_side(work, items[first : first + at_once])
        if progress is not None:
            progress(len(results), len(items))
    return results
