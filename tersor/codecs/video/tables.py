"""The constants of the video codec's arithmetic: transforms, interpolation filters, intra angles, scans,
steps, deblocking. All are part of the format (F).

Sources: the integer matrices, filters, angles and thresholds are those of ITU-T H.265, sections 8.4.4.2
    (intra), 8.5.3.3 (interpolation),
8.6.4.2 (transforms) and 8.7.2 (deblocking).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# amplitude of cos(k pi / 64), k = 0..31, as H.265's 32-point matrix rounds it; entry 0 is the constant row's
# F, all of them.
COSINES = (
    *(64, 90, 90, 90, 89, 88, 87, 85, 83, 82, 80, 78, 75, 73, 70, 67),
    *(64, 61, 57, 54, 50, 46, 43, 38, 36, 31, 25, 22, 18, 13, 9, 4),
)
SINES = ((29, 55, 74, 84), (74, 74, 0, -74), (84, -29, -74, 55), (55, -84, 74, -29))
N_TRANSFORMS = 5  # DCT of 4, 8, 16, 32; DST of 4
DST = 4


def _cosine(k: int, n: int) -> int:
    angle = k * (2 * n + 1) % 128
    angle = min(angle, 128 - angle)
    return -COSINES[64 - angle] if angle > 32 else COSINES[angle]


def _transforms() -> NDArray[np.int32]:
    out = np.zeros((N_TRANSFORMS, 32, 32), np.int32)
    for i in range(4):
        n = 4 << i
        out[i, :n, :n] = [[_cosine(k * (32 // n), x) for x in range(n)] for k in range(n)]
    out[DST, :4, :4] = SINES
    return out


def _scans() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Diagonal scans, each diagonal from bottom left to top right: rows, columns of the i-th level."""
    ys, xs = np.zeros((4, 1024), np.int64), np.zeros((4, 1024), np.int64)
    for i in range(4):
        n = 4 << i
        order = [(d - x, x) for d in range(2 * n - 1) for x in range(n) if 0 <= d - x < n]
        ys[i, : n * n], xs[i, : n * n] = zip(*order, strict=True)
    return ys, xs


TRANSFORMS = _transforms()
SCAN_Y, SCAN_X = _scans()
# class of the diagonal x + y for contexts
DIAGONALS = np.array([0, 1, 2, 3, 4, 4, 5, 5, 6, 6, 6, 6, 7, 7, 7, 7, *[8] * 8, *[9] * 39], np.int64)

LUMA_FILTER = np.array(
    [
        [0, 0, 0, 64, 0, 0, 0, 0],
        [-1, 4, -10, 58, 17, -5, 1, 0],
        [-1, 4, -11, 40, 40, -11, 4, -1],
        [0, 1, -5, 17, 58, -10, 4, -1],
    ],
    np.int32,
)
CHROMA_FILTER = np.array(
    [
        [0, 64, 0, 0],
        [-2, 58, 10, -2],
        [-4, 54, 16, -2],
        [-6, 46, 28, -4],
        [-4, 36, 36, -4],
        [-4, 28, 46, -6],
        [-2, 16, 54, -4],
        [-2, 10, 58, -2],
    ],
    np.int32,
)

PLANAR, DC, HORIZONTAL, VERTICAL, INTRA_MODES = 0, 1, 10, 26, 35
_QUARTER = (32, 26, 21, 17, 13, 9, 5, 2)
# displacement a row (or column) in 1/32 sample, of modes 2..34; entries 0 and 1 unused
ANGLES = np.array(
    [0, 0, *_QUARTER, 0, *(-a for a in _QUARTER[::-1]), *(-a for a in _QUARTER[1:]), 0, *_QUARTER[::-1]],
    np.int64,
)
# 8192 / angle, for the side that a negative angle reaches
INVERSE_ANGLES = np.array([0 if a >= 0 else -round(8192 / -a) for a in ANGLES.tolist()], np.int64)

STEP_BITS = 10
STEPS_PER_OCTAVE = 48
LEVELS = 512  # of quantisation: level n has step 2^(n / 48) of 8 bits
_MANTISSAS = (  # 2^(10 + n / 48), rounded
    *(1024, 1039, 1054, 1069, 1085, 1101, 1117, 1133, 1149, 1166, 1183, 1200),
    *(1218, 1235, 1253, 1272, 1290, 1309, 1328, 1347, 1367, 1387, 1407, 1427),
    *(1448, 1469, 1491, 1512, 1534, 1557, 1579, 1602, 1625, 1649, 1673, 1697),
    *(1722, 1747, 1773, 1798, 1825, 1851, 1878, 1905, 1933, 1961, 1990, 2019),
)
STEPS = np.array([_MANTISSAS[n % 48] << (n // 48) for n in range(LEVELS)], np.int64)

BETAS = np.array([*[0] * 16, *range(6, 19), *range(20, 65, 2)], np.int64)
TCS = np.array(
    [
        *[0] * 18,
        *[1] * 9,
        *[2] * 4,
        *[3] * 4,
        *[4] * 3,
        *(5, 5, 6, 6, 7, 8, 9, 10, 11, 13, 14, 16, 18, 20, 22, 24),
    ],
    np.int64,
)

# The filter of frames. The 7 x 7 diamond without its middle, of two samples opposite each other the first
TAP_Y = np.array([-3, -2, -2, -2, -1, -1, -1, -1, -1, 0, 0, 0], np.int64)
TAP_X = np.array([0, -1, 0, 1, -2, -1, 0, 1, 2, -3, -2, -1], np.int64)
TAPS = len(TAP_Y)
LEVELS_PER_BAND, BANDS = STEPS_PER_OCTAVE, 6  # levels that share filters, from the second octave on
STRENGTHS = (24, 43, 77, 138, 248, 446, 802)  # of a square's 8-bit differences upright and level
CLASSES = 5 * (len(STRENGTHS) + 1)


def _tap_orders() -> NDArray[np.int64]:
    """Of each orientation (1: turned, 2: mirrored) and place, the weight that is used there."""
    places = {(s * y, s * x): t for t, (y, x) in enumerate(zip(TAP_Y, TAP_X, strict=True)) for s in (1, -1)}
    out = np.zeros((4, TAPS), np.int64)
    for turn in range(4):
        for t, (y, x) in enumerate(zip(TAP_Y, TAP_X, strict=True)):
            b, a = (y, x) if turn & 1 else (x, y)
            out[turn, places[a, -b if turn & 2 else b]] = t
    return out


TAP_ORDERS = _tap_orders()
