"""What the video codec can be asked for."""

from __future__ import annotations

from typing import Annotated, TypedDict

from tersor.codecs.options import DecodeOptions as SharedDecodeOptions
from tersor.codecs.options import Option, Options
from tersor.codecs.video.header import MAX_GROUP
from tersor.errors import SignalError

QUALITY = 50.0  # G
DEFAULT_EFFORT, MAX_EFFORT = 5, 9  # G
DEFAULT_GROUP = 64  # G: frames between two places to seek to; half costs the rate of one more intra frame


class EncodeOptions(TypedDict, total=False):
    """Options of encode."""

    quality: Annotated[
        float | None, Option("1 is smallest", default=QUALITY, low=1, high=100, one_of="target")
    ]
    bitrate: Annotated[
        float | None,
        Option(
            "of the pictures, within 2 %",
            low=1,
            high=1e6,
            unit="kbit/s",
            one_of="target",
        ),
    ]
    target_psnr: Annotated[
        float | None,
        Option(
            "smallest file that reaches this PSNR of the planes, 6:1:1",
            low=10,
            high=80,
            unit="dB",
            one_of="target",
        ),
    ]
    effort: Annotated[
        int | None, Option("how hard to search", default=DEFAULT_EFFORT, low=1, high=MAX_EFFORT)
    ]
    low_delay: Annotated[bool | None, Option("code frames in the order they are shown", default=False)]
    group: Annotated[
        int | None,
        Option("most frames that only decode together", default=DEFAULT_GROUP, low=1, high=MAX_GROUP),
    ]
    no_audio: Annotated[bool | None, Option("leave the sound out", default=False, one_of="sound")]
    audio: Annotated[str | None, Option("the sound bit by bit", choices=("lossless",), one_of="sound")]
    audio_bitrate: Annotated[
        float | None, Option("of the sound", low=1, high=2000, unit="kbit/s", one_of="sound")
    ]
    fps: Annotated[float | None, Option("frames a second, of arrays", above=0, high=1e6, flag="")]


class DecodeOptions(SharedDecodeOptions, total=False):
    """Options of decode."""

    frames: Annotated[
        slice | None,
        Option(
            "only these frames, from only the groups they touch", parse=lambda t: parse_frames(t), form="A:B"
        ),
    ]
    start: Annotated[
        float | None, Option("from this second, reading only what it needs", unit="s", flag="--from")
    ]
    stop: Annotated[float | None, Option("up to this second", unit="s", flag="--to")]
    no_audio: Annotated[bool | None, Option("leave the sound out", default=False)]


ENCODE = Options("video", EncodeOptions)
DECODE = Options("video", DecodeOptions)


def parse_frames(text: str) -> slice:
    """ "10:20" or "0:100:5" -> a slice.

    Raises:
        SignalError: not a range.
    """
    try:
        parts = [int(v) if v.strip() else None for v in text.split(":")]
    except ValueError:
        parts = []
    if len(parts) not in (2, 3):
        raise SignalError(
            f"frames '{text}' is not a range; give first:last or first:last:step, such as 10:20"
        )
    return slice(*parts)
