"""The laboratory's tools: timing with the split by stage, folders of inputs and outputs, plots."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from statistics import median
from types import ModuleType
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from tersor.errors import MissingDependencyError, SignalError, TersorError
from tersor.timing import StageClock

T = TypeVar("T")
Paths = str | Path | Sequence[str | Path]

Figures = dict[str, Any]  # of one measurement, nested as in its JSON


def timed(
    run: Callable[[], object], repeat: int, synchronise: bool = False
) -> tuple[float, dict[str, float]]:
    """Median seconds, and median seconds of each stage; the first run is not counted."""
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


def shares(stages: dict[str, float], whole: float) -> dict[str, float]:
    """The split by stage, largest first."""
    return {k: round(v / whole, 3) for k, v in sorted(stages.items(), key=lambda s: -s[1])}


def split_text(split: dict[str, float]) -> str:
    return ", ".join(f"{k} {v:.0%}" for k, v in split.items())


def check_counts(limit: int, repeat: int) -> None:
    """Raises: SignalError if there is nothing to time."""
    if limit < 1 or repeat < 1:
        raise SignalError(f"limit {limit}, repeat {repeat}: both must be at least 1")


def every_nth(items: Sequence[T], limit: int | None) -> list[T]:
    """At most `limit` of them, evenly spread."""
    return list(items[:: max(1, len(items) // limit)][:limit] if limit else items)


def find(paths: Paths, suffixes: Collection[str], limit: int | None, what: str) -> list[Path]:
    """The files themselves, or those of a folder that have one of the suffixes, sorted and evenly spread.

    Raises:
        SignalError: there are none.
    """
    if isinstance(paths, (str, Path)):
        found = sorted(p for p in Path(paths).rglob("*") if p.suffix.lower() in suffixes)
    else:
        found = [Path(p) for p in paths]
    if not found:
        raise SignalError(f"{paths}: no {what} here")
    return every_nth(found, limit)


def load_images(
    paths: Paths, limit: int | None, say: Callable[[str], None] = lambda line: None
) -> list[tuple[str, NDArray[np.uint8]]]:
    """(name, uint8 [H, W, 3]) of the images of a folder, or of files; those that cannot be read are said."""
    from tersor.datasets.image import image_paths, load_rgb

    if isinstance(paths, (str, Path)):
        found = image_paths([str(paths)])
        others = sum(p.is_file() for p in Path(paths).rglob("*")) - len(found)
        if others:
            say(f"left out: {others} other file{'s' * (others != 1)} of {paths}")
    else:
        found = [Path(p) for p in paths]
    images = []
    for path in every_nth(found, limit):
        try:
            images.append((path.name, load_rgb(path).permute(1, 2, 0).numpy()))
        except SignalError as e:
            say(f"left out: {e}")
    return images


def output_folder(path: str | Path) -> Path:
    """Made if it is not there.

    Raises:
        TersorError: it cannot be made.
    """
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise TersorError(f"{folder}: cannot be made ({e.strerror})") from e
    return folder


def pyplot() -> ModuleType:
    """matplotlib.pyplot that draws into files.

    Raises:
        MissingDependencyError: it is not installed.
    """
    try:
        import matplotlib
    except ImportError as e:
        raise MissingDependencyError("the plot needs matplotlib: pip install 'tersor[eval]'") from e
    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    return plt


def few_ticks(axis: Any) -> None:
    """Numbers at 1, 2 and 5 of a logarithmic horizontal axis; else those of half a decade overlap."""
    from matplotlib.ticker import FormatStrFormatter, LogLocator, NullFormatter

    axis.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.xaxis.set_major_formatter(FormatStrFormatter("%g"))
    axis.xaxis.set_minor_formatter(NullFormatter())
