"""A still image: samples, metadata, notes."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np
from numpy.typing import DTypeLike

from tersor.arrays import Samples
from tersor.errors import SignalError
from tersor.signals.compare import fingerprint, same, same_array

if TYPE_CHECKING:
    import PIL.Image
    import torch

MAX_PIXELS = 1 << 29  # F
MAX_SIDE = 1 << 24  # F
SAMPLE_TYPES = (np.dtype(np.uint8), np.dtype(np.uint16))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Image:
    """A still image; `np.asarray(image)` is its samples. Two are equal if samples and metadata are.

    Attributes:
        samples: uint8 or uint16 [H, W, C]; C is 1 (grey), 2 (grey, alpha), 3 (RGB) or 4 (RGB, alpha); rows
            from the top, not yet turned by EXIF orientation.
        metadata: "icc", "exif", "xmp", "text" and others, as FORMAT.md says of the metadata of images.
        notes: what was changed on the way in, for people ("palette converted to RGB").
        exact: False if the file held more than these samples (16 bits reduced to 8, CMYK converted).

    Raises:
        SignalError: samples of another type or shape, or no pixels.
    """

    samples: Samples
    metadata: Mapping[str, bytes] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    exact: bool = True

    def __post_init__(self) -> None:
        s = self.samples
        if s.dtype not in SAMPLE_TYPES:
            raise SignalError(
                f"image samples are {s.dtype}; allowed are uint8 and uint16: "
                "scale and round floats to one of them first"
            )
        if s.ndim != 3 or s.shape[2] not in (1, 2, 3, 4):
            raise SignalError(
                f"image samples have shape {s.shape}; needed is [H, W, C] with C of 1, 2, 3 or 4"
            )
        if 0 in s.shape:
            raise SignalError(f"the image is {s.shape[1]}x{s.shape[0]} pixels: there is nothing to encode")
        if s.shape[0] * s.shape[1] > MAX_PIXELS or max(s.shape[:2]) > MAX_SIDE:
            raise SignalError(
                f"the image is {s.shape[1]}x{s.shape[0]} pixels; "
                f"allowed are {MAX_PIXELS} in all and {MAX_SIDE} a side: split it first"
            )

    @property
    def width(self) -> int:
        return int(self.samples.shape[1])

    @property
    def height(self) -> int:
        return int(self.samples.shape[0])

    @property
    def nbytes(self) -> int:
        return int(self.samples.nbytes)

    @property
    def bits_per_sample(self) -> int:
        return 8 * self.samples.dtype.itemsize

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> Samples:
        return (
            np.array(self.samples, dtype=dtype)
            if copy or dtype not in (None, self.samples.dtype)
            else self.samples
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Image):
            return NotImplemented
        return same_array(self.samples, other.samples) and same(self.metadata, other.metadata)

    def __hash__(self) -> int:
        return fingerprint(self.samples)

    def __repr__(self) -> str:
        h, w, channels = self.samples.shape
        return f"Image({w}x{h}, channels={channels}, {self.samples.dtype}, metadata={sorted(self.metadata)})"

    def pil(self) -> PIL.Image.Image:
        """As a Pillow image with its ICC profile and EXIF block in `info`.

        Raises:
            SignalError: 16-bit colour, which Pillow has no mode for; `save` writes it, `np.asarray` gives it.
        """
        image: PIL.Image.Image = importlib.import_module("tersor.files.image").to_pil(self)
        return image

    def tensor(self) -> torch.Tensor:
        """As a torch tensor, uint8 or uint16 [C, H, W]."""
        import torch

        return torch.from_numpy(np.ascontiguousarray(self.samples.transpose(2, 0, 1)))

    def save(self, path: str | os.PathLike[str] | IO[bytes], format: str | None = None) -> tuple[str, ...]:
        """Write an image file.

        Args:
            path: its suffix names the format (16 bits: .png); or a file open for bytes.
            format: "png" and others, of an open file.

        Returns:
            what the file does not hold, in words.

        Raises:
            SignalError: no format, or one that cannot hold the image.
        """
        target = Path(path) if isinstance(path, (str, os.PathLike)) else path
        lost: tuple[str, ...] = importlib.import_module("tersor.files.image").write_image(
            self, target, format
        )
        return lost
