"""The rate-distortion lab beside `tersor eval`: questions that a release answers in results/.

python tools/evaluate.py effort --data KODAK --limit 6       what encoder effort gains
python tools/evaluate.py rounding --data TRAIN --limit 8     what rate-distortion optimised rounding gains, at several strengths
python tools/evaluate.py memory                              peak memory of a 100-megapixel image, encode and decode
python tools/evaluate.py hour                                peak memory of an hour of stereo sound through the command line
python tools/evaluate.py damage                              10,000 random truncations and bit flips
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from tersor.evaluate.image import load_folder
from tersor.metrics.anchors import psnr_rgb
from tersor.metrics.rate_distortion import bd_rate

QUALITIES = (10, 30, 50, 70)


def curve(images: list[tuple[str, np.ndarray]], **options: int) -> tuple[list[float], list[float], float]:
    """(mean bpp, mean PSNR, seconds per encode) over QUALITIES."""
    from tersor.codecs.image import ImageCodec

    codec = ImageCodec("cpu")
    rates, quality, seconds = [], [], []
    for q in QUALITIES:
        bpp, psnr = [], []
        for _, x in images:
            began = time.perf_counter()
            (file,) = codec.encode_batch([x], quality=q, **options)
            seconds.append(time.perf_counter() - began)
            bpp.append(8 * len(file) / (x.shape[0] * x.shape[1]))
            psnr.append(psnr_rgb(np.asarray(codec.decode_batch([file])[0]), x))
        rates.append(float(np.mean(bpp)))
        quality.append(float(np.mean(psnr)))
    return rates, quality, float(np.median(seconds))


def effort(a: argparse.Namespace) -> None:
    images = load_folder(a.data, a.limit)
    base = curve(images, effort=3)
    print(f"{len(images)} images, qualities {QUALITIES}\neffort 3  {base[2]:.2f} s an image")
    for e in (4, 5):
        c = curve(images, effort=e)
        print(f"effort {e}  {c[2]:.2f} s an image, BD-rate against effort 3: {bd_rate(*base[:2], *c[:2]):+.2f} %", flush=True)


def rounding(a: argparse.Namespace) -> None:
    from tersor.codecs import latents

    images = load_folder(a.data, a.limit)
    chosen = latents.RDOQ_STRENGTH
    latents.RDOQ_STRENGTH = 1e9
    base = curve(images)
    print(f"{len(images)} images, qualities {QUALITIES}; chosen strength {chosen}")
    for strength in (8.0, 4.0, 2.4, 1.6, 1.2):
        latents.RDOQ_STRENGTH = strength
        c = curve(images)
        print(f"weight of the error {strength:<4}  BD-rate against nearest rounding: {bd_rate(*base[:2], *c[:2]):+.2f} %", flush=True)


MEMORY = """
import resource, sys, time
import numpy as np
import tersor
out = sys.argv[2]
began = time.perf_counter()
if sys.argv[1] == "encode":
    y = np.arange(10000, dtype=np.uint32)[:, None]
    x = np.arange(10000, dtype=np.uint32)[None]
    noise = np.random.default_rng(0).integers(0, 24, (500, 10000), dtype=np.uint8)
    image = np.empty((10000, 10000, 3), np.uint8)
    for c, step in enumerate((37, 53, 71)):
        for r in range(0, 10000, 500):
            image[r : r + 500, :, c] = ((x * (c + 1) + y[r : r + 500] * 2) // step % 200).astype(np.uint8) + noise
    open(out, "wb").write(tersor.encode(image, device="cpu"))
else:
    with tersor.open(out, device="cpu") as f:
        assert np.asarray(f.read()).shape == (10000, 10000, 3)
print(f"{sys.argv[1]} of 10000x10000 pixels: {time.perf_counter() - began:.0f} s, peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB")
"""


def memory(_: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "large.tsr")
        for what in ("encode", "decode"):
            subprocess.run([sys.executable, "-c", MEMORY, what, path], check=True)


HOUR = """
import resource, sys, time
import numpy as np
from tersor.cli import main
from tersor.files.audio import AudioWriter
folder = sys.argv[2]
began = time.perf_counter()
if sys.argv[1] == "write":
    rng, rate = np.random.default_rng(0), 44100
    with open(folder + "/hour.wav", "w+b") as f:
        out = AudioWriter(f, ".wav", rate, 2, np.dtype(np.int16), 16, {})
        for s in range(3600):
            t = np.arange(s * rate, (s + 1) * rate) / rate
            tone = 8000 * np.sin(2 * np.pi * (220 + s % 60 * 10) * t) * (0.6 + 0.4 * np.sin(5 * t))
            out.write((np.stack([tone, 0.7 * tone], 1) + rng.normal(0, 300, (rate, 2))).astype(np.int16))
        out.close()
else:
    files = {"encode": [folder + "/hour.wav", "--bitrate", "64"], "decode": [folder + "/hour.tsr", "-o", folder + "/again.wav"]}
    assert main([sys.argv[1], *files[sys.argv[1]], "-q"]) == 0
print(f"{sys.argv[1]} of an hour of stereo: {time.perf_counter() - began:.0f} s, peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")
"""


def hour(_: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for what in ("write", "encode", "decode"):
            subprocess.run([sys.executable, "-c", HOUR, what, folder], check=True)


def damage(_: argparse.Namespace) -> None:
    began = time.perf_counter()
    test = "tests/test_robustness.py::test_random_damage_ten_thousand"
    subprocess.run([sys.executable, "-m", "pytest", "-q", test], check=True)
    print(f"10,000 damaged files in {time.perf_counter() - began:.0f} s; peak memory {resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024:.0f} MB")


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sub = p.add_subparsers(required=True)
    for run in (effort, rounding, memory, hour, damage):
        q = sub.add_parser(run.__name__)
        q.set_defaults(run=run)
        if run in (effort, rounding):
            q.add_argument("--data", required=True)
            q.add_argument("--limit", type=int, default=6)
    a = p.parse_args()
    a.run(a)


if __name__ == "__main__":
    main()
