from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tersor.entropy.rans import MAX_ESCAPE, SymbolDecoder, SymbolEncoder
from tersor.entropy.tables import TOTAL, FrozenTables, counts_from_histogram
from tersor.errors import BitstreamError, WeightsError

RADII = [0, 1, 2, 7, 40]


def make_tables() -> FrozenTables:
    counts = [counts_from_histogram(np.exp(-np.abs(np.arange(-r, r + 1)) / max(1, r / 3))) for r in RADII]
    return FrozenTables(np.concatenate(counts), np.array(RADII))


TABLES = make_tables()
groups = st.lists(
    st.lists(
        st.tuples(
            st.integers(0, len(RADII) - 1),
            st.integers(-50, 50) | st.integers(-MAX_ESCAPE // 2, MAX_ESCAPE // 2),
        ),
        max_size=60,
    ),
    max_size=5,
)


@given(groups)
@settings(max_examples=200)
def test_round_trip(runs: list[list[tuple[int, int]]]) -> None:
    encoder = SymbolEncoder()
    pushed = []
    for run in runs:
        tables = np.array([t for t, _ in run], np.int64)
        symbols = np.array([s for _, s in run], np.int64)
        encoder.push(symbols, tables, TABLES)
        pushed.append((symbols, tables))
    payload = encoder.finish()
    decoder = SymbolDecoder(payload, "test")
    for symbols, tables in pushed:
        np.testing.assert_array_equal(decoder.pop(tables, TABLES), symbols)
    decoder.end()


def test_size_is_within_a_word_or_two_of_the_estimate() -> None:
    rng = np.random.default_rng(0)
    tables = rng.integers(1, len(RADII), 20000)
    symbols = np.clip(rng.laplace(0, 1 + tables), -RADII[-1], RADII[-1]).round().astype(int)
    encoder = SymbolEncoder()
    encoder.push(symbols, tables, TABLES)
    size = len(encoder.finish())
    assert size <= encoder.estimated_bits / 8 * 1.001 + 12


def test_certain_symbols_cost_nothing() -> None:
    encoder = SymbolEncoder()
    encoder.push(np.zeros(100000, int), np.zeros(100000, int), TABLES)
    assert encoder.finish() == b"\0"


def test_exceptions_to_certain_symbols_cost_two_bytes_each() -> None:
    symbols = np.zeros(100000, int)
    symbols[[0, 99, 50000]] = 1, -1, 40
    encoder = SymbolEncoder()
    encoder.push(symbols, np.zeros(100000, int), TABLES)
    payload = encoder.finish()
    assert len(payload) == 2 + 2 + 2 + 4
    decoder = SymbolDecoder(payload, "test")
    np.testing.assert_array_equal(decoder.pop(np.zeros(100000, int), TABLES), symbols)
    decoder.end()
    short = SymbolDecoder(payload, "test")
    short.pop(np.zeros(50000, int), TABLES)
    with pytest.raises(BitstreamError, match="exceptions are left over"):
        short.end()


@given(st.binary(max_size=120))
def test_garbage_is_a_bitstream_error_or_symbols(data: bytes) -> None:
    try:
        decoder = SymbolDecoder(data, "test")
        decoder.pop(np.arange(200) % len(RADII), TABLES)
        decoder.end()
    except BitstreamError:
        pass


@given(st.lists(st.floats(0.001, 1e6), min_size=3, max_size=80))
def test_counts_sum_and_have_no_zero(histogram: list[float]) -> None:
    counts = counts_from_histogram(histogram)
    assert counts.sum() == TOTAL
    assert counts.min() >= 1


def test_damaged_tables_are_refused() -> None:
    with pytest.raises(WeightsError, match="counts"):
        FrozenTables(np.array([1, 2, 3]), np.array([2]))
    with pytest.raises(WeightsError, match="sum"):
        FrozenTables(np.array([1, 2, 3]), np.array([1]))
