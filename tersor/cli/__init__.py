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
    try:
        code: int = args.run(args)
        return code
    except TersorError as e:
        return fail(e)
    except BrokenPipeError:
        return ERROR
    except OSError as e:
        print(f"tersor: {e}", file=sys.stderr)
        return ERROR
    except KeyboardInterrupt:
        print("tersor: interrupted", file=sys.stderr)
        return 130
