"""`make demo`: one photograph through tersor and back, beside JPEG, WebP and AVIF at the same PSNR."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

import tersor
from tersor.evaluate.anchors.image import anchor, at_psnr
from tersor.metrics.perceptual import ms_ssim_rgb
from tersor.metrics.psnr import psnr_rgb


def photograph() -> np.ndarray:
    """Chelsea the cat, as scikit-image ships it, uint8 [300, 451, 3]."""
    from skimage import data

    return np.asarray(data.chelsea())


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--image", help="another photograph")
    p.add_argument("--quality", type=int, default=30)
    p.add_argument("--out", default="demo")
    a = p.parse_args()
    samples = np.array(Image.open(a.image).convert("RGB")) if a.image else photograph()
    pixels = samples.shape[0] * samples.shape[1]
    out = Path(a.out)
    out.mkdir(exist_ok=True)

    codec = tersor.Codec("image")
    codec.decode(codec.encode(samples[:64, :64]))  # load the model before timing
    t0 = time.perf_counter()
    file = codec.encode(samples, quality=a.quality)
    t1 = time.perf_counter()
    decoded = np.asarray(codec.decode(file))
    t2 = time.perf_counter()
    (out / "photo.tsr").write_bytes(file)
    target = psnr_rgb(decoded, samples)

    rows = [("tersor", len(file), decoded, t1 - t0, t2 - t1)]
    for name in ("jpeg", "webp", "avif"):
        encode = anchor(name)
        quality, data, image = at_psnr(encode, samples, target)
        t0 = time.perf_counter()
        encode(samples, quality)
        rows.append((name, len(data), image, time.perf_counter() - t0, float("nan")))
    print(
        f"{samples.shape[1]}x{samples.shape[0]} photograph, device {codec.device}; "
        "the others at the lowest quality that reaches tersor's PSNR\n"
    )
    print(f"{'':8} {'bytes':>8} {'bpp':>7} {'PSNR dB':>8} {'MS-SSIM':>8} {'encode s':>9} {'decode s':>9}")
    for name, size, image, encode_seconds, decode_seconds in rows:
        decode_text = f"{decode_seconds:9.3f}" if decode_seconds == decode_seconds else f"{'':9}"
        print(
            f"{name:8} {size:8,} {8 * size / pixels:7.3f} {psnr_rgb(image, samples):8.2f} "
            f"{ms_ssim_rgb(image, samples):8.4f} {encode_seconds:9.3f} {decode_text}"
        )

    budget = len(file)
    encode = anchor("jpeg")
    fitting = max((q for q in range(1, 96) if len(encode(samples, q)) <= budget), default=1)
    jpeg = np.array(Image.open(_buffer(encode(samples, fitting))))
    panels = [
        ("original", samples),
        (f"tersor, {budget:,} bytes", decoded),
        (f"JPEG, {len(encode(samples, fitting)):,} bytes", jpeg),
    ]
    h, w = samples.shape[:2]
    sheet = Image.new("RGB", (w * 3 + 20, h + 30), "white")
    draw = ImageDraw.Draw(sheet)
    for i, (label, image) in enumerate(panels):
        sheet.paste(Image.fromarray(image), (i * (w + 10), 30))
        draw.text((i * (w + 10) + 4, 6), label, fill="black", font=ImageFont.load_default(16))
    sheet.save(out / "side-by-side.png")
    print(
        f"\nwritten: {out / 'photo.tsr'} and {out / 'side-by-side.png'} (original, tersor, "
        "JPEG of the same size)"
    )


def _buffer(data: bytes):
    import io

    return io.BytesIO(data)


if __name__ == "__main__":
    main()
