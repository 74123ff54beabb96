"""Search for the setting that reaches a target; what is encoded, and how it is judged, is the caller's."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")
SEARCH_STEPS = 24  # G
SEARCH_PRECISION = 1.01  # G


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


def narrow(
    encode: Callable[[int], Result],
    judge: Callable[[Result], int],
    low: int,
    high: int,
    guess: Callable[[int, int], int] = lambda low, high: (low + high) // 2,
    steps: int = SEARCH_STEPS,
) -> list[tuple[int, Result]]:
    """Whole settings from low to high, each with its result, in the order they were tried.

    Args:
        encode: a result of a setting.
        judge: 1 if the setting should be larger, -1 if smaller, 0 if the result is near enough.
        low, high: smallest and largest setting.
        guess: what to try of those that are left, low to high; the middle if nothing better is known.
        steps: most tries.
    """
    tried: list[tuple[int, Result]] = []
    while low <= high and len(tried) < steps:
        setting = guess(low, high)
        result = encode(setting)
        tried.append((setting, result))
        verdict = judge(result)
        if not verdict:
            break
        low, high = (setting + 1, high) if verdict > 0 else (low, setting - 1)
    return tried
