"""`tersor bench --codec video`: frames a second in and out, in both modes; the time to one frame alone."""

from __future__ import annotations

import os
from collections.abc import Callable

from tersor.codecs.video.codec import VideoCodec
from tersor.codecs.video.options import EncodeOptions
from tersor.evaluate.lab import Figures, Paths, check_counts, find, timed
from tersor.files.coerce import video_of_rgb
from tersor.files.video import SUFFIXES, read_video
from tersor.signals.video import Video
from tersor.testing.samples import clip

FRAMES = 32
SIZE = (416, 240)  # of the clip made on the spot
MODES: dict[str, EncodeOptions] = {"random access": {}, "low delay": {"low_delay": True}}


def measure(
    paths: Paths | None = None,
    *,
    quality: float = 50,
    limit: int = 8,
    repeat: int = 5,
    frames: int | None = None,
) -> Figures:
    """Speed of encoding and decoding, and of decoding the frame in the middle alone.

    Args:
        paths: a folder of videos, or files; one made on the spot if None.
        quality: 1..100.
        limit: of videos.
        repeat: runs; medians count.
        frames: of each, from its start; 32 if None.
    """
    check_counts(limit, repeat)
    found = [] if paths is None else find(paths, SUFFIXES, limit, "videos")
    most = frames or FRAMES
    videos = [read_video(p, audio=False)[:most] for p in found] or [video_of_rgb(clip(*SIZE, most), 25)]
    codec = VideoCodec()
    facts: Figures = {
        "device": f"cpu, {os.cpu_count()} cores",
        "videos": len(videos),
        "frames": sum(map(len, videos)),
        "quality": quality,
    }
    return facts | {
        mode: speed_of(codec, videos, {"quality": quality, **o}, repeat) for mode, o in MODES.items()
    }


def speed_of(codec: VideoCodec, videos: list[Video], options: EncodeOptions, repeat: int) -> Figures:
    """Of both directions, and the rate."""
    files = codec.encode_batch(videos, **options)
    frames = sum(map(len, videos))
    pixels = sum(len(v) * v.width * v.height for v in videos)
    middles = [slice(len(v) // 2, len(v) // 2 + 1) for v in videos]
    works: dict[str, Callable[[], object]] = {
        "encode": lambda: codec.encode_batch(videos, **options),
        "decode": lambda: codec.decode_batch(files),
        "one_frame": lambda: [codec.decode_batch([f], frames=m) for f, m in zip(files, middles, strict=True)],
    }
    seconds = {name: timed(work, repeat)[0] for name, work in works.items()}
    return {
        "bpp": round(8 * sum(map(len, files)) / pixels, 4),
        "encode_fps": round(frames / seconds["encode"], 2),
        "decode_fps": round(frames / seconds["decode"], 2),
        "one_frame_seconds": round(seconds["one_frame"] / len(videos), 4),
    }


def lines(facts: Figures) -> list[str]:
    """The same to be read."""
    out = [
        (
            f"{facts['device']}; {facts['videos']} videos, {facts['frames']} frames, quality "
            f"{facts['quality']:g}"
        )
    ]
    for mode in MODES:
        f = facts[mode]
        speed = f"encode {f['encode_fps']:.2f}, decode {f['decode_fps']:.2f} frames/s"
        out.append(
            f"{mode:<14}{f['bpp']:.4f} bpp  {speed}, the frame in the middle {f['one_frame_seconds']:.3f} s"
        )
    return out
