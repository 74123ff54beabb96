"""The filter of frames: its taps, and that it treats a picture that is turned or mirrored alike."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tersor.codecs.video import state
from tersor.codecs.video.block_loops import start_frame
from tersor.codecs.video.filter_loops import choose_filtered
from tersor.codecs.video.frame_loops import finish_frame, smooth_frame
from tersor.codecs.video.group import Group, GroupSettings
from tersor.codecs.video.model import Tables, start_tables
from tersor.codecs.video.state import Codec
from tersor.codecs.video.tables import TAP_ORDERS, TAP_X, TAP_Y

INSIDE = (slice(state.MARGIN, -state.MARGIN),) * 2


def test_taps_are_half_a_diamond() -> None:
    half = set(zip(TAP_Y.tolist(), TAP_X.tolist(), strict=True))
    whole = half | {(-y, -x) for y, x in half} | {(0, 0)}
    assert whole == {(y, x) for y in range(-3, 4) for x in range(-3, 4) if abs(y) + abs(x) <= 3}
    assert all(sorted(order) == list(range(len(half))) for order in TAP_ORDERS.tolist())
    assert len({tuple(order) for order in TAP_ORDERS.tolist()}) == 4


def started(frame: NDArray[np.int16], tables: Tables) -> Codec:
    """A grey frame whose blocks are done, of which nothing needs smoothing."""
    group = Group([(1, *frame.shape)], 10, GroupSettings(quality=40).head, tables)
    c = group.start(np.zeros(4096, np.uint8), decoding=False)
    group.begin(0)
    start_frame(c)
    c.frames[c.par[state.CURRENT], 0][INSIDE] = frame
    smooth_frame(c)
    return c


def any_filters() -> Tables:
    tables = start_tables()
    rng = np.random.default_rng(3)
    return tables._replace(filters=rng.integers(-9, 10, tables.filters.shape, dtype=np.int32))


@pytest.mark.parametrize("turn", [np.transpose, np.fliplr, np.flipud])
def test_a_picture_that_is_turned_is_filtered_alike(turn: Any) -> None:
    """Slanted waves: what is strong and what is weak is the same for every square."""
    y, x = np.mgrid[:64, :64]
    frame = np.round(512 + 400 * np.sin(0.9 * x + 0.35 * y)).astype(np.int16)
    tables, out = any_filters(), []
    tables.filters[:] = tables.filters[0, 0, 0]
    for x in (frame, np.ascontiguousarray(turn(frame))):
        c = started(x, tables)
        choose_filtered(c, x[None], 1.0)
        out.append(c.clean[0][INSIDE].copy())
    inner = slice(8, -8)  # away from the border
    assert np.array_equal(turn(out[0])[inner, inner], out[1][inner, inner])
    assert (out[0] != frame).mean() > 0.9


def test_only_areas_that_gain_are_filtered() -> None:
    """The original is what the filter makes of the left area, and the frame itself in the right one."""
    frame = np.random.default_rng(1).integers(300, 700, (64, 128)).astype(np.int16)
    c = started(frame, any_filters())
    choose_filtered(c, frame[None], 1.0)
    assert not c.filtered.any()
    wanted = frame.copy()
    wanted[:, :64] = c.clean[0][INSIDE][:, :64]
    choose_filtered(c, wanted[None], 1.0)
    assert c.filtered[0, 1].tolist() == [0, 1, 0, 0]
    finish_frame(c)
    assert np.array_equal(c.frames[c.par[state.CURRENT], 0][INSIDE], wanted)
