"""What can be asked of the lossless codec."""

from __future__ import annotations

from typing import Annotated, TypedDict

from tersor.codecs.options import DecodeOptions, Option, Options, parse_region

LEAST_BLOCK, MOST_BLOCK = 4096, 1 << 22  # G
BLOCK_CELLS = 1 << 21  # G
PICTURES_FROM = 3  # G: effort at which pictures.py codes what it can


class LosslessEncodeOptions(TypedDict, total=False):
    """How to encode."""

    block: Annotated[
        int | None,
        Option(
            "most samples of a block or tile, if not what suits the signal",
            low=LEAST_BLOCK,
            high=MOST_BLOCK,
            unit="samples",
        ),
    ]
    effort: Annotated[
        int | None,
        Option(
            f"from {PICTURES_FROM}, pictures take a tenth less space and ten times as long",
            low=1,
            high=9,
            default=3,
        ),
    ]


class LosslessDecodeOptions(DecodeOptions, total=False):
    """Which part to decode; only the blocks that it touches are read."""

    region: Annotated[
        tuple[int, int, int, int] | None,
        Option(
            "of images, only this rectangle: x, y, width, height in pixels",
            parse=parse_region,
            form="X,Y,W,H",
        ),
    ]
    slices: Annotated[object, Option("of arrays, only these: a slice for each leading axis", flag="")]


ENCODE = Options("lossless", LosslessEncodeOptions)
DECODE = Options("lossless", LosslessDecodeOptions)
