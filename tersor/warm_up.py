"""Every codec at work on small signals, so that all its loops are compiled (entropy/compiled.py).

`tersor warm-up` runs this to fill the user's cache; the build of the package, to make the machine code that
is shipped with it (tersor/machine_code).

    signals made on the spot --each codec, each of its ways--> files --> signals
"""

from __future__ import annotations

import logging
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tersor.api import Codec
from tersor.codecs.parallel import Team
from tersor.errors import SignalError, TersorError
from tersor.registry import by_name
from tersor.signals import Audio
from tersor.signals.tensors import Tensor
from tersor.testing import golden
from tersor.testing.graphics import graphics
from tersor.testing.samples import picture, sound, voice, weather


def _fields() -> golden.Cases:
    kept = {n: c for n, c in golden.field_cases().items() if c[0] == "field"}
    small = weather((6, 24, 32))
    more: golden.Cases = {
        "psnr": ("field", small, {"target_psnr": 60}),
        "ratio": ("field", small, {"target_ratio": 8}),
        "double": ("field", small.astype(np.float64), {"pointwise_rel_error": 1e-3}),
    }
    steps = np.cumsum(np.random.default_rng(0).integers(-99, 99, (12, 400)), 1).astype(np.int32)
    for effort in (1, 2, 9):
        more |= {
            f"waves-{effort}": ("field", small, {"effort": effort}),
            f"exact-{effort}": ("field", steps, {"effort": effort, "lossless": True}),
            f"line-{effort}": ("field", steps[0].astype(np.float64), {"effort": effort}),
        }
    return kept | more


def _lossless() -> golden.Cases:
    kept = {n: c for n, c in golden.field_cases().items() if c[0] == "lossless"}
    photo = np.ascontiguousarray(picture(64, 48))
    alpha = np.dstack([photo, photo[..., :1]])
    for name, x in {"rgb": photo, "rgba": alpha, "two": alpha[..., 2:], "grey": photo[..., :1]}.items():
        x = np.ascontiguousarray(x)
        kept |= {name: ("lossless", x, {}), f"{name}-16": ("lossless", x.astype(np.uint16) * 199, {})}
        kept |= {f"{name}-fast": ("lossless", x, {"effort": 1})}
    for name, x in graphics().items():
        kept[name] = ("lossless", np.ascontiguousarray(x[:96, :96]), {})
    kept["graphics-16"] = ("lossless", (photo // 64 * 64).astype(np.uint16) * 257, {})
    return kept


def _audio() -> golden.Cases:
    speech = np.round(voice(0.6) * 32767).astype(np.int16)[:, None]
    sounds: dict[str, tuple[Audio, dict[str, Any]]] = {
        "speech": (Audio(samples=speech, rate=16000), {"bitrate": 16}),
        "music": (Audio(samples=sound(0.5, 44100, 2, np.float32), rate=44100), {"bitrate": 64}),
        "eight-bits": (Audio(samples=sound(0.1, 8000, 1, np.uint8), rate=8000), {"lossless": True}),
        "six": (Audio(samples=sound(0.1, 8000, 6), rate=8000), {"lossless": True}),
    }
    return golden.audio_cases() | {n: ("audio", s, o) for n, (s, o) in sounds.items()}


def _image_overfit() -> golden.Cases:
    photo = np.ascontiguousarray(picture(64, 48))
    alpha = np.dstack([photo, photo[..., :1]])
    cases: golden.Cases = {
        preset: ("image-overfit", photo, {"preset": preset, "iterations": 20})
        for preset in ("fast", "normal", "best")
    }
    cases["alpha"] = ("image-overfit", alpha, {"iterations": 20, "target_bpp": 1.0})
    cases["grey"] = (
        "image-overfit",
        np.ascontiguousarray(photo[..., :1]),
        {"iterations": 20, "target_psnr": 30},
    )
    return cases


def _tensor() -> golden.Cases:
    x = np.random.default_rng(0).standard_normal((256, 256))
    bf16 = (x.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16).reshape(-1)
    large: dict[str, Any] = {
        "f8": x,
        "f4": x.astype(np.float32),
        "f2": x.astype(np.float16),
        "i4": (x * 99).astype(np.int32),
    }
    large["b2"] = Tensor(dtype="BF16", shape=x.shape, words=bf16)
    more: golden.Cases = {
        "large": ("tensor", large, {}),
        "bits": ("tensor", {"x": x[:24, :64].astype(np.float32)}, {"bits_per_value": 4}),
    }
    return golden.tensor_cases() | more


def _exact_layers() -> None:
    """What the image codec has compiled, without torch, which it needs for the rest."""
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return
    from tersor.models import exact_loops as loops

    x, out = np.ones((1, 3, 3, 4), np.int32), np.empty((1, 3, 3, 4), np.int32)
    inner, outer = (loops.pack(np.ones((4, 4, k, k), np.int16), np.zeros(4, np.int64), 2) for k in (3, 1))
    loops.normalise(x, out, 0, 3)
    loops.convolve(x, inner, out, 0, 3)
    loops.residual(x, inner, outer, out, 0, 3)


def _round_trips(cases: Callable[[], golden.Cases]) -> Callable[[], None]:
    def work() -> None:
        for name, signal, options in cases().values():
            codec = Codec(name, device="cpu")
            codec.decode(codec.encode(signal, **options))

    return work


def _sound() -> None:
    from tersor.codecs.audio.speech_loops import gelu

    _round_trips(_audio)()
    gelu(np.zeros((1, 1, 1), np.float32))  # of speech that 0.1 wrote, where there is no torch


WORK: dict[str, Callable[[], None]] = {
    "video": _round_trips(golden.video_cases),  # compiles longest
    "lossless": _round_trips(_lossless),
    "image-overfit": _round_trips(_image_overfit),
    "audio": _sound,
    "field": _round_trips(_fields),
    "tensor": _round_trips(_tensor),
    "image": _exact_layers,
}
"""Of each codec with compiled loops: what calls them all, for all types of arguments."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Warmed:
    """What warming up one codec did.

    Attributes:
        codec: its name.
        loops: compiled, and kept for later; 0 where machine code was there already.
        seconds: that it took, by the clock.
    """

    codec: str
    loops: int
    seconds: float


def warm_up(codecs: Sequence[str] = ()) -> Iterator[Warmed]:
    """Compile what codecs need, each in a process of its own, as many at a time as there are cores; the
    machine code is kept where that of a first use would be.

    Args:
        codecs: names; all that have compiled loops, if there are none.

    Raises:
        SignalError: a codec is not known, or has no compiled loops.
        TersorError: one of them failed; the message is its own.
    """
    for codec in codecs:
        if codec not in WORK:
            by_name(codec)
            raise SignalError(f"the codec '{codec}' compiles nothing; those that do are {', '.join(WORK)}")
    yield from Team().ahead(_warmed, list(dict.fromkeys(codecs)) or list(WORK))


def _warmed(codec: str) -> Warmed:
    began = time.monotonic()
    command = [sys.executable, "-m", __name__, codec]
    run = subprocess.run(command, capture_output=True, text=True)
    if run.returncode:
        raise TersorError(f"{codec}: {run.stderr.strip().splitlines()[-1]}")
    return Warmed(codec=codec, loops=int(run.stdout), seconds=time.monotonic() - began)


class _Count(logging.Handler):
    """How many records there were."""

    count = 0

    def emit(self, record: logging.LogRecord) -> None:
        self.count += 1


def main(codec: str) -> None:
    """-> on standard output, how many loops were compiled."""
    listener, log = _Count(), logging.getLogger("tersor.compiled")
    log.addHandler(listener)
    log.setLevel(logging.INFO)
    WORK[codec]()
    sys.stdout.write(f"{listener.count}\n")


if __name__ == "__main__":
    main(sys.argv[1])
