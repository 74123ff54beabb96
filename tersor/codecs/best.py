"""The smaller of two files of one picture: overfitted, or by the one network that all pictures share.

    picture --image-overfit--> file, PSNR --image at that PSNR--> file --> the smaller one

An overfitted file carries its networks, about a kilobyte, and every iteration counts: small pictures and
short fits are better off with `image`. Pictures so small that the networks alone exceed a usual file are not
fitted at all.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tersor import registry
from tersor.errors import SignalError
from tersor.files.coerce import as_image
from tersor.metrics.psnr import psnr

LEAST_PIXELS = 1 << 14  # G: a kilobyte is half a bit per pixel there
PRECISE = 100.0  # G: dB; from here on there is nothing to compare


def encode_best(x: Any, *, device: str = "auto", **options: Any) -> tuple[bytes, str]:
    """Encode a picture with whichever codec makes the smaller file of equal PSNR.

    Args:
        x: anything `as_image` takes.
        device: for the `image` codec.
        options: of image-overfit.

    Returns:
        (the file, which codec wrote it and why: for people).

    Raises:
        SignalError: an image or option that cannot be coded.
    """
    image = as_image(x)
    fitted = registry.resolve(registry.by_name("image-overfit").codec)()
    fitted.encode_options.check(options)
    shared = registry.resolve(registry.by_name("image").codec)(device=device)
    pixels = image.width * image.height
    if pixels < LEAST_PIXELS:
        names = ("quality", "target_bpp", "target_psnr")
        asked = {k: v for k, v in options.items() if k in names and v is not None}
        if "quality" in asked:
            asked["quality"] = round(asked["quality"])
        reason = f"{image.width}x{image.height} pixels do not pay for a network of their own"
        return shared.encode_batch([image], **asked)[0], f"image: {reason}"
    file = fitted.encode_batch([image], **options)[0]
    db = psnr(np.asarray(fitted.decode_batch([file])[0]), image.samples)
    other: bytes | None = None
    if db < PRECISE:
        try:
            other = shared.encode_batch([image], target_psnr=db)[0]
        except SignalError:  # out of its reach
            other = None
    if other is not None and len(other) < len(file):
        return other, f"image: {len(other)} bytes at {db:.2f} dB, image-overfit takes {len(file)}"
    against = "image does not reach it" if other is None else f"image takes {len(other)}"
    return file, f"image-overfit: {len(file)} bytes at {db:.2f} dB, {against}"
