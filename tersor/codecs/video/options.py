"""What the video codec is asked for."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tersor.codecs.video.header import MAX_GROUP
from tersor.errors import SignalError

QUALITY = 50.0
DEFAULT_EFFORT, MAX_EFFORT = 5, 9
MAX_BITRATE = 1_000_000.0  # kbit/s
LEAST_PSNR, MOST_PSNR = 10.0, 80.0
DEFAULT_GROUP = 64  # G: frames between two places to seek to; half costs the rate of one more intra frame


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """One of quality (1..100), bitrate (kbit/s of the pictures) and target_psnr (dB); how hard to try; the
    sound.

    Attributes:
        asked, value: which, and of it.
        effort: 1 to 9.
        low_delay: frames are coded in the order they are shown.
        group: most frames of a group, which is decodable alone.
        audio: True: coded; "lossless"; False: left out.
        audio_bitrate: kbit/s; by the audio codec's usual quality if None.
    """

    asked: str
    value: float
    effort: int = DEFAULT_EFFORT
    low_delay: bool = False
    group: int = DEFAULT_GROUP
    audio: bool | str = True
    audio_bitrate: float | None = None

    @classmethod
    def of(
        cls,
        *,
        quality: float | None,
        bitrate: float | None,
        target_psnr: float | None,
        effort: int | None,
        low_delay: bool,
        group: int | None,
        audio: bool | str,
        audio_bitrate: float | None,
    ) -> Options:
        """Raises: SignalError if they exclude each other or are out of range."""
        given = {
            k: v
            for k, v in {"quality": quality, "bitrate": bitrate, "target_psnr": target_psnr}.items()
            if v is not None
        }
        if len(given) > 1:
            raise SignalError(f"{' and '.join(given)} exclude each other; give one")
        asked, value = next(iter(given.items()), ("quality", QUALITY))
        limits = {
            "quality": (1.0, 100.0),
            "bitrate": (1.0, MAX_BITRATE),
            "target_psnr": (LEAST_PSNR, MOST_PSNR),
        }[asked]
        effort = DEFAULT_EFFORT if effort is None else effort
        group = DEFAULT_GROUP if group is None else group
        if (
            not isinstance(value, (int, float))
            or not math.isfinite(value)
            or not limits[0] <= value <= limits[1]
        ):
            raise SignalError(f"{asked} is {value!r}; allowed are {limits[0]:g} to {limits[1]:g}")
        if not isinstance(effort, int) or not 1 <= effort <= MAX_EFFORT:
            raise SignalError(f"effort is {effort!r}; allowed are 1 to {MAX_EFFORT}")
        if not isinstance(group, int) or not 1 <= group <= MAX_GROUP:
            raise SignalError(f"group is {group!r}; allowed are 1 to {MAX_GROUP} frames")
        if audio not in (True, False, "lossless"):
            raise SignalError(f"audio is {audio!r}; allowed are True, False and 'lossless'")
        if audio_bitrate is not None and audio is not True:
            raise SignalError("audio_bitrate is for sound that is coded with loss; leave it out, or audio")
        return cls(
            asked=asked,
            value=float(value),
            effort=effort,
            low_delay=bool(low_delay),
            group=group,
            audio=audio,
            audio_bitrate=audio_bitrate,
        )
