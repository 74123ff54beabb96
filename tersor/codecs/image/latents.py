"""Latents to payloads and back: the loop over passes that encoder and decoder share, on batches of equal
tiles.

    z  -> tables by channel and quality band          symbols of z
    pass 0..3: prior -> mu (Q8), level -> symbols -> y_hat = symbol + mu (Q8)

Everything from the symbols of z on is integer arithmetic, so the decoder repeats the encoder's choices on any
machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from tersor.arrays import Integers
from tersor.entropy.rans import SymbolDecoder, SymbolEncoder
from tersor.entropy.tables import FrozenTables
from tersor.models.exact import FRACTION_BITS, ONE
from tersor.models.image import lambda_of
from tersor.models.image_weights import ReleasedImageModel, z_band
from tersor.models.prior import N_QUALITIES, PASSES, cells_of_pass
from tersor.timing import stage

HYPER_FACTOR = 4  # F
MAX_SYMBOL = 1 << 15  # F
MAX_HYPER_SYMBOL = 127  # F
RDOQ_RADIUS = 32  # G
EXCEPTION_BITS = 24  # G: what one takes in a file, roughly
RDOQ_STRENGTH = 4.0  # M: tools/studies.py rounding, on training images


def pad_to_hyper(y: Tensor) -> Tensor:
    """Zero-pad the lattice to multiples of 4, where z lives."""
    h, w = y.shape[2:]
    return F.pad(y, (0, -w % HYPER_FACTOR, 0, -h % HYPER_FACTOR))


def _of_pass(step: int, v: Tensor) -> Tensor:
    """The values of v [N, M, h, w] at the latents of a pass, in the order they are coded in: [N, P]."""
    return _joined([v[cell] for _, cell in cells_of_pass(step, *v.shape[1:])])


def _set_pass(step: int, v: Tensor, values: Tensor) -> None:
    """Put back what `_of_pass` gives."""
    at = 0
    for _, cell in cells_of_pass(step, *v.shape[1:]):
        size = v[cell][0].numel()
        v[cell] = values[:, at : at + size].reshape(v[cell].shape)
        at += size


def _joined(values: Sequence[Tensor]) -> Tensor:
    return torch.cat([v.flatten(1) for v in values], 1)


def hyper_symbols(z: Tensor) -> Tensor:
    """Rounded hyper-latents, int32."""
    return torch.round(z).clamp(-MAX_HYPER_SYMBOL, MAX_HYPER_SYMBOL).to(torch.int32)


class SymbolSink(Protocol):
    """What symbols are pushed into: an encoder, or a collector of statistics."""

    def push(self, symbols: Integers, tables: Integers, frozen: FrozenTables) -> None: ...


class LatentCoder:
    """Codes batches of latents [N, M, h, w] with a released model.

    Args:
        released: model and tables.
    """

    def __init__(self, released: ReleasedImageModel) -> None:
        self.released = released
        self.model = released.model
        self.device = released.device
        self._bits = torch.from_numpy(released.y_tables.bit_matrix(RDOQ_RADIUS)).to(self.device)

    def _z_tables(self, quality: int, h: int, w: int) -> Integers:
        channels = self.model.config.hyper
        return np.repeat(np.arange(channels) + z_band(quality) * channels, h * w)

    def _begin(self, z: Tensor, quality: Tensor, h: int, w: int) -> tuple[Tensor, Tensor]:
        prior = self.model.prior
        stream = prior.begin(z, prior.quality.fixed_at(quality))
        return stream[:, :, :h, :w], prior.quality_level.fixed_at(quality)

    def _pass(
        self, step: int, stream: Tensor, level_bias: Tensor, y_hat: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """-> (mu Q8 [N, P], level [N, P], new stream); the P latents in the order of `_of_pass`."""
        with stage("prior"):
            if step:
                stream = self.model.prior.update(step, stream, y_hat)
            mus, levels = self.model.prior.parameters_of_pass(step, stream, y_hat, level_bias)
            return _joined(mus), _joined(levels), stream

    @torch.inference_mode()
    def encode(
        self, y: Tensor, quality: Tensor, z: Tensor | None = None
    ) -> tuple[list[bytes], list[float], Tensor]:
        """Payload and estimated bits of each item, and y_hat, int32 Q8 [N, M, h, w].

        Args:
            y: float [N, M, h, w], in quantisation steps.
            quality: int64 [N], 1..100.
            z: the hyper-latents, int32, if not those of y.
        """
        encoders = [SymbolEncoder() for _ in y]
        y_hat = self.push(y, quality, encoders, z)
        with stage("coder"):
            return [e.finish() for e in encoders], [e.estimated_bits for e in encoders], y_hat

    @torch.inference_mode()
    def push(
        self, y: Tensor, quality: Tensor, encoders: Sequence[SymbolSink], z: Tensor | None = None
    ) -> Tensor:
        """Choose the symbols of each item and push them in decoding order to its encoder, if there are any;
        -> y_hat, int32 Q8 [N, M, h, w].
        """
        h, w = y.shape[2:]
        if z is None:
            z = hyper_symbols(self.hyper(y))
        with stage("coder"):
            for encoder, q, hyper in zip(encoders, quality.tolist(), z.cpu().numpy(), strict=False):
                encoder.push(hyper.ravel(), self._z_tables(q, *z.shape[2:]), self.released.z_tables)
        weight = self.distortion_weight(quality)
        with stage("prior"):
            stream, level_bias = self._begin(z, quality, h, w)
        y_hat = torch.zeros(y.shape, dtype=torch.int32, device=self.device)
        for step in range(PASSES):
            mu, level, stream = self._pass(step, stream, level_bias, y_hat)
            with stage("rounding"):
                residual = _of_pass(step, y) - mu / ONE
                symbols = self.choose(residual, level, _of_pass(step, weight.expand_as(y)))
                _set_pass(step, y_hat, (symbols << FRACTION_BITS) + mu)
            with stage("coder"):
                for encoder, s, t in zip(encoders, symbols.cpu().numpy(), level.cpu().numpy(), strict=False):
                    encoder.push(s, t, self.released.y_tables)
        return y_hat

    @torch.inference_mode()
    def hyper(self, y: Tensor) -> Tensor:
        """The hyper-latents of y [N, M, h, w], float [N, Z, ceil(h / 4), ceil(w / 4)], before rounding."""
        with stage("transform"):
            return self.model.hyper_analysis(pad_to_hyper(y))

    def distortion_weight(self, quality: Tensor) -> Tensor:
        """lambda x squared size of one step of each channel, [N, M, 1, 1]: bits that one squared step of
        error is worth.
        """
        lam = lambda_of((quality - 1) / (N_QUALITIES - 1)).to(self.device)
        step = self.model.log_ungain.at(quality).exp()
        return RDOQ_STRENGTH * lam[:, None, None, None] * step.square() / 3

    def bits_of(self, symbols: Tensor, level: Tensor) -> Tensor:
        """Bits of each symbol by the frozen tables; beyond +-32 those of 32."""
        rows = level.long() * (2 * RDOQ_RADIUS + 1) + RDOQ_RADIUS
        return self._bits.flatten()[rows + symbols.clamp(-RDOQ_RADIUS, RDOQ_RADIUS).long()]

    def choose(self, residual: Tensor, level: Tensor, weight: Tensor) -> Tensor:
        """Rate-distortion optimised rounding: the nearest integer or the next one towards zero, whichever
        costs less; at level 0, which is certain, 0 or an exception.
        """
        near = torch.round(residual).clamp(-MAX_SYMBOL, MAX_SYMBOL)
        lower = near - near.sign()
        saved = self.bits_of(near, level) - self.bits_of(lower, level)
        worse = weight * ((residual - lower).square() - (residual - near).square())
        chosen = torch.where(saved > worse, lower, near)
        exceptional = (
            weight / RDOQ_STRENGTH * (residual.square() - (residual - near).square()) > EXCEPTION_BITS
        )
        return torch.where((level == 0) & ~exceptional, 0, torch.where(level == 0, near, chosen)).to(
            torch.int32
        )

    @torch.inference_mode()
    def decode(
        self, payloads: Sequence[bytes], names: Sequence[str], quality: Tensor, h: int, w: int
    ) -> Tensor:
        """-> y_hat, int32 Q8 [N, M, h, w].

        Raises:
            BitstreamError: a payload that is not one; `names` say which.
        """
        m = self.model.config.latent
        zh, zw = -(-h // HYPER_FACTOR), -(-w // HYPER_FACTOR)
        with stage("coder"):
            decoders = [SymbolDecoder(p, name) for p, name in zip(payloads, names, strict=True)]
            tables = [self._z_tables(q, zh, zw) for q in quality.tolist()]
            hyper = np.stack(
                [
                    d.pop(t, self.released.z_tables).reshape(-1, zh, zw)
                    for d, t in zip(decoders, tables, strict=True)
                ]
            )
        with stage("prior"):
            z = torch.from_numpy(hyper).clamp(-MAX_HYPER_SYMBOL, MAX_HYPER_SYMBOL).to(self.device)
            stream, level_bias = self._begin(z, quality, h, w)
        y_hat = torch.zeros((len(decoders), m, h, w), dtype=torch.int32, device=self.device)
        for step in range(PASSES):
            mu, level, stream = self._pass(step, stream, level_bias, y_hat)
            with stage("coder"):
                popped = np.stack(
                    [
                        d.pop(t, self.released.y_tables)
                        for d, t in zip(decoders, level.cpu().numpy(), strict=True)
                    ]
                )
            with stage("prior"):
                symbols = torch.from_numpy(popped).clamp(-MAX_SYMBOL, MAX_SYMBOL).to(self.device)
                _set_pass(step, y_hat, (symbols << FRACTION_BITS) + mu)
        for d in decoders:
            d.end()
        return y_hat
