"""The integers in an image file: the latents of its tiles, without their synthesis. What must be the same on
every machine, and what learning on compressed images reads.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tersor.codecs.assembly import Job, Source, reading
from tersor.codecs.image.codec import ImageCodec
from tersor.codecs.image.options import DECODE


def latents(file: Source, *, device: str = "cpu", batch: int = 4) -> list[Tensor]:
    """Latents of every tile, in the order of the file.

    Args:
        file: path or bytes of a .tsr file, or an opened container.
        device: "cpu" or "cuda".
        batch: tiles that are decoded together; it changes nothing but speed.

    Returns:
        int32 [M, h, w] a tile, in units of 1/256, on the device: h x w patches of 16x16 pixels. Of a tile
        that was kept as samples, these: uint8 [C, height, width], on the CPU.

    Raises:
        BitstreamError: a damaged file, or one of another codec. WeightsError: its weights are not installed.
    """
    codec, found = ImageCodec(device, batch), {}
    with reading(file, salvage=False) as reader:
        assembly = codec.opened(reader, DECODE.check({}))
        for group in codec.groups([Job(assembly, t) for t in range(len(assembly.header.grid))]):
            for job, tile in zip(group, codec.decoded(group), strict=True):
                kept = tile.samples
                found[job.chunk] = tile.y_hat if kept is None else torch.from_numpy(kept).permute(2, 0, 1)
    return [found[t] for t in sorted(found)]
