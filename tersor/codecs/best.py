"""The smaller of two files of one picture: overfitted, or by the one network that all pictures share.

    picture --image-overfit--> file, PSNR --image at that PSNR--> file --> the smaller one

An overfitted file carries its networks, about a kilobyte, and every iteration counts: small pictures and
short fits are better off with `image`. Pictures so small that the networks alone exceed a usual file, and
those whose time limit allows too few iterations, are not fitted at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, BinaryIO

import numpy as np

from tersor import registry
from tersor.errors import SignalError
from tersor.files.coerce import as_image
from tersor.metrics.psnr import psnr
from tersor.signals import Image

LEAST_PIXELS = 1 << 14  # G: a kilobyte is half a bit per pixel there
LEAST_ITERATIONS = 300  # G: of a fit that could be the smaller one
PRECISE = 100.0  # G: dB; from here on there is nothing to compare
TARGETS = ("quality", "target_bpp", "target_psnr")


class BestCodec:
    """Encodes pictures with whichever codec makes the smaller file of equal PSNR.

    Args:
        device: for the `image` codec.
        batch: tiles that share a batch, for the `image` codec.
        threads: at work at a time.

    Attributes:
        chosen: the codec that wrote the last file.
        why: in words, for people.
    """

    def __init__(self, device: str = "auto", batch: int | None = None, threads: int | None = None) -> None:
        given = {k: v for k, v in {"batch": batch, "threads": threads}.items() if v is not None}
        self._shared = registry.resolve(registry.by_name("image").codec)(device=device, **given)
        given.pop("batch", None)
        self._fitted = registry.resolve(registry.by_name("image-overfit").codec)(**given)
        self.device = str(self._shared.device)
        self.chosen, self.why = "", ""

    def encode(self, x: Any, **options: Any) -> bytes:
        """A file; options are those of image-overfit.

        Raises:
            SignalError: an image or option that cannot be coded.
        """
        image = as_image(x)
        checked = self._fitted.encode_options.check(options)
        if reason := self._unfit(image, checked):
            asked = {k: v for k, v in options.items() if k in TARGETS and v is not None}
            if "quality" in asked:
                asked["quality"] = round(asked["quality"])
            return self._choose("image", reason, self._shared.encode_batch([image], **asked)[0])
        file: bytes = self._fitted.encode_batch([image], **options)[0]
        db = psnr(np.asarray(self._fitted.decode_batch([file])[0]), image.samples)
        other: bytes | None = None
        if db < PRECISE:
            try:
                other = self._shared.encode_batch([image], target_psnr=db)[0]
            except SignalError:  # out of its reach
                other = None
        if other is not None and len(other) < len(file):
            why = f"{len(other):,} bytes at {db:.2f} dB, image-overfit takes {len(file):,}"
            return self._choose("image", why, other)
        against = "image does not reach it" if other is None else f"image takes {len(other):,}"
        return self._choose("image-overfit", f"{len(file):,} bytes at {db:.2f} dB, {against}", file)

    def encode_batch(self, signals: Sequence[Any], **options: Any) -> list[bytes]:
        """As `encode`, of several."""
        return [self.encode(x, **options) for x in signals]

    def encode_to(self, file: BinaryIO, signal: Any, **options: Any) -> int:
        """As `encode`, into a file; -> its size."""
        return file.write(self.encode(signal, **options))

    def decode(self, file: bytes) -> Image:
        """What the last file decodes to."""
        codec = self._shared if self.chosen == "image" else self._fitted
        image: Image = codec.decode_batch([file])[0]
        return image

    def _unfit(self, image: Image, options: Any) -> str:
        """Why a picture is not fitted at all; empty if it is."""
        size = f"{image.width}x{image.height} pixels"
        if image.width * image.height < LEAST_PIXELS:
            return f"{size} do not pay for a network of their own"
        limit = options["time_limit"]
        if limit is None:
            return ""
        allowed = int(limit / self._fitted.seconds_of_an_iteration(image, options))
        if allowed >= LEAST_ITERATIONS:
            return ""
        return f"{limit:g} s are {allowed} iterations here, a network of its own needs {LEAST_ITERATIONS}"

    def _choose(self, codec: str, why: str, file: bytes) -> bytes:
        self.chosen, self.why = codec, f"{codec}: {why}"
        return file


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
    codec = BestCodec(device)
    return codec.encode(x, **options), codec.why
