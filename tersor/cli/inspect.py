"""tersor info, verify and list: no model is loaded, no torch imported."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tersor.cli.output import OK, exit_code, fail
from tersor.cli.paths import expand
from tersor.errors import BitstreamError, SignalError, TersorError


def each_file(inputs: Sequence[str]) -> Iterator[tuple[str, Any]]:
    """(name, open binary file or the error that kept it from opening)."""
    import io

    for name, _ in expand(inputs, {".tsr"}).items:
        if name == "-":
            yield name, io.BytesIO(sys.stdin.buffer.read())
            continue
        try:
            with Path(name).open("rb") as f:
                yield name, f
        except OSError as e:
            yield name, SignalError(f"{name}: cannot be read ({e.strerror})")


def info(args: argparse.Namespace) -> int:
    from tersor.api import describe
    from tersor.container import Reader

    codes = []
    for name, file in each_file(args.inputs):
        try:
            if isinstance(file, TersorError):
                raise file
            facts = {"file": name, **describe(Reader(file))}
        except TersorError as e:
            codes.append(fail(e, name, args.json, key="file"))
            continue
        if args.json:
            print(json.dumps(facts))
        else:
            width = max(map(len, facts))
            print(
                "\n".join(
                    f"{k:<{width}}  {', '.join(v) or 'none' if isinstance(v, list) else v}"
                    for k, v in facts.items()
                )
            )
    return exit_code(codes)


def verify(args: argparse.Namespace) -> int:
    from tersor.api import describe
    from tersor.container import Reader

    codes = []
    for name, file in each_file(args.inputs):
        try:
            if isinstance(file, TersorError):
                raise file
            reader = Reader(file)
            describe(reader)
            if bad := reader.damaged_chunks():
                raise BitstreamError(
                    f"{name}: damaged chunks {', '.join(map(str, bad))} of {len(reader.chunk_lengths)}; "
                    "'tersor decode --salvage' decodes the rest"
                )
        except TersorError as e:
            codes.append(fail(e, name, args.json, key="file"))
            continue
        chunks = len(reader.chunk_lengths)
        if args.json:
            print(json.dumps({"file": name, "ok": True, "chunks": chunks, "bytes": reader.size}))
        else:
            print(f"{name}: ok, {chunks} chunks, {reader.size:,} bytes")
    return exit_code(codes)


def list_codecs(args: argparse.Namespace) -> int:
    from tersor.api import list_codecs as all_codecs

    for c in all_codecs():
        print(json.dumps(c) if args.json else f"{c['name']:<12} {c['wire_id']:>4}  {c['summary']}")
    return OK
