"""Orders of coding: every frame once, from frames that are there, in a pool that does not grow."""

from __future__ import annotations

import pytest

from tersor.codecs.video.group import pool_size
from tersor.codecs.video.state import MAX_REFS
from tersor.codecs.video.structure import CHAIN, DISTANCES, last_uses, steps_of


@pytest.mark.parametrize("distance", [CHAIN, *DISTANCES])
@pytest.mark.parametrize("frames", [1, 2, 3, 8, 9, 10, 17, 64, 255])
def test_every_frame_once_from_frames_that_are_there(frames: int, distance: int) -> None:
    steps = steps_of(frames, distance)
    assert sorted(s.time for s in steps) == list(range(frames))
    there: set[int] = set()
    for step in steps:
        assert set(step.references) <= there
        assert len(set(step.references)) == len(step.references) <= MAX_REFS
        assert bool(step.references) == (step.time > 0)
        there.add(step.time)
    if distance == CHAIN:
        assert [s.time for s in steps] == list(range(frames))
    assert pool_size(steps, last_uses(steps)) <= max(5, distance.bit_length() + 2)


def test_a_pyramid_starts_with_its_anchors() -> None:
    assert [s.time for s in steps_of(10, 8)] == [0, 8, 4, 2, 1, 3, 6, 5, 7, 9]
