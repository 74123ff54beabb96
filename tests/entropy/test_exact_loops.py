"""The compiled exact layers against float64, which is exact: the same integers, whatever the inputs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tersor.models import exact, exact_compiled
from tersor.models.image_weights import load_image_model

LOOPS = exact_compiled.loops_for(torch.zeros(0))
pytestmark = pytest.mark.skipif(LOOPS is None, reason="no x86 CPU, or no numba")


def same(work: Callable[[], Tensor]) -> None:
    """As compiled and as in float64."""
    compiled = work()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exact_compiled, "loops_for", lambda x: None)
        plain = work()
    assert compiled.dtype == plain.dtype == torch.int32
    assert torch.equal(compiled, plain)


def integers(shape: tuple[int, ...], most: int, seed: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).integers(-most, most + 1, shape).astype(np.int32))


@settings(max_examples=40, deadline=None)
@given(
    c_in=st.integers(1, 70),
    c_out=st.integers(1, 70),
    size=st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(1, 14)),
    side=st.sampled_from([1, 3]),
    most=st.sampled_from([0, 300, 5000, 40000, 2**31 - 1]),
    heavy=st.sampled_from([30, 3000, 32767]),
    shift=st.integers(0, 14),
    seed=st.integers(0, 1000),
)
def test_any_layer(
    c_in: int,
    c_out: int,
    size: tuple[int, int, int],
    side: int,
    most: int,
    heavy: int,
    shift: int,
    seed: int,
) -> None:
    layer = exact.ExactConv(c_in, c_out, side)
    layer.weight_int.copy_(integers(tuple(layer.weight.shape), heavy, seed))
    layer.bias_int.copy_(integers((c_out,), 1 << 24, seed + 1))
    layer.shift.fill_(max(shift, 8))
    same(lambda: layer(integers((size[0], c_in, *size[1:]), most, seed)))


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("c", [8, 159, 160])
def test_sums_beyond_32_bits(sign: int, c: int) -> None:
    """All weights and inputs at their ends, of which some positions alone need 64 bits."""
    layer = exact.ExactConv(c, 33, 3)
    layer.weight_int.fill_(sign * exact.WEIGHT_MAX)
    layer.shift.fill_(14)
    x = torch.zeros(1, c, 6, 20, dtype=torch.int32)
    x[:, :, 2:4, 7:9] = -(1 << 30)
    same(lambda: layer(x))
    same(lambda: layer(torch.full_like(x, 1 << 30)))


def test_the_reach_is_not_overstated() -> None:
    """A sum of exactly the reach of a layer is right in 32 bits, and a larger one is not computed there."""
    assert LOOPS is not None
    weight = np.full((1, 2, 1, 1), 32767, np.int16)
    layer = LOOPS.pack(weight, np.zeros(1, np.int64), 0)
    most = np.sqrt(layer.reach / 2)
    assert 2 * 32767 * int(most) < 2**31
    assert layer.reach <= (2**31 - 1) ** 2 / (2 * 32767**2)


@pytest.mark.parametrize("most", [1, 100, 4000, 40000, (1 << 21) + 5, (1 << 28) - 1])
def test_released_layers(most: int) -> None:
    prior = load_image_model(None, "cpu").model.prior
    stream = integers((2, 160, 7, 10), most, 0)
    same(lambda: exact.normalise(stream))
    for block in (prior.z_mid, prior.z_out, *prior.refine):
        same(lambda block=block: block(stream))
    for layer in (prior.z_in, prior.z_up, *prior.context, *prior.low_context, *prior.heads):
        c = layer.weight.shape[1]
        same(lambda layer=layer, c=c: layer(integers((2, c, 5, 7), most, 1)))


def test_parts_and_views_do_not_matter() -> None:
    prior = load_image_model(None, "cpu").model.prior
    x = integers((2, 160, 9, 11), 3000, 0)
    whole = prior.refine[0](x)

    def one_by_one(work: Callable[[int, int], object], rows: int, points: int) -> None:
        for row in reversed(range(rows)):
            work(row, row + 1)

    token = exact_compiled.spread.set(one_by_one)
    try:
        assert torch.equal(prior.refine[0](x), whole)
        assert torch.equal(prior.refine[0](x.contiguous(memory_format=torch.channels_last)), whole)
    finally:
        exact_compiled.spread.reset(token)
