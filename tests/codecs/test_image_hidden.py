"""What alpha hides costs nothing, bleeds nowhere and does not count."""

from __future__ import annotations

import numpy as np
import pytest

import tersor
from tersor.codecs.hidden import UNSEEN, filled
from tersor.codecs.image_overfit.encode import target_of
from tersor.container import Reader
from tersor.metrics.psnr import psnr
from tersor.signals import Image


@pytest.fixture
def disc(picture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """RGBA [96, 130, 4] seen in a disc, and the disc."""
    y, x = np.mgrid[:96, :130]
    seen = (x - 60) ** 2 + (y - 48) ** 2 < 40**2
    return np.dstack([picture[:96, :130], np.where(seen, 255, 0).astype(np.uint8)]), seen


def test_hidden_colours_change_no_byte(disc: tuple[np.ndarray, np.ndarray]) -> None:
    samples, seen = disc
    noise = samples.copy()
    noise[~seen, :3] = np.random.default_rng(0).integers(0, 256, ((~seen).sum(), 3))
    for dtype, scale in ((np.uint8, 1), (np.uint16, 257)):
        a, b = (tersor.encode(x.astype(dtype) * dtype(scale), quality=50, tile=64) for x in (samples, noise))
        assert a == b
    grey, other = (tersor.encode(np.ascontiguousarray(x[..., 2:])) for x in (samples, noise))
    assert grey == other


def test_they_cost_less_than_the_opaque_picture(disc: tuple[np.ndarray, np.ndarray]) -> None:
    samples, _ = disc
    opaque = tersor.encode(np.ascontiguousarray(samples[..., :3]), quality=50)
    colours = [Reader(f).chunk_lengths[0] for f in (tersor.encode(samples, quality=50), opaque)]
    assert colours[0] < colours[1]


def test_targets_count_what_is_seen(disc: tuple[np.ndarray, np.ndarray]) -> None:
    samples, seen = disc
    samples = samples.copy()
    samples[~seen, :3] = np.random.default_rng(0).integers(0, 256, ((~seen).sum(), 3))
    back = np.asarray(tersor.decode(tersor.encode(samples, target_psnr=34)))
    error = (back[seen][:, :3].astype(float) - samples[seen][:, :3]) ** 2
    assert 34 <= 10 * np.log10(255**2 / error.mean()) < 36
    assert psnr(back, samples) == pytest.approx(10 * np.log10(255**2 / error.mean()))
    nothing = samples.copy()
    nothing[..., 3] = 0
    assert psnr(back, nothing) == float("inf")


def test_filling_is_smooth_and_touches_nothing_seen() -> None:
    y, x = np.mgrid[:50, :71].astype(np.float32)
    colour = np.stack([2 * x, 3 * y, x + y], 2)
    seen = np.random.default_rng(0).random((50, 71)) < 0.2
    out = filled(np.where(seen[..., None], colour, 1e6).astype(np.float32), seen)
    np.testing.assert_allclose(out[seen], colour[seen], rtol=1e-6)
    assert np.abs(out - colour).mean() < 3
    assert (filled(colour, np.zeros((50, 71), bool)) == UNSEEN).all()
    one = np.zeros((50, 71), bool)
    one[7, 9] = True
    np.testing.assert_allclose(filled(colour, one), np.broadcast_to(colour[7, 9], colour.shape), rtol=1e-5)


def test_a_fitted_picture_has_no_hidden_colours(disc: tuple[np.ndarray, np.ndarray]) -> None:
    samples, seen = disc
    noise = samples.copy()
    noise[~seen, :3] = np.random.default_rng(0).integers(0, 256, ((~seen).sum(), 3))
    for count in (3, 1):
        parts = [np.ascontiguousarray(x[..., 3 - count :]) for x in (samples, noise)]
        a, b = (target_of(Image(samples=x), count) for x in parts)
        np.testing.assert_array_equal(a, b)
        np.testing.assert_allclose(a[:, seen] * 255, samples[seen][:, 3 - count : 3].T, atol=1e-3)
