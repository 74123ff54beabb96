"""Integers without loss: images of 8 and 16 bits per sample, volumes, arrays of any number of axes. The coder
is the field codec's, without a bound.

image --reversible colour transform, chosen on its middle--> planes [C, H, W], each predicted with the two
before it at hand --> blocks
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tersor import container
from tersor.codecs.field.codec import FieldCodec
from tersor.codecs.field.header import FieldHeader, channels_last
from tersor.codecs.field.options import Bound
from tersor.codecs.lossless.colour import TRANSFORMS, backward, forward
from tersor.codecs.lossless.header import ARRAY, IMAGE8, IMAGE16, PICTURE8, PICTURE16, WIRE_ID, LosslessHeader
from tersor.codecs.parallel import Progress
from tersor.entropy.magnitude_tables import magnitude_tables
from tersor.errors import SignalError
from tersor.files.coerce import as_field, as_image
from tersor.signals import Field, Image
from tersor.signals.image import SAMPLE_TYPES

LOSSLESS = Bound(mode="lossless", value=0.0)
BLOCK_CELLS = 1 << 21
TRIAL_SIDE = 192
IMAGE_METADATA = ("icc", "exif", "xmp")


class LosslessCodec:
    """Every bit of integer samples.

    Args:
        device: "auto" or "cpu"; the codec has no other.
        batch: ignored.
    """

    wire_id = WIRE_ID
    encode_options = ("block",)
    decode_options = ("region", "slices")

    def __init__(self, device: str = "auto", batch: int | None = None) -> None:
        if device not in ("auto", "cpu"):
            raise SignalError(
                f"the lossless codec runs on the CPU, not on '{device}'; use device auto or cpu"
            )
        self._field = FieldCodec(device)
        self.device = "cpu"

    def encode_batch(
        self, signals: Sequence[Any], *, block: int = BLOCK_CELLS, progress: Progress | None = None
    ) -> list[bytes]:
        """One file for each signal.

        Args:
            signals: Image, Pillow images and paths or bytes of image files come back as images; integer or
                boolean arrays, paths of .npy files and Field as fields.
            block: most cells of a block, 4096 to 4194304.
            progress: called with (blocks done, blocks in all).

        Raises:
            SignalError: no integers, several variables, or an image whose samples could not be read exactly.
        """
        if not 4096 <= block <= 1 << 22:
            raise SignalError(f"block is {block}; allowed are 4096 to {1 << 22} cells")
        return [self._encode(as_integers(s), block, progress) for s in signals]

    def _encode(self, signal: Image | Field, block: int, progress: Progress | None) -> bytes:
        samples = signal.samples if isinstance(signal, Image) else signal.values
        metadata = (
            {k: v for k, v in signal.metadata.items() if k in IMAGE_METADATA}
            if isinstance(signal, Image)
            else {}
        )
        if isinstance(signal, Image) or (channels_last(samples.shape) and samples.dtype in SAMPLE_TYPES):
            eight, deep = (IMAGE8, IMAGE16) if isinstance(signal, Image) else (PICTURE8, PICTURE16)
            kind = eight if samples.dtype.itemsize == 1 else deep
            transform, values = self._colours(np.ascontiguousarray(np.moveaxis(samples, 2, 0)), block)
        else:
            kind, transform, values = ARRAY, "none", samples
        field = Field(values=values)
        coded = self._field.encode_variable(field, LOSSLESS, None, block, progress)
        header = LosslessHeader(
            kind=kind,
            transform=transform,
            field=FieldHeader(digest=magnitude_tables().digest, variables=(coded.variable,)),
        )
        return container.write(WIRE_ID, header.pack(), metadata, coded.chunks)

    def _colours(self, planes: NDArray[Any], block: int) -> tuple[str, NDArray[Any]]:
        """The transform that makes the middle of the image smallest, and the image after it."""
        if len(planes) < 3:
            return "none", planes
        h, w = (max(0, (n - TRIAL_SIDE) // 2) for n in planes.shape[1:])
        middle = planes[:, h : h + TRIAL_SIDE, w : w + TRIAL_SIDE]
        sizes = {
            t: self._field.encode_variable(Field(values=forward(middle, t)), LOSSLESS, None, block, None).size
            for t in TRANSFORMS
        }
        best = min(TRANSFORMS, key=lambda t: sizes[t])
        return best, forward(planes, best)

    def decode_batch(
        self,
        files: Sequence[bytes | container.Reader],
        *,
        region: tuple[int, int, int, int] | None = None,
        slices: Any = None,
        progress: Progress | None = None,
    ) -> list[Image | Field]:
        """Files to images and arrays.

        Args:
            files: bytes of .tsr files, or opened containers.
            region: of images, (x, y, width, height) in pixels.
            slices: of arrays, as for the field codec. Both read only the blocks they touch.
            progress: called with (blocks done, blocks in all).

        Raises:
            BitstreamError: a damaged file, with the block named.
            SignalError: a region or slices that do not fit.
        """
        return [
            self._decode(
                f if isinstance(f, container.Reader) else container.Reader(f), region, slices, progress
            )
            for f in files
        ]

    def _decode(
        self,
        reader: container.Reader,
        region: tuple[int, int, int, int] | None,
        slices: Any,
        progress: Progress | None,
    ) -> Image | Field:
        header = LosslessHeader.unpack(reader.header, len(reader.chunk_lengths))
        tables = magnitude_tables(header.field.digest)
        (v,) = header.field.variables
        image = header.kind in (IMAGE8, IMAGE16)
        if region is not None and not image:
            raise SignalError("the file holds an array; give slices instead of a region")
        if slices is not None and image:
            raise SignalError("the file holds an image; give a region instead of slices")
        if header.kind == ARRAY:
            return Field(values=self._field.decode_variable(v, reader.chunk, 0, slices, tables, progress))
        rows, columns, channels = self._window(v.shape, region, slices)
        window = (slice(None), rows, columns)
        planes = self._field.decode_variable(v, reader.chunk, 0, window, tables, progress)
        dtype = np.dtype(np.uint8 if header.bytes_per_sample == 1 else np.uint16)
        planes = (
            backward(planes, header.transform, dtype) if len(planes) > 2 else planes.astype(dtype, copy=False)
        )
        samples = np.ascontiguousarray(np.moveaxis(planes[channels], 0, 2))
        return Image(samples=samples, metadata=reader.metadata) if image else Field(values=samples)

    def _window(
        self, shape: tuple[int, ...], region: tuple[int, int, int, int] | None, slices: Any
    ) -> tuple[slice, slice, slice]:
        """Rows, columns and channels of planes [C, H, W] that were asked for."""
        if region is not None:
            x, y, w, h = region
            if min(x, y) < 0 or min(w, h) < 1 or x + w > shape[2] or y + h > shape[1]:
                raise SignalError(
                    f"region {x},{y},{w},{h} does not lie in the image of {shape[2]}x{shape[1]} pixels; "
                    "give X,Y,W,H inside it"
                )
            return slice(y, y + h), slice(x, x + w), slice(None)
        given = () if slices is None else slices if isinstance(slices, tuple) else (slices,)
        if len(given) > 3 or not all(isinstance(s, slice) and s.step in (None, 1) for s in given):
            raise SignalError(
                f"slices {slices!r} do not fit an array of shape {(*shape[1:], shape[0])}; "
                "give slice(start, stop) for its leading axes"
            )
        full = [*given, *[slice(None)] * (3 - len(given))]
        return full[0], full[1], full[2]


def as_integers(x: Any) -> Image | Field:
    """An image, or an array of integers.

    Raises:
        SignalError: floats, several variables, or an image whose samples were changed when it was read.
    """
    signal: Any = as_image(x) if _is_image(x) else as_field(x)
    if isinstance(signal, Image):
        if not signal.exact:
            raise SignalError(
                f"lossless coding needs the samples as they are: {'; '.join(signal.notes)}; "
                "convert the file to PNG with a tool that keeps them"
            )
        return signal
    if not isinstance(signal, Field):
        raise SignalError(
            f"lossless coding takes one array, not {len(signal.fields)} variables; "
            "use codec='field' with lossless=True"
        )
    if signal.values.dtype.kind not in "iub":
        raise SignalError(
            f"the array is {signal.values.dtype}; lossless codes integers and booleans: "
            "use codec='field' with lossless=True for floats"
        )
    return signal


def _is_image(x: Any) -> bool:
    if isinstance(x, (str, Path)):
        return Path(x).suffix.lower() not in (".npy",)
    return isinstance(x, (Image, bytes, bytearray, memoryview)) or "PIL" in {
        c.__module__.split(".")[0] for c in type(x).__mro__
    }
