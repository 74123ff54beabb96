"""From segments back to sound: a part is a segment, without the overlap that waits for the next."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tersor.arrays import Numbers, NumberType
from tersor.codecs.assembly import Assembly, Opened
from tersor.codecs.audio.bands import block_length
from tersor.codecs.audio.header import AudioHeader
from tersor.codecs.audio.mdct import BORDER, Floats, fold_border
from tersor.codecs.audio.options import AudioDecodeOptions
from tersor.codecs.audio.pcm import decode_pcm
from tersor.codecs.audio.samples import from_floats, from_pcm
from tersor.codecs.audio.segment import decode_frames
from tersor.codecs.audio.source import unpack_layout
from tersor.codecs.tags import unpack_tags
from tersor.container import Reader
from tersor.entropy.binary_tables import AdaptiveTables, adaptive_tables
from tersor.errors import SignalError
from tersor.signals import Audio


class AudioAssembly(Assembly[Audio]):
    """One file, or the span of it that was asked for; a part is a segment.

    Raises:
        BitstreamError: not an audio header. WeightsError: its tables are not installed.
        SignalError: a span that does not fit.
    """

    def __init__(self, reader: Reader, options: AudioDecodeOptions) -> None:
        self.header = h = AudioHeader.unpack(reader.header, len(reader.chunk_lengths))
        self._tables = adaptive_tables(h.digest)
        self.tags, self.layout = unpack_tags(reader.metadata), unpack_layout(reader.metadata)
        self._first, self._last = first, last = span(h, options.get("start"), options.get("stop"))
        margin = h.segment // 16 if h.mode == "transform" else 0
        self._segments = (
            range(
                max(0, first - margin) // h.segment,
                min(h.n_segments - 1, (last - 1 + margin) // h.segment) + 1,
            )
            if first < last
            else range(0)
        )
        self._decoder = TransformDecoder(h, self._tables) if h.mode == "transform" else None
        self._next: Numbers | None = None
        self._position = self._segments.start * h.segment
        super().__init__(reader, len(self._segments), (last - first, h.channels))

    @property
    def length(self) -> int:
        """Samples of each channel."""
        return self._last - self._first

    def decode(self, segment: int, payload: bytes) -> Numbers:
        """A segment with folded borders, or its samples; calls are independent of each other."""
        if self._decoder:
            return self._decoder.read(segment, payload)
        h, name = self.header, f"segment {segment}"
        return from_pcm(decode_pcm(payload, h.length(segment), h.channels, self._tables, name), h)

    def needs(self, part: int) -> tuple[int]:
        return (self._segments[part],)

    def place(self, chunk: int, x: Numbers) -> None:
        self._next = x

    def fill(self, chunk: int) -> None:
        self._next = silence(self.header, chunk)

    def piece(self, part: int) -> Numbers:
        assert self._next is not None
        x = self._decoder.push(self._next.astype(np.float64, copy=False)) if self._decoder else self._next
        if self._decoder and part == self.parts - 1:
            x = np.concatenate([x, self._decoder.finish()])
        inside = x[max(0, self._first - self._position) : max(0, self._last - self._position)]
        self._position += len(x)
        return inside

    def called(self, chunk: int) -> str:
        return f"segment {chunk}, from {chunk * self.header.segment / self.header.rate:.3f} s"

    def notes(self) -> tuple[str, ...]:
        """Which seconds are silent."""
        runs: list[list[int]] = []
        for i in sorted(self.damaged):
            if runs and runs[-1][1] == i:
                runs[-1][1] = i + 1
            else:
                runs.append([i, i + 1])
        h = self.header
        seconds = [[min(i * h.segment, h.samples) / h.rate for i in run] for run in runs]
        return tuple(f"{a:.3f} s to {b:.3f} s are damaged and silent" for a, b in seconds)

    def finish(self) -> Audio:
        h = self.header
        samples = self.whole() if self.parts else np.empty(self.shape, h.dtype)
        return Audio(
            samples=samples,
            rate=h.rate,
            bits=h.bits,
            tags=self.tags,
            layout=self.layout,
            notes=self.notes(),
        )


class OpenedAudio(Opened[AudioAssembly]):
    """Sound in a .tsr file: a source of blocks [n, channels]; memory depends on the segment."""

    @property
    def rate(self) -> int:
        """Samples a second."""
        return self.assembly.header.rate

    @property
    def channels(self) -> int:
        return self.assembly.header.channels

    @property
    def dtype(self) -> NumberType:
        return self.assembly.header.dtype

    @property
    def bits(self) -> int:
        """Significant bits of an integer sample."""
        return self.assembly.header.bits

    @property
    def tags(self) -> Mapping[str, str]:
        return self.assembly.tags

    @property
    def layout(self) -> str:
        """Of the channels; empty if it is the usual one."""
        return self.assembly.layout

    @property
    def length(self) -> int:
        """Samples of each channel."""
        return self.assembly.length

    @property
    def seconds(self) -> float:
        return self.length / self.rate


def span(header: AudioHeader, start: float | None, stop: float | None) -> tuple[int, int]:
    """Samples [first, last) of a span in seconds.

    Raises:
        SignalError: it does not lie in the sound.
    """
    seconds = header.samples / header.rate
    begin, end = 0.0 if start is None else start, seconds if stop is None else stop
    if not 0 <= begin <= min(end, seconds):  # also false for NaN
        until = "the end" if stop is None else f"{stop:g} s"
        raise SignalError(
            f"the span from {begin:g} s to {until} does not fit; the sound lasts {seconds:g} s: "
            "give a start from 0 to that, and a stop not before it"
        )
    return min(round(begin * header.rate), header.samples), header.samples if end >= seconds else round(
        end * header.rate
    )


def silence(header: AudioHeader, index: int) -> Numbers:
    """What a segment's payload is decoded to, all 0. Neighbours fade out into the overlap."""
    length = header.length(index)
    if header.mode == "lossless":
        return from_pcm(np.zeros((length, header.channels), np.int64), header)
    block = block_length(header.rate)
    return np.zeros((header.channels, -(-length // block) * block))


class TransformDecoder:
    """Payloads in, sound out; holds back the overlap with the next segment.

    Args:
        header: of the file.
        tables: the frozen state, if not that of the header's digest.

    The overlap of the first segment with one before it stays folded.
    """

    def __init__(self, header: AudioHeader, tables: AdaptiveTables | None = None) -> None:
        self._header = header
        self._block = block_length(header.rate)
        self._tables = tables or adaptive_tables(header.digest)
        self._held = np.zeros((header.channels, 0))

    def take_over(self, other: TransformDecoder) -> None:
        """Go on where another decoder stopped."""
        self._held = other._held

    def read(self, segment: int, payload: bytes) -> Floats:
        """A segment with folded borders; calls are independent of each other."""
        h = self._header
        frames = -(-h.length(segment) // self._block)
        return decode_frames(payload, h.rate, h.channels, frames, self._tables, segment, f"segment {segment}")

    def push(self, y: Floats) -> Numbers:
        """The next segment of `read` -> the samples [n, C] that are finished."""
        half = self._block // BORDER
        if self._held.size:
            fold_border(self._held, y, self._block, inverse=True)
        ready = np.concatenate([self._held, y[:, :-half]], 1)
        self._held = y[:, -half:]
        return self._samples(ready)

    def finish(self) -> Numbers:
        """What was held back."""
        held, self._held = self._held, self._held[:, :0]
        return self._samples(held)

    def _samples(self, y: Floats) -> Numbers:
        return from_floats(y, self._header.dtype, self._header.bits)
