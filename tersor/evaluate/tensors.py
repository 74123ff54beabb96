"""`tersor eval --codec tensor`: sizes and speed without loss on .safetensors files, beside other compressors.

Our bytes are those of the whole .tsr file, the others' those of the whole safetensors file after them
(pcodec: of its tensors). Files of float32 are measured a second time after rounding to bfloat16. Everything
runs in this process, with all cores, from memory to memory; the least time of three counts, and the first
call, which compiles the loops, does not.
"""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from tersor.codecs.tensor.codec import TensorCodec
from tersor.errors import SignalError, TersorError
from tersor.evaluate.anchors.tensors import ANCHORS, Result, run_anchor, timed
from tersor.files.tensors import pieces, read_tensors
from tersor.signals.tensors import Tensor, Tensors


def ours(codec: TensorCodec, file: bytes, signal: Tensors) -> Result:
    """As `run_anchor`, with this codec."""
    coded, decoded, encode_seconds, decode_seconds = timed(
        lambda: codec.encode_batch([signal])[0], lambda coded: codec.decode_batch([coded])[0]
    )
    if b"".join(pieces(decoded, ".safetensors")) != file:
        raise SignalError("the file did not come back")
    return Result(bytes=len(coded), encode_seconds=encode_seconds, decode_seconds=decode_seconds)


def rounded(signal: Tensors) -> Tensors:
    """float32 rounded to bfloat16, to nearest and ties to even; the rest as it is."""

    def one(t: Tensor) -> Tensor:
        if t.dtype != "F32":
            return t
        bits = t.words.astype(np.uint64)
        words = ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)
        return Tensor(dtype="BF16", shape=t.shape, words=words)

    return Tensors(entries={n: one(t) for n, t in signal.entries.items()}, metadata=signal.metadata)


def run(args: argparse.Namespace) -> int:
    """The command."""
    names = [a for a in args.anchors.split(",") if a]
    if unknown := sorted(set(names) - set(ANCHORS)):
        raise SignalError(f"no anchor for tensors is called {unknown[0]}; there are {', '.join(ANCHORS)}")
    data = Path(args.data)
    paths = [data] if data.is_file() else sorted(data.glob("*.safetensors"))
    if not paths:
        raise SignalError(f"{args.data}: no .safetensors files here")
    paths = paths[:: max(1, len(paths) // args.limit)][: args.limit] if args.limit else paths
    codec = TensorCodec()
    rows: list[dict[str, Any]] = []
    print(f"{'file':<28}{'as':<9}{'MB':>7}  {'codec':<8}{'% of raw':>9}{'MB/s in':>9}{'out':>7}")
    for path in paths:
        signal = read_tensors(path)
        kinds = {"it is": signal}
        if any(t.dtype == "F32" for t in signal.entries.values()):
            kinds["bfloat16"] = rounded(signal)
        for kind, tensors in kinds.items():
            file = b"".join(pieces(tensors, ".safetensors"))
            read = read_tensors(file)
            results = {"tersor": ours(codec, file, read)}
            for name in names:
                try:
                    results[name] = run_anchor(name, file, read)
                except TersorError as e:
                    print(f"  {path.stem}: {e}")
            for i, (name, r) in enumerate(results.items()):
                first = f"{path.stem:<28}{kind:<9}{len(file) / 1e6:>7.1f}" if i == 0 else " " * 44
                speed = (
                    f"{len(file) / 1e6 / r.encode_seconds:>9.0f}{len(file) / 1e6 / r.decode_seconds:>7.0f}"
                )
                print(f"{first}  {name:<8}{100 * r.bytes / len(file):>9.2f}{speed}", flush=True)
            rows.append(
                {
                    "file": path.stem,
                    "as": kind,
                    "raw_bytes": len(file),
                    "results": {k: asdict(r) for k, r in results.items()},
                }
            )
    for kind in ("it is", "bfloat16"):
        here = [r for r in rows if r["as"] == kind]
        for name in names:
            both = [r["results"] for r in here if name in r["results"]]
            if both:
                ratio = math.prod(r["tersor"]["bytes"] / r[name]["bytes"] for r in both) ** (1 / len(both))
                print(f"as {kind}: tersor / {name} {ratio:.4f} (geometric mean of {len(both)} files)")
    if args.output:
        folder = Path(args.output)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "tensors.json").write_text(json.dumps({"rows": rows}, indent=1) + "\n")
        print(f"written to {folder}")
    return 0
