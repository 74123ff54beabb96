"""The state of a fit in a file, so that a night's run survives what ends it; a run that goes on from it ends
in the same file as one that was never ended.

    one .npz: `about`, JSON as bytes (where the fit is, the state of its random numbers), and arrays

Only the tersor that wrote it reads it, and only for the same picture and options.
"""

from __future__ import annotations

import hashlib
import io
import json
import time
import zipfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tersor.codecs.image_overfit.network import Floats, Shape
from tersor.codecs.image_overfit.optimise import Moments
from tersor.codecs.image_overfit.options import Plan
from tersor.errors import SignalError
from tersor.files.atomic import write_atomically

if TYPE_CHECKING:
    from tersor.codecs.image_overfit.course import Course

EVERY = 60.0  # G: seconds between two states
LATENTS = ("y", "m", "v")
PARTS = ("mean", "square", "left", "right")


def fingerprint(target: Floats, plan: Plan, shape: Shape) -> str:
    """Of what a state belongs to; the time limit may change."""
    of = [plan.lam, asdict(plan.target), plan.iterations, plan.tile, asdict(shape), target.shape, _sources()]
    return hashlib.sha256(json.dumps(of).encode() + target.tobytes()).hexdigest()


def _sources() -> str:
    """Of this version's fit: another one might go on otherwise."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


class Keeper:
    """Keeps states of a fit in a file.

    Args:
        path: of the file, or None to keep nothing.
        mark: `fingerprint` of the fit.
    """

    def __init__(self, path: Path | None, mark: str) -> None:
        self.path, self.mark = path, mark
        self._last = time.monotonic()

    def offer(self, course: Course, now: bool = False) -> None:
        """Keep the state if a minute has passed, or now.

        Raises:
            SignalError: the file cannot be written.
        """
        if self.path is None or not (now or time.monotonic() - self._last >= EVERY):
            return
        about, arrays = state_of(course)
        about["mark"] = self.mark
        buffer = io.BytesIO()
        text = np.frombuffer(json.dumps(about).encode(), np.uint8)
        np.savez(buffer, about=text, **arrays)  # type: ignore[arg-type]
        write_atomically(self.path, buffer.getvalue())
        self._last = time.monotonic()

    def load(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]] | None:
        """The state that is there; None if there is none.

        Raises:
            SignalError: the file is something else, or of another picture or other options.
        """
        if self.path is None or not self.path.exists():
            return None
        try:
            with np.load(self.path, allow_pickle=False) as found:
                arrays = dict(found)
            about = json.loads(arrays.pop("about").tobytes())
            mark = about["mark"]
        except (OSError, ValueError, KeyError, TypeError, AttributeError, zipfile.BadZipFile) as e:
            raise SignalError(
                f"{self.path}: not the state of a fit; give the name of one, or of no file"
            ) from e
        if mark != self.mark:
            raise SignalError(
                f"{self.path}: the state of another picture, other options or another tersor; "
                "give another name, or delete it"
            )
        return about, arrays


def state_of(course: Course) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Everything a fit needs to go on: (numbers, arrays)."""
    fit, soap = course.fit, course.optimiser
    about: dict[str, Any] = {
        "halvings": course.halvings,
        "seed": course.seed,
        "done": course.clock.done,
        "seconds": course.clock.seconds,
        "before": course.teller.before,
        "lambda": course.lam,
        "figures": course.figures.tolist(),
        "random": fit.rng.bit_generator.state,
        "steps": fit.steps,
        "soap": soap.steps,
        "still": course.still_from,
    }
    arrays: dict[str, NDArray[Any]] = {f"fit.{name}": getattr(fit, name) for name in LATENTS}
    arrays |= {f"parameter.{name}": value for name, value in fit.parameters.items()}
    for name, moments in soap.moments.items():
        arrays |= {f"soap.{name}.{p}": v for p in PARTS if (v := getattr(moments, p)) is not None}
        if moments.bases is not None:
            arrays |= {f"soap.{name}.base{i}": v for i, v in enumerate(moments.bases)}
    if course.freezer is not None:
        about["frozen"] = [[*group, e] for group, e in course.freezer.steps.items()]
        arrays |= {f"integer.{name}": value for name, value in course.freezer.values.items()}
    return about, arrays


def restore(course: Course, about: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> None:
    """Put a state into a fit that was made with the same seed."""
    fit, soap = course.fit, course.optimiser
    course.clock.done = about["done"]
    course.clock.begin = course.teller.clock.begin = time.monotonic() - about["seconds"]
    course.lam = about["lambda"]
    course.figures = np.array(about["figures"])
    fit.rng.bit_generator.state = about["random"]
    fit.steps, soap.steps, course.still_from = about["steps"], about["soap"], about["still"]
    for name in LATENTS:
        getattr(fit, name)[:] = arrays[f"fit.{name}"]
    for name in fit.parameters:
        fit.parameters[name] = arrays[f"parameter.{name}"]
        if f"soap.{name}.mean" in arrays:
            mean, square, left, right = (arrays.get(f"soap.{name}.{p}") for p in PARTS)
            assert mean is not None
            assert square is not None
            moments = Moments(mean, square, left, right)
            if f"soap.{name}.base0" in arrays:
                moments.bases = arrays[f"soap.{name}.base0"], arrays[f"soap.{name}.base1"]
            soap.moments[name] = moments
    if "frozen" in about:
        freezer = course.begin_freezing()
        for *group, e in about["frozen"]:
            freezer.steps[tuple(group)] = e
            freezer.values.update({n: arrays[f"integer.{n}"] for n in group})
