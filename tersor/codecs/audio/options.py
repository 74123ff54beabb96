"""What can be asked of the audio codec."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, TypedDict

from tersor.codecs.options import DecodeOptions, Option, Options
from tersor.signals.audio import MAX_RATE, MIN_RATE

QUALITY_GAIN = (304, 3.64)  # M (tools/studies.py qualities): the gain of a quality, offset and slope
SEGMENT_SECONDS = 5.0  # G
STREAM_SECONDS = 0.5  # G
QUALITY = 50.0  # G
MAX_BITRATE = 2000.0  # G: more is a mistake
DEFAULT_EFFORT, MAX_EFFORT = 3, 9  # G
LISTENING_EFFORT, LISTENING_PASSES = 4, 3  # G: from which the encoder of speech listens, and how often then
CONTENTS = {"speech": 2, "music": 1}  # F: the profiles that encoders write, of noise_shaping.PROFILES


def content_of(content: str | None, channels: int) -> str:
    """What a sound is, if nobody said."""
    return content or ("speech" if channels == 1 else "music")


class AudioEncodeOptions(TypedDict, total=False):
    """How to encode; one of the targets at most."""

    rate: Annotated[
        int | None,
        Option("of arrays, which have none", low=MIN_RATE, high=MAX_RATE, unit="samples a second", flag=""),
    ]
    quality: Annotated[
        float | None, Option("1 is smallest", low=1, high=100, one_of="target", default=QUALITY)
    ]
    bitrate: Annotated[
        float | None,
        Option(
            "of the whole file, within 3 % over 10 s",
            low=1,
            high=MAX_BITRATE,
            unit="kbit/s",
            one_of="target",
        ),
    ]
    lossless: Annotated[bool | None, Option("every bit of 8-, 16- and 24-bit integers", one_of="target")]
    effort: Annotated[
        int | None,
        Option(
            "from 4, the encoder of speech listens to what it made, each step twice as often",
            low=1,
            high=MAX_EFFORT,
            default=DEFAULT_EFFORT,
        ),
    ]
    content: Annotated[
        str | None,
        Option("what it is; if not given, speech for one channel, music for more", choices=tuple(CONTENTS)),
    ]
    segment: Annotated[
        float | None,
        Option("length that decodes alone", low=0.1, high=20, unit="s", default=SEGMENT_SECONDS),
    ]


class AudioDecodeOptions(DecodeOptions, total=False):
    """Which part to decode; only the segments between are read."""

    start: Annotated[float | None, Option("from this second", unit="s", flag="--from")]
    stop: Annotated[float | None, Option("up to this second", unit="s", flag="--to")]


ENCODE = Options("audio", AudioEncodeOptions)
DECODE = Options("audio", AudioDecodeOptions)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What the transform mode aims at: a quality 1..100, or a bit rate in kbit/s; how often the encoder of
    speech listens to what it made; and what the sound is, if not speech for one channel and music for more.
    """

    quality: float | None = None
    bitrate: float | None = None
    passes: int = 0
    content: str | None = None

    @classmethod
    def of(cls, options: AudioEncodeOptions) -> Target:
        """Of options that were checked, and do not ask for lossless."""
        asked, value = ENCODE.asked(options, "target")
        effort = options["effort"] or DEFAULT_EFFORT
        passes = 0 if effort < LISTENING_EFFORT else LISTENING_PASSES * 2 ** (effort - LISTENING_EFFORT)
        return cls(
            quality=value if asked == "quality" else None,
            bitrate=value if asked == "bitrate" else None,
            passes=passes,
            content=options.get("content"),
        )

    def gain(self) -> int:
        """The step of the quantiser, in 1/32 octave, that a quality stands for."""
        assert self.quality is not None
        return round(QUALITY_GAIN[0] - QUALITY_GAIN[1] * self.quality)
