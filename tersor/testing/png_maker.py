"""PNG files of every kind that the format has, made by hand: what is in them is known without a reader."""

from __future__ import annotations

import struct
import zlib
from itertools import product

import numpy as np

from tersor.arrays import Numbers, Samples, sample_type
from tersor.files import png

PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
# (colour type, depth, interlaced, with tRNS)
KINDS = [
    (c, d, i, t)
    for c in CHANNELS
    for d, i, t in product(DEPTHS[c], (False, True), (False, True))
    if not (t and c in (4, 6))
]


def _rows(samples: Numbers, depth: int) -> bytes:
    out = b""
    for row in samples.reshape(len(samples), -1):
        if depth == 16:
            body = row.astype(">u2").tobytes()
        elif depth == 8:
            body = row.astype(np.uint8).tobytes()
        else:
            bits = (row[:, None].astype(np.uint8) >> np.arange(depth - 1, -1, -1)) & 1
            body = np.packbits(bits.reshape(-1)).tobytes()
        out += b"\0" + body
    return out


def make(
    colour_type: int, depth: int, interlaced: bool, transparent: bool, size: tuple[int, int] = (13, 11)
) -> tuple[bytes, Samples]:
    """A file, and the samples [H, W, C] that a reader must see: 8 bits, or 16 of 16; palettes as colours."""
    width, height = size
    rng = np.random.default_rng(colour_type * 64 + depth)
    top = (1 << depth) - 1
    stored = rng.integers(0, top, (height, width, CHANNELS[colour_type]), endpoint=True)
    stored[2, 3] = stored[5, 7] = stored[0, 0]  # some of the transparent colour
    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, int(interlaced))
    chunks = [("IHDR", header)]
    dtype = sample_type(depth)
    seen = (stored * (255 // top if depth < 8 else 1)).astype(dtype)
    if colour_type == 3:
        palette = rng.integers(0, 256, (top + 1, 3))
        chunks.append(("PLTE", palette.astype(np.uint8).tobytes()))
        seen = palette[stored[..., 0]].astype(np.uint8)
        if transparent:
            alpha = rng.integers(0, 256, top)  # one fewer than colours: the last is opaque
            chunks.append(("tRNS", alpha.astype(np.uint8).tobytes()))
            seen = np.dstack([seen, np.append(alpha, 255)[stored[..., 0]].astype(np.uint8)])
    elif transparent:
        chunks.append(("tRNS", stored[0, 0].astype(">u2").tobytes()))
        hidden = (stored == stored[0, 0]).all(2)
        seen = np.dstack([seen, np.where(hidden, 0, np.iinfo(dtype).max).astype(dtype)])
    steps = PASSES if interlaced else ((0, 0, 1, 1),)
    data = b"".join(_rows(stored[y::dy, x::dx], depth) for x, y, dx, dy in steps if stored[y::dy, x::dx].size)
    chunks += [("IDAT", zlib.compress(data)), ("IEND", b"")]
    return png.MAGIC + b"".join(png.chunk(n, b) for n, b in chunks), seen
