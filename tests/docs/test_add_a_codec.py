"""The codec of docs/add-a-codec.md is one: it passes the contract, and the front door finds it."""

from __future__ import annotations

import re
import sys
import types
from pathlib import Path

import numpy as np
import pytest

import tersor
from tersor import registry
from tersor.container import Reader
from tersor.errors import ChecksumError, SignalError

PAGE = Path(__file__).parents[2] / "docs" / "add-a-codec.md"
CODEC, CONTRACT = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
MOST_LINES = 110

strips = types.ModuleType("strips_of_the_docs")
sys.modules[strips.__name__] = strips
exec(compile(CODEC, str(PAGE), "exec"), strips.__dict__)
exec(compile(CONTRACT, str(PAGE), "exec"), strips.__dict__)
TestStrips = strips.__dict__["TestStrips"]


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As its entry point would."""
    entry: registry.CodecEntry = strips.__dict__["ENTRY"]
    both = {**registry.entries(), entry.name: entry}
    monkeypatch.setattr(registry, "entries", lambda: both)


def test_it_is_short() -> None:
    assert len(CODEC.splitlines()) <= MOST_LINES


@pytest.mark.usefixtures("installed")
def test_the_front_door_finds_it() -> None:
    x = np.random.default_rng(0).integers(0, 9, (150, 20, 3), dtype=np.uint8)
    file = tersor.encode(x, codec="strips", level=9)
    assert np.array_equal(tersor.decode(file), x)
    assert tersor.info(file)["height"] == 150
    damaged = bytearray(file)
    damaged[sum(Reader(file).chunk_lengths[:1]) + Reader(file).front_size] ^= 1
    with pytest.raises(ChecksumError, match="chunk 1"):
        tersor.decode(bytes(damaged))
    saved = tersor.decode(bytes(damaged), salvage=True)
    assert (saved[64:128] == 128).all()
    assert np.array_equal(saved[:64], x[:64])
    with pytest.raises(SignalError, match="level is 10; allowed are"):
        tersor.encode(x, codec="strips", level=10)
