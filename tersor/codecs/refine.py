"""Encoder effort: fit the latents of one image by gradient descent; the decoder knows nothing of it.

The latents start at what analysis gives. Each iteration rounds them by a relaxed random choice between floor and ceiling (Gumbel-softmax) whose temperature falls,
and descends lambda * squared error + bits through the float twin of the prior and synthesis. Hyper-latents are recomputed from the result by the encoder.

Source: Yang, Bamler, Mandt, "Improving Inference for Neural Image Compression" (NeurIPS 2020), stochastic Gumbel annealing.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from tersor.codecs.latents import pad_to_hyper
from tersor.models.image import ImageModel, Quantised, lambda_of, y_bits
from tersor.models.prior import N_QUALITIES

LEARNING_RATE = 0.02
TEMPERATURE = (0.5, 0.05)
SEED = 20201


def refine(model: ImageModel, pixels: Tensor, y: Tensor, inner: tuple[slice, slice], quality: Tensor, iterations: int) -> Tensor:
    """Refined latents of the inner part of equal windows; the rest stays as it was.

    Args:
        model: released model.
        pixels: float [N, 3, 16 H, 16 W], 0..255.
        y: float [N, M, H, W], from analysis, in steps.
        inner: rows and columns of the part that is coded.
        quality: int64 [N].
        iterations: gradient steps.

    Returns:
        float [N, M, H, W].
    """
    generator = torch.Generator(y.device).manual_seed(SEED)
    t = (quality.float() - 1) / (N_QUALITIES - 1)
    lam = lambda_of(t).to(y.device)
    outside = torch.ones(y.shape[2:], dtype=torch.bool, device=y.device)
    outside[inner] = False
    around = _surroundings(model, y, t) if outside.any() else None
    start = y[:, :, inner[0], inner[1]].clone()
    with torch.no_grad():
        z_hat = torch.round(model.hyper_analysis(pad_to_hyper(start)))
    latents = start.clone().requires_grad_()
    adam = torch.optim.Adam([latents], lr=LEARNING_RATE)
    rows, columns = (slice(16 * s.start, 16 * s.stop) for s in inner)
    with torch.inference_mode(False), torch.enable_grad():
        ungain, bias16, bias8 = model.log_ungain.at(quality).exp(), model.s16_quality.at(quality), model.s8_quality.at(quality)
        for i in range(iterations):
            done = i / iterations
            for group in adam.param_groups:
                group["lr"] = LEARNING_RATE * math.cos(0.5 * math.pi * done)
            temperature = TEMPERATURE[0] * (TEMPERATURE[1] / TEMPERATURE[0]) ** done
            adam.zero_grad()
            q = model.quantise(latents, z_hat, t, lambda v, tau=temperature: _relaxed_round(v, tau, generator))  # type: ignore[misc]
            bits = y_bits(q.y_hat - q.mu, q.level).sum((1, 2, 3))
            y_hat, level = (q.y_hat, q.level) if around is None else _inside(q, around, inner)
            with torch.autocast(y.device.type, torch.bfloat16, enabled=_fast_bfloat16(y.device)):
                x_hat = model.synthesis(y_hat, level, ungain, bias16, bias8)
            error = (x_hat - pixels)[:, :, rows, columns].square().sum((1, 2, 3)) / 3
            (lam * error + bits).sum().backward()
            adam.step()
    out = y.clone()
    out[:, :, inner[0], inner[1]] = latents.detach()
    return out


def _relaxed_round(v: Tensor, temperature: float, generator: torch.Generator) -> Tensor:
    """Between floor and ceiling, towards the nearer as the temperature falls."""
    floor = v.detach().floor()
    up = (v - floor).clamp(1e-4, 1 - 1e-4)
    logits = torch.stack([-torch.atanh(up), -torch.atanh(1 - up)]) / temperature
    uniform = torch.rand(logits.shape, generator=generator, device=v.device).clamp(1e-6, 1 - 1e-6)
    choice = F.softmax((logits - torch.log(-torch.log(uniform))) / temperature, 0)
    return floor + choice[1]


@torch.no_grad()
def _surroundings(model: ImageModel, y: Tensor, t: Tensor) -> Quantised:
    """What the neighbouring tiles will roughly decode to."""
    return model.quantise(y, torch.round(model.hyper_analysis(pad_to_hyper(y))), t)


def _inside(q: Quantised, around: Quantised, inner: tuple[slice, slice]) -> tuple[Tensor, Tensor]:
    y_hat, level = around.y_hat.clone(), around.level.clone()
    y_hat[:, :, inner[0], inner[1]] = q.y_hat
    level[:, :, inner[0], inner[1]] = q.level
    return y_hat, level


def _fast_bfloat16(device: torch.device) -> bool:
    """Whether bfloat16 convolutions are faster here than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
