"""The compiled loops of shapes (`shapes.py`) through the adaptive coder, integers in, integers out.

A part's shape is coded under what stood there in the frame before and what stands below it in the same
band.
"""

from __future__ import annotations

import numpy as np

from tersor.entropy.binarise import clip
from tersor.entropy.binary import code_mixed
from tersor.entropy.compiled import compiled

# F, all of them
SHAPE_MAX = 4
COUNT_MAX = 120
CONTEXTS = 9 * 2
N_SLOTS = CONTEXTS * (2 + SHAPE_MAX)


@compiled
def code_shapes(io, buffer, model, is_open, bands, shapes):  # pragma: no cover
    """Code or decode shapes, int32 [C, T, parts], of the parts that are open.

    Args:
        is_open: bool [C, T, parts]; shapes of others are 0.
        bands: of each part, int64 [parts].
    """
    channels, frames, parts = shapes.shape
    slots = np.zeros(1, np.int64)
    for c in range(channels):
        for t in range(frames):
            for j in range(parts):
                if not is_open[c, t, j]:
                    shapes[c, t, j] = 0
                    continue
                before = shapes[c, t - 1, j] if t else 0
                below = shapes[c, t, j - 1] if j and bands[j - 1] == bands[j] else 0
                known = 1 if t and is_open[c, t - 1, j] else 0
                context = (clip(2 * before + below, -4, 4) + 4) * 2 + known
                value = shapes[c, t, j]
                size = abs(value)
                slots[0] = context
                got = code_mixed(io, buffer, model, slots, 1, 0, 0, 0, COUNT_MAX, 1 if size > 0 else 0)
                if got:
                    slots[0] = CONTEXTS + context
                    negative = code_mixed(
                        io, buffer, model, slots, 1, 0, 0, 0, COUNT_MAX, 1 if value < 0 else 0
                    )
                    while got < SHAPE_MAX:
                        slots[0] = CONTEXTS * (1 + got) + context
                        if not code_mixed(
                            io, buffer, model, slots, 1, 0, 0, 0, COUNT_MAX, 1 if size > got else 0
                        ):
                            break
                        got += 1
                    if negative:
                        got = -got
                shapes[c, t, j] = got


@compiled
def choose_shapes(wanted, tolerance, is_open, shapes):  # pragma: no cover
    """Round what is wanted, float64 [C, T, parts], to what stood there in the frame before where that is
    within the tolerance, and towards it; encoders only.
    """
    channels, frames, parts = shapes.shape
    for c in range(channels):
        for t in range(frames):
            for j in range(parts):
                if is_open[c, t, j]:
                    low = int(np.ceil(wanted[c, t, j] - tolerance))
                    high = int(np.floor(wanted[c, t, j] + tolerance))
                    before = shapes[c, t - 1, j] if t else 0
                    shapes[c, t, j] = clip(clip(before, low, high), -SHAPE_MAX, SHAPE_MAX)
