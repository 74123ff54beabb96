"""Files of a given ratio or PSNR: never short of it, and near it where sizes follow the bound."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

import tersor
from tersor.errors import SignalError
from tersor.signals import Field, FieldSet
from tersor.testing.samples import weather

Numbers = NDArray[np.float32]


def smooth() -> Numbers:
    return weather((6, 60, 70))


def with_holes() -> Numbers:
    x = weather((6, 60, 70)).copy()
    x[:, 20:40, 10:50] = np.nan
    return x


def noise() -> Numbers:
    return np.random.default_rng(1).normal(size=(80, 90)).astype(np.float32)


def heights() -> Numbers:
    """Whole numbers: many bounds make the same file."""
    return np.round(np.cumsum(np.random.default_rng(2).normal(0, 30, (200, 200)), 0)).astype(np.float32)


KINDS: list[Callable[[], Numbers]] = [smooth, with_holes, noise, heights]


def psnr(x: Numbers, y: Numbers) -> float:
    known = np.isfinite(x)
    a, b = x[known].astype(np.float64), y[known].astype(np.float64)
    return float(20 * np.log10(np.ptp(a) / np.sqrt(np.square(a - b).mean())))


@pytest.mark.parametrize("ratio", [6.0, 15.0, 40.0])
@pytest.mark.parametrize("kind", KINDS, ids=lambda k: k.__name__)
def test_a_ratio_is_reached(kind: Callable[[], Numbers], ratio: float) -> None:
    x = kind()
    file = tersor.encode(x, codec="field", target_ratio=ratio)
    reached = x.nbytes / len(file)
    assert reached >= ratio
    if kind is not heights:
        assert reached <= 1.2 * ratio
    y = np.asarray(tersor.decode(file))
    assert np.array_equal(np.isnan(x), np.isnan(y))
    assert np.nanmax(np.abs(x - y)) < np.nanmax(x) - np.nanmin(x)


@pytest.mark.parametrize("wanted", [35.0, 60.0])
@pytest.mark.parametrize("kind", KINDS, ids=lambda k: k.__name__)
def test_a_psnr_is_reached(kind: Callable[[], Numbers], wanted: float) -> None:
    x = kind()
    reached = psnr(x, np.asarray(tersor.decode(tersor.encode(x, codec="field", target_psnr=wanted))))
    assert reached >= wanted
    if kind is not heights:
        assert reached <= wanted + 1


def test_variables_of_a_file_share_its_size() -> None:
    """Their bounds are one share of their ranges."""
    fields = {n: Field(values=v, name=n, dims=("y", "x")) for n, v in (("a", noise()), ("b", noise() * 1e6))}
    file = tersor.encode(FieldSet(fields=fields), codec="field", target_ratio=8)
    assert 8 <= 2 * noise().nbytes / len(file) <= 9.6
    back = tersor.decode(file)
    assert isinstance(back, FieldSet)
    errors = [float(np.abs(np.asarray(back.fields[n]) - f.values).max()) for n, f in fields.items()]
    assert errors[1] == pytest.approx(1e6 * errors[0], rel=0.05)


def test_what_cannot_be_had_is_said() -> None:
    with pytest.raises(SignalError, match="out of reach"):
        tersor.encode(noise(), codec="field", target_ratio=1e5)


def test_without_loss_where_that_is_small_enough() -> None:
    x = np.zeros((64, 64), np.float32)
    x[::7] = 3.25
    assert np.array_equal(np.asarray(tersor.decode(tersor.encode(x, codec="field", target_ratio=5))), x)
