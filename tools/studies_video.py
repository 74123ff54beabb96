"""Questions about video that a release answers in results/.

python tools/studies_video.py ledger --data CLIPS --log LOG   what `tersor eval` measures, by clip and mode;
goes on where LOG (JSON lines) ends
python tools/studies_video.py rate --data CLIPS     bytes and PSNR over quality: constants of video/rate.py
python tools/studies_video.py memory                peak memory and speed of two lengths, by the command line
python tools/studies_video.py seek                  time to one frame in the middle of a long file
python tools/studies_video.py structures --data CLIPS   what chains and pyramids cost, and what is taken
python tools/studies_video.py filter --data CLIPS   what the filter of frames saves
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np

from tersor.arrays import Samples
from tersor.codecs.video.codec import VideoCodec
from tersor.codecs.video.group import FINER_MOST, GroupSettings, encode_and_rebuild
from tersor.codecs.video.model import Tables, start_tables
from tersor.codecs.video.options import MAX_EFFORT
from tersor.codecs.video.rate import BYTES_SLOPE, PSNR_SLOPE, psnr_611
from tersor.codecs.video.structure import DISTANCES
from tersor.codecs.video.trial import tried
from tersor.container import Reader
from tersor.evaluate.anchors.video import MODES
from tersor.evaluate.lab import find
from tersor.evaluate.video import METRICS, bd_rates, measure, table
from tersor.files.video import SUFFIXES, read_video
from tersor.files.y4m import Y4mWriter
from tersor.signals.video import Video, VideoFormat
from tersor.testing.samples import picture

QUALITIES = (1, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100)
FRAMES = 16
LENGTHS = (512, 4096)  # some groups, so that all threads have one, and more
SMALL, LARGE = (416, 240), (1280, 720)
HOUR = 25 * 3600
SEEK = 160  # frames
RUN = """
import resource, sys, time
from tersor.cli import main
began = time.perf_counter()
assert main(sys.argv[1:]) == 0
print(f"{time.perf_counter() - began:.1f} {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f}")
"""


def rate(a: argparse.Namespace) -> None:
    """Means over clips: bits a pixel and PSNR at each quality, and how both grow from one to the next."""
    codec, rows = VideoCodec(), []
    for path in find(a.data, SUFFIXES, a.limit, "videos"):
        video = read_video(path, audio=False)[: a.frames]
        row = []
        for quality in QUALITIES:
            (file,) = codec.encode_batch([video], quality=quality, effort=a.effort, no_audio=True)
            (back,) = codec.decode_batch([file])
            assert isinstance(back, Video)
            total, frames = psnr_611(list(video.planes), list(back.planes), video.format.depth)
            row.append((8 * len(file) / (frames * video.width * video.height), total / frames))
        rows.append(row)
    bits, quality_db = np.log(np.array(rows)[..., 0]).mean(0), np.array(rows)[..., 1].mean(0)
    print(f"{len(rows)} clips, {a.frames} frames; quality: bits a pixel, dB")
    print(
        "  ".join(
            f"{q}: {math.exp(b):.4f}, {d:.2f}" for q, b, d in zip(QUALITIES, bits, quality_db, strict=True)
        )
    )
    steps = np.diff(QUALITIES)
    spread = np.diff(np.log(np.array(rows)[..., 0]), axis=1) / steps
    print(
        f"log of bytes a step: {(np.diff(bits) / steps).mean():.4f}, of single clips "
        f"{spread.min():.3f} to {spread.max():.3f}"
    )
    print(f"dB a step: {(np.diff(quality_db) / steps).mean():.3f}")


def ledger(a: argparse.Namespace) -> None:
    """Rows of an older code stay in the log; start another after a change of the encoder."""
    log = Path(a.log)
    rows = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    done = {(r["clip"], r["mode"]) for r in rows}
    families = a.anchors.split(",")
    paths = {p.stem: p for p in find(a.data, SUFFIXES, None, "videos")}
    for mode in MODES:
        for clip in a.clips.split(",") if a.clips else paths:
            if (clip, mode) not in done:
                video = read_video(paths[clip], audio=False)[: a.frames]
                new = measure([(clip, video)], families, modes=[mode], effort=a.effort, with_ms_ssim=True)
                with log.open("a") as file:
                    file.writelines(json.dumps(row) + "\n" for row in new)
                rows += new
                print(f"{mode}, {clip}: {len(new)} rows", file=sys.stderr, flush=True)
    for metric in METRICS:
        print(f"\n{metric}, percent of rate at equal quality, ours against")
        print("\n".join(table(bd_rates(rows, metric))))
    print("\nframes a second of CPU time, geometric mean: encode, decode")
    for mode, codec in dict.fromkeys((r["mode"], r["codec"]) for r in rows):
        own = [(r["encode_fps"], r["decode_fps"]) for r in rows if (r["mode"], r["codec"]) == (mode, codec)]
        print(f"{mode:<14}{codec:<20}" + "".join(f"{v:>9.1f}" for v in np.exp(np.log(own).mean(0))))


def made(path: Path, frames: int, size: tuple[int, int]) -> None:
    """A .y4m file of a picture that is panned."""
    width, height = size
    wide = picture(width + 512, height)
    form = VideoFormat(width=width, height=height)
    with path.open("wb") as file:
        writer = Y4mWriter(file, form, Fraction(25))
        for i in range(frames):
            view = wide[:, i % 512 : i % 512 + width]
            writer.write((view[..., 1], view[::2, ::2, 2], view[::2, ::2, 0]))


def memory(_: argparse.Namespace) -> None:
    """Of two lengths of a small picture, whose difference is what length costs, and of a large one."""
    peaks: dict[str, list[int]] = {"encode": [], "decode": []}
    with tempfile.TemporaryDirectory() as folder:
        clip, file, back = (str(Path(folder) / name) for name in ("a.y4m", "a.tsr", "b.mkv"))
        for (width, height), frames in ((SMALL, LENGTHS[0]), (SMALL, LENGTHS[1]), (LARGE, LENGTHS[0])):
            made(Path(clip), frames, (width, height))
            for what in (["encode", clip, "-o", file, "--effort", "1"], ["decode", file, "-o", back]):
                command = [sys.executable, "-c", RUN, *what, "-f", "-q"]
                out = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
                speed = frames / float(out[0])
                print(
                    f"{what[0]} {frames} frames of {width}x{height}: {speed:.1f} frames/s, peak {out[1]} MB",
                    flush=True,
                )
                peaks[what[0]].append(int(out[1]))
    for way, (short, long, large) in peaks.items():
        growth = (long - short) / (LENGTHS[1] - LENGTHS[0])
        hour = large + growth * HOUR
        print(
            f"{way}: {growth:+.3f} MB a frame more; an hour of {LARGE[0]}x{LARGE[1]} by that: {hour:.0f} MB"
        )


def seek(_: argparse.Namespace) -> None:
    codec = VideoCodec()
    with tempfile.TemporaryDirectory() as folder:
        clip, file = Path(folder) / "a.y4m", Path(folder) / "a.tsr"
        made(clip, SEEK, SMALL)
        with file.open("w+b") as out:
            codec.encode_to(out, clip)
        times = []
        for middle in np.linspace(10, SEEK - 10, 8).astype(int).tolist() * 2:
            began = time.perf_counter()
            with file.open("rb") as source:
                codec.decode_batch([Reader(source)], frames=slice(middle, middle + 1))
            times.append(time.perf_counter() - began)
        began = time.perf_counter()
        with file.open("rb") as source:
            codec.decode_batch([Reader(source)])
        print(
            f"one frame of {SEEK} of {SMALL[0]}x{SMALL[1]}: median {np.median(times[8:]):.3f} s; all: "
            f"{time.perf_counter() - began:.3f} s"
        )


def cost_at(planes: list[Samples], settings: GroupSettings, tables: Tables | None = None) -> float:
    """Logarithm of bytes, those that the PSNR is worth taken off."""
    payload, rebuilt = encode_and_rebuild(planes, depth=8, settings=settings, tables=tables)
    total, frames = psnr_611(planes, rebuilt, 8)
    return math.log(len(payload)) - total / frames * BYTES_SLOPE / PSNR_SLOPE


def groups(a: argparse.Namespace) -> Iterator[tuple[str, list[Samples]]]:
    """The first frames of clips of 8 bits."""
    for path in find(a.data, SUFFIXES, a.limit, "videos"):
        video = read_video(path, audio=False)[: a.frames]
        if video.format.depth == 8:
            yield path.stem, list(video.planes)


def said(a: argparse.Namespace) -> str:
    return f"{a.frames} frames, quality {a.quality:g}, effort {a.effort}: percent of bytes at equal PSNR"


def structures(a: argparse.Namespace) -> None:
    saved = []
    for low_delay in (True, False):
        usual = GroupSettings(quality=a.quality, effort=a.effort, low_delay=low_delay)
        distances = [] if low_delay else [d for d in DISTANCES if 1 < d < 32 and d != usual.distance]
        ways = [usual, *(replace(usual, distance=d) for d in distances)]
        ways += [replace(usual, finer=n) for n in range(1, FINER_MOST + 1)]
        print(f"{said(a)}, above the first: {'a chain' if low_delay else 'distance'} + finer")
        print(" " * 22 + "".join(f"{named(way):>8}" for way in ways) + "   taken")
        for name, planes in groups(a):
            taken = replace(tried(planes[0], 8, replace(usual, effort=MAX_EFFORT)), effort=a.effort)
            costs = {way: cost_at(planes, way) for way in dict.fromkeys((*ways, taken))}
            off = {way: 100 * math.expm1(cost - costs[usual]) for way, cost in costs.items()}
            saved.append(off[taken])
            print(
                f"{name:<22}"
                + "".join(f"{off[w]:>+8.1f}" for w in ways)
                + f"{named(taken):>8} {saved[-1]:+.1f}"
            )
        print(f"mean of what is taken: {np.mean(saved):+.1f} %", flush=True)
        saved.clear()


def named(way: GroupSettings) -> str:
    return f"{'' if way.low_delay else way.distance}{f'+{way.finer}' if way.finer or way.low_delay else ''}"


def filter_(a: argparse.Namespace) -> None:
    print(f"{said(a)}, with the filter")
    saved = []
    for name, planes in groups(a):
        row = []
        for low_delay in (True, False):
            settings = GroupSettings(quality=a.quality, effort=a.effort, low_delay=low_delay)
            none = start_tables()
            none.filters[:] = 0
            row.append(100 * math.expm1(cost_at(planes, settings) - cost_at(planes, settings, none)))
        saved.append(row)
        print(f"{name:<22} low delay {row[0]:+.1f}, random access {row[1]:+.1f}", flush=True)
    print("mean: low delay {:+.1f}, random access {:+.1f}".format(*np.mean(saved, 0)))


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sub = p.add_subparsers(required=True)
    for run in (ledger, rate, memory, seek, structures, filter_):
        q = sub.add_parser(run.__name__.strip("_"))
        q.set_defaults(run=run)
        if run not in (memory, seek):
            q.add_argument("--data", required=True)
            q.add_argument("--limit", type=int)
            q.add_argument("--effort", type=int, default=None if run in (rate, ledger) else 2)
            q.add_argument("--frames", type=int, default=32 if run is ledger else FRAMES)
            q.add_argument("--quality", type=float, default=50)
        if run is ledger:
            q.add_argument("--log", required=True)
            q.add_argument("--clips", help="with commas; all if left out")
            q.add_argument("--anchors", default="x264,x265,svtav1,vp9")
    a = p.parse_args()
    a.run(a)


if __name__ == "__main__":
    main()
