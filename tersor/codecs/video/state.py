"""What the video codec's loops share: the arrays of a group in coding, the fields of a block, and where
contexts lie.

A frame is cut into blocks of 8 to 32 samples; `grid` holds, for every 8 x 8 unit, the fields of the block
that covers it, with a border
of one unit that is never available. Samples are int16, residuals and coefficients int32, all else int64, so
that loops compile once. Frames lie in a pool of planes with margins of `MARGIN` samples on every side.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tersor.entropy.binary_tables import Model

Ints = NDArray[np.int64]
TransformInts = NDArray[np.int32]

# entries of io beyond those of entropy.binary
# F, all of them.
MEASURING, COST = 6, 7
IO_SIZE = 8
COST_BITS = 15  # costs are in 2^-15 bit

UNIT, BLOCK, MARGIN = 8, 32, 48  # samples
FIELDS = 21
MODE, SIZE, SKIP, MERGE, REF0, REF1, MV0Y, MV0X, MV1Y, MV1X, SPLIT = range(11)
INTRA0, INTRA1, INTRA2, INTRA3, CHROMA, CODED, ENERGY, ENERGY_CHROMA, DELTA, PREDICTOR = range(11, FIELDS)
NONE = -1  # MODE of what is not available; REF1 of prediction from one frame; MERGE of vectors that are coded
INTRA, INTER = 0, 1
MOTION = 6  # REF0..MV1X

# parameters of a frame
HEIGHT, WIDTH, PLANES, SHIFT_Y, SHIFT_X, DEPTH, CURRENT, REFS, LEVEL, CHROMA_LEVEL, LAYER, TIME = range(12)
REF_FIRST, REF_TIME_FIRST = 12, 16
PARAMETERS = 32
MAX_REFS = 4
MAX_MERGE = 6
VECTOR_LIMIT = (1 << 13) - 1  # quarter samples

# contexts of flags: three tables of 256 slots each
KINDS = 22
K_SPLIT, K_SKIP, K_INTRA, K_MERGE, K_MERGE_INDEX, K_BI, K_REF, K_PREDICTOR, K_ZERO, K_EXPONENT, K_MANTISSA = (
    range(11)
)
K_TRANSFORM_SPLIT, K_CODED, K_CODED_CHROMA, K_SAME, K_TREE, K_CHROMA, K_EOB, K_EOB_BITS, K_ESCAPE, K_ROOT = (
    range(11, KINDS - 1)
)
K_FILTER = KINDS - 1
FLAG_INPUTS, FLAG_SLOTS = 3, 256
# contexts of coefficients
JOINTS, UNARY, ESCAPE_BITS, COEFFICIENT_MAX = 8, 14, 15, 32767
COEFFICIENT_CONTEXTS = (640, 288, 1024, 640, 384, 512)
INPUTS = len(COEFFICIENT_CONTEXTS)
_FIRST = np.concatenate([[0], np.cumsum(COEFFICIENT_CONTEXTS)]) * JOINTS + KINDS * FLAG_INPUTS * FLAG_SLOTS
SLOT_FIRST = tuple(int(n) for n in _FIRST[:-1])
SLOTS = int(_FIRST[-1])
ROW_JOINT_FIRST = KINDS
ROW_SUM_FIRST = ROW_JOINT_FIRST + JOINTS * 8
ROWS = ROW_SUM_FIRST + JOINTS * 10
RATE, COUNT_MAX = 3, 200


class Coder(NamedTuple):
    """The adaptive coder: state of the range coder, its bytes, scratch for slots, the mixing model, and the
    cost in bits of a 12-bit probability.
    """

    io: NDArray[np.int64]
    buffer: NDArray[np.uint8]
    slots: NDArray[np.int64]
    model: Model
    costs: TransformInts


class Codec(NamedTuple):
    """What encoder and decoder hold of a group.

    Attributes:
        k: the coder.
        par: int64 [PARAMETERS], of the frame.
        frames: int16 [pool, 3, H + 2 MARGIN, W + 2 MARGIN], decoded; a chroma plane fills the top left of
            its array.
        motions: int64 [pool, gh, gw, MOTION], of those frames, with times in place of indices of references.
        grid: int64 [gh, gw, FIELDS].
        planned: int64 [4, 4, FIELDS], what the encoder chose for the block of 32 in work: coding moves it
            to the grid.
        coefficients: int32 [3, BLOCK, BLOCK], of the block in work, at the place modulo BLOCK.
        candidates: int64 [MAX_MERGE + 2, MOTION]. predictors: int64 [2, 2].
        scratch: int32 [4, 48, 48]. edge: int32 [4, 160].
        filters: int32 [2, BANDS, CLASSES, TAPS], of luma and chroma, learned.
        filtered: int64 [2, ...], whether areas of 64 are, with a row and a column before.
        classes: int64 [3, H / 4, W / 4], of squares. clean: int16 [3, H + 2 MARGIN, W + 2 MARGIN], scratch.
    """

    k: Coder
    par: NDArray[np.int64]
    frames: NDArray[np.int16]
    motions: Ints
    grid: Ints
    planned: Ints
    coefficients: TransformInts
    candidates: Ints
    predictors: Ints
    scratch: TransformInts
    edge: TransformInts
    filters: TransformInts
    filtered: Ints
    classes: Ints
    clean: NDArray[np.int16]


def blocks_of(c: Codec) -> int:
    """How many blocks of 32 cover the frame."""
    return -(-int(c.par[HEIGHT]) // BLOCK) * -(-int(c.par[WIDTH]) // BLOCK)
