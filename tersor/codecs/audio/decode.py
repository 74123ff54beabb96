"""From segments back to sound, block by block."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tersor import container
from tersor.codecs.audio.bands import block_length
from tersor.codecs.audio.header import WIRE_ID, AudioHeader
from tersor.codecs.audio.mdct import BORDER, Floats, fold_border
from tersor.codecs.audio.options import unpack_layout, unpack_tags
from tersor.codecs.audio.samples import from_floats, from_pcm
from tersor.codecs.audio.segment import decode_frames
from tersor.codecs.parallel import Progress
from tersor.entropy.binary_tables import AdaptiveTables, adaptive_tables
from tersor.errors import BitstreamError, ChecksumError, SignalError

if TYPE_CHECKING:
    from tersor.codecs.audio.codec import AudioCodec


class OpenedAudio:
    """Sound in a .tsr file: a source of blocks; memory depends on the segment."""

    def __init__(
        self,
        codec: AudioCodec,
        reader: container.Reader,
        start: float | None,
        stop: float | None,
        salvage: bool,
        progress: Progress | None,
    ) -> None:
        self._codec, self._reader, self._start, self._stop, self._progress = (
            codec,
            reader,
            start,
            stop,
            progress,
        )
        self._damaged: set[int] | None = set() if salvage else None
        self.notes: tuple[str, ...] = ()
        self.header = open_header(reader)
        first, last = span(self.header, start, stop)
        self.rate, self.channels, self.dtype, self.bits = (
            self.header.rate,
            self.header.channels,
            self.header.dtype,
            self.header.bits,
        )
        self.tags = unpack_tags(reader.metadata)
        self.layout = unpack_layout(reader.metadata)
        self.length = last - first

    @property
    def seconds(self) -> float:
        return self.length / self.rate

    def _damage(self) -> tuple[str, ...]:
        """Which seconds were damaged, of the blocks decoded so far."""
        runs: list[list[int]] = []
        for i in sorted(self._damaged or ()):
            if runs and runs[-1][1] == i:
                runs[-1][1] = i + 1
            else:
                runs.append([i, i + 1])
        h = self.header
        seconds = [[min(i * h.segment, h.samples) / h.rate for i in run] for run in runs]
        return tuple(f"{a:.3f} s to {b:.3f} s are damaged and silent" for a, b in seconds)

    def blocks(self) -> Iterator[NDArray[Any]]:
        """Samples [n, channels], in order; then notes say what was damaged."""
        yield from self._codec.blocks(
            self._reader, self.header, self._start, self._stop, self._progress, self._damaged
        )
        self.notes = self._damage()


def open_header(reader: container.Reader) -> AudioHeader:
    """The header of a file that the installed tables decode.

    Raises:
        BitstreamError: not an audio header.
        WeightsError: its tables are not installed.
    """
    if reader.codec != WIRE_ID:
        raise BitstreamError(
            f"the file's codec is {reader.codec}, not the audio codec ({WIRE_ID}); use tersor.decode"
        )
    header = AudioHeader.unpack(reader.header, len(reader.chunk_lengths))
    adaptive_tables(header.digest)
    return header


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


def read_chunk(reader: container.Reader, header: AudioHeader, index: int) -> bytes:
    """A chunk, its error naming the segment."""
    try:
        return reader.chunk(index)
    except ChecksumError as e:
        first = index * header.segment / header.rate
        raise ChecksumError(
            f"segment {index}, from {first:.3f} s: {e}; decode --salvage makes it silent and decodes the rest"
        ) from e


def silence(header: AudioHeader, index: int) -> NDArray[Any]:
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
