"""Structural similarity, from pytorch-msssim."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tersor.errors import MissingDependencyError

SMALLEST_SIDE = 161  # F: of MS-SSIM, which halves a picture four times under a window of 11


def ms_ssim_rgb(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    """Multi-scale SSIM of 8-bit images [H, W, 3], 0..1; NaN below 161 pixels a side, where five scales do not
    fit.

    Source: Wang, Simoncelli, Bovik 2003.
    """
    if min(a.shape[:2]) < SMALLEST_SIDE:
        return float("nan")
    try:
        from pytorch_msssim import ms_ssim
    except ImportError as e:
        raise MissingDependencyError("MS-SSIM needs pytorch-msssim: pip install 'tersor[eval]'") from e
    import torch

    x, y = (torch.from_numpy(np.ascontiguousarray(v)).permute(2, 0, 1)[None].float() for v in (a, b))
    return float(ms_ssim(x, y, data_range=255))
