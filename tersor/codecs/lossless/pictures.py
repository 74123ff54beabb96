"""Pictures in tiles: each is coded as a photograph, as graphics, or as it is, whichever is smallest.

samples [H, W, C] --grid--> tiles --u8 method--> photo.py | graphics.py | the samples --> chunks
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np

from tersor.arrays import Samples, SampleType, sample_type
from tersor.codecs.assembly import Assembly
from tersor.codecs.field.header import channels_last
from tersor.codecs.lossless.decode import asked_of, window_of
from tersor.codecs.lossless.graphics import decode_graphics, encode_graphics, palette_of
from tersor.codecs.lossless.header import MAX_TILE_SIDE, PictureHeader
from tersor.codecs.lossless.options import LosslessDecodeOptions
from tersor.codecs.lossless.photo import decode_photo, encode_photo
from tersor.codecs.parallel import Progress, Team
from tersor.container import Reader
from tersor.errors import BitstreamError
from tersor.signals import Field, Image
from tersor.signals.image import MAX_PIXELS, MAX_SIDE, SAMPLE_TYPES

PHOTO, GRAPHICS, PLAIN = range(3)  # F
PHOTO_PIXELS = 1 << 18  # G: of a tile: two make a picture of 768x512, for two cores
GRAPHICS_PIXELS = 1 << 20  # G: repetition pays from afar, and graphics are fast
TRIAL_SIDE = 128  # G
CLEAR = 0.7  # G if a trial makes one method smaller than this part of the other, the other is not tried


def grid(height: int, width: int, pixels: int) -> tuple[int, int]:
    """Height and width of tiles that are alike, at most twice as wide as high, of at most `pixels`."""
    most = min(max(math.isqrt(4 * pixels), 1), MAX_TILE_SIDE)
    tile_width = -(-width // -(-width // most))
    most = max(pixels // tile_width, 1)
    return -(-height // -(-height // most)), tile_width


def picture_of(signal: Image | Field) -> Samples | None:
    """Samples [H, W, C] of an image, or of an array that looks like one; else None."""
    if isinstance(signal, Image):
        return signal.samples
    x = signal.values
    if not channels_last(x.shape) or x.dtype not in SAMPLE_TYPES:
        return None
    if x[..., 0].size > MAX_PIXELS or max(x.shape) > MAX_SIDE:
        return None
    return x.astype(sample_type(8 * x.itemsize), copy=False)


def grid_of(samples: Samples, image: bool, block: int | None) -> PictureHeader:
    """The header of a picture, its tiles as suits it.

    Args:
        samples: uint8 or uint16 [H, W, C], C from 1 to 4.
        image: whether it is to come back as an image.
        block: most samples of a tile; None for what suits it.
    """
    height, width, channels = samples.shape
    few = palette_of(samples[:: max(1, height // 256)]) is not None
    pixels = (GRAPHICS_PIXELS if few else PHOTO_PIXELS) if block is None else max(block // channels, 1)
    tile_height, tile_width = grid(height, width, pixels)
    return PictureHeader(
        image=image,
        bytes_per_sample=samples.dtype.itemsize,
        channels=channels,
        width=width,
        height=height,
        tile_width=tile_width,
        tile_height=tile_height,
    )


def encode_tiles(
    samples: Samples, header: PictureHeader, team: Team, progress: Progress | None
) -> Iterator[bytes]:
    """The chunks of a picture, tile by tile.

    Args:
        samples: [H, W, C].
        header: from `grid_of`.
        team: whose threads share the tiles.
        progress: called with (tiles done, tiles in all).
    """
    h, w = header.tile_height, header.tile_width
    tiles = (
        np.ascontiguousarray(samples[y : y + h, x : x + w])
        for y in range(0, header.height, h)
        for x in range(0, header.width, w)
    )
    for done, chunk in enumerate(team.ahead(encode_tile, tiles), 1):
        if progress:
            progress(done, header.rows * header.columns)
        yield chunk


def encode_tile(samples: Samples) -> bytes:
    """The smallest chunk of a rectangle: uint8 or uint16 [H, W, C]."""
    height, width, _ = samples.shape
    best = bytes([PLAIN]) + samples.astype(samples.dtype.newbyteorder("<")).tobytes()
    coders: dict[int, Callable[[Samples], bytes | None]] = {
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


def decode_tile(chunk: bytes, shape: tuple[int, int, int], dtype: SampleType, name: str) -> Samples:
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


class PictureAssembly(Assembly[Image | Field]):
    """One file; a part is a row of tiles.

    Raises:
        SignalError: a region or slices that do not fit.
    """

    def __init__(self, reader: Reader, header: PictureHeader, options: LosslessDecodeOptions) -> None:
        self.header = h = header
        shape = (h.channels, h.height, h.width)
        self._rows, self._columns, self._channels = window_of(shape, *asked_of(h.image, options))
        sides = [s.stop - s.start for s in (self._rows, self._columns)]
        self._type = sample_type(8 * h.bytes_per_sample)
        self._tile_rows = _touched(self._rows, h.tile_height) if all(sides) else range(0)
        self._tile_columns = _touched(self._columns, h.tile_width)
        self._row: Samples | None = None
        super().__init__(reader, len(self._tile_rows), (*sides, len(range(h.channels)[self._channels])))

    def decode(self, chunk: int, payload: bytes) -> Samples:
        """Samples of a tile."""
        rows, columns = self._place(chunk)
        shape = (rows.stop - rows.start, columns.stop - columns.start, self.header.channels)
        return decode_tile(payload, shape, self._type, f"chunk {chunk} ({self.called(chunk)})")

    def needs(self, part: int) -> list[int]:
        return [self._tile_rows[part] * self.header.columns + c for c in self._tile_columns]

    def place(self, chunk: int, x: Samples | int) -> None:
        (top, bottom), (left, right) = (
            (max(s.start, asked.start), min(s.stop, asked.stop))
            for s, asked in zip(self._place(chunk), (self._rows, self._columns), strict=True)
        )
        rows, columns = self._place(chunk)
        if self._row is None:
            self._row = np.empty((bottom - top, *self.shape[1:]), self._type)
        if not isinstance(x, int):
            x = x[top - rows.start : bottom - rows.start, left - columns.start : right - columns.start]
            x = x[..., self._channels]
        self._row[:, left - self._columns.start : right - self._columns.start] = x

    def fill(self, chunk: int) -> None:
        self.place(chunk, 0)

    def called(self, chunk: int) -> str:
        return f"tile {chunk}"

    def piece(self, part: int) -> Samples:
        assert self._row is not None
        out, self._row = self._row, None
        return out

    def finish(self) -> Image | Field:
        samples = self.whole() if self.parts else np.empty(self.shape, self._type)
        if self.header.image:
            return Image(samples=samples, metadata=self.reader.metadata, notes=self.notes())
        return Field(values=samples, notes=self.notes())

    def _place(self, chunk: int) -> tuple[slice, slice]:
        """Rows and columns of a tile."""
        h = self.header
        y, x = chunk // h.columns * h.tile_height, chunk % h.columns * h.tile_width
        return slice(y, min(y + h.tile_height, h.height)), slice(x, min(x + h.tile_width, h.width))


def _touched(asked: slice, side: int) -> range:
    """Rows or columns of tiles of a side that a span touches."""
    return range(asked.start // side, -(-asked.stop // side))
