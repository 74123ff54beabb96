"""Questions about video that a release answers in results/.

python tools/studies_video.py rate --data CLIPS     bytes and PSNR over quality: the constants of
codecs/video/rate.py
python tools/studies_video.py memory                peak memory and speed of two lengths, through the command
line
python tools/studies_video.py seek                  time to one frame in the middle of a long file
"""

from __future__ import annotations

import argparse
import math
import subprocess
import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path

import numpy as np

from tersor.codecs.video.codec import VideoCodec
from tersor.codecs.video.rate import psnr_611
from tersor.container import Reader
from tersor.evaluate.lab import find
from tersor.files.video import SUFFIXES, read_video
from tersor.files.y4m import Y4mWriter
from tersor.signals.video import Video, VideoFormat
from tersor.testing.samples import picture

QUALITIES = (1, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100)
FRAMES = 16
LENGTHS = (250, 1000)
SIZE = (640, 360)
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


def made(path: Path, frames: int) -> None:
    """A .y4m file of a picture that is panned, 640x360."""
    width, height = SIZE
    wide = picture(width + 512, height)
    form = VideoFormat(width=width, height=height)
    with path.open("wb") as file:
        writer = Y4mWriter(file, form, Fraction(25))
        for i in range(frames):
            view = wide[:, i % 512 : i % 512 + width]
            writer.write((view[..., 1], view[::2, ::2, 2], view[::2, ::2, 0]))


def memory(_: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as folder:
        clip, file, back = (str(Path(folder) / name) for name in ("a.y4m", "a.tsr", "b.mkv"))
        for frames in LENGTHS:
            made(Path(clip), frames)
            for what in (["encode", clip, "-o", file], ["decode", file, "-o", back]):
                command = [sys.executable, "-c", RUN, *what, "-f", "-q"]
                out = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
                speed = frames / float(out[0])
                print(
                    f"{what[0]} {frames} frames of {SIZE[0]}x{SIZE[1]}: {speed:.1f} frames/s, peak "
                    f"{out[1]} MB"
                )


def seek(_: argparse.Namespace) -> None:
    codec = VideoCodec()
    with tempfile.TemporaryDirectory() as folder:
        clip, file = Path(folder) / "a.y4m", Path(folder) / "a.tsr"
        made(clip, LENGTHS[0])
        with file.open("w+b") as out:
            codec.encode_to(out, clip)
        times = []
        for middle in np.linspace(10, LENGTHS[0] - 10, 8).astype(int).tolist() * 2:
            began = time.perf_counter()
            with file.open("rb") as source:
                codec.decode_batch([Reader(source)], frames=slice(middle, middle + 1))
            times.append(time.perf_counter() - began)
        began = time.perf_counter()
        with file.open("rb") as source:
            codec.decode_batch([Reader(source)])
        print(
            f"one frame of {LENGTHS[0]}: median {np.median(times[8:]):.3f} s; all: "
            f"{time.perf_counter() - began:.3f} s"
        )


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sub = p.add_subparsers(required=True)
    for run in (rate, memory, seek):
        q = sub.add_parser(run.__name__)
        q.set_defaults(run=run)
        if run is rate:
            q.add_argument("--data", required=True)
            q.add_argument("--limit", type=int)
            q.add_argument("--effort", type=int)
            q.add_argument("--frames", type=int, default=FRAMES)
    a = p.parse_args()
    a.run(a)


if __name__ == "__main__":
    main()
