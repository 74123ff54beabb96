"""Layers in integers: sums of products of 16-bit numbers in 32 bits, side by side for many positions.

    out[o, p] = bias[o] + sum over pairs k of w[o, k, 0] x[k, p, 0] + w[o, k, 1] x[k, p, 1]

On x86 two products and their sum are one instruction (entropy/exact_pairs.py, whose vectors lie along outputs
instead); elsewhere, and without a compiler, loops compute the same integers. Callers have shown that no
sum leaves 32 bits (frozen.check).
"""

from __future__ import annotations

import platform

import numpy as np
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

from tersor.entropy.compiled import compiled, config
from tersor.entropy.exact_pairs import data, everywhere, i64, instruction, vector

BLOCK = 256  # G: positions; arrays have room for so many
OUTPUTS = 4  # G: at a time; layers have a multiple of them
REGISTERS = 2  # G: vectors of sums an output
NAMED = platform.machine().lower() in ("x86_64", "amd64") and not config.DISABLE_JIT


@intrinsic
def four_sums(typingctx, x, pairs, w, bias, first, out, n):
    """Outputs first..first + 4 of n positions, rounded up to whole vectors.

    Args:
        x: int16 [pairs, BLOCK, 2].
        w: int16 [outputs, pairs, 2].
        bias: int32 [outputs].
        out: int32 [outputs, BLOCK], written.
    """
    return types.void(x, pairs, w, bias, first, out, n), _emit


def _emit(context, builder, signature, args):
    lanes, v32, v16, multiply = instruction(context, builder)
    x, w, bias, out = (data(context, builder, signature, args, n) for n in (0, 2, 3, 5))
    _, pairs, _, _, first, _, n = args
    width = lanes * REGISTERS
    steps = builder.udiv(builder.add(n, i64(width - 1)), i64(width))
    with cgutils.for_range(builder, steps) as step:
        at = builder.mul(step.index, i64(width))
        sums = [[cgutils.alloca_once(builder, v32) for _ in range(REGISTERS)] for _ in range(OUTPUTS)]
        for o, row in enumerate(sums):
            start = everywhere(builder, bias, builder.add(first, i64(o)), lanes)
            for cell in row:
                builder.store(start, cell)
        with cgutils.for_range(builder, pairs) as k:
            place = builder.mul(builder.add(builder.mul(k.index, i64(BLOCK)), at), i64(2))
            inputs = [vector(builder, x, place, 2 * lanes * r, v16) for r in range(REGISTERS)]
            for o, row in enumerate(sums):
                weight = builder.add(builder.mul(builder.add(first, i64(o)), pairs), k.index)
                pair = everywhere(builder, w, builder.mul(weight, i64(2)), lanes)
                for value, cell in zip(inputs, row, strict=True):
                    product = builder.call(multiply, [builder.bitcast(pair, v16), value])
                    builder.store(builder.add(builder.load(cell), product), cell)
        for o, row in enumerate(sums):
            for r, cell in enumerate(row):
                place = builder.add(builder.mul(builder.add(first, i64(o)), i64(BLOCK)), at)
                to = builder.gep(out, [builder.add(place, i64(r * lanes))])
                builder.store(builder.load(cell), builder.bitcast(to, v32.as_pointer()), align=4)
    return context.get_dummy_value()


@compiled
def named_sums(x, w, bias, out, n):  # pragma: no cover
    """As `plain_sums`; positions up to the next multiple of 32 are written too."""
    for first in range(0, len(w), OUTPUTS):
        four_sums(x, w.shape[1], w, bias, first, out, n)


@compiled
def plain_sums(x, w, bias, out, n):  # pragma: no cover
    """A layer of n positions: x int16 [pairs, BLOCK, 2], w int16 [outputs, pairs, 2], bias int32 [outputs] ->
    out int32 [outputs, BLOCK].
    """
    for o in range(len(w)):
        for p in range(n):
            out[o, p] = bias[o]
        for k in range(w.shape[1]):
            a, b = np.int32(w[o, k, 0]), np.int32(w[o, k, 1])
            for p in range(n):
                out[o, p] = np.int32(
                    out[o, p] + np.int32(a * np.int32(x[k, p, 0])) + np.int32(b * np.int32(x[k, p, 1]))
                )


layer_sums = named_sums if NAMED else plain_sums


def paired(w: NDArray[np.int32]) -> NDArray[np.int16]:
    """Weights int32 [outputs, inputs] that fit 16 bits -> int16 [outputs up to a multiple of 4, pairs, 2]."""
    outputs, inputs = w.shape
    out = np.zeros((-(-outputs // OUTPUTS) * OUTPUTS, -(-inputs // 2) * 2), np.int16)
    out[:outputs, :inputs] = w
    return out.reshape(len(out), -1, 2)
