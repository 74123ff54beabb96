"""Established codecs for sound, through PyAV: bytes of packets and of the file, decoded samples without
delay.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from tersor.arrays import Numbers
from tersor.errors import SignalError
from tersor.metrics.audio import Floats, resample

ANCHORS = ("opus", "mp3", "aac")
OPUS_RATES = (8000, 12000, 16000, 24000, 48000)
OPUS_MODES = tuple(
    (a, d)
    for a in ("audio", "voip", "lowdelay")
    for d in ("20", "60", "10")
    if not (a == "lowdelay" and d == "60")
)
MP3_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
ALIGN_SECONDS = 0.12


@dataclass(frozen=True, slots=True, kw_only=True)
class Coded:
    """What a codec made of a sound.

    Attributes:
        payload_bytes: of the packets.
        file_bytes: of the file.
        y: decoded, float64 [C, n], as long as the input and in time with it.
        mode: of the codec.
    """

    payload_bytes: int
    file_bytes: int
    y: Floats
    mode: str


def modes(name: str) -> list[tuple[str, dict[str, str]]]:
    """Name and options of every mode of an anchor that is tried.

    Raises:
        SignalError: unknown name.
    """
    if name not in ANCHORS:
        raise SignalError(f"no anchor for audio is called '{name}'; there are {', '.join(ANCHORS)}")
    if name == "opus":
        return [
            (f"{a} {d} ms", {"application": a, "frame_duration": d, "vbr": "on", "compression_level": "10"})
            for a, d in OPUS_MODES
        ]
    return [("abr", {"abr": "1"} if name == "mp3" else {})]


def run_anchor(
    name: str, x: Floats, rate: int, bitrate_kbps: float, mode: tuple[str, dict[str, str]]
) -> Coded:
    """Encode to a file and decode it again.

    Args:
        x: float64 [C, n], full scale 1, one or two channels.
    """
    import av

    codec, form = {"opus": ("libopus", "ogg"), "mp3": ("libmp3lame", "mp3"), "aac": ("aac", "mp4")}[name]
    allowed = {"opus": OPUS_RATES, "mp3": MP3_RATES, "aac": (*MP3_RATES, 96000)}[name]
    internal = min((r for r in allowed if r >= rate), default=48000)
    layout = "mono" if len(x) == 1 else "stereo"
    data = resample(x, rate, internal)
    file = io.BytesIO()
    with av.open(file, "w", format=form) as out:
        stream: Any = out.add_stream(codec, rate=internal, layout=layout)
        stream.codec_context.bit_rate = int(bitrate_kbps * 1000)
        stream.codec_context.options = mode[1]
        kind = "fltp" if name != "opus" else "flt"
        samples = data if kind == "fltp" else data.T.reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(samples.astype(np.float32)), format=kind, layout=layout
        )
        frame.sample_rate, frame.pts, frame.time_base = internal, 0, Fraction(1, internal)
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    back: Any
    with av.open(io.BytesIO(file.getvalue())) as back:
        payload = sum(p.size for p in back.demux(back.streams.audio[0]))
    with av.open(io.BytesIO(file.getvalue())) as back:
        to = av.AudioResampler(format="fltp", layout=layout)
        parts, decoded_rate = [], internal
        for f in back.decode(back.streams.audio[0]):
            decoded_rate = f.sample_rate
            parts += [g.to_ndarray() for g in to.resample(f)]
    y = resample(np.concatenate(parts, 1).astype(np.float64), decoded_rate, rate)
    return Coded(payload_bytes=payload, file_bytes=len(file.getvalue()), y=aligned(x, y, rate), mode=mode[0])


def aligned(x: Floats, y: Floats, rate: int) -> Floats:
    """y shifted to where it is most like x, and cut to its length."""
    n, reach = x.shape[1], int(rate * ALIGN_SECONDS)
    padded = np.pad(y, ((0, 0), (reach, max(0, n + reach - y.shape[1]))))
    size = 1 << (padded.shape[1] + n).bit_length()
    likeness: Numbers = np.fft.irfft(
        np.conj(np.fft.rfft(x.mean(0), size)) * np.fft.rfft(padded.mean(0), size), size
    )
    lag = int(np.argmax(likeness[: 2 * reach + 1]))
    return np.asarray(padded[:, lag : lag + n])
