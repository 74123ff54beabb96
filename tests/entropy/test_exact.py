from __future__ import annotations

import pytest
import torch

from tersor.errors import WeightsError
from tersor.models.exact import ACTIVATION_MAX, ONE, ExactConv, compand, normalise, to_fixed


def conv(c_in: int = 24, c_out: int = 16, kernel_size: int = 3, scale: float = 1.0) -> ExactConv:
    torch.manual_seed(0)
    layer = ExactConv(c_in, c_out, kernel_size)
    with torch.no_grad():
        layer.weight.mul_(scale)
    layer.freeze()
    return layer


@pytest.mark.parametrize("kernel_size", [1, 3])
@pytest.mark.parametrize("scale", [1.0, 40.0])
def test_integers_equal_float64_arithmetic(kernel_size: int, scale: float) -> None:
    layer = conv(kernel_size=kernel_size, scale=scale)
    x = torch.randint(-ACTIVATION_MAX, ACTIVATION_MAX + 1, (2, 24, 5, 7), dtype=torch.int32)
    sums = torch.nn.functional.conv2d(
        x.double(), layer.weight_int.double(), layer.bias_int.double(), padding=kernel_size // 2
    )
    shift = int(layer.shift)
    expected = torch.floor((sums + (1 << shift >> 1)) / 2**shift)
    torch.testing.assert_close(layer(x).double(), expected, rtol=0, atol=0)


def test_integers_follow_the_float_twin() -> None:
    layer = conv()
    x = torch.randn(1, 24, 8, 8)
    exact = layer(to_fixed(x)).float() / ONE
    assert (exact - layer(x)).abs().max() < 0.02


def test_extreme_activations_are_clamped_not_wrapped() -> None:
    layer = conv()
    large = torch.full((1, 24, 4, 4), 1 << 30, dtype=torch.int32)
    torch.testing.assert_close(layer(large), layer(torch.full_like(large, ACTIVATION_MAX)), rtol=0, atol=0)


@pytest.mark.parametrize("weight", [float("nan"), float("inf"), 1e9])
def test_unfreezable_weights_are_an_error(weight: float) -> None:
    layer = ExactConv(8, 8)
    with torch.no_grad():
        layer.weight[0, 0] = weight
    with pytest.raises(WeightsError):
        layer.freeze()


def test_compand_is_odd_and_never_flat() -> None:
    x = torch.linspace(-2000, 2000, 4001)
    y = compand(x)
    torch.testing.assert_close(y, -compand(-x))
    assert (y.diff() > 0).all()
    fixed = compand(to_fixed(x)).float() / ONE
    assert (fixed - y).abs().max() <= 2 / ONE


def test_normalise_twins_agree_and_survive_extremes() -> None:
    x = torch.randn(2, 32, 4, 4) * torch.logspace(-2, 3, 4)
    assert (normalise(to_fixed(x)).float() / ONE - normalise(x)).abs().max() < 0.02
    extreme = normalise(torch.full((1, 32, 1, 1), 1 << 30, dtype=torch.int32))
    assert (extreme == ONE).all() or (extreme == ONE - 1).all()
    assert (normalise(torch.zeros(1, 32, 1, 1, dtype=torch.int32)) == 0).all()


def test_layout_threads_and_batch_do_not_matter() -> None:
    layer = conv(160, 160)
    x = torch.randint(-30000, 30000, (4, 160, 9, 11), dtype=torch.int32)
    whole = layer(normalise(x))
    torch.testing.assert_close(
        layer(normalise(x.contiguous(memory_format=torch.channels_last))), whole, rtol=0, atol=0
    )
    torch.testing.assert_close(torch.cat([layer(normalise(v)) for v in x.split(1)]), whole, rtol=0, atol=0)
    threads = torch.get_num_threads()
    try:
        for n in (1, 2, 3):
            torch.set_num_threads(n)
            torch.testing.assert_close(layer(normalise(x)), whole, rtol=0, atol=0)
    finally:
        torch.set_num_threads(threads)
