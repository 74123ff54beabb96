"""Rate control of video, against groups whose sizes follow a law that the controller does not know."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from tersor.codecs.parallel import Team
from tersor.codecs.video.encode import Encoding
from tersor.codecs.video.options import ENCODE
from tersor.codecs.video.rate import foreseen, quality_for
from tersor.errors import SignalError
from tersor.signals.timing import Timing
from tersor.signals.video import VideoFormat

RATE = Fraction(25)


@dataclass
class Counted:
    """A source of frames that hold the number of their group."""

    expected: int
    pipe: bool = False
    format = VideoFormat(width=16, height=16, subsampling="400")
    rate = RATE
    tags: Any = None
    notes: tuple[str, ...] = ()
    has_sound = False

    @property
    def timing(self) -> Timing:
        return Timing.constant(RATE, self.expected)

    def frames(self) -> Iterator[tuple[np.ndarray, ...]]:
        for i in range(self.expected):
            yield (np.full((16, 16), i // 64 % 2 * 2 + i // 128, np.uint8),)

    def sound(self) -> None:
        return None

    def again(self) -> Counted:
        if self.pipe:
            raise SignalError("once only")
        return self


def coded_share(
    monkeypatch: pytest.MonkeyPatch, seed: int, source: Counted, kbps: float
) -> tuple[float, float]:
    """(bytes over those asked for, times that each frame was coded)."""
    rng = np.random.default_rng(seed)
    weight = np.exp(rng.normal(0, 0.7, 256))
    slope, bend = rng.uniform(0.045, 0.085, 256), rng.uniform(-2e-4, 2e-4, 256)
    coded = 0

    def group_of_bytes(group: list[np.ndarray], *, depth: int, settings: Any) -> bytes:
        nonlocal coded
        i, q = int(group[0][0, 0, 0]), settings.quality
        coded += len(group[0])
        return bytes(int(len(group[0]) * 30 * weight[i] * math.exp(slope[i] * q + bend[i] * q * q)))

    monkeypatch.setattr("tersor.codecs.video.coder.encode_group", group_of_bytes)
    encoding = Encoding(source, ENCODE.check({"bitrate": kbps}), Team(1))
    size = sum(map(len, encoding.payloads()))
    return size / (kbps * 125 * source.expected / float(RATE)), coded / source.expected


@pytest.mark.parametrize("kbps", [100, 400])
@pytest.mark.parametrize("groups", [4, 10])
def test_a_file_has_the_bit_rate_asked_for(monkeypatch: pytest.MonkeyPatch, groups: int, kbps: float) -> None:
    for seed in range(6):
        share, times = coded_share(monkeypatch, seed, Counted(64 * groups), kbps)
        assert abs(share - 1) < 0.02
        assert times < 5


def test_one_group_is_as_close_as_a_quarter_of_a_step_of_quality(monkeypatch: pytest.MonkeyPatch) -> None:
    for seed in range(6):
        assert abs(coded_share(monkeypatch, seed, Counted(64), 200)[0] - 1) < 0.02


def test_a_stream_evens_out(monkeypatch: pytest.MonkeyPatch) -> None:
    shares = [coded_share(monkeypatch, seed, Counted(64 * 40, pipe=True), 200)[0] for seed in range(4)]
    assert max(abs(s - 1) for s in shares) < 0.05


def test_the_model_of_sizes() -> None:
    sizes = {40: 1000, 50: 2000}
    assert foreseen(sizes, 45) == pytest.approx(1000 * math.sqrt(2))
    assert foreseen(sizes, 60) == pytest.approx(4000)
    assert quality_for([sizes, sizes], 2 * 2000) == pytest.approx(50, abs=0.01)
    assert quality_for([sizes], 1e12) == pytest.approx(100, abs=0.01)
