"""Types of arrays, for annotations in every room."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

NumberType: TypeAlias = np.dtype[np.number[Any] | np.bool_]
Numbers: TypeAlias = NDArray[np.number[Any] | np.bool_]  # whose type only the file or the caller knows
Integers: TypeAlias = NDArray[np.integer[Any]]  # of any width
Floating: TypeAlias = NDArray[np.floating[Any]]  # of any width
Words: TypeAlias = NDArray[np.unsignedinteger[Any]]  # bits of numbers, whatever those mean
SampleType: TypeAlias = np.dtype[np.uint8 | np.uint16]
Samples: TypeAlias = NDArray[np.uint8 | np.uint16]  # of pictures and frames


def sample_type(bits: int) -> SampleType:
    """The smallest type of samples that holds so many bits, 1 to 16."""
    return np.dtype(np.uint8) if bits <= 8 else np.dtype(np.uint16)
