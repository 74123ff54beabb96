"""Sizes and speed without loss on .safetensors files, beside other compressors.

Our bytes are those of the whole .tsr file, the others' those of the whole safetensors file after them
(pcodec: of its tensors). Files of float32 are measured a second time after rounding to bfloat16. Everything
runs in this process, with all cores, from memory to memory; the least time of three counts, and the first
call, which compiles the loops, does not.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypedDict

import numpy as np

from tersor.codecs.tensor.codec import TensorCodec
from tersor.errors import SignalError, TersorError
from tersor.evaluate.anchors.tensors import ANCHORS, Result, run_anchor, timed
from tersor.evaluate.field import geometric_mean
from tersor.evaluate.lab import Paths, find, pyplot
from tersor.evaluate.report import Curve, Report, write_json
from tersor.files.tensors import SUFFIX, pieces, read_tensors
from tersor.signals.tensors import Tensor, Tensors

OURS = "tersor"

Row = TypedDict(
    "Row", {"file": str, "as": str, "raw_bytes": int, "results": dict[str, dict[str, float]]}
)  # each codec's `Result`


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorReport(Report):
    """Sizes in percent and speeds, a point a file."""

    rows: Sequence[Row]

    def text(self) -> list[str]:
        """How many times as large our files are, by type and anchor."""
        lines = []
        for kind in dict.fromkeys(r["as"] for r in self.rows):
            here = [r["results"] for r in self.rows if r["as"] == kind]
            for name in self.curves:
                both = [r for r in here if name in r and name != OURS]
                if both:
                    ratio = geometric_mean([r[OURS]["bytes"] / r[name]["bytes"] for r in both])
                    lines.append(
                        f"as {kind}: tersor / {name} {ratio:.4f}, geometric mean of {len(both)} files"
                    )
        return lines

    def write(self, folder: Path) -> None:
        write_json(folder / "tensors.json", {"rows": self.rows})

    def plot(self, path: str | Path) -> None:
        """Percent of raw of each file and type."""
        plt = pyplot()
        labels = [f"{r['file']} as {r['as']}" for r in self.rows]
        figure, axis = plt.subplots(figsize=(8, 0.4 * len(labels) + 1.5))
        for i, name in enumerate(self.curves):
            sizes = [
                100 * r["results"][name]["bytes"] / r["raw_bytes"] if name in r["results"] else math.nan
                for r in self.rows
            ]
            axis.plot(sizes, range(len(labels)), "osD^"[i % 4], label=name)
        axis.set_yticks(range(len(labels)), labels)
        axis.set_xlabel("% of the safetensors file")
        axis.grid(alpha=0.3)
        axis.legend()
        figure.tight_layout()
        figure.savefig(path, dpi=110)
        plt.close(figure)


def ours(codec: TensorCodec, file: bytes, signal: Tensors) -> Result:
    """As `run_anchor`, with this codec."""
    coded, decoded, encode_seconds, decode_seconds = timed(
        lambda: codec.encode_batch([signal])[0], lambda coded: codec.decode_batch([coded])[0]
    )
    if b"".join(pieces(decoded, SUFFIX)) != file:
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


def compare(
    codec: str,
    paths: Paths,
    anchors: Sequence[str] | None = None,
    rates: Sequence[float] | None = None,
    *,
    limit: int | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> TensorReport:
    """Measure the tensor codec on .safetensors files; see `tersor.evaluate.compare`. There are no rates."""
    names = list(ANCHORS if anchors is None else anchors)
    if unknown := sorted(set(names) - set(ANCHORS)):
        raise SignalError(f"no anchor for tensors is called {unknown[0]}; there are {', '.join(ANCHORS)}")
    if rates:
        raise SignalError("tensors are compared without loss; leave out the rates")
    files = find(paths, {SUFFIX}, limit, f"{SUFFIX} files")
    own = TensorCodec()
    rows: list[Row] = []
    say(f"{'file':<28}{'as':<9}{'MB':>7}  {'codec':<8}{'% of raw':>9}{'MB/s in':>9}{'out':>7}")
    for path in files:
        signal = read_tensors(path)
        kinds = {"it is": signal}
        if any(t.dtype == "F32" for t in signal.entries.values()):
            kinds["bfloat16"] = rounded(signal)
        for kind, tensors in kinds.items():
            file = b"".join(pieces(tensors, SUFFIX))
            read = read_tensors(file)
            results = {OURS: ours(own, file, read)}
            for name in names:
                try:
                    results[name] = run_anchor(name, file, read)
                except TersorError as e:
                    say(f"  {path.stem}: {e}")
            for i, (name, r) in enumerate(results.items()):
                first = f"{path.stem:<28}{kind:<9}{len(file) / 1e6:>7.1f}" if i == 0 else " " * 44
                speed = (
                    f"{len(file) / 1e6 / r.encode_seconds:>9.0f}{len(file) / 1e6 / r.decode_seconds:>7.0f}"
                )
                say(f"{first}  {name:<8}{100 * r.bytes / len(file):>9.2f}{speed}")
            found = {k: asdict(r) for k, r in results.items()}
            rows.append({"file": path.stem, "as": kind, "raw_bytes": len(file), "results": found})
    curves = {c: _curve(rows, c) for c in (OURS, *names)}
    return TensorReport(title="tensors", rows=rows, curves=curves, bd_rate={})


def _curve(rows: list[Row], name: str) -> Curve:
    """One point a file: percent of its size."""
    here = [(r["raw_bytes"], r["results"][name]) for r in rows if name in r["results"]]
    return {
        "percent": [100 * found["bytes"] / raw for raw, found in here],
        "encode_mb_s": [raw / 1e6 / found["encode_seconds"] for raw, found in here],
        "decode_mb_s": [raw / 1e6 / found["decode_seconds"] for raw, found in here],
    }
