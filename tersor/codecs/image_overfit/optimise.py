"""How the networks learn: SOAP, Adam in the eigenbasis of a running mean of the gradient's second moments.

Source: Vyas et al. 2024, "SOAP: Improving and Stabilizing Shampoo using Adam"; betas and interval as in
Cool-Chic 5.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from tersor.codecs.image_overfit.network import Floats, Parameters

BETA = 0.95  # G
INTERVAL = 10  # G: steps between two refinements of the bases
EPSILON = 1e-12  # G


@dataclass(slots=True)
class Moments:
    """Of one parameter: running means, and the bases for matrices."""

    mean: Floats
    square: Floats
    left: Floats | None = None
    right: Floats | None = None
    bases: tuple[Floats, Floats] | None = None


@dataclass(slots=True)
class Soap:
    """State of the optimiser for one set of parameters. Arrays of one or three axes get plain Adam."""

    steps: int = 0
    moments: dict[str, Moments] = field(default_factory=dict)

    def step(self, parameters: Parameters, gradients: Parameters, rate: float) -> None:
        """Move the parameters, in place."""
        self.steps += 1
        first, second = 1 - BETA**self.steps, 1 - BETA**self.steps
        for name, gradient in gradients.items():
            matrix = gradient.ndim in (2, 4)
            g = gradient.reshape(len(gradient), -1) if matrix else gradient
            s = self.moments.setdefault(name, Moments(np.zeros_like(g), np.zeros_like(g)))
            s.mean += (1 - BETA) * (g - s.mean)
            if matrix:
                turned, (ql, qr) = self._turn(s, g)
                s.square += (1 - BETA) * (turned * turned - s.square)
                move = ql @ ((ql.T @ s.mean @ qr / first) / (np.sqrt(s.square / second) + EPSILON)) @ qr.T
            else:
                s.square += (1 - BETA) * (g * g - s.square)
                move = (s.mean / first) / (np.sqrt(s.square / second) + EPSILON)
            parameters[name] -= np.float32(rate) * move.reshape(gradient.shape)

    def _turn(self, s: Moments, g: Floats) -> tuple[Floats, tuple[Floats, Floats]]:
        """The gradient in the eigenbases, and these."""
        left, right = g @ g.T, g.T @ g
        if s.left is None or s.right is None or s.bases is None:
            s.left, s.right = left, right
            s.bases = np.linalg.eigh(left)[1], np.linalg.eigh(right)[1]
        else:
            s.left += (1 - BETA) * (left - s.left)
            s.right += (1 - BETA) * (right - s.right)
            if self.steps % INTERVAL == 0:
                s.bases = np.linalg.qr(s.left @ s.bases[0])[0], np.linalg.qr(s.right @ s.bases[1])[0]
        ql, qr = s.bases
        return ql.T @ g @ qr, s.bases
