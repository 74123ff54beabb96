"""What can be asked of the tensor codec: no loss, or a bound, for all tensors or by name.

max_error       |x - y| <= bound for every number, after rounding to the tensor's type
rel_error       root mean square of x - y <= bound times that of x, in every group
cosine_error    1 - cos(x, y) <= bound for every vector along the last axis
bits_per_value  the smallest rel_error, the same in all groups, whose chunks take no more than this

Tensors of other types than float16, bfloat16, float32 and float64 are coded without loss in any case, and so
are chunks with numbers that are not finite.
"""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, TypedDict, cast

from tersor.codecs.options import DecodeOptions as CommonDecodeOptions
from tersor.codecs.options import Option, Options
from tersor.errors import SignalError

GROUPS = ("tensor", "channel", "token")
MAX_ANCHOR = 256  # F


def parse_rules(text: str) -> object:
    """JSON: pattern of names -> options.

    Raises:
        SignalError: no JSON.
    """
    try:
        return json.loads(text)
    except ValueError as e:
        raise SignalError(f"per-tensor is no JSON ({e}); give {{pattern: {{option: value}}}}") from e


def parse_rows(text: str) -> slice:
    """ "10:20" -> slice(10, 20).

    Raises:
        SignalError: no range.
    """
    try:
        start, stop = (int(n) if n.strip() else None for n in text.split(":"))
    except ValueError:
        raise SignalError(f"rows are {text!r}; give start:stop, such as 0:100") from None
    return slice(start, stop)


class Bounds(TypedDict, total=False):
    """Of one tensor."""

    max_error: Annotated[float | None, Option("no number off by more", above=0, one_of="bound")]
    rel_error: Annotated[
        float | None,
        Option(
            "error relative to a group's numbers, both root mean square", low=1e-9, high=1, one_of="bound"
        ),
    ]
    cosine_error: Annotated[
        float | None, Option("1 - cosine, of every vector", low=1e-9, high=0.5, one_of="bound")
    ]
    bits_per_value: Annotated[float | None, Option("size", low=0.5, high=16, unit="bits", one_of="bound")]
    lossless: Annotated[bool | None, Option("every bit (without a bound)", one_of="bound")]
    groups: Annotated[
        str | None,
        Option(
            "what shares a step: a tensor [tokens, channels], a channel or a token",
            default="tensor",
            choices=GROUPS,
        ),
    ]
    anchor: Annotated[
        int | None,
        Option("tokens from one coded alone to the next; 0 for none", default=0, low=0, high=MAX_ANCHOR),
    ]


class EncodeOptions(Bounds, total=False):
    """Of a call."""

    per_tensor: Annotated[
        Mapping[str, Mapping[str, object]] | None,
        Option("pattern of names -> bounds instead", parse=parse_rules, form="JSON"),
    ]


class DecodeOptions(CommonDecodeOptions, total=False):
    """Of a call."""

    tensors: Annotated[list[str] | None, Option("only these", parse=lambda text: text.split(","), form="A,B")]
    rows: Annotated[slice | None, Option("of the first axis of each", parse=parse_rows, form="START:STOP")]
    out: Annotated[
        Mapping[str, object] | None, Option("name -> memory to decode into", flag="", parse=lambda text: text)
    ]
    max_bytes: Annotated[int | None, Option("refuse to decode more", low=0)]


BOUNDS = Options("tensor", Bounds)
ENCODE = Options("tensor", EncodeOptions)
DECODE = Options("tensor", DecodeOptions)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How one tensor is coded.

    Attributes:
        coding: "lossless" or a bound.
        asked: the bound.
        groups: numbers that share a step, for rel_error and bits_per_value.
        anchor: tokens after which one is coded on its own, the others as differences to it; 0 for none.
    """

    coding: str = "lossless"
    asked: float = 0.0
    groups: str = "tensor"
    anchor: int = 0

    @classmethod
    def of(cls, options: Mapping[str, object]) -> Settings:
        """From options; no bound means without loss.

        Raises:
            SignalError: two bounds, one out of range, or an unknown option.
        """
        given = BOUNDS.check(options)
        coding, asked = BOUNDS.asked(given, "bound")
        groups, anchor = cast(str, given["groups"]), cast(int, given["anchor"])
        groups = "token" if coding == "cosine_error" else groups
        if anchor == 1 or (anchor and groups == "token"):
            raise SignalError(
                f"anchor is {anchor} with groups of a {groups}; give 0, or 2 and more for others than tokens"
            )
        if coding in ("", "lossless"):
            return cls()
        return cls(coding=coding, asked=cast(float, asked), groups=groups, anchor=anchor)


class Rules:
    """Settings by the name of the tensor.

    Args:
        options: for all, and "per_tensor": pattern ("layers.0.*") -> others instead; the first that fits is
            taken.

    Raises:
        SignalError: as `Settings.of`, or rules of another form.
    """

    def __init__(self, options: Mapping[str, object]) -> None:
        self._default = Settings.of({k: v for k, v in options.items() if k in BOUNDS.declared})
        rules = options.get("per_tensor") or {}
        if not isinstance(rules, Mapping) or not all(isinstance(v, Mapping) for v in rules.values()):
            raise SignalError(f"per_tensor is {rules!r}; needed is pattern -> options")
        self._rules = [(pattern, Settings.of(v)) for pattern, v in rules.items()]

    def of(self, name: str) -> Settings:
        for pattern, settings in self._rules:
            if fnmatch.fnmatchcase(name, pattern):
                return settings
        return self._default
