"""Video: rate against PSNR and MS-SSIM on a folder of clips, beside x264, x265, SVT-AV1 and VP9 in low delay
and random access.

Rates: ours are whole .tsr files without sound; of the others see `anchors/video.py`. PSNR of planes is the
mean over frames of each frame's, joined as 6:1:1 on dB; of RGB one mean squared error over the three channels
of a frame, both sides turned to RGB by `Video.rgb`. Speeds are frames a second of the process's CPU time: the
others run on one thread, ours on all cores, each of which is counted.
"""

from __future__ import annotations

import importlib.util
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from tersor.arrays import Numbers
from tersor.codecs.video.codec import VideoCodec
from tersor.errors import SignalError
from tersor.evaluate.anchors.video import CRFS, MODES, Coded, run_anchor, variants
from tersor.evaluate.lab import Paths, few_ticks, find, pyplot
from tersor.evaluate.report import Curve, Report, Row, percent, write_json
from tersor.files.video import SUFFIXES, read_video
from tersor.metrics.perceptual import ms_ssim_rgb
from tersor.metrics.rate_distortion import bd_rate
from tersor.signals.colour import Planes, to_rgb
from tersor.signals.video import Video

ANCHORS = ("x264", "x265", "svtav1", "vp9")
RATES = (30, 45, 60, 75)
FRAMES = 32
MS_SSIM_EVERY = 4  # frames; it is slow
METRICS = ("psnr_y", "psnr_yuv", "psnr_rgb", "ms_ssim_db")
CAP = 100.0  # dB of planes without error
Rates = dict[str, dict[str, float | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoReport(Report):
    """Points in bits a pixel, PSNR of planes and RGB, MS-SSIM in dB, frames a second; BD-rates by clip.

    Attributes:
        by_clip: of each metric and anchor, the BD-rate of every clip, and their mean.
    """

    rows: Sequence[Row]
    by_clip: dict[str, Rates]

    def text(self) -> list[str]:
        lines = []
        for metric, rates in self.by_clip.items():
            lines += ["", f"BD-rate of tersor by {metric}, percent (negative saves)", *table(rates)]
        for name, rates_of in self.bd_rate.items():
            lines.append(f"against {name}: {percent(rates_of.get('psnr_yuv'))} (PSNR, YUV 6:1:1)")
        return lines

    def write(self, folder: Path) -> None:
        write_json(folder / "video.json", {"bd_rate": self.by_clip, "points": self.rows})

    def plot(self, path: str | Path) -> None:
        """PSNR of the planes over bits a pixel: a row of panels for each mode, a panel for each clip."""
        plt = pyplot()
        modes, clips = (list(dict.fromkeys(r[k] for r in self.rows)) for k in ("mode", "clip"))
        size = (4 * len(clips), 3.5 * len(modes))
        figure, axes = plt.subplots(len(modes), len(clips), figsize=size, squeeze=False)
        for line, mode in zip(axes, modes, strict=True):
            for axis, clip in zip(line, clips, strict=True):
                for i, codec in enumerate(dict.fromkeys(r["codec"] for r in self.rows if r["mode"] == mode)):
                    rates, quality = _curve(self.rows, clip, codec, mode, "psnr_yuv")
                    axis.plot(rates, quality, "osD^vP"[i % 6] + "-", label=codec, markersize=4)
                axis.set(
                    title=f"{clip}, {mode}", xlabel="bits a pixel", ylabel="PSNR 6:1:1, dB", xscale="log"
                )
                few_ticks(axis)
                axis.grid(alpha=0.3)
        axes[0][0].legend()
        figure.tight_layout()
        figure.savefig(path, dpi=90)
        plt.close(figure)


def compare(
    codec: str,
    paths: Paths,
    anchors: Sequence[str] | None = None,
    rates: Sequence[float] | None = None,
    *,
    limit: int | None = None,
    say: Callable[[str], None] = lambda line: None,
    effort: int | None = None,
    modes: str | Sequence[str] | None = None,
    frames: int | None = None,
) -> VideoReport:
    """Measure the video codec on clips; see `tersor.evaluate.compare`.

    Args:
        rates: qualities 1..100.
        effort: of the encoder.
        modes: "low delay", "random access", or both; also with hyphens and commas.
        frames: of each clip, from its start; 32 if None.

    Raises:
        SignalError: a mode or anchor that is not known, or no clips.
    """
    given = modes.split(",") if isinstance(modes, str) else list(modes or MODES)
    asked = [m.replace("-", " ") for m in given]
    if unknown := [m for m in asked if m not in MODES]:
        raise SignalError(f"mode '{unknown[0]}' is not known; there are {', '.join(MODES)}")
    families = list(ANCHORS if anchors is None else anchors)
    for family in families:
        variants(family, asked[0])
    found = find(paths, SUFFIXES, limit, "videos")
    clips = [(p.stem, read_video(p, audio=False)[: frames or FRAMES]) for p in found]
    likeness = importlib.util.find_spec("pytorch_msssim") is not None
    qualities = [round(r) for r in rates or RATES]
    rows = measure(clips, families, qualities, asked, effort=effort, with_ms_ssim=likeness, say=say)
    by_clip = {m: bd_rates(rows, m) for m in METRICS if any(m in r for r in rows)}
    names = list(dict.fromkeys(f"{r['mode']}, {r['codec']}" for r in rows))
    others = [n for n in names if not n.endswith(", tersor")]
    return VideoReport(
        title="video",
        rows=rows,
        curves={n: mean_curve(rows, *n.split(", ", 1)) for n in names},
        bd_rate={n: {m: of[n]["mean"] for m, of in by_clip.items()} for n in others},
        by_clip=by_clip,
    )


def mean_curve(rows: Sequence[Row], mode: str, codec: str) -> Curve:
    """Means over the clips at each setting."""
    own = [r for r in rows if (r["mode"], r["codec"]) == (mode, codec)]
    points = [[r for r in own if r["knob"] == k] for k in dict.fromkeys(r["knob"] for r in own)]
    keys = ("bpp", *(m for m in METRICS if all(m in r for r in own)), "encode_fps", "decode_fps")
    return {k: [float(np.mean([r[k] for r in p])) for p in points] for k in keys}


def psnr(a: Numbers, b: Numbers, peak: int) -> float:
    """dB between arrays of integers; 100 for equal ones."""
    error = float(np.square(a.astype(np.int32) - b.astype(np.int32), dtype=np.float64).mean())
    return min(CAP, 10 * math.log10(peak * peak / error)) if error else CAP


def quality_of(video: Video, decoded: Sequence[Planes], with_ms_ssim: bool) -> Row:
    """Metrics of a decoded clip: means over its frames."""
    peak = (1 << video.format.depth) - 1
    planes, colours, likeness = [], [], []
    for i, (own, theirs) in enumerate(zip(video.frames(), decoded, strict=True)):
        planes.append([psnr(a, b, peak) for a, b in zip(own, theirs, strict=True)])
        a, b = (to_rgb(p, video.format.depth, video.format.colour) for p in (own, theirs))
        colours.append(psnr(a, b, 255))
        if with_ms_ssim and not i % MS_SSIM_EVERY:
            likeness.append(ms_ssim_rgb(a, b))
    mean = np.mean(planes, 0)
    joined = float(mean[0]) if len(mean) == 1 else float(6 * mean[0] + mean[1] + mean[2]) / 8
    out: Row = {f"psnr_{n}": round(float(m), 4) for n, m in zip("yuv", mean, strict=False)}
    out |= {"psnr_yuv": round(joined, 4), "psnr_rgb": round(float(np.mean(colours)), 4)}
    if likeness and all(map(math.isfinite, likeness)):
        out["ms_ssim_db"] = round(-10 * math.log10(max(1 - float(np.mean(likeness)), 1e-10)), 4)
    return out


def ours(codec: VideoCodec, mode: str, effort: int | None, video: Video, quality: int) -> Coded:
    """Encode and decode a clip with the video codec."""
    t0 = time.process_time()
    (file,) = codec.encode_batch(
        [video], quality=quality, effort=effort, low_delay=mode == MODES[0], no_audio=True
    )
    t1 = time.process_time()
    (decoded,) = codec.decode_batch([file])
    t2 = time.process_time()
    return Coded(
        size=len(file),
        left_out=0,
        video=list(decoded.frames()),
        encode_seconds=t1 - t0,
        decode_seconds=t2 - t1,
    )


def measure(
    clips: Sequence[tuple[str, Video]],
    families: Sequence[str],
    qualities: Sequence[int] = RATES,
    modes: Sequence[str] = MODES,
    *,
    effort: int | None = None,
    with_ms_ssim: bool = False,
    say: Callable[[str], None] = lambda text: None,
) -> list[Row]:
    """Every point of every clip, ours first."""
    codec, rows = VideoCodec(), []

    def note(name: str, mode: str, knob: int, clip: str, video: Video, coded: Coded) -> None:
        bpp = 8 * coded.size / (len(video) * video.width * video.height)
        row: Row = {
            "clip": clip,
            "codec": name,
            "mode": mode,
            "knob": knob,
            "bytes": coded.size,
            "left_out": coded.left_out,
            "bpp": round(bpp, 6),
        }
        row |= quality_of(video, coded.video, with_ms_ssim)
        row["encode_fps"] = round(len(video) / max(coded.encode_seconds, 1e-6), 2)
        row["decode_fps"] = round(len(video) / max(coded.decode_seconds, 1e-6), 2)
        rows.append(row)

    for mode in modes:
        runs: list[tuple[str, Sequence[int], Callable[[Video, int], Coded]]] = []
        runs.append(("tersor", qualities, partial(ours, codec, mode, effort)))
        for variant in (v for f in families for v in variants(f, mode)):
            runs.append((variant.name, CRFS[variant.family], partial(run_anchor, variant)))
        for name, knobs, run in runs:
            for clip, video in clips:
                for knob in knobs:
                    note(name, mode, knob, clip, video, run(video, knob))
            last = [r for r in rows if r["codec"] == name and r["mode"] == mode]
            mean = {
                k: float(np.mean([r[k] for r in last]))
                for k in ("bpp", "psnr_yuv", "encode_fps", "decode_fps")
            }
            speed = f"encode {mean['encode_fps']:.1f}, decode {mean['decode_fps']:.0f} frames/s"
            say(f"{mode:<14}{name:<20}{mean['bpp']:.4f} bpp  {mean['psnr_yuv']:.2f} dB  {speed}")
    return rows


def bd_rates(rows: Sequence[Row], key: str) -> Rates:
    """BD-rate of ours against each anchor of the same mode, percent: by clip, and "mean" over the clips that
    share a quality; None where none does.
    """
    out: Rates = {}
    for mode in dict.fromkeys(r["mode"] for r in rows):
        for name in dict.fromkeys(r["codec"] for r in rows if r["mode"] == mode and r["codec"] != "tersor"):
            of: dict[str, float | None] = {}
            for clip in dict.fromkeys(r["clip"] for r in rows):
                curves = [_curve(rows, clip, codec, mode, key) for codec in (name, "tersor")]
                try:
                    of[clip] = bd_rate(*curves[0], *curves[1])
                except (ValueError, IndexError):
                    of[clip] = None
            known = [v for v in of.values() if v is not None]
            of["mean"] = float(np.mean(known)) if known else None
            out[f"{mode}, {name}"] = of
    return out


def _curve(
    rows: Sequence[Row], clip: str, codec: str, mode: str, key: str
) -> tuple[list[float], list[float]]:
    """Rates and qualities, both rising."""
    points = sorted(
        (r["bpp"], r[key])
        for r in rows
        if (r["clip"], r["codec"], r["mode"]) == (clip, codec, mode) and key in r
    )
    kept: list[tuple[float, float]] = []
    for rate, quality in points:
        if not kept or quality > kept[-1][1]:
            kept.append((rate, quality))
    return [r for r, _ in kept], [q for _, q in kept]


def table(rates: Rates) -> list[str]:
    """BD-rates, a line for each anchor."""
    clips = [c for c in next(iter(rates.values()), {}) if c != "mean"]
    width = max(map(len, rates), default=0) + 2
    lines = [" " * width + "".join(f"{c[:9]:>10}" for c in ("mean", *clips))]
    for name, of in rates.items():
        values = (of["mean"], *(of[c] for c in clips))
        lines.append(f"{name:<{width}}" + "".join(f"{'-' if v is None else f'{v:+.1f}':>10}" for v in values))
    return lines
