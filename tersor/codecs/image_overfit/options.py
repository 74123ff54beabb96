"""What can be asked of the encoder of overfitted pictures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tersor.codecs.image_overfit.header import MAX_TILE
from tersor.codecs.image_overfit.layout import TILE_UNIT
from tersor.codecs.image_overfit.network import PRESETS
from tersor.errors import SignalError

DEFAULT_QUALITY = 50
DEFAULT_EFFORT = 5
DEFAULT_TILE = 1024
LAMBDAS = (3e-2, 2e-5)  # G: of qualities 1 and 100; log-linear between
# G: preset and iterations of an effort; 5 is about two minutes of two cores for 768x512
EFFORTS = {
    1: ("fast", 300), 2: ("fast", 1000), 3: ("normal", 1000), 4: ("normal", 2000), 5: ("normal", 4000), 6: ("best", 6000),
    7: ("best", 10_000), 8: ("best", 20_000), 9: ("best", 40_000),
}  # fmt: skip
LEAST_ITERATIONS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodeOptions:
    """How to encode; at most one of the three targets, quality 50 if none.

    Attributes:
        quality: 1 (smallest) to 100: what a bit has to be worth.
        target_bpp: bits per pixel of the whole file; the fit steers towards it and ends within a few percent.
        target_psnr: in dB over all colour samples; the fit steers towards it and ends within about 0.1 dB.
        effort: 1..9: size of the networks and iterations; doubles the time from 3 on.
        preset: "fast", "normal" or "best": size of the networks, whatever the effort; a decoder pays for it.
        iterations: instead of the effort's.
        time_limit: seconds after which the fit of a picture ends and what there is is written.
        tile: side of a tile in pixels, a multiple of 64; smaller ones cost rate and let parts decode alone.
    """

    quality: int | None = None
    target_bpp: float | None = None
    target_psnr: float | None = None
    effort: int = DEFAULT_EFFORT
    preset: str | None = None
    iterations: int | None = None
    time_limit: float | None = None
    tile: int = DEFAULT_TILE

    def __post_init__(self) -> None:
        given = [n for n in ("quality", "target_bpp", "target_psnr") if getattr(self, n) is not None]
        if len(given) > 1:
            raise SignalError(f"{' and '.join(given)} exclude each other; give one")
        for name in ("quality", "effort", "tile", "iterations"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, (int, np.integer)):
                raise SignalError(f"{name} is {value!r}; it must be a whole number")
        if self.quality is not None and not 1 <= self.quality <= 100:
            raise SignalError(f"quality is {self.quality}; allowed are whole numbers 1 (smallest) to 100")
        for name in ("target_bpp", "target_psnr", "time_limit"):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, (int, float, np.number)) and 0 < value < 1e6):
                raise SignalError(f"{name} is {value!r}; it must be a positive number")
        if self.effort not in EFFORTS:
            raise SignalError(f"effort is {self.effort}; allowed are 1 to {max(EFFORTS)}")
        if self.preset is not None and self.preset not in PRESETS:
            raise SignalError(f"preset is {self.preset!r}; allowed are {', '.join(PRESETS)}")
        if self.iterations is not None and not LEAST_ITERATIONS <= self.iterations <= 1_000_000:
            raise SignalError(f"iterations is {self.iterations}; allowed are {LEAST_ITERATIONS} to 1000000")
        if not TILE_UNIT <= self.tile <= MAX_TILE or self.tile % TILE_UNIT:
            raise SignalError(
                f"tile is {self.tile}; allowed are multiples of {TILE_UNIT} from {TILE_UNIT} to {MAX_TILE}"
            )

    @property
    def networks(self) -> str:
        """Name of the networks' preset."""
        return self.preset or EFFORTS[self.effort][0]

    @property
    def steps(self) -> int:
        """Iterations."""
        return self.iterations or EFFORTS[self.effort][1]

    @property
    def lam(self) -> float:
        """Where lambda begins; it stays there unless a target steers it."""
        low, high = LAMBDAS
        return float(low * (high / low) ** (((self.quality or DEFAULT_QUALITY) - 1) / 99))
