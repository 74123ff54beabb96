"""The laboratory's tools: timing with the split by stage, folders of inputs."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tersor.timing import StageClock


def timed(run: Callable[[], Any], repeat: int, synchronise: bool) -> tuple[float, dict[str, float]]:
    """Median seconds, and median seconds of each stage."""
    totals, stages = [], []
    run()
    for _ in range(repeat):
        clock = StageClock(synchronise)
        began = time.perf_counter()
        with clock.running():
            run()
        clock.wait()
        totals.append(time.perf_counter() - began)
        stages.append(clock.seconds)
    return median(totals), {k: median(s[k] for s in stages) for k in stages[0]}


def load_folder(folder: str, limit: int | None) -> list[tuple[str, NDArray[np.uint8]]]:
    """(name, uint8 [H, W, 3]) of each image."""
    from tersor.datasets.image import image_paths, load_rgb

    paths = image_paths([folder])
    if limit:
        paths = paths[:: max(1, len(paths) // limit)][:limit]
    return [(p.name, load_rgb(p).permute(1, 2, 0).numpy()) for p in paths]
