"""tersor eval and bench: what tersor.evaluate finds, printed."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from importlib import import_module
from typing import Any

from tersor.errors import SignalError
from tersor.registry import by_name

BENCHES = {
    "image": ("device", "batch", "quality", "limit", "repeat"),
    "field": ("rel_error", "effort", "limit", "repeat"),
    "audio": ("quality", "limit", "repeat"),
    "video": ("quality", "limit", "repeat"),
}
RATES = {"image": "qualities", "field": "bounds", "audio": "bitrates", "video": "qualities"}
OPTIONS = {
    "image": ("device", "effort", "reference"),
    "field": ("effort",),
    "audio": ("device", "judges"),
    "tensors": (),
    "video": ("effort", "modes", "frames"),
}


def say(line: str) -> None:
    print(line, flush=True)


def evaluate(args: argparse.Namespace) -> int:
    from tersor.evaluate import COMPARED, compare

    signal = by_name(args.codec).signal
    if signal not in COMPARED:
        raise SignalError(
            f"'tersor eval' measures {', '.join(COMPARED)}, not the codec '{args.codec}'; "
            "tools/studies.py lossless compares that one"
        )
    report = compare(
        args.codec,
        args.data,
        None if args.anchors is None else [name for name in args.anchors.split(",") if name],
        numbers(args, RATES[signal]) if signal in RATES else None,
        limit=args.limit,
        say=say,
        **{name: option(args, name) for name in OPTIONS[signal]},
    )
    for line in report.text():
        say(line)
    if args.output:
        say(f"written to {report.save(args.output)}")
    return 0


def option(args: argparse.Namespace, name: str) -> Any:
    """An option as `compare` takes it; judges are a list with commas."""
    value = getattr(args, name)
    return [part for part in value.split(",") if part] if name == "judges" and value is not None else value


def numbers(args: argparse.Namespace, name: str) -> list[float] | None:
    """A list of numbers that was given with commas."""
    text = getattr(args, name)
    kind: Callable[[str], Any] = int if name == "qualities" else float
    try:
        return None if text is None else [kind(part) for part in text.split(",")]
    except ValueError:
        words = "whole numbers such as 10,50,90" if kind is int else "numbers; give some such as 8,16"
        raise SignalError(f"--{name} '{text}' are not {words}") from None


def bench(args: argparse.Namespace) -> int:
    signal = by_name(args.codec).signal
    if signal not in BENCHES:
        raise SignalError(f"'tersor bench' times {', '.join(BENCHES)}, not the codec '{args.codec}'")
    speed = import_module(f"tersor.evaluate.speed_{signal}")
    facts = speed.measure(args.data, **{name: getattr(args, name) for name in BENCHES[signal]})
    from tersor.evaluate.report import json_text

    print(json_text(facts) if args.json else "\n".join(speed.lines(facts)))
    return 0
