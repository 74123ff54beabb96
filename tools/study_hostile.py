"""Pictures that photographs never hold, beside JPEG and WebP in as many bytes.

python tools/study_hostile.py          nine kinds at five qualities, and how many are more than 3 dB behind
python tools/study_hostile.py --photographs FOLDER      what tells photographs from them
"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFile

from tersor.codecs.image.codec import ImageCodec
from tersor.codecs.image.decode import PLAIN
from tersor.container import Reader
from tersor.evaluate.lab import load_images
from tersor.metrics.psnr import psnr_rgb
from tersor.models.image_weights import load_image_model

ImageFile.MAXBLOCK = 1 << 24  # Pillow cannot write a JPEG of noise otherwise
QUALITIES = (5, 25, 50, 75, 95)
BEHIND = 3.0  # dB
EXACT = 99.0  # dB, for what is equal
H, W = 256, 384
Picture = NDArray[np.uint8]


def pictures() -> dict[str, Picture]:
    """Of each kind one, RGB."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:H, :W]
    centred = (x - W / 2) ** 2 + (y - H / 2) ** 2
    squares = rng.integers(0, 2, (H // 16, W // 16, 3)) * 255
    impulses = np.full((H, W, 3), 128)
    at = rng.random((H, W)) < 0.01
    impulses[at] = rng.integers(0, 2, (at.sum(), 3)) * 255
    found = {
        "noise": rng.integers(0, 256, (H, W, 3)),
        "checker": grey((x + y) % 2 * 255),
        "stripes": grey(x % 2 * 255),
        "coloured stripes": np.where((y % 2)[..., None] == 0, [255, 0, 0], [0, 0, 255]),
        "saturated": squares.repeat(16, 0).repeat(16, 1),
        "impulses": impulses,
        "text": text(rng),
        "flat": np.full((H, W, 3), (200, 30, 90)),
        "zone plate": grey(127.5 + 127.5 * np.cos(centred * np.pi / W)),
    }
    return {name: np.ascontiguousarray(p.astype(np.uint8)) for name, p in found.items()}


def grey(v: NDArray[np.number]) -> NDArray[np.number]:
    return np.repeat(v[..., None], 3, 2)


def text(rng: np.random.Generator) -> Picture:
    im = Image.new("RGB", (W, H), "white")
    draw = ImageDraw.Draw(im)
    for line in range(H // 12):
        words = " ".join(
            "".join(chr(c) for c in rng.integers(97, 123, rng.integers(2, 9))) for _ in range(12)
        )
        draw.text((4, 12 * line), words, "black" if line % 5 else "navy")
    return np.asarray(im)


def saved(format: str, **options: object) -> Callable[[Picture, int], bytes]:
    def encode(x: Picture, quality: int) -> bytes:
        out = io.BytesIO()
        Image.fromarray(x).save(out, format, quality=quality, **options)
        return out.getvalue()

    return encode


def without_loss(x: Picture, _: int) -> bytes:
    out = io.BytesIO()
    Image.fromarray(x).save(out, "WEBP", lossless=True, quality=80)
    return out.getvalue()


def quality_of(file: bytes, x: Picture) -> float:
    shown = np.asarray(Image.open(io.BytesIO(file)).convert("RGB"))
    return min(EXACT, float(psnr_rgb(shown, x))) if (shown != x).any() else EXACT


def best_within(size: int, encoders: list[Callable[[Picture, int], bytes]], x: Picture) -> float | None:
    """PSNR of the best file of at most so many bytes."""
    found = []
    for encode in encoders:
        low, high, best = 1, 100, None
        while low <= high:
            quality = (low + high) // 2
            if len(file := encode(x, quality)) <= size:
                best, low = file, quality + 1
            else:
                high = quality - 1
        if best:
            found.append(quality_of(best, x))
    return max(found, default=None)


def photographs(folder: str) -> None:
    """Mean squared error over a squared step, of the middles of photographs; how many keep their samples."""
    codec = ImageCodec("cpu")
    steps = load_image_model(None, "cpu").model.log_ungain
    for quality in QUALITIES:
        step = float(steps.at(torch.tensor([quality])).exp().square().mean())
        ratios, kept = [], 0
        for _, x in load_images(folder, 40):
            h, w = x.shape[0] // 2, x.shape[1] // 2
            x = np.ascontiguousarray(x[max(0, h - 96) : h + 96, max(0, w - 96) : w + 96])
            (file,) = codec.encode_batch([x], quality=quality)
            shown = np.asarray(codec.decode_batch([file])[0], np.uint8)
            ratios.append(np.square(shown.astype(float) - x).mean() / step)
            kept += Reader(file).chunk(0)[0] > PLAIN
        print(f"quality {quality}: median {np.median(ratios):.3f}, most {np.max(ratios):.3f}, kept {kept}")


def main() -> int:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--effort", type=int)
    p.add_argument("--photographs", metavar="FOLDER")
    a = p.parse_args()
    if a.photographs:
        photographs(a.photographs)
        return 0
    codec = ImageCodec("cpu")
    others = {
        "JPEG": [saved("JPEG", subsampling="4:4:4", optimize=True)],
        "WebP": [saved("WEBP"), without_loss],
    }
    behind = dict.fromkeys(others, 0)
    print(f"{'picture':18s} {'quality':>7s} {'bytes':>7s} {'PSNR':>6s}", *(f"{n:>6s}" for n in others))
    for name, x in pictures().items():
        for quality in QUALITIES:
            (file,) = codec.encode_batch([x], quality=quality, effort=a.effort)
            shown = np.asarray(codec.decode_batch([file])[0], np.uint8)
            ours = min(EXACT, float(psnr_rgb(shown, x))) if (shown != x).any() else EXACT
            theirs = {n: best_within(len(file), encoders, x) for n, encoders in others.items()}
            for n, value in theirs.items():
                behind[n] += value is not None and value > ours + BEHIND
            cells = ("     -" if v is None else f"{v:6.2f}" for v in theirs.values())
            print(f"{name:18s} {quality:7d} {len(file):7d} {ours:6.2f}", *cells, flush=True)
    for n, count in behind.items():
        print(f"more than {BEHIND:g} dB behind {n} in as many bytes: {count} of {9 * len(QUALITIES)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
