"""Compute the magnitude tables of the field codec once and for all.

    python tools/freeze_magnitude_tables.py --out tersor/weights/magnitude-1.safetensors

Released tables are never replaced (files name them by digest), so an existing file is an error.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file
from scipy.optimize import brentq
from scipy.special import gammainc

from tersor.entropy.magnitude_tables import LEVELS, SHAPES, expectation
from tersor.entropy.tables import counts_from_histogram

MAX_RADIUS = 2048
TAIL = 2e-6


def masses(log_scale: float, shape: float, radius: int) -> NDArray[np.float64]:
    """P(0), P(1), ... P(radius) of a generalised Gaussian integrated over unit steps."""
    upper = 0.5 * gammainc(1 / shape, ((np.arange(radius + 1) + 0.5) / np.exp(log_scale)) ** shape)
    return np.concatenate([[2 * upper[0]], np.diff(upper)])


def table(mean: float, shape: float) -> tuple[NDArray[np.uint32], int]:
    """Counts over -R..R of the distribution with this E|q|, and R."""
    k = np.arange(8 * MAX_RADIUS + 1)
    log_scale = brentq(lambda s: 2 * (masses(s, shape, 8 * MAX_RADIUS) * k).sum() - mean, -12, 9)
    p = masses(log_scale, shape, MAX_RADIUS)
    radius = int(min(MAX_RADIUS - 1, np.flatnonzero(2 * p > TAIL)[-1] + 1))
    h = np.concatenate([p[radius:0:-1], p[: radius + 1]])
    h[[0, -1]] += max(1 - h.sum(), 0) / 2
    return counts_from_histogram(np.maximum(h, 1e-9)), radius


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--out", type=Path, required=True)
    a = p.parse_args()
    if a.out.exists():
        raise SystemExit(f"{a.out} exists: released tables are never replaced; give new ones a new name")
    tensors = {}
    for i, shape in enumerate(SHAPES):
        rows = [table(float(expectation(level)), shape) for level in range(1, LEVELS + 1)]
        tensors[f"counts.{i}"] = np.concatenate([[65536], *(counts for counts, _ in rows)]).astype(np.int32)
        tensors[f"radii.{i}"] = np.array([0, *(radius for _, radius in rows)], np.int32)
    a.out.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, a.out)
    print(f"{a.out}: {a.out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
