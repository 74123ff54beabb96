"""The image model: one network for all rates, built around an orthonormal transform.

    x --DCT 16x16, opponent colours--* gain e(q)--> y --round(y - mu) + mu--> y_hat --* gain d(q)--> inverse
    DCT --PixelFilter--> x_hat
    y --h_a--> z --round--> prior (models/prior.py): mu, scale level

At initialisation the filter does nothing and the model is a plain transform codec; what it learns is a
correction whose blocks are bounded by their weights. The gains, and a bias of the filter, depend on the
quality. The transforms are linear but trained.

The filter works on 2x2 patches of pixels and knows their place in the 16x16 block. Networks of the same cost
on 8x8 and 16x16 patches, the usual trunk of fast codecs, learn each pixel position of a patch on its own and
gained a tenth as much in the same number of steps. A filter before the transform drifted into distortions
that the one behind it had to undo.

Receptive field of synthesis: `ImageModelConfig.synthesis_halo`, in latents to each side; analysis is block by
block.

Source: hyperprior and quantisation proxy Balle et al. 2018, Minnen et al. 2018; linear transform as the main
path Qin et al. "AuxT" (arXiv 2501.13751); a network behind a block transform Dong et al. "ARCNN" (2015).
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from tersor.errors import WeightsError
from tersor.models.exact import ExactConv
from tersor.models.prior import (
    LOG_SIGMA_STEP,
    MAX_MU_SHIFT,
    N_LEVELS,
    PASSES,
    SIGMA_MIN,
    Prior,
    QualityVector,
    cells_of_pass,
    sigma_of_level,
)

# F, all of them, but for what only training knows.
PATCH = 16
LAMBDA_MIN, LAMBDA_MAX = 0.0008, 0.2
PATCH_OF_FILTER = 2
PIXEL_UNIT = 64.0
CORRECTION_UNIT = 8.0
ACTIVATION_BOUND = 8.0
MIDDLE = 127.5


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageModelConfig:
    """Sizes of the image model.

    Attributes:
        luma: kept DCT coefficients of the grey axis, of 256.
        chroma: kept coefficients of each of the two colour axes.
        filter_width, filter_blocks: channels and residual blocks of the filter behind the inverse transform.
        hyper: channels of z.
        prior: width of the prior's stream.
    """

    luma: int = 256
    chroma: int = 80
    filter_width: int = 48
    filter_blocks: int = 6
    hyper: int = 64
    prior: int = 160

    @property
    def latent(self) -> int:
        """Channels of y."""
        return self.luma + 2 * self.chroma

    @property
    def synthesis_halo(self) -> int:
        """Latents beyond a window that its synthesis depends on."""
        return -(-PATCH_OF_FILTER * (self.filter_blocks + 1) // PATCH)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> ImageModelConfig:
        """Strict: an unknown key is an error that lists the valid ones."""
        valid = {f.name for f in fields(cls)}
        if unknown := set(values) - valid:
            raise WeightsError(
                f"unknown model settings {sorted(unknown)}; valid are {sorted(valid)}: "
                "the weights belong to another version of tersor"
            )
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def lambda_of(t: Tensor | float) -> Tensor:
    """Trade-off lambda (bits a pixel for one unit of 8-bit squared error) at position t in 0..1 on the
    quality axis; logarithmic.
    """
    return torch.exp(
        math.log(LAMBDA_MIN) + (math.log(LAMBDA_MAX) - math.log(LAMBDA_MIN)) * torch.as_tensor(t)
    )


def dct_basis(luma: int, chroma: int) -> NDArray[np.float64]:
    """Orthonormal rows: the low-frequency 16x16 DCT-II basis on three orthonormal opponent colour axes.

    Returns:
        float64 [luma + 2 chroma, 3 * 256], over (R, G, B) x row x column; ordered so that four equal groups
        of rows are alike in content, each from low to high frequency.
    """
    n = PATCH
    k, x = np.arange(n)[:, None], np.arange(n)[None]
    d = np.cos(np.pi * (2 * x + 1) * k / (2 * n)) * np.sqrt(2 / n)
    d[0] /= np.sqrt(2)
    axes = np.array([[1, 1, 1], [1, 0, -1], [-1, 2, -1]]) / np.sqrt([[3], [2], [6]])
    by_frequency = sorted((u * u + v * v, u, v) for u in range(n) for v in range(n))
    rows: list[tuple[float, int, NDArray[np.float64]]] = []
    for axis, count in zip(axes, (luma, chroma, chroma), strict=True):
        for r2, u, v in by_frequency[:count]:
            rank = math.sqrt(r2) + (0 if axis is axes[0] else 3)
            rows.append((rank, len(rows), (axis[:, None, None] * np.outer(d[u], d[v])).ravel()))
    rows.sort(key=lambda r: r[:2])
    grouped = [row for g in range(PASSES) for row in rows[g::PASSES]]
    return np.stack([r[2] for r in grouped])


class ResidualBlock(nn.Module):
    """x + conv1x1(bounded(conv3x3(x))). The activation is a leaky rectifier clamped at +-8, so the block adds
    at most 8 times the norm of its last weights, whatever the image.

    Leaky, because plain rectifiers died within a few hundred steps of Muon and left the bare transform.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, 1, 1)
        self.out = nn.Conv2d(channels, channels, 1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        if torch.is_grad_enabled():
            return x + self.out(F.leaky_relu(self.conv(x), 0.1).clamp(-ACTIVATION_BOUND, ACTIVATION_BOUND))
        return self.rows(x, slice(None))

    def rows(self, x: Tensor, kept: slice) -> Tensor:
        """Some rows of the output, without gradients."""
        # in place: fresh memory for each step costs more than the arithmetic
        h = F.leaky_relu_(self.conv(x)[:, :, kept], 0.1).clamp_(-ACTIVATION_BOUND, ACTIVATION_BOUND)
        return self.out(h).add_(x[:, :, kept])  # type: ignore[no-any-return]


class PixelFilter(nn.Module):
    """Pixels plus a learned correction, at 1/2 resolution.

    Args:
        width: channels.
        blocks: residual blocks.

    `position` is a bias for each place in the 16x16 block, so the filter can treat block edges apart.
    """

    def __init__(self, width: int, blocks: int) -> None:
        super().__init__()
        samples = 3 * PATCH_OF_FILTER**2
        self.entry = nn.Conv2d(samples, width, 3, 1, 1)
        self.blocks = nn.Sequential(*(ResidualBlock(width) for _ in range(blocks)))
        self.exit = nn.Conv2d(width, samples, 1)
        side = PATCH // PATCH_OF_FILTER
        self.position = nn.Parameter(torch.zeros(width, side, side))
        self.quality = QualityVector(width)
        with torch.no_grad():
            self.entry.weight.mul_(math.sqrt(3))  # keeps the variance, which torch's default divides by 3
            self.exit.weight.zero_()
            self.exit.bias.zero_()  # type: ignore[union-attr]

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """x: float [N, 3, H, W], 0..255, H and W multiples of 16; bias: [N, width, 1, 1], from `quality` ->
        the same shape as x.
        """
        f = self.exit(self.blocks(self._begin(x, bias)))
        return x + CORRECTION_UNIT * F.pixel_shuffle(f.float(), PATCH_OF_FILTER)

    def rows(self, x: Tensor, bias: Tensor, above: int, below: int) -> Tensor:
        """As `forward` without gradients, of a band of a picture: its first `above` and last `below` rows,
        multiples of 16, are neighbours that are only looked at. Each 0 at the edge of the picture, or enough.
        """
        f = self._begin(x, bias)
        steps = 1 + len(self.blocks)
        top, bottom = above // PATCH_OF_FILTER, below // PATCH_OF_FILTER
        f = f[:, :, bool(above) : f.shape[2] - bool(below)]
        for block in self.blocks:  # each layer spoils one more row at an edge that is none of the picture's
            assert isinstance(block, ResidualBlock)
            f = block.rows(f, slice(int(bool(above)), f.shape[2] - bool(below)))
        top, bottom = (max(0, n - steps) for n in (top, bottom))
        f = self.exit(f[:, :, top : f.shape[2] - bottom])
        inner = x[:, :, above : x.shape[2] - below]
        return inner + CORRECTION_UNIT * F.pixel_shuffle(f.float(), PATCH_OF_FILTER)

    def _begin(self, x: Tensor, bias: Tensor) -> Tensor:
        u = F.pixel_unshuffle((x - MIDDLE) / PIXEL_UNIT, PATCH_OF_FILTER).contiguous(
            memory_format=torch.channels_last
        )
        f: Tensor = self.entry(u)
        cell = (self.position + bias).permute(0, 2, 3, 1)  # channels last, as f lies in memory
        cells = cell.repeat(1, f.shape[2] // cell.shape[1], f.shape[3] // cell.shape[2], 1)
        return f + cells.permute(0, 3, 1, 2).to(f.dtype)


class TrainingOutput(NamedTuple):
    """x_hat: float [N, 3, H, W], 0..255, unrounded. bits: float [N], estimated total of y and z."""

    x_hat: Tensor
    bits: Tensor


class Quantised(NamedTuple):
    """y_hat and mu: float [N, M, h, w], in steps. level: the same shape, 0..63, gradients pass its clamp."""

    y_hat: Tensor
    mu: Tensor
    level: Tensor


def round_through(v: Tensor) -> Tensor:
    """Round; gradients pass unchanged."""
    return v + (torch.round(v) - v).detach()


class ImageModel(nn.Module):
    """Analysis, synthesis, hyper-analysis and prior. Pixels are float 0..255, [N, 3, H, W], H and W multiples
    of 16.
    """

    def __init__(self, config: ImageModelConfig) -> None:
        super().__init__()
        c = self.config = config
        m = c.latent
        basis = torch.from_numpy(dct_basis(c.luma, c.chroma)).float()
        self.forward_transform = nn.Parameter(basis[:, :, None, None].clone())
        self.inverse_transform = nn.Parameter(basis.t()[:, :, None, None].clone())
        self.filter = PixelFilter(c.filter_width, c.filter_blocks)

        self.h_in = nn.Conv2d(2 * m, c.prior, 1)
        self.h_mid = nn.Conv2d(c.prior, c.prior, 3, 2, 1)
        self.h_out = nn.Conv2d(c.prior, c.hyper, 3, 2, 1)
        self.prior = Prior(m, c.hyper, c.prior)
        self.z_log_scale = nn.Parameter(torch.zeros(c.hyper))
        self.z_mean = nn.Parameter(torch.zeros(c.hyper))

        t = torch.linspace(0, 1, QualityVector.POINTS)
        log_gain = -0.5 * torch.log(30 / lambda_of(t))
        self.log_gain = QualityVector(m, log_gain)
        self.log_ungain = QualityVector(m, -log_gain)

    @torch.no_grad()
    def calibrate(self, pixels: Tensor) -> None:
        """Set the initial scale levels from the statistics of the bare transform on training crops, float [N,
        3, H, W].
        """
        std = self.analysis(pixels, torch.ones(())).transpose(0, 1).flatten(1).std(1)
        points = self.log_gain.points[:, 0]
        middle = points.mean()
        level = (torch.log(std * 0.7 * middle.exp() / SIGMA_MIN) / LOG_SIGMA_STEP).clamp(2, N_LEVELS - 2)
        shift = torch.log2(std * middle.exp() / 2).round().clamp(-MAX_MU_SHIFT, MAX_MU_SHIFT)
        self.prior.mu_shift.copy_(shift[:, None, None].int())
        for head in self.prior.heads:
            assert isinstance(head, ExactConv)
            assert head.bias is not None
            m = self.config.latent
            head.weight.mul_(0.1)
            head.bias[:m] = 0
            head.bias[m:] = level / 8
        self.prior.quality_level.points.copy_(((points - middle) / LOG_SIGMA_STEP)[:, None])

    def analysis(self, x: Tensor, gain: Tensor) -> Tensor:
        """Pixels -> latents y, float [N, M, H/16, W/16], in quantisation steps.

        Args:
            x: float [N, 3, H, W], 0..255.
            gain: [N, M, 1, 1], of the quality.
        """
        return F.conv2d(F.pixel_unshuffle(x - MIDDLE, PATCH), self.forward_transform) * gain

    def hyper_analysis(self, y: Tensor) -> Tensor:
        """y [N, M, h, w], h and w multiples of 4 -> z, float [N, Z, h/4, w/4], before rounding."""
        magnitude = torch.log1p(y.abs())
        both = torch.cat([y.sign() * magnitude, magnitude], 1)
        out: Tensor = self.h_out(F.relu(self.h_mid(F.relu(self.h_in(both)))))
        return out.float()

    def base_synthesis(self, y_hat: Tensor, ungain: Tensor) -> Tensor:
        """The bare transform path: y_hat [N, M, h, w] in steps -> float [N, 3, 16 h, 16 w], 0..255,
        unclamped.
        """
        return F.pixel_shuffle(F.conv2d(y_hat * ungain, self.inverse_transform), PATCH) + MIDDLE

    def synthesis(self, y_hat: Tensor, ungain: Tensor, bias: Tensor) -> Tensor:
        """Latents -> pixels, float [N, 3, 16 h, 16 w], 0..255, unrounded and unclamped.

        Args:
            y_hat: float [N, M, h, w], in quantisation steps.
            ungain: [N, M, 1, 1]; bias: [N, filter_width, 1, 1]; of the quality.
        """
        return self.filter(self.base_synthesis(y_hat, ungain), bias)

    def forward(
        self, x: Tensor, t: Tensor, noise: torch.Generator | None = None, autocast: bool = False
    ) -> TrainingOutput:
        """One training pass: distortion through rounded latents (straight-through), rate half through rounded
        and half through noisy ones.

        Args:
            x: float [N, 3, H, W], 0..255, H and W multiples of 64.
            t: float [N], 0..1, quality position.
            noise: generator of the additive noise; None measures with rounding alone.
            autocast: bf16 in the transforms; the prior stays float32.
        """

        def low_precision() -> torch.autocast:
            return torch.autocast(x.device.type, torch.bfloat16, enabled=autocast)

        gain, ungain = self.log_gain(t).exp(), self.log_ungain(t).exp()
        with low_precision():
            y = self.analysis(x, gain)
            z = self.hyper_analysis(y)
        z_hat = round_through(z)
        bits = self._z_bits(_noisy(z, noise)).sum((1, 2, 3))

        q = self.quantise(y, z_hat, t)
        residual = y - q.mu
        rate = y_bits(round_through(residual), q.level)
        if noise is not None:
            rate = 0.5 * rate + 0.5 * y_bits(_noisy(residual, noise), q.level)
        bits = bits + rate.sum((1, 2, 3))
        with low_precision():
            x_hat = self.synthesis(q.y_hat, ungain, self.filter.quality(t))
        return TrainingOutput(x_hat, bits)

    def quantise(self, y: Tensor, z_hat: Tensor, t: Tensor) -> Quantised:
        """Float twin of the coder's loop over passes, differentiable.

        Args:
            y: [N, M, h, w].
            z_hat: [N, Z, ceil(h / 4), ceil(w / 4)].
            t: [N], quality position.
        """
        stream = self.prior.begin(z_hat, self.prior.quality(t))[:, :, : y.shape[2], : y.shape[3]]
        level_bias = self.prior.quality_level(t)
        y_hat, mus, levels = torch.zeros_like(y), torch.zeros_like(y), torch.zeros_like(y)
        for n in range(PASSES):
            if n:
                stream = self.prior.update(n, stream, y_hat)
            found = self.prior.parameters_of_pass(n, stream, y_hat, level_bias)
            y_hat = y_hat.clone()  # the one before is part of the graph
            for (_, cell), mu, level in zip(cells_of_pass(n, *y.shape[1:]), *found, strict=True):
                mus[cell], levels[cell] = mu, level
                y_hat[cell] = round_through(y[cell] - mu) + mu
        return Quantised(y_hat, mus, levels + (levels.clamp(0, N_LEVELS - 1) - levels).detach())

    def bits_by_context(self, y_hat: Tensor, z_hat: Tensor, t: Tensor) -> Tensor:
        """About the bits of decoded latents, summed, whose gradient has only what y_hat and z_hat do to the
        means and scales of others.

        Args:
            y_hat: [N, M, h, w], in steps, as decoded.
            z_hat: [N, Z, ceil(h / 4), ceil(w / 4)].
            t: [N], quality position.
        """
        h, w = y_hat.shape[2:]
        stream = self.prior.begin(z_hat, self.prior.quality(t))[:, :, :h, :w]
        level_bias = self.prior.quality_level(t)
        known, bits = torch.zeros_like(y_hat), y_hat.new_zeros(())
        for n in range(PASSES):
            if n:
                stream = self.prior.update(n, stream, known)
            found = self.prior.parameters_of_pass(n, stream, known, level_bias)
            known = known.clone()  # the one before is part of the graph
            for (_, cell), mu, level in zip(cells_of_pass(n, *y_hat.shape[1:]), *found, strict=True):
                bits = bits + y_bits(y_hat[cell].detach() - mu, level.clamp(0, N_LEVELS - 1)).sum()
                known[cell] = y_hat[cell]
        return bits

    def _z_bits(self, z: Tensor) -> Tensor:
        """Bits of each hyper-latent under a logistic of each channel (training only; released weights carry
        frozen tables).
        """
        centred = (z - self.z_mean[:, None, None]) * self.z_log_scale.exp()[:, None, None]
        half = 0.5 * self.z_log_scale.exp()[:, None, None]
        return -torch.log2((torch.sigmoid(centred + half) - torch.sigmoid(centred - half)).clamp_min(1e-9))


def _noisy(v: Tensor, noise: torch.Generator | None) -> Tensor:
    if noise is None:
        return round_through(v)
    return v + torch.rand(v.shape, generator=noise, device=v.device) - 0.5


OUTLIER_SHARE = 0.01


def y_bits(residual: Tensor, level: Tensor) -> Tensor:
    """Bits of residual latents under a logistic of the level's standard deviation, with a wide one for
    outliers, integrated over one step.

    Both in the form log P = logsigmoid(u) + logsigmoid(-l) + log(1 - exp(l - u)), u and l the ends of the
    step: finite, with a gradient that neither vanishes (a Gaussian clamped at a least probability learns
    nothing from the latents that cost most) nor explodes (the wide part takes outliers over).
    """
    a, sigma = residual.abs(), sigma_of_level(level)
    narrow, wide = _logistic_log_mass(a, sigma), _logistic_log_mass(a, 6 * sigma + 1)
    log_p = torch.logaddexp(narrow + math.log(1 - OUTLIER_SHARE), wide + math.log(OUTLIER_SHARE))
    return log_p * (-1 / math.log(2))


def _logistic_log_mass(a: Tensor, sigma: Tensor) -> Tensor:
    s = math.pi / math.sqrt(3) / sigma
    return F.logsigmoid((0.5 - a) * s) + F.logsigmoid((0.5 + a) * s) + torch.log(-torch.expm1(-s))
