"""Clips of .tsr videos for training: a map-style data set that decodes only the groups that an item's frames
lie in.

    files --headers alone--> an index of (file, first frame) --item--> frames=slice(first, last, stride) -->
    uint8 [T, 3, H, W]
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from tersor import api
from tersor.errors import SignalError


class VideoClips(Dataset[Any]):
    """Clips of equal length from many videos; item i is uint8 [T, 3, H, W], RGB.

    Works with any DataLoader: a worker opens a file for the item and closes it, so nothing is shared between
        processes. Frames of one item from one
    group cost one group's decoding: order the items, or take clips as long as a group, for speed.

    Args:
        files: .tsr files or folders of them.
        frames: of a clip.
        stride: every so manyth frame of the video is taken.
        hop: frames from the start of a clip to the next one's; the clip's span if None.
        transform: of the tensor; what it gives is the item.

    Raises:
        SignalError: no file is long enough.

    Example:
        clips = VideoClips(["videos/"], frames=8, stride=2) loader = torch.utils.data.DataLoader(clips,
        batch_size=4, num_workers=2, shuffle=True)
    """

    def __init__(
        self,
        files: Sequence[str | Path],
        *,
        frames: int = 16,
        stride: int = 1,
        hop: int | None = None,
        transform: Callable[[Tensor], Any] | None = None,
    ) -> None:
        span = (frames - 1) * stride + 1
        hop = span if hop is None else hop
        if min(frames, stride, hop) < 1:
            raise SignalError(f"frames {frames}, stride {stride} and hop {hop} must be at least 1")
        self.files = [p for f in map(Path, files) for p in (sorted(f.rglob("*.tsr")) if f.is_dir() else [f])]
        self.frames, self.stride, self.hop, self.transform = frames, stride, hop, transform
        counts = []
        for path in self.files:
            facts = api.info(path)
            if facts["codec"] != "video":
                raise SignalError(
                    f"{path}: holds no video, its codec is {facts['codec']}; give files of the video codec"
                )
            counts.append(max(0, (facts["frames"] - span) // hop + 1))
        self._ends = list(accumulate(counts))
        if not self._ends or not self._ends[-1]:
            raise SignalError(
                f"none of {len(self.files)} files has {span} frames, which {frames} frames with stride "
                f"{stride} need"
            )

    def __len__(self) -> int:
        return self._ends[-1]

    def where(self, index: int) -> tuple[Path, int]:
        """(file, first frame) of an item."""
        if not -len(self) <= index < len(self):
            raise IndexError(f"item {index} of {len(self)}")
        index %= len(self)
        file = bisect_right(self._ends, index)
        return self.files[file], (index - (self._ends[file - 1] if file else 0)) * self.hop

    def __getitem__(self, index: int) -> Any:
        path, first = self.where(index)
        with api.open(path) as file:
            video = file.read(
                frames=slice(first, first + self.frames * self.stride, self.stride), no_audio=True
            )
        clip = torch.from_numpy(np.ascontiguousarray(np.asarray(video).transpose(0, 3, 1, 2)))
        return clip if self.transform is None else self.transform(clip)
