"""Fits of pictures on the command line: what they will take, how far they are, and how Ctrl-C ends them."""

from __future__ import annotations

import signal
import sys
import threading
from types import FrameType, TracebackType
from typing import Any

from tersor.files.kinds import KINDS, Kind
from tersor.registry import by_name

BEST = "best"  # not a codec: the smaller file of several
FITTED = ("image-overfit", BEST)


def kind_of(codec: str) -> Kind[Any]:
    """The kind of signal that a codec, or `best`, encodes."""
    return KINDS["image" if codec == BEST else by_name(codec).signal]


class Watching:
    """Watches a fit; the first Ctrl-C ends it in good order, so that what there is is written.

    Args:
        name: of the picture.
        quiet: says nothing.

    Attributes:
        note: what is to be said of the file; empty if the fit went its way.
    """

    def __init__(self, name: str, quiet: bool) -> None:
        self.name, self.quiet, self.note = name, quiet, ""
        self._stop = False
        self._before: Any = None

    def __enter__(self) -> Watching:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._interrupted)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()
        self._say("")

    def __call__(self, status: Any) -> bool:
        """Say where the fit is; -> whether it shall end. status: `codecs.image_overfit.schedule.Status`."""
        if status.iteration == 0:
            self._line(f"{self.name}: {self.expected(status)}; Ctrl-C writes what there is")
        else:
            self._say(self.line(status))
        if self._stop and not self.note:
            self.note = f"stopped after {status.iteration} of {status.iterations} iterations"
        return self._stop

    @staticmethod
    def expected(status: Any) -> str:
        """What is said before a fit begins."""
        return f"{status.iterations} iterations, about {clock(status.seconds_left)}"

    @staticmethod
    def line(status: Any) -> str:
        """What the bar shows."""
        return (
            f"{status.iteration}/{status.iterations}  {status.bpp:.3f} bpp  {status.psnr_db:.2f} dB  "
            f"{clock(status.seconds_left)} left"
        )

    def _interrupted(self, number: int, frame: FrameType | None) -> None:
        self._stop = True
        self._restore()  # a second Ctrl-C ends the program
        self._line("ending the fit and writing what there is; Ctrl-C again writes nothing")

    def _restore(self) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)
            self._before = None

    def _line(self, text: str) -> None:
        if not self.quiet:
            clear = "\r\033[K" if sys.stderr.isatty() else ""
            print(f"{clear}tersor: {text}", file=sys.stderr, flush=True)

    def _say(self, text: str) -> None:
        if not self.quiet and sys.stderr.isatty():
            print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def clock(seconds: float) -> str:
    """Minutes and seconds; hours from one on."""
    if seconds == float("inf"):
        return "an unknown time"
    whole = round(seconds)
    hours, minutes = whole // 3600, whole // 60 % 60
    return f"{hours}:{minutes:02}:{whole % 60:02} h" if hours else f"{minutes}:{whole % 60:02} min"
