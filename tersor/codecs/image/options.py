"""What can be asked of the image encoder."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tersor.codecs.image.header import MAX_TILE
from tersor.codecs.image.tiles import TILE_UNIT
from tersor.errors import SignalError

DEFAULT_QUALITY = 50
DEFAULT_EFFORT = 3
MAX_EFFORT = 9
DEFAULT_TILE = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodeOptions:
    """How to encode; exactly one of the three targets, quality 50 if none.

    Attributes:
        quality: 1 (smallest) to 100.
        target_bpp: the highest quality whose whole file has at most this many bits per pixel.
        target_psnr: the lowest quality whose decoded image reaches this PSNR, in dB over all colour samples.
        effort: 1..9; from 2 the latents are refined for this image, above 3 slowly, each step doubling the
            iterations.
        tile: side of a tile in pixels, a multiple of 64.
    """

    quality: int | None = None
    target_bpp: float | None = None
    target_psnr: float | None = None
    effort: int = DEFAULT_EFFORT
    tile: int = DEFAULT_TILE

    def __post_init__(self) -> None:
        given = [n for n in ("quality", "target_bpp", "target_psnr") if getattr(self, n) is not None]
        if len(given) > 1:
            raise SignalError(f"{' and '.join(given)} exclude each other; give one")
        for name in ("quality", "effort", "tile"):
            value = getattr(self, name)
            if isinstance(value, bool) or (value is not None and not isinstance(value, (int, np.integer))):
                raise SignalError(f"{name} is {value!r}; it must be a whole number")
        if self.quality is not None and not 1 <= self.quality <= 100:
            raise SignalError(f"quality is {self.quality}; allowed are whole numbers 1 (smallest) to 100")
        for name in ("target_bpp", "target_psnr"):
            value = getattr(self, name)
            good = isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
            if value is not None and not (good and 0 < value < 1e6):
                raise SignalError(f"{name} is {value!r}; it must be a positive number")
        if not 1 <= self.effort <= MAX_EFFORT:
            raise SignalError(f"effort is {self.effort}; allowed are 1 to {MAX_EFFORT}")
        if not TILE_UNIT <= self.tile <= MAX_TILE or self.tile % TILE_UNIT:
            raise SignalError(
                f"tile is {self.tile}; allowed are multiples of {TILE_UNIT} from {TILE_UNIT} to {MAX_TILE}"
            )
