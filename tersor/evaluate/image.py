"""Rate-distortion curves of images.

Rates count whole files; quality is measured on decoded 8-bit output, averaged over images. The JSON files
follow CompressAI's results schema.
"""

from __future__ import annotations

import csv
import math
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tersor.api import Codec
from tersor.errors import SignalError
from tersor.evaluate.anchors import image as anchors_of
from tersor.evaluate.lab import Paths, load_images, pyplot
from tersor.evaluate.report import Curve, Report, Row, percent, write_json
from tersor.metrics.perceptual import ms_ssim_rgb
from tersor.metrics.psnr import psnr_rgb
from tersor.metrics.rate_distortion import bd_rate

ANCHORS = ("jpeg", "webp", "avif")
RATES = (8, 18, 28, 38, 48, 58, 68, 78, 88)
KEYS = ("bpp", "psnr-rgb", "ms-ssim-rgb", "encoding_time", "decoding_time")
METRICS = ("psnr-rgb", "ms-ssim-rgb")
Pictures = list[tuple[str, NDArray[np.uint8]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageReport(Report):
    """Curves in bpp, PSNR of RGB in dB, MS-SSIM and seconds.

    Attributes:
        data: the name of the folder.
        images: how many.
        above_estimate: file bytes above what the model's tables promise, of each image; empty for codecs that
            promise nothing.
        reference: published curves to draw along.
    """

    data: str
    images: int
    above_estimate: list[float] = field(default_factory=list)
    reference: dict[str, Curve] = field(default_factory=dict)

    def text(self) -> list[str]:
        own, lines = self.curves[self.title], self._efforts()
        if self.above_estimate:
            lines.append(
                f"file bytes above the model's estimate: mean {np.mean(self.above_estimate):+.2%}, "
                f"worst {np.max(self.above_estimate):+.2%}"
            )
        lines += [
            f"BD-rate against {name}: {percent(rates['psnr-rgb'])} (PSNR)  "
            f"{percent(rates['ms-ssim-rgb'])} (MS-SSIM)"
            for name, rates in self.bd_rate.items()
        ]
        encode, decode = (np.median(own[k]) for k in ("encoding_time", "decoding_time"))
        return [*lines, f"seconds per image, median: encode {encode:.3f}, decode {decode:.3f}"]

    def _efforts(self) -> list[str]:
        """What each effort but the last one costs and gains."""
        lines = []
        for name, curve in self.curves.items():
            if name == self.title or not name.startswith("tersor "):
                continue
            gains = (
                f"{percent(_bd_rate(self.curves[other], curve, 'psnr-rgb'))} against {other}"
                for other in self.bd_rate
            )
            seconds = np.median(curve["encoding_time"])
            lines.append(f"{name}: {', '.join(gains)} (PSNR); encode {seconds:.3f} seconds per image, median")
        return lines

    def write(self, folder: Path) -> None:
        for name, curve in self.curves.items():
            stem = name.replace(" ", "-")
            what = f"{self.images} images of {self.data}; whole files, decoded 8-bit output"
            write_json(folder / f"{stem}.json", {"name": name, "description": what, "results": curve})
            with (folder / f"{stem}.csv").open("w", newline="") as f:
                columns = ["image", "quality", "bytes", *KEYS]
                w = csv.DictWriter(f, columns, lineterminator="\n")
                w.writeheader()
                for row in self.rows:
                    if row["codec"] == name:
                        values = ((k, row[k]) for k in columns)
                        w.writerow({k: round(v, 5) if isinstance(v, float) else v for k, v in values})

    def plot(self, path: str | Path) -> None:
        plt = pyplot()
        figure, (left, right) = plt.subplots(1, 2, figsize=(13, 5.5))
        for name, c in self.reference.items():
            line = zip(*sorted(zip(c["bpp"], c["psnr-rgb"], strict=True)), strict=True)
            left.plot(*line, color="0.75", lw=0.8)
            left.annotate(name, (c["bpp"][-1], c["psnr-rgb"][-1]), color="0.6", fontsize=5)
        for name, c in self.curves.items():
            width = 2.2 if name == self.title else 1.2
            style: dict[str, object] = {"marker": "o", "ms": 3, "lw": width, "label": name}
            left.plot(c["bpp"], c["psnr-rgb"], **style)
            right.plot(c["bpp"], [-10 * math.log10(max(1e-9, 1 - v)) for v in c["ms-ssim-rgb"]], **style)
        for axis, label in ((left, "PSNR RGB, dB"), (right, "MS-SSIM, dB")):
            axis.set(xlabel="bits per pixel (whole files)", ylabel=label, xlim=(0, 1.6))
            axis.grid(alpha=0.3)
            axis.legend()
        left.set_ylim(24, 42)
        figure.suptitle(f"{self.data}, {self.images} images")
        figure.tight_layout()
        figure.savefig(path, dpi=120)
        plt.close(figure)


def compare(
    codec: str,
    paths: Paths,
    anchors: Sequence[str] | None = None,
    rates: Sequence[float] | None = None,
    *,
    limit: int | None = None,
    say: Callable[[str], None] = lambda line: None,
    device: str = "auto",
    effort: int | Sequence[int] | None = None,
    reference: str | Path | None = None,
) -> ImageReport:
    """Measure a codec of images; see `tersor.evaluate.compare`.

    Args:
        rates: qualities 1..100.
        device: "auto", "cpu" or "cuda".
        effort: of the encoder; of several, each has a curve, and the last one is compared.
        reference: a table of published curves to draw along, columns codec, rate_bpp, psnr_db.
    """
    qualities = [int(r) for r in rates or RATES]
    encoders = {name: anchors_of.anchor(name) for name in (ANCHORS if anchors is None else anchors)}
    published = read_reference(reference) if reference else {}
    images = load_images(paths, limit, say)
    if not images:
        raise SignalError(f"{paths}: no images here")
    ours = Codec(codec, device=device)
    efforts = [effort] if effort is None or isinstance(effort, int) else list(effort)
    titles = [f"tersor {codec}" + (f" effort {e}" if e else "") for e in efforts]
    title = titles[-1]

    def encode(x: NDArray[np.uint8], quality: int, effort: int | None = None) -> bytes:
        return ours.encode(x, quality=quality, effort=effort)

    def decode(file: bytes) -> NDArray[np.uint8]:
        return np.asarray(ours.decode(file))

    decode(encode(images[0][1], qualities[0], 1 if codec == "image-overfit" else None))  # load and warm up
    rows: list[Row] = []
    for name, e in zip(titles, efforts, strict=True):
        say(f"{name}, {len(images)} images, device {ours.device}")
        rows += measure(name, partial(encode, effort=e), decode, images, qualities, say)
    for name, other in encoders.items():
        say(name)
        rows += measure(name, other, anchors_of.decode, images, anchors_of.QUALITIES[name], say)
    curves = {name: curve_of(rows, name) for name in (*titles, *encoders)}
    middle = qualities[len(qualities) // 2]
    return ImageReport(
        title=title,
        rows=rows,
        curves=curves,
        bd_rate={name: {m: _bd_rate(curves[name], curves[title], m) for m in METRICS} for name in encoders},
        data=Path(paths).name if isinstance(paths, (str, Path)) else "files",
        images=len(images),
        above_estimate=above_estimate(images, middle, device) if codec == "image" else [],
        reference=published,
    )


def measure(
    name: str,
    encode: Callable[[NDArray[np.uint8], int], bytes],
    decode: Callable[[bytes], NDArray[np.uint8]],
    images: Pictures,
    qualities: Sequence[int],
    say: Callable[[str], None],
) -> list[Row]:
    """Every point of one codec."""
    rows: list[Row] = []
    for quality in qualities:
        for image, x in images:
            t0 = time.perf_counter()
            file = encode(x, quality)
            t1 = time.perf_counter()
            y = decode(file)
            t2 = time.perf_counter()
            bpp = 8 * len(file) / (x.shape[0] * x.shape[1])
            values = (bpp, psnr_rgb(y, x), ms_ssim_rgb(y, x), t1 - t0, t2 - t1)
            row = {"codec": name, "image": image, "quality": quality, "bytes": len(file)}
            rows.append(row | dict(zip(KEYS, values, strict=True)))
        rate, db, similar = (np.mean([r[k] for r in rows[-len(images) :]]) for k in KEYS[:3])
        say(f"  quality {quality:>3}  {rate:.4f} bpp  {db:.3f} dB  MS-SSIM {similar:.5f}")
    return rows


def curve_of(rows: list[Row], name: str) -> Curve:
    """Means over the images, a point a quality."""
    own: defaultdict[int, list[Row]] = defaultdict(list)
    for row in rows:
        if row["codec"] == name:
            own[row["quality"]].append(row)
    return {k: [float(np.mean([r[k] for r in points])) for points in own.values()] for k in KEYS}


def _bd_rate(anchor: Curve, own: Curve, metric: str) -> float | None:
    """None where the curves have no quality in common."""
    try:
        return bd_rate(anchor["bpp"], anchor[metric], own["bpp"], own[metric])
    except ValueError:
        return None


def above_estimate(images: Pictures, quality: int, device: str) -> list[float]:
    """File bytes above what the probability tables promise, of each image."""
    from tersor.codecs.image.codec import ImageCodec

    codec = ImageCodec(device)
    coded = (codec.encode_with_estimate([x], quality=quality)[0] for _, x in images)
    return [8 * len(file) / bits - 1 for file, bits in coded]


def read_reference(path: str | Path) -> dict[str, Curve]:
    """Published curves: columns codec, rate_bpp, psnr_db.

    Raises:
        SignalError: no such table.
    """
    out: dict[str, Curve] = defaultdict(lambda: {"bpp": [], "psnr-rgb": []})
    try:
        with open(path, newline="") as f:
            for row in csv.DictReader(f):
                out[row["codec"]]["bpp"].append(float(row["rate_bpp"]))
                out[row["codec"]]["psnr-rgb"].append(float(row["psnr_db"]))
    except (OSError, KeyError, ValueError) as e:
        raise SignalError(f"{path}: not a table with the columns codec, rate_bpp, psnr_db ({e})") from e
    return dict(out)
