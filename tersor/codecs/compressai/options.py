"""What can be asked of CompressAI's models."""

from __future__ import annotations

from typing import Annotated, TypedDict

from tersor.codecs.options import DecodeOptions, Option, Options

DEFAULT_ARCHITECTURE = "mbt2018-mean"


class CompressAIEncodeOptions(TypedDict, total=False):
    """Which model encodes."""

    architecture: Annotated[
        str | None,
        Option("a key of compressai.zoo.image_models", default=DEFAULT_ARCHITECTURE, flag=""),
    ]
    metric: Annotated[
        str | None,
        Option("what it was trained for", choices=("mse", "ms-ssim"), default="mse", flag=""),
    ]
    quality: Annotated[
        float | None, Option("CompressAI's; of cheng2020 1 to 6", low=1, high=8, whole=True, default=4)
    ]


ENCODE = Options("compressai", CompressAIEncodeOptions)
DECODE = Options("compressai", DecodeOptions)
