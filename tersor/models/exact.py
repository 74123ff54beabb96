"""Networks that train in floats and run in integers, so that every machine computes the same numbers.

What selects a probability table must not depend on the machine (a different rounding of one sum
desynchronises the whole stream). Floating-point sums depend on their order; integer sums do not. So at decode
time the networks of the prior run in fixed point:

    activation   int32, Q8 (1 unit = 1/256), clamped on entry of each layer to +-32639
    weight       int16, Q(shift), one shift a layer
    sum          exact: |sum| < 2^53, the bound of each layer is checked when its weights are frozen or loaded
    output       (sum + bias + half) >> shift, back in Q8

On x86 CPUs with numba, products are of 16 bits and sums of 32, or of 64 where they might not fit
(models/exact_loops.py). Elsewhere products run in float64, where sums of integers below 2^53 are exact in any
order, on any CPU and GPU, with any BLAS. Four int8 products of 8-bit digits are fast too on CPUs with VNNI,
but CPUs without it saturate 16-bit partial sums inside the library and would decode nonsense
(docs/exactness.md), so they are not used. Convolutions in float64 are matrix products over gathered
neighbourhoods: a library's convolution might choose Winograd or FFT.

The same `forward` serves both: floating tensors go through the float layer, int32 tensors through the exact
one.

Source: the idea of integer networks for entropy models is Balle et al., "Integer Networks for Data
Compression with Latent-Variable Models" (2019); post-training rounding to 12 to 16 bits costs under 0.03 % of
rate.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tersor.errors import WeightsError
from tersor.models import exact_compiled

# F, all of them.
FRACTION_BITS = 8
ONE = 1 << FRACTION_BITS
ACTIVATION_MAX = 127 * 256 + 127
WEIGHT_MAX = 32767
MAX_SHIFT = 14
EXACT_SUM_LIMIT = 1 << 53
OUTPUT_LIMIT = 1 << 28


def to_fixed(x: Tensor) -> Tensor:
    """Round floats to int32 in Q8."""
    return torch.round(x.double() * ONE).to(torch.int32)


def halve(x: Tensor, times: int) -> Tensor:
    """x / 2^times; in integers, rounded down."""
    return x * 2.0**-times if x.is_floating_point() else x >> times


def compand(x: Tensor) -> Tensor:
    """Odd, piecewise-linear compression of large values: slope 1 up to 2, 1/4 up to 16, 1/16 beyond. The
    slope never vanishes, so means of large coefficients stay predictable.
    """
    one = 1.0 if x.is_floating_point() else ONE
    a = x.abs()
    y = (
        a.clamp(max=2 * one)
        + halve((a - 2 * one).clamp(0, 14 * one), 2)
        + halve((a - 16 * one).clamp(min=0), 4)
    )
    return torch.where(x < 0, -y, y)


NORM_INPUT_MAX = 1 << 21
NORM_FLOOR = 0.5


def normalise(x: Tensor) -> Tensor:
    """Divide each position by the root mean square of its channels (plus a floor), [N, C, h, w]; the integers
    that come out do not depend on the machine.

    In integers: out = floor(256 x / r), r = floor(sqrt(mean square)). Both are computed in float64 with half
    a unit added, which keeps the exact value at least 2^-45 (relative) away from every integer: the floor is
    right even where a library's square root or division is off in its last bits.
    """
    if x.is_floating_point():
        return x * torch.rsqrt(x.square().mean(1, keepdim=True) + NORM_FLOOR**2)
    if loops := exact_compiled.loops_for(x):
        return exact_compiled.normalise(loops, x)
    v = x.clamp(-NORM_INPUT_MAX, NORM_INPUT_MAX).double()
    mean_square = (
        torch.div(v.square().sum(1, keepdim=True).long(), x.shape[1], rounding_mode="floor")
        + int(NORM_FLOOR * ONE) ** 2
    )
    root = torch.floor(torch.sqrt(mean_square.double() + 0.5))
    return torch.floor((v * ONE + 0.5) / root).to(torch.int32)


ALL = slice(None)


class ExactConv(nn.Module):
    """Convolution 1x1 or 3x3, stride 1, zero padding.

    Args:
        c_in: input channels.
        c_out: output channels.
        kernel_size: 1 or 3.
    """

    weight_int: Tensor
    bias_int: Tensor
    shift: Tensor

    def __init__(self, c_in: int, c_out: int, kernel_size: int = 1) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        conv = nn.Conv2d(c_in, c_out, kernel_size)
        self.weight, self.bias = conv.weight, conv.bias
        self.register_buffer("weight_int", torch.zeros(conv.weight.shape, dtype=torch.int16))
        self.register_buffer("bias_int", torch.zeros(c_out, dtype=torch.int64))
        self.register_buffer("shift", torch.zeros((), dtype=torch.int64))
        self._weights: Tensor | None = None
        self._packed: dict[tuple[tuple[int, ...], ...], Any] = {}

    @torch.no_grad()
    def freeze(self) -> None:
        """Round the float weights to integers, the finest shift that fits 16 bits, and set the float weights
        to the rounded ones.

        Raises:
            WeightsError: a weight is not finite or too large, or a sum could exceed 2^53.
        """
        assert self.bias is not None
        peak = self.weight.abs().max().item()
        shift = MAX_SHIFT
        while shift > 0 and peak * 2**shift > WEIGHT_MAX:
            shift -= 1
        if not peak * 2**shift <= WEIGHT_MAX:
            raise WeightsError(
                f"a weight of {peak:g} cannot be frozen: allowed are finite values up to {WEIGHT_MAX}; "
                "train with weight decay"
            )
        self.weight_int.copy_(torch.round(self.weight.double() * 2**shift).to(torch.int16))
        self.bias_int.copy_(torch.round(self.bias.double() * 2 ** (shift + FRACTION_BITS)).to(torch.int64))
        self.shift.fill_(shift)
        self.thaw()

    @torch.no_grad()
    def thaw(self) -> None:
        """Set the float weights from the integers (after loading released weights) and check the bound on
        every sum.
        """
        assert self.bias is not None
        shift = int(self.shift)
        sums = (
            self.weight_int.double().abs().flatten(1).sum(1) * ACTIVATION_MAX + self.bias_int.abs() + 2**shift
        )
        if (
            not 0 <= shift <= MAX_SHIFT
            or sums.max() >= EXACT_SUM_LIMIT
            or sums.max() / 2**shift >= OUTPUT_LIMIT
        ):
            raise WeightsError(
                f"a layer's sums reach {sums.max().item():g} at shift {shift}; "
                f"allowed are sums under 2^53, outputs under 2^28 and shifts 0..{MAX_SHIFT}"
            )
        self.weight.copy_(self.weight_int.double() / 2**shift)
        self.bias.copy_(self.bias_int.double() / 2 ** (shift + FRACTION_BITS))
        self._weights = None
        self._packed = {}

    def forward(self, x: Tensor, inputs: Tensor | slice = ALL, outputs: Tensor | slice = ALL) -> Tensor:
        """A convolution, or the part of it between some channels.

        Args:
            x: float or int32 (Q8) [N, c_in, h, w].
            inputs: the channels that x has; the others are zero. Only with kernel_size 1.
            outputs: the channels to compute.

        Returns:
            [N, c_out, h, w] of the kind of x.
        """
        assert self.bias is not None
        if x.is_floating_point():
            weight = self.weight[outputs][:, inputs]
            return F.conv2d(
                x.clamp(-ACTIVATION_MAX / ONE, ACTIVATION_MAX / ONE),
                weight,
                self.bias[outputs],
                padding=self.kernel_size // 2,
            )
        if loops := exact_compiled.loops_for(x):
            return exact_compiled.convolve(loops, x, self.packed(loops, inputs, outputs))
        n, _, h, w = x.shape
        sums = (
            columns(x.clamp(-ACTIVATION_MAX, ACTIVATION_MAX), self.kernel_size)
            @ self._matrix(x.device)[inputs][:, outputs]
        )
        shift = int(self.shift)
        out = torch.floor((sums + (self.bias_int[outputs] + (1 << shift >> 1))) * 2.0**-shift)
        return out.to(torch.int32).reshape(n, h, w, out.shape[1]).permute(0, 3, 1, 2)

    def packed(self, loops: ModuleType, inputs: Tensor | slice = ALL, outputs: Tensor | slice = ALL) -> Any:
        """The layer, or the part of it between some channels, as the compiled loops read it."""
        key = tuple(() if isinstance(v, slice) else tuple(v.tolist()) for v in (inputs, outputs))
        if key not in self._packed:
            weight, bias = self.weight_int[outputs][:, inputs], self.bias_int[outputs]
            self._packed[key] = loops.pack(weight.numpy(), bias.numpy(), int(self.shift))
        return self._packed[key]

    def _matrix(self, device: torch.device) -> Tensor:
        """The weights as integers in float64 [K, c_out], rows in the order of `columns`."""
        if self._weights is None or self._weights.device != device:
            self._weights = self.weight_int.permute(2, 3, 1, 0).flatten(0, 2).double().to(device)
        return self._weights


def columns(x: Tensor, kernel_size: int) -> Tensor:
    """[N, C, h, w] -> float64 [N h w, k k C], the neighbourhood of each position as one row."""
    y = x.permute(0, 2, 3, 1).double()
    if kernel_size == 3:
        h, w = y.shape[1:3]
        y = F.pad(y, (0, 0, 1, 1, 1, 1))
        y = torch.cat([y[:, i : i + h, j : j + w] for i in range(3) for j in range(3)], 3)
    return y.reshape(-1, y.shape[3])
