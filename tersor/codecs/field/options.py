"""What can be asked of the field codec, and the error bound that follows.

max_error            |x - y| <= bound
rel_error            bound = rel_error * (largest - smallest finite value)
pointwise_rel_error  |x - y| <= rel * |x|, sign and zero kept (pointwise.py)
target_psnr          20 log10(range / rmse) at least this; the bound follows, and is tightened until it holds
target_ratio         the smallest bound whose file is at least this many times smaller
lossless             every bit
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, TypedDict

from tersor.codecs.field.effort import USUAL
from tersor.codecs.options import DecodeOptions, Option, Options
from tersor.errors import SignalError

LEAST_BLOCK, MOST_BLOCK = 4096, 1 << 22  # G
BLOCK_CELLS = 1 << 20  # G
DEFAULT_REL_ERROR = 1e-3  # G


class FieldEncodeOptions(TypedDict, total=False):
    """How to encode; one of the targets at most."""

    max_error: Annotated[float | None, Option("no value off by more", low=0, one_of="target")]
    rel_error: Annotated[
        float | None,
        Option(
            "no value off by more than so many times the range of the values",
            low=0,
            one_of="target",
            default=DEFAULT_REL_ERROR,
        ),
    ]
    pointwise_rel_error: Annotated[
        float | None,
        Option("no value off by more than so many times itself", low=0, below=1, one_of="target"),
    ]
    target_psnr: Annotated[
        float | None,
        Option("smallest file found that reaches this PSNR", above=0, unit="dB", one_of="target"),
    ]
    target_ratio: Annotated[
        float | None, Option("smallest error whose file is so many times smaller", above=1, one_of="target")
    ]
    lossless: Annotated[bool | None, Option("every bit", one_of="target")]
    fill_value: Annotated[
        float | None, Option("the value of missing cells, kept exactly and left out of the range")
    ]
    effort: Annotated[
        int | None,
        Option(
            "1 is the fastest, 9 the smallest; decoders do not depend on it", low=1, high=9, default=USUAL
        ),
    ]
    block: Annotated[
        int | None,
        Option(
            "most cells of a block",
            low=LEAST_BLOCK,
            high=MOST_BLOCK,
            default=BLOCK_CELLS,
            unit="cells",
            flag="",
        ),
    ]


def parse_slices(text: str) -> tuple[slice, ...] | dict[str, slice]:
    """ "0:10,:,5:" or "time=0:10,lat=5:" -> slices.

    Raises:
        SignalError: neither.
    """
    parts = [part.rpartition("=") for part in text.split(",")]
    try:
        ranges = [[int(v) if v.strip() else None for v in p[2].split(":")] for p in parts]
    except ValueError:
        ranges = [[]]
    if not all(len(p) == 2 for p in ranges) or len({bool(p[1]) for p in parts}) != 1:
        raise SignalError(
            f"slice '{text}' is not a list of ranges; give start:stop for each leading axis, "
            "such as 0:10,20:40, or time=0:10,lat=20:40"
        )
    if parts[0][1]:
        return {p[0].strip(): slice(*n) for p, n in zip(parts, ranges, strict=True)}
    return tuple(slice(*n) for n in ranges)


class FieldDecodeOptions(DecodeOptions, total=False):
    """Which part to decode; only the blocks that it touches are read."""

    slices: Annotated[
        object,
        Option(
            "only these ranges: a slice for each leading axis, without steps, or a dict of them by the "
            "names of axes, for every variable that has them",
            flag="--slice",
            parse=parse_slices,
            form="A:B,C:D",
        ),
    ]
    variables: Annotated[
        Sequence[str] | None,
        Option(
            "only these variables, and their coordinates",
            parse=lambda text: text.split(","),
            form="A,B",
        ),
    ]
    coordinates: Annotated[
        bool | None, Option("whether variables bring their coordinates along", default=True, flag="")
    ]


ENCODE = Options("field", FieldEncodeOptions)
DECODE = Options("field", FieldDecodeOptions)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """mode: one of header.MODES; value: as asked, 0 for lossless."""

    mode: str
    value: float

    @classmethod
    def of(cls, options: FieldEncodeOptions) -> Bound:
        """Of options that were checked; an error of 0 is lossless."""
        mode, value = ENCODE.asked(options, "target")
        number = 0.0 if mode == "lossless" else float(value)
        return cls(mode=mode, value=number) if number else LOSSLESS

    def resolve(self, low: float, high: float) -> float:
        """The absolute bound for values from low to high; for target_psnr and target_ratio the one to start
        from.
        """
        extent = high - low  # Python floats: overflow gives inf, silently
        if not math.isfinite(extent):
            extent = sys.float_info.max
        if self.mode in ("max_error", "pointwise_rel_error"):
            return self.value
        if self.mode == "rel_error":
            return self.value * extent
        if self.mode == "target_psnr":
            return extent * 10 ** (-self.value / 20) * math.sqrt(3)
        if self.mode == "target_ratio":
            return 1e-3 * extent
        return 0.0


LOSSLESS = Bound(mode="lossless", value=0.0)
