"""tersor decode."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from tersor.cli.arguments import declared, given
from tersor.cli.output import Progress, exit_code, fail, report
from tersor.cli.paths import Outputs, expand, open_input, output_path
from tersor.errors import SignalError, TersorError
from tersor.files.kinds import KINDS, without_metadata


def decode(args: argparse.Namespace) -> int:
    from tersor.api import Codec, describe
    from tersor.container import Reader
    from tersor.registry import by_wire_id

    items, many, _ = expand(args.inputs, {".tsr"})
    options = given(args, declared("DECODE"))
    writing = {} if args.crf is None else {"crf": args.crf}
    codecs: dict[str, Codec] = {}
    progress = Progress(args.quiet)
    outputs = Outputs(args.force)
    codes = []
    for name, relative in items:
        began = time.perf_counter()
        path: Path | None = None
        try:
            with open_input(name) as source:
                reader = Reader(source, salvage=args.salvage)
                entry = by_wire_id(reader.codec)
                kind = KINDS[entry.signal]
                usual = describe(reader).suffix
                path = output_path(name, relative, args.output, many, usual)
                path = outputs.claim(path, name)
                if entry.name not in codecs:
                    codecs[entry.name] = Codec(
                        entry.name, device=args.device, batch=args.batch, threads=args.threads
                    )
                codec = codecs[entry.name]
                if writing and entry.signal != "video":
                    raise SignalError(f"--{' --'.join(writing)} is for video; leave it out")
                if args.strip and entry.signal not in ("image", "integers"):
                    raise SignalError("--strip is for images; leave it out")
                signal = kind.decode_to(codec, reader, path, {**options, "progress": progress}, writing)
                lost: tuple[str, ...] = ()
                if signal is None:
                    signal = kind.decode(codec, reader, {**options, "progress": progress})
                    if args.strip:
                        signal = without_metadata(signal)
                    lost = kind.write(signal, path, usual)
        except TersorError as e:
            outputs.release(path)
            codes.append(fail(e, name, args.json, args.output == "-"))
            continue
        seconds = time.perf_counter() - began
        what, _, numbers = kind.describe(signal, reader.size)
        facts = {
            "input": name,
            "output": str(path or "-"),
            "bytes": reader.size,
            **numbers,
            "seconds": round(seconds, 3),
            "codec": entry.name,
            "device": codec.device,
        }
        said = (*signal.notes, *lost)
        if said:
            facts["notes"] = list(said)
        notes = f"  ({'; '.join(said)})" if said else ""
        report(args, f"{name} -> {path or '-'}  {what}  {seconds:.2f} s{notes}", facts, path is None)
    return exit_code(codes)
