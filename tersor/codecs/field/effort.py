"""What the encoder of fields does at each effort; decoders do not depend on it."""

from __future__ import annotations

from dataclasses import dataclass

USUAL = 5  # G


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How much is tried.

    Attributes:
        samples: most points of a pass that its models are fitted to.
        sequences: of frames that are looked at for what frames have in common.
        measure: whether frequencies of classes may be measured.
        slopes: of ghosts, in halves, that are tried in space.
        orders: whether other orders of axes are tried.
        trial_cells: cells of the middle of a block on which ways are compared.
        close: bits a cell up to which a way that is worse in the middle is tried on the whole block.
        grids: whether the prediction of version 0.1 is tried as well.
    """

    samples: int
    sequences: int
    measure: bool
    slopes: tuple[int, ...]
    orders: bool
    trial_cells: int
    close: float
    grids: bool

    @classmethod
    def of(cls, level: int) -> Effort:
        """Of 1 to 9."""
        return cls(
            samples=(2048, 2048, 4096, 4096, 8192, 8192, 16384, 16384, 32768)[level - 1],
            sequences=1 if level < 3 else 3 if level < 6 else 8,
            measure=level > 2,
            slopes=(1,) if level < 3 else (0, 2) if level < 8 else (0, 1, 2),
            orders=level > 3,
            trial_cells=1 << (14 if level < 3 else 15 if level < 8 else 17),
            close=0.0 if level < 6 else 0.01 if level < 8 else 0.05,
            grids=level > 7,
        )
