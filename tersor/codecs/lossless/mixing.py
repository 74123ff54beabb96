"""Mixing in two layers: how the picture coders turn opinions about one bit into one probability, and learn.

    slots  --stretch--+
    inputs of the     +--> three rows of weights, each chosen by a context, learn each for itself
    caller -----------+        --> a final row of three weights --squash--> p
                               --> mean of p and of what followed when p was so in a context --> range coder

All of it is integer arithmetic. Bounds: a slot holds a probability of 22 bits and a count of 10 in 32.
|stretch| < 2^12, weights stay within 2^23 (they are clipped) and inputs are at most 32: sums stay below 2^40.
A weight moves by at most 2^12 2^16 2^4 / 2^20 = 2^12 at a time.

Source: Mahoney 2005, "Adaptive Weighing of Context Models for Lossless Data Compression"; layers and the
final stage as in his PAQ8.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tersor.codecs.lossless.arithmetic import STRETCH_MAX, Tables
from tersor.entropy.binary import AT, code_bit, finish_encoding, new_io, start_decoding
from tersor.entropy.compiled import inlined
from tersor.errors import BitstreamError

# F, all of them; M: those were measured with tools/studies.py lossless.
WEIGHT_LIMIT = 1 << 23
REFINED = 34  # F cells of a row of the final stage, 24 / 4096 of the range of logits each
RATE = 12  # M of the first layer
FINAL_RATE = 2  # M of the second
UNKNOWN = 1 << 31  # a slot that has seen nothing


class Mixer(NamedTuple):
    """What a chunk's decisions have taught.

    Attributes:
        slots: uint32 [S], 22-bit probability above a count of 10 bits.
        weights: int32 [R, N], of inputs, in 1/65536.
        final: int32 [F, 3], of the rows' results, in 1/65536.
        refined: int32 [A, REFINED], 16-bit probabilities.
        inputs: int32 [N], logits in 1/256; the slots' first, then the caller's.
        at: int64 [C], the slots of the contexts of this decision.
    """

    slots: NDArray[np.uint32]
    weights: NDArray[np.int32]
    final: NDArray[np.int32]
    refined: NDArray[np.int32]
    inputs: NDArray[np.int32]
    at: NDArray[np.int64]


def new_mixer(
    slots: int, contexts: int, weights: NDArray[np.int32], final: int, refined: int, tables: Tables
) -> Mixer:
    """A mixer that has seen nothing.

    Args:
        slots: how many.
        contexts: of a decision.
        weights: int32 [R, N] to start with.
        final: rows of the second layer.
        refined: contexts of the final stage.
        tables: of the arithmetic.
    """
    cells = np.minimum(np.arange(REFINED) * 4096 // 24, len(tables.squash) - 1)
    return Mixer(
        slots=np.full(slots, UNKNOWN, np.uint32),
        weights=weights.copy(),
        final=np.full((final, 3), 21845, np.int32),
        refined=np.tile(tables.squash[cells], (refined, 1)),
        inputs=np.zeros(weights.shape[1], np.int32),
        at=np.zeros(contexts, np.int64),
    )


def begin(payload: bytes, at: int) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """A decoder that has read its first word, and what it reads: the bytes of a payload from `at` on."""
    data = np.frombuffer(bytearray(payload[at:]), np.uint8)
    io = new_io(decoding=True)
    start_decoding(io, data, len(data))
    return io, data


def ended(io: NDArray[np.int64], buffer: NDArray[np.uint8]) -> bytes:
    """What an encoder wrote."""
    finish_encoding(io, buffer)
    assert io[AT] <= len(buffer)
    return buffer[: io[AT]].tobytes()


def check_end(io: NDArray[np.int64], size: int, name: str) -> None:
    """Raises: BitstreamError: the decoder did not stop where the encoder did."""
    if not io[AT] - 4 < size <= io[AT]:
        raise BitstreamError(f"{name}: the code ends at byte {io[AT]} of {size}; the file is damaged")


@inlined
def mixed_bit(
    io, buffer, mixer, tables, row0, row1, row2, final, context, count_max, bit
):  # pragma: no cover
    """Code a bit, learn from it, return it.

    Args:
        mixer: its `at` and the inputs after those of the contexts are the caller's to fill.
        row0, row1, row2: rows of the weights.
        final: row of the second layer.
        context: of the final stage.
        count_max: a slot forgets what is longer ago than this.
    """
    slots, weights, finals, refined, inputs, at = mixer
    stretch, squash, reciprocals = tables.stretch, tables.squash, tables.reciprocals
    for i in range(len(at)):
        inputs[i] = stretch[slots[at[i]] >> 20]
    s0, s1, s2 = np.int64(0), np.int64(0), np.int64(0)
    for i in range(len(inputs)):
        v = np.int64(inputs[i])
        s0 += v * weights[row0, i]
        s1 += v * weights[row1, i]
        s2 += v * weights[row2, i]
    s0 = min(max(s0 >> 16, -STRETCH_MAX), STRETCH_MAX)
    s1 = min(max(s1 >> 16, -STRETCH_MAX), STRETCH_MAX)
    s2 = min(max(s2 >> 16, -STRETCH_MAX), STRETCH_MAX)
    total = (s0 * finals[final, 0] + s1 * finals[final, 1] + s2 * finals[final, 2]) >> 16
    total = min(max(total, -STRETCH_MAX), STRETCH_MAX)
    p = np.int64(squash[total + STRETCH_MAX + 1])
    place = (total + STRETCH_MAX + 1) * 24
    cell, part = place >> 12, place & 4095
    low, high = np.int64(refined[context, cell]), np.int64(refined[context, cell + 1])
    refined_p = (low * (4096 - part) + high * part) >> 12
    coded = min(max((p + refined_p + 1) >> 1, 1), 65535)
    bit = code_bit(io, buffer, coded, bit)
    # learn
    error = ((bit << 16) - p) * FINAL_RATE
    f0 = finals[final, 0] + ((s0 * error + (1 << 19)) >> 20)
    f1 = finals[final, 1] + ((s1 * error + (1 << 19)) >> 20)
    f2 = finals[final, 2] + ((s2 * error + (1 << 19)) >> 20)
    finals[final, 0] = min(max(f0, -WEIGHT_LIMIT), WEIGHT_LIMIT)
    finals[final, 1] = min(max(f1, -WEIGHT_LIMIT), WEIGHT_LIMIT)
    finals[final, 2] = min(max(f2, -WEIGHT_LIMIT), WEIGHT_LIMIT)
    e0 = ((bit << 16) - np.int64(squash[s0 + STRETCH_MAX + 1])) * RATE
    e1 = ((bit << 16) - np.int64(squash[s1 + STRETCH_MAX + 1])) * RATE
    e2 = ((bit << 16) - np.int64(squash[s2 + STRETCH_MAX + 1])) * RATE
    for i in range(len(inputs)):
        v = np.int64(inputs[i])
        w0 = np.int64(weights[row0, i]) + ((v * e0 + (1 << 19)) >> 20)
        w1 = np.int64(weights[row1, i]) + ((v * e1 + (1 << 19)) >> 20)
        w2 = np.int64(weights[row2, i]) + ((v * e2 + (1 << 19)) >> 20)
        weights[row0, i] = min(max(w0, -WEIGHT_LIMIT), WEIGHT_LIMIT)
        weights[row1, i] = min(max(w1, -WEIGHT_LIMIT), WEIGHT_LIMIT)
        weights[row2, i] = min(max(w2, -WEIGHT_LIMIT), WEIGHT_LIMIT)
    aim = 65535 * bit
    refined[context, cell] = low + (((aim - low) * (4096 - part)) >> 18)
    refined[context, cell + 1] = high + (((aim - high) * part) >> 18)
    aim = (bit << 22) - bit
    for i in range(len(at)):
        slot = np.int64(slots[at[i]])
        count, q = slot & 1023, slot >> 10
        q += ((aim - q) * reciprocals[count]) >> 16
        slots[at[i]] = (q << 10) | min(count + 1, count_max)
    return bit
