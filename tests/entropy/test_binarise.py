"""Integers of any size through the adaptive coder and back."""

from __future__ import annotations

import numpy as np
import pytest

from tersor.entropy.binarise import clip, code_escape
from tersor.entropy.binary import finish_encoding, new_io, start_decoding
from tersor.entropy.binary_tables import arithmetic_tables

BITS = 25


def model() -> tuple[np.ndarray, ...]:
    tables = arithmetic_tables()
    probabilities, counts = np.full(BITS, 1 << 21, np.int32), np.zeros(BITS, np.uint8)
    weights = np.full((1, 1), 65536, np.int32)
    return probabilities, counts, weights, tables["stretch"], tables["squash"], tables["reciprocals"]


def through(values: list[int]) -> tuple[list[int], int]:
    buffer, slots = np.zeros(20 * len(values) + 64, np.uint8), np.zeros(1, np.int64)
    io, learnt = new_io(False), model()
    for v in values:
        assert code_escape(io, buffer, learnt, slots, 0, 0, BITS, 250, v) == v
    finish_encoding(io, buffer)
    size = int(io[3])
    io, learnt = new_io(True), model()
    start_decoding(io, buffer, size)
    return [int(code_escape(io, buffer, learnt, slots, 0, 0, BITS, 250, 0)) for _ in values], size


def test_escapes_come_back() -> None:
    edges = [0, 1, 2, 3, (1 << BITS) - 2, (1 << BITS) - 1, (1 << BITS), (1 << (BITS + 1)) - 2]
    many = np.random.default_rng(0).geometric(0.01, 500).tolist()
    assert through(edges + many)[0] == edges + many


@pytest.mark.parametrize("value", [0, 5, 1000])
def test_what_is_usual_becomes_cheap(value: int) -> None:
    _, once = through([value] * 10)
    _, often = through([value] * 1000)
    raw = (value + 1).bit_length() - 1  # bits below the exponent are not modelled
    assert often < once + 1000 * (raw + 0.5) / 8


def test_clip() -> None:
    assert [clip(v, -2, 3) for v in (-9, -2, 0, 3, 4)] == [-2, -2, 0, 3, 3]
