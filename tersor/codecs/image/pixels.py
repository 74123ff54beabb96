"""Tiles without latents, for what photographs never hold: patterns of one pixel, screens, diagrams, noise.

    payload of kind 2: WebP without loss | of kind 3: JPEG 4:4:4, both of the samples of a tile that exist

The encoder tries them where a cheap look says that they may cost less, in bits and squared error, than
latents, and takes the cheapest. On photographs neither look succeeds, and nothing is tried. Tiles beside one
of them see the latents that analysis makes of its samples.
"""

from __future__ import annotations

import io
import warnings
import zlib

import numpy as np
import PIL.Image
from numpy.typing import NDArray
from PIL import features

from tersor.errors import BitstreamError, MissingDependencyError

EXACT, JPEG = 2, 3  # F, kinds of a tile
STRIPES, STRIPE = 8, 16  # G: what is looked at, and rows of each
WEBP_GAIN = 4  # G: WebP is seldom a quarter of zlib
# Mean squared error over a squared step. M: photographs stay below, tools/study_hostile.py --photographs
BAD = 0.2


def may_pay_exactly(samples: NDArray[np.uint8], cost: float) -> bool:
    """Whether samples uint8 [h, w, C] may take fewer bits exactly than so many, by zlib of some of them."""
    step = max(STRIPE, len(samples) // STRIPES)
    part = [samples[at : at + STRIPE] for at in range(0, len(samples), step)]
    rows = sum(map(len, part))
    size = len(zlib.compress(b"".join(p.tobytes() for p in part), 1)) * len(samples) / rows
    return 8 * size / WEBP_GAIN < cost and bool(features.check("webp"))


def encode_exactly(samples: NDArray[np.uint8]) -> bytes:
    """WebP without loss."""
    out = io.BytesIO()
    picture(samples).convert("RGB").save(out, "WEBP", lossless=True, quality=80, method=4, exact=True)
    return out.getvalue()


def encode_jpeg(samples: NDArray[np.uint8], weight: float) -> tuple[bytes, float]:
    """The JPEG of the least cost, bits + weight x squared error, and that cost."""

    found: dict[int, tuple[bytes, float]] = {}

    def cost(quality: int) -> float:
        if quality not in found:
            file = _jpeg(samples, quality)
            error = squared_error(decode(JPEG, file, samples.shape, "jpeg"), samples)
            found[quality] = file, 8.0 * len(file) + weight * error
        return found[quality][1]

    best = min(range(5, 101, 15), key=cost)
    best = min((q for q in (best - 7, best, best + 7) if 1 <= q <= 100), key=cost)
    return found[best]


def _jpeg(samples: NDArray[np.uint8], quality: int) -> bytes:
    file = _saved(samples, quality, optimize=False)
    # Pillow has room for a byte a pixel of what it optimises, for two from quality 95 on; where that is not
    # enough, libjpeg complains on standard error
    room = samples.shape[0] * samples.shape[1] * (2 if quality >= 95 else 1)
    return _saved(samples, quality, optimize=True) if len(file) < room else file


def _saved(samples: NDArray[np.uint8], quality: int, optimize: bool) -> bytes:
    out = io.BytesIO()
    picture(samples).save(out, "JPEG", quality=quality, subsampling="4:4:4", optimize=optimize)
    return out.getvalue()


def squared_error(shown: NDArray[np.uint8] | NDArray[np.float32], samples: NDArray[np.uint8]) -> float:
    return float(np.square(shown.astype(np.float32) - samples).sum(dtype=np.float64))


def picture(samples: NDArray[np.uint8]) -> PIL.Image.Image:
    return PIL.Image.fromarray(samples[..., 0] if samples.shape[2] == 1 else samples)


def decode(kind: int, payload: bytes, shape: tuple[int, ...], name: str) -> NDArray[np.uint8]:
    """Samples uint8 [h, w, C] of a tile.

    Raises:
        BitstreamError: a payload that is not what the kind says, or of another size; `name` says which.
        MissingDependencyError: this Pillow cannot read it.
    """
    wanted = "WEBP" if kind == EXACT else "JPEG"
    if not features.check("webp" if kind == EXACT else "jpg"):
        raise MissingDependencyError(
            f"{name} is kept as {wanted}, which this Pillow cannot read; install another"
        )
    if kind == EXACT and (
        payload[12:16] != b"VP8L" or len(payload) != int.from_bytes(payload[4:8], "little") + 8
    ):
        raise BitstreamError(f"{name}: not one WebP picture without loss; the file is damaged")
    if kind == JPEG and payload[-2:] != b"\xff\xd9":
        raise BitstreamError(f"{name}: a JPEG that does not end; the file is damaged")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with PIL.Image.open(io.BytesIO(payload), formats=[wanted]) as im:
                if im.size != (shape[1], shape[0]) or im.mode not in ("RGB", "L"):
                    raise BitstreamError(
                        f"{name}: a picture of {im.size} {im.mode}, needed is {shape[1]}x{shape[0]}; "
                        "the file is damaged"
                    )
                shown = np.array(im.convert("L" if shape[2] == 1 and im.mode == "L" else "RGB"))
    except BitstreamError:
        raise
    except Exception as e:  # whatever comes to a parser of damaged bytes
        raise BitstreamError(f"{name}: not a {wanted} picture ({e}); the file is damaged") from e
    return shown.reshape(*shape[:2], -1)[..., : shape[2]]
