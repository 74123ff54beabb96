"""What this version needs for five small signals, and the error it leaves. Both ways: more bytes or a
larger error than noted fails, and so does an improvement, whose new figures are then to be noted here.

The inputs and their licences: tests/rates/README.md. Figures: M, by this test; its message gives new ones.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import tersor
from tersor.files.audio import read_audio
from tersor.files.field import read_field
from tersor.files.image import read_image
from tersor.metrics.audio import mel_distance

FOLDER = Path(__file__).parent / "rates"
TOLERANCE = 0.005


@dataclass(frozen=True, kw_only=True)
class Pinned:
    """One signal with one set of options.

    Attributes:
        error: root of the mean square in levels (images) or units (arrays), mel distance (sound); None where
            every bit must come back. 0.5 % of it are 0.04 dB.
    """

    file: str
    codec: str
    options: dict[str, Any] = field(default_factory=dict)
    bytes: int
    error: float | None = None

    def __str__(self) -> str:
        return "-".join([Path(self.file).stem, self.codec, *(f"{k}={v}" for k, v in self.options.items())])


PINNED = [
    Pinned(file="photo.png", codec="image", options={"quality": 20}, bytes=1325, error=6.8577),
    Pinned(file="photo.png", codec="image", options={"quality": 70}, bytes=4749, error=2.9126),
    Pinned(file="photo.png", codec="lossless", bytes=52606),
    Pinned(file="terrain.npy", codec="lossless", bytes=7597),
    Pinned(file="air.npy", codec="field", options={"rel_error": 1e-2}, bytes=4252, error=0.22794),
    Pinned(file="air.npy", codec="field", options={"rel_error": 1e-4}, bytes=32113, error=0.0025837),
    Pinned(file="air.npy", codec="field", options={"lossless": True}, bytes=76727),
    Pinned(file="speech.flac", codec="audio", options={"quality": 25}, bytes=3379, error=0.15916),
    Pinned(file="speech.flac", codec="audio", options={"quality": 60}, bytes=16432, error=0.051368),
    Pinned(file="speech.flac", codec="audio", options={"lossless": True}, bytes=45579),
    Pinned(file="music.flac", codec="audio", options={"quality": 25}, bytes=6187, error=0.13154),
    Pinned(file="music.flac", codec="audio", options={"quality": 60}, bytes=52500, error=0.033224),
    Pinned(file="music.flac", codec="audio", options={"lossless": True}, bytes=215390),
]
READERS: dict[str, Callable[[Path], Any]] = {".png": read_image, ".npy": read_field, ".flac": read_audio}


def error_of(x: Any, y: Any) -> float:
    a, b = np.asarray(x), np.asarray(y)
    if hasattr(x, "rate"):
        return mel_distance(channels_first(a), channels_first(b), x.rate)
    return float(np.sqrt(np.square(a.astype(np.float64) - b).mean()))


def channels_first(x: NDArray[Any]) -> NDArray[np.float64]:
    return np.ascontiguousarray(x.T / 32768.0)


@pytest.mark.parametrize("pinned", PINNED, ids=str)
def test_size_and_error_are_what_they_were(pinned: Pinned) -> None:
    x = READERS[Path(pinned.file).suffix](FOLDER / pinned.file)
    file = tersor.encode(x, codec=pinned.codec, device="cpu", **pinned.options)
    y = tersor.decode(file, device="cpu")
    off = [len(file) / pinned.bytes - 1]
    note = f"bytes={len(file)}"
    if pinned.error is None:
        assert np.array_equal(np.asarray(x), np.asarray(y))
    else:
        error = error_of(x, y)
        off.append(error / pinned.error - 1)
        note += f", error={error:.5g}"
    assert max(map(abs, off)) <= TOLERANCE, (
        f"{pinned}: now {note}; noted are {pinned.bytes} bytes, error {pinned.error}. "
        "If it is a loss, find it; if it is a gain, note the new figures"
    )
