"""The audio codec: speech and music at any rate through an adaptive lapped transform, or PCM without loss.

    sound --segments of 5 s--> transform: splits, rotation, envelope, quantise --adaptive coder--> chunks
    (audio_coder.py, audio_segment.py)
                               lossless:  cascade of integer filters           --adaptive coder--> chunks
                               (pcm.py)

Every segment is coded with a fresh copy of the released state, so each decodes alone; samples within a
sixteenth of a block (1.25 ms) of a border need both segments. Decoded sound has the length of the input, to
the sample, and no delay. What the coder reads and writes is integer arithmetic, the same on every machine;
lossy reconstruction is floating point.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from tersor import container
from tersor.codecs.audio.decode import OpenedAudio, TransformDecoder, read_chunk, silence, span
from tersor.codecs.audio.encode import PcmEncoder, TransformEncoder
from tersor.codecs.audio.header import WIRE_ID, AudioHeader
from tersor.codecs.audio.options import (
    DEFAULT_EFFORT,
    SEGMENT_SECONDS,
    Options,
    check_finite,
    header_of,
    metadata_of,
    pieces,
)
from tersor.codecs.audio.pcm import decode_pcm
from tersor.codecs.audio.samples import from_pcm
from tersor.codecs.audio.stream import AudioStream
from tersor.codecs.parallel import Progress
from tersor.entropy.binary_tables import adaptive_tables
from tersor.errors import BitstreamError, SignalError
from tersor.files.coerce import audio_source
from tersor.signals import Audio, AudioSource


class AudioCodec:
    """Sound in, small files out.

    Args:
        device: "auto" or "cpu"; the codec has no other.
        batch: ignored; segments are coded on all cores.
    """

    wire_id = WIRE_ID
    encode_options = ("rate", "quality", "bitrate", "lossless", "effort", "content", "segment")
    decode_options = ("start", "stop", "salvage")

    def __init__(self, device: str = "auto", batch: int | None = None) -> None:
        if device not in ("auto", "cpu"):
            raise SignalError(f"the audio codec runs on the CPU, not on '{device}'; use device auto or cpu")
        self.device = "cpu"
        self.threads = os.cpu_count() or 1

    def encode_batch(
        self,
        signals: Sequence[Any],
        *,
        rate: int | None = None,
        quality: float | None = None,
        bitrate: float | None = None,
        lossless: bool | None = None,
        effort: int = DEFAULT_EFFORT,
        content: str | None = None,
        segment: float = SEGMENT_SECONDS,
        progress: Progress | None = None,
    ) -> list[bytes]:
        """One file for each sound.

        Args:
            signals: Audio, paths or bytes of sound files, arrays [samples] or [samples, channels].
            rate: samples a second, for arrays.
            quality: 1 (smallest) to 100; 50 if nothing is asked for.
            bitrate: kbit/s, container included, within 3 % over 10 s.
            lossless: every bit of 8-, 16- or 24-bit integers.
            effort: 1..9; from 2 the encoder of speech (one channel) listens to what it made, each step twice
                as often.
            content: "speech" or "music"; of one channel speech is expected, of more music.
            segment: seconds that decode alone, 0.1 to 20.
            progress: called with (samples done, samples in all).

        Raises:
            SignalError: a signal or option that cannot be coded.
        """
        options, files = Options.of(quality, bitrate, lossless, effort, content), []
        for s in signals:
            source = audio_source(s, rate)
            header, payloads = self._coded(source, options, segment, progress)
            chunks = list(payloads)
            files.append(container.write(WIRE_ID, header(), metadata_of(source), chunks))
        return files

    def encode_to(
        self,
        file: BinaryIO,
        signal: Any,
        *,
        rate: int | None = None,
        quality: float | None = None,
        bitrate: float | None = None,
        lossless: bool | None = None,
        effort: int = DEFAULT_EFFORT,
        content: str | None = None,
        segment: float = SEGMENT_SECONDS,
        progress: Progress | None = None,
    ) -> int:
        """As `encode_batch`, one sound into a file that is empty, readable and seekable; -> its size. Memory
        depends on the segment.
        """
        source = audio_source(signal, rate)
        header, payloads = self._coded(
            source, Options.of(quality, bitrate, lossless, effort, content), segment, progress
        )
        return container.write_to(file, WIRE_ID, header, metadata_of(source), payloads)

    def _coded(
        self, source: Audio | AudioSource, options: Options, segment: float, progress: Progress | None
    ) -> tuple[Callable[[], bytes], Iterator[bytes]]:
        """The packed header, to be asked for after the last payload, and the payloads."""
        header = header_of(source, options, segment)
        samples = 0

        def blocks() -> Iterator[NDArray[Any]]:
            nonlocal samples
            for x in pieces(source, header.segment):
                check_finite(x, samples)
                samples += len(x)
                yield x
                if progress:
                    progress(samples, max(header.samples, getattr(source, "expected", 0), samples))

        def last_header() -> bytes:
            if progress:
                progress(samples, samples)
            return replace(header, samples=samples).pack()

        return last_header, self.payloads(blocks(), header, options)

    def payloads(
        self, blocks: Iterator[NDArray[Any]], header: AudioHeader, options: Options
    ) -> Iterator[bytes]:
        """Payloads of the segments of a sound that comes in blocks [n, channels] of any length; memory
        depends on the segment.
        """
        with ThreadPoolExecutor(self.threads) as pool:
            encoder = (
                PcmEncoder(header)
                if header.mode == "lossless"
                else TransformEncoder(header, options.target(), pool=pool)
            )
            for x in blocks:
                yield from encoder.push(x)
            yield from encoder.finish()

    def decode_batch(
        self,
        files: Sequence[bytes | container.Reader],
        *,
        start: float | None = None,
        stop: float | None = None,
        salvage: bool = False,
        progress: Progress | None = None,
    ) -> list[Audio]:
        """Files to sounds.

        Args:
            files: bytes of .tsr files, or opened containers.
            start, stop: seconds; only the segments between them are read.
            salvage: make damaged segments silent and note which, instead of failing.
            progress: called with (segments done, segments in all).

        Raises:
            BitstreamError: a damaged file, with the segment named.
            SignalError: a span that does not fit.
        """
        out = []
        for f in files:
            reader = f if isinstance(f, container.Reader) else container.Reader(f, salvage=salvage)
            sound = self.open(reader, start=start, stop=stop, salvage=salvage, progress=progress)
            samples, at = np.empty((sound.length, sound.channels), sound.dtype), 0
            for x in sound.blocks():
                samples[at : at + len(x)] = x
                at += len(x)
            out.append(
                Audio(
                    samples=samples,
                    rate=sound.rate,
                    bits=sound.bits,
                    tags=sound.tags,
                    layout=sound.layout,
                    notes=sound.notes,
                )
            )
        return out

    def open(
        self,
        reader: container.Reader,
        *,
        start: float | None = None,
        stop: float | None = None,
        salvage: bool = False,
        progress: Progress | None = None,
    ) -> OpenedAudio:
        """A file, or the span start to stop, to be decoded block by block."""
        return OpenedAudio(self, reader, start, stop, salvage, progress)

    def blocks(
        self,
        reader: container.Reader,
        header: AudioHeader,
        start: float | None = None,
        stop: float | None = None,
        progress: Progress | None = None,
        damaged: set[int] | None = None,
    ) -> Iterator[NDArray[Any]]:
        """The samples of a file, or of the span start to stop, in blocks [n, channels]; memory depends on the
        segment. Given a set, damaged segments are put into it, and silent."""
        first, last = span(header, start, stop)
        if first == last:
            return
        margin = header.segment // 16 if header.mode == "transform" else 0
        segments = range(
            max(0, first - margin) // header.segment,
            min(header.n_segments - 1, (last - 1 + margin) // header.segment) + 1,
        )
        decoder = TransformDecoder(header) if header.mode == "transform" else None
        tables = adaptive_tables(header.digest)

        def read(i: int) -> NDArray[Any]:
            try:
                payload = read_chunk(reader, header, i)
                if decoder:
                    return decoder.read(i, payload)
                return from_pcm(
                    decode_pcm(payload, header.length(i), header.channels, tables, f"segment {i}"),
                    header,
                )
            except BitstreamError:
                if damaged is None:
                    raise
                damaged.add(i)
                return silence(header, i)

        at = segments.start * header.segment
        for done, y in enumerate(self._ahead(read, segments)):
            x = decoder.push(y) if decoder else y
            yield x[max(0, first - at) : max(0, last - at)]
            at += len(x)
            if progress:
                progress(done + 1, len(segments))
        if decoder:
            x = decoder.finish()
            yield x[max(0, first - at) : max(0, last - at)]

    def _ahead(self, read: Callable[[int], NDArray[Any]], segments: range) -> Iterator[NDArray[Any]]:
        """read(i) in order, on all cores, a few segments ahead."""
        with ThreadPoolExecutor(self.threads) as pool:
            waiting: deque[Future[NDArray[Any]]] = deque()
            for i in segments:
                waiting.append(pool.submit(read, i))
                if len(waiting) > self.threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()

    def stream(
        self,
        *,
        rate: int,
        channels: int = 1,
        dtype: Any = np.int16,
        quality: float | None = None,
        bitrate: float | None = None,
        lossless: bool | None = None,
        effort: int = DEFAULT_EFFORT,
        content: str | None = None,
        segment: float = 0.5,
        keep: bool = True,
    ) -> AudioStream:
        """Encode sound as it comes: see `AudioStream`. Without `keep` it forgets packets that were given, and
        memory stays the same however long it goes on.
        """
        audio = Audio(samples=np.zeros((0, channels), dtype), rate=rate)
        options = Options.of(quality, bitrate, lossless, effort, content)
        return AudioStream(header_of(audio, options, segment), options, keep)
