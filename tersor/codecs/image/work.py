"""How the image codec shares its work: one torch thread in each thread of the team, bands of rows.

torch's own threads wait for each other by spinning: beside other work on the same cores they took many
times as long. The team's wait asleep. Bands are the same however many threads there are, so bytes are too.
On an accelerator nothing is split.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TypeVar

import torch
from torch import Tensor

from tersor.codecs.device import exact_convolutions
from tersor.codecs.image.tiles import PATCH
from tersor.codecs.parallel import in_parts, side_by_side, torch_threads
from tersor.models import exact_compiled
from tersor.models.image import ImageModel

T = TypeVar("T")

# M (tersor bench), rows of latents: an eighth more work at their edges, and convolutions that stay in cache
BAND = 8  # M


@contextlib.contextmanager
def at_work(device: str) -> Iterator[None]:
    """In a thread of the team: exact convolutions, and on a CPU alone in torch, with rows of the exact layers
    given to idle threads.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(exact_convolutions())
        if device == "cpu":
            stack.enter_context(torch_threads(1))
            token = exact_compiled.spread.set(in_parts)
            stack.callback(exact_compiled.spread.reset, token)
        yield


def analysis(model: ImageModel, pixels: Tensor, gain: Tensor) -> Tensor:
    """`ImageModel.analysis`, in bands."""

    def band(first: int, last: int) -> Tensor:
        return model.analysis(pixels[:, :, PATCH * first : PATCH * last], gain)

    return torch.cat(_bands(band, pixels, pixels.shape[2] // PATCH), 2)


def synthesis(
    model: ImageModel, y_hat: Tensor, quality: Tensor, low_precision: bool = False
) -> tuple[Tensor, Tensor]:
    """What a decoder shows without and with the filter, each float [N, 3, 16 h, 16 w], in bands.

    Args:
        y_hat: float [N, M, h, w], in steps.
        quality: int64 [N].
        low_precision: the filter's part in bfloat16.
    """
    ungain, bias = model.log_ungain.at(quality).exp(), model.filter.quality.at(quality)
    height, halo = y_hat.shape[2], model.config.synthesis_halo

    def band(first: int, last: int) -> tuple[Tensor, Tensor]:
        above, below = min(halo, first), min(halo, height - last)
        with torch.autocast(y_hat.device.type, torch.bfloat16, enabled=low_precision):
            bare = model.base_synthesis(y_hat[:, :, first - above : last + below], ungain)
            shown = model.filter.rows(bare, bias, PATCH * above, PATCH * below)
        return bare[:, :, PATCH * above : PATCH * (above + last - first)], shown

    bare, shown = zip(*_bands(band, y_hat, height), strict=True)
    return torch.cat(bare, 2), torch.cat(shown, 2)


def _bands(work: Callable[[int, int], T], x: Tensor, rows: int) -> list[T]:
    if x.is_cuda:
        return [work(0, rows)]
    inference = torch.is_inference_mode_enabled()

    def here(first: int) -> T:
        with torch_threads(1), torch.inference_mode(inference):
            return work(first, min(first + BAND, rows))

    return side_by_side(here, range(0, rows, BAND))
