"""Established codecs for fields, through hdf5plugin's HDF5 filters: bytes of the stored chunk, decoded
values.

SPERR can crash the process on NaN and zfp returns nonsense for it, so cells that are not finite are filled
with the mean for all three; tersor keeps them. Each call runs in a process of its own. Three-axis arrays are
also coded slice by slice, and the smaller result counts.
"""

from __future__ import annotations

import io
import json
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from tersor.arrays import Floating, Numbers
from tersor.errors import MissingDependencyError, SignalError

ANCHORS = ("sz3", "sperr", "zfp")


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldResult:
    """One array at one bound: size of what is stored, largest |error| / bound, PSNR by the range in dB,
    seconds.
    """

    bytes: int
    error_over_bound: float
    psnr_db: float
    encode_seconds: float
    decode_seconds: float


def quality(x: Floating, y: Numbers, bound: float) -> tuple[float, float]:
    """Largest |x - y| / bound, and PSNR in dB by the range of x, over the finite cells of x."""
    known = np.isfinite(x)
    error = x[known].astype(np.float64) - y[known].astype(np.float64)
    rmse = float(np.sqrt(np.square(error).mean()))
    extent = float(x[known].max()) - float(x[known].min())
    return float(np.abs(error).max()) / bound, 20 * float(np.log10(extent / rmse)) if rmse else float("inf")


def run_anchor(name: str, x: Floating, bound: float) -> FieldResult:
    """Encode and decode in a process of its own.

    Raises:
        SignalError: unknown name, or the codec crashed.
        MissingDependencyError: hdf5plugin is not installed.
    """
    if name not in ANCHORS:
        raise SignalError(f"no anchor for fields is called '{name}'; there are {', '.join(ANCHORS)}")
    try:
        import hdf5plugin  # noqa: F401
    except ImportError as e:
        raise MissingDependencyError(
            "the anchors of fields need hdf5plugin: pip install 'tersor[eval]'"
        ) from e
    data = io.BytesIO()
    np.save(data, x, allow_pickle=False)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tersor.evaluate.anchors.field", name, repr(bound)],
        input=data.getvalue(),
        capture_output=True,
    )
    if done.returncode:
        raise SignalError(
            f"{name} failed with exit status {done.returncode}: {done.stderr.decode(errors='replace')[-200:]}"
        )
    return FieldResult(**json.loads(done.stdout))


def _measure(name: str, x: Floating, bound: float) -> FieldResult:
    import h5py
    import hdf5plugin

    filters: dict[str, Any] = {
        "sz3": lambda: hdf5plugin.SZ3(absolute=bound),
        "sperr": lambda: hdf5plugin.Sperr(absolute=bound),
        "zfp": lambda: hdf5plugin.Zfp(accuracy=bound),
    }
    filled = x if np.isfinite(x).all() else np.nan_to_num(x, nan=float(np.nanmean(x)))
    chunks = [x.shape, (1, *x.shape[1:])] if x.ndim == 3 else [x.shape]
    results = []
    for chunk in chunks:
        file = io.BytesIO()
        t0 = time.perf_counter()
        with h5py.File(file, "w") as h:
            stored = h.create_dataset("x", data=filled, chunks=chunk, compression=filters[name]()).id  # type: ignore[no-untyped-call]
            h.flush()
            size = stored.get_storage_size()
        t1 = time.perf_counter()
        with h5py.File(file) as h:
            y = h["x"][...]
        t2 = time.perf_counter()
        results.append(
            FieldResult(
                bytes=size,
                encode_seconds=t1 - t0,
                decode_seconds=t2 - t1,
                **dict(zip(("error_over_bound", "psnr_db"), quality(x, y, bound), strict=True)),
            )
        )
    return min(results, key=lambda r: r.bytes)


if __name__ == "__main__":
    from dataclasses import asdict

    sys.stdout.write(
        json.dumps(
            asdict(_measure(sys.argv[1], np.load(io.BytesIO(sys.stdin.buffer.read())), float(sys.argv[2])))
        )
    )
