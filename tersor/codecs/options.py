"""Options, declared once for each codec: the types of keyword arguments, the checks with one form of message,
the arguments of the command line and the table in the documentation all come from one declaration.

    class EncodeOptions(TypedDict, total=False):
        quality: Annotated[float | None, Option("size against fidelity", low=1, high=100, one_of="target")]

    ENCODE = Options("mycodec", EncodeOptions)   # in codecs/NAME/options.py, which loads no torch, no numba
    ENCODE.check({"quality": 60})                # -> EncodeOptions, defaults filled in, or a SignalError

An option that is None was not given. A key of several codecs has one type in all of them, so that
`AnyEncodeOptions` (asked.py, written by tools/make_options.py) can be the keywords of `tersor.encode`.
"""

from __future__ import annotations

import math
import numbers
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Generic, TypedDict, TypeVar, Union, cast

from tersor.errors import SignalError

T = TypeVar("T")
OFF = (None, False)


@dataclass(frozen=True, slots=True)
class Option:
    """What may be asked for under one name.

    Attributes:
        help: half a sentence, without range and default.
        default: taken where nothing is given; in a group, where none of the group is.
        low, high: smallest and largest number allowed.
        above, below: as low and high, but not allowed themselves.
        whole: whole numbers only.
        multiple_of: of which a whole number must be a multiple.
        choices: words allowed.
        unit: of the number, such as "dB".
        one_of: name of the group of which one at most may be given.
        flag: on the command line, if not `--` and the name; "" for none.
        parse: from the text on the command line, for what is neither number, word nor switch.
        form: the text that `parse` takes, such as "X,Y,W,H".
    """

    help: str
    default: object = None
    low: float | None = None
    high: float | None = None
    above: float | None = None
    below: float | None = None
    whole: bool = False
    multiple_of: int = 1
    choices: tuple[str, ...] = ()
    unit: str = ""
    one_of: str = ""
    flag: str | None = None
    parse: Callable[[str], object] | None = None
    form: str = ""

    def allowed(self, whole: bool) -> str:
        """In words: "whole numbers from 1 to 100"."""
        if self.choices:
            return " and ".join(self.choices) if len(self.choices) < 3 else ", ".join(self.choices)
        kind = "whole numbers" if whole else "numbers"
        if self.multiple_of != 1:
            kind = f"multiples of {self.multiple_of}"
        low = f" from {self.low:g}" if self.low is not None else ""
        low = f" above {self.above:g}" if self.above is not None else low
        high = f" to {self.high:g}" if self.high is not None else ""
        high = f"{' and' * bool(low)} below {self.below:g}" if self.below is not None else high
        return f"{kind}{low}{high}{self.unit and f' {self.unit}'}"

    def fits(self, value: float) -> bool:
        """Whether a number lies in the range."""
        return (
            (math.isfinite(value) or self.low is self.high is self.above is self.below is None)
            and (self.low is None or value >= self.low)
            and (self.above is None or value > self.above)
            and (self.high is None or value <= self.high)
            and (self.below is None or value < self.below)
            and (self.multiple_of == 1 or value % self.multiple_of == 0)
        )


@dataclass(frozen=True, slots=True)
class Declared:
    """An option with its name and kind: float, int, bool, str, or object for what the codec checks itself."""

    name: str
    kind: type
    option: Option

    @property
    def flag(self) -> str:
        """On the command line; empty if it is not there."""
        return f"--{self.name.replace('_', '-')}" if self.option.flag is None else self.option.flag

    def allowed(self) -> str:
        """In words: "whole numbers from 1 to 100"."""
        if self.kind is bool:
            return "True and False"
        return self.option.allowed(self.option.whole or self.kind is int)

    def check(self, value: object) -> object:
        """The value as its kind.

        Raises:
            SignalError: of another kind, or out of range.
        """
        o, good = self.option, True
        if o.parse is not None or self.kind is object:
            return value
        if getattr(value, "ndim", None) == 0 and hasattr(value, "item"):  # a number of numpy or torch
            value = value.item()
        if self.kind is bool:
            good = isinstance(value, bool)
        elif self.kind is str:
            good = isinstance(value, str) and (not o.choices or value in o.choices)
        elif self.kind in (int, float):
            kind = numbers.Integral if o.whole or self.kind is int else numbers.Real
            good = isinstance(value, kind) and not isinstance(value, bool) and o.fits(float(value))
            value = int(value) if good and isinstance(value, numbers.Integral) else value
        if not good:
            raise SignalError(f"{self.name} is {value!r}; allowed are {self.allowed()}")
        return float(value) if isinstance(value, numbers.Real) and not isinstance(value, int) else value


class Options(Generic[T]):
    """The options of one codec for one direction; iterates over their names.

    Args:
        codec: its name, for messages.
        declaration: a TypedDict whose values are `Annotated[type | None, Option(...)]`.
    """

    def __init__(self, codec: str, declaration: type[T]) -> None:
        self.codec = codec
        hints = typing.get_type_hints(declaration, include_extras=True)
        self.declared = {name: _declared(name, hint) for name, hint in hints.items()}

    def __iter__(self) -> Iterator[str]:
        return iter(self.declared)

    def check(self, given: Mapping[str, object]) -> T:
        """All options, those not given as their defaults.

        Raises:
            SignalError: an option that is not declared, two of one group, or a value that is not allowed.
        """
        if unknown := sorted(set(given) - set(self.declared)):
            raise SignalError(
                f"the codec '{self.codec}' has no option {', '.join(unknown)}; "
                f"it has {', '.join(self.declared) or 'none'}"
            )
        asked: dict[str, str] = {}
        for name, d in self.declared.items():
            if (group := d.option.one_of) and given.get(name) not in OFF:
                if group in asked:
                    raise SignalError(f"{asked[group]} and {name} exclude each other; give one")
                asked[group] = name
        values: dict[str, object] = {}
        for name, d in self.declared.items():
            value = given.get(name)
            grouped = d.option.one_of in asked
            values[name] = d.check(value) if value is not None else None if grouped else d.option.default
        return cast(T, values)

    def asked(self, values: T, group: str) -> tuple[str, Any]:
        """(name, value) of the one option of a group that `check` left on; ("", None) if none is."""
        for name, d in self.declared.items():
            value = cast(Mapping[str, object], values)[name]
            if d.option.one_of == group and value not in OFF:
                return name, value
        return "", None


def _declared(name: str, hint: object) -> Declared:
    option = next(m for m in typing.get_args(hint)[1:] if isinstance(m, Option))
    bare = typing.get_args(hint)[0] if typing.get_origin(hint) is Annotated else hint
    if typing.get_origin(bare) in (Union, types.UnionType):
        (bare,) = (t for t in typing.get_args(bare) if t is not type(None))
    return Declared(name, bare if bare in (int, float, bool, str) else object, option)


def parse_region(text: str) -> tuple[int, int, int, int]:
    """ "0,0,256,256" -> x, y, width, height.

    Raises:
        SignalError: not four whole numbers.
    """
    try:
        x, y, w, h = (int(v) for v in text.split(","))
    except ValueError:
        raise SignalError(
            f"region '{text}' is not four whole numbers; give X,Y,W,H such as 0,0,256,256"
        ) from None
    return x, y, w, h


def checked_region(region: object, width: int, height: int) -> tuple[int, int, int, int]:
    """x, y, width and height of a rectangle inside an image; all of it for None.

    Raises:
        SignalError: no such rectangle.
    """
    if region is None:
        return 0, 0, width, height
    if not isinstance(region, (tuple, list)) or len(region) != 4:
        raise SignalError(f"region is {region!r}; it must be four whole numbers: x, y, width, height")
    if not all(isinstance(v, numbers.Integral) for v in region):
        raise SignalError(f"region is {region!r}; it must be four whole numbers: x, y, width, height")
    x, y, w, h = (int(v) for v in region)
    if x < 0 or y < 0 or w < 1 or h < 1 or x + w > width or y + h > height:
        raise SignalError(
            f"region {x},{y},{w},{h} does not lie inside the image of {width}x{height} pixels; "
            "give x,y,width,height"
        )
    return x, y, w, h


class DecodeOptions(TypedDict, total=False):
    """What every codec in chunks can be asked when it decodes; codecs add to it."""

    salvage: Annotated[
        bool | None, Option("fill what is damaged and say what, instead of failing", default=False)
    ]
