"""Established codecs to compare with, through Pillow: real file bytes, decoded 8-bit output."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tersor.errors import MissingDependencyError, SignalError
from tersor.metrics.psnr import psnr_rgb

OPTIONS: dict[str, dict[str, Any]] = {
    "jpeg": {"format": "JPEG", "optimize": True},
    "webp": {"format": "WEBP", "method": 6},
    "avif": {"format": "AVIF", "speed": 6, "subsampling": "4:4:4"},
    "jxl": {"format": "JXL", "effort": 7},
}
QUALITIES = {
    "jpeg": (5, 10, 20, 35, 50, 65, 78, 88, 94),
    "webp": (1, 10, 25, 45, 65, 80, 90, 96),
    "avif": (15, 25, 35, 45, 55, 65, 75, 84, 90),
    "jxl": (15, 30, 45, 60, 72, 82, 90, 94),
}
Encode = Callable[[NDArray[np.uint8], int], bytes]


def anchor(name: str) -> Encode:
    """A function (uint8 [H, W, 3], quality 0..100) -> file bytes.

    Raises:
        SignalError: unknown name. MissingDependencyError: this Pillow cannot write the format.
    """
    if name not in OPTIONS:
        raise SignalError(f"no anchor is called '{name}'; there are {', '.join(OPTIONS)}")
    if name == "jxl":
        try:
            import pillow_jxl  # noqa: F401 (registers the format)
        except ImportError as e:
            raise MissingDependencyError(
                "the jxl anchor needs pillow-jxl-plugin: pip install 'tersor[eval]'"
            ) from e
    Image.init()
    if OPTIONS[name]["format"] not in Image.SAVE:
        raise MissingDependencyError(f"this Pillow cannot write {name}: pip install -U pillow")

    def encode(samples: NDArray[np.uint8], quality: int) -> bytes:
        out = io.BytesIO()
        Image.fromarray(samples).save(out, quality=quality, **OPTIONS[name])
        return out.getvalue()

    return encode


def decode(data: bytes) -> NDArray[np.uint8]:
    """uint8 [H, W, 3]."""
    with Image.open(io.BytesIO(data)) as im:
        return np.array(im.convert("RGB"))


def at_psnr(
    encode: Encode, samples: NDArray[np.uint8], target_db: float
) -> tuple[int, bytes, NDArray[np.uint8]]:
    """The lowest quality that reaches the target: (quality, file, decoded); quality 100 if none does."""
    low, high = 1, 100
    best = 100
    while low <= high:
        quality = (low + high) // 2
        if psnr_rgb(decode(encode(samples, quality)), samples) >= target_db:
            best, high = quality, quality - 1
        else:
            low = quality + 1
    file = encode(samples, best)
    return best, file, decode(file)
