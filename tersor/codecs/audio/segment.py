"""One segment of the transform mode: coefficients to a payload and back.

payload = i16 gain | u8 profile | angles, u8 [pairs, bands] | adaptive code
adaptive code = splits and envelopes | shapes, if the profile has them | coefficients
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tersor.codecs.audio.bands import band_edges, block_length
from tersor.codecs.audio.mdct import Floats
from tersor.codecs.audio.noise_shaping import (
    PROFILES,
    Exponents,
    Ints,
    Profile,
    coded_bands,
    heights_of,
    rms_of,
    step_exponents,
    steps_of,
)
from tersor.codecs.audio.segment_loops import code_coefficients, code_side
from tersor.codecs.audio.shape_loops import code_shapes
from tersor.codecs.audio.shapes import dequantise_shaped, open_parts, parts_of, shapes_of
from tersor.codecs.audio.speech_features import features_of
from tersor.codecs.audio.transform import (
    ANGLES,
    SYMBOL_MAX,
    TOLERANCE,
    Tolerance,
    choose_angles,
    dequantise,
    envelope_of,
    quantise,
    rotate,
    synthesis,
)
from tersor.container import ByteReader
from tersor.entropy.binary import AT, finish_encoding, new_io, start_decoding
from tersor.entropy.binary_tables import AdaptiveTables
from tersor.errors import BitstreamError
from tersor.timing import stage

GAIN_MIN, GAIN_MAX = -2048, 2047  # F
COARSER = 16  # G: half an octave, tried where symbols get too large
_FRONT = struct.Struct("<hB")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shaping:
    """How noise lies in a segment.

    Attributes:
        gain: exponent of the step, 1/32 octave.
        profile: index of one of `PROFILES`.
    """

    gain: int
    profile: int

    def __post_init__(self) -> None:
        if not GAIN_MIN <= self.gain <= GAIN_MAX or self.profile >= len(PROFILES):
            raise BitstreamError(
                f"{self}: allowed are gains {GAIN_MIN} to {GAIN_MAX}, profiles 0 to {len(PROFILES) - 1}; "
                "the file is damaged or newer"
            )

    def exponents(self, envelope: Ints, rate: int, block: int) -> Exponents:
        """Of the steps, [C, T, bands]."""
        return step_exponents(envelope, self.gain, PROFILES[self.profile], rate, block)


@dataclass(frozen=True, slots=True, kw_only=True)
class Frames:
    """The coefficients of a segment, ready to be coded at any gain.

    Attributes:
        x: [C, T, block], channel pairs rotated.
        splits: [T].
        angles: [pairs, bands].
        envelope: [C, T, bands].
        shapes: [C, T, parts], of frames that were decoded with a profile that has them.
    """

    x: Floats
    splits: NDArray[np.uint8]
    angles: NDArray[np.uint8]
    envelope: Ints
    shapes: Ints | None = None


def prepare(x: Floats, splits: NDArray[np.uint8], rate: int, tolerance: Tolerance = TOLERANCE) -> Frames:
    """Rotate pairs of channels and measure the envelope; x is changed.

    Args:
        tolerance: steps of 4.5 dB that an envelope may be off; one, or one for each band.
    """
    edges = band_edges(rate, x.shape[2])
    angles = choose_angles(x, edges)
    rotate(x, angles, edges)
    return Frames(x=x, splits=splits, angles=angles, envelope=envelope_of(x, edges, tolerance))


def encode_frames(
    frames: Frames, rate: int, shaping: Shaping, rounding: float, tables: AdaptiveTables
) -> bytes:
    """The payload at one gain; a larger one where steps are too fine for what is that loud."""
    block = frames.x.shape[2]
    edges = band_edges(rate, block)
    with stage("quantise"):
        exponents = shaping.exponents(frames.envelope, rate, block)
        q = quantise(frames.x, frames.envelope, exponents, edges, rounding)
    if np.abs(q).max(initial=0) >= SYMBOL_MAX and shaping.gain + COARSER <= GAIN_MAX:
        return encode_frames(
            frames, rate, Shaping(gain=shaping.gain + COARSER, profile=shaping.profile), rounding, tables
        )
    io = new_io(False)
    buffer = np.empty(4 * q.size + 1024, np.uint8)
    with stage("entropy"):
        shaped = PROFILES[shaping.profile].shaped
        model = tables.model("voice" if shaped else "audio")
        code_side(io, buffer, model, frames.splits.copy(), frames.envelope.copy())
        if shaped:
            parts = parts_of(rate, block)
            is_open = open_parts(frames.envelope, exponents, parts)
            shapes = shapes_of(frames.x, frames.envelope, exponents, parts)
            code_shapes(io, buffer, tables.model("shape"), is_open, parts.bands, shapes)
        code_coefficients(
            io,
            buffer,
            model,
            loop_tables(tables),
            exponents,
            heights_of(frames.envelope, exponents),
            frames.splits,
            q,
            edges,
        )
        finish_encoding(io, buffer)
    assert io[AT] <= len(buffer)
    return _FRONT.pack(shaping.gain, shaping.profile) + frames.angles.tobytes() + buffer[: io[AT]].tobytes()


def estimated_bits(frames: Frames, rate: int, shaping: Shaping) -> float:
    """About what coefficients cost at a gain, from the envelope alone; proportional, not exact."""
    block = frames.x.shape[2]
    exponents = shaping.exponents(frames.envelope, rate, block)
    each = np.where(
        coded_bands(frames.envelope, exponents),
        np.log2(1 + 1.5 * rms_of(frames.envelope) / steps_of(exponents)),
        0,
    )
    return float((each * np.diff(band_edges(rate, block))).sum() + frames.envelope.size)


def loop_tables(tables: AdaptiveTables) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Logarithms and powers of two, as the loops want them."""
    return tables.tensors["levels"], tables.tensors["powers"]


def read_symbols(
    payload: bytes, rate: int, channels: int, frames: int, tables: AdaptiveTables, name: str
) -> tuple[Shaping, Frames, Ints]:
    """The integers of a payload: its shaping, splits, angles and envelope (Frames without coefficients) and q
    [C, T, block].

    Raises:
        BitstreamError: not a payload of this shape.
    """
    block = block_length(rate)
    edges = band_edges(rate, block)
    bands = len(edges) - 1
    reader = ByteReader(payload, name)
    gain, profile = _FRONT.unpack(reader.take(_FRONT.size))
    try:
        shaping = Shaping(gain=gain, profile=profile)
    except BitstreamError as e:
        raise BitstreamError(f"{name}: {e}") from None
    shaped = PROFILES[profile].shaped
    if shaped and not tables.has("voice"):
        raise BitstreamError(f"{name}: profile {profile} needs tables of speech; the file is damaged")
    angles = np.frombuffer(reader.take(channels // 2 * bands), np.uint8).reshape(channels // 2, bands)
    if angles.size and angles.max() >= ANGLES:
        raise BitstreamError(
            f"{name}: angle {angles.max()}, allowed are 0 to {ANGLES - 1}; the file is damaged"
        )
    code = np.frombuffer(bytearray(payload[reader.at :]), np.uint8)
    io = new_io(True)
    splits, envelope, q = (
        np.zeros(frames, np.uint8),
        np.zeros((channels, frames, bands), np.int32),
        np.zeros((channels, frames, block), np.int32),
    )
    with stage("entropy"):
        start_decoding(io, code, len(code))
        model = tables.model("voice" if shaped else "audio")
        code_side(io, code, model, splits, envelope)
        exponents = shaping.exponents(envelope, rate, block)
        shapes = None
        if shaped:
            parts = parts_of(rate, block)
            shapes = np.zeros((channels, frames, len(parts.bands)), np.int32)
            is_open = open_parts(envelope, exponents, parts)
            code_shapes(io, code, tables.model("shape"), is_open, parts.bands, shapes)
        code_coefficients(
            io, code, model, loop_tables(tables), exponents, heights_of(envelope, exponents), splits, q, edges
        )
    if not io[AT] - 4 < len(code) <= io[AT]:
        raise BitstreamError(
            f"{name}: the symbols end at byte {io[AT]} of {len(code)}; "
            "the file is damaged or was written with other tables"
        )
    return (
        shaping,
        Frames(
            x=np.zeros((channels, 0, block)), splits=splits, angles=angles, envelope=envelope, shapes=shapes
        ),
        q,
    )


def decode_frames(
    payload: bytes, rate: int, channels: int, frames: int, tables: AdaptiveTables, seed: int, name: str
) -> Floats:
    """Samples [C, T block] whose outer borders are still folded."""
    shaping, coded, q = read_symbols(payload, rate, channels, frames, tables, name)
    with stage("synthesis"):
        x = reconstruct(q, coded, rate, shaping, seed, tables)
        rotate(x, coded.angles, band_edges(rate, q.shape[2]), inverse=True)
        return synthesis(x, coded.splits)


def reconstruct(
    q: Ints, frames: Frames, rate: int, shaping: Shaping, seed: int, tables: AdaptiveTables
) -> Floats:
    """Coefficients [C, T, block] from what was coded, channel pairs still rotated; those of speech as the net
    in the tables will have them.
    """
    profile, exponents = PROFILES[shaping.profile], shaping.exponents(frames.envelope, rate, q.shape[2])
    x = with_noise(q, frames, rate, exponents, profile, seed)
    if profile.net:
        with stage("net"):
            edges = band_edges(rate, q.shape[2])
            heights = heights_of(frames.envelope, exponents)
            features = features_of(q, frames.envelope, heights, frames.splits, edges)
            _fill_noise(x, q, features, tables)
    return x


def _fill_noise(x: Floats, q: Ints, features: NDArray[np.float32], tables: AdaptiveTables) -> None:
    """In torch where it is there, which is loaded only now: it takes long, and music does without it."""
    try:
        from tersor.codecs.audio.speech_decode import fill
    except ImportError:
        from tersor.codecs.audio.speech_plain import fill
    fill(x, q, features, tables)


def with_noise(
    q: Ints, frames: Frames, rate: int, exponents: Exponents, profile: Profile, seed: int
) -> Floats:
    """Coefficients [C, T, block] before any net."""
    block = q.shape[2]
    if not profile.shaped:
        return dequantise(q, frames.envelope, exponents, band_edges(rate, block), profile, seed)
    parts = parts_of(rate, block)
    shapes = frames.shapes
    if shapes is None:
        shapes = shapes_of(frames.x, frames.envelope, exponents, parts)
    return dequantise_shaped(q, frames.envelope, exponents, shapes, parts, profile, seed)
