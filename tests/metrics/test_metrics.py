from __future__ import annotations

import numpy as np
import pytest

from tersor.errors import MissingDependencyError, SignalError
from tersor.evaluate.anchors.image import anchor, at_psnr, decode
from tersor.metrics.perceptual import ms_ssim_rgb
from tersor.metrics.psnr import psnr_rgb
from tersor.metrics.rate_distortion import bd_rate


def test_bd_rate_of_a_scaled_curve_is_the_scale() -> None:
    rate, quality = np.array([0.1, 0.3, 0.7, 1.2]), np.array([28.0, 31.0, 34.5, 37.0])
    assert bd_rate(rate, quality, rate, quality) == pytest.approx(0)
    assert bd_rate(rate, quality, rate * 0.5, quality) == pytest.approx(-50)
    assert bd_rate(rate, quality, (rate * 1.2)[::-1], quality[::-1]) == pytest.approx(20)


def test_bd_rate_agrees_with_scipy() -> None:
    interpolate = pytest.importorskip("scipy.interpolate")
    rng = np.random.default_rng(0)
    for _ in range(20):
        a, b = (np.sort(rng.uniform(0.05, 2, 6)) for _ in range(2))
        qa, qb = (np.sort(rng.uniform(25, 40, 6)) for _ in range(2))
        grid = np.linspace(max(qa[0], qb[0]), min(qa[-1], qb[-1]), 400)
        if grid[0] >= grid[-1]:
            continue
        difference = interpolate.PchipInterpolator(qb, np.log(b))(grid) - interpolate.PchipInterpolator(
            qa, np.log(a)
        )(grid)
        assert bd_rate(a, qa, b, qb) == pytest.approx((np.exp(difference.mean()) - 1) * 100)


def test_bd_rate_needs_a_common_range() -> None:
    with pytest.raises(ValueError, match="no range"):
        bd_rate([0.1, 0.2], [20, 25], [0.1, 0.2], [30, 35])


@pytest.mark.parametrize("name", ["jpeg", "webp", "avif", "jxl"])
def test_anchors(name: str, picture: np.ndarray) -> None:
    try:
        encode = anchor(name)
    except MissingDependencyError:
        pytest.skip(f"{name} is not installed")
    quality, file, decoded = at_psnr(encode, picture, 32.0)
    assert psnr_rgb(decoded, picture) >= 32
    assert psnr_rgb(decode(encode(picture, quality - 1)), picture) < 32
    assert len(file) < picture.nbytes
    with pytest.raises(SignalError, match="no anchor"):
        anchor("gif")


def test_ms_ssim(picture: np.ndarray) -> None:
    assert ms_ssim_rgb(picture, picture) == pytest.approx(1)
    assert ms_ssim_rgb(picture, 255 - picture) < 0.5
    assert np.isnan(ms_ssim_rgb(picture[:100], picture[:100]))
