"""Fitting latents and networks to one picture: one iteration of gradient descent, on all cores.

    y --soft rounding, noise--> q --entropy network--> bits
                                q --upsampling, synthesis--> x, squared error
    loss = mean squared error + lambda * bits / pixels (samples in 0..1)

The work is cut into parts that depend on the picture alone, and their sums are added in order: the result
does not depend on the number of threads.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from tersor.codecs.image_overfit import fit_ends_loops as ends
from tersor.codecs.image_overfit import fit_picture_loops as picture
from tersor.codecs.image_overfit import fit_rate_loops as rate_loops
from tersor.codecs.image_overfit.fit_tables import block_table, edges, row_table
from tersor.codecs.image_overfit.layout import LEVELS, PAD, Grids, level_size
from tersor.codecs.image_overfit.network import ENTROPY, REACH, SYNTHESIS, Floats, Parameters, Shape
from tersor.codecs.parallel import side_by_side
from tersor.codecs.tiled import Tiling

GAIN = 16.0  # G: latents are stored as y / 16: one learning rate suits them and the networks (Cool-Chic 5)
NOISE_POOL = 1 << 20  # G: random numbers that rows draw from, each at a random place
LATENT_LIMIT = 127  # F: latents are bytes
LATENTS_A_PART = 1 << 17  # G
BAND = 16  # G: rows of a sampled band

Weights = rate_loops.Entropy | picture.Synthesis
W = TypeVar("W", rate_loops.Entropy, picture.Synthesis)
T = TypeVar("T")


@dataclass(slots=True)
class Result:
    """One evaluation.

    Attributes:
        bits: of the latents, by level.
        mse: mean squared error, samples in 0..1.
    """

    bits: NDArray[np.float64]
    mse: float

    def loss(self, lam: float, pixels: int) -> float:
        return self.mse + lam * float(self.bits.sum()) / pixels


class Fit:
    """A picture, its latents and networks on the way to each other.

    Args:
        target: float32 [C, H, W], 0..1; C is 1 or 3.
        tile: side of a tile, a multiple of 64 pixels.
        shape: of the networks.
        parameters: of the networks; changed in place.
        rng: of the noise.

    Attributes:
        seen: bool [H, W], the pixels that count in `evaluate`; None: all.
    """

    def __init__(
        self, target: Floats, tile: int, shape: Shape, parameters: Parameters, rng: np.random.Generator
    ) -> None:
        self.target, self.shape, self.parameters, self.rng = target, shape, parameters, rng
        self.seen: NDArray[np.bool_] | None = None
        colours, height, width = target.shape
        self.pixels = height * width
        self.tiling = tiling = Tiling(width, height, tile)
        self.boxes = [tiling.box(t) for t in range(len(tiling))]
        self.grids = g = Grids([(b - t, r - x) for t, x, b, r in self.boxes], shape.first)
        self.y, self.m, self.v, self.q, self.dq = (np.zeros(g.size, np.float32) for _ in range(5))
        self.steps = 0
        self._noise = rng.standard_normal(NOISE_POOL + max(width, 64), dtype=np.float32)
        self._planes()
        self.rows = row_table(g, self.boxes, self.stack, self._plane_starts, self._gradient_starts)
        self._segments, self._block_table, self._block_sizes = block_table(g)
        parents = g.count - 1 - np.arange(len(g), dtype=np.int64) % g.count
        reach = np.array(REACH[: shape.around], np.int64)
        self._lattice = rate_loops.Lattice(g.offset, g.stride, parents, reach, g.count)
        parts = max(1, min(16, -(-g.cells // LATENTS_A_PART)))
        self._row_parts = edges(self.rows[:, 2], parts)
        # Parts of whole tiles never touch the same latents, so one array takes the gradient of all of them.
        tiles = self._segments[self._block_table[:, 0], 0] // g.count if parts <= len(tiling) else None
        self._block_parts = edges(self._block_sizes, parts, tiles)
        self._picture_parts = edges(np.ones(height), min(parts, height))
        self._gy = np.zeros((len(self._block_parts) if tiles is None else 1, g.size), np.float32)
        self._u = [np.zeros((colours, height + 2, width + 2), np.float32) for _ in range(2)]
        self._g = [np.zeros((colours, height + 4, width + 4), np.float32) for _ in range(2)]

    def _planes(self) -> None:
        """Levels as planes [channels, h, w] in one flat array: a level's own plane, then those of all coarser
        ones, upsampled.

            gradients of levels 1, 2 ... | level 0, of which the gradient takes the place | levels 1, 2 ...
        """
        _, height, width = self.target.shape
        shapes = [
            (LEVELS - max(v, self.shape.first), level_size(height, v), level_size(width, v))
            for v in range(LEVELS)
        ]
        shapes[0] = (8, height, width)
        sizes = [c * h * w for c, h, w in shapes]
        coarser = sum(sizes[1:])
        self.planes = np.zeros(2 * coarser + sizes[0], np.float32)
        cuts = np.cumsum([coarser, *sizes]).tolist()
        self._plane_starts = cuts[:-1]
        self._gradient_starts = [coarser, *(a - cuts[1] for a in cuts[1:-1])]
        self.stack, self.gstack = (
            [self.planes[a : a + n].reshape(s) for a, n, s in zip(starts, sizes, shapes, strict=True)]
            for starts in (self._plane_starts, self._gradient_starts)
        )
        self.scratch = [
            np.zeros((s.shape[0], d.shape[1], s.shape[2]), np.float32)
            for d, s in itertools.pairwise(self.stack)
        ]

    def _padded(self, source: Parameters) -> tuple[rate_loops.Entropy, picture.Synthesis]:
        """The networks with the sides the loops want."""
        sides = {
            "wf": (self.shape.levels, self.shape.features, 8),
            "w3": (4, self.shape.width),
            "s": (4, self.shape.width),
            "b3": (4,),
        }
        sides |= {"v1": (self.shape.hidden, 8), "v2": (4, self.shape.hidden), "c2": (4,), "t": (4, 8)}

        def pad(name: str) -> Floats:
            if name not in sides:
                return np.ascontiguousarray(source[name])
            out = np.zeros(sides[name], np.float32)
            out[tuple(slice(n) for n in source[name].shape)] = source[name]
            return out

        return rate_loops.Entropy(*map(pad, ENTROPY)), picture.Synthesis(*map(pad, SYNTHESIS))

    def step(self, lam: float, temperature: float, deviation: float) -> tuple[Result, Parameters]:
        """One soft-rounded, noisy forward and backward pass; -> (result, gradient of the networks). `move`
        uses that of the latents, which takes the place of the finest planes: `round` before anything else.

        Args:
            temperature: of soft rounding; 0 rounds, and gives latents no gradient.
        """
        self._quantise(temperature, deviation)
        entropy, synthesis = self._padded(self.parameters)
        self._upsample(0)
        grads = [(np.zeros(LEVELS), _zeros(entropy)) for _ in self._block_parts]
        finest = len(self.stack[1])

        def work(i: int) -> None:  # planes of the finest level, then the rate: independent of each other
            if i < finest:
                self._up(0, i, i + 1)
            else:
                part = i - finest
                self._rate(self._block_table, self._block_parts[part], entropy, part, *grads[part], True)

        side_by_side(work, range(finest + len(grads)))
        bits = sum((g[0] for g in grads), np.zeros(LEVELS))
        result = Result(bits, self._distortion(synthesis, 2 / self.target.size))
        parts = [_zeros(synthesis) for _ in self._picture_parts]
        self._back(synthesis, parts)
        out = self._sum_up([g[1] for g in grads], ENTROPY, lam / self.pixels) | self._sum_up(
            parts, SYNTHESIS, 1
        )
        out["k"] = self._up_back(self.parameters["k"])
        if not temperature:
            self._gy.fill(0)
        return result, out

    def evaluate(self) -> Result:
        """Rounded latents, pixels of 8 bits, of which those count that are seen."""
        self.round()
        error = self.distortion()
        return Result(self.rate(), error if self.seen is None else self._seen_error(self.seen))

    def _seen_error(self, seen: NDArray[np.bool_]) -> float:
        """Mean squared error of the pixels that are seen, as `distortion` left them."""
        _, synthesis = self._padded(self.parameters)
        one, w, off = np.float32(1), self._u[1], self._g[0]
        self._over_rows(lambda a, b: ends.second_end(a, b, w, synthesis, self.target, one, off))
        target = self.target[:, seen]
        shown = np.rint((target + off[:, 2:-2, 2:-2][:, seen]).clip(0, 1) * 255) / 255
        return float(np.square(shown - target, dtype=np.float64).mean())

    def round(self) -> None:
        """Set q to the rounded latents, for `rate` and `distortion`."""
        self._quantise(0, 0)

    def rate(self, every: int = 1) -> NDArray[np.float64]:
        """Bits of q by level, of every so many blocks."""
        entropy, _ = self._padded(self.parameters)
        blocks = np.ascontiguousarray(self._block_table[::every])
        none = _zeros(entropy)
        parts = edges(np.ones(len(blocks)), len(self._block_parts))

        def part(edge: tuple[int, int]) -> NDArray[np.float64]:
            bits = np.zeros(LEVELS)
            self._rate(blocks, edge, entropy, 0, bits, none, False)
            return bits

        return np.asarray(sum(side_by_side(part, parts)))

    def distortion(self, upsample: bool = True, every: int = 1) -> float:
        """Mean squared error of pixels of 8 bits; of every so many bands of 16 rows, and with the planes of
        the last call unless `upsample`.
        """
        _, synthesis = self._padded(self.parameters)
        if upsample:
            self._upsample(0)
            side_by_side(lambda c: self._up(0, c, c + 1), range(len(self.stack[1])))
        if every == 1:
            return self._distortion(synthesis, 0)
        height = self.target.shape[1]
        u, w = self._u

        def band(top: int) -> float:
            bottom = min(top + BAND, height)
            picture.pointwise(max(top - 2, 0), min(bottom + 2, height), self.stack[0], synthesis, u)
            ends.first_end(max(top - 1, 0), min(bottom + 1, height), u, synthesis, w)
            return ends.second_end(top, bottom, w, synthesis, self.target, np.float32(0), self._g[0]) / (
                bottom - top
            )

        bands = side_by_side(band, range(0, height, BAND * every))
        return sum(bands) / len(bands) / (self.target.size / height)

    def move(self, lam: float, rate: float, b1: float, b2: float) -> None:
        """Adam on the latents."""
        self.steps += 1
        step, root = rate / (1 - b1**self.steps), 1 / (1 - b2**self.steps) ** 0.5
        numbers = (lam / self.pixels, b1, b2, step, root, LATENT_LIMIT / GAIN)
        move = picture.Move(*map(np.float32, numbers))

        def part(edge: tuple[int, int]) -> None:
            picture.adam(*edge, self.rows, self.y, self.m, self.v, self.dq, self._gy, self.planes, move)

        side_by_side(part, self._row_parts)

    def _quantise(self, temperature: float, deviation: float) -> None:
        start = (
            self.rng.integers(0, NOISE_POOL, len(self.rows))
            if temperature
            else np.zeros(len(self.rows), np.int64)
        )
        scale = 0.0 if not temperature else 0.5 / np.tanh(0.5 / temperature)
        twice = 0.0 if not temperature else 2 * 1.4426950408889634 / temperature
        slope = 0.0 if not temperature else (scale / temperature) ** 2 * GAIN
        soft = picture.Soft(*map(np.float32, (GAIN, deviation, scale, twice, slope)))

        def part(edge: tuple[int, int]) -> None:
            picture.quantise(*edge, self.rows, self.y, self._noise, start, soft, self.q, self.dq, self.planes)

        side_by_side(part, self._row_parts)

    def _upsample(self, last: int) -> None:
        """Planes of all levels but `last`, from the coarsest on."""
        for level in range(LEVELS - 2, last, -1):
            self._up(level, 0, len(self.stack[level + 1]))

    def _rate(
        self,
        blocks: NDArray[np.int64],
        edge: tuple[int, int],
        net: rate_loops.Entropy,
        part: int,
        bits: NDArray[np.float64],
        grad: rate_loops.Entropy,
        want: bool,
    ) -> None:
        gradient = self._gy[part % len(self._gy)]
        rate_loops.rate(*edge, blocks, self._segments, self.q, self._lattice, net, gradient, grad, want, bits)

    def _distortion(self, net: picture.Synthesis, slope: float) -> float:
        """Mean squared error, from the planes at full resolution; keeps what the way back needs."""
        u, w = self._u
        s = np.float32(slope)
        self._over_rows(lambda a, b: picture.pointwise(a, b, self.stack[0], net, u))
        self._over_rows(lambda a, b: ends.first_end(a, b, u, net, w))
        squares = self._over_rows(lambda a, b: ends.second_end(a, b, w, net, self.target, s, self._g[0]))
        return float(sum(squares)) / self.target.size

    def _over_rows(self, work: Callable[[int, int], T]) -> list[T]:
        return side_by_side(lambda edge: work(*edge), self._picture_parts)

    def _back(self, net: picture.Synthesis, grads: list[picture.Synthesis]) -> None:
        """Through the 3x3 ends and the pointwise synthesis, to the gradient of the finest planes."""
        (u, w), (g2, g1) = self._u, self._g
        jobs = list(zip(self._picture_parts, grads, strict=True))
        side_by_side(lambda j: ends.conv_back(*j[0], w, net.k2, g2, j[1].k2, j[1].d2, True, g1), jobs)
        side_by_side(lambda j: ends.conv_back(*j[0], u, net.k1, g1, j[1].k1, j[1].d1, False, g2), jobs)
        side_by_side(
            lambda j: picture.pointwise_back(*j[0], self.stack[0], net, g2, self.gstack[0], j[1]), jobs
        )

    def _own(self, level: int) -> int:
        """Planes of a level that are not upsampled."""
        return int(level >= self.shape.first)

    def _up(self, level: int, first: int, last: int) -> None:
        """Upsample channels first..last of the next coarser level's planes."""
        source = self.stack[level + 1]
        to = self.stack[level][self._own(level) : self._own(level) + len(source)]
        picture.up(first, last, source, self.parameters["k"][level], to, self.scratch[level])

    def _up_back(self, kernels: Floats) -> Floats:
        gradient = np.zeros_like(kernels)
        for level in range(LEVELS - 1):
            source, own = self.stack[level + 1], self._own(level)
            g, gx = self.gstack[level][own : own + len(source)], self.gstack[level + 1]
            parts = [np.zeros(4, np.float32) for _ in source]

            def back(
                c: int,
                level: int = level,
                source: Floats = source,
                g: Floats = g,
                gx: Floats = gx,
                parts: list[Floats] = parts,
            ) -> None:
                picture.up_back(c, c + 1, source, kernels[level], self.scratch[level], g, gx, parts[c])

            if level < 2:
                side_by_side(back, range(len(source)))
            else:
                for c in range(len(source)):
                    back(c)
            gradient[level] = sum(parts)
        return gradient

    def _sum_up(self, parts: Sequence[Weights], names: tuple[str, ...], factor: float) -> Parameters:
        """Gradients of all parts, without the padding."""
        out = {}
        for i, name in enumerate(names):
            total: Floats = np.float32(factor) * np.asarray(sum(p[i] for p in parts))
            out[name] = total[tuple(slice(n) for n in self.parameters[name].shape)]
        return out


def _zeros(net: W) -> W:
    return type(net)(*(np.zeros_like(v) for v in net))


assert max(max(-r, abs(c)) for r, c in REACH) < PAD
