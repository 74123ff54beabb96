"""The trial of a group's structure: what it looks at, and that it takes what costs least."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tersor.codecs.video import trial
from tersor.codecs.video.group import FINER_MOST, GroupSettings
from tersor.codecs.video.trial import FROM_EFFORT, LOOKED_AT, TRIED, halved, tried


def test_halved_is_the_mean_of_squares() -> None:
    x = np.arange(2 * 5 * 4, dtype=np.uint16).reshape(2, 5, 4)
    assert halved(x).tolist() == [[[3, 5], [11, 13]], [[23, 25], [31, 33]]]
    assert halved(x).dtype == x.dtype
    assert halved(np.full((1, 2, 2), 4095, np.uint16)).item() == 4095


BASE = GroupSettings(effort=FROM_EFFORT)


@pytest.mark.parametrize("low_delay", [False, True])
@pytest.mark.parametrize("best", TRIED)
@pytest.mark.parametrize("finer", range(FINER_MOST + 1))
def test_the_cheapest_is_taken(
    monkeypatch: pytest.MonkeyPatch, best: int, finer: int, low_delay: bool
) -> None:
    shapes = []

    def cost(luma: np.ndarray, depth: int, way: GroupSettings) -> float:
        shapes.append(luma.shape)
        return (not way.low_delay and way.distance != best) + abs(way.finer - finer) / 8

    monkeypatch.setattr(trial, "_cost", cost)
    luma = np.zeros((40, 90, 128), np.uint8)
    base = replace(BASE, low_delay=low_delay)
    found = tried(luma, 8, base)
    assert found == replace(base, distance=base.distance if low_delay else best, finer=finer)
    assert set(shapes) == {(LOOKED_AT, 45, 64)}
    shapes.clear()
    for given, settings in (
        (luma, replace(base, effort=FROM_EFFORT - 1)),
        (luma[:, :60], base),
        (luma[:4], base),
    ):
        assert tried(given, 8, settings) == settings
    assert not shapes


def test_cost_is_of_bytes_and_error() -> None:
    """More quality costs more bytes, but no more than its PSNR is worth, by what rate control knows."""
    rng = np.random.default_rng(0)
    luma = (np.cumsum(rng.normal(0, 9, (3, 64, 64)), 2) + 128).clip(0, 255).astype(np.uint8)
    costs = [trial._cost(luma, 8, GroupSettings(quality=q, effort=1, distance=4)) for q in (40, 60)]
    assert abs(costs[1] - costs[0]) < 1


def test_what_stands_still_is_copied_from_a_fine_frame() -> None:
    """Noise that stays costs less so; noise that is new in every frame does not."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 60, (12, 128, 128), dtype=np.uint8)
    still = np.repeat(noise[:1], 12, 0) + rng.integers(0, 2, noise.shape, dtype=np.uint8)
    assert tried(still, 8, BASE).finer > 0
    assert tried(still, 8, replace(BASE, low_delay=True)).finer > 0
    assert tried(noise, 8, BASE).finer == 0
