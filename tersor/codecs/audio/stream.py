"""Sound as it comes: packets out of an encoder, samples out of a decoder, with a stated latency.

A packet is the payload of a segment with its number of samples; packets, in order, with the header are all
that a decoder needs.
"""

from __future__ import annotations

import zlib
from dataclasses import replace

import numpy as np

from tersor import container
from tersor.arrays import Numbers
from tersor.codecs.audio.bands import block_length
from tersor.codecs.audio.decode import TransformDecoder
from tersor.codecs.audio.encode import PcmEncoder, TransformEncoder
from tersor.codecs.audio.header import WIRE_ID, AudioHeader
from tersor.codecs.audio.mdct import BORDER
from tersor.codecs.audio.options import AudioEncodeOptions, Target
from tersor.codecs.audio.pcm import decode_pcm
from tersor.codecs.audio.samples import from_pcm
from tersor.codecs.audio.source import check_finite
from tersor.container import ByteReader, put_uvarint
from tersor.entropy.binary_tables import adaptive_tables
from tersor.errors import BitstreamError, ChecksumError, SignalError


class AudioStream:
    """An encoder for sound that has not ended. Latency: the segment, and a sixteenth of a 20 ms block.

    Example:
        stream = tersor.Codec("audio").stream(rate=48000, channels=2, bitrate=64, segment=0.5)
        receiver = stream.decoder()
        for block in microphone:                       # int16 [n, 2]
            for packet in stream.push(block):
                play(receiver.push(packet))
        file = stream.finish()                         # a whole .tsr file

    Args:
        header: of the sound.
        options: that were checked.
        keep: packets for `finish`; without, memory depends on the segment alone.
    """

    def __init__(self, header: AudioHeader, options: AudioEncodeOptions, keep: bool = True) -> None:
        self.header = header
        self._keep, self._packets = keep, 0
        self._encoder = (
            PcmEncoder(header)
            if header.mode == "lossless"
            else TransformEncoder(header, Target.of(options), group=1)
        )
        self._payloads: list[bytes] = []
        self._samples = 0
        self._rest: list[bytes] | None = None

    @property
    def latency_seconds(self) -> float:
        """From a sample going in to the packet that holds it coming out."""
        overlap = block_length(self.header.rate) // BORDER if self.header.mode == "transform" else 0
        return (self.header.segment + overlap) / self.header.rate

    def push(self, x: Numbers) -> list[bytes]:
        """Samples [n, channels] -> packets that are finished.

        Raises:
            SignalError: samples of another type or shape than the stream's, or that are not numbers.
        """
        x = np.asarray(x)
        x = x[:, None] if x.ndim == 1 else x
        if x.dtype != self.header.dtype or x.ndim != 2 or x.shape[1] != self.header.channels:
            raise SignalError(
                f"the stream takes {self.header.dtype} [n, {self.header.channels}], "
                f"not {x.dtype} {list(x.shape)}"
            )
        check_finite(x, self._samples)
        if self._rest is not None:
            raise SignalError("the stream is finished; make another")
        self._samples += len(x)
        return [self._packet(p) for p in self._encoder.push(x)]

    def end(self) -> list[bytes]:
        """The last packets."""
        if self._rest is None:
            self._rest = [self._packet(p) for p in self._encoder.finish()]
        return self._rest

    def finish(self) -> bytes:
        """All of it as a .tsr file.

        Raises:
            SignalError: the packets were not kept.
        """
        self.end()
        if not self._keep:
            raise SignalError("the stream kept no packets to make a file of; open it with keep=True")
        return container.write(
            WIRE_ID, replace(self.header, samples=self._samples).pack(), {}, self._payloads
        )

    def _packet(self, payload: bytes) -> bytes:
        length = min(self.header.segment, self._samples - self._packets * self.header.segment)
        body = put_uvarint(self._packets) + put_uvarint(length) + payload
        self._packets += 1
        if self._keep:
            self._payloads.append(payload)
        return zlib.crc32(body).to_bytes(4, "little") + body

    def decoder(self) -> PacketDecoder:
        """For the packets of this stream; elsewhere, make it from `header.pack()`."""
        return PacketDecoder(self.header.pack())


class PacketDecoder:
    """Packets of an `AudioStream` in, samples out; the last 1.25 ms of each wait for the next.

    Args:
        header: `AudioStream.header.pack()`.
    """

    def __init__(self, header: bytes) -> None:
        self.header = replace(AudioHeader.unpack(header, None), samples=0)
        self._next = 0
        self._transform: TransformDecoder | None = None
        self._given = 0

    def push(self, packet: bytes) -> Numbers:
        """The samples [n, channels] that are finished.

        Raises:
            BitstreamError: a damaged packet, or one out of order.
        """
        body = packet[4:]
        if zlib.crc32(body).to_bytes(4, "little") != packet[:4]:
            raise ChecksumError(f"packet {self._next}: its checksum is wrong; it is damaged")
        r = ByteReader(body, f"packet {self._next}")
        index, length = r.uvarint(1 << 40, "number"), r.uvarint(self.header.segment, "length")
        if index != self._next:
            raise BitstreamError(
                f"packet {index} came where packet {self._next} was due; give all packets in order"
            )
        self._next += 1
        self.header = replace(self.header, samples=self.header.samples + length)
        if self.header.mode == "lossless":
            tables = adaptive_tables(self.header.digest)
            return from_pcm(
                decode_pcm(body[r.at :], length, self.header.channels, tables, f"packet {index}"),
                self.header,
            )
        decoder = TransformDecoder(self.header)
        if self._transform:
            decoder.take_over(self._transform)
        self._transform = decoder
        return self._trim(decoder.push(decoder.read(index, body[r.at :])))

    def finish(self) -> Numbers:
        """What was held back."""
        return (
            self._trim(self._transform.finish())
            if self._transform
            else np.zeros((0, self.header.channels), self.header.dtype)
        )

    def _trim(self, x: Numbers) -> Numbers:
        x = x[: self.header.samples - self._given]
        self._given += len(x)
        return x
