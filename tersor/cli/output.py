"""What commands say: one line or JSON object a file, errors with exit codes, a bar on a terminal."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from tersor.errors import BitstreamError, MissingDependencyError, TersorError, WeightsError

OK, ERROR, USAGE, BAD_BITSTREAM, MISSING = 0, 1, 2, 3, 4


def fail(error: TersorError, name: str = "") -> int:
    """Say it on stderr; -> exit code."""
    text = str(error)
    print(f"tersor: {name + ': ' if name and name not in text else ''}{text}", file=sys.stderr)
    if isinstance(error, BitstreamError):
        return BAD_BITSTREAM
    return MISSING if isinstance(error, (WeightsError, MissingDependencyError)) else ERROR


def exit_code(codes: list[int], many: bool) -> int:
    return OK if not codes else ERROR if many else codes[0]


class Progress:
    """A bar on stderr, if it is a terminal."""

    def __init__(self, quiet: bool) -> None:
        self.on = sys.stderr.isatty() and not quiet

    def __call__(self, done: int, total: int) -> None:
        if self.on and total > 1:
            print(
                f"\r{'#' * (30 * done // total):<30} {100 * done // total} %",
                end="" if done < total else "\r\033[K",
                file=sys.stderr,
                flush=True,
            )


def report(args: argparse.Namespace, line: str, facts: dict[str, Any], to_stdout: bool) -> None:
    if args.quiet:
        return
    print(json.dumps(facts) if args.json else line, file=sys.stderr if to_stdout else sys.stdout, flush=True)
