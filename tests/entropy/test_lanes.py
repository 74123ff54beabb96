"""Interleaved rANS and the letters that it codes."""

from __future__ import annotations

import numpy as np
import pytest

from tersor.entropy import lanes
from tersor.entropy.letters import (
    ESCAPE,
    LETTERS,
    frozen_frequencies,
    letters_of,
    raw_bits,
    symbols_of,
)
from tersor.entropy.magnitude_tables import magnitude_tables


def through(frequencies: np.ndarray, symbols: np.ndarray, classes: np.ndarray, runs: list[int], n_lanes: int):
    n, letters = len(symbols), frequencies.shape[1]
    spacing = letters + lanes.GAP
    table = np.zeros((len(frequencies) * spacing, 4), np.uint32)
    lanes.encoding_table(frequencies, np.arange(letters), spacing, table)
    states, words = np.full(n_lanes, lanes.LOWEST, np.uint32), np.empty(n + 1, np.uint16)
    at = lanes.encode_runs(symbols, classes, np.array(runs), spacing, table, states, words)
    stream = np.zeros(n + 1 - at + n_lanes, np.uint16)
    stream[: n + 1 - at] = words[at:]
    slots = np.zeros(len(frequencies) << lanes.TABLE_BITS, np.uint32)
    lanes.decoding_table(frequencies, slots)
    out, taken, start = np.empty(n, np.uint8), 0, 0
    alphabet = np.arange(256, dtype=np.uint8)
    for run in runs:
        part = slice(start, start + run)
        taken = lanes.decode(stream, taken, states, slots, classes[part], alphabet, out[part])
        start += run
    assert taken == n + 1 - at
    assert (states == lanes.LOWEST).all()
    return out


@pytest.mark.parametrize("n_lanes", [4, 32])
def test_runs_come_back(n_lanes: int) -> None:
    rng = np.random.default_rng(0)
    runs = [1, 0, 31, 32, 33, 1000, 7]
    frequencies = np.array([[4096, 0, 0], [1, 4000, 95], [2048, 1024, 1024]])
    classes = rng.integers(0, 3, sum(runs)).astype(np.uint8)
    symbols = np.array([rng.choice(3, p=frequencies[c] / 4096) for c in classes]).astype(np.uint8)
    assert np.array_equal(through(frequencies, symbols, classes, runs, n_lanes), symbols)


@pytest.mark.parametrize("f", [2049, 3001, 4005, 4093, 4094])
def test_frequent_symbols_divide_exactly(f: int) -> None:
    """A reciprocal of 32 bits is too large by one for some states above 2^31."""
    rng = np.random.default_rng(f)
    frequencies = np.array([[f, 4095 - f, 1]])
    symbols = rng.choice(3, 200_000, p=frequencies[0] / 4096).astype(np.uint8)
    classes = np.zeros(len(symbols), np.uint8)
    assert np.array_equal(through(frequencies, symbols, classes, [len(symbols)], 32), symbols)


def test_letters_and_raw_bits_come_back() -> None:
    rng = np.random.default_rng(1)
    sizes = np.exp(rng.uniform(0, np.log(1 << 30), 5000)).astype(np.int64) - 1
    symbols = np.concatenate([sizes * rng.choice([-1, 1], 5000), np.arange(-40, 41)]).astype(np.int32)
    classes = rng.integers(0, 2, len(symbols)).astype(np.uint8)
    letters, counts = np.empty(len(symbols), np.uint8), np.zeros((2, LETTERS), np.int64)
    letters_of(symbols, classes, letters, counts)
    assert counts.sum() == len(symbols)
    known = rng.random((2, LETTERS)) < 0.8  # the rest are escapes
    known[:, ESCAPE] = True
    raw = np.zeros(5 * len(symbols) + 16, np.uint8)
    used = raw_bits(symbols, classes, letters, known, raw)
    assert (letters == ESCAPE).any()
    back = np.empty_like(symbols)
    bit = symbols_of(letters, raw[: used + 8], 0, back)
    assert -(-bit // 8) == used
    assert np.array_equal(back, symbols)
    assert symbols_of(letters, raw[: used + 7], 0, back) == -1


def test_frozen_tables_become_frequencies() -> None:
    frequencies = frozen_frequencies(magnitude_tables())
    assert (frequencies.sum(-1) == lanes.SLOTS).all()
    assert (frequencies >= 0).all()
    assert (frequencies[..., ESCAPE] > 0).all()
