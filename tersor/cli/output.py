"""What commands say: one line or JSON object a file, errors with exit codes, a bar on a terminal."""

from __future__ import annotations

import argparse
import json
import logging
import math
import sys
import time
from collections.abc import Mapping

from tersor.errors import BitstreamError, MissingDependencyError, WeightsError

OK, ERROR, USAGE, BAD_BITSTREAM, MISSING = 0, 1, 2, 3, 4


def code_of(error: Exception) -> int:
    """The exit code that an error stands for."""
    if isinstance(error, BitstreamError):
        return BAD_BITSTREAM
    return MISSING if isinstance(error, (WeightsError, MissingDependencyError)) else ERROR


def fail(
    error: Exception, name: str = "", as_json: bool = False, to_stderr: bool = False, key: str = "input"
) -> int:
    """Say it on stderr, and as an object where the others of the command are; -> exit code.

    Args:
        error: what went wrong.
        name: of the file.
        as_json: whether objects were asked for.
        to_stderr: whether they go there, since standard output has the file.
        key: of the name in the object.
    """
    text = str(error)
    print(f"tersor: {name + ': ' if name and name not in text else ''}{text}", file=sys.stderr)
    code = code_of(error)
    if as_json:
        facts = {key: name, "ok": False, "error": text, "kind": type(error).__name__, "exit_code": code}
        print(json_line(facts), file=sys.stderr if to_stderr else sys.stdout, flush=True)
    return code


def exit_code(codes: list[int]) -> int:
    """Of several failures: the one code that all have, or that of any error."""
    return OK if not codes else codes[0] if len(set(codes)) == 1 else ERROR


class CompilingLine(logging.Handler):
    """Says once on stderr what a first call waits for."""

    said = False

    def emit(self, record: logging.LogRecord) -> None:
        if not self.said:
            self.said = True
            print(
                "tersor: compiling for this processor, once; of video it takes a minute, else some seconds "
                "(tersor warm-up does it beforehand)",
                file=sys.stderr,
            )


def say_when_compiling(quiet: bool) -> None:
    """Listen to `entropy.compiled`, unless the command is quiet."""
    log = logging.getLogger("tersor.compiled")
    log.handlers.clear()
    log.propagate = False
    if not quiet:
        log.addHandler(CompilingLine())
        log.setLevel(logging.INFO)


class Progress:
    """A bar on stderr, if it is a terminal; after a second with the speed and the time left."""

    def __init__(self, quiet: bool) -> None:
        self.on = sys.stderr.isatty() and not quiet
        self._began, self._before = time.monotonic(), 0

    def __call__(self, done: int, total: int) -> None:
        if not self.on or total < 2:
            return
        if done < self._before or not self._before:
            self._began = time.monotonic()
        self._before = done
        print(self.line(done, total, time.monotonic() - self._began), end="", file=sys.stderr, flush=True)

    @staticmethod
    def line(done: int, total: int, seconds: float) -> str:
        """What the bar shows after so many seconds."""
        if done >= total:
            return "\r\033[K"
        text = f"\r\033[K{'#' * (30 * done // total):<30} {100 * done // total} %"
        if seconds < 1 or not done:
            return text
        left = round((total - done) * seconds / done)
        return f"{text}  {done / seconds:.1f}/s  {left // 60}:{left % 60:02} left"


def report(args: argparse.Namespace, line: str, facts: dict[str, object], to_stdout: bool) -> None:
    if args.quiet:
        return
    print(json_line(facts) if args.json else line, file=sys.stderr if to_stdout else sys.stdout, flush=True)


def json_line(facts: Mapping[str, object]) -> str:
    """One line of JSON (RFC 8259), which has no numbers that are not finite: they are null."""
    return json.dumps(_finite(facts), allow_nan=False)


def _finite(value: object) -> object:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {k: _finite(v) for k, v in value.items()}
    return [_finite(v) for v in value] if isinstance(value, (list, tuple)) else value
