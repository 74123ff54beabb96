"""What can be asked of the image codec."""

from __future__ import annotations

from typing import Annotated, TypedDict

from tersor.codecs.image.header import MAX_TILE
from tersor.codecs.options import DecodeOptions, Option, Options, parse_region
from tersor.codecs.tiled import TILE_UNIT

DEFAULT_QUALITY = 50  # G
DEFAULT_EFFORT = 3  # G
MAX_EFFORT = 9  # G
DEFAULT_TILE = 1024  # G


class ImageEncodeOptions(TypedDict, total=False):
    """How to encode; one of the targets at most."""

    quality: Annotated[
        float | None,
        Option("1 is smallest", low=1, high=100, whole=True, one_of="target", default=DEFAULT_QUALITY),
    ]
    target_bpp: Annotated[
        float | None,
        Option(
            "best quality whose whole file has at most so many bits per pixel",
            above=0,
            below=1e6,
            unit="bpp",
            one_of="target",
        ),
    ]
    target_psnr: Annotated[
        float | None,
        Option(
            "smallest file that reaches this PSNR, over all colour samples",
            above=0,
            below=1e6,
            unit="dB",
            one_of="target",
        ),
    ]
    effort: Annotated[
        int | None,
        Option(
            "from 2, fit to what is encoded; above 3, slowly, each step twice as long",
            low=1,
            high=MAX_EFFORT,
            default=DEFAULT_EFFORT,
        ),
    ]
    tile: Annotated[
        int | None,
        Option(
            "side of a tile that decodes alone",
            low=TILE_UNIT,
            high=MAX_TILE,
            multiple_of=TILE_UNIT,
            unit="pixels",
            default=DEFAULT_TILE,
        ),
    ]


class ImageDecodeOptions(DecodeOptions, total=False):
    """Which part to decode."""

    region: Annotated[
        tuple[int, int, int, int] | None,
        Option(
            "only this rectangle, in pixels, from only the tiles it needs",
            parse=parse_region,
            form="X,Y,W,H",
        ),
    ]


ENCODE = Options("image", ImageEncodeOptions)
DECODE = Options("image", ImageDecodeOptions)
