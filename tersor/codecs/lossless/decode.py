"""From blocks back to an image or array of integers, rows at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tersor.arrays import Numbers, Samples, sample_type
from tersor.codecs.assembly import Assembly, Room
from tersor.codecs.field.decode import ArrayBlocks, Blocks
from tersor.codecs.lossless.colour import backward
from tersor.codecs.lossless.header import ARRAY, LosslessHeader
from tersor.codecs.lossless.options import LosslessDecodeOptions
from tersor.codecs.options import checked_region
from tersor.container import Reader
from tersor.entropy.magnitude_tables import magnitude_tables
from tersor.errors import SignalError
from tersor.signals import Field, Image

FILL = 0.0  # G: what cells of damaged blocks become


class LosslessAssembly(Assembly[Image | Field]):
    """One file; a part is a slab of blocks, of images rows of them.

    Raises:
        SignalError: a region or slices that do not fit.
    """

    def __init__(self, reader: Reader, options: LosslessDecodeOptions) -> None:
        self.header = header = LosslessHeader.unpack(reader.header, len(reader.chunk_lengths))
        tables = magnitude_tables(header.field.digest)
        (v,) = header.field.variables
        region, slices = asked_of(header.image, options)
        self._image = header.image
        self._array: ArrayBlocks | None = None
        self._channels = slice(None)
        shape: tuple[int, ...] = ()
        if header.kind == ARRAY:
            self._array = ArrayBlocks(v, 0, slices, None, tables)
            self._blocks: Blocks = self._array
        else:
            rows, columns, self._channels = window_of(v.shape, region, slices)
            self._blocks = Blocks(v, 0, (slice(0, v.shape[0]), rows, columns), FILL, tables, axis=1)
            shape = (*self._blocks.shape[1:], len(range(v.shape[0])[self._channels]))
        self._type = sample_type(8 * header.bytes_per_sample)
        super().__init__(reader, len(self._blocks.slabs), shape)

    def into(self, room: Room) -> None:
        super().into(room)
        if self._array:
            self._array.into(room)

    def decode(self, chunk: int, payload: bytes) -> Numbers:
        return self._blocks.decode(chunk, payload)

    def needs(self, part: int) -> Sequence[int]:
        return self._blocks.slabs[part]

    def place(self, chunk: int, x: Numbers) -> None:
        self._blocks.place(chunk, x)

    def fill(self, chunk: int) -> None:
        self._blocks.place(chunk, FILL)

    def called(self, chunk: int) -> str:
        return self._blocks.called(chunk)

    def notes(self) -> tuple[str, ...]:
        return tuple(
            f"{self.called(i)} is damaged and was filled with {FILL:g}" for i in sorted(self.damaged)
        )

    def piece(self, part: int) -> Numbers:
        return self._array.piece() if self._array else self._colours(self._blocks.slab())

    def _colours(self, planes: Numbers) -> Samples:
        """Samples [h, w, c] of planes."""
        samples: Samples = (
            backward(planes, self.header.transform, self._type)
            if len(planes) > 2
            else planes.astype(self._type, copy=False)
        )
        return np.ascontiguousarray(np.moveaxis(samples[self._channels], 0, 2))

    def keep(self, part: int, piece: Numbers) -> None:
        if self._array:
            self._array.keep(piece)
        else:
            super().keep(part, piece)

    def finish(self) -> Image | Field:
        notes = self.notes()
        if self._array:
            return Field(values=self._array.whole(), notes=notes)
        samples = self.whole() if self.parts else self._colours(self._blocks.nothing())
        if self._image:
            return Image(samples=samples, metadata=self.reader.metadata, notes=notes)
        return Field(values=samples, notes=notes)


def asked_of(image: bool, options: LosslessDecodeOptions) -> tuple[object, Any]:
    """Region and slices.

    Raises:
        SignalError: the one that the file does not take.
    """
    region, slices = options.get("region"), options.get("slices")
    if region is not None and not image:
        raise SignalError("the file holds an array; give slices instead of a region")
    if slices is not None and image:
        raise SignalError("the file holds an image; give a region instead of slices")
    return region, slices


def window_of(shape: tuple[int, ...], region: object, slices: Any) -> tuple[slice, slice, slice]:
    """Rows, columns and channels of planes [C, H, W] that were asked for.

    Raises:
        SignalError: they do not lie inside.
    """
    count, height, width = shape
    if region is not None:
        x, y, w, h = checked_region(region, width, height)
        return slice(y, y + h), slice(x, x + w), slice(None)
    given = () if slices is None else slices if isinstance(slices, tuple) else (slices,)
    if len(given) > 3 or not all(isinstance(s, slice) and s.step in (None, 1) for s in given):
        raise SignalError(
            f"slices {slices!r} do not fit an array of shape {(height, width, count)}; "
            "give slice(start, stop) for its leading axes"
        )
    full = [*given, *[slice(None)] * (3 - len(given))]
    starts = [s.indices(n)[:2] for s, n in zip(full, (height, width, count), strict=True)]
    rows, columns, channels = (slice(a, max(a, b)) for a, b in starts)
    return rows, columns, channels
