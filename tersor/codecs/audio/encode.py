"""Sound to segments and back, one segment at a time: what files and streams share. Memory depends on the
segment, not on the sound.

samples --regroup--> segments --fold borders, choose splits--> Frames --search the gain of a group--> payloads
"""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Callable, Iterable, Iterator
from importlib.util import find_spec
from typing import TypeVar

import numpy as np

from tersor.arrays import Numbers
from tersor.codecs.audio.bands import band_edges
from tersor.codecs.audio.header import AudioHeader
from tersor.codecs.audio.mdct import Floats, Folder
from tersor.codecs.audio.noise_shaping import PROFILES
from tersor.codecs.audio.options import CONTENTS, Target, content_of
from tersor.codecs.audio.pcm import encode_pcm
from tersor.codecs.audio.samples import to_floats, to_pcm
from tersor.codecs.audio.segment import Frames, Shaping, encode_frames, estimated_bits, prepare
from tersor.codecs.audio.transform import SPLIT_REFERENCE, TOLERANCE, analysis, choose_splits, speech_power
from tersor.codecs.parallel import Team
from tersor.codecs.rate_control import narrow
from tersor.entropy.binary_tables import AdaptiveTables, adaptive_tables
from tersor.timing import stage

log = logging.getLogger("tersor.audio")

T = TypeVar("T")
# None of these is in a file: decoders follow whatever the encoder chose.
ROUNDING = 0.34  # G: a coefficient is rounded up from 1 - this; below 0.5, zeros are cheap
# The same, the tolerance of envelopes and the reference of splits where bands have shapes, tuned with them.
SHAPED_ROUNDING, SHAPED_TOLERANCE, SHAPED_SPLITS = 0.43, 0.58, 1.28  # G
SEARCH_STEPS = 8  # G: codings of a group at most, to meet a bit rate
SEARCH_GAINS = (-160, 480)  # G: within GAIN_MIN to GAIN_MAX of a segment
SEARCH_PRECISION = 0.007  # G: of the rate of a group; 3 % over 10 s is promised
REFINED_PRECISION = 0.015  # G: the same once frames were refined
REFINEMENTS = 2  # G: tries at the gain to refine for
RESERVOIR_SECONDS = 1.0  # G: of rate that silence can save for later
GROWTH = 1.015  # G: what refining costs, before the first group shows it
GROUP = 4  # G: segments that share a gain, 20 s
CHUNK_OVERHEAD = 6  # F: bytes of the chunk table for a segment, as container.py writes it
FRONT_OVERHEAD = 40  # G: bytes before the chunk table, about


class TransformEncoder:
    """Sound in, payloads out.

    Args:
        header: of the file; its number of samples is not used.
        target: quality or bit rate.
        group: segments that share a gain; a stream has 1.
        team: threads for the segments of a group.
    """

    def __init__(
        self,
        header: AudioHeader,
        target: Target,
        group: int = GROUP,
        team: Team | None = None,
        tables: AdaptiveTables | None = None,
    ) -> None:
        self._rate, self._target, self._group, self._team = header.rate, target, group, team
        self._folder = Folder(header.rate, header.segment)
        self._tables = tables or adaptive_tables(header.digest)
        self._waiting: list[Frames] = []
        self._bias = 1.0
        self._saved = -8.0 * FRONT_OVERHEAD
        self.profile = CONTENTS[content_of(target.content, header.channels)]
        shaped = PROFILES[self.profile].shaped
        self._rounding = SHAPED_ROUNDING if shaped else ROUNDING
        self._tolerance = SHAPED_TOLERANCE if shaped else TOLERANCE
        self._splits = SHAPED_SPLITS if shaped else SPLIT_REFERENCE
        self._passes = target.passes if header.channels == 1 and shaped else 0
        if self._passes and not _has_torch():
            log.warning("speech is not refined, which needs torch (pip install torch): a little worse")
            self._passes = 0
        self._power, self._segments, self._growth = 0.0, 0, GROWTH if self._passes else 1.0

    def push(self, x: Numbers) -> list[bytes]:
        """Samples [n, C] -> payloads that are finished."""
        return self._take(self._folder.push(to_floats(x)), last=False)

    def finish(self) -> list[bytes]:
        """The payloads of what is left, when the sound has ended."""
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
            edges = band_edges(self._rate, self._folder.block)
            splits = choose_splits(y, self._folder.block, edges, self._splits)
            return prepare(analysis(y, splits, self._folder.block), splits, self._rate, self._tolerance)

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
        return self._each(
            lambda f: encode_frames(f, self._rate, self._shaping(gain), self._rounding, self._tables), frames
        )

    def _refined(self, frames: list[Frames], gain: int) -> list[Frames]:
        """Frames that were listened to at a gain."""
        if not self._passes:
            return frames
        from tersor.codecs.audio.speech_encode import (
            refine,  # torch takes long to import, and music does without it
        )

        shaping, seeds = self._shaping(gain), range(self._segments, self._segments + len(frames))
        return self._each(
            lambda f, seed: refine(f, self._rate, shaping, self._rounding, seed, self._power, self._passes),
            frames,
            seeds,
        )

    def _each(self, function: Callable[..., T], *arguments: Iterable[object]) -> list[T]:
        if not self._team:
            return list(map(function, *arguments))
        return self._team.each(lambda given: function(*given), zip(*arguments, strict=True))

    def _shaping(self, gain: int) -> Shaping:
        return Shaping(gain=gain, profile=self.profile)

    def _search(self, frames: list[Frames], wanted: float) -> tuple[int, list[bytes]]:
        """Gain and payloads whose bits come nearest to `wanted`: an estimate from the envelopes names the
        gain, what coding gives corrects the estimate.
        """

        def encode(gain: int) -> list[bytes]:
            payloads = self._at(frames, gain)
            self._bias = _bits(payloads) / self._estimate(frames, gain)
            return payloads

        def judge(payloads: list[bytes]) -> int:
            off = math.log(_bits(payloads) / wanted)
            return 0 if abs(off) < SEARCH_PRECISION else 1 if off > 0 else -1

        tried = narrow(
            encode,
            judge,
            *SEARCH_GAINS,
            guess=lambda low, high: self._gain_for(frames, wanted, low, high),
            steps=SEARCH_STEPS,
        )
        return min(tried, key=lambda t: abs(math.log(_bits(t[1]) / wanted)))

    def _refined_search(self, frames: list[Frames], wanted: float) -> list[bytes]:
        """Payloads of refined frames whose bits come nearest to `wanted`. Refining suits one gain and costs
        a little, so the search aims that much lower; once more, if it cost more than before.
        """
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
            low, high = (
                (low, middle) if self._estimate(frames, middle) * self._bias <= wanted else (middle + 1, high)
            )
        return low


def _has_torch() -> bool:
    with contextlib.suppress(ImportError):
        return find_spec("torch") is not None
    return False


def _bits(payloads: list[bytes]) -> float:
    return 8.0 * sum(len(p) + CHUNK_OVERHEAD for p in payloads)


class PcmEncoder:
    """Sound in, payloads of the lossless mode out."""

    def __init__(self, header: AudioHeader, tables: AdaptiveTables | None = None) -> None:
        self._header, self._tables = header, tables or adaptive_tables(header.digest)
        self._waiting = np.zeros((0, header.channels), header.dtype)

    def push(self, x: Numbers) -> list[bytes]:
        self._waiting = np.concatenate([self._waiting, x]) if len(self._waiting) else x
        out = []
        while len(self._waiting) >= self._header.segment:
            out.append(self._code(self._waiting[: self._header.segment]))
            self._waiting = self._waiting[self._header.segment :]
        return out

    def finish(self) -> list[bytes]:
        return [self._code(self._waiting)] if len(self._waiting) else []

    def _code(self, x: Numbers) -> bytes:
        return encode_pcm(to_pcm(x, self._header.bits), self._tables)
