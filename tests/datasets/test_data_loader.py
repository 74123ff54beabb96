"""Workers of a DataLoader decode in their own thread: eight of them do not start eight times the cores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import tersor
from tersor.codecs import parallel
from tersor.testing.samples import weather

torch = pytest.importorskip("torch")
pytest.importorskip("numba")
TASKS = Path("/proc/self/task")
WORKERS = 8


class Decoded(torch.utils.data.Dataset):  # type: ignore[name-defined, misc]
    """Of each item: threads that decoding it started, torch's threads, and whether it came back."""

    def __init__(self, file: bytes, values: np.ndarray) -> None:
        self.file, self.values = file, values

    def __len__(self) -> int:
        return 2 * WORKERS

    def __getitem__(self, i: int) -> tuple[int, int, bool]:
        before = len(list(TASKS.iterdir()))
        same = np.array_equal(np.asarray(tersor.decode(self.file)), self.values)
        return len(list(TASKS.iterdir())) - before, torch.get_num_threads(), same


def started(data: Decoded) -> list[int]:
    loader = torch.utils.data.DataLoader(
        data, batch_size=None, num_workers=WORKERS, multiprocessing_context="fork"
    )
    found = [tuple(map(int, item)) for item in loader]
    assert all(same for *_, same in found)
    assert {threads for _, threads, _ in found} == {1}
    return [n for n, *_ in found]


@pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")
@pytest.mark.skipif(not TASKS.exists(), reason="counts threads in /proc")
def test_eight_workers_start_no_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.stack([np.round(weather() * 100)] * 2).astype(np.int32)
    file = tersor.encode(values, codec="lossless", block=1 << 14)  # many blocks
    data = Decoded(file, values)
    tersor.decode(file)  # what is compiled here is there in the workers
    assert started(data) == [0] * len(data)
    monkeypatch.setattr(parallel, "default_threads", lambda: 4)  # what it would be otherwise
    assert max(started(data)) >= 2
