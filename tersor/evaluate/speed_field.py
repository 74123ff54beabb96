"""`tersor bench --codec field`: megabytes a second and the split by stage; the compiled loops beside the same
prediction in numpy.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from statistics import median

import numpy as np

from tersor.arrays import Numbers
from tersor.codecs.field import grid
from tersor.codecs.field.codec import FieldCodec
from tersor.codecs.field.grid import Ints, Pass
from tersor.codecs.field.grid_loops import FRACTION_BITS, N_FEATURES, STENCIL_BITS, code_rows
from tersor.errors import SignalError
from tersor.evaluate.lab import Figures, Paths, check_counts, find, shares, split_text, timed
from tersor.files.field import read_field
from tersor.signals import Field
from tersor.testing.samples import weather


def numpy_predictions(p: Pass, values: Ints, stencil: Ints) -> Ints:
    """What the compiled loop computes, but for features and symbols: a pass over memory for every tap."""
    counts = [len(c) for c in p.points]
    parity = np.indices(counts, np.uint8).sum(0, dtype=np.uint8) & 1
    index = np.unravel_index(np.flatnonzero(parity.ravel() == p.key[2]), counts)

    def tap(t: int) -> Ints:
        return values[sum(p.taps[j][t, index[j]] for j in range(len(counts)))]

    twice = tap(0) + tap(1)
    total = np.zeros(len(twice), np.int64)
    for t in range(p.n_taps):
        total += stencil[t] * (2 * tap(t) - twice)
    return ((twice << STENCIL_BITS) + total + (1 << STENCIL_BITS)) >> (STENCIL_BITS + 1)


def loop_speed(x: Numbers, repeat: int) -> dict[str, float]:
    """Million cells a second of the largest pass of a block: the compiled loop, which also quantises and
    describes, and numpy, which only predicts.
    """
    plan = grid.plan(x.shape, False)
    p = max(plan.passes, key=lambda p: p.size)
    values = np.round(x.astype(np.float64).ravel() * 64 / max(float(np.ptp(x)), 1e-9) * 1e3).astype(np.int64)
    stencil = grid.default_stencil(p)
    valid, target = np.ones(x.size, np.bool_), values.astype(np.float64)
    points, symbols, features = (
        np.empty(p.size, np.int64),
        np.empty(p.size, np.int32),
        np.empty((p.size, N_FEATURES), np.uint16),
    )
    q = np.zeros(x.size, np.int32)
    expected = numpy_predictions(p, values, stencil)
    work = values.copy()

    def compiled() -> None:
        out = points, symbols, np.empty(0, np.int64), features
        code_rows(work, q, p, stencil, 0, False, (0, p.rows), target, valid, out)

    compiled()
    if not np.array_equal(expected, work[points] - (symbols.astype(np.int64) << FRACTION_BITS)):
        raise SignalError(
            "the compiled loop and numpy predict different values: a fault of tersor; report it"
        )

    def seconds(run: Callable[[], object]) -> float:
        times = []
        for _ in range(repeat):
            began = time.perf_counter()
            run()
            times.append(time.perf_counter() - began)
        return median(times)

    cells = p.size / 1e6
    return {
        "compiled": cells / seconds(compiled),
        "numpy": cells / seconds(lambda: numpy_predictions(p, values, stencil)),
    }


def measure(
    paths: Paths | None = None,
    *,
    rel_error: float = 1e-3,
    effort: int | None = None,
    limit: int = 8,
    repeat: int = 5,
) -> Figures:
    """Speed of encoding and decoding with the split by stage, and of the loops.

    Args:
        paths: a folder of .npy files, or files; a field made on the spot if None.
        rel_error: bound relative to the range.
        effort: 1 to 9; the usual one if None.
        limit: of fields.
        repeat: runs; medians count.
    """
    check_counts(limit, repeat)
    found = [] if paths is None else find(paths, {".npy"}, limit, ".npy files")
    arrays = [np.asarray(read_field(p)) for p in found] or [weather()]
    fields = [Field(values=x) for x in arrays]
    codec = FieldCodec()
    files = codec.encode_batch(fields, rel_error=rel_error, effort=effort)
    megabytes = sum(x.nbytes for x in arrays) / 1e6
    facts: Figures = {
        "device": f"cpu, {os.cpu_count()} cores",
        "fields": len(arrays),
        "megabytes": round(megabytes, 3),
        "rel_error": rel_error,
        "ratio": round(megabytes * 1e6 / sum(map(len, files)), 3),
    }
    for name, work in (
        ("encode", lambda: codec.encode_batch(fields, rel_error=rel_error, effort=effort)),
        ("decode", lambda: codec.decode_batch(files)),
    ):
        seconds, stages = timed(work, repeat)
        inside = sum(stages.values())
        facts[name] = {
            "seconds": round(seconds, 3),
            "megabytes_per_second": round(megabytes / seconds, 2),
            "thread_seconds_in_stages": round(inside, 3),
            "split": shares(stages, inside),
        }
    facts["largest_pass_million_cells_per_second"] = {
        k: round(v, 1) for k, v in loop_speed(weather(), max(repeat, 5)).items()
    }
    return facts


def lines(facts: Figures) -> list[str]:
    """The same to be read."""
    out = [
        f"{facts['device']}; {facts['fields']} fields, {facts['megabytes']:.1f} MB, "
        f"bound {facts['rel_error']:g} of the range, ratio {facts['ratio']:.2f}"
    ]
    for name in ("encode", "decode"):
        f = facts[name]
        out.append(
            f"{name}  {f['megabytes_per_second']:7.2f} MB/s  {f['seconds']:.2f} s   {split_text(f['split'])}"
        )
    speeds = facts["largest_pass_million_cells_per_second"]
    return [
        *out,
        f"prediction of the largest pass of a block   compiled {speeds['compiled']:g} M cells/s with "
        f"quantisation and features, numpy {speeds['numpy']:g} without",
        "encode includes one decode of every block, the check of its bound; the split is of thread seconds",
    ]
