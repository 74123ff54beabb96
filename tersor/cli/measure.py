"""tersor eval and bench."""

from __future__ import annotations

import argparse
from importlib import import_module

from tersor.registry import by_name

ANCHORS = {"image": "jpeg,webp,avif", "field": "sz3,sperr,zfp", "audio": "opus,mp3,aac"}


def evaluate(args: argparse.Namespace) -> int:
    signal = by_name(args.codec).signal
    args.anchors = ANCHORS[signal] if args.anchors is None else args.anchors
    code: int = import_module(f"tersor.evaluate.{signal}").run(args)
    return code


def bench(args: argparse.Namespace) -> int:
    from tersor.bench import run

    return run(args)
