"""tersor encode."""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tersor.cli.arguments import declared, given
from tersor.cli.fitting import BEST, FITTED, Watching, kind_of
from tersor.cli.output import Progress, exit_code, fail, json_line, report
from tersor.cli.paths import Outputs, expand, output_path, read_input, said_of_passed_over
from tersor.errors import SignalError, TersorError
from tersor.files.atomic import write_output
from tersor.files.kinds import SIGNAL_SUFFIXES, Asked, codec_of, without_metadata

FILES_AT_ONCE_BYTES = 64 << 20
GUESSED = (
    "; it was taken for an image, since its name says nothing: "
    "for sound give --codec audio, for video --codec video, for arrays --codec field"
)


def encode(args: argparse.Namespace) -> int:
    items, many, passed_over = expand(args.inputs, _suffixes(args.inputs))
    many = many or not (args.pages is None or args.pages.isdecimal())
    options = given(args, declared("ENCODE"))
    variables = args.variables.split(",") if args.variables else None
    codecs: dict[str, Any] = {}
    progress = Progress(args.quiet)
    codes = []
    interrupted: list[bool] = []

    def finish(codec_name: str, group: list[tuple[str, Path | None, Any]]) -> None:
        began = time.perf_counter()
        kind = kind_of(codec_name)
        watch = Watching(group[0][0], args.quiet) if codec_name in FITTED else None
        told = {"progress": progress} if watch is None else {"watch": watch}
        try:
            if codec_name not in codecs:
                codecs[codec_name] = _codec(codec_name, args)
            codec = codecs[codec_name]
            with watch or contextlib.nullcontext():
                size = (
                    kind.encode_to(codec, group[0][2], group[0][1], {**options, **told})
                    if len(group) == 1
                    else None
                )
                files: list[bytes | int] = (
                    [size]
                    if size is not None
                    else [*codec.encode_batch([signal for *_, signal in group], **told, **options)]
                )
        except TersorError as e:
            if len(group) == 1:
                codes.append(fail(e, group[0][0], args.json, group[0][1] is None))
                outputs.release(group[0][1])
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
                codes.append(fail(e, name, args.json, path is None))
                outputs.release(path)
                continue
            size = len(file) if isinstance(file, bytes) else file
            what, how, numbers = kind.describe(signal, size)
            written = file if isinstance(file, bytes) else path
            numbers |= {} if written is None else _reached(codec, written, signal, options)
            facts = {
                "input": name,
                "output": str(path or "-"),
                "bytes": size,
                **numbers,
                "seconds": round(seconds, 3),
                "codec": codec.chosen if codec_name == BEST else codec_name,
                "device": codec.device,
            }
            said = [*signal.notes, *([watch.note] if watch and watch.note else [])]
            if codec_name == BEST:
                said.append(codec.why)
                facts["why"] = codec.why
            notes = f"  ({'; '.join(said)})" if said else ""
            if said:
                facts["notes"] = said
            report(
                args, f"{name} -> {path or '-'}  {what}  {how}  {seconds:.2f} s{notes}", facts, path is None
            )
        if watch and watch.note:  # the others were not asked to be shorter, but to end
            interrupted.append(True)

    groups: dict[str, list[tuple[str, Path | None, Any]]] = {}
    outputs = Outputs(args.force, args.output)
    pictures = _paged(items, args, codes)
    for name, relative, page in pictures:
        try:
            codec_name = codec_of(name, args.codec)
            kind = kind_of(codec_name)
            path = output_path(name, relative, args.output, many, ".tsr")
            if path is not None and page is not None and many:
                path = path.with_name(f"{path.stem}-{page}{path.suffix}")
            source: Any = Path(name)
            if name == "-":
                source = sys.stdin.buffer if kind.streams else read_input(name)
            asked = Asked(name=name, variables=variables, page=page, salvage=args.salvage)
            signal = kind.read(source, asked)
            signal = without_metadata(signal) if args.strip else signal
            path = outputs.claim(path, name)  # what cannot be read claims no name
        except TersorError as e:
            guessed = not args.codec and (name == "-" or Path(name).is_file()) and _says_nothing(name)
            error = type(e)(f"{e}{GUESSED}") if guessed else e
            codes.append(fail(error, name, args.json, args.output == "-"))
            continue
        group = groups.setdefault(codec_name, [])
        group.append((name, path, signal))
        if (
            not kind.at_once
            or codec_name in FITTED
            or sum(i.nbytes for *_, i in group) >= FILES_AT_ONCE_BYTES
        ):
            finish(codec_name, groups.pop(codec_name))
        if interrupted:
            break
    for codec_name, group in groups.items():
        finish(codec_name, group)
    if interrupted and next(pictures, None) is not None:
        raise KeyboardInterrupt
    if passed_over and not args.quiet:
        print(f"tersor: {said_of_passed_over(passed_over)}", file=sys.stderr)
        if args.json:
            print(json_line({"passed_over": passed_over}), flush=True)
    return exit_code(codes)


def _codec(name: str, args: argparse.Namespace) -> Any:
    """What encodes and decodes under a name; it has `device`."""
    if name == BEST:
        from tersor.codecs.best import BestCodec

        return BestCodec(args.device, args.batch, args.threads)
    from tersor.api import Codec

    return Codec(name, device=args.device, batch=args.batch, threads=args.threads)


def _suffixes(inputs: Sequence[str]) -> frozenset[str]:
    """Of the files in folders that are taken; Pillow knows more pictures than those of the usual suffixes."""
    if not any(Path(name).is_dir() for name in inputs):
        return SIGNAL_SUFFIXES
    from tersor.files.image import picture_suffixes

    return SIGNAL_SUFFIXES | picture_suffixes()


def _says_nothing(name: str) -> bool:
    """Whether the kind of a file does not follow from its suffix."""
    from tersor.files.image import PLUGIN_SUFFIXES, RAW_SUFFIXES, picture_suffixes

    known = SIGNAL_SUFFIXES | picture_suffixes() | PLUGIN_SUFFIXES.keys() | RAW_SUFFIXES
    return Path(name).suffix.lower() not in known


def _paged(
    items: Sequence[tuple[str, Path | None]], args: argparse.Namespace, codes: list[int]
) -> Iterator[tuple[str, Path | None, int | None]]:
    """(name, path inside a folder, page) of every picture asked for."""
    for name, relative in items:
        if args.pages is None:
            yield name, relative, None
            continue
        try:
            for page in _pages(args.pages, name):
                yield name, relative, page
        except TersorError as e:
            codes.append(fail(e, name, args.json, args.output == "-"))


def _pages(text: str, name: str) -> range:
    """ "3", "2-5" or "all" -> pages from 1."""
    from tersor.files.image import page_count

    if name == "-":
        raise SignalError("--pages needs a file with a name, not standard input")
    if text == "all":
        return range(1, page_count(Path(name)) + 1)
    first, _, last = text.partition("-")
    if not (first.isdecimal() and (last or first).isdecimal() and 1 <= int(first) <= int(last or first)):
        raise SignalError(f"pages are '{text}'; allowed are a number from 1, a range such as 2-5, and all")
    return range(int(first), int(last or first) + 1)


def _reached(codec: Any, file: bytes | Path, signal: Any, options: dict[str, Any]) -> dict[str, Any]:
    """What an image came to: its quality, and its PSNR if that was the target, of the file as it decodes."""
    from tersor.api import describe
    from tersor.container import Reader
    from tersor.signals import Image

    if not isinstance(signal, Image):
        return {}
    data = file if isinstance(file, bytes) else file.read_bytes()
    found = describe(Reader(data))
    facts = {k: found[k] for k in ("quality",) if k in found}
    if options.get("target_psnr") is not None:
        from tersor.metrics.psnr import psnr

        decibels = psnr(codec.decode(data).samples, signal.samples)
        facts["psnr"] = round(decibels, 3) if decibels != float("inf") else None
    return facts
