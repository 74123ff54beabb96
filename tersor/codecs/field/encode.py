"""From one array to its header and blocks.

values --Survey--> cells --special cells aside--> lattice? --encode_block--> payload
payload --decode_block--> cells, held against the bound before the payload counts
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tersor.arrays import Numbers
from tersor.codecs.field.block_decode import decode_block
from tersor.codecs.field.block_encode import Way, encode_block
from tersor.codecs.field.cells import Missing
from tersor.codecs.field.check import check
from tersor.codecs.field.effort import USUAL
from tersor.codecs.field.header import DTYPES, MAX_AXES, Variable
from tersor.codecs.field.lattice import Lattice, find_lattice
from tersor.codecs.field.options import Bound
from tersor.codecs.field.pointwise import decode_pointwise, encode_pointwise
from tersor.codecs.field.survey import Survey
from tersor.codecs.parallel import Progress, Team
from tersor.entropy.magnitude_tables import magnitude_tables
from tersor.errors import SignalError
from tersor.signals import Field
from tersor.timing import stage


@dataclass(frozen=True, slots=True)
class CodedVariable:
    """One array of a file: its header and the payloads of its blocks, made as they are asked for.

    Attributes:
        squared_error: of all cells that are not special, by block.
    """

    variable: Variable
    payloads: Iterable[bytes]
    squared_error: list[float]

    @property
    def size(self) -> int:
        """Of payloads that were made."""
        assert isinstance(self.payloads, list)
        return sum(map(len, self.payloads))

    def made(self) -> CodedVariable:
        """With all payloads made."""
        return CodedVariable(self.variable, list(self.payloads), self.squared_error)


class VariableEncoder:
    """One array on its way to its blocks.

    Args:
        field: the array.
        asked: the bound.
        fill_value: that marks missing cells where the field has none of its own.
        block: most cells of a block.
        team: threads for blocks.
        progress: called with (blocks done, blocks in all).
        effort: 1 to 9.

    Attributes:
        cells: as they are coded.
        effort: as given.

    Raises:
        SignalError: an array of another type, or with too many axes.
    """

    def __init__(
        self,
        field: Field,
        asked: Bound,
        fill_value: float | None,
        block: int,
        team: Team,
        progress: Progress | None = None,
        effort: int = USUAL,
    ) -> None:
        x = field.values
        if x.dtype.newbyteorder("=") not in DTYPES or x.ndim > MAX_AXES:
            raise SignalError(
                f"the array {field.name} is {x.dtype} with {x.ndim} axes; "
                f"allowed are {', '.join(map(str, DTYPES))} with up to {MAX_AXES} axes"
            )
        self._field, self._asked, self._block = field, asked, block
        self._team, self._progress, self.effort = team, progress, effort
        missing = Missing.of(field.attributes, field.encoding, fill_value)
        if asked.mode == "lossless":
            missing = replace(missing, low=-math.inf, high=math.inf)  # nothing can leave a range
        self.cells = Survey(x, missing)

    @property
    def exact(self) -> bool:
        """Whether every bit is kept."""
        return self._asked.mode == "lossless"

    def described(self, bound: float) -> Variable:
        """What the header says of it."""
        x, axes = self._field, self.cells.axes
        return Variable(
            name=x.name,
            dtype=x.values.dtype,
            shape=x.values.shape,
            axes=axes,
            block=_block_shape(axes, self._block),
            mode=self._asked.mode,
            asked=self._asked.value,
            bound=bound,
        )

    def encode(self) -> CodedVariable:
        """The array within the bound that was asked for."""
        return self.code(self._asked.resolve(*self.cells.range))

    def code(self, bound: float, way: Way | None = None) -> CodedVariable:
        """Within an absolute bound, or one relative to each value; payloads as they are asked for.

        Args:
            bound: 0 for none.
            way: to predict, the only one that is tried.
        """
        cells, pointwise = self.cells, self._asked.mode == "pointwise_rel_error"
        variable = self.described(bound)
        lattice = find_lattice(cells, 0.0 if pointwise else bound)
        measured = self._asked.mode == "target_psnr"
        squared_error: list[float] = []

        def work(place: tuple[slice, ...]) -> tuple[bytes, float]:
            block, special = cells.block(place)
            payload, back = encode_checked(
                block, special, cells.missing, bound, pointwise, lattice, self.effort, way
            )
            return payload, _squared_error(block, back, special) if measured else 0.0

        def payloads() -> Iterator[bytes]:
            if not math.prod(cells.axes):
                return
            count = variable.n_blocks
            for n, (payload, error) in enumerate(self._team.ahead(work, variable.blocks())):
                squared_error.append(error)
                if self._progress:
                    self._progress(n + 1, count)
                yield payload
                cells.release()

        return CodedVariable(variable, payloads(), squared_error)


def encode_checked(
    cells: Numbers,
    odd: NDArray[np.bool_],
    missing: Missing,
    bound: float,
    pointwise: bool,
    lattice: Lattice | None,
    effort: int = USUAL,
    way: Way | None = None,
) -> tuple[bytes, Numbers]:
    """A block's payload, and what it decodes to: the bound holds, cells in `odd` are as they were, and no
    other cell became what the variable calls missing or invalid (it is then kept aside as well).

    Raises:
        BoundError: a fault of this encoder.
    """
    decode = decode_pointwise if pointwise else decode_block
    while True:
        payload = (
            encode_pointwise(cells, bound, odd, effort)
            if pointwise
            else encode_block(cells, bound, odd if odd.any() else None, lattice, effort, way)
        )
        back = decode(payload, cells.shape, cells.dtype, "new block", magnitude_tables())
        with stage("check"):
            check(cells, odd, back, bound, pointwise)
            lost = missing.cells(back) & ~odd
        if not lost.any():
            return payload, back
        odd = odd | lost  # grows at every turn, so this ends


def _squared_error(x: Numbers, y: Numbers, special: NDArray[np.bool_]) -> float:
    known = ~special
    return float(np.square(np.subtract(x[known], y[known], dtype=np.float64)).sum())


def _block_shape(axes: tuple[int, ...], cells: int) -> tuple[int, ...]:
    """Halve the longest axis until a block has at most this many cells."""
    shape = [max(1, n) for n in axes]
    while math.prod(shape) > cells:
        longest = max(range(len(shape)), key=lambda j: shape[j])
        shape[longest] = -(-shape[longest] // 2)
    return tuple(shape)
