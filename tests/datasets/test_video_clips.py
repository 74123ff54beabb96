from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tersor.codecs.video.codec import VideoCodec
from tersor.datasets.video import VideoClips
from tersor.errors import SignalError
from tersor.testing.samples import clip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    for name, frames in (("a", 12), ("b", 3), ("c", 9)):
        (file,) = VideoCodec().encode_batch([clip(32, 24, frames)], fps=25, group=4, quality=90)
        (folder / f"{name}.tsr").write_bytes(file)
    return folder


def test_items_are_the_frames_of_the_files(folder: Path) -> None:
    clips = VideoClips([folder], frames=4, stride=2)
    assert [clips.where(i) for i in range(len(clips))] == [(folder / "a.tsr", 0), (folder / "c.tsr", 0)]
    close = VideoClips([folder], frames=4, stride=1, hop=2)
    assert [first for path, first in map(close.where, range(len(close))) if path.stem == "a"] == [
        0,
        2,
        4,
        6,
        8,
    ]
    assert close.where(-1) == close.where(len(close) - 1)
    item = clips[0]
    assert item.shape == (4, 3, 24, 32)
    assert item.dtype == torch.uint8
    (whole,) = VideoCodec().decode_batch([(folder / "a.tsr").read_bytes()])
    assert np.array_equal(item.numpy(), np.asarray(whole)[0:8:2].transpose(0, 3, 1, 2))
    with pytest.raises(IndexError):
        clips[len(clips)]


def test_workers_and_transforms(folder: Path) -> None:
    clips = VideoClips([folder], frames=3, transform=lambda x: x.float() / 255)
    loader = torch.utils.data.DataLoader(clips, batch_size=2, num_workers=0)
    batches = list(loader)
    assert sum(len(b) for b in batches) == len(clips) == 8
    assert batches[0].dtype == torch.float32


def test_nothing_long_enough(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(SignalError, match="has 50 frames"):
        VideoClips([folder], frames=50)
    with pytest.raises(SignalError, match="0 files"):
        VideoClips([tmp_path])
