"""Encoder effort: fit the latents of one image to the decoder, which knows nothing of it.

The decoder's filter moves every coefficient, so the encoder aims beside it: what it codes next is what
rounding gave, plus the part of the picture that the decoder still misses,

    y' = y_hat + step * J^T (x - decode(y_hat)) + (1 - step) * (y - y_hat)

with J the filter's Jacobian. One step takes J for the identity and runs forward only; more have it by a
backward pass, and the best is kept. The decoder's filter is trained on photographs; where a picture is nearer
without it, it is left out, so that nothing falls below the bare transform.

Rounding weighs the bits of each latent itself (`LatentCoder.choose`). What a latent does to the bits of those
that are predicted from it, and what the hyper-latents do to all, the later steps learn from the prior's float
twin: both follow the gradient. The hyper-latents are worth more than anything else here.
`tools/studies.py effort` measures it.

Source: refinement at encode time, Campos et al. 2019, Yang, Bamler, Mandt 2020; the step is Gauss-Newton's
for a synthesis that is nearly orthonormal.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tersor.codecs.image.latents import LatentCoder, hyper_symbols
from tersor.codecs.image.tiles import PATCH
from tersor.codecs.image.work import analysis, synthesis
from tersor.entropy.rans import SymbolEncoder
from tersor.models.exact import ONE
from tersor.models.image import lambda_of
from tersor.models.prior import N_QUALITIES
from tersor.timing import stage

STEP = 0.8  # G
CONTEXT_STEP = 0.25  # M: tools/studies.py effort
HYPER_STEP = 0.03  # M: tools/studies.py effort. Of a step, for a gradient of the mean size
MOST = 0.5  # G: of a step, that the rate moves anything by at a time


def refine(
    coder: LatentCoder,
    pixels: Tensor,
    y: Tensor,
    quality: Tensor,
    inner: tuple[slice, slice],
    iterations: int = 0,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Latents to code in place of y, their hyper-latents, which pictures to decode plainly, without the
    filter, and about how far from them what is decoded will be.

    Args:
        coder: of the released model.
        pixels: float [N, 3, 16 H, 16 W], 0..255.
        y: float [N, M, H, W], from analysis, in steps.
        quality: int64 [N].
        inner: rows and columns of the part that is coded; around it the decoder is taken to see y.
        iterations: steps with a backward pass; 0 takes one without.

    Returns:
        float [N, M, h, w], of the inner part; int32 [N, Z, ., .]; bool [N]; float [N], squared errors.
    """
    z = coder.hyper(y[:, :, inner[0], inner[1]])
    latents, plain, error = _anticipate(coder, pixels, y, quality, inner)
    if not iterations or plain.all():
        return latents, hyper_symbols(z), plain, error
    found, found_z = _descend(coder, pixels, y, z, quality, inner, iterations)
    kept = plain[:, None, None, None]
    return torch.where(kept, latents, found), torch.where(kept, hyper_symbols(z), found_z), plain, error


@torch.inference_mode()
def _anticipate(
    coder: LatentCoder, pixels: Tensor, y: Tensor, quality: Tensor, inner: tuple[slice, slice]
) -> tuple[Tensor, Tensor, Tensor]:
    """One step by what the decoded picture itself misses; none where the bare transform is nearer."""
    model, rows, columns = coder.model, *inner
    target = y[:, :, rows, columns]
    y_hat = coder.push(target, quality, ()) / ONE
    with stage("refinement"):
        seen = y.clone()
        seen[:, :, rows, columns] = y_hat
        bare, x_hat, x = (
            v[:, :, _pixels(rows), _pixels(columns)]
            for v in (*synthesis(model, seen, quality, _fast_bfloat16(seen.device)), pixels)
        )
        errors = torch.stack([_squared_error(bare, x), _squared_error(x_hat, x)])
        plain = errors[0] < errors[1]
        ahead = target + y_hat - analysis(model, x_hat, model.log_gain.at(quality).exp())
    return torch.where(plain[:, None, None, None], target, ahead), plain, errors.amin(0)


def _descend(
    coder: LatentCoder,
    pixels: Tensor,
    y: Tensor,
    z: Tensor,
    quality: Tensor,
    inner: tuple[slice, slice],
    iterations: int,
) -> tuple[Tensor, Tensor]:
    """The best latents, and hyper-latents int32, of `iterations` steps; z is float."""
    model, rows, columns = coder.model, *inner
    t = (quality.float() - 1) / (N_QUALITIES - 1)
    lam = lambda_of(t).to(y.device)
    curvature = model.log_ungain.at(quality).exp().square()
    of_rate = CONTEXT_STEP / (2 / 3 * lam[:, None, None, None] * curvature)
    latents = y[:, :, rows, columns]
    best, best_z, best_cost = latents, hyper_symbols(z), torch.full((len(y),), torch.inf, device=y.device)
    with torch.inference_mode(False), torch.enable_grad():
        for n in range(iterations):
            counters = [SymbolEncoder() for _ in y]
            z_hat = hyper_symbols(z)
            y_hat = (coder.push(latents, quality, counters, z_hat) / ONE).clone().requires_grad_()
            with stage("refinement"):
                seen = y.clone()
                seen[:, :, rows, columns] = y_hat
                error = (
                    (_differentiable(coder, seen, quality) - pixels)[:, :, _pixels(rows), _pixels(columns)]
                    .square()
                    .sum((1, 2, 3))
                )
                (gradient,) = torch.autograd.grad(error.sum() / 2, y_hat)
                hyper = z_hat.float().clone().requires_grad_()
                bits = model.bits_by_context(y_hat, hyper, t)
                of_y, of_z = torch.autograd.grad(bits, (y_hat, hyper))
            cost = lam * error.detach() / 3 + torch.tensor(
                [c.estimated_bits for c in counters], device=y.device
            )
            better = (cost < best_cost)[:, None, None, None]
            best, best_z = torch.where(better, latents, best), torch.where(better, z_hat, best_z)
            best_cost = torch.minimum(cost, best_cost)
            calmer = 1 - n / iterations
            wanted = y_hat.detach() - gradient / curvature - (of_rate * of_y).clamp(-MOST, MOST)
            latents = latents + STEP * (0.5 + 0.5 * calmer) * (wanted - latents)
            scale = HYPER_STEP / of_z.abs().mean((1, 2, 3), keepdim=True).clamp_min(1e-9)
            z = z - calmer * (scale * of_z).clamp(-MOST, MOST)
    return best, best_z


def _differentiable(coder: LatentCoder, y_hat: Tensor, quality: Tensor) -> Tensor:
    """What the decoder will show, with gradients; bfloat16 where faster: no bit depends on it."""
    model = coder.model
    bare = model.base_synthesis(y_hat, model.log_ungain.at(quality).exp())
    with torch.autocast(y_hat.device.type, torch.bfloat16, enabled=_fast_bfloat16(y_hat.device)):
        return model.filter(bare, model.filter.quality.at(quality))


def _squared_error(shown: Tensor, x: Tensor) -> Tensor:
    """[N], as people see it: clamped to what can be shown."""
    return (shown.clamp(0, 255) - x).square().sum((1, 2, 3))


def _pixels(latents: slice) -> slice:
    return slice(PATCH * latents.start, PATCH * latents.stop)


def _fast_bfloat16(device: torch.device) -> bool:
    """Whether bfloat16 convolutions are faster here than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
