"""Types of numbers, by safetensors' names: their width, and where a float keeps its exponent."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tersor.errors import SignalError


@dataclass(frozen=True, slots=True)
class Kind:
    """How numbers of one type lie in memory.

    Attributes:
        bits: of one number; those of less than 8 lie packed, lowest first, and only bytes are looked at.
        exponent: bits of it; 0 for integers.
        mantissa: explicit bits of it.
        parts: words of one number; 2 for complex ones.
    """

    bits: int
    exponent: int = 0
    mantissa: int = 0
    parts: int = 1

    @property
    def word(self) -> int:
        """Bytes of the unsigned integers that hold it, 1, 2, 4 or 8."""
        return max(1, self.bits // 8 // self.parts)


KINDS = {
    "BOOL": Kind(8),
    "U8": Kind(8),
    "I8": Kind(8),
    "U16": Kind(16),
    "I16": Kind(16),
    "U32": Kind(32),
    "I32": Kind(32),
    "U64": Kind(64),
    "I64": Kind(64),
    "F16": Kind(16, exponent=5, mantissa=10),
    "BF16": Kind(16, exponent=8, mantissa=7),
    "F32": Kind(32, exponent=8, mantissa=23),
    "F64": Kind(64, exponent=11, mantissa=52),
    "C64": Kind(64, exponent=8, mantissa=23, parts=2),
    "F8_E4M3": Kind(8, exponent=4, mantissa=3),
    "F8_E5M2": Kind(8, exponent=5, mantissa=2),
    "F8_E8M0": Kind(8),
    "F8_E4M3FNUZ": Kind(8, exponent=4, mantissa=3),
    "F8_E5M2FNUZ": Kind(8, exponent=5, mantissa=2),
    "F6_E2M3": Kind(6),
    "F6_E3M2": Kind(6),
    "F4": Kind(4),
    "I4": Kind(4),
    "U4": Kind(4),
}
# numpy's names, and ml_dtypes'; torch's are the same after "torch."
NUMPY_NAMES = {
    "BOOL": "bool",
    "U8": "uint8",
    "I8": "int8",
    "U16": "uint16",
    "I16": "int16",
    "U32": "uint32",
    "I32": "int32",
    "U64": "uint64",
    "I64": "int64",
    "F16": "float16",
    "BF16": "bfloat16",
    "F32": "float32",
    "F64": "float64",
    "C64": "complex64",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
    "F8_E8M0": "float8_e8m0fnu",
    "F8_E4M3FNUZ": "float8_e4m3fnuz",
    "F8_E5M2FNUZ": "float8_e5m2fnuz",
    "I4": "int4",
    "U4": "uint4",
}
BY_NUMPY_NAME = {v: k for k, v in NUMPY_NAMES.items()}


def size_bytes(dtype: str, shape: tuple[int, ...]) -> int:
    """Bytes of a tensor without gaps.

    Raises:
        SignalError: the type is unknown, or its numbers end inside a byte.
    """
    if dtype not in KINDS:
        raise SignalError(f"numbers of type {dtype!r}; known are {', '.join(KINDS)}")
    bits = KINDS[dtype].bits * math.prod(shape)
    if bits % 8:
        raise SignalError(f"a tensor {list(shape)} of {dtype} ends inside a byte; pad its last axis")
    return bits // 8
