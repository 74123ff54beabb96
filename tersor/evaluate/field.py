"""`tersor eval --codec field`: ratios at value-range-relative bounds on a folder of .npy files, beside other
codecs.

Our bytes are those of the whole .tsr file. MB/s count the bytes of the array; the first call, which compiles
the loops, is not timed.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tersor.codecs.field.codec import FieldCodec
from tersor.errors import SignalError, TersorError
from tersor.evaluate.anchors.field import ANCHORS, FieldResult, quality, run_anchor
from tersor.files.field import read_field

BOUNDS = "1e-2,1e-3,1e-4"


def ours(codec: FieldCodec, x: NDArray[Any], bound: float) -> FieldResult:
    """Encode and decode once, timed."""
    t0 = time.perf_counter()
    (file,) = codec.encode_batch([x], max_error=bound)
    t1 = time.perf_counter()
    y = np.asarray(codec.decode_batch([file])[0])
    t2 = time.perf_counter()
    if not np.array_equal(np.isfinite(x), np.isfinite(y)):
        raise SignalError("cells that are not finite did not survive")
    over, psnr = quality(x, y, bound)
    return FieldResult(
        bytes=len(file), error_over_bound=over, psnr_db=psnr, encode_seconds=t1 - t0, decode_seconds=t2 - t1
    )


def run(args: argparse.Namespace) -> int:
    """The command."""
    names = [a for a in args.anchors.split(",") if a]
    if unknown := sorted(set(names) - set(ANCHORS)):
        raise SignalError(
            f"no anchor for fields is called {', '.join(unknown)}; there are {', '.join(ANCHORS)}"
        )
    try:
        bounds = [float(b) for b in (args.bounds or BOUNDS).split(",")]
    except ValueError:
        raise SignalError(f"bounds '{args.bounds}' are not numbers; give some such as {BOUNDS}") from None
    paths = sorted(Path(args.data).glob("*.npy"))
    if not paths:
        raise SignalError(f"{args.data}: no .npy files here")
    paths = paths[:: max(1, len(paths) // args.limit)][: args.limit] if args.limit else paths
    codec = FieldCodec()
    codec.decode_batch(
        codec.encode_batch(
            [np.zeros((8, 40, 40), np.float32) + np.arange(40, dtype=np.float32)], max_error=0.1
        )
    )
    rows: list[dict[str, Any]] = []
    columns = ["tersor", *names]
    print(
        f"{'field':<24}{'bound':>7}"
        + "".join(f"{c:>10}" for c in columns)
        + f"{'/ best':>9}{'err/bound':>11}{'MB/s in':>9}{'out':>7}"
    )
    for path in paths:
        x = np.asarray(read_field(path))
        known = x[np.isfinite(x)].astype(np.float64)
        for rel in bounds:
            bound = rel * float(known.max() - known.min())
            results = {"tersor": ours(codec, x, bound)}
            for name in names:
                try:
                    results[name] = run_anchor(name, x, bound)
                except TersorError as e:
                    print(f"  {path.stem}: {e}")
            ratios = {k: x.nbytes / r.bytes for k, r in results.items()}
            best = max((v for k, v in ratios.items() if k != "tersor"), default=math.nan)
            mine = results["tersor"]
            cells = "".join(f"{ratios.get(c, math.nan):>10.2f}" for c in columns)
            speed = (
                f"{x.nbytes / 1e6 / mine.encode_seconds:>9.1f}{x.nbytes / 1e6 / mine.decode_seconds:>7.1f}"
            )
            print(
                f"{path.stem:<24}{rel:>7g}{cells}{ratios['tersor'] / best:>9.2f}"
                f"{mine.error_over_bound:>11.6f}{speed}",
                flush=True,
            )
            rows.append(
                {
                    "field": path.stem,
                    "shape": x.shape,
                    "dtype": str(x.dtype),
                    "rel_error": rel,
                    "raw_bytes": x.nbytes,
                    "results": {k: asdict(r) for k, r in results.items()},
                }
            )
    summary = summarise(rows, columns, bounds)
    print()
    for line in summary["text"]:
        print(line)
    if args.output:
        folder = Path(args.output)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "field.json").write_text(
            json.dumps({"rows": rows, "summary": {k: v for k, v in summary.items() if k != "text"}}, indent=1)
            + "\n"
        )
        plot(rows, columns, bounds, folder / "field.png")
        print(f"written to {folder}")
    return 0


def summarise(rows: list[dict[str, Any]], columns: list[str], bounds: list[float]) -> dict[str, Any]:
    """Geometric means a bound, wins, violations, speed."""
    text, out = [], {}

    def mean(values: list[float]) -> float:
        return math.exp(sum(map(math.log, values)) / len(values)) if values else math.nan

    text.append("geometric means of the ratio")
    for rel in bounds:
        here = [r for r in rows if r["rel_error"] == rel]
        ratio = {
            c: mean([r["raw_bytes"] / r["results"][c]["bytes"] for r in here if c in r["results"]])
            for c in columns
        }
        against = {
            c: mean(
                [
                    r["results"][c]["bytes"] / r["results"]["tersor"]["bytes"]
                    for r in here
                    if c in r["results"]
                ]
            )
            for c in columns[1:]
        }
        best = [
            min(v["bytes"] for c, v in r["results"].items() if c != "tersor")
            / r["results"]["tersor"]["bytes"]
            for r in here
            if len(r["results"]) > 1
        ]
        out[str(rel)] = {
            "ratio": ratio,
            "against": against,
            "against_best": mean(best),
            "lost": sum(b < 1 for b in best),
            "fields": len(here),
        }
        line = f"  {rel:g}: " + "  ".join(f"{c} {v:.2f}" for c, v in ratio.items())
        text.append(
            line
            + "  |  tersor / "
            + "  ".join(f"{c} {v:.3f}" for c, v in against.items())
            + f"  best {mean(best):.3f}  lost {sum(b < 1 for b in best)} of {len(best)}"
        )
    for c in columns:
        errors = [r["results"][c]["error_over_bound"] for r in rows if c in r["results"]]
        encode = (
            sum(r["raw_bytes"] for r in rows if c in r["results"])
            / 1e6
            / sum(r["results"][c]["encode_seconds"] for r in rows if c in r["results"])
        )
        decode = (
            sum(r["raw_bytes"] for r in rows if c in r["results"])
            / 1e6
            / sum(r["results"][c]["decode_seconds"] for r in rows if c in r["results"])
        )
        broken = sum(e > 1 for e in errors)
        out[c] = {
            "violations": broken,
            "worst_error_over_bound": max(errors),
            "encode_mb_s": encode,
            "decode_mb_s": decode,
        }
        text.append(
            f"{c:<8} bound broken in {broken} of {len(errors)}, "
            f"worst error {max(errors):.4f} of the bound; {encode:.1f} MB/s in, {decode:.1f} out"
        )
    return out | {"text": text}


def plot(rows: list[dict[str, Any]], columns: list[str], bounds: list[float], path: Path) -> None:
    """Ratios of each field, one panel a bound."""
    try:
        import matplotlib
    except ImportError:
        print("no plot: pip install 'tersor[eval]' for matplotlib")
        return
    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    fields = list(dict.fromkeys(r["field"] for r in rows))
    figure, axes = plt.subplots(
        1, len(bounds), figsize=(5 * len(bounds), 0.4 * len(fields) + 1.5), sharey=True, squeeze=False
    )
    for axis, rel in zip(axes[0], bounds, strict=True):
        for i, c in enumerate(columns):
            here = {
                r["field"]: r["raw_bytes"] / r["results"][c]["bytes"]
                for r in rows
                if r["rel_error"] == rel and c in r["results"]
            }
            axis.plot(
                [here.get(f, math.nan) for f in fields],
                range(len(fields)),
                "osD^"[i % 4],
                label=c,
                markersize=9 if i == 0 else 6,
            )
        axis.set_xscale("log")
        axis.set_title(f"bound {rel:g} of the range")
        axis.set_xlabel("compression ratio")
        axis.grid(alpha=0.3)
    axes[0][0].set_yticks(range(len(fields)), fields)
    axes[0][0].legend()
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)
