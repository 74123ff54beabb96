"""Questions about overfitted pictures that a release answers in results/.

python tools/study_overfit.py curve --data KODAK --log LOG    files over iterations and lambdas, beside AVIF,
JPEG XL and `image`; goes on where LOG (a JSON object a line) ends
python tools/study_overfit.py table --log LOG [--reference CSV]    what LOG says: rate differences at equal
PSNR; CSV holds published curves (lambda, image, psnr_db, rate_bpp)
python tools/study_overfit.py decode FILE...    CPU time of decoding, one thread, against AVIF of about as
many bytes; in turns, since machines change their pace
python tools/study_overfit.py memory [--size 5472x3648]    peak memory of an encode, through the command line
python tools/study_overfit.py trial --data PHOTOS [--set schedule.SOFT=0.95]    crops at two lambdas, the
constants of a module set otherwise: how every measured constant was chosen
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import math
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tersor.codecs import image_overfit
from tersor.codecs.image_overfit.codec import ImageOverfitCodec
from tersor.codecs.image_overfit.options import LAMBDAS
from tersor.container import Reader
from tersor.evaluate.anchors import image as anchors
from tersor.evaluate.lab import every_nth, load_images
from tersor.metrics.psnr import psnr
from tersor.metrics.rate_distortion import bd_rate
from tersor.signals import Image
from tersor.testing.samples import picture

OTHERS = ("avif", "jxl", "image")
IMAGE_QUALITIES = (8, 18, 28, 38, 48, 58, 68, 78)
PUBLISHED = "published"
WHOLE = 768 * 512  # pixels of the picture that a trial's crop stands for
Samples = NDArray[np.uint8]
Row = dict[str, Any]


def quality_of(lam: float) -> float:
    """The quality whose lambda this is."""
    low, high = LAMBDAS
    return 1 + 99 * math.log(low / lam) / math.log(low / high)


def code_digest() -> str:
    """Of the sources a file depends on: rows of two versions are not mixed."""
    digest, folder = hashlib.sha256(), Path(next(iter(image_overfit.__path__)))
    for path in sorted(folder.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:8]


def coded(codec: Any, x: Samples, keep: Path | None = None, **options: Any) -> Row:
    """Bytes, PSNR and CPU seconds of one file, encoded and decoded; kept there."""
    began = time.process_time()
    (file,) = codec.encode_batch([x], **options)
    encoded = time.process_time()
    (back,) = codec.decode_batch([file])
    decoded = time.process_time()
    if keep is not None:
        keep.write_bytes(file)
    return {
        "bytes": len(file),
        "bpp": 8 * len(file) / x[..., 0].size,
        "psnr": psnr(np.asarray(back), x),
        "encode_cpu_s": round(encoded - began, 2),
        "decode_cpu_s": round(decoded - encoded, 3),
    }


def read_log(path: Path) -> list[Row]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def cells(a: argparse.Namespace, images: list[tuple[str, Samples]]) -> Iterator[tuple[Row, Samples]]:
    """What is to be measured: the others; for each number of iterations, each lambda, each picture."""
    for other in OTHERS:
        for name, x in images:
            for q in IMAGE_QUALITIES if other == "image" else anchors.QUALITIES[other]:
                yield {"codec": other, "image": name, "quality": q}, x
    for iterations in a.iterations:
        for lam in a.lambdas:
            for name, x in images:
                key = {"codec": "image-overfit", "image": name, "iterations": iterations, "lambda": lam}
                yield key | {"preset": a.preset, "code": code_digest()}, x


def measured(key: Row, x: Samples, folder: str | None) -> Row:
    if key["codec"] == "image-overfit":
        asked = {"iterations": key["iterations"], "preset": key["preset"]}
        keep = None
        if folder is not None:
            keep = Path(folder) / f"{key['image']}-{key['iterations']}-{key['lambda']:g}.tsr"
        return coded(ImageOverfitCodec(), x, keep, quality=quality_of(key["lambda"]), **asked)
    if key["codec"] == "image":
        from tersor.codecs.image.codec import ImageCodec

        return coded(ImageCodec("cpu"), x, quality=key["quality"])
    file = anchors.anchor(key["codec"])(x, key["quality"])
    return {
        "bytes": len(file),
        "bpp": 8 * len(file) / x[..., 0].size,
        "psnr": psnr(anchors.decode(file), x),
    }


def curve(a: argparse.Namespace) -> None:
    images = [(Path(n).stem, x) for n, x in load_images(a.data, None) if Path(n).stem in a.images]
    log = Path(a.log)
    done = [{k: v for k, v in row.items() if k in key_names} for row in read_log(log)]
    for key, x in cells(a, images):
        if key in done:
            continue
        row = key | measured(key, x, a.keep)
        with log.open("a") as f:
            f.write(json.dumps(row) + "\n")
        print(json.dumps(row), flush=True)


key_names = {"codec", "image", "iterations", "lambda", "preset", "code", "quality"}


def table(a: argparse.Namespace) -> None:
    """Of each version of the code, preset and number of iterations."""
    rows = read_log(Path(a.log))
    others = {name: _points([r for r in rows if r["codec"] == name]) for name in OTHERS}
    if a.reference:
        with open(a.reference, newline="") as f:
            published = [
                {"image": r["image"], "bpp": float(r["rate_bpp"]), "psnr": float(r["psnr_db"])}
                for r in csv.DictReader(f)
            ]
        others[PUBLISHED] = _points(published)
    runs = defaultdict(list)
    for r in rows:
        if r["codec"] == "image-overfit" and a.code in (None, r["code"]):
            runs[r["code"], r["preset"], r["iterations"]].append(r)
    print("rate at equal PSNR, whole files; mean of the pictures (each over the PSNR that both curves cover)")
    print(f"code      preset  iterations  pictures  lambdas  CPU s  {'  '.join(f'{n:>9}' for n in others)}")
    for (code, preset, iterations), run in sorted(runs.items()):
        own, lambdas = _points(run), sorted({r["lambda"] for r in run})
        differences = [_difference(other, own) for other in others.values()]
        seconds = float(np.mean([r["encode_cpu_s"] for r in run]))
        print(
            f"{code}  {preset:<6}  {iterations:>10}  {len(own):>8}  {len(lambdas):>7}  {seconds:>5.0f}  "
            + "  ".join("        -" if d is None else f"{d:>+7.1f} %" for d in differences)
        )
    if a.points:
        for (code, preset, iterations), run in sorted(runs.items()):
            for r in sorted(run, key=lambda r: (r["image"], r["lambda"])):
                print(
                    f"{code} {preset} {iterations:>6}  {r['image']}  lambda {r['lambda']:g}  "
                    f"{r['bytes']:>7} bytes  {r['bpp']:.4f} bpp  {r['psnr']:.3f} dB"
                )


Points = dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]


def _points(rows: list[Row]) -> Points:
    """(rates, PSNR) of each picture, rising."""
    out = {}
    for name in sorted({r["image"] for r in rows}):
        pairs = sorted((r["bpp"], r["psnr"]) for r in rows if r["image"] == name)
        rates, db = np.array(pairs).T
        out[name] = rates, db
    return out


def _difference(anchor: Points, own: Points) -> float | None:
    """Mean over the pictures; of a single point the difference at its PSNR."""
    found = [
        difference(anchor[name], own[name]) for name in own if name in anchor and len(anchor[name][0]) > 1
    ]
    return float(np.mean(found)) if found else None


def difference(anchor: tuple[Any, Any], own: tuple[Any, Any]) -> float:
    """Rate of `own` against that of `anchor` at equal PSNR, in percent."""
    rates, db = own
    if len(rates) == 1:  # a stub of the same slope
        return bd_rate(*anchor, [rates[0] * 0.999, rates[0] * 1.001], [db[0] - 1e-4, db[0] + 1e-4])
    return bd_rate(*anchor, rates, db)


def trial(a: argparse.Namespace) -> None:
    """Each crop at each lambda: cost = log of (error + lambda bits / pixels); its mean tells two settings
    apart. Networks count as much as in a picture of 768x512.
    """
    for setting in a.set:
        where, value = setting.split("=")
        module, name = where.rsplit(".", 1)
        owner = import_module(f"{image_overfit.__name__}.{module}")
        assert hasattr(owner, name), setting
        setattr(owner, name, json.loads(value))
    codec = ImageOverfitCodec(threads=1)
    width, height = a.size
    crops = [(n, x) for n, x in load_images(a.data, None) if x.shape[0] >= height and x.shape[1] >= width]
    costs, began = [], time.process_time()
    own = []
    for name, x in every_nth(crops, a.crops):
        top, left = (x.shape[0] - height) // 2, (x.shape[1] - width) // 2
        crop = np.ascontiguousarray(x[top : top + height, left : left + width])
        for lam in a.lambdas:
            options = {"iterations": a.iterations[0], "preset": a.preset, "quality": quality_of(lam)}
            (file,) = codec.encode_batch([crop], **options)
            mse = 10 ** (-psnr(np.asarray(codec.decode_batch([file])[0]), crop) / 10)
            network = Reader(file).chunk_lengths[0]
            bits = 8 * (len(file) - network) / (width * height) + 8 * network / WHOLE
            costs.append(math.log(mse + lam * bits))
            own.append(math.log(mse + lam * 8 * len(file) / (width * height)))
            print(
                f"{name[:24]:<24} lambda {lam:g}  {len(file):>6} bytes, {network:>4} of networks  "
                f"{-10 * math.log10(mse):.3f} dB  log cost {costs[-1]:.4f}",
                flush=True,
            )
    said = " ".join(a.set) or "as it is"
    seconds = (time.process_time() - began) / len(costs)
    print(
        f"{said}: mean log cost {np.mean(costs):.5f} of {len(costs)} files ({np.mean(own):.5f} as they are), "
        f"{seconds:.1f} CPU s each"
    )


def decode(a: argparse.Namespace) -> None:
    """Smallest of many times each, of decoding a file and an AVIF file of the picture."""
    codec = ImageOverfitCodec(threads=1)
    encode = anchors.anchor("avif")
    for path in a.files:
        file = Path(path).read_bytes()
        pixels = np.asarray(codec.decode_batch([file])[0], np.uint8)
        avif = min((encode(pixels, q) for q in range(5, 100, 5)), key=lambda f: abs(len(f) - len(file)))
        times: list[tuple[float, float]] = []
        for _ in range(a.repeat):
            began = time.process_time()
            codec.decode_batch([file])
            middle = time.process_time()
            anchors.decode(avif)
            times.append((middle - began, time.process_time() - middle))
        own, other = np.array(times).min(0)
        print(
            f"{Path(path).name}: {len(file)} bytes in {1000 * own:.1f} ms, AVIF {len(avif)} bytes in "
            f"{1000 * other:.1f} ms: {own / other:.1f} times"
        )


RUN = """
import resource, sys
from tersor.cli import main
assert main(sys.argv[1:]) == 0
print(f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f}")
"""


def memory(a: argparse.Namespace) -> None:
    """Of a fit of a few iterations; more take no more memory."""
    width, height = a.size
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "x.png"
        Image(samples=np.resize(picture(1024, 1024), (height, width, 3))).save(source)
        options = ["--codec", "image-overfit", "--iterations", "20", "-q"]
        command = [sys.executable, "-c", RUN, "encode", str(source), *options]
        peak = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    print(f"{width}x{height}, preset best: at most {int(peak)} MiB")


def numbers(kind: Callable[[str], Any]) -> Callable[[str], list[Any]]:
    return lambda text: [kind(part) for part in text.split(",")]


def size(text: str) -> tuple[int, int]:
    width, height = map(int, text.split("x"))
    return width, height


def main() -> None:
    p = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    sub = p.add_subparsers(required=True, metavar="QUESTION")

    def question(name: str, run: Callable[[argparse.Namespace], None]) -> argparse.ArgumentParser:
        q = sub.add_parser(name, help=(run.__doc__ or "").strip().split("\n")[0])
        q.set_defaults(run=run)
        return q

    def fits(q: argparse.ArgumentParser, iterations: str, lambdas: str) -> None:
        q.add_argument("--data", required=True, metavar="DIR", help="folder of pictures")
        q.add_argument("--iterations", type=numbers(int), default=iterations, metavar="N,N")
        q.add_argument("--lambdas", type=numbers(float), default=lambdas, metavar="X,X")
        q.add_argument("--preset", default="best")

    q = question("curve", curve)
    fits(q, "1000,4000", "1e-3,4e-3")
    q.add_argument("--images", type=numbers(str), default="kodim05,kodim13,kodim19,kodim23")
    q.add_argument("--log", required=True)
    q.add_argument("--keep", metavar="DIR", help="folder for the files")
    q = question("table", table)
    q.add_argument("--log", required=True)
    q.add_argument("--reference", metavar="CSV")
    q.add_argument("--code", help="only rows of this version of the code")
    q.add_argument("--points", action="store_true", help="every file too")
    q = question("decode", decode)
    q.add_argument("files", nargs="+", metavar="FILE")
    q.add_argument("--repeat", type=int, default=30)
    q = question("memory", memory)
    q.add_argument("--size", type=size, default="5472x3648", metavar="WxH")
    q = question("trial", trial)
    fits(q, "1000", "1e-3,4e-3")
    q.add_argument("--crops", type=int, default=4)
    q.add_argument("--size", type=size, default="384x256", metavar="WxH")
    q.add_argument("--set", action="append", default=[], metavar="MODULE.NAME=JSON")
    a = p.parse_args()
    a.run(a)


if __name__ == "__main__":
    main()
