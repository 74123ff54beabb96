"""Where the noise of the transform mode lies: the step of every band, which sender and receiver derive from
the envelope in integers, and what fills its zeros.

A step follows the envelope along frequency by `slope` and the loudness of the frame by `time`. Where a band
has just risen, or is about to fall, it follows only in part, so the noise of a block does not stand before an
onset or after an end that the ear, and a 32 ms spectrum, can tell apart. Offsets by frequency are the rest of
it. The numbers of a profile were tuned on training sounds; they are part of the format.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tersor.codecs.audio.bands import band_tilt
from tersor.codecs.audio.segment_loops import NOT_CODED

# F, all of them.
EXPONENTS_PER_OCTAVE = 32
ENVELOPE_EXPONENTS = 24
OFFSET_EXPONENT = 4.0
SKIP_BELOW = -56
UNIT = 64
LEVEL_BANDS = 12
FINE_GAIN, COARSE_GAIN = 135, 200
FINE_TILT, COARSE_TILT = 16, 32
BANDS = 22

Ints = NDArray[np.int32]
Exponents = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """How noise lies in a kind of sound.

    Attributes:
        slope: how much the step follows the envelope along frequency, 1/64.
        time: how much it follows the mean of the envelope along time, 1/64.
        rise: what of an increase over the frame before the step does not follow, 1/64.
        fall: what of an excess over the frame after.
        shrink: what magnitudes lose in reconstruction, 1/64 step.
        offsets: of the step's exponent in each band, 1/32 octave.
        fill: level of the noise among coded coefficients, of what the envelope leaves for it, 1/64, for each
            band.
        fill_empty: the same in bands that are not coded.
        net: whether the decoder's net has the last word on the noise.
        shaped: whether bands without coefficients have shapes (`shapes.py`).
        cap: the most that noise among coded coefficients has, 1/64 step; where bands have shapes.
    """

    slope: int
    time: int
    rise: int = 0
    fall: int = 0
    shrink: int
    offsets: tuple[int, ...] = (0,) * BANDS
    fill: tuple[int, ...]
    fill_empty: tuple[int, ...]
    net: bool = False
    shaped: bool = False
    cap: int = 0


SPEECH = Profile(
    net=True,
    slope=28,
    time=37,
    rise=42,
    fall=13,
    shrink=4,
    offsets=(-44, -20, -17, -11, -3, 3, 10, 16, 18, 10, 3, 1, 2, 11, 23, 32, 39, 39, 39, 39, 39, 39),
    fill=(4, 0, 6, 10, 13, 15, 18, 20, 21, 21, 20, 22, 25, 25, 23, 21, 18, 18, 18, 18, 18, 18),
    fill_empty=(32, 34, 32, 34, 37, 37, 37, 37, 35, 32, 30, 27, 26, 26, 29, 30, 31, 31, 31, 31, 31, 31),
)
MUSIC = Profile(slope=20, time=36, rise=24, shrink=3, fill=(32,) * BANDS, fill_empty=(45,) * BANDS)
SHAPED_SPEECH = Profile(
    shaped=True,
    slope=28,
    time=37,
    rise=12,
    fall=23,
    shrink=0,
    offsets=(-40, -16, -13, -7, 6, 12, 19, 25, 27, 16, 3, 7, 15, 24, 42, 45, 52, 52, 52, 52, 52, 52),
    fill=(4, 0, 6, 10, 13, 15, 18, 20, 21, 37, 36, 38, 25, 25, 23, 21, 18, 18, 18, 18, 18, 18),
    fill_empty=(40, 40, 56, 56, 48, 48, 48, 56, 56, 56, 64, 64, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56),
    cap=19,
)
PROFILES = (SPEECH, MUSIC, SHAPED_SPEECH)


def tilt_at(gain: int) -> int:
    """What the exponent grows by in an octave above 2 kHz: high bands get a larger part of a high rate."""
    return FINE_TILT + (COARSE_TILT - FINE_TILT) * min(max(gain - FINE_GAIN, 0), COARSE_GAIN - FINE_GAIN) // (
        COARSE_GAIN - FINE_GAIN
    )


def step_exponents(envelope: Ints, gain: int, profile: Profile, rate: int, block: int) -> Exponents:
    """Exponents of the steps, [C, T, bands], 1/32 octave; both channels of a pair have the same.

    Args:
        envelope: [C, T, bands], three quarters of an octave each.
        gain: what is added to every exponent.
    """
    bands = envelope.shape[2]
    e = UNIT * envelope.astype(np.int64)
    pairs = len(e) // 2
    e[: 2 * pairs] = np.repeat(np.maximum(e[0 : 2 * pairs : 2], e[1 : 2 * pairs : 2]), 2, 0)
    before, after = (np.pad(e, ((0, 0), ends, (0, 0)), mode="edge") for ends in ((1, 0), (0, 1)))
    e -= (
        profile.rise * np.maximum(e - before[:, :-1], 0) + profile.fall * np.maximum(e - after[:, 1:], 0)
    ) >> 6
    level = e[:, :, :LEVEL_BANDS].sum(2, keepdims=True) // min(LEVEL_BANDS, bands)
    wide = np.pad(e, ((0, 0), (0, 0), (1, 1)), mode="edge")
    smooth = (wide[:, :, :-2] + 2 * e + wide[:, :, 2:]) >> 2
    follow = (profile.slope * (smooth - level) + profile.time * level) * ENVELOPE_EXPONENTS // (UNIT * UNIT)
    return np.asarray(
        gain + follow + np.array(profile.offsets[:bands], np.int64) + band_tilt(rate, block, tilt_at(gain))
    )


def rms_of(envelope: Ints) -> NDArray[np.float64]:
    """Root mean square that an envelope stands for; 0 for 0."""
    return np.where(
        envelope > 0, 2.0 ** (envelope * (ENVELOPE_EXPONENTS / EXPONENTS_PER_OCTAVE) - OFFSET_EXPONENT), 0
    )


def heights_of(envelope: Ints, exponents: Exponents) -> Exponents:
    """Of the envelope over the steps, [C, T, bands], 1/32 octave; NOT_CODED where a band has no coefficients
    in the code.
    """
    heights = ENVELOPE_EXPONENTS * envelope.astype(np.int64) - exponents
    return np.where((envelope > 0) & (heights >= SKIP_BELOW), heights, NOT_CODED)


def coded_bands(envelope: Ints, exponents: Exponents) -> NDArray[np.bool_]:
    """Which bands have coefficients in the code, [C, T, bands]."""
    return np.asarray(heights_of(envelope, exponents) != NOT_CODED)


def steps_of(exponents: Exponents) -> NDArray[np.float64]:
    """Quantisation steps, [C, T, bands]."""
    return np.asarray(2.0 ** (exponents / EXPONENTS_PER_OCTAVE - OFFSET_EXPONENT))
