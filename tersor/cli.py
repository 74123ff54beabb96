"""The command line. Heavy imports happen inside the commands that need them."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tersor import __version__
from tersor.errors import BitstreamError, MissingDependencyError, SignalError, TersorError, WeightsError

OK, ERROR, USAGE, BAD_BITSTREAM, MISSING = 0, 1, 2, 3, 4
FIELD_SUFFIXES = {".npy", ".nc", ".nc4", ".cdf"}
IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".avif", ".tif", ".tiff", ".bmp", ".ppm", ".pgm", ".gif", ".jp2"}
FILES_AT_ONCE_BYTES = 64 << 20


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(prog="tersor", description="Learned codecs: files in, small files out, and back.")
    p.add_argument("--version", action="version", version=f"tersor {__version__}")
    sub = p.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def files(name: str, text: str, run: Callable[[argparse.Namespace], int]) -> argparse.ArgumentParser:
        q = sub.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        q.add_argument("inputs", nargs="+", metavar="IN", help="files or folders; - is standard input")
        q.set_defaults(run=run)
        return q

    def writing(q: argparse.ArgumentParser) -> None:
        q.add_argument("-o", "--output", metavar="OUT|DIR", help="file, folder, or - for standard output; default: beside the input")
        q.add_argument("-f", "--force", action="store_true", help="overwrite existing files")
        q.add_argument("-q", "--quiet", action="store_true", help="print nothing but errors")
        q.add_argument("--json", action="store_true", help="one JSON object a line")
        q.add_argument("--device", default="auto", help="auto, cpu or cuda (default auto)")

    q = files("encode", "encode images and arrays to .tsr files", encode)
    writing(q)
    q.add_argument("--codec", help="see 'tersor list' (default: field for .npy and .nc, image for the rest)")
    target = q.add_mutually_exclusive_group()
    target.add_argument("--quality", type=int, metavar="1..100", help="1 is smallest (default 50)")
    target.add_argument("--target-bpp", type=float, metavar="X", help="best quality whose file has at most X bits per pixel")
    target.add_argument("--target-psnr", type=float, metavar="DB", help="smallest file that reaches this PSNR")
    target.add_argument("--max-error", type=float, metavar="X", help="fields: no value off by more than X")
    target.add_argument("--rel-error", type=float, metavar="X", help="fields: no value off by more than X times the range (default 1e-3)")
    target.add_argument("--pointwise-rel-error", type=float, metavar="X", help="fields: no value off by more than X times itself")
    target.add_argument("--target-ratio", type=float, metavar="X", help="fields: smallest error whose file is X times smaller")
    target.add_argument("--lossless", action="store_true", default=None, help="fields: every bit")
    q.add_argument("--variables", metavar="A,B", help="fields: only these variables of a NetCDF file, and their coordinates (default all)")
    q.add_argument("--fill-value", type=float, metavar="X", help="fields: the value of missing cells, kept exactly and left out of the range")
    q.add_argument("--effort", type=int, metavar="1..9", help="above 3: refine for this image, slowly (default 3)")
    q.add_argument("--tile", type=int, metavar="PX", help="side of a tile, a multiple of 64 (default 1024)")
    q.add_argument("--batch", type=int, metavar="N", help="tiles that share a batch (default 4)")

    q = files("decode", "decode .tsr files", decode)
    writing(q)
    q.add_argument("--region", metavar="X,Y,W,H", help="only this rectangle, in pixels, from only the tiles it needs")
    q.add_argument("--slice", metavar="A:B,C:D", help="fields: only these ranges of the leading axes, or name=A:B,name=C:D, from only the blocks they touch")
    q.add_argument("--variables", metavar="A,B", help="fields: only these variables")
    q.add_argument("--salvage", action="store_true", help="fill damaged tiles and say which, instead of failing")
    q.add_argument("--batch", type=int, metavar="N", help="tiles that share a batch (default 4)")

    q = files("info", "show what a .tsr file holds, without decoding", info)
    q.add_argument("--json", action="store_true", help="one JSON object a line")
    files("verify", "check every checksum of .tsr files, without a model", verify)
    q = sub.add_parser("list", help="list the codecs", description="List the codecs.")
    q.add_argument("--json", action="store_true", help="one JSON object a line")
    q.set_defaults(run=list_codecs)

    q = sub.add_parser("eval", help="measure rate and distortion against other codecs", description="Measure rate and distortion: real file bytes, decoded output.")
    q.add_argument("--codec", default="image")
    q.add_argument("--data", required=True, metavar="DIR", help="folder of images, or of .npy files for --codec field")
    q.add_argument("--anchors", help="comma-separated: jpeg, webp, avif, jxl (default jpeg,webp,avif); for fields sz3, sperr, zfp (default all)")
    q.add_argument("--bounds", help="fields: comma-separated errors relative to the range (default 1e-2,1e-3,1e-4)")
    q.add_argument("--qualities", default="8,18,28,38,48,58,68,78,88", help="comma-separated 1..100")
    q.add_argument("--effort", type=int, default=None)
    q.add_argument("--limit", type=int, metavar="N", help="only N images, evenly spread")
    q.add_argument("--device", default="auto")
    q.add_argument("--reference", metavar="CSV", help="published curves to draw along (codec,rate_bpp,psnr_db,ms_ssim)")
    q.add_argument("-o", "--output", metavar="DIR", help="folder for the JSON files and the plot")
    q.set_defaults(run=evaluate)

    q = sub.add_parser("bench", help="time encoding and decoding, with the split by stage", description="Time encoding and decoding; medians.")
    q.add_argument("--data", metavar="DIR", help="folder of images; default: one picture that the command makes")
    q.add_argument("--device", default="auto")
    q.add_argument("--batch", type=int, default=4)
    q.add_argument("--quality", type=int, default=50)
    q.add_argument("--limit", type=int, default=8, metavar="N", help="images (default 8)")
    q.add_argument("--repeat", type=int, default=5)
    q.add_argument("--json", action="store_true")
    q.set_defaults(run=bench)
    return p


def main(argv: Sequence[str] | None = None) -> int:
    args = parser().parse_args(argv)
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


def fail(error: TersorError, name: str = "") -> int:
    """Say it on stderr; -> exit code."""
    text = str(error)
    print(f"tersor: {name + ': ' if name and name not in text else ''}{text}", file=sys.stderr)
    if isinstance(error, BitstreamError):
        return BAD_BITSTREAM
    return MISSING if isinstance(error, (WeightsError, MissingDependencyError)) else ERROR


def expand(inputs: Sequence[str], suffixes: set[str]) -> tuple[list[tuple[str, Path | None]], bool]:
    """(input, path inside the folder it came from) for each file; and whether many outputs are to be expected."""
    out: list[tuple[str, Path | None]] = []
    for name in inputs:
        path = Path(name)
        if name != "-" and path.is_dir():
            found = [p for p in sorted(path.rglob("*")) if p.suffix.lower() in suffixes and p.is_file()]
            if not found:
                raise SignalError(f"{name}: no files here end with {' '.join(sorted(suffixes))}")
            out += [(str(p), p.relative_to(path)) for p in found]
        else:
            out.append((name, None))
    return out, len(inputs) > 1 or any(r is not None for _, r in out)


def output_path(name: str, relative: Path | None, output: str | None, many: bool, suffix: str) -> Path | None:
    """Where the result goes; None is standard output.

    Raises:
        SignalError: no place follows from the arguments.
    """
    if output is None:
        return None if name == "-" else Path(name).with_suffix(suffix)
    if output == "-":
        if many:
            raise SignalError("-o - takes one input; several files cannot share standard output")
        return None
    folder = Path(output)
    if folder.is_dir() or output.endswith("/") or many:
        if name == "-":
            raise SignalError("standard input has no name; give -o a file, not a folder")
        return folder / (relative or Path(Path(name).name)).with_suffix(suffix)
    return folder


def read_input(name: str) -> bytes:
    if name == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(name).read_bytes()
    except OSError as e:
        raise SignalError(f"{name}: cannot be read ({e.strerror})") from e


class Outputs:
    """The files of one run: none is overwritten without -f, none is written twice."""

    def __init__(self, force: bool) -> None:
        self._force = force
        self._taken: set[Path] = set()

    def claim(self, path: Path | None) -> None:
        """Raises: SignalError if the path is not free."""
        if path is None:
            return
        try:
            exists, real = path.exists(), path.resolve()
        except OSError as e:
            raise SignalError(f"{path}: cannot be written ({e.strerror})") from e
        if real in self._taken:
            raise SignalError(f"two inputs would be written to {path}; give them different names or folders")
        if exists and not self._force:
            raise SignalError(f"{path} exists; give -f to overwrite it, or -o another name")
        self._taken.add(real)


def write_output(path: Path | None, data: bytes) -> None:
    from tersor.files.atomic import write_atomically

    if path is None:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise SignalError(f"{path.parent}: cannot be made ({e.strerror})") from e
    write_atomically(path, data)


class Progress:
    """A bar on stderr, if it is a terminal."""

    def __init__(self, quiet: bool) -> None:
        self.on = sys.stderr.isatty() and not quiet

    def __call__(self, done: int, total: int) -> None:
        if self.on and total > 1:
            print(f"\r{'#' * (30 * done // total):<30} {done}/{total} tiles", end="" if done < total else "\r\033[K", file=sys.stderr, flush=True)


def report(args: argparse.Namespace, line: str, facts: dict[str, Any], to_stdout: bool) -> None:
    if args.quiet:
        return
    print(json.dumps(facts) if args.json else line, file=sys.stderr if to_stdout else sys.stdout, flush=True)


def codec_of(name: str, asked: str | None) -> str:
    """The codec for an input: the one asked for, or by the file's suffix."""
    return asked or ("field" if Path(name).suffix.lower() in FIELD_SUFFIXES else "image")


def read_signal(name: str, kind: str, variables: list[str] | None) -> Any:
    """An Image, a Field or a FieldSet from a file or standard input."""
    if kind == "field":
        from tersor.files.fields import read_field

        return read_field(read_input(name) if name == "-" else Path(name), variables)
    if variables:
        raise SignalError(f"{name}: an image has no variables; leave out --variables")
    from tersor.signals import as_image

    return as_image(read_input(name) if name == "-" else Path(name))


def facts_of(signal: Any, size: int) -> tuple[str, str, dict[str, Any]]:
    """(what it is, how small its file of `size` bytes is, facts)."""
    ratio = signal.nbytes / size
    if hasattr(signal, "samples"):
        bpp = 8 * size / (signal.width * signal.height)
        return f"{signal.width}x{signal.height}", f"{size:,} bytes  {bpp:.3f} bpp  {ratio:.1f}:1", {"bpp": round(bpp, 4)}
    count = len(getattr(signal, "fields", ()))
    what = f"{count} variable{'s' * (count > 1)}" if hasattr(signal, "fields") else f"{signal.values.dtype} {'x'.join(map(str, signal.values.shape)) or 'scalar'}"
    return what, f"{size:,} bytes  {ratio:.1f}:1", {"ratio": round(ratio, 3)}


def encode(args: argparse.Namespace) -> int:
    from tersor.api import Codec
    from tersor.registry import by_name

    items, many = expand(args.inputs, IMAGE_SUFFIXES | FIELD_SUFFIXES)
    names = ("quality", "target_bpp", "target_psnr", "effort", "tile", "max_error", "rel_error", "pointwise_rel_error", "target_ratio", "lossless", "fill_value")
    options = {k: getattr(args, k) for k in names if getattr(args, k) is not None}
    variables = args.variables.split(",") if args.variables else None
    codecs: dict[str, Codec] = {}
    progress = Progress(args.quiet)
    codes = []

    def finish(codec_name: str, group: list[tuple[str, Path | None, Any]]) -> None:
        began = time.perf_counter()
        try:
            if codec_name not in codecs:
                codecs[codec_name] = Codec(codec_name, device=args.device, batch=args.batch)
            codec = codecs[codec_name]
            files = codec.encode_batch([signal for *_, signal in group], progress=progress, **options)
        except TersorError as e:
            if len(group) == 1:
                codes.append(fail(e, group[0][0]))
            else:
                for one in group:
                    finish(codec_name, [one])
            return
        seconds = (time.perf_counter() - began) / len(group)
        for (name, path, signal), data in zip(group, files, strict=True):
            try:
                write_output(path, data)
            except TersorError as e:
                codes.append(fail(e, name))
                continue
            what, how, numbers = facts_of(signal, len(data))
            facts = {"input": name, "output": str(path or "-"), "bytes": len(data), **numbers, "seconds": round(seconds, 3), "codec": codec_name, "device": codec.device}
            notes = f"  ({'; '.join(signal.notes)})" if signal.notes else ""
            if signal.notes:
                facts["notes"] = list(signal.notes)
            report(args, f"{name} -> {path or '-'}  {what}  {how}  {seconds:.2f} s{notes}", facts, path is None)

    groups: dict[str, list[tuple[str, Path | None, Any]]] = {}
    outputs = Outputs(args.force)
    for name, relative in items:
        try:
            codec_name = codec_of(name, args.codec)
            kind = by_name(codec_name).signal
            path = output_path(name, relative, args.output, many, ".tsr")
            outputs.claim(path)
            signal = read_signal(name, kind, variables)
        except TersorError as e:
            codes.append(fail(e, name))
            continue
        group = groups.setdefault(codec_name, [])
        group.append((name, path, signal))
        if sum(i.nbytes for *_, i in group) >= FILES_AT_ONCE_BYTES:
            finish(codec_name, groups.pop(codec_name))
    for codec_name, group in groups.items():
        finish(codec_name, group)
    return exit_code(codes, many)


def exit_code(codes: list[int], many: bool) -> int:
    return OK if not codes else ERROR if many else codes[0]


def parse_region(text: str) -> tuple[int, int, int, int]:
    try:
        x, y, w, h = (int(v) for v in text.split(","))
    except ValueError:
        raise SignalError(f"region '{text}' is not four whole numbers; give X,Y,W,H such as 0,0,256,256") from None
    return x, y, w, h


def parse_slices(text: str) -> tuple[slice, ...] | dict[str, slice]:
    """ "0:10,:,5:" or "time=0:10,lat=5:" -> slices."""
    parts = [part.rpartition("=") for part in text.split(",")]
    try:
        ranges = [[int(v) if v.strip() else None for v in p[2].split(":")] for p in parts]
    except ValueError:
        ranges = [[]]
    if not all(len(p) == 2 for p in ranges) or len({bool(p[1]) for p in parts}) != 1:
        raise SignalError(f"slice '{text}' is not a list of ranges; give start:stop for each leading axis, such as 0:10,20:40, or time=0:10,lat=20:40")
    if parts[0][1]:
        return {p[0].strip(): slice(*n) for p, n in zip(parts, ranges, strict=True)}
    return tuple(slice(*n) for n in ranges)


def signal_bytes(signal: Any, suffix: str) -> bytes:
    """A file of an Image, a Field or a FieldSet."""
    if not hasattr(signal, "samples"):
        from tersor.files.fields import field_bytes

        return field_bytes(signal, suffix)
    from tersor.files.images import image_bytes

    return image_bytes(signal, suffix)


def usual_suffix(reader: Any) -> str:
    """What a file decodes to if nothing was said: .png, .npy, or .nc for named variables."""
    from tersor.registry import by_wire_id

    if by_wire_id(reader.codec).signal != "field":
        return ".png"
    from tersor.codecs.field_header import FieldHeader

    variables = FieldHeader.unpack(reader.header, len(reader.chunk_lengths)).variables
    return ".npy" if len(variables) == 1 and not variables[0].name else ".nc"


def decode(args: argparse.Namespace) -> int:
    from tersor.api import Codec
    from tersor.container import Reader
    from tersor.registry import by_wire_id

    items, many = expand(args.inputs, {".tsr"})
    options: dict[str, Any] = {"region": parse_region(args.region)} if args.region else {}
    if args.slice:
        options["slices"] = parse_slices(args.slice)
    if args.variables:
        options["variables"] = args.variables.split(",")
    if args.salvage:
        options["salvage"] = True
    codecs: dict[str, Codec] = {}
    progress = Progress(args.quiet)
    outputs = Outputs(args.force)
    codes = []
    for name, relative in items:
        began = time.perf_counter()
        try:
            reader = Reader(read_input(name))
            entry = by_wire_id(reader.codec)
            usual = usual_suffix(reader)
            path = output_path(name, relative, args.output, many, usual)
            outputs.claim(path)
            if entry.name not in codecs:
                codecs[entry.name] = Codec(entry.name, device=args.device, batch=args.batch)
            codec = codecs[entry.name]
            signal = codec.decode(reader, progress=progress, **options)
            write_output(path, signal_bytes(signal, usual if path is None else path.suffix))
        except TersorError as e:
            codes.append(fail(e, name))
            continue
        seconds = time.perf_counter() - began
        what, _, numbers = facts_of(signal, reader.size)
        facts = {
            "input": name,
            "output": str(path or "-"),
            "bytes": reader.size,
            **numbers,
            "seconds": round(seconds, 3),
            "codec": entry.name,
            "device": codec.device,
        }
        if signal.notes:
            facts["notes"] = list(signal.notes)
        notes = f"  ({'; '.join(signal.notes)})" if signal.notes else ""
        report(args, f"{name} -> {path or '-'}  {what}  {seconds:.2f} s{notes}", facts, path is None)
    return exit_code(codes, many)


def each_file(inputs: Sequence[str]) -> Iterator[tuple[str, Any]]:
    """(name, open binary file or the error that kept it from opening)."""
    import io

    items, _ = expand(inputs, {".tsr"})
    for name, _ in items:
        if name == "-":
            yield name, io.BytesIO(sys.stdin.buffer.read())
            continue
        try:
            with Path(name).open("rb") as f:
                yield name, f
        except OSError as e:
            yield name, SignalError(f"{name}: cannot be read ({e.strerror})")


def info(args: argparse.Namespace) -> int:
    from tersor.api import describe
    from tersor.container import Reader

    codes = []
    for name, file in each_file(args.inputs):
        try:
            if isinstance(file, TersorError):
                raise file
            facts = {"file": name, **describe(Reader(file))}
        except TersorError as e:
            codes.append(fail(e, name))
            continue
        if args.json:
            print(json.dumps(facts))
        else:
            width = max(map(len, facts))
            print("\n".join(f"{k:<{width}}  {', '.join(v) or 'none' if isinstance(v, list) else v}" for k, v in facts.items()))
    return exit_code(codes, len(args.inputs) > 1)


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
                raise BitstreamError(f"{name}: damaged chunks {', '.join(map(str, bad))} of {len(reader.chunk_lengths)}; 'tersor decode --salvage' decodes the rest")
        except TersorError as e:
            codes.append(fail(e, name))
            continue
        print(f"{name}: ok, {len(reader.chunk_lengths)} chunks, {reader.size:,} bytes")
    return exit_code(codes, len(args.inputs) > 1)


def list_codecs(args: argparse.Namespace) -> int:
    from tersor.api import list_codecs as all_codecs

    for c in all_codecs():
        print(json.dumps(c) if args.json else f"{c['name']:<12} {c['wire_id']:>4}  {c['summary']}")
    return OK


def evaluate(args: argparse.Namespace) -> int:
    if args.codec == "field":
        args.anchors = "sz3,sperr,zfp" if args.anchors is None else args.anchors
        from tersor.evaluate_field import run as run_field

        return run_field(args)
    args.anchors = "jpeg,webp,avif" if args.anchors is None else args.anchors
    from tersor.evaluate import run

    return run(args)


def bench(args: argparse.Namespace) -> int:
    from tersor.bench import run

    return run(args)


if __name__ == "__main__":
    sys.exit(main())
