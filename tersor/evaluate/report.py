"""What a comparison found."""

from __future__ import annotations

import json
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tersor.evaluate.lab import output_folder

Curve = dict[str, list[float]]
Row = dict[str, Any]  # a point that was measured: words, and figures by the names of metrics


@dataclass(frozen=True, slots=True, kw_only=True)
class Report(ABC):
    """Every point, the curves through them, and what they say.

    Attributes:
        title: of what was measured, "tersor image".
        rows: every point: signal, codec, bytes, what was asked for and what came out.
        curves: of each codec: the means, by the name of the rate and of each metric.
        bd_rate: against each anchor, in percent, by metric; negative saves bits, None where curves have no
            quality in common.
    """

    title: str
    rows: Sequence[Mapping[str, Any]]
    curves: dict[str, Curve]
    bd_rate: dict[str, dict[str, float | None]]

    @abstractmethod
    def text(self) -> list[str]:
        """The summary, a line each."""

    @abstractmethod
    def write(self, folder: Path) -> None:
        """The tables, into a folder that is there."""

    @abstractmethod
    def plot(self, path: str | Path) -> None:
        """The curves, as a picture.

        Raises:
            MissingDependencyError: matplotlib is not installed.
        """

    def save(self, folder: str | Path) -> Path:
        """Tables and picture into a folder, which is made; -> the folder.

        Raises:
            TersorError: it cannot be made.
        """
        out = output_folder(folder)
        self.write(out)
        self.plot(out / f"{self.title.replace(' ', '-')}.png")
        return out


def json_text(content: object, indent: int | None = None) -> str:
    """JSON that every reader takes: what is not a finite number is null."""
    return json.dumps(_finite(content), indent=indent, allow_nan=False)


def _finite(content: object) -> object:
    if isinstance(content, dict):
        return {k: _finite(v) for k, v in content.items()}
    if isinstance(content, (list, tuple)):
        return [_finite(v) for v in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content


def write_json(path: Path, content: object) -> None:
    """A file of `json_text`."""
    path.write_text(json_text(content, 1) + "\n")


def percent(delta: float | None) -> str:
    """A BD-rate in words."""
    return "reaches no common quality" if delta is None else f"{delta:+.1f} %"
