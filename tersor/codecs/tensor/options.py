"""What can be asked of the tensor codec: no loss, or a bound, for all tensors or by name.

max_error       |x - y| <= bound for every number, after rounding to the tensor's type
rel_error       root mean square of x - y <= bound times that of x, in every group (one head's tensor, channel
or token) cosine_error    1 - cos(x, y) <= bound for every vector along the last axis bits_per_value  the
smallest rel_error, the same in all groups, whose chunks take no more than this on average
"""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tersor.errors import SignalError

GROUPS = ("tensor", "channel", "token")
RANGES = {
    "max_error": (0.0, math.inf),
    "rel_error": (1e-9, 1.0),
    "cosine_error": (1e-9, 0.5),
    "bits_per_value": (0.5, 16.0),
}
MAX_ANCHOR = 256
KEYS = (*RANGES, "groups", "anchor", "lossless")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How one tensor is coded.

    Attributes:
        coding: "lossless" or one of RANGES.
        asked: the bound.
        groups: numbers that share a step, for rel_error and bits_per_value: a "tensor" [tokens, channels]
            (the last two axes), each "channel" of it, or each "token".
        anchor: tokens after which one is coded on its own, the others as differences to it; 0 for none.
    """

    coding: str = "lossless"
    asked: float = 0.0
    groups: str = "tensor"
    anchor: int = 0

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Settings:
        """From options; no bound means without loss.

        Raises:
            SignalError: two bounds, one out of range, or an unknown option.
        """
        given = {k: v for k, v in options.items() if v is not None and v is not False}
        if unknown := sorted(set(given) - set(KEYS)):
            raise SignalError(f"a tensor has no setting {', '.join(unknown)}; there are {', '.join(KEYS)}")
        bounds = [k for k in given if k in (*RANGES, "lossless")]
        if len(bounds) > 1:
            raise SignalError(f"{' and '.join(bounds)} exclude each other; give one")
        groups, anchor = given.get("groups", "tensor"), given.get("anchor", 0)
        if groups not in GROUPS:
            raise SignalError(f"groups is {groups!r}; allowed are {', '.join(GROUPS)}")
        if not isinstance(anchor, int) or not (anchor == 0 or 2 <= anchor <= MAX_ANCHOR):
            raise SignalError(f"anchor is {anchor!r}; allowed are 0 and 2 to {MAX_ANCHOR} tokens")
        if not bounds or bounds == ["lossless"]:
            return cls()
        (coding,) = bounds
        try:
            asked = float(given[coding])
        except (TypeError, ValueError):
            raise SignalError(f"{coding} is {given[coding]!r}; needed is a number") from None
        low, high = RANGES[coding]
        if not low <= asked <= high or asked == 0 or math.isinf(asked):
            raise SignalError(f"{coding} is {asked:g}; allowed are {low:g} to {high:g}")
        if coding == "cosine_error":
            groups = "token"
        if anchor and groups == "token":
            raise SignalError(
                "anchor needs a step that several tokens share; give groups='channel' or 'tensor'"
            )
        return cls(coding=coding, asked=asked, groups=groups, anchor=anchor)


class Rules:
    """Settings by the name of the tensor.

    Args:
        default: options for all.
        per_tensor: pattern ("layers.0.*") -> options instead; the first that fits is taken.
    """

    def __init__(
        self, default: Mapping[str, Any], per_tensor: Mapping[str, Mapping[str, Any]] | None = None
    ) -> None:
        self._default = Settings.of(default)
        self._rules = [(pattern, Settings.of(options)) for pattern, options in (per_tensor or {}).items()]

    def of(self, name: str) -> Settings:
        for pattern, settings in self._rules:
            if fnmatch.fnmatchcase(name, pattern):
                return settings
        return self._default
