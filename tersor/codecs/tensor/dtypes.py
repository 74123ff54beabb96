"""Types of numbers, by the names safetensors gives them: their width, and where a float keeps its exponent."""

from __future__ import annotations

from dataclasses import dataclass

from tersor.errors import SignalError


@dataclass(frozen=True, slots=True)
class Kind:
    """How numbers of one type lie in memory.

    Attributes:
        bits: of one number; less than 8: several share a byte, and a tensor's bytes are all that is looked at.
        lanes: numbers that make one value (2 for complex ones).
        mantissa: explicit bits of it; 0 with `exponent` 0 for integers.
        exponent: bits.
        code: byte in files (F).
    """

    bits: int
    code: int
    exponent: int = 0
    mantissa: int = 0
    lanes: int = 1

    @property
    def word(self) -> int:
        """Bytes of the unsigned integers that hold it."""
        return max(1, self.bits // 8 // self.lanes)


KINDS = {
    "BOOL": Kind(8, 0),
    "U8": Kind(8, 1),
    "I8": Kind(8, 2),
    "U16": Kind(16, 3),
    "I16": Kind(16, 4),
    "U32": Kind(32, 5),
    "I32": Kind(32, 6),
    "U64": Kind(64, 7),
    "I64": Kind(64, 8),
    "F16": Kind(16, 9, exponent=5, mantissa=10),
    "BF16": Kind(16, 10, exponent=8, mantissa=7),
    "F32": Kind(32, 11, exponent=8, mantissa=23),
    "F64": Kind(64, 12, exponent=11, mantissa=52),
    "C64": Kind(64, 13, exponent=8, mantissa=23, lanes=2),
    "F8_E4M3": Kind(8, 14, exponent=4, mantissa=3),
    "F8_E5M2": Kind(8, 15, exponent=5, mantissa=2),
    "F8_E8M0": Kind(8, 16),
    "F8_E4M3FNUZ": Kind(8, 17, exponent=4, mantissa=3),
    "F8_E5M2FNUZ": Kind(8, 18, exponent=5, mantissa=2),
    "F4": Kind(4, 19),
    "F6_E2M3": Kind(6, 20),
    "F6_E3M2": Kind(6, 21),
    "I4": Kind(4, 22),
    "U4": Kind(4, 23),
}
BY_CODE = {kind.code: name for name, kind in KINDS.items()}


def size_bytes(dtype: str, shape: tuple[int, ...]) -> int:
    """Bytes of a tensor, packed without gaps.

    Raises:
        SignalError: the type is unknown, or its numbers fill no whole bytes.
    """
    if dtype not in KINDS:
        raise SignalError(f"numbers of type {dtype}; known are {', '.join(KINDS)}")
    bits = KINDS[dtype].bits
    for n in shape:
        bits *= n
    if bits % 8:
        raise SignalError(f"a tensor {list(shape)} of {dtype} ends inside a byte; pad its last axis")
    return bits // 8
