"""Ratios of fields at value-range-relative bounds, beside other codecs.

Our bytes are those of the whole .tsr file. MB/s count the bytes of the array; the first call, which compiles
the loops, is not timed.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypedDict

import numpy as np

from tersor.arrays import Floating
from tersor.codecs.field.codec import FieldCodec
from tersor.errors import SignalError, TersorError
from tersor.evaluate.anchors.field import ANCHORS, FieldResult, quality, run_anchor
from tersor.evaluate.lab import Paths, find, pyplot
from tersor.evaluate.report import Curve, Report, write_json
from tersor.files.field import read_field
from tersor.metrics.rate_distortion import bd_rate

RATES = (1e-2, 1e-3, 1e-4)
OURS = "tersor"


class Row(TypedDict):
    """A field at a bound: what it is, and the `FieldResult` of each codec."""

    field: str
    shape: tuple[int, ...]
    dtype: str
    rel_error: float
    raw_bytes: int
    values: int
    results: dict[str, dict[str, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldReport(Report):
    """Curves in bits a value, compression ratio (geometric mean) and PSNR by the range in dB.

    Attributes:
        columns: the codecs, ours first.
        bounds: relative to the range of each field.
        summary: of each bound the ratios, and how often ours lost; of each codec broken bounds and speed.
        lines: the same in words.
    """

    columns: list[str]
    bounds: list[float]
    rows: Sequence[Row]
    summary: dict[str, dict[str, object]]
    lines: list[str]

    def text(self) -> list[str]:
        return self.lines

    def write(self, folder: Path) -> None:
        write_json(folder / "field.json", {"rows": self.rows, "summary": self.summary})

    def plot(self, path: str | Path) -> None:
        """Ratios of each field, one panel a bound."""
        plt = pyplot()
        fields = list(dict.fromkeys(r["field"] for r in self.rows))
        size = 5 * len(self.bounds), 0.4 * len(fields) + 1.5
        figure, axes = plt.subplots(1, len(self.bounds), figsize=size, sharey=True, squeeze=False)
        for axis, rel in zip(axes[0], self.bounds, strict=True):
            for i, c in enumerate(self.columns):
                here = {
                    r["field"]: r["raw_bytes"] / r["results"][c]["bytes"]
                    for r in self.rows
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


def ours(codec: FieldCodec, x: Floating, bound: float, effort: int | None = None) -> FieldResult:
    """Encode and decode once, timed."""
    t0 = time.perf_counter()
    (file,) = codec.encode_batch([x], max_error=bound, effort=effort)
    t1 = time.perf_counter()
    y = np.asarray(codec.decode_batch([file])[0])
    t2 = time.perf_counter()
    if not np.array_equal(np.isfinite(x), np.isfinite(y)):
        raise SignalError("cells that are not finite did not survive")
    over, psnr = quality(x, y, bound)
    return FieldResult(
        bytes=len(file), error_over_bound=over, psnr_db=psnr, encode_seconds=t1 - t0, decode_seconds=t2 - t1
    )


def compare(
    codec: str,
    paths: Paths,
    anchors: Sequence[str] | None = None,
    rates: Sequence[float] | None = None,
    *,
    limit: int | None = None,
    effort: int | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> FieldReport:
    """Measure the field codec on .npy files; see `tersor.evaluate.compare`.

    Args:
        rates: error bounds relative to the range of each field.
        effort: of ours, 1 to 9; the usual one if None.
    """
    names, bounds = list(ANCHORS if anchors is None else anchors), list(rates or RATES)
    if unknown := sorted(set(names) - set(ANCHORS)):
        raise SignalError(
            f"no anchor for fields is called {', '.join(unknown)}; there are {', '.join(ANCHORS)}"
        )
    files = find(paths, {".npy"}, limit, ".npy files")
    own = FieldCodec()
    warm = np.zeros((8, 40, 40), np.float32) + np.arange(40, dtype=np.float32)
    own.decode_batch(own.encode_batch([warm], max_error=0.1))
    columns = [OURS, *names]
    say(
        f"{'field':<24}{'bound':>7}"
        + "".join(f"{c:>10}" for c in columns)
        + f"{'/ best':>9}{'err/bound':>11}{'MB/s in':>9}{'out':>7}"
    )
    rows: list[Row] = []
    for path in files:
        x = np.asarray(read_field(path))
        known = x[np.isfinite(x)].astype(np.float64)
        for rel in bounds:
            bound = rel * float(known.max() - known.min())
            results = {OURS: ours(own, x, bound, effort)}
            for name in names:
                try:
                    results[name] = run_anchor(name, x, bound)
                except TersorError as e:
                    say(f"  {path.stem}: {e}")
            say(_line(path.stem, rel, x.nbytes, results, columns))
            rows.append(
                {
                    "field": path.stem,
                    "shape": x.shape,
                    "dtype": str(x.dtype),
                    "rel_error": rel,
                    "raw_bytes": x.nbytes,
                    "values": x.size,
                    "results": {k: asdict(r) for k, r in results.items()},
                }
            )
    summary, lines = summarise(rows, columns, bounds)
    curves = {c: curve_of(rows, c, bounds) for c in columns}
    return FieldReport(
        title="field",
        rows=rows,
        curves=curves,
        bd_rate={c: {"psnr_db": _bd_rate(curves[c], curves[OURS])} for c in names},
        columns=columns,
        bounds=bounds,
        summary=summary,
        lines=["", *lines],
    )


def _line(name: str, rel: float, raw: int, results: dict[str, FieldResult], columns: list[str]) -> str:
    ratios, mine = {k: raw / r.bytes for k, r in results.items()}, results[OURS]
    best = max((v for k, v in ratios.items() if k != OURS), default=math.nan)
    return (
        f"{name:<24}{rel:>7g}"
        + "".join(f"{ratios.get(c, math.nan):>10.2f}" for c in columns)
        + f"{ratios[OURS] / best:>9.2f}{mine.error_over_bound:>11.6f}"
        + f"{raw / 1e6 / mine.encode_seconds:>9.1f}{raw / 1e6 / mine.decode_seconds:>7.1f}"
    )


def geometric_mean(values: Sequence[float]) -> float:
    return math.exp(sum(map(math.log, values)) / len(values)) if values else math.nan


def curve_of(rows: list[Row], name: str, bounds: list[float]) -> Curve:
    """Means over the fields, a point a bound."""
    curve: Curve = {"rel_error": [], "bits_per_value": [], "ratio": [], "psnr_db": []}
    for rel in bounds:
        own = [(r, r["results"][name]) for r in rows if r["rel_error"] == rel and name in r["results"]]
        if own:
            curve["rel_error"].append(rel)
            curve["bits_per_value"].append(geometric_mean([8 * f["bytes"] / r["values"] for r, f in own]))
            curve["ratio"].append(geometric_mean([r["raw_bytes"] / f["bytes"] for r, f in own]))
            curve["psnr_db"].append(float(np.mean([f["psnr_db"] for _, f in own])))
    return curve


def _bd_rate(anchor: Curve, own: Curve) -> float | None:
    """None where the curves have no PSNR in common, or some field came back exactly."""
    if not np.isfinite([*anchor["psnr_db"], *own["psnr_db"]]).all():
        return None
    try:
        return bd_rate(anchor["bits_per_value"], anchor["psnr_db"], own["bits_per_value"], own["psnr_db"])
    except ValueError:
        return None


def summarise(
    rows: list[Row], columns: list[str], bounds: list[float]
) -> tuple[dict[str, dict[str, object]], list[str]]:
    """Geometric means a bound, wins, violations, speed."""
    text, mean = [], geometric_mean
    out: dict[str, dict[str, object]] = {}
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
    return out, text
