"""Studies beside `tersor eval`: questions that a release answers in results/, each with its own processes.

python tools/studies.py effort --data KODAK --limit 6     what encoder effort gains
python tools/studies.py rounding --data TRAIN --limit 8   what rate-distortion optimised rounding gains
python tools/studies.py lossless --data KODAK             bits per sub-pixel beside WebP and JPEG XL
python tools/studies.py blocks --data KODAK               how much the grid shows where pictures are smooth
python tools/studies.py access --data FIELD.npy           time and memory to a value of a 1 GB array
python tools/studies.py qualities --data SOUNDS           bit rates that qualities of sound stand for
python tools/studies.py memory                            peak memory of a 100-megapixel image
python tools/studies.py hour                              peak memory of an hour of stereo sound
python tools/studies.py beside                            an encode alone, beside a busy loop, beside another
python tools/studies.py damage                            10,000 random truncations and bit flips
"""

from __future__ import annotations

import argparse
import bisect
import io
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from tersor.evaluate.lab import load_images
from tersor.metrics.psnr import psnr_rgb
from tersor.metrics.rate_distortion import bd_rate

QUALITIES = (10, 30, 50, 70)


def curve(images: list[tuple[str, np.ndarray]], **options: Any) -> tuple[list[float], list[float], float]:
    """(mean bpp, mean PSNR, seconds per encode) over QUALITIES."""
    from tersor.codecs.image.codec import ImageCodec

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


def middle(x: np.ndarray, side: int) -> np.ndarray:
    """The middle of a picture; all of it if side is 0."""
    top, left = ((n - side) // 2 if 0 < side < n else 0 for n in x.shape[:2])
    return np.ascontiguousarray(x[top : x.shape[0] - top, left : x.shape[1] - left])


def effort(a: argparse.Namespace) -> None:
    images = [(name, middle(x, a.crop)) for name, x in load_images(a.data, a.limit)]
    base = curve(images, effort=1)
    print(f"{len(images)} images, qualities {QUALITIES}\neffort 1  {base[2]:.2f} s an image")
    for e in a.efforts:
        c = curve(images, effort=e)
        print(
            f"effort {e}  {c[2]:.2f} s an image, BD-rate against effort 1: "
            f"{bd_rate(*base[:2], *c[:2]):+.2f} %",
            flush=True,
        )


def rounding(a: argparse.Namespace) -> None:
    from tersor.codecs.image import latents

    images = load_images(a.data, a.limit)
    chosen = latents.RDOQ_STRENGTH
    latents.RDOQ_STRENGTH = 1e9
    base = curve(images)
    print(f"{len(images)} images, qualities {QUALITIES}; chosen strength {chosen}")
    for strength in (8.0, 4.0, 2.4, 1.6, 1.2):
        latents.RDOQ_STRENGTH = strength
        c = curve(images)
        print(
            f"weight of the error {strength:<4}  BD-rate against nearest rounding: "
            f"{bd_rate(*base[:2], *c[:2]):+.2f} %",
            flush=True,
        )


def lossless(a: argparse.Namespace) -> None:
    """Whole files; each is decoded and compared."""
    import pillow_jxl  # noqa: F401 (registers the format)
    from PIL import Image as Pil

    from tersor.codecs.lossless.codec import LosslessCodec

    options: dict[str, dict[str, Any]] = {
        "webp": {"format": "WEBP", "lossless": True, "quality": 100, "method": 6, "exact": True},
        "jxl": {"format": "JXL", "lossless": True, "effort": 7},
    }
    codec, totals, seconds = (
        LosslessCodec(),
        {"tersor": 0.0, "webp": 0.0, "jxl": 0.0},
        {"encode": 0.0, "decode": 0.0},
    )
    images = load_images(a.data, a.limit)
    codec.decode_batch(codec.encode_batch([images[0][1][:64, :64]]))  # compiles
    print(f"{'image':<16}" + "".join(f"{c:>9}" for c in totals) + "   bits per sub-pixel")
    for name, x in images:
        began = time.perf_counter()
        (file,) = codec.encode_batch([np.ascontiguousarray(x)])
        seconds["encode"] += time.perf_counter() - began
        began = time.perf_counter()
        same = np.array_equal(np.asarray(codec.decode_batch([file])[0]), x)
        seconds["decode"] += time.perf_counter() - began
        sizes = {"tersor": len(file)}
        for other, o in options.items():
            out = io.BytesIO()
            Pil.fromarray(x).save(out, **o)
            same &= np.array_equal(np.array(Pil.open(out).convert("RGB")), x)
            sizes[other] = len(out.getvalue())
        if not same:
            raise SystemExit(f"{name}: a decoded image differs from the original")
        for c, n in sizes.items():
            totals[c] += 8 * n / x.size / len(images)
        print(f"{name:<16}" + "".join(f"{8 * n / x.size:>9.3f}" for n in sizes.values()), flush=True)
    print(f"{'mean of ' + str(len(images)):<16}" + "".join(f"{v:>9.3f}" for v in totals.values()))
    print(
        f"tersor against webp {totals['tersor'] / totals['webp'] - 1:+.2%}, "
        f"against jxl {totals['tersor'] / totals['jxl'] - 1:+.2%}"
    )
    print(
        f"tersor: {seconds['encode'] / len(images):.2f} s in, {seconds['decode'] / len(images):.2f} s "
        "out an image; every image came back exactly from every codec"
    )


SMOOTHEST = 0.4  # of the blocks of a picture
BLOCK = 16


def blocks(a: argparse.Namespace) -> None:
    """Mean second difference along rows at the lines of the grid over that elsewhere, in the smoothest blocks
    of the original; AVIF of at most as many bytes beside it.
    """
    from tersor.codecs.image.codec import ImageCodec
    from tersor.evaluate.anchors.image import anchor, decode

    codec, avif = ImageCodec("cpu"), anchor("avif")
    found: dict[str, list[float]] = {"original": [], "tersor": [], "avif": []}
    for _, x in load_images(a.data, a.limit):
        smooth = smooth_blocks(x)
        (file,) = codec.encode_batch([x], quality=a.quality)
        q = bisect.bisect_right(range(100), len(file), key=lambda q: len(avif(x, q))) - 1
        ours, theirs = np.asarray(codec.decode_batch([file])[0]), decode(avif(x, max(q, 0)))
        shown = {"original": x, "tersor": ours, "avif": theirs}
        for name, y in shown.items():
            found[name].append(blockiness(y, smooth))
    means = ", ".join(f"{name} {np.mean(v):.3f}" for name, v in found.items())
    print(f"{len(found['original'])} images, quality {a.quality}: {means}")


def smooth_blocks(x: np.ndarray) -> np.ndarray:
    """bool [H, W]: the blocks with the least gradients."""
    down, across = np.gradient(x.mean(2))
    h, w = (n // BLOCK for n in x.shape[:2])
    change = (np.abs(down) + np.abs(across))[: h * BLOCK, : w * BLOCK]
    energy = change.reshape(h, BLOCK, w, BLOCK).mean((1, 3))
    return np.kron(energy < np.quantile(energy, SMOOTHEST), np.ones((BLOCK, BLOCK), bool))


def blockiness(x: np.ndarray, smooth: np.ndarray) -> float:
    """Of the mean colour of uint8 [H, W, 3]."""
    h, w = smooth.shape
    d, own = np.abs(np.diff(x[:h, :w].astype(float).mean(2), 2, axis=1)), smooth[:, 1:-1]
    at = np.arange(1, w - 1) % BLOCK
    line = (at == BLOCK - 1) | (at == 0)
    return float(d[:, line][own[:, line]].mean() / d[:, ~line][own[:, ~line]].mean())


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
            waves = (x * (c + 1) + y[r : r + 500] * 2) // step % 200
        image[r : r + 500, :, c] = waves.astype(np.uint8) + noise
    open(out, "wb").write(tersor.encode(image, device="cpu"))
else:
    with tersor.open(out, device="cpu") as f:
        assert np.asarray(f.read()).shape == (10000, 10000, 3)
seconds, peak = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
print(f"{sys.argv[1]} of 10000x10000 pixels: {seconds:.0f} s, peak memory {peak:.2f} GiB")
"""


FIRST_VALUE = """
import resource, sys, time
began = time.perf_counter()
import numpy as np
import tersor
with tersor.open(sys.argv[1]) as f:
    part = np.asarray(f.read(slices=tuple(slice(n // 2, n // 2 + 1) for n in eval(sys.argv[2]))))
process = time.perf_counter() - began
times = []
for _ in range(5):
    began = time.perf_counter()
    with tersor.open(sys.argv[1]) as f:
        again = np.asarray(f.read(slices=tuple(slice(n // 2, n // 2 + 1) for n in eval(sys.argv[2]))))
    times.append(time.perf_counter() - began)
assert part.size == 1 and again == part
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
spread = f"median of 5, {min(times):.3f} to {max(times):.3f}"
print(f"one value: {process:.2f} s in a new process, imports included; "
      f"{sorted(times)[2]:.3f} s from open to value ({spread}); peak memory {peak:.0f} MB")
"""


LARGE = """
import sys, time
import numpy as np
from tersor.codecs.field.codec import FieldCodec
one = np.load(sys.argv[1])
assert one.ndim > 1 and np.isfinite(one).all(), "needed is a field of two or more axes without missing cells"
whole = np.concatenate([np.roll(one, k * 7, -1) for k in range(-(-(1 << 30) // one.nbytes))])
whole = whole[: (1 << 30) // (one.nbytes // len(one))]
began = time.perf_counter()
(file,) = FieldCodec().encode_batch([whole], rel_error=1e-3)
seconds = time.perf_counter() - began
open(sys.argv[2], "wb").write(file)
open(sys.argv[2] + ".shape", "w").write(repr(whole.shape))
print(f"{whole.nbytes / 1e9:.2f} GB, {whole.dtype} {list(whole.shape)} -> {len(file):,} bytes "
      f"in {seconds:.0f} s, {whole.nbytes / 1e6 / seconds:.1f} MB/s", flush=True)
"""


def access(a: argparse.Namespace) -> None:
    """A real field, repeated and turned along its last axis until it fills 1 GB; each step in a process of
    its own.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "large.tsr"
        subprocess.run([sys.executable, "-c", LARGE, str(a.data), str(path)], check=True)
        for _ in range(2):  # the second run finds the compiled loops
            subprocess.run(
                [sys.executable, "-c", FIRST_VALUE, str(path), Path(f"{path}.shape").read_text()], check=True
            )


def qualities(a: argparse.Namespace) -> None:
    """QUALITY_GAIN of codecs/audio/options.py spreads the qualities over the bit rates in use."""
    from tersor.codecs.audio.codec import AudioCodec
    from tersor.codecs.audio.options import QUALITY_GAIN
    from tersor.evaluate.lab import find
    from tersor.files.audio import SUFFIXES, read_audio

    codec = AudioCodec()
    print("gain = {} - {} quality, in 1/32 octave of the step; kbit/s of files".format(*QUALITY_GAIN))
    sounds = [read_audio(p) for p in find(a.data, SUFFIXES, a.limit, "sound files")]
    for quality in (1, 10, 25, 40, 50, 60, 75, 90, 100):
        rates: dict[str, list[float]] = {}
        for sound in sounds:
            kind = "one channel" if sound.channels == 1 else "two channels and more"
            (file,) = codec.encode_batch([sound], quality=quality, effort=1)
            rates.setdefault(kind, []).append(8 * len(file) / sound.seconds / 1000)
        means = ", ".join(f"{np.mean(r):.1f} ({k}, {len(r)})" for k, r in sorted(rates.items()))
        print(f"quality {quality:>3}  {means}", flush=True)


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
    files = {
    "encode": [folder + "/hour.wav", "--bitrate", "64"],
    "decode": [folder + "/hour.tsr", "-o", folder + "/again.wav"],
}
    assert main([sys.argv[1], *files[sys.argv[1]], "-q"]) == 0
seconds, peak = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(f"{sys.argv[1]} of an hour of stereo: {seconds:.0f} s, peak memory {peak:.0f} MB")
"""


def hour(_: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for what in ("write", "encode", "decode"):
            subprocess.run([sys.executable, "-c", HOUR, what, folder], check=True)


def damage(_: argparse.Namespace) -> None:
    began = time.perf_counter()
    test = "tests/test_robustness.py::test_random_damage_ten_thousand"
    subprocess.run([sys.executable, "-m", "pytest", "-q", test], check=True)
    print(
        f"10,000 damaged files in {time.perf_counter() - began:.0f} s; "
        f"peak memory {resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024:.0f} MB"
    )


BUSY = "while True: pass"
ENCODES = """
import sys, time
import tersor
from tersor.testing.samples import picture
codec, x = tersor.Codec("image", device="cpu"), picture()
codec.encode(x, quality=50)
print(flush=True)
for line in sys.stdin if sys.argv[1] == "asked" else iter(int, 1):
    began = time.perf_counter()
    codec.encode(x, quality=50)
    if line:
        print(time.perf_counter() - began, flush=True)
"""


def beside(_: argparse.Namespace) -> None:
    """Seconds of an encode of one photograph, by turns, so that other work on the machine meets all alike."""
    others = {"alone": None, "beside a busy loop": [BUSY], "beside another encode": [ENCODES, "always"]}
    seconds: dict[str, list[float]] = {name: [] for name in others}
    pipe = subprocess.PIPE
    asked = subprocess.Popen([sys.executable, "-c", ENCODES, "asked"], stdin=pipe, stdout=pipe, text=True)
    assert asked.stdin
    assert asked.stdout
    asked.stdout.readline()
    for _turn in range(5):
        for name, command in others.items():
            other = subprocess.Popen([sys.executable, "-c", *command], stdout=pipe) if command else None
            if other and other.stdout and len(command or ()) > 1:
                other.stdout.readline()  # it is warm
            for _again in range(3):
                print("again", file=asked.stdin, flush=True)
                seconds[name].append(float(asked.stdout.readline()))
            if other:
                other.kill()
                other.communicate()
    asked.stdin.close()
    asked.wait()
    first = float(np.median(seconds["alone"]))
    for name, found in seconds.items():
        print(f"{name:22s} {np.median(found):.3f} s  {np.median(found) / first:.2f}x")


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sub = p.add_subparsers(required=True)
    for run in (effort, rounding, lossless, blocks, access, qualities, memory, hour, beside, damage):
        q = sub.add_parser(run.__name__)
        q.set_defaults(run=run)
        if run in (effort, rounding, lossless, blocks, access, qualities):
            q.add_argument("--data", required=True)
            q.add_argument("--limit", type=int, default=24 if run in (lossless, blocks) else 6)
        if run is blocks:
            q.add_argument("--quality", type=int, default=10)
        if run is effort:
            q.add_argument("--efforts", type=int, nargs="+", default=[3, 4, 5, 7])
            q.add_argument("--crop", type=int, default=0, help="pixels of a side; 0: whole pictures")
    a = p.parse_args()
    a.run(a)


if __name__ == "__main__":
    main()
