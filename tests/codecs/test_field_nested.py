"""Blocks over nested grids: every shape and order comes back, at every effort, and damage is noticed."""

from __future__ import annotations

import numpy as np
import pytest

import tersor
from tersor.codecs.field import class_tables, nested
from tersor.codecs.field.block_decode import decode_block
from tersor.codecs.field.block_encode import encode_block
from tersor.codecs.field.effort import Effort
from tersor.codecs.field.nested_block import NestedTrial
from tersor.codecs.field.nested_loops import CLASSES
from tersor.container import ByteReader
from tersor.entropy.letters import ESCAPE, LETTERS
from tersor.entropy.magnitude_tables import magnitude_tables
from tersor.errors import BitstreamError
from tersor.testing.samples import weather

SHAPES = [(1,), (2,), (3,), (40,), (1, 7), (2, 2), (3, 50), (33, 64), (2, 3, 40), (3, 3, 3), (17, 18, 19)]
SHAPES += [
    (5, 1, 40),
    (4, 5, 6, 7),
    (2, 2, 2, 33),
    (6, 32, 40),
    (3, 20, 30, 2),
    (20, 10, 16, 10),
    (2, 3, 4, 5, 6),
]


def walk(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.cumsum(np.random.default_rng(seed).normal(size=shape), -1).astype(np.float32)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("effort", [1, 5, 9])
def test_every_shape_is_within_its_bound(shape: tuple[int, ...], effort: int) -> None:
    x = walk(shape)
    y = np.asarray(tersor.decode(tersor.encode(x, codec="field", max_error=0.05, effort=effort)))
    assert y.dtype == x.dtype
    assert np.abs(x.astype(np.float64) - y).max() <= 0.05


@pytest.mark.parametrize("effort", [1, 5, 9])
def test_special_cells_and_large_residuals(effort: int) -> None:
    x = walk((9, 40, 50))
    x[:, 3:9, 10:30] = np.nan
    x[4, 20, 20] = np.inf
    x[5, 30:32] *= 1e6
    y = np.asarray(tersor.decode(tersor.encode(x, codec="field", max_error=1e-3, effort=effort)))
    assert np.array_equal(np.isnan(x), np.isnan(y))
    assert y[4, 20, 20] == np.inf
    known = np.isfinite(x)
    assert np.abs(x[known].astype(np.float64) - y[known]).max() <= 1e-3


@pytest.mark.parametrize("dtype", ["u1", "i2", "i4", "u4", "i8", "f2", "f4", "f8"])
def test_without_loss(dtype: str) -> None:
    x = (walk((6, 30, 40)) * 50).astype(dtype)
    y = np.asarray(tersor.decode(tersor.encode(x, codec="field", lossless=True)))
    assert np.array_equal(x.view(np.uint8), y.view(np.uint8))


def test_efforts_order_sizes() -> None:
    x = walk((40, 60, 70)) + 0.1 * np.random.default_rng(1).normal(size=(40, 60, 70)).astype(np.float32)
    one, usual, nine = (len(tersor.encode(x, codec="field", rel_error=1e-3, effort=e)) for e in (1, 5, 9))
    assert nine <= usual <= 1.02 * one


@pytest.mark.parametrize("order", [(0, 1, 2), (0, 2, 1)], ids=str)
def test_keys_of_the_first_frame_begin_as_their_parents(order: tuple[int, ...]) -> None:
    """Here some have no weights of their own while their parents have."""
    x = weather((12, 180, 240))
    step = 2e-3 * float(np.ptp(x))
    offset, unit = float(x.min()), step / 64
    target, none = (x.ravel().astype(np.float64) - offset) / unit, np.empty(0, np.bool_)
    trial = NestedTrial(x.shape, target, none, True, False, order, 0, Effort.of(5), magnitude_tables())
    payload, _ = trial.payload(x.ravel(), np.zeros(x.size, np.bool_), 0.51 * step, offset, unit)
    y = decode_block(payload, x.shape, x.dtype, "block", magnitude_tables())
    assert np.abs(x.astype(np.float64) - y).max() <= 0.51 * step


def test_threads_do_not_change_a_file() -> None:
    x = walk((40, 60, 70))
    assert len({tersor.encode(x, codec="field", rel_error=1e-3, threads=n) for n in (1, 2, 3)}) == 1


@pytest.mark.parametrize("seed", range(4))
def test_damage_is_noticed(seed: int) -> None:
    """With a checksum that fits."""
    x, rng = walk((7, 20, 30), seed), np.random.default_rng(seed)
    payload = encode_block(x, 0.02, None, None)
    whole = decode_block(payload, x.shape, x.dtype, "block", magnitude_tables())
    assert np.abs(x - whole).max() <= 0.02
    for _ in range(60):
        broken = bytearray(payload)
        broken[rng.integers(len(broken))] ^= 1 << int(rng.integers(8))
        try:
            decode_block(bytes(broken), x.shape, x.dtype, "block", magnitude_tables())
        except BitstreamError:
            continue
    with pytest.raises(BitstreamError):
        decode_block(payload[:-2], x.shape, x.dtype, "block", magnitude_tables())


def test_tables_come_back_and_know_what_occurs() -> None:
    rng, tables = np.random.default_rng(0), magnitude_tables()
    counts = np.zeros((CLASSES, LETTERS), np.int64)
    for c in range(1, CLASSES, 3):
        counts[c, :ESCAPE] = rng.geometric(0.5, ESCAPE) * (rng.random(ESCAPE) < 0.3)
        counts[c, 0] = 10 ** int(rng.integers(0, 7))
    data, frequencies, _ = class_tables.choose(counts, tables, True)
    reader = ByteReader(data, "tables")
    assert np.array_equal(class_tables.unpack(reader, tables), frequencies)
    reader.end()
    escapes = frequencies[:, ESCAPE:] > 0
    assert ((frequencies > 0) | escapes | (counts == 0)).all()


def test_a_plan_covers_each_cell_once() -> None:
    for shape, frames in (((5, 6, 7), False), ((5, 6, 7), True), ((4, 3, 9, 8), False), ((1, 1, 5), False)):
        p = nested.plan(shape, frames, tuple(range(len(shape))))
        assert p.points.sum() + p.frames == np.prod(shape)
        assert p.runs.sum() == p.points.sum()


def test_efforts_are_ordered() -> None:
    samples = [Effort.of(e).samples for e in range(1, 10)]
    assert samples == sorted(samples)
