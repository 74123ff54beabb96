"""The trial of a group's distance: what it looks at, and that it takes what costs least."""

from __future__ import annotations

import numpy as np
import pytest

from tersor.codecs.video import trial
from tersor.codecs.video.trial import FROM_EFFORT, LOOKED_AT, TRIED, USUAL, distance_for, halved


def test_halved_is_the_mean_of_squares() -> None:
    x = np.arange(2 * 5 * 4, dtype=np.uint16).reshape(2, 5, 4)
    assert halved(x).tolist() == [[[3, 5], [11, 13]], [[23, 25], [31, 33]]]
    assert halved(x).dtype == x.dtype
    assert halved(np.full((1, 2, 2), 4095, np.uint16)).item() == 4095


@pytest.mark.parametrize("best", TRIED)
def test_the_cheapest_is_taken(monkeypatch: pytest.MonkeyPatch, best: int) -> None:
    shapes = []

    def cost(luma: np.ndarray, depth: int, quality: float, distance: int) -> float:
        shapes.append(luma.shape)
        return float(distance != best)

    monkeypatch.setattr(trial, "_cost", cost)
    luma = np.zeros((40, 90, 128), np.uint8)
    assert distance_for(luma, 8, 50, FROM_EFFORT) == best
    assert set(shapes) == {(LOOKED_AT, 45, 64)}
    shapes.clear()
    assert distance_for(luma, 8, 50, FROM_EFFORT - 1) == USUAL
    assert distance_for(luma[:, :60], 8, 50, 9) == USUAL
    assert distance_for(luma[:4], 8, 50, 9) == USUAL
    assert not shapes


def test_cost_is_of_bytes_and_error() -> None:
    """More quality costs more bytes, but no more than its PSNR is worth, by what rate control knows."""
    rng = np.random.default_rng(0)
    luma = (np.cumsum(rng.normal(0, 9, (3, 64, 64)), 2) + 128).clip(0, 255).astype(np.uint8)
    costs = [trial._cost(luma, 8, quality, 4) for quality in (40, 60)]
    assert abs(costs[1] - costs[0]) < 1
