"""How near a ratio or PSNR that is asked for is reached, and how many times one encode's CPU time it takes.

python tools/study_targets.py FIELDS        every .npy file of the folder
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

import tersor
from tersor.codecs.field.codec import FieldCodec

CODEC = FieldCodec()
RATIOS, LEVELS = (5.0, 12.0, 25.0, 60.0), (40.0, 70.0)
REL_ERROR = 1e-3  # of the encode that times are measured by


def encoded(x: np.ndarray, **options: Any) -> tuple[bytes, float]:
    """A file and CPU seconds."""
    began = time.process_time()
    (file,) = CODEC.encode_batch([x], **options)
    return file, time.process_time() - began


def psnr(x: np.ndarray, y: np.ndarray) -> float:
    known = np.isfinite(x)
    a, b = x[known].astype(np.float64), y[known].astype(np.float64)
    return float(20 * np.log10(np.ptp(a) / np.sqrt(np.square(a - b).mean())))


def main() -> None:
    asked = [f"{r:g}:1" for r in RATIOS] + [f"{v:g} dB" for v in LEVELS]
    print(f"{'reached, times of one encode':<28}" + "".join(f"{a:>16}" for a in asked))
    for path in sorted(Path(sys.argv[1]).glob("*.npy")):
        x = np.load(path)
        encoded(x, rel_error=REL_ERROR)
        once = min(encoded(x, rel_error=REL_ERROR)[1] for _ in range(3))
        row = []
        for ratio in RATIOS:
            file, seconds = encoded(x, target_ratio=ratio)
            row.append((x.nbytes / len(file), seconds / once))
        for level in LEVELS:
            file, seconds = encoded(x, target_psnr=level)
            row.append((psnr(x, np.asarray(tersor.decode(file))), seconds / once))
        print(f"{path.stem[:27]:<28}" + "".join(f"{a:>9.2f} {b:>5.1f}x" for a, b in row), flush=True)


if __name__ == "__main__":
    main()
