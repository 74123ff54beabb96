"""Frames to groups: arrays [T, H, W] of at most so many frames, cut where a scene changes, so that its first
frame is the one that stands alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from tersor.arrays import Samples
from tersor.codecs.video.header import MAX_GROUP_SAMPLES
from tersor.signals.colour import Planes
from tersor.signals.video import VideoFormat

LEAST = 8  # G: frames of a group that a scene change may end
CUT = 18.0  # G: mean change of the luma, in 8-bit levels, from which a scene may have changed
TIMES = 3.0  # G: and how many times the change of the frames before
THINNED = 4  # G: every so manyth row and column is looked at

Group = list[Samples]


def longest(form: VideoFormat, asked: int) -> int:
    """Frames that a group of this format may have."""
    return max(1, min(asked, MAX_GROUP_SAMPLES // form.samples))


def groups_of(frames: Iterable[Planes], form: VideoFormat, most: int) -> Iterator[Group]:
    """Groups of at most `most` frames, planes [T, H, W] each; one is held at a time."""
    held: list[Planes] = []
    before: NDArray[np.int16] | None = None
    usual = 0.0
    for planes in frames:
        thin = planes[0][::THINNED, ::THINNED].astype(np.int16)
        change = 0.0 if before is None else float(np.abs(thin - before).mean()) / (1 << (form.depth - 8))
        cut = change > CUT and change > TIMES * usual and len(held) >= min(LEAST, most)
        usual = change if cut or len(held) < 2 else 0.75 * usual + 0.25 * change
        before = thin
        if held and (cut or len(held) == most):
            yield stacked(held)
            held = []
        held.append(planes)
    if held:
        yield stacked(held)


def stacked(frames: list[Planes]) -> Group:
    """Planes [T, H, W] of frames."""
    return [np.stack(p) for p in zip(*frames, strict=True)]
