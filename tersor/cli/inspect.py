"""tersor info, verify and list: no model is loaded, no torch imported."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tersor.cli.output import OK, exit_code, fail, json_line
from tersor.cli.paths import expand
from tersor.errors import BitstreamError, TersorError, unreadable
from tersor.facts import Facts


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
            yield name, unreadable(name, e)


def info(args: argparse.Namespace) -> int:
    from tersor.api import describe
    from tersor.container import Reader

    codes = []
    for name, file in each_file(args.inputs):
        try:
            if isinstance(file, TersorError):
                raise file
            facts = describe(Reader(file))
        except TersorError as e:
            codes.append(fail(e, name, args.json, key="file"))
            continue
        print(json_line({"file": name, **facts.json()}) if args.json else _readable(name, facts))
    return exit_code(codes)


def _readable(name: str, facts: Facts) -> str:
    """A fact a line, then a line for each variable."""
    lines = {"file": name} | {k: facts[k] for k in facts if k not in ("shape", "variables")}
    lines["shape"] = "x".join(map(str, facts.shape)) or "none"
    lines["metadata"] = ", ".join(facts.metadata) or "none"
    width = max(map(len, lines))
    text = [f"{k:<{width}}  {v}" for k, v in lines.items()]
    for v in facts.variables:
        extra = ", ".join(f"{k} {x}" for k, x in v.extra.items())
        text.append(f"{'variable':<{width}}  {v.name or '(no name)'}: {v.dtype} {list(v.shape)}, {extra}")
    return "\n".join(text)


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
            print(json_line({"file": name, "ok": True, "chunks": chunks, "bytes": reader.size}))
        else:
            print(f"{name}: ok, {chunks} chunks, {reader.size:,} bytes")
    return exit_code(codes)


def list_codecs(args: argparse.Namespace) -> int:
    from tersor.api import list_codecs as all_codecs

    codecs = sorted(all_codecs(), key=lambda c: c["wire_id"])
    width = max(len(c["name"]) for c in codecs)
    for c in codecs:
        print(json_line(c) if args.json else f"{c['name']:<{width}} {c['wire_id']:>4}  {c['summary']}")
    return OK
