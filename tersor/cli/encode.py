"""tersor encode."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from tersor.cli.kinds import KINDS, SIGNAL_SUFFIXES, codec_of
from tersor.cli.output import Progress, exit_code, fail, report
from tersor.cli.paths import Outputs, expand, output_path, read_input
from tersor.errors import SignalError, TersorError
from tersor.files.atomic import write_output

FILES_AT_ONCE_BYTES = 64 << 20
GUESSED = (
    "; it was taken for an image, since its name says nothing: "
    "for sound give --codec audio, for arrays --codec field"
)
OPTIONS = (
    *("quality", "target_bpp", "target_psnr", "effort", "tile"),
    *("max_error", "rel_error", "pointwise_rel_error", "target_ratio", "lossless", "fill_value"),
    *("bitrate", "content", "segment"),
)


def encode(args: argparse.Namespace) -> int:
    from tersor.api import Codec
    from tersor.registry import by_name

    items, many = expand(args.inputs, SIGNAL_SUFFIXES)
    options = {k: getattr(args, k) for k in OPTIONS if getattr(args, k) is not None}
    variables = args.variables.split(",") if args.variables else None
    codecs: dict[str, Codec] = {}
    progress = Progress(args.quiet)
    codes = []

    def finish(codec_name: str, group: list[tuple[str, Path | None, Any]]) -> None:
        began = time.perf_counter()
        kind = KINDS[by_name(codec_name).signal]
        try:
            if codec_name not in codecs:
                codecs[codec_name] = Codec(codec_name, device=args.device, batch=args.batch)
            codec = codecs[codec_name]
            size = (
                kind.encode_to(codec, group[0][2], group[0][1], {**options, "progress": progress})
                if len(group) == 1
                else None
            )
            files: list[bytes | int] = (
                [size]
                if size is not None
                else [*codec.encode_batch([signal for *_, signal in group], progress=progress, **options)]
            )
        except TersorError as e:
            if len(group) == 1:
                codes.append(fail(e, group[0][0]))
            else:
                for one in group:
                    finish(codec_name, [one])
            return
        seconds = (time.perf_counter() - began) / len(group)
        for (name, path, signal), file in zip(group, files, strict=True):
            try:
                if isinstance(file, bytes):
                    write_output(path, file)
            except TersorError as e:
                codes.append(fail(e, name))
                continue
            size = len(file) if isinstance(file, bytes) else file
            what, how, numbers = kind.describe(signal, size)
            facts = {
                "input": name,
                "output": str(path or "-"),
                "bytes": size,
                **numbers,
                "seconds": round(seconds, 3),
                "codec": codec_name,
                "device": codec.device,
            }
            notes = f"  ({'; '.join(signal.notes)})" if signal.notes else ""
            if signal.notes:
                facts["notes"] = list(signal.notes)
            report(
                args, f"{name} -> {path or '-'}  {what}  {how}  {seconds:.2f} s{notes}", facts, path is None
            )

    groups: dict[str, list[tuple[str, Path | None, Any]]] = {}
    outputs = Outputs(args.force)
    for name, relative in items:
        try:
            codec_name = codec_of(name, args.codec)
            kind = KINDS[by_name(codec_name).signal]
            path = output_path(name, relative, args.output, many, ".tsr")
            outputs.claim(path)
            signal = kind.read(read_input(name) if name == "-" else Path(name), name, variables)
        except TersorError as e:
            guessed = (
                not args.codec
                and Path(name).suffix.lower() not in SIGNAL_SUFFIXES
                and (name == "-" or Path(name).is_file())
            )
            codes.append(fail(SignalError(f"{e}{GUESSED}") if guessed else e, name))
            continue
        group = groups.setdefault(codec_name, [])
        group.append((name, path, signal))
        if not kind.at_once or sum(i.nbytes for *_, i in group) >= FILES_AT_ONCE_BYTES:
            finish(codec_name, groups.pop(codec_name))
    for codec_name, group in groups.items():
        finish(codec_name, group)
    return exit_code(codes, many)
