"""Pictures for the tests."""

from __future__ import annotations

import numpy as np
import pytest

from tersor.testing.samples import picture as make_picture


@pytest.fixture(scope="session")
def picture() -> np.ndarray:
    """A photograph-like picture, uint8 [300, 420, 3]."""
    return np.ascontiguousarray(make_picture(420, 300))


@pytest.fixture(scope="session")
def hard_pictures() -> dict[str, np.ndarray]:
    """What breaks codecs: noise, text, saturated colours, one-pixel patterns; uint8 [192, 256, 3] each."""
    from tersor.datasets.image import render_screen

    rng = np.random.default_rng(0)
    h, w = 192, 256
    y, x = np.mgrid[:h, :w]
    checker = ((x + y) % 2 * 255).astype(np.uint8)[..., None].repeat(3, 2)
    stripes = np.stack([x % 2 * 255, (x + 1) % 2 * 255, y % 2 * 255], 2).astype(np.uint8)
    blocks = np.array(
        [
            [255, 0, 0],
            [0, 255, 0],
            [0, 0, 255],
            [255, 255, 0],
            [255, 0, 255],
            [0, 255, 255],
            [0, 0, 0],
            [255, 255, 255],
        ],
        np.uint8,
    )
    return {
        "noise": rng.integers(0, 256, (h, w, 3), dtype=np.uint8),
        "black and white noise": (rng.integers(0, 2, (h, w, 1), dtype=np.uint8) * 255).repeat(3, 2),
        "text": render_screen(12345, 256).permute(1, 2, 0).numpy()[:h],
        "screen": render_screen(777, 256).permute(1, 2, 0).numpy()[:h],
        "saturated": blocks[(x // 24 + y // 24) % 8],
        "flat black": np.zeros((h, w, 3), np.uint8),
        "flat white": np.full((h, w, 3), 255, np.uint8),
        "flat red": np.full((h, w, 3), (255, 0, 0), np.uint8),
        "one-pixel checker": checker,
        "one-pixel stripes": stripes,
        "gradient": np.stack([x, y, 255 - x], 2).astype(np.uint8),
    }
