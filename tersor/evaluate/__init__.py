"""Rate and distortion of a codec beside others: real file bytes, decoded output.

from tersor.evaluate import compare

report = compare("image", "kodak/", anchors=["webp", "avif"], rates=[10, 30, 50, 70])
print("\\n".join(report.text()))
print(report.bd_rate["avif"]["psnr-rgb"])
report.save("results/")
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path

from tersor.errors import SignalError
from tersor.evaluate.report import Report
from tersor.registry import by_name

__all__ = ["COMPARED", "Report", "compare"]
COMPARED = (
    "image",
    "field",
    "audio",
    "tensors",
    "video",
)  # signals; each has a module here with `compare`, ANCHORS and RATES


def compare(
    codec: str,
    paths: str | Path | Sequence[str | Path],
    anchors: Sequence[str] | None = None,
    rates: Sequence[float] | None = None,
    *,
    limit: int | None = None,
    say: Callable[[str], None] = lambda line: None,
    **options: object,
) -> Report:
    """Measure a codec and others on the same signals.

    Args:
        codec: its name, "image".
        paths: a folder, or files.
        anchors: other codecs by name; those usual for the signal if None (ANCHORS of tersor.evaluate.image,
            .field, .audio, .tensors, .video).
        rates: what to ask for: qualities of images and video, errors of fields relative to the range, kbit/s
            of sound;
            usual ones if None.
        limit: only so many of the signals, evenly spread.
        say: called with every line of progress.
        options: of the signal's `compare`: device, effort, reference (image); effort (field); judges (audio);
            effort, modes, frames (video).

    Raises:
        SignalError: nothing to measure, or an anchor that is not known.
    """
    signal = by_name(codec).signal
    if signal not in COMPARED:
        raise SignalError(f"'{codec}' codes {signal}; what is compared are codecs of {', '.join(COMPARED)}")
    report: Report = import_module(f"tersor.evaluate.{signal}").compare(
        codec, paths, anchors, rates, limit=limit, say=say, **options
    )
    return report
