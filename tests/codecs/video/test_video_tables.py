"""Constants of the video codec: nearly orthonormal transforms, complete scans."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from tersor.codecs.video.tables import DST, SCAN_X, SCAN_Y, TRANSFORMS


@pytest.mark.parametrize("kind", range(5))
def test_rows_are_nearly_orthonormal(kind: int) -> None:
    n = 4 if kind == DST else 4 << kind
    t = TRANSFORMS[kind, :n, :n].astype(np.int64)
    gram = t @ t.T / (64 * 64 * n)
    assert np.abs(gram - np.eye(n)).max() < (0.04 if kind == DST else 0.005)
    assert np.abs(t).max() <= 90


@pytest.mark.parametrize("size", range(4))
def test_scans_visit_every_place_once(size: int) -> None:
    n = 4 << size
    places = list(zip(SCAN_Y[size, : n * n].tolist(), SCAN_X[size, : n * n].tolist(), strict=True))
    assert sorted(places) == [(y, x) for y in range(n) for x in range(n)]
    assert all(a[0] + a[1] <= b[0] + b[1] for a, b in pairwise(places))
