"""tersor decode."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from tersor.cli.kinds import KINDS, without_metadata
from tersor.cli.output import Progress, exit_code, fail, report
from tersor.cli.paths import Outputs, expand, open_input, output_path
from tersor.errors import SignalError, TersorError


def parse_region(text: str) -> tuple[int, int, int, int]:
    try:
        x, y, w, h = (int(v) for v in text.split(","))
    except ValueError:
        raise SignalError(
            f"region '{text}' is not four whole numbers; give X,Y,W,H such as 0,0,256,256"
        ) from None
    return x, y, w, h


def parse_slices(text: str) -> tuple[slice, ...] | dict[str, slice]:
    """ "0:10,:,5:" or "time=0:10,lat=5:" -> slices."""
    parts = [part.rpartition("=") for part in text.split(",")]
    try:
        ranges = [[int(v) if v.strip() else None for v in p[2].split(":")] for p in parts]
    except ValueError:
        ranges = [[]]
    if not all(len(p) == 2 for p in ranges) or len({bool(p[1]) for p in parts}) != 1:
        raise SignalError(
            f"slice '{text}' is not a list of ranges; give start:stop for each leading axis, "
            "such as 0:10,20:40, or time=0:10,lat=20:40"
        )
    if parts[0][1]:
        return {p[0].strip(): slice(*n) for p, n in zip(parts, ranges, strict=True)}
    return tuple(slice(*n) for n in ranges)


def decode(args: argparse.Namespace) -> int:
    from tersor.api import Codec
    from tersor.container import Reader
    from tersor.registry import by_wire_id

    items, many, _ = expand(args.inputs, {".tsr"})
    options: dict[str, Any] = {"region": parse_region(args.region)} if args.region else {}
    if args.slice:
        options["slices"] = parse_slices(args.slice)
    if args.variables:
        options["variables"] = args.variables.split(",")
    for name in ("start", "stop"):
        if getattr(args, name) is not None:
            options[name] = getattr(args, name)
    if args.salvage:
        options["salvage"] = True
    if args.frames:
        from tersor.codecs.video.options import parse_frames

        options["frames"] = parse_frames(args.frames)
    if args.no_audio:
        options["no_audio"] = True
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
                usual = kind.usual_suffix(reader)
                path = output_path(name, relative, args.output, many, usual)
                path = outputs.claim(path, name)
                if entry.name not in codecs:
                    codecs[entry.name] = Codec(entry.name, device=args.device, batch=args.batch)
                codec = codecs[entry.name]
                if writing and entry.signal != "video":
                    raise SignalError(f"--{' --'.join(writing)} is for video; leave it out")
                if args.strip and entry.signal not in ("image", "integers"):
                    raise SignalError("--strip is for images; leave it out")
                signal = kind.decode_to(codec, reader, path, {**options, "progress": progress}, writing)
                lost: tuple[str, ...] = ()
                if signal is None:
                    signal = codec.decode(reader, progress=progress, **options)
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
