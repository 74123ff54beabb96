"""Sound to segments and back, one segment at a time: what files and streams share. Memory depends on the segment, not on the sound.

samples --regroup--> segments --fold borders, choose splits--> Frames --search the gain of a group--> payloads
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from tersor.codecs.audio_bands import band_edges, block_length
from tersor.codecs.audio_frames import BORDER, FULL_SCALE, analysis, choose_splits, speech_power
from tersor.codecs.audio_header import MAX_SEGMENT, AudioHeader
from tersor.codecs.audio_segment import Frames, Shaping, decode_frames, encode_frames, estimated_bits, prepare
from tersor.codecs.audio_shaping import MUSIC, PROFILES, SPEECH
from tersor.codecs.lapped import Floats, fold
from tersor.entropy.adaptive import AdaptiveTables, adaptive_tables
from tersor.errors import SignalError
from tersor.timing import stage

T = TypeVar("T")
ROUNDING = 0.34
SEARCH_STEPS = 8
SEARCH_GAINS = (-160, 480)
SEARCH_PRECISION = 0.007
REFINED_PRECISION = 0.015
REFINEMENTS = 2
RESERVOIR_SECONDS = 1.0
GROWTH = 1.015
GROUP = 4
CHUNK_OVERHEAD = 6
FRONT_OVERHEAD = 40
QUALITY_GAIN = (304, 3.64)


def to_floats(x: NDArray[Any]) -> Floats:
    """Samples [n, C] of any type -> float64 [C, n], full scale 32768."""
    y = np.ascontiguousarray(x.T).astype(np.float64)
    if x.dtype == np.uint8:
        return (y - 128) * 256
    return y * (FULL_SCALE if x.dtype.kind == "f" else FULL_SCALE / 2.0 ** (8 * x.dtype.itemsize - 1))


def from_floats(y: Floats, dtype: np.dtype[Any], bits: int) -> NDArray[Any]:
    """The inverse: rounded to the bits that are significant, and clipped."""
    if dtype.kind == "f":
        return np.ascontiguousarray((y / FULL_SCALE).T).astype(dtype)
    limit = 2.0 ** (bits - 1)
    z = np.clip(np.round(y.T * (limit / FULL_SCALE)), -limit, limit - 1).astype(np.int64) << (8 * dtype.itemsize - bits)
    return np.ascontiguousarray(z + 128 if dtype == np.uint8 else z).astype(dtype)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What the transform mode aims at: a quality 1..100, or a bit rate in kbit/s; how often the encoder of speech listens to what it made; and the profile, if not
    that of speech for one channel and of music for more."""

    quality: float | None = None
    bitrate: float | None = None
    passes: int = 0
    profile: int | None = None

    def gain(self) -> int:
        """Of a quality."""
        assert self.quality is not None
        return round(QUALITY_GAIN[0] - QUALITY_GAIN[1] * self.quality)


class Folder:
    """Cuts sound into segments whose borders are folded; a segment comes out as soon as its overlap with the next is there."""

    def __init__(self, rate: int, segment: int) -> None:
        self.block = block_length(rate)
        self._segment, self._count = segment, 0
        self._samples: list[Floats] = []

    def push(self, y: Floats) -> Iterator[Floats]:
        """Samples [C, n] -> finished segments [C, T block]."""
        self._samples.append(y)
        self._count += y.shape[1]
        while self._count >= self._segment + self.block // BORDER:
            yield self._cut(np.concatenate(self._samples, 1))

    def finish(self) -> Iterator[Floats]:
        if self._count:
            rest = np.concatenate(self._samples, 1)
            rest = np.pad(rest, ((0, 0), (0, -rest.shape[1] % self.block)))
            if rest.shape[1] > self._segment:
                yield self._cut(rest)
                rest = self._samples[0]
            yield rest

    def _cut(self, y: Floats) -> Floats:
        """The first segment of y; the rest is kept."""
        segment, rest = y[:, : self._segment], y[:, self._segment :]
        fold_border(segment, rest, self.block)
        self._samples, self._count = [rest], rest.shape[1]
        return segment


def fold_border(left: Floats, right: Floats, block: int, inverse: bool = False) -> None:
    """Fold, or unfold, the border between two segments, in place."""
    half = block // BORDER
    both = np.concatenate([left[:, -half:], right[:, :half]], 1)
    fold(both, np.array([half]), half, inverse)
    left[:, -half:], right[:, :half] = both[:, :half], both[:, half:]


class TransformEncoder:
    """Sound in, payloads out.

    Args:
        header: of the file; its number of samples is not used.
        target: quality or bit rate.
        group: segments that share a gain; a stream has 1.
        pool: threads for the segments of a group.
    """

    def __init__(
        self,
        header: AudioHeader,
        target: Target,
        group: int = GROUP,
        pool: ThreadPoolExecutor | None = None,
        tables: AdaptiveTables | None = None,
    ) -> None:
        self._rate, self._target, self._group, self._pool = header.rate, target, group, pool
        self._folder = Folder(header.rate, header.segment)
        self._tables = tables or adaptive_tables()
        self._waiting: list[Frames] = []
        self._bias = 1.0
        self._saved = -8.0 * FRONT_OVERHEAD
        self.profile = PROFILES.index(SPEECH if header.channels == 1 else MUSIC) if target.profile is None else target.profile
        self._passes = target.passes if header.channels == 1 and PROFILES[self.profile].net else 0
        self._power, self._segments, self._growth = 0.0, 0, GROWTH if self._passes else 1.0

    def push(self, x: NDArray[Any]) -> list[bytes]:
        """Samples [n, C] -> payloads that are finished."""
        return self._take(self._folder.push(to_floats(x)), last=False)

    def finish(self) -> list[bytes]:
        """The rest."""
        return self._take(self._folder.finish(), last=True)

    def _take(self, segments: Iterator[Floats], last: bool) -> list[bytes]:
        out = []
        for y in segments:
            self._waiting.append(self._analyse(y))
            if len(self._waiting) == self._group:
                out += self._code()
        if last and self._waiting:
            out += self._code()
        return out

    def _analyse(self, y: Floats) -> Frames:
        with stage("analysis"):
            splits = choose_splits(y, self._folder.block, band_edges(self._rate, self._folder.block))
            return prepare(analysis(y, splits, self._folder.block), splits, self._rate)

    def _code(self) -> list[bytes]:
        frames, self._waiting = self._waiting, []
        self._power = max(self._power, *(speech_power(f.x, self._rate) for f in frames))
        if self._target.bitrate is None:
            payloads = self._at(self._refined(frames, self._target.gain()), self._target.gain())
            self._segments += len(frames)
            return payloads
        seconds = sum(f.x.shape[1] for f in frames) * self._folder.block / self._rate
        wanted = max(self._target.bitrate * 1000 * seconds + self._saved, 1.0)
        payloads = self._refined_search(frames, wanted) if self._passes else self._search(frames, wanted)[1]
        self._saved = min(wanted - _bits(payloads), self._target.bitrate * 1000 * RESERVOIR_SECONDS)
        self._segments += len(frames)
        return payloads

    def _at(self, frames: list[Frames], gain: int) -> list[bytes]:
        return self._each(lambda f: encode_frames(f, self._rate, self._shaping(gain), ROUNDING, self._tables), frames)

    def _refined(self, frames: list[Frames], gain: int) -> list[Frames]:
        """Frames that were listened to at a gain."""
        if not self._passes:
            return frames
        from tersor.codecs.audio_refine import refine  # torch takes long to import, and music does without it

        shaping, seeds = self._shaping(gain), range(self._segments, self._segments + len(frames))
        return self._each(lambda f, seed: refine(f, self._rate, shaping, ROUNDING, seed, self._power, self._passes, self._tables), frames, seeds)

    def _each(self, function: Callable[..., T], *arguments: Iterable[Any]) -> list[T]:
        return list((self._pool.map if self._pool else map)(function, *arguments))

    def _shaping(self, gain: int) -> Shaping:
        return Shaping(gain=gain, profile=self.profile)

    def _search(self, frames: list[Frames], wanted: float) -> tuple[int, list[bytes]]:
        """Gain and payloads whose bits come nearest to `wanted`: an estimate from the envelopes names the gain, what coding gives corrects the estimate."""
        tried: dict[int, list[bytes]] = {}
        low, high = SEARCH_GAINS
        gain = self._gain_for(frames, wanted, low, high)
        for _ in range(SEARCH_STEPS):
            tried[gain] = self._at(frames, gain)
            off = math.log(_bits(tried[gain]) / wanted)
            self._bias = _bits(tried[gain]) / self._estimate(frames, gain)
            low, high = (gain + 1, high) if off > 0 else (low, gain - 1)
            if abs(off) < SEARCH_PRECISION or low > high:
                break
            gain = self._gain_for(frames, wanted, low, high)
        return min(tried.items(), key=lambda t: abs(math.log(_bits(t[1]) / wanted)))

    def _refined_search(self, frames: list[Frames], wanted: float) -> list[bytes]:
        """The same of refined frames. Refining suits one gain and costs a little, so the search aims that much lower; once more, if it cost more than before."""
        tried = []
        for _ in range(REFINEMENTS):
            gain, before = self._search(frames, wanted / self._growth)
            refined = self._refined(frames, gain)
            tried.append(self._at(refined, gain))
            self._growth = _bits(tried[-1]) / _bits(before)
            if abs(math.log(_bits(tried[-1]) / wanted)) < REFINED_PRECISION:
                break
        else:
            tried.append(self._search(refined, wanted)[1])
        return min(tried, key=lambda p: abs(math.log(_bits(p) / wanted)))

    def _estimate(self, frames: list[Frames], gain: int) -> float:
        return sum(estimated_bits(f, self._rate, self._shaping(gain)) for f in frames)

    def _gain_for(self, frames: list[Frames], wanted: float, low: int, high: int) -> int:
        """The finest gain from low to high whose corrected estimate is no more than wanted."""
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if self._estimate(frames, middle) * self._bias <= wanted else (middle + 1, high)
        return low


def _bits(payloads: list[bytes]) -> float:
    return 8.0 * sum(len(p) + CHUNK_OVERHEAD for p in payloads)


class TransformDecoder:
    """Payloads in, sound out; holds back the overlap with the next segment.

    Args:
        header: of the file.
        tables: the frozen state.

    The overlap of the first segment with one before it stays folded.
    """

    def __init__(self, header: AudioHeader, tables: AdaptiveTables | None = None) -> None:
        self._header = header
        self._block = block_length(header.rate)
        self._tables = tables or adaptive_tables()
        self._held = np.zeros((header.channels, 0))

    def take_over(self, other: TransformDecoder) -> None:
        """Go on where another decoder stopped."""
        self._held = other._held

    def read(self, segment: int, payload: bytes) -> Floats:
        """A segment with folded borders; calls are independent of each other."""
        h = self._header
        frames = -(-h.length(segment) // self._block)
        return decode_frames(payload, h.rate, h.channels, frames, self._tables, segment, f"segment {segment}")

    def push(self, y: Floats) -> NDArray[Any]:
        """The next segment of `read` -> the samples [n, C] that are finished."""
        half = self._block // BORDER
        if self._held.size:
            fold_border(self._held, y, self._block, inverse=True)
        ready = np.concatenate([self._held, y[:, :-half]], 1)
        self._held = y[:, -half:]
        return self._samples(ready)

    def finish(self) -> NDArray[Any]:
        """What was held back."""
        held, self._held = self._held, self._held[:, :0]
        return self._samples(held)

    def _samples(self, y: Floats) -> NDArray[Any]:
        return from_floats(y, self._header.dtype, self._header.bits)


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
        raise SignalError(f"segment is {seconds} s, {samples} samples at {rate} samples a second; allowed are {MAX_SEGMENT}: give a shorter one")
    return samples
