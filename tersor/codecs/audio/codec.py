"""The audio codec: speech and music at any rate through an adaptive lapped transform, or PCM without loss.

    sound --segments of 5 s--> transform: splits, rotation, envelope, quantise --adaptive coder--> chunks
    (encode.py, segment.py)
                               lossless:  cascade of integer filters           --adaptive coder--> chunks
                               (pcm.py)

Every segment is coded with a fresh copy of the released state, so each decodes alone; samples within a
sixteenth of a block (1.25 ms) of a border need both segments. Decoded sound has the length of the input, to
the sample, and no delay. What the coder reads and writes is integer arithmetic, the same on every machine;
lossy reconstruction is floating point.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tersor.arrays import Numbers
from tersor.codecs.assembly import Coded, Job
from tersor.codecs.audio.decode import AudioAssembly, OpenedAudio
from tersor.codecs.audio.encode import PcmEncoder, TransformEncoder
from tersor.codecs.audio.header import WIRE_ID
from tersor.codecs.audio.options import (
    DECODE,
    ENCODE,
    STREAM_SECONDS,
    AudioDecodeOptions,
    AudioEncodeOptions,
    Target,
)
from tersor.codecs.audio.source import check_finite, header_of, metadata_of, pieces
from tersor.codecs.audio.stream import AudioStream
from tersor.codecs.base import ChunkCodec
from tersor.codecs.parallel import Progress
from tersor.container import Reader
from tersor.files.coerce import audio_source
from tersor.signals import Audio, AudioSource


class AudioCodec(ChunkCodec[Audio, AudioAssembly, AudioEncodeOptions, AudioDecodeOptions]):
    """Sound in, small files out.

    Signals are Audio, sources that give it block by block, paths or bytes of sound files, and arrays
    [samples] or [samples, channels] with `rate`. `encode_to` and `open` need memory for a few segments.
    """

    name = "audio"
    wire_id = WIRE_ID
    encode_options = ENCODE
    decode_options = DECODE
    opened_type = OpenedAudio
    torch_in_team = True

    def signal_of(self, x: object, options: AudioEncodeOptions) -> Audio | AudioSource:
        return audio_source(x, options.get("rate"))

    def chunks_of(
        self, signal: Audio | AudioSource, options: AudioEncodeOptions, progress: Progress | None
    ) -> Coded:
        header = header_of(signal, options)
        samples = 0

        def blocks() -> Iterator[Numbers]:
            nonlocal samples
            for x in pieces(signal, header.segment):
                check_finite(x, samples)
                samples += len(x)
                yield x
                if progress:
                    progress(samples, max(header.samples, getattr(signal, "expected", 0), samples))

        def payloads() -> Iterator[bytes]:
            encoder: PcmEncoder | TransformEncoder
            if header.mode == "lossless":
                encoder = PcmEncoder(header)
            else:
                encoder = TransformEncoder(header, Target.of(options), team=self.team)
            for x in blocks():
                yield from encoder.push(x)
            yield from encoder.finish()

        def last_header() -> bytes:
            if progress:
                progress(samples, samples)
            return replace(header, samples=samples).pack()

        self._bound_torch(header.channels)
        return Coded(header=last_header, metadata=metadata_of(signal), payloads=payloads())

    def assembly(self, reader: Reader, options: AudioDecodeOptions) -> AudioAssembly:
        found = AudioAssembly(reader, options)
        self._bound_torch(found.header.channels)
        return found

    def decode_chunks(self, jobs: Sequence[Job[AudioAssembly]]) -> list[Numbers]:
        return [j.of.decode(j.chunk, j.payload) for j in jobs]

    def _bound_torch(self, channels: int) -> None:
        """Only the net of speech, of one channel, runs in torch, which is loaded when it is met; a number of
        threads that was asked for binds it only if it is there before.
        """
        if self.threads and channels == 1:
            with contextlib.suppress(ImportError):
                importlib.import_module("torch")

    def stream(
        self, *, rate: int, channels: int = 1, dtype: Any = np.int16, keep: bool = True, **options: object
    ) -> AudioStream:
        """Encode sound as it comes: see `AudioStream`.

        Args:
            rate: samples a second.
            channels: 1 to 8.
            dtype: of the samples that will come.
            keep: packets for `AudioStream.finish`; without, memory stays the same however long it goes on.
            options: of `encode_batch`; segments are 0.5 s if not said otherwise.
        """
        asked = ENCODE.check({"segment": STREAM_SECONDS} | options)
        audio = Audio(samples=np.zeros((0, channels), dtype), rate=rate)
        return AudioStream(header_of(audio, asked), asked, keep)
