"""Search for the setting that reaches a target."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")
SEARCH_STEPS = 24
SEARCH_PRECISION = 1.01


def bisect(
    encode: Callable[[float], Result],
    good: Callable[[Result], bool],
    accepted: float,
    refused: float,
) -> Result | None:
    """The last good result between a bound that is likely good and one that is likely not, in logarithmic
    steps; None if none was good.
    """
    best = None
    for step in range(SEARCH_STEPS):
        bound = accepted if step == 0 else math.sqrt(accepted) * math.sqrt(refused)
        coded = encode(bound)
        if good(coded):
            best, accepted = coded, bound
        elif step == 0:
            return None
        else:
            refused = bound
        if max(accepted, refused) < SEARCH_PRECISION * min(accepted, refused):
            break
    return best
