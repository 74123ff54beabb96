"""What the audio codec is asked for, and the header and metadata that follow from it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tersor.codecs.audio.bands import block_length
from tersor.codecs.audio.header import MAX_SEGMENT, AudioHeader
from tersor.codecs.audio.pcm import MAX_BITS
from tersor.entropy.binary_tables import adaptive_tables
from tersor.errors import BitstreamError, SignalError
from tersor.signals import Audio, AudioSource

QUALITY_GAIN = (304, 3.64)

SEGMENT_SECONDS = 5.0
QUALITY = 50.0
MAX_BITRATE = 2000.0
LOUDEST = 2.0**32
DEFAULT_EFFORT, MAX_EFFORT = 3, 9
DEFAULT_PASSES = 6
CONTENTS = ("speech", "music")  # the order of noise_shaping.PROFILES
TAGS, LAYOUT = "tags", "layout"  # F: keys of the metadata


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """One of quality (1..100), bitrate (kbit/s) and lossless; effort; content."""

    asked: str
    value: float
    effort: int = DEFAULT_EFFORT
    content: str | None = None

    @classmethod
    def of(
        cls,
        quality: float | None,
        bitrate: float | None,
        lossless: bool | None,
        effort: int = DEFAULT_EFFORT,
        content: str | None = None,
    ) -> Options:
        """Raises: SignalError if they exclude each other or are out of range."""
        given = {
            k: v
            for k, v in {"quality": quality, "bitrate": bitrate, "lossless": lossless or None}.items()
            if v is not None
        }
        if len(given) > 1:
            raise SignalError(f"{' and '.join(given)} exclude each other; give one")
        asked, value = next(iter(given.items()), ("quality", QUALITY))
        try:
            number = float(value)
        except (TypeError, ValueError):
            raise SignalError(f"{asked} is {value!r}; a number is needed") from None
        if asked == "quality" and not 1 <= number <= 100:
            raise SignalError(f"quality is {value}; allowed are 1 to 100")
        if asked == "bitrate" and not (math.isfinite(number) and 1 <= number <= MAX_BITRATE):
            raise SignalError(f"bitrate is {value} kbit/s; allowed are 1 to {MAX_BITRATE:g}")
        if not isinstance(effort, int) or not 1 <= effort <= MAX_EFFORT:
            raise SignalError(f"effort is {effort!r}; allowed are 1 to {MAX_EFFORT}")
        if content not in (None, *CONTENTS):
            raise SignalError(f"content is {content!r}; allowed are {' and '.join(CONTENTS)}")
        return cls(asked=asked, value=number, effort=effort, content=content)

    def target(self) -> Target:
        passes = (
            0 if self.effort == 1 else DEFAULT_PASSES * 2 ** (self.effort - 2) // 2 ** (DEFAULT_EFFORT - 2)
        )
        quality, bitrate = (self.value, None) if self.asked == "quality" else (None, self.value)
        return Target(
            quality=quality,
            bitrate=bitrate,
            passes=passes,
            profile=None if self.content is None else CONTENTS.index(self.content),
        )


def header_of(source: Audio | AudioSource, options: Options, segment: float) -> AudioHeader:
    """The header of a sound; nothing is coded yet, and the number of samples of a source is not known.

    Raises:
        SignalError: floats, or more than 24 bits, without loss; a segment out of range.
    """
    whole = source.samples if isinstance(source, Audio) else np.zeros((0, source.channels), source.dtype)
    bits = source.bits or 8 * whole.dtype.itemsize
    lossless = options.asked == "lossless"
    if lossless:
        if whole.dtype.kind == "f":
            raise SignalError(
                "lossless is for 8-, 16- and 24-bit integers, and these samples are floats; "
                "convert them, or give a quality or bitrate"
            )
        if bits > MAX_BITS and isinstance(source, Audio) and whole.size:
            low = int(np.bitwise_or.reduce(whole, axis=None))
            bits = bits if low & ((1 << (bits - MAX_BITS)) - 1) else MAX_BITS
        if bits > MAX_BITS:
            raise SignalError(
                f"lossless takes up to {MAX_BITS} significant bits, and these samples have {bits}; "
                "give a quality or bitrate"
            )
    tables = adaptive_tables()
    return AudioHeader(
        digest=tables.base_digest if lossless else tables.digest,
        mode="lossless" if lossless else "transform",
        rate=source.rate,
        channels=whole.shape[1],
        samples=len(whole),
        dtype=whole.dtype,
        bits=bits,
        segment=check_segment(segment, source.rate),
        asked=options.asked,
        value=options.value,
    )


def pieces(source: Audio | AudioSource, length: int) -> Iterator[NDArray[Any]]:
    """The samples [n, channels] of a sound, a part at a time."""
    if not isinstance(source, Audio):
        yield from source.blocks()
        return
    for at in range(0, len(source.samples), length):
        yield source.samples[at : at + length]


def check_finite(x: NDArray[Any], first: int) -> None:
    """Raises: SignalError at the first sample that is not a finite number or far too loud; `first` is the
    number of x[0].
    """
    if x.dtype.kind == "f" and not (fits := np.abs(x) <= LOUDEST).all():
        at = np.argwhere(~fits)[0]
        raise SignalError(
            f"sample {first + at[0]} of channel {at[1]} is {x[tuple(at)]}; full scale is 1, "
            f"allowed are finite numbers to {LOUDEST:g}: repair the signal first"
        )


def metadata_of(source: Audio | AudioSource) -> dict[str, bytes]:
    """Tags, and the layout of channels where it is not the usual one."""
    tags, layout = source.tags, getattr(source, "layout", "")
    packed = {TAGS: json.dumps(dict(tags), ensure_ascii=False).encode()} if tags else {}
    return packed | ({LAYOUT: layout.encode()} if layout else {})


def unpack_layout(metadata: Mapping[str, bytes]) -> str:
    """Raises: BitstreamError if it is not a name."""
    try:
        layout = metadata.get(LAYOUT, b"").decode("ascii")
    except UnicodeDecodeError as e:
        raise BitstreamError("metadata: the layout is not a name; the file is damaged") from e
    if len(layout) > 64:
        raise BitstreamError("metadata: the layout is not a name; the file is damaged")
    return layout


def unpack_tags(metadata: Mapping[str, bytes]) -> dict[str, str]:
    """Raises: BitstreamError if they are not what `metadata_of` makes."""
    if TAGS not in metadata:
        return {}
    try:
        found = json.loads(metadata[TAGS])
    except ValueError as e:
        raise BitstreamError(f"metadata: tags are not JSON ({e}); the file is damaged") from e
    if not isinstance(found, dict):
        raise BitstreamError("metadata: tags are not an object; the file is damaged")
    return {str(k): str(v) for k, v in found.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What the transform mode aims at: a quality 1..100, or a bit rate in kbit/s; how often the encoder of
    speech listens to what it made; and the profile, if not that of speech for one channel and of music for
    more."""

    quality: float | None = None
    bitrate: float | None = None
    passes: int = 0
    profile: int | None = None

    def gain(self) -> int:
        """Of a quality."""
        assert self.quality is not None
        return round(QUALITY_GAIN[0] - QUALITY_GAIN[1] * self.quality)


def check_segment(seconds: float, rate: int) -> int:
    """Samples of a segment of whole blocks.

    Raises:
        SignalError: too short or too long.
    """
    if not 0.1 <= seconds <= 20:
        raise SignalError(f"segment is {seconds} s; allowed are 0.1 to 20")
    block = block_length(rate)
    samples = max(1, round(seconds * rate / block)) * block
    if samples > MAX_SEGMENT:
        raise SignalError(
            f"segment is {seconds} s, {samples} samples at {rate} samples a second; "
            f"allowed are {MAX_SEGMENT}: give a shorter one"
        )
    return samples
