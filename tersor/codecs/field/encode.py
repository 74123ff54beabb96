"""From a field to the blocks of its file."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tersor.codecs.field.block_decode import decode_block
from tersor.codecs.field.block_encode import encode_block
from tersor.codecs.field.cells import Missing
from tersor.codecs.field.check import check
from tersor.codecs.field.header import Variable
from tersor.codecs.field.lattice import Lattice
from tersor.codecs.field.pointwise import decode_pointwise, encode_pointwise
from tersor.entropy.magnitude_tables import magnitude_tables
from tersor.timing import stage

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


def encode_checked(
    cells: NDArray[Any],
    odd: NDArray[np.bool_],
    missing: Missing,
    bound: float,
    pointwise: bool,
    lattice: Lattice | None,
) -> bytes:
    """A block's payload, decoded again and checked: the bound holds, cells in `odd` are as they were, and no
    other cell became what the variable calls missing or invalid (it is then kept aside as well).

    Raises:
        BoundError: a fault of this encoder.
    """
    decode = decode_pointwise if pointwise else decode_block
    while True:
        payload = (
            encode_pointwise(cells, bound, odd)
            if pointwise
            else encode_block(cells, bound, odd if odd.any() else None, lattice)
        )
        back = decode(payload, cells.shape, cells.dtype, "new block", magnitude_tables())
        with stage("check"):
            check(cells, odd, back, bound, pointwise)
            lost = missing.cells(back) & ~odd
        if not lost.any():
            return payload
        odd = odd | lost  # grows at every turn, so this ends
