"""The smaller of two files."""

from __future__ import annotations

import numpy as np
import pytest

import tersor
from tersor.codecs.best import encode_best
from tersor.errors import SignalError
from tersor.metrics.psnr import psnr
from tersor.testing.samples import picture


def test_small_pictures_are_not_fitted() -> None:
    file, why = encode_best(picture(60, 40), device="cpu", quality=30)
    assert tersor.info(file)["codec"] == "image"
    assert "60x40 pixels do not pay" in why


def test_the_smaller_file_wins_at_equal_quality() -> None:
    x = np.ascontiguousarray(picture(160, 128))
    file, why = encode_best(x, device="cpu", iterations=20, preset="fast")
    assert tersor.info(file)["codec"] in why
    assert f"{len(file)} bytes" in why
    assert psnr(np.asarray(tersor.decode(file, device="cpu")), x) > 10


def test_options_are_those_of_the_fit() -> None:
    with pytest.raises(SignalError, match="no option colour"):
        encode_best(picture(16, 16), colour=True)
