"""From an image or array of integers to planes that are cheap to code."""

from __future__ import annotations

import numpy as np

from tersor.arrays import Numbers
from tersor.codecs.field.encode import CodedVariable, VariableEncoder
from tersor.codecs.field.header import channels_last
from tersor.codecs.field.options import LOSSLESS
from tersor.codecs.lossless.colour import TRANSFORMS, forward
from tersor.codecs.lossless.header import ARRAY, IMAGE8, IMAGE16, PICTURE8, PICTURE16
from tersor.codecs.parallel import Progress, Team
from tersor.signals import Field, Image
from tersor.signals.image import SAMPLE_TYPES

TRIAL_SIDE = 192  # G: of the middle on which the colour transform is chosen


def encode_integers(
    signal: Image | Field, block: int, team: Team, progress: Progress | None
) -> tuple[int, str, CodedVariable]:
    """The kind and transform of a header, and its variable."""
    samples = signal.samples if isinstance(signal, Image) else signal.values
    if isinstance(signal, Image) or (channels_last(samples.shape) and samples.dtype in SAMPLE_TYPES):
        eight, deep = (IMAGE8, IMAGE16) if isinstance(signal, Image) else (PICTURE8, PICTURE16)
        kind = eight if samples.dtype.itemsize == 1 else deep
        transform, values = _colours(np.ascontiguousarray(np.moveaxis(samples, 2, 0)), block, team)
    else:
        kind, transform, values = ARRAY, "none", samples
    return (
        kind,
        transform,
        VariableEncoder(Field(values=values), LOSSLESS, None, block, team, progress).encode(),
    )


def _colours(planes: Numbers, block: int, team: Team) -> tuple[str, Numbers]:
    """The transform that makes the middle of the image smallest, and the image after it."""
    if len(planes) < 3:
        return "none", planes
    h, w = (max(0, (n - TRIAL_SIDE) // 2) for n in planes.shape[1:])
    middle = planes[:, h : h + TRIAL_SIDE, w : w + TRIAL_SIDE]
    trials = {
        t: VariableEncoder(Field(values=forward(middle, t)), LOSSLESS, None, block, team) for t in TRANSFORMS
    }
    sizes = {t: trial.encode().made().size for t, trial in trials.items()}
    best = min(TRANSFORMS, key=lambda t: sizes[t])
    return best, forward(planes, best)
