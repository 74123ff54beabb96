"""The command line. Heavy imports happen inside the commands that need them."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from tersor.cli.output import ERROR, fail, say_when_compiling
from tersor.cli.parser import parser
from tersor.errors import TersorError

__all__ = ["main", "parser"]


def main(argv: Sequence[str] | None = None) -> int:
    args = parser().parse_args(argv)
    say_when_compiling(getattr(args, "quiet", False))
    as_json, to_stderr = getattr(args, "json", False), getattr(args, "output", None) == "-"
    try:
        code: int = args.run(args)
        return code
    except BrokenPipeError:
        return ERROR
    except (TersorError, OSError) as e:
        return fail(e, as_json=as_json, to_stderr=to_stderr)
    except KeyboardInterrupt:
        print("tersor: interrupted", file=sys.stderr)
        return 130
