"""tersor warm-up: what a first call would wait for, now."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict

from tersor.cli.output import OK


def warm_up(args: argparse.Namespace) -> int:
    from tersor.warm_up import warm_up

    for done in warm_up(args.codecs):
        if args.json:
            print(json.dumps(asdict(done)), flush=True)
            continue
        what = f"{done.loops} loops compiled and kept" if done.loops else "nothing to compile"
        print(f"{done.codec}: {what}, {done.seconds:.1f} s", flush=True)
    return OK
