"""The options of all codecs as arguments of the command line, from their one declaration."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from tersor import registry
from tersor.codecs.options import Declared, Options


def declared(direction: str) -> list[Options[object]]:
    """Of every codec that declares its options: "ENCODE" or "DECODE"."""
    entries = registry.BUILT_IN  # a broken plugin must not break --help
    return [registry.resolve(f"{e.options}:{direction}") for e in entries if e.options]


def add_options(parser: argparse.ArgumentParser, options: Sequence[Options[object]]) -> None:
    """One argument for each name, whichever codecs have it; options that exclude each other in one codec do
    so for all.
    """
    exclusive: dict[str, argparse._MutuallyExclusiveGroup] = {}
    for name, of in _by_name(options).items():
        first = next(iter(of.values()))
        group = first.option.one_of
        if group and group not in exclusive:
            exclusive[group] = parser.add_mutually_exclusive_group()
        to = exclusive[group] if group else parser
        flag, help_text = first.flag or "", _help(of).replace("%", "%%")
        if first.kind is bool:
            to.add_argument(flag, dest=name, action="store_true", default=None, help=help_text)
        elif first.option.choices:
            to.add_argument(flag, dest=name, choices=first.option.choices, help=help_text)
        elif first.option.parse or first.kind is str:
            to.add_argument(flag, dest=name, metavar=first.option.form or "NAME", help=help_text)
        else:
            to.add_argument(flag, dest=name, type=number, metavar=_form(of), help=help_text)


def given(args: argparse.Namespace, options: Sequence[Options[object]]) -> dict[str, Any]:
    """What was asked for, by name.

    Raises:
        SignalError: a text that is not what its option takes.
    """
    found: dict[str, Any] = {}
    for name, of in _by_name(options).items():
        value, parse = getattr(args, name, None), next(iter(of.values())).option.parse
        if value is not None:
            found[name] = parse(value) if parse else value
    return found


def number(text: str) -> int | float:
    """Whole if it is written so."""
    try:
        return int(text)
    except ValueError:
        return float(text)


def _by_name(options: Sequence[Options[object]]) -> dict[str, dict[str, Declared]]:
    """name -> codec -> its declaration, of options that the command line has."""
    found: dict[str, dict[str, Declared]] = {}
    for o in options:
        for name, d in o.declared.items():
            if d.flag:
                found.setdefault(name, {})[o.codec] = d
    return found


def _help(of: Mapping[str, Declared]) -> str:
    """What each codec says of it, once where they say the same."""
    said: dict[str, list[str]] = {}
    for codec, d in of.items():
        default = d.option.default
        told = isinstance(default, (int, float)) and not isinstance(default, bool)
        said.setdefault(d.option.help + (f" (default {default:g})" if told else ""), []).append(codec)
    return "; ".join(f"{', '.join(codecs)}: {text}" for text, codecs in said.items())


def _form(of: Mapping[str, Declared]) -> str:
    """What stands for the number."""
    ranges = {(d.option.low, d.option.high) for d in of.values()}
    ((low, high),) = ranges if len(ranges) == 1 else [(None, None)]
    if unit := next(iter(of.values())).option.unit:
        return unit.split()[0].upper()
    return "X" if low is None or high is None else f"{low:g}..{high:g}"
