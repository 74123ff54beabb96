"""A folder of photographs, encoded in one batch and shown again in part.

python examples/photo_folder.py PHOTOS OUT
"""

import sys
from pathlib import Path

import numpy as np

import tersor

photos, out = Path(sys.argv[1]), Path(sys.argv[2])
out.mkdir(parents=True, exist_ok=True)
paths = sorted(p for p in photos.iterdir() if p.suffix.lower() in (".jpg", ".jpeg", ".png"))

codec = tersor.Codec("image")  # equal tiles of all photographs share batches
for path, file in zip(paths, codec.encode_batch(paths, quality=60), strict=True):
    (out / f"{path.stem}.tsr").write_bytes(file)
    print(f"{path.name}: {path.stat().st_size:,} bytes -> {len(file):,}")

for coded in sorted(out.glob("*.tsr")):
    with tersor.open(coded) as f:  # only the tiles that the region needs are decoded
        x, y = f.info["width"] // 4, f.info["height"] // 4
        middle = np.asarray(f.read(region=(x, y, f.info["width"] // 2, f.info["height"] // 2)))
        print(f"{coded.name}: the middle is {middle.shape}, mean {middle.mean():.1f}")
