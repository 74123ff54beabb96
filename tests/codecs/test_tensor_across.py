"""Numbers of a token predicted across the channels of all heads."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tersor import container
from tersor.codecs.tensor import across
from tersor.codecs.tensor.codec import TensorCodec
from tersor.codecs.tensor.header import WIRE_ID
from tersor.container import ByteReader, Reader
from tersor.errors import BitstreamError


def whole_numbers(n: int = 600, d: int = 24) -> np.ndarray:
    """That depend on each other."""
    rng = np.random.default_rng(0)
    mixed = rng.normal(size=(n, d)) * np.exp2(-np.arange(d) / 4) @ rng.normal(size=(d, d))
    return np.rint(60 * mixed).astype(np.int64)


def keys(heads: int = 4, tokens: int = 300, channels: int = 8) -> np.ndarray:
    """Of two sequences: heads that look at one hidden state through matrices of their own, float16."""
    rng = np.random.default_rng(1)
    hidden = rng.normal(size=(2, 1, tokens, 16)) * np.exp2(-np.arange(16) / 3)
    return np.asarray(hidden @ rng.normal(size=(heads, 16, channels)), np.float16)


def test_numbers_come_back() -> None:
    x = whole_numbers()
    found = across.fit(x)
    assert found is not None
    e, data = found
    assert e.std() < x.std() / 2
    weights = across.unpack(ByteReader(data, "weights"), x.shape[1], "it")
    assert np.array_equal(across.rebuilt(e, weights, "it"), x)
    assert np.array_equal(across.scattered(across.gathered(x, 3, 50), 3, 50), x)


def test_what_does_not_pay_is_left() -> None:
    rng = np.random.default_rng(0)
    assert across.fit(rng.integers(-50, 50, (400, 16))) is None
    assert across.fit(whole_numbers(n=20)) is None, "fewer tokens than numbers of a token"
    assert across.fit(whole_numbers() << 20) is None, "beyond the limits"


@pytest.mark.parametrize("groups", ["tensor", "channel"])
def test_heads_of_one_hidden_state_help_each_other(groups: str) -> None:
    x, codec = keys(), TensorCodec(threads=1)
    (file,) = codec.encode_batch([{"k": x}], rel_error=0.01, groups=groups)
    apart = sum(len(codec.encode_batch([{"k": x[:, i]}], rel_error=0.01, groups=groups)[0]) for i in range(4))
    assert len(file) < 0.85 * apart
    found = codec.decode_batch([file])[0]["k"].numpy().astype(np.float64)
    axes = (2, 3) if groups == "tensor" else (2,)
    exact = x.astype(np.float64)
    error, size = (np.sqrt((v**2).mean(axes)) for v in (found - exact, exact))
    assert (error <= 0.01 * size).all()
    part = codec.decode_batch([file], tensors=["k"], rows=slice(1, 2))[0]["k"].numpy()
    assert np.array_equal(part, found[1:2].astype(np.float16))


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_hostile_chunks_end_in_errors(data: st.DataObject) -> None:
    codec = TensorCodec(threads=1)
    file = Reader(codec.encode_batch([{"k": keys(tokens=80)}], rel_error=0.02)[0])
    payload = bytearray(file.chunk(0))
    for _ in range(data.draw(st.integers(1, 4))):
        payload[data.draw(st.integers(0, len(payload) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(BitstreamError):
        codec.decode_batch([container.write(WIRE_ID, file.header, {}, [bytes(payload)])])


def test_hostile_weights_are_refused() -> None:
    x = whole_numbers()
    found = across.fit(x)
    assert found is not None
    e, data = found
    weights = across.unpack(ByteReader(data, "weights"), 24, "it")
    with pytest.raises(BitstreamError, match="beyond their limits"):
        across.rebuilt(e * (1 << 16), weights, "it")
    with pytest.raises(BitstreamError, match="beyond their limits"):
        across.rebuilt(e + (1 << 41), weights, "it")
    for d in (0, 1, across.MOST + 1):
        with pytest.raises(BitstreamError, match="not valid"):
            across.unpack(ByteReader(data, "weights"), d, "it")
    with pytest.raises(BitstreamError):
        across.unpack(ByteReader(data, "weights"), 25, "it")
    front = len(container.put_uvarint(len(data)))
    with pytest.raises(BitstreamError, match="not valid"):
        across.unpack(ByteReader(data[:front] + b"\0" + data[front + 1 :], "weights"), 24, "it")
