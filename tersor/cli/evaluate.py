"""tersor eval and bench."""

from __future__ import annotations

import argparse
from importlib import import_module

from tersor.errors import SignalError
from tersor.registry import by_name

ANCHORS = {"image": "jpeg,webp,avif", "field": "sz3,sperr,zfp", "audio": "opus,mp3,aac"}
BENCHES = {"image": "tersor.evaluate.speed_image", "field": "tersor.evaluate.speed_field"}


def evaluate(args: argparse.Namespace) -> int:
    signal = by_name(args.codec).signal
    if signal not in ANCHORS:
        raise SignalError(
            f"'tersor eval' measures {', '.join(ANCHORS)}, not the codec '{args.codec}'; "
            "tools/studies.py lossless compares that one"
        )
    args.anchors = ANCHORS[signal] if args.anchors is None else args.anchors
    code: int = import_module(f"tersor.evaluate.{signal}").run(args)
    return code


def bench(args: argparse.Namespace) -> int:
    signal = by_name(args.codec).signal
    if signal not in BENCHES:
        raise SignalError(f"'tersor bench' times {', '.join(BENCHES)}, not the codec '{args.codec}'")
    code: int = import_module(BENCHES[signal]).run(args)
    return code
