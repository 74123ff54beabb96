"""From a field to the blocks of its file."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tersor.codecs.field.header import Variable

BLOCK_CELLS = 1 << 20
USUAL_OVERHEAD = 64


@dataclass(frozen=True, slots=True)
class CodedVariable:
    """One array of a file: its header and its blocks."""

    variable: Variable
    chunks: list[bytes]

    @property
    def size(self) -> int:
        return sum(map(len, self.chunks))


def _block_shape(axes: tuple[int, ...], cells: int) -> tuple[int, ...]:
    """Halve the longest axis until a block has at most this many cells."""
    shape = [max(1, n) for n in axes]
    while math.prod(shape) > cells:
        longest = max(range(len(shape)), key=lambda j: shape[j])
        shape[longest] = -(-shape[longest] // 2)
    return tuple(shape)
