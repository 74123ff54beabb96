"""The encoder of a frame: samples into the encoder's arrays, and what each effort tries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tersor.arrays import Samples
from tersor.codecs.video import search_loops, state
from tersor.codecs.video.block_loops import code_blocks, start_frame
from tersor.codecs.video.decide_loops import decide
from tersor.codecs.video.filter_loops import choose_filtered
from tersor.codecs.video.frame_loops import smooth_frame
from tersor.codecs.video.search_loops import Encoder, interpolate_planes
from tersor.codecs.video.state import Codec, blocks_of

if TYPE_CHECKING:
    from tersor.codecs.video.group import Group, Watch

# by effort 1..9: motions of neighbours tried, intra modes tried, split transforms, first step of the search,
# all intra modes ranked,
# refinements of pairs, whether a block that needs no residual ends the trials (G)
EFFORTS = np.array(
    [
        [1, 1, 0, 2, 0, 0, 1],
        [1, 1, 0, 4, 0, 0, 1],
        [2, 1, 0, 4, 0, 1, 1],
        [2, 1, 1, 8, 0, 1, 1],
        [2, 2, 1, 8, 0, 2, 1],
        [3, 2, 1, 8, 0, 2, 1],
        [3, 3, 1, 16, 0, 2, 1],
        [4, 3, 1, 16, 1, 4, 1],
        [5, 4, 1, 16, 1, 4, 0],
    ]
)


def new_encoder(c: Codec, group: Group, effort: int) -> Encoder:
    """The arrays of an encoder of a group."""
    height, width = group.height, group.width
    margins = 2 * state.MARGIN
    sizes, block = 3, state.BLOCK
    options = np.zeros(search_loops.OPTIONS, np.int64)
    options[: EFFORTS.shape[1]] = EFFORTS[effort - 1]
    return Encoder(
        original=np.zeros((3, height, width), np.int16),
        target=np.zeros((height, width), np.int16),
        planes=np.zeros((group.pool, 16, height + margins, width + margins), np.int16),
        kept_frames=np.zeros((sizes, 3, block, block), np.int16),
        kept_coefficients=np.zeros((sizes, 3, block, block), np.int32),
        kept_cells=np.zeros((sizes, state.FIELDS), np.int64),
        found=np.zeros((sizes, state.MAX_REFS, 3), np.int64),
        listed=np.zeros((16, state.MOTION + 1), np.int64),
        real=np.zeros(2),
        options=options,
        work=np.zeros((2, block * block)),
        block=np.zeros((block, block), np.int32),
        scores=np.zeros(64),
    )


def encode_frame(
    c: Codec, e: Encoder, planes: Sequence[Samples], weight: float, watch: Watch | None = None
) -> None:
    """Decide and code the frame whose parameters are set, and choose where it is filtered.

    Args:
        planes: [H, W] each.
        weight: squared error that a bit is worth.
        watch: sees the frame, and what it should be, before it is filtered.
    """
    par = c.par
    depth = int(par[state.DEPTH])
    e.real[search_loops.WEIGHT] = weight
    e.real[search_loops.MOTION_WEIGHT] = weight**0.5 * (1 << (14 - depth))
    for i, p in enumerate(planes):
        height, width = int(par[state.HEIGHT]), int(par[state.WIDTH])
        if i:
            height, width = height >> int(par[state.SHIFT_Y]), width >> int(par[state.SHIFT_X])
        e.original[i, :height, :width] = np.pad(
            p, ((0, height - p.shape[0]), (0, width - p.shape[1])), "edge"
        )
    e.target[:] = e.original[0] << (14 - depth)
    for r in range(int(par[state.REFS])):
        _interpolate(c, e, int(par[state.REF_FIRST + r]))
    start_frame(c)
    for block in range(blocks_of(c)):
        decide(c, e, block)
        code_blocks(c, block, block + 1)
    smooth_frame(c)
    if watch:
        watch(c, e.original)
    choose_filtered(c, e.original, weight)


def _interpolate(c: Codec, e: Encoder, slot: int) -> None:
    frame = c.frames[slot, 0]
    interpolate_planes(
        frame, e.planes[slot], *frame.shape, int(c.par[state.DEPTH]), np.empty(frame.shape, np.int16)
    )
