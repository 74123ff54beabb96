"""Crops for training, decoded by the workers of a DataLoader: of each file only the tiles that a crop
touches, in one thread a worker, since the workers already keep the cores busy.

python examples/data_loader.py PHOTOS OUT
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

import tersor

SIZE, WORKERS = 64, 2


class Crops(Dataset[torch.Tensor]):
    """A crop of each file, uint8 [3, SIZE, SIZE]; another one at each reading."""

    def __init__(self, files: list[Path]) -> None:
        self.files = files

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, i: int) -> torch.Tensor:
        with tersor.open(self.files[i]) as f:
            left, top = (int(torch.randint(f.info[n] - SIZE + 1, ())) for n in ("width", "height"))
            samples = np.asarray(f.read(region=(left, top, SIZE, SIZE)))
        return torch.from_numpy(samples).permute(2, 0, 1)


def main() -> None:
    photos, out = Path(sys.argv[1]), Path(sys.argv[2])
    out.mkdir(parents=True, exist_ok=True)
    paths = sorted(p for p in photos.iterdir() if p.suffix.lower() in (".jpg", ".jpeg", ".png"))
    files = [out / f"{path.stem}.tsr" for path in paths]
    for file, coded in zip(
        files, tersor.Codec("image").encode_batch(paths, quality=75, tile=256), strict=True
    ):
        file.write_bytes(coded)
    for batch in DataLoader(Crops(files), batch_size=2, num_workers=WORKERS):
        print(f"a batch {list(batch.shape)}, mean {batch.float().mean():.1f}")


if __name__ == "__main__":
    main()
