"""The prior of the image latents: hyperprior and four-pass spatial-channel context, exact at decode time.

    z --h_s--> stream --head 0--> (mu, level) of pass 0 --> symbols of pass 0 --+
                 ^                                                              |
                 +---- + context 1 <---------------- compand(y_hat so far) <----+      ... passes 1, 2, 3
                 alike

Each latent position is coded in four passes. Channels form four groups alike in content; in pass n the
position at phase p of its 2x2 cell codes group (n - order[p]) mod 4. So every pass sees, for every group,
neighbours and other channels already decoded, and all positions of a pass are coded in parallel. `mu` and
`level` (which probability table) come from layers of `entropy.exact`: integers in, integers out.

Source: Minnen et al. 2018 (mean-scale hyperprior); Li et al., "Neural Video Compression with Diverse
Contexts" (CVPR 2023), section 3.3 (quadtree partition).
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tersor.models import exact_compiled
from tersor.models.exact import ONE, ExactConv, compand, halve, normalise, to_fixed

# F, all of them.
PASSES = 4
PHASE_ORDER = (0, 3, 1, 2)
N_LEVELS = 64
SIGMA_MIN = 0.1
LOG_SIGMA_STEP = math.log(800.0) / (N_LEVELS - 1)
MAX_MU_SHIFT = 3
LEVEL_SCALE_BITS = 3
LOW_PER_GROUP = 3
LOW_BITS = 3
N_QUALITIES = 100


def sigma_of_level(level: Tensor) -> Tensor:
    """Standard deviation, in quantisation steps, of a (real-valued) scale level 0..63."""
    return SIGMA_MIN * torch.exp(level * LOG_SIGMA_STEP)


class QualityVector(nn.Module):
    """A vector that depends on the quality: linear between learned control points.

    Args:
        channels: length of the vector.
        init: float [points] or [points, channels], initial control points; zeros if not given.
    """

    POINTS = 9
    table: Tensor

    def __init__(self, channels: int, init: Tensor | None = None) -> None:
        super().__init__()
        start = torch.zeros(self.POINTS, channels)
        if init is not None:
            start += init.reshape(self.POINTS, -1)
        self.points = nn.Parameter(start)
        self.register_buffer("table", torch.zeros(N_QUALITIES, channels))

    def forward(self, t: Tensor) -> Tensor:
        """t: float [N] in 0..1 -> float [N, channels, 1, 1]."""
        at = t * (self.POINTS - 1)
        i = at.floor().long().clamp(0, self.POINTS - 2)
        w = (at - i)[:, None]
        return (self.points[i] * (1 - w) + self.points[i + 1] * w)[:, :, None, None]

    @torch.no_grad()
    def freeze(self) -> None:
        """Tabulate the 100 quality levels: decoders look values up, they never interpolate."""
        t = torch.arange(N_QUALITIES, dtype=torch.float64) / (N_QUALITIES - 1)
        self.table.copy_(self.forward(t.float())[:, :, 0, 0])

    def at(self, quality: Tensor) -> Tensor:
        """quality: int64 [N], 1..100 -> float [N, channels, 1, 1], from the frozen table."""
        return self.table[quality - 1][:, :, None, None]

    def fixed_at(self, quality: Tensor) -> Tensor:
        """The same in int32, Q8. Rounding a stored float once is exact."""
        return to_fixed(self.at(quality))


class ExactResidual(nn.Module):
    """x + conv1x1(relu(conv3x3(normalise(x)))), float or exact."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = ExactConv(channels, channels, 3)
        self.out = ExactConv(channels, channels)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        if not x.is_floating_point() and (loops := exact_compiled.loops_for(x)):
            return exact_compiled.residual(loops, x, self.conv.packed(loops), self.out.packed(loops))
        return x + self.out(F.relu(self.conv(normalise(x))))


class Prior(nn.Module):
    """Means and scale levels of the latents, pass by pass.

    Args:
        latent_channels: channels M of y, a multiple of 4.
        hyper_channels: channels of z.
        width: channels of the stream.

    The stream is normalised at the entry of every block and head. Means of the few lowest frequencies are
    large and follow their neighbours linearly, so they also get a linear prediction from the known neighbours
    (`low_context`). Means are scaled by a power of two a channel, `mu_shift`, of the size of the channel's
    latents: the optimiser moves all outputs of a layer alike, and a jitter that a lowest frequency does not
    notice would drown a highest one.
    """

    mu_shift: Tensor
    low: Tensor

    def __init__(self, latent_channels: int, hyper_channels: int, width: int) -> None:
        super().__init__()
        self.register_buffer("mu_shift", torch.zeros(latent_channels, 1, 1, dtype=torch.int32))
        self.z_in = ExactConv(hyper_channels, 4 * width)
        self.z_mid = ExactResidual(width)
        self.z_up = ExactConv(width, 4 * width)
        self.z_out = ExactResidual(width)
        self.quality = QualityVector(width)
        self.quality_level = QualityVector(1)
        self.context = nn.ModuleList(ExactConv(2 * latent_channels, width) for _ in range(PASSES - 1))
        self.refine = nn.ModuleList(ExactResidual(width) for _ in range(PASSES - 1))
        low = [g * (latent_channels // PASSES) + i for g in range(PASSES) for i in range(LOW_PER_GROUP)]
        self.register_buffer("low", torch.tensor(low), persistent=False)
        self.low_context = nn.ModuleList(ExactConv(len(low), len(low), 3) for _ in range(PASSES - 1))
        for layer in self.low_context:
            nn.init.zeros_(layer.weight)  # type: ignore[arg-type]
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        self.heads = nn.ModuleList(ExactConv(width, 2 * latent_channels) for _ in range(PASSES))

    def freeze(self) -> None:
        """Round every layer to integers and tabulate the qualities."""
        for m in self.modules():
            if isinstance(m, (ExactConv, QualityVector)):
                m.freeze()

    def thaw(self) -> None:
        """Set float weights from the integers of released weights."""
        for m in self.modules():
            if isinstance(m, ExactConv):
                m.thaw()

    def begin(self, z: Tensor, quality: Tensor) -> Tensor:
        """Start the stream.

        Args:
            z: hyper-latents [N, Z, h/4, w/4]; float, or int32 symbols (not Q8) for the exact path.
            quality: [N, width, 1, 1], from `quality`, of the same kind (float, or Q8).

        Returns:
            stream [N, width, h, w].
        """
        x = z if z.is_floating_point() else z * ONE
        x = self.z_mid(F.pixel_shuffle(self.z_in(x), 2))
        x = F.pixel_shuffle(self.z_up(F.relu(normalise(x))), 2)
        return self.z_out(x) + quality

    def update(self, step: int, stream: Tensor, y_hat: Tensor) -> Tensor:
        """The stream after the latents known before pass `step` (1..3); unknown ones are 0 in `y_hat` (float,
        or Q8).

        Signed values predict means, magnitudes predict scales; the layer sees both.
        """
        channels = y_hat.shape[1]
        context = torch.empty_like(stream)
        for phase, cell in phases(*stream.shape[2:]):
            groups = torch.cat(
                [group_channels(group_of(n, phase), channels, stream.device) for n in range(step)]
            )
            known = compand(y_hat[cell].index_select(1, groups))
            inputs = torch.cat([groups, groups + channels])
            context[cell] = self.context[step - 1](torch.cat([known, known.abs()], 1), inputs=inputs)
        return self.refine[step - 1](stream + context)

    def parameters_of_pass(
        self, step: int, stream: Tensor, y_hat: Tensor, level_bias: Tensor
    ) -> tuple[list[Tensor], list[Tensor]]:
        """-> (mu, level) of the latents of this pass, each [N, M/4, ., .] for each of `cells_of_pass`. Float:
        level is real-valued, unclamped. Exact: mu in Q8, level an integer 0..63.

        Args:
            step: pass 0..3.
            stream: [N, width, h, w].
            y_hat: the latents known so far, as for `update`.
            level_bias: [N, 1, 1, 1], from `quality_level`, of the same kind.
        """
        x = normalise(stream)
        low = self.low_context[step - 1](halve(y_hat[:, self.low], LOW_BITS)) if step else None
        mus, levels = [], []
        for group, (_, wanted, rows, columns) in cells_of_pass(step, *y_hat.shape[1:]):
            channels = torch.arange(wanted.start, wanted.stop, device=stream.device)
            mu, level = self.heads[step](
                x[:, :, rows, columns], outputs=torch.cat([channels, channels + y_hat.shape[1]])
            ).chunk(2, 1)
            if low is not None:
                lowest = low[:, group * LOW_PER_GROUP : (group + 1) * LOW_PER_GROUP, rows, columns]
                mu = torch.cat([mu[:, :LOW_PER_GROUP] + lowest, mu[:, LOW_PER_GROUP:]], 1)
            shift = self.mu_shift[channels]
            if stream.is_floating_point():
                mu, level = mu * torch.exp2(shift), level * 2**LEVEL_SCALE_BITS + level_bias
            else:
                mu = (mu << (shift + MAX_MU_SHIFT)) >> MAX_MU_SHIFT
                level = (((level << LEVEL_SCALE_BITS) + level_bias + ONE // 2) >> 8).clamp(0, N_LEVELS - 1)
            mus.append(mu)
            levels.append(level)
        return mus, levels


Cell = tuple[slice, slice, slice, slice]
"""Index of latents [N, M, h, w]: the channels of a group, at the positions of a phase of the 2x2 cell."""


def phases(h: int, w: int) -> Iterator[tuple[int, tuple[slice, ...]]]:
    """The phases of the 2x2 cell that a lattice has, 0..3, each with the index of its positions in [N, C, h,
    w].
    """
    for phase in range(PASSES):
        i, j = divmod(phase, 2)
        if i < h and j < w:
            yield phase, (slice(None), slice(None), slice(i, None, 2), slice(j, None, 2))


def group_of(step: int, phase: int) -> int:
    """The channel group that a pass codes at a phase of the 2x2 cell."""
    return (step - PHASE_ORDER[phase]) % PASSES


def group_channels(group: int, channels: int, device: torch.device) -> Tensor:
    """Indices of the channels of one of the four groups."""
    size = channels // PASSES
    return torch.arange(group * size, (group + 1) * size, device=device)


def cells_of_pass(step: int, channels: int, h: int, w: int) -> list[tuple[int, Cell]]:
    """What a pass codes, in its order: each group that a lattice has, and where it is. The cells of the four
    passes partition the latents.
    """
    size = channels // PASSES
    found = [(group_of(step, phase), cell) for phase, cell in phases(h, w)]
    return [
        (g, (cell[0], slice(g * size, (g + 1) * size), cell[2], cell[3]))
        for g, cell in sorted(found, key=lambda f: f[0])
    ]
