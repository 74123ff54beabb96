"""What can be asked of the codec of overfitted pictures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypedDict

from tersor.codecs.image_overfit.header import MAX_TILE
from tersor.codecs.image_overfit.network import PRESETS
from tersor.codecs.image_overfit.schedule import Status, Target
from tersor.codecs.options import DecodeOptions as AnyDecodeOptions
from tersor.codecs.options import Option, Options, parse_region
from tersor.codecs.tiled import TILE_UNIT

Watch = Callable[[Status], bool | None]
Region = tuple[int, int, int, int]
DEFAULT_QUALITY = 50  # G
DEFAULT_EFFORT = 5  # G
DEFAULT_TILE = 1024  # G
LAMBDAS = (3e-2, 2e-5)  # G: of qualities 1 and 100; log-linear between
# G: preset and iterations of an effort; 5 is about two minutes of two cores for 768x512
EFFORTS = {
    1: ("fast", 300), 2: ("fast", 1000), 3: ("normal", 1000), 4: ("normal", 2000), 5: ("best", 4000),
    6: ("best", 6000), 7: ("best", 10_000), 8: ("best", 20_000), 9: ("best", 40_000),
}  # fmt: skip


class EncodeOptions(TypedDict, total=False):
    """Options of the encoder."""

    quality: Annotated[
        float | None, Option("what a bit is worth", low=1, high=100, one_of="target", default=DEFAULT_QUALITY)
    ]
    target_bpp: Annotated[
        float | None,
        Option(
            "steer the fit to this size of the file, within a few percent",
            above=0,
            unit="bits per pixel",
            one_of="target",
        ),
    ]
    target_psnr: Annotated[
        float | None,
        Option(
            "steer the fit to this PSNR of the colours, nearly",
            above=0,
            below=100,
            unit="dB",
            one_of="target",
        ),
    ]
    effort: Annotated[
        int | None,
        Option("iterations and size of the networks", low=1, high=max(EFFORTS), default=DEFAULT_EFFORT),
    ]
    preset: Annotated[str | None, Option("size of the networks, whatever the effort", choices=tuple(PRESETS))]
    iterations: Annotated[int | None, Option("instead of the effort's", low=20, high=1_000_000)]
    time_limit: Annotated[
        float | None,
        Option("end the fit of a picture after this time and write what there is", above=0, unit="seconds"),
    ]
    tile: Annotated[
        int | None,
        Option(
            "side of a tile, which decodes alone; small ones cost rate",
            low=TILE_UNIT,
            high=MAX_TILE,
            multiple_of=TILE_UNIT,
            unit="pixels",
            default=DEFAULT_TILE,
        ),
    ]
    resume: Annotated[
        str | None,
        Option(
            "keep the fit's state in this file every minute, and go on from it if it is there", form="FILE"
        ),
    ]
    watch: Annotated[
        Watch | None, Option("called with a Status every ten iterations; True ends the fit", flag="")
    ]


class DecodeOptions(AnyDecodeOptions, total=False):
    """Options of the decoder."""

    region: Annotated[
        Region | None, Option("only this part of the image", parse=parse_region, form="X,Y,W,H")
    ]


ENCODE = Options("image-overfit", EncodeOptions)
DECODE = Options("image-overfit", DecodeOptions)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Checked options, as a fit needs them.

    Attributes:
        lam: lambda; where it begins, if a target steers it.
        target: of the steering.
        preset: of the networks.
        iterations: at most.
        time_limit: seconds, or None.
        tile: side of a tile in pixels.
        resume: file of the fit's state, or None.
        watch: who is told, and may end the fit.
    """

    lam: float
    target: Target
    preset: str
    iterations: int
    time_limit: float | None
    tile: int
    resume: Path | None
    watch: Watch | None


def plan_of(o: EncodeOptions) -> Plan:
    """The plan of options that `ENCODE.check` returned."""
    preset, iterations = EFFORTS[o["effort"] or DEFAULT_EFFORT]
    quality, db = o["quality"], o["target_psnr"]
    low, high = LAMBDAS
    return Plan(
        lam=low * (high / low) ** (((DEFAULT_QUALITY if quality is None else quality) - 1) / 99),
        target=Target(bpp=o["target_bpp"], mse=None if db is None else 10 ** (-db / 10)),
        preset=o["preset"] or preset,
        iterations=o["iterations"] or iterations,
        time_limit=o["time_limit"],
        tile=o["tile"] or DEFAULT_TILE,
        resume=None if o["resume"] is None else Path(o["resume"]),
        watch=o["watch"],
    )
