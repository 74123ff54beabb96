"""Established video codecs through PyAV: bytes of the elementary stream, decoded planes, speed on one thread.

Bytes are those of the packets, without a container, less the user data that x264 (0.6 kB) and x265 (2.3 kB)
write about themselves: NAL units of supplemental enhancement information (SEI), payload type 5 (ITU-T H.264
D.1.6, H.265 D.2.6). On a short clip that text would be up to a third.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from tersor.errors import MissingDependencyError, SignalError
from tersor.files.pixels import frame_of, pixel_format, plane_array
from tersor.signals.colour import Planes
from tersor.signals.video import Video

CRFS = {
    "x264": (20, 25, 30, 35),
    "x265": (20, 25, 30, 35),
    "svtav1": (24, 34, 44, 54),
    "vp9": (24, 34, 44, 54),
}
ENCODERS = {"x264": "libx264", "x265": "libx265", "svtav1": "libsvtav1", "vp9": "libvpx-vp9"}
DECODERS = {"x264": "h264", "x265": "hevc", "svtav1": "libdav1d", "vp9": "vp9"}
MODES = ("low delay", "random access")
TUNED = ("x264", "x265")  # whose defaults are not for PSNR
SEI_TYPES = {"x264": (6,), "x265": (39, 40)}
USER_DATA = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One way to run an encoder.

    Attributes:
        family: "x264", "x265", "svtav1" or "vp9".
        preset: of the encoder.
        mode: "low delay": no frame waits for a later one; "random access": the encoder's usual pyramid; one
            intra frame in both.
        tuned: for PSNR: without adaptive quantisation and psychovisual decisions.
    """

    family: str
    preset: str
    mode: str
    tuned: bool = False

    @property
    def name(self) -> str:
        return f"{self.family}-{self.preset}" + (" psnr" if self.tuned else "")

    def options(self, crf: int) -> dict[str, str]:
        """Of FFmpeg's encoder."""
        low = self.mode == MODES[0]
        if self.family == "x264":
            tune = [t for t, on in (("psnr", self.tuned), ("zerolatency", low)) if on]
            params = "keyint=9999:scenecut=0:threads=1:lookahead-threads=1"
            return {
                "preset": self.preset,
                "crf": str(crf),
                "x264-params": params,
                **({"tune": ",".join(tune)} if tune else {}),
            }
        if self.family == "x265":
            params = "keyint=9999:scenecut=0:pools=none:frame-threads=1:wpp=0:log-level=none"
            params += ":aq-mode=0:psy-rd=0:psy-rdoq=0" if self.tuned else ""
            return {
                "preset": self.preset,
                "crf": str(crf),
                "x265-params": params,
                **({"tune": "zerolatency"} if low else {}),
            }
        if self.family == "svtav1":
            params = "lp=1:tune=1:keyint=-1:scd=0" + (":pred-struct=1" if low else "")
            return {"preset": self.preset, "crf": str(crf), "svtav1-params": params}
        lag = (
            {"lag-in-frames": "0", "auto-alt-ref": "0"}
            if low
            else {"lag-in-frames": "25", "auto-alt-ref": "1"}
        )
        return {
            "deadline": "good",
            "cpu-used": self.preset,
            "crf": str(crf),
            "b": "0",
            "row-mt": "0",
            "g": "9999",
            **lag,
        }


PRESETS = {"x264": ("medium",), "x265": ("medium",), "svtav1": ("8",), "vp9": ("2",)}


def variants(family: str, mode: str) -> list[Variant]:
    """The usual ways to run an encoder in a mode.

    Raises:
        SignalError: not a known encoder.
        MissingDependencyError: this PyAV was built without it.
    """
    import av

    if family not in ENCODERS:
        raise SignalError(f"no anchor is called '{family}'; there are {', '.join(ENCODERS)}")
    if ENCODERS[family] not in av.codecs_available:
        raise MissingDependencyError(
            f"{family} needs a PyAV with {ENCODERS[family]}; the wheels of pip have it"
        )
    return [
        Variant(family=family, preset=p, mode=mode, tuned=t)
        for p in PRESETS[family]
        for t in ((False, True) if family in TUNED else (False,))
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Coded:
    """A clip that went through a codec.

    Attributes:
        size: bytes that count.
        left_out: bytes of text that do not.
        video: decoded.
        encode_seconds, decode_seconds: of the process's CPU time.
    """

    size: int
    left_out: int
    video: list[Planes]
    encode_seconds: float
    decode_seconds: float


def run_anchor(variant: Variant, video: Video, crf: int) -> Coded:
    """Encode and decode a clip.

    Raises:
        SignalError: planes that the encoder does not take.
    """
    import av

    os.environ.setdefault("SVT_LOG", "1")  # it tells its settings otherwise
    encoder: Any = av.CodecContext.create(ENCODERS[variant.family], "w")
    pixels = pixel_format(video.format)
    encoder.width, encoder.height, encoder.pix_fmt = video.width, video.height, pixels
    rate = video.rate
    encoder.time_base, encoder.framerate, encoder.thread_count = 1 / rate, rate, 1
    encoder.options = variant.options(crf)
    frames = []
    for i, planes in enumerate(video.frames()):
        frame = frame_of(planes, pixels)
        frame.pts, frame.time_base = i, Fraction(1) / rate
        frames.append(frame)
    began = time.process_time()
    try:
        packets = [p for f in frames for p in encoder.encode(f)] + list(encoder.encode(None))
    except (av.FFmpegError, ValueError) as e:
        raise SignalError(
            f"{variant.name} does not take {pixels} of {video.width}x{video.height} ({e})"
        ) from e
    encode_seconds = time.process_time() - began
    decoder: Any = av.CodecContext.create(DECODERS[variant.family], "r")
    decoder.thread_count = 1
    if encoder.extradata:
        decoder.extradata = encoder.extradata
    began = time.process_time()
    decoded = [f for p in packets for f in decoder.decode(p)] + list(decoder.decode(None))
    decode_seconds = time.process_time() - began
    decoded.sort(key=lambda f: f.pts if f.pts is not None else 0)
    assert len(decoded) == len(frames), f"{variant.name}: {len(decoded)} of {len(frames)} frames came back"
    left_out = sum(user_data_bytes(bytes(p), variant.family) for p in packets)
    return Coded(
        size=sum(p.size for p in packets) - left_out,
        left_out=left_out,
        video=[tuple(plane_array(p, video.format.depth) for p in f.planes) for f in decoded],
        encode_seconds=encode_seconds,
        decode_seconds=decode_seconds,
    )


def user_data_bytes(packet: bytes, family: str) -> int:
    """Bytes of the SEI NAL units with unregistered user data in an Annex B packet, start codes included."""
    if family not in SEI_TYPES:
        return 0
    data = np.frombuffer(packet, np.uint8)
    starts = np.flatnonzero((data[:-2] == 0) & (data[1:-1] == 0) & (data[2:] == 1))
    begins = [int(s) - (s > 0 and packet[s - 1] == 0) for s in starts] + [len(packet)]
    total = 0
    for i, start in enumerate(starts):
        first = packet[start + 3]
        kind, at = (first & 31, 1) if family == "x264" else ((first >> 1) & 63, 2)
        if kind in SEI_TYPES[family] and packet[start + 3 + at] == USER_DATA:
            total += begins[i + 1] - begins[i]
    return total
