"""Sound: samples, rate and tags; sources that give it block by block."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import DTypeLike

from tersor.arrays import Numbers, NumberType
from tersor.errors import SignalError
from tersor.signals.compare import fingerprint, same, same_array

MIN_RATE, MAX_RATE = 1000, 768_000  # F
MAX_CHANNELS = 8  # F
AUDIO_TYPES = tuple(np.dtype(t) for t in ("i2", "i4", "f4", "f8", "u1"))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Audio:
    """Sound; `np.asarray(audio)` is its samples.

    Attributes:
        samples: [samples, channels]: int16, int32 (full scale 2^31), uint8 (silence at 128), float32 or
            float64 (full scale 1); may be empty.
        rate: samples a second.
        bits: significant bits of an integer sample, from the top: 24 for 24-bit sound in int32; all of them
            if 0.
        tags: title, artist and the like, from the file.
        layout: which loudspeakers the channels are for, in FFmpeg's words ("5.1(side)"); the usual ones of
            their number if empty.
        notes: what was changed on the way in, for people.

    Raises:
        SignalError: samples of another type or shape, a rate or a number of channels that cannot be coded.
    """

    samples: Numbers
    rate: int
    bits: int = 0
    tags: Mapping[str, str] = field(default_factory=dict)
    layout: str = ""
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        s = self.samples
        if s.dtype not in AUDIO_TYPES:
            raise SignalError(
                f"audio samples are {s.dtype}; allowed are {', '.join(map(str, AUDIO_TYPES))}: "
                "convert them first"
            )
        if s.ndim != 2 or not 1 <= s.shape[1] <= MAX_CHANNELS:
            raise SignalError(
                f"audio samples have shape {s.shape}; needed is [samples, "
                f"channels] with 1 to {MAX_CHANNELS} channels"
            )
        if not MIN_RATE <= self.rate <= MAX_RATE:
            raise SignalError(
                f"the sample rate is {self.rate}; allowed are {MIN_RATE} to {MAX_RATE} samples a second: "
                "resample it first"
            )

    @property
    def seconds(self) -> float:
        return len(self.samples) / self.rate

    @property
    def channels(self) -> int:
        return int(self.samples.shape[1])

    @property
    def nbytes(self) -> int:
        return int(self.samples.nbytes)

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> Numbers:
        return (
            np.array(self.samples, dtype=dtype)
            if copy or dtype not in (None, self.samples.dtype)
            else self.samples
        )

    def __eq__(self, other: object) -> bool:
        """Whether samples, rate, bits, layout and tags are the same."""
        if not isinstance(other, Audio):
            return NotImplemented
        return (
            (self.rate, self.bits, self.layout) == (other.rate, other.bits, other.layout)
            and same_array(self.samples, other.samples)
            and same(self.tags, other.tags)
        )

    def __hash__(self) -> int:
        return hash((self.rate, fingerprint(self.samples)))

    def __repr__(self) -> str:
        n, channels = self.samples.shape
        return f"Audio({n} samples at {self.rate}, channels={channels}, {self.samples.dtype})"

    def save(self, path: str | Path) -> None:
        """Write a .wav or .flac file."""

        importlib.import_module("tersor.files.audio").write_audio(self, Path(path))


class AudioSource(Protocol):
    """Sound that is read block by block: an opened file."""

    @property
    def rate(self) -> int: ...
    @property
    def channels(self) -> int: ...
    @property
    def dtype(self) -> NumberType: ...
    @property
    def bits(self) -> int: ...
    @property
    def tags(self) -> Mapping[str, str]: ...
    @property
    def layout(self) -> str: ...

    def blocks(self) -> Iterator[Numbers]:
        """Samples [n, channels], in order."""
