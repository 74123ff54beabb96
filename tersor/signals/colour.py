"""Planes of integers to RGB and back, by the colour description of ITU-T H.273; integers only, the same on
every machine.

    Y, Cb, Cr --chroma brought to the luma's grid--> [H, W] each --matrix in 1/2^16--> R, G, B, 8 bits

Chroma is interpolated linearly from where H.273 says that its samples lie. Sums stay below 2^31: a sample
has at most 12 bits and is weighted by at most 4 in each direction, a coefficient has less than 2^18 after it
was brought to 8 bits.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from tersor.arrays import Integers, Samples
from tersor.errors import SignalError

UNSPECIFIED = 2  # F: H.273's code in matrix, primaries and transfer
RANGES = ("unspecified", "limited", "full")  # F: the order is that of the file
LOCATIONS = ("unspecified", "left", "centre", "top left", "top", "bottom left", "bottom")  # F
MAX_CODE = 255  # F: of H.273's tables
GBR = 0  # F: of H.273
# Kr and Kb of H.273's table of matrix coefficients.
WEIGHTS = {
    1: ("0.2126", "0.0722"),
    4: ("0.30", "0.11"),
    5: ("0.299", "0.114"),
    6: ("0.299", "0.114"),
    7: ("0.212", "0.087"),
    9: ("0.2627", "0.0593"),
    10: ("0.2627", "0.0593"),
}
HD_SIDE = 720  # G: what players take for BT.709 if nothing is said: this many rows or more
SHIFT = 16  # F

Planes = tuple[Samples, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Colour:
    """How planes of numbers are colours: the codes of ITU-T H.273, as in H.264, AV1, Matroska and MP4; kept,
    never applied to the planes.

    Attributes:
        range: "limited" (8 bits: 16 to 235), "full" or "unspecified", which is read as limited, of grey alone
            as full.
        matrix: 0 is G, B, R; 1 BT.709; 5 and 6 BT.601; 9 BT.2020; 2 unspecified: read as BT.709 from 720 rows
            on, else as BT.601.
        primaries, transfer: 1 BT.709, 2 unspecified, 9 BT.2020, transfer 16 PQ, 18 HLG, ...
        location: of chroma samples between luma samples; "unspecified" is read as "left".

    Raises:
        SignalError: a code that H.273 has no room for.
    """

    range: str = "unspecified"
    matrix: int = UNSPECIFIED
    primaries: int = UNSPECIFIED
    transfer: int = UNSPECIFIED
    location: str = "unspecified"

    def __post_init__(self) -> None:
        for name in ("matrix", "primaries", "transfer"):
            if not 0 <= getattr(self, name) <= MAX_CODE:
                raise SignalError(
                    f"{name} is {getattr(self, name)}; allowed are the codes of H.273, 0 to {MAX_CODE}"
                )
        if self.range not in RANGES:
            raise SignalError(f"the colour range is {self.range!r}; allowed are {', '.join(RANGES)}")
        if self.location not in LOCATIONS:
            raise SignalError(f"the place of chroma is {self.location!r}; allowed are {', '.join(LOCATIONS)}")


RGB_CODED = Colour(range="full", matrix=1)  # what RGB is brought to: BT.709's matrix, full range, 4:4:4


def to_rgb(planes: Planes, depth: int, colour: Colour) -> NDArray[np.uint8]:
    """One picture's planes to RGB.

    Args:
        planes: [H, W] grey, or three with chroma of its own size; uint8 or uint16.
        depth: bits of a sample, 8 to 12.
        colour: how they are meant.

    Returns:
        uint8 [H, W, 3].

    Raises:
        SignalError: a matrix that is not linear, such as ICtCp.
    """
    luma: NDArray[np.int32] = planes[0].astype(np.int32)
    shape = (luma.shape[0], luma.shape[1])
    full = colour.range == "full" or (colour.range == "unspecified" and len(planes) == 1)
    top = 255 << SHIFT
    if len(planes) == 1:
        gain, black = _scale(depth, full, False)
        grey = _clip(((luma - black) * gain + (1 << (SHIFT - 1))) >> SHIFT)
        return np.repeat(grey[..., None], 3, axis=2)
    if colour.matrix == GBR:
        gain, black = _scale(depth, full, False)
        g, b, r = (_clip(((p.astype(np.int32) - black) * gain + (1 << (SHIFT - 1))) >> SHIFT) for p in planes)
        return np.stack([r, g, b], axis=2)
    kr, kb = _weights(colour.matrix, luma.shape[0])
    kg = 1 - kr - kb
    y_gain, black = _scale(depth, full, False)
    c_gain, middle = _scale(depth, full, True)
    y = (luma - black) * y_gain
    cb, cr = (_raised(p, shape, colour.location) for p in planes[1:])
    out = np.empty((*luma.shape, 3), np.uint8)
    red, blue = 2 * (1 - kr), 2 * (1 - kb)
    shares = ((Fraction(0), red), (-kb * blue / kg, -kr * red / kg), (blue, Fraction(0)))
    for i, (of_cb, of_cr) in enumerate(shares):
        # Raised chroma is 16 times itself; its coefficient loses these 4 bits again.
        from_cb, from_cr = (round(w * c_gain / 16) for w in (of_cb, of_cr))
        sums = y + (cb - 16 * middle) * from_cb + (cr - 16 * middle) * from_cr + (1 << (SHIFT - 1))
        out[..., i] = np.clip(sums, 0, top) >> SHIFT
    return out


def from_rgb(rgb: Samples, depth: int) -> Planes:
    """RGB to Y, Cb, Cr in 4:4:4 as `RGB_CODED` says: the inverse of `to_rgb` but for rounding, at most one
    level off.

    Args:
        rgb: uint8 or uint16 [..., 3], samples of `depth` bits.
        depth: 8 to 12.

    Returns:
        Three arrays [...] of the same type.
    """
    kr, kb = _weights(RGB_CODED.matrix, 0)
    r, g, b = (rgb[..., i].astype(np.int64) for i in range(3))
    half, top, one = 1 << (depth - 1), (1 << depth) - 1, 1 << 20
    wr, wb = round(kr * one), round(kb * one)
    luma = wr * r + (one - wr - wb) * g + wb * b  # at most 2^32
    out = [(luma + one // 2) >> 20]
    for colour, weight in ((b, kb), (r, kr)):
        gain = round(Fraction(1 << 20) / (2 * (1 - weight)))  # times a difference of 2^32 stays below 2^53
        out.append((((colour * one - luma) * gain + (1 << 39)) >> 40) + half)
    return tuple(np.clip(p, 0, top).astype(rgb.dtype) for p in out)


def _weights(matrix: int, rows: int) -> tuple[Fraction, Fraction]:
    matrix = (1 if rows >= HD_SIDE else 6) if matrix == UNSPECIFIED else matrix
    if matrix not in WEIGHTS:
        known = ", ".join(map(str, (GBR, *sorted(WEIGHTS))))
        raise SignalError(f"matrix {matrix} of H.273 is not turned to RGB, known are {known}; use .planes")
    kr, kb = WEIGHTS[matrix]
    return Fraction(kr), Fraction(kb)


def _scale(depth: int, full: bool, chroma: bool) -> tuple[int, int]:
    """(what 8-bit levels in 1/2^16 a step is, the value that is 0)."""
    if full:
        gain = Fraction(255, (1 << depth) - 1)
        return round(gain * (1 << SHIFT)), (1 << (depth - 1)) if chroma else 0
    span, zero = (224, 128) if chroma else (219, 16)
    step = 1 << (depth - 8)
    return round(Fraction(255, span * step) * (1 << SHIFT)), zero * step


def _clip(x: Integers) -> NDArray[np.uint8]:
    return np.clip(x, 0, 255).astype(np.uint8)


def _raised(plane: Samples, shape: tuple[int, int], location: str) -> NDArray[np.int32]:
    """A chroma plane on the grid of its luma, times 16."""
    x = plane.astype(np.int32)
    down, across = location.replace("unspecified", "left"), location
    vertical = "on" if down.startswith("top") else "under" if down.startswith("bottom") else "between"
    horizontal = "between" if across in ("centre", "top", "bottom") else "on"
    x = _doubled(x, shape[0], vertical) if x.shape[0] != shape[0] else 4 * x
    return (_doubled(x.T, shape[1], horizontal) if x.shape[1] != shape[1] else 4 * x.T).T


def _doubled(x: NDArray[np.int32], length: int, place: str) -> NDArray[np.int32]:
    """Twice the rows, times 4. `place` of a sample: on the first of its two rows, under (on the second), or
    between them.
    """
    before, after = np.concatenate([x[:1], x[:-1]]), np.concatenate([x[1:], x[-1:]])
    out = np.empty((2 * len(x), *x.shape[1:]), np.int32)
    if place == "between":
        out[0::2], out[1::2] = 3 * x + before, 3 * x + after
    elif place == "on":
        out[0::2], out[1::2] = 4 * x, 2 * x + 2 * after
    else:
        out[0::2], out[1::2] = 2 * before + 2 * x, 4 * x
    return out[:length]
