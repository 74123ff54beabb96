"""Tensors with a bound: what is promised holds, for every type, group and anchor."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tersor
from tersor import container
from tersor.codecs.tensor import quantised
from tersor.codecs.tensor.codec import TensorCodec
from tersor.codecs.tensor.header import WIRE_ID
from tersor.container import Reader
from tersor.errors import BitstreamError, SignalError
from tersor.signals.tensors import Tensor


def cache(seed: int = 0, heads: int = 3, tokens: int = 50, channels: int = 32) -> np.ndarray:
    """Like keys: channels of their own scale and mean, tokens that follow each other; float32."""
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal((2, heads, tokens, channels))
    steady = np.cumsum(noise, 2) * 0.2 + rng.normal(0, 2, (2, heads, 1, channels))
    return (steady * np.exp2(rng.normal(0, 1.5, channels))).astype(np.float32)


def tensor(x: np.ndarray, dtype: str) -> Tensor:
    return Tensor(
        dtype=dtype, shape=x.shape, words=quantised.from_floats(x.astype(np.float64), dtype).reshape(-1)
    )


def values(t: Tensor) -> np.ndarray:
    return quantised.to_floats(t.words, t.dtype).reshape(t.shape)


def there_and_back(t: Tensor, **options: Any) -> tuple[np.ndarray, int]:
    codec = TensorCodec()
    (file,) = codec.encode_batch([{"t": t}], **options)
    (out,) = codec.decode_batch([file])
    assert (out["t"].dtype, out["t"].shape) == (t.dtype, t.shape)
    return values(out["t"]), len(file)


@pytest.mark.parametrize("dtype", quantised.TYPES)
@pytest.mark.parametrize("anchor", [0, 10])
@pytest.mark.parametrize("error", [1.0, 0.02, 1e-5])
def test_max_error_holds_after_rounding_to_the_type(dtype: str, anchor: int, error: float) -> None:
    t = tensor(cache(), dtype)
    out, _ = there_and_back(t, max_error=error, anchor=anchor)
    assert np.abs(out - values(t)).max() <= error


@pytest.mark.parametrize("dtype", quantised.TYPES)
@pytest.mark.parametrize(("groups", "axes"), [("tensor", (2, 3)), ("channel", (2,)), ("token", (3,))])
def test_rel_error_holds_in_every_group(dtype: str, groups: str, axes: tuple[int, ...]) -> None:
    t = tensor(cache(), dtype)
    x = values(t)
    for error in (0.3, 0.01):
        out, size = there_and_back(t, rel_error=error, groups=groups)
        relative = np.sqrt(((out - x) ** 2).mean(axes) / (x**2).mean(axes))
        assert relative.max() <= error * (1 + 1e-12)
        assert relative.mean() > error / 2, "a bound that is far from used wastes bits"
        assert size < x.size * (0.6 if error == 0.3 else 1.3)


def test_cosine_error_holds_for_every_vector() -> None:
    x = np.random.default_rng(0).standard_normal((400, 96)).astype(np.float32)
    x[7] = 0
    for error in (1e-2, 1e-4):
        out, size = there_and_back(tensor(x, "F32"), cosine_error=error)
        assert (1 - quantised.cosines(x.astype(np.float64), out)).max() <= error
        assert not out[7].any()
        assert size < x.size * (0.5 if error == 1e-2 else 0.9)


@pytest.mark.parametrize("bits", [2.5, 4, 7])
def test_bits_per_value_are_kept_and_used(bits: float) -> None:
    x = cache(tokens=400)
    _, size = there_and_back(tensor(x, "BF16"), bits_per_value=bits, groups="channel")
    assert 0.96 * bits < 8 * (size - 60) / x.size <= bits
    with pytest.raises(SignalError, match="too few"):
        there_and_back(tensor(x[..., :1], "BF16"), bits_per_value=0.5, groups="token")


def test_anchors_pay_where_tokens_are_alike() -> None:
    rng = np.random.default_rng(0)
    x = np.cumsum(rng.normal(0, 0.2, (4, 200, 64)), 1).astype(np.float32)  # too few for weights across heads
    _, alone = there_and_back(tensor(x, "F32"), max_error=0.02)
    _, anchored = there_and_back(tensor(x, "F32"), max_error=0.02, anchor=5)
    assert anchored < 0.9 * alone


def test_means_of_channels_cost_nothing() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(0, 0.2, (4, 400, 64))
    for anchor in (0, 10):
        _, plain = there_and_back(tensor(x, "F32"), max_error=0.05, anchor=anchor)
        _, shifted = there_and_back(tensor(x + rng.normal(0, 3, 64), "F32"), max_error=0.05, anchor=anchor)
        assert shifted < (1.02 if anchor == 0 else 1.2) * plain


def test_layers_have_their_own_settings() -> None:
    x = cache()
    (file,) = TensorCodec().encode_batch(
        [{"layers.0.k": x, "layers.1.k": x + 1, "layers.0.v": x + 2, "ids": np.arange(9)}],
        rel_error=0.1,
        per_tensor={"layers.0.*": {"max_error": 1e-3}, "layers.1.k": {}},
    )
    assert tersor.info(file)["coding"] == "2 max_error 0.001, lossless"
    (out,) = TensorCodec().decode_batch([file])
    assert np.abs(out["layers.0.v"].numpy() - (x + 2)).max() <= 1e-3
    assert np.array_equal(out["layers.1.k"].numpy(), x + 1)
    assert np.array_equal(out["ids"].numpy(), np.arange(9))


@pytest.mark.parametrize("shape", [(5,), (3, 0, 4), (1, 1), (40000,), (2, 3, 5000, 64)])
def test_any_shape_and_chunks(shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tersor.codecs.tensor.encode.CHUNK_WORDS", 1 << 16)
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    for options in ({"max_error": 0.01}, {"rel_error": 0.01, "groups": "channel", "anchor": 7}):
        out, _ = there_and_back(tensor(x, "F32"), **options)
        assert np.abs(out - x).max(initial=0) <= 0.06
    (file,) = TensorCodec().encode_batch([{"t": x}], max_error=0.01, anchor=7)
    if x.size and len(shape) > 1:
        (part,) = TensorCodec().decode_batch([file], rows=slice(0, 1))
        (whole,) = TensorCodec().decode_batch([file])
        assert np.array_equal(part["t"].numpy(), whole["t"].numpy()[:1])


@pytest.mark.parametrize(
    "options",
    [
        {"max_error": 0},
        {"max_error": float("nan")},
        {"rel_error": 2},
        {"bits_per_value": 40},
        {"cosine_error": "x"},
        {"rel_error": 0.1, "groups": "head"},
        {"rel_error": 0.1, "anchor": 1},
        {"rel_error": 0.1, "groups": "token", "anchor": 8},
        {"rel_error": 0.1, "lossless": True},
        {"quality": 3},
    ],
    ids=str,
)
def test_options_out_of_range_are_errors(options: dict[str, Any]) -> None:
    with pytest.raises(SignalError):
        TensorCodec().encode_batch([np.ones(3, np.float32)], **options)


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_hostile_chunks_end_in_errors(data: st.DataObject) -> None:
    codec = TensorCodec()
    file = Reader(codec.encode_batch([{"t": cache(tokens=20)}], rel_error=0.1, groups="channel", anchor=5)[0])
    payload = bytearray(file.chunk(0))
    for _ in range(data.draw(st.integers(1, 4))):
        payload[data.draw(st.integers(0, len(payload) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(BitstreamError):
        codec.decode_batch([container.write(WIRE_ID, file.header, {}, [bytes(payload)])])


def test_hostile_steps_are_refused() -> None:
    import struct
    import zlib

    from tersor.container import put_uvarint

    def payload(tokens: int, groups: int, step: float, least: int, used: int) -> bytes:
        side = put_uvarint(tokens) + bytes([groups, 0]) + struct.pack("<dqBB", step, least, used, 0)
        packed = zlib.compress(side + bytes(2 * 4))
        return b"\3" + put_uvarint(len(packed)) + packed + b"\1\0\0"

    out = np.empty(16, np.uint32)
    quantised.decode(payload(2, 0, 0.5, 3, 4), 2, out, "F32", "it")
    assert (out.view(np.float32) == 1.5).all()
    for bad in (
        (0, 0, 0.5, 3, 4),
        (2, 3, 0.5, 3, 4),
        (2, 0, -1, 3, 4),
        (2, 0, np.inf, 3, 4),
        (2, 0, 1, 1 << 40, 4),
        (2, 0, 1, 0, 33),
    ):
        with pytest.raises(BitstreamError):
            quantised.decode(payload(*bad), 2, out, "F32", "it")
