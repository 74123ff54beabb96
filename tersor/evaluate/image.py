"""`tersor eval`: rate-distortion curves on a folder of images.

Rates count whole files; quality is measured on decoded 8-bit output, averaged over images. The JSON files
follow CompressAI's results schema.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tersor.errors import MissingDependencyError, SignalError, TersorError
from tersor.evaluate.anchors import image as anchors
from tersor.evaluate.lab import load_folder
from tersor.metrics.perceptual import ms_ssim_rgb
from tersor.metrics.psnr import psnr_rgb
from tersor.metrics.rate_distortion import bd_rate

KEYS = ("bpp", "psnr-rgb", "ms-ssim-rgb", "encoding_time", "decoding_time")
Curve = dict[str, list[float]]
Run = Callable[[NDArray[np.uint8], int], tuple[bytes, NDArray[np.uint8], float, float]]


def measure(
    run: Run,
    images: list[tuple[str, NDArray[np.uint8]]],
    qualities: tuple[int, ...],
    say: Callable[[str], None],
) -> tuple[Curve, list[dict[str, Any]]]:
    """Mean curve, and every single point."""
    curve: Curve = {k: [] for k in KEYS}
    points = []
    for quality in qualities:
        rows = []
        for name, x in images:
            file, decoded, encode_seconds, decode_seconds = run(x, quality)
            row = [
                8 * len(file) / (x.shape[0] * x.shape[1]),
                psnr_rgb(decoded, x),
                ms_ssim_rgb(decoded, x),
                encode_seconds,
                decode_seconds,
            ]
            rows.append(row)
            points.append(
                {"image": name, "quality": quality, "bytes": len(file), **dict(zip(KEYS, row, strict=True))}
            )
        for k, v in zip(KEYS, np.mean(rows, 0), strict=True):
            curve[k].append(float(v))
        say(
            f"  quality {quality:>3}  {curve['bpp'][-1]:.4f} bpp  {curve['psnr-rgb'][-1]:.3f} dB  "
            f"MS-SSIM {curve['ms-ssim-rgb'][-1]:.5f}"
        )
    return curve, points


def timed(
    encode: Callable[[NDArray[np.uint8], int], bytes], decode: Callable[[bytes], NDArray[np.uint8]]
) -> Run:
    def run(x: NDArray[np.uint8], quality: int) -> tuple[bytes, NDArray[np.uint8], float, float]:
        t0 = time.perf_counter()
        file = encode(x, quality)
        t1 = time.perf_counter()
        decoded = decode(file)
        return file, decoded, t1 - t0, time.perf_counter() - t1

    return run


def read_reference(path: str) -> dict[str, Curve]:
    """Published curves: columns codec, rate_bpp, psnr_db, ms_ssim."""
    out: dict[str, Curve] = defaultdict(lambda: {"bpp": [], "psnr-rgb": []})
    try:
        with open(path, newline="") as f:
            for row in csv.DictReader(f):
                out[row["codec"]]["bpp"].append(float(row["rate_bpp"]))
                out[row["codec"]]["psnr-rgb"].append(float(row["psnr_db"]))
    except (OSError, KeyError, ValueError) as e:
        raise SignalError(f"{path}: not a table with the columns codec, rate_bpp, psnr_db ({e})") from e
    return dict(out)


def plot(curves: dict[str, Curve], reference: dict[str, Curve], title: str, path: Path) -> None:
    try:
        import matplotlib
    except ImportError as e:
        raise MissingDependencyError("the plot needs matplotlib: pip install 'tersor[eval]'") from e
    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(13, 5.5))
    for name, c in reference.items():
        left.plot(*zip(*sorted(zip(c["bpp"], c["psnr-rgb"], strict=True)), strict=True), color="0.75", lw=0.8)
        left.annotate(name, (c["bpp"][-1], c["psnr-rgb"][-1]), color="0.6", fontsize=5)
    for name, c in curves.items():
        style: dict[str, Any] = {
            "marker": "o",
            "ms": 3,
            "lw": 2.2 if name.startswith("tersor") else 1.2,
            "label": name,
        }
        left.plot(c["bpp"], c["psnr-rgb"], **style)
        right.plot(c["bpp"], [-10 * math.log10(max(1e-9, 1 - v)) for v in c["ms-ssim-rgb"]], **style)
    for axis, label in ((left, "PSNR RGB, dB"), (right, "MS-SSIM, dB")):
        axis.set(xlabel="bits per pixel (whole files)", ylabel=label, xlim=(0, 1.6))
        axis.grid(alpha=0.3)
        axis.legend()
    left.set_ylim(24, 42)
    figure.suptitle(title)
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def run(args: argparse.Namespace) -> int:
    """The command."""
    from tersor.api import Codec

    def say(line: str) -> None:
        print(line, flush=True)

    try:
        qualities = tuple(int(q) for q in args.qualities.split(","))
    except ValueError:
        raise SignalError(
            f"--qualities '{args.qualities}' is not a list of whole numbers such as 10,50,90"
        ) from None
    names = [a for a in args.anchors.split(",") if a]
    encoders = {name: anchors.anchor(name) for name in names}
    images = load_folder(args.data, args.limit)
    codec = Codec(args.codec, device=args.device)
    options = {} if args.effort is None else {"effort": args.effort}
    title = f"tersor {args.codec}" + (f" effort {args.effort}" if args.effort else "")
    curves: dict[str, Curve] = {}
    everything: dict[str, list[dict[str, Any]]] = {}
    estimates: list[float] = []

    def encode(x: NDArray[np.uint8], quality: int) -> bytes:
        return codec.encode(x, quality=quality, **options)

    codec.decode(encode(images[0][1], qualities[0]))  # load and warm up
    say(f"{title}, {len(images)} images, device {codec.device}")
    curves[title], everything[title] = measure(
        timed(encode, lambda f: np.asarray(codec.decode(f))), images, qualities, say
    )
    for name in names:
        say(name)
        curves[name], everything[name] = measure(
            timed(encoders[name], anchors.decode), images, anchors.QUALITIES[name], say
        )

    if args.codec == "image":
        for _, x in images:
            (file, bits), *_ = codec._codec.encode_with_estimate([x], quality=qualities[len(qualities) // 2])
            estimates.append(8 * len(file) / bits - 1)
        say(
            f"file bytes above the model's estimate: mean {np.mean(estimates):+.2%}, "
            f"worst {np.max(estimates):+.2%} (quality {qualities[len(qualities) // 2]})"
        )
    mine = curves[title]
    for name in names:
        try:
            rates = {
                k: bd_rate(curves[name]["bpp"], curves[name][k], mine["bpp"], mine[k])
                for k in ("psnr-rgb", "ms-ssim-rgb")
            }
            say(
                f"BD-rate against {name}: "
                f"{rates['psnr-rgb']:+.1f} % (PSNR)  {rates['ms-ssim-rgb']:+.1f} % (MS-SSIM)"
            )
        except ValueError as e:
            say(f"BD-rate against {name}: {e}")
    say(
        f"seconds per image, median: encode {np.median(mine['encoding_time']):.3f}, "
        f"decode {np.median(mine['decoding_time']):.3f}"
    )
    if args.output:
        folder = Path(args.output)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as e:
            raise TersorError(f"{folder}: cannot be made ({e.strerror})") from e
        for name, curve in curves.items():
            stem = name.replace(" ", "-")
            document = {
                "name": name,
                "description": f"{len(images)} images of {Path(args.data).name}; "
                "whole files, decoded 8-bit output",
                "results": curve,
            }
            (folder / f"{stem}.json").write_text(json.dumps(document, indent=1) + "\n")
            with (folder / f"{stem}.csv").open("w", newline="") as f:
                w = csv.DictWriter(f, ["image", "quality", "bytes", *KEYS], lineterminator="\n")
                w.writeheader()
                w.writerows(
                    {k: round(v, 5) if isinstance(v, float) else v for k, v in p.items()}
                    for p in everything[name]
                )
        plot(
            curves,
            read_reference(args.reference) if args.reference else {},
            f"{Path(args.data).name}, {len(images)} images",
            folder / f"{title.replace(' ', '-')}.png",
        )
        say(f"written to {folder}")
    return 0
