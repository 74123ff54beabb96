"""One segment of the transform mode: coefficients to a payload and back.

payload = i16 gain | slopes, level bands, tilt, shrink, noise (u8 each) | angles, u8 [pairs, bands] | adaptive code
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tersor.codecs.audio_bands import band_edges, band_tilt, block_length
from tersor.codecs.audio_frames import ANGLES, OFFSET_EXPONENT, SYMBOL_MAX, Ints, choose_angles, dequantise, envelope_of, quantise, rotate, steps_of, synthesis
from tersor.codecs.audio_loops import code_segment
from tersor.codecs.lapped import Floats
from tersor.container import ByteReader
from tersor.entropy.adaptive import AdaptiveTables
from tersor.entropy.mixing import AT, finish_encoding, new_io, start_decoding
from tersor.errors import BitstreamError
from tersor.timing import stage

GAIN_MIN, GAIN_MAX = -2048, 2047
_FRONT = struct.Struct("<hBBBBBBB")
UNIT = 64
MAX_TILT = 128
FINE_GAIN, COARSE_GAIN = 135, 200
FINE_TILT, COARSE_TILT = 16, 32
COARSER = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Shaping:
    """How noise lies in a segment; every number is in the payload.

    Attributes:
        gain: exponent of the step, 1/32 octave.
        slope: how much the step follows the envelope along frequency, sixteenths.
        level_slope: how much it follows the level along time, sixteenths.
        level_bands: the lowest bands whose mean is the level.
        tilt: what the step's exponent grows by in an octave above 2 kHz.
        shrink: what magnitudes lose in reconstruction, 1/64 step.
        fill: level of the noise in coded bands, 1/64.
        fill_empty: in bands that are not coded, 1/64.
    """

    gain: int = 0
    slope: int = 5
    level_slope: int = 9
    level_bands: int = 12
    tilt: int = 32
    shrink: int = 3
    fill: int = 19
    fill_empty: int = 32

    def shape(self) -> NDArray[np.int64]:
        return np.array([self.gain, self.slope, self.level_slope, self.level_bands], np.int64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Frames:
    """The coefficients of a segment, ready to be coded at any gain.

    Attributes:
        x: [C, T, block], channel pairs rotated.
        splits: [T].
        angles: [pairs, bands].
        envelope: [C, T, bands].
    """

    x: Floats
    splits: NDArray[np.uint8]
    angles: NDArray[np.uint8]
    envelope: Ints


def prepare(x: Floats, splits: NDArray[np.uint8], rate: int) -> Frames:
    """Rotate pairs of channels and measure the envelope; x is changed."""
    edges = band_edges(rate, x.shape[2])
    angles = choose_angles(x, edges)
    rotate(x, angles, edges)
    return Frames(x=x, splits=splits, angles=angles, envelope=envelope_of(x, edges))


def encode_frames(frames: Frames, rate: int, shaping: Shaping, rounding: float, tables: AdaptiveTables) -> bytes:
    """The payload at one gain."""
    edges = band_edges(rate, frames.x.shape[2])
    shape, tilt = shaping.shape(), band_tilt(rate, frames.x.shape[2], shaping.tilt)
    with stage("quantise"):
        q = quantise(frames.x, frames.envelope, shape, tilt, edges, rounding)
        while np.abs(q).max(initial=0) >= SYMBOL_MAX and shaping.gain < GAIN_MAX:  # steps too fine for what is that loud
            shaping = replace(shaping, gain=min(shaping.gain + COARSER, GAIN_MAX))
            shape = shaping.shape()
            q = quantise(frames.x, frames.envelope, shape, tilt, edges, rounding)
    s = shaping
    front = _FRONT.pack(s.gain, s.slope, s.level_slope, s.level_bands, s.tilt, s.shrink, s.fill, s.fill_empty) + frames.angles.tobytes()
    io = new_io(False)
    buffer = np.empty(4 * q.size + 1024, np.uint8)
    with stage("entropy"):
        code_segment(io, buffer, tables.model("audio"), loop_tables(tables), shape, tilt, frames.splits.copy(), frames.envelope.copy(), q, edges)
        finish_encoding(io, buffer)
    assert io[AT] <= len(buffer)
    return front + buffer[: io[AT]].tobytes()


def estimated_bits(frames: Frames, rate: int, shaping: Shaping) -> float:
    """About what coefficients cost at a gain, from the envelope alone; proportional, not exact."""
    edges = band_edges(rate, frames.x.shape[2])
    steps, coded = steps_of(frames.envelope, shaping.shape(), band_tilt(rate, frames.x.shape[2], shaping.tilt))
    rms = 2.0 ** (frames.envelope / 2 - OFFSET_EXPONENT)
    return float((np.where(coded, np.log2(1 + 1.5 * rms / steps), 0) * np.diff(edges)).sum() + frames.envelope.size)


def loop_tables(tables: AdaptiveTables) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Logarithms and powers of two, as the loops want them."""
    return tables.tensors["levels"], tables.tensors["powers"]


def read_symbols(payload: bytes, rate: int, channels: int, frames: int, tables: AdaptiveTables, name: str) -> tuple[Shaping, Frames, Ints]:
    """The integers of a payload: its shaping, splits, angles and envelope (Frames without coefficients) and q [C, T, block].

    Raises:
        BitstreamError: not a payload of this shape.
    """
    block = block_length(rate)
    edges = band_edges(rate, block)
    bands = len(edges) - 1
    reader = ByteReader(payload, name)
    shaping = Shaping(**dict(zip(Shaping.__slots__, _FRONT.unpack(reader.take(_FRONT.size)), strict=True)))
    if not GAIN_MIN <= shaping.gain <= GAIN_MAX or not shaping.level_bands or max(shaping.slope, shaping.level_slope) > 16 or shaping.tilt > MAX_TILT:
        raise BitstreamError(f"{name}: {shaping} is not valid; the file is damaged")
    angles = np.frombuffer(reader.take(channels // 2 * bands), np.uint8).reshape(channels // 2, bands)
    if angles.size and angles.max() >= ANGLES:
        raise BitstreamError(f"{name}: angle {angles.max()}, allowed are 0 to {ANGLES - 1}; the file is damaged")
    code = np.frombuffer(bytearray(payload[reader.at :]), np.uint8)
    io = new_io(True)
    splits, envelope, q = np.zeros(frames, np.uint8), np.zeros((channels, frames, bands), np.int32), np.zeros((channels, frames, block), np.int32)
    with stage("entropy"):
        start_decoding(io, code, len(code))
        tilt = band_tilt(rate, block, shaping.tilt)
        code_segment(io, code, tables.model("audio"), loop_tables(tables), shaping.shape(), tilt, splits, envelope, q, edges)
    if not io[AT] - 4 < len(code) <= io[AT]:
        raise BitstreamError(f"{name}: the symbols end at byte {io[AT]} of {len(code)}; the file is damaged or was written with other tables")
    return shaping, Frames(x=np.zeros((channels, 0, block)), splits=splits, angles=angles, envelope=envelope), q


def decode_frames(payload: bytes, rate: int, channels: int, frames: int, tables: AdaptiveTables, seed: int, name: str) -> Floats:
    """Samples [C, T block] whose outer borders are still folded."""
    shaping, coded, q = read_symbols(payload, rate, channels, frames, tables, name)
    edges = band_edges(rate, q.shape[2])
    tilt = band_tilt(rate, q.shape[2], shaping.tilt)
    with stage("synthesis"):
        x = dequantise(q, coded.envelope, shaping.shape(), tilt, edges, shaping.shrink / UNIT, (shaping.fill / UNIT, shaping.fill_empty / UNIT), seed)
        rotate(x, coded.angles, edges, inverse=True)
        return synthesis(x, coded.splits)


def at_gain(shaping: Shaping, gain: int) -> Shaping:
    """The shaping at a gain: high frequencies get a larger part of a high rate."""
    part = min(max((gain - FINE_GAIN) / (COARSE_GAIN - FINE_GAIN), 0.0), 1.0)
    return replace(shaping, gain=int(min(max(gain, GAIN_MIN), GAIN_MAX)), tilt=round(FINE_TILT + (COARSE_TILT - FINE_TILT) * part))
