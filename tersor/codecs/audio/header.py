"""The audio codec's header inside the container (FORMAT.md, section "audio")."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np

from tersor.arrays import NumberType
from tersor.container import ByteReader, Reader, put_uvarint
from tersor.errors import BitstreamError
from tersor.facts import Facts

# F, all of them: the order of these lists is on the wire, and readers refuse what is above the limits.
WIRE_ID = 4
MODES = ("transform", "lossless")
ASKED = ("quality", "bitrate", "lossless")
DTYPES = tuple(np.dtype(t) for t in ("i2", "i4", "f4", "f8", "u1"))
MAX_CHANNELS = 8
MAX_SAMPLES = 1 << 40
MAX_SEGMENT = 1 << 23
MIN_RATE, MAX_RATE = 1000, 768_000


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioHeader:
    """What a decoder must know before the first segment.

    Attributes:
        digest: of the tables.
        mode: "transform" or "lossless".
        rate: samples a second.
        channels: 1 to 8.
        samples: of each channel.
        dtype: of the samples, as they went in.
        bits: that are significant in an integer sample, from the top.
        segment: samples of a segment; the last may be shorter.
        asked: what the encoder was asked for, "quality", "bitrate" or "lossless".
        value: of it; kbit/s for bitrate.
    """

    digest: bytes
    mode: str
    rate: int
    channels: int
    samples: int
    dtype: NumberType
    bits: int
    segment: int
    asked: str
    value: float

    @property
    def n_segments(self) -> int:
        return -(-self.samples // self.segment)

    def length(self, segment: int) -> int:
        """Samples of a segment."""
        return min(self.segment, self.samples - segment * self.segment)

    def pack(self) -> bytes:
        kinds = bytes(
            [
                MODES.index(self.mode),
                self.channels,
                DTYPES.index(self.dtype),
                self.bits,
                ASKED.index(self.asked),
            ]
        )
        return (
            self.digest
            + kinds
            + struct.pack("<d", self.value)
            + put_uvarint(self.rate)
            + put_uvarint(self.segment)
            + put_uvarint(self.samples)
        )

    @classmethod
    def unpack(cls, data: bytes, chunks: int | None) -> AudioHeader:
        """Parse and check against the number of chunks in the file.

        Raises:
            BitstreamError: not an audio header, or one that contradicts the file.
        """
        r = ByteReader(data, "audio header")
        digest = r.take(4)
        mode, channels, dtype, bits, asked = r.take(5)
        (value,) = struct.unpack("<d", r.take(8))
        rate, segment, samples = (
            r.uvarint(MAX_RATE, "sample rate"),
            r.uvarint(MAX_SEGMENT, "length of a segment"),
            r.uvarint(MAX_SAMPLES, "number of samples"),
        )
        r.end()
        if (
            mode >= len(MODES)
            or dtype >= len(DTYPES)
            or asked >= len(ASKED)
            or not 1 <= channels <= MAX_CHANNELS
            or not 1 <= bits <= 64
        ):
            raise BitstreamError(
                f"audio header: mode {mode}, type {dtype}, {channels} channels, "
                f"{bits} bits are not valid; the file is damaged or newer"
            )
        if rate < MIN_RATE or not segment:
            raise BitstreamError(
                f"audio header: sample rate {rate}, segments of {segment} samples are not valid; "
                "the file is damaged"
            )
        header = cls(
            digest=digest,
            mode=MODES[mode],
            rate=rate,
            channels=channels,
            samples=samples,
            dtype=DTYPES[dtype],
            bits=bits,
            segment=segment,
            asked=ASKED[asked],
            value=value,
        )
        if chunks is not None and header.n_segments != chunks:
            raise BitstreamError(
                f"audio header: {header.n_segments} segments needed, the file has {chunks}; it is damaged"
            )
        return header


def describe(reader: Reader) -> Facts:
    """Facts for `tersor info`; checks the header."""
    h = AudioHeader.unpack(reader.header, len(reader.chunk_lengths))
    seconds = h.samples / h.rate
    raw = h.samples * h.channels * h.bits / 8
    return Facts.of(
        reader,
        codec="audio",
        signal="audio",
        suffix=".wav",
        shape=(h.samples, h.channels),
        extra={
            "mode": h.mode if h.asked == "lossless" else f"{h.mode}, {h.asked} {h.value:g}",
            "rate": h.rate,
            "channels": h.channels,
            "samples": h.samples,
            "seconds": round(seconds, 3),
            "type": f"{h.dtype}, {h.bits} bits",
            "segment_seconds": round(h.segment / h.rate, 3),
            "segments": h.n_segments,
            "tables": h.digest.hex(),
            "bitrate_kbps": round(reader.size * 8 / seconds / 1000, 3) if seconds else 0.0,
            "raw_bytes": int(raw),
            "ratio": round(raw / reader.size, 3),
        },
    )
