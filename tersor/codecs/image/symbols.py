"""The integers in an image file: the latents of its tiles, without their synthesis. What must be the same on
every machine, and what learning on compressed images reads.
"""

from __future__ import annotations

from collections import defaultdict

import torch
from torch import Tensor

from tersor.codecs.image.decode import DecodeJob
from tersor.codecs.image.latents import LatentCoder
from tersor.container import Reader


def latents(file: bytes | Reader, *, device: str = "cpu", batch: int = 4) -> list[Tensor]:
    """Latents of every tile, in the order of the file.

    Args:
        file: bytes of a .tsr file, or an opened container.
        device: "cpu" or "cuda".
        batch: tiles that are decoded together; it changes nothing but speed.

    Returns:
        int32 [M, h, w] a tile, in units of 1/256, on the device: h x w patches of 16x16 pixels.

    Raises:
        BitstreamError: a damaged file. WeightsError: its weights are not installed.
    """
    job = DecodeJob(file if isinstance(file, Reader) else Reader(file), device=device)
    coder = LatentCoder(job.released)
    equal: defaultdict[tuple[int, int], list[int]] = defaultdict(list)
    for t in range(len(job.header.grid)):
        rect = job.header.grid.rect(t)
        equal[rect.height, rect.width].append(t)
    out: dict[int, Tensor] = {}
    for (h, w), tiles in equal.items():
        for at in range(0, len(tiles), batch):
            part = tiles[at : at + batch]
            quality = torch.full((len(part),), job.header.quality, device=device)
            payloads = [job.payload(t) or b"" for t in part]
            names = [f"chunk {t} (tile {t})" for t in part]
            out.update(zip(part, coder.decode(payloads, names, quality, h, w), strict=True))
    return [out[t] for t in range(len(out))]
