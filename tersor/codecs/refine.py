"""Encoder effort: fit the latents of one image to the decoder, which knows nothing of it.

The hyper-latents stay. Each iteration makes the encoder's own decisions (rate-distortion optimised rounding, pass by pass) and asks, by one backward pass, how the cost

    lambda * squared error of the decoded image + bits of the latents coded later

would move with each decoded latent. Synthesis is close to an orthonormal transform, so the curvature is known, and a Newton step from the *decoded* latents gives
the values that rounding should start from next time. The step is taken from decoded, not from unrounded latents: there, first-order steps would pile up until whole
symbols flip. The best latents seen, by the bits of the frozen tables, are kept; `tools/evaluate.py effort` measures the gain.

Source: rounding as in rate-distortion optimised quantisation, Karczewicz et al. 2008; refinement at encode time, Campos et al. 2019, Yang, Bamler, Mandt 2020.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from tersor.codecs.latents import RDOQ_STRENGTH, LatentCoder, pad_to_hyper
from tersor.models.image import ImageModel, lambda_of, y_bits
from tersor.models.prior import N_LEVELS, N_QUALITIES

STEP = 0.3


def refine(coder: LatentCoder, pixels: Tensor, y: Tensor, inner: tuple[slice, slice], quality: Tensor, iterations: int) -> Tensor:
    """Refined latents of the inner part of equal windows; the rest stays as it was.

    Args:
        coder: of the released model.
        pixels: float [N, 3, 16 H, 16 W], 0..255.
        y: float [N, M, H, W], from analysis, in steps.
        inner: rows and columns of the part that is coded.
        quality: int64 [N].
        iterations: gradient steps.

    Returns:
        float [N, M, H, W].
    """
    model = coder.model
    t = (quality.float() - 1) / (N_QUALITIES - 1)
    lam = lambda_of(t).to(y.device)
    weight = coder.distortion_weight(quality)[:, :, None, None]
    curvature = weight / RDOQ_STRENGTH
    outside = torch.ones(y.shape[2:], dtype=torch.bool, device=y.device)
    outside[inner] = False
    rows, columns = (slice(16 * s.start, 16 * s.stop) for s in inner)

    with torch.inference_mode(False), torch.enable_grad():
        around = _surroundings(model, y, t) if outside.any() else None
        latents = y[:, :, inner[0], inner[1]].clone()
        z_hat = torch.round(model.hyper_analysis(pad_to_hyper(latents)))
        best, best_cost = latents, torch.full((len(y),), math.inf, device=y.device)
        ungain, bias = model.log_ungain.at(quality).exp(), model.filter.quality.at(quality)
        for _ in range(iterations):
            shift = torch.zeros_like(latents, requires_grad=True)

            def rounding(residual: Tensor, level: Tensor, shift: Tensor = shift) -> Tensor:
                return coder.choose(residual.detach(), _table(level), weight) + shift

            q = model.quantise(latents, z_hat, t, rounding)
            chosen = (q.y_hat - q.mu).detach()
            bits = y_bits(chosen, q.level).sum((1, 2, 3))
            y_hat = q.y_hat
            if around is not None:
                y_hat = around.clone()
                y_hat[:, :, inner[0], inner[1]] = q.y_hat
            with torch.autocast(y.device.type, torch.bfloat16, enabled=_fast_bfloat16(y.device)):
                x_hat = model.synthesis(y_hat, ungain, bias)
            coded = coder.bits_of(chosen, _table(q.level)).sum((1, 2, 3))
            cost = lam * (x_hat - pixels)[:, :, rows, columns].square().sum((1, 2, 3)) / 3 + bits
            true_cost = (cost - bits).detach() + coded
            better = true_cost < best_cost
            best = torch.where(better[:, None, None, None], latents, best)
            best_cost = torch.where(better, true_cost, best_cost)
            (gradient,) = torch.autograd.grad(cost.sum(), shift)
            newton = q.y_hat.detach() - gradient / (2 * curvature)
            latents = latents + STEP * (newton - latents)
    out = y.clone()
    out[:, :, inner[0], inner[1]] = best
    return out


def _table(level: Tensor) -> Tensor:
    return torch.floor(level.detach() + 0.5).clamp(0, N_LEVELS - 1).int()


@torch.no_grad()
def _surroundings(model: ImageModel, y: Tensor, t: Tensor) -> Tensor:
    """What the neighbouring tiles will roughly decode to."""
    return model.quantise(y, torch.round(model.hyper_analysis(pad_to_hyper(y))), t).y_hat


def _fast_bfloat16(device: torch.device) -> bool:
    """Whether bfloat16 convolutions are faster here than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
