"""Named tensors of numbers: weights, checkpoints, caches, embeddings. Their bits are kept, whatever they
mean.
"""

from __future__ import annotations

import importlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from tersor.arrays import Numbers, Words
from tersor.errors import MissingDependencyError, SignalError
from tersor.signals.dtypes import BY_NUMPY_NAME, KINDS, NUMPY_NAMES, size_bytes


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tensor:
    """One tensor; `np.asarray(tensor)` is its values.

    Attributes:
        dtype: name of the type as in safetensors ("BF16", "F8_E4M3", "I4"); see `tersor.signals.dtypes`.
        shape: of its numbers.
        words: the bits, unsigned integers [n] in C order: uint8, uint16, uint32 or uint64 as wide as a number
            (complex ones are two words); numbers of less than 8 bits packed in uint8.

    Raises:
        SignalError: an unknown type, or words that do not fill the shape.
    """

    dtype: str
    shape: tuple[int, ...]
    words: Words

    def __post_init__(self) -> None:
        needed = size_bytes(self.dtype, self.shape)
        word = np.dtype(f"u{KINDS[self.dtype].word}")
        if self.words.dtype != word or self.words.ndim != 1 or self.words.nbytes != needed:
            raise SignalError(
                f"a tensor {list(self.shape)} of {self.dtype} has {self.words.nbytes} bytes as "
                f"{self.words.dtype} "
                f"{list(self.words.shape)}; needed are {needed} bytes as {word} in one axis"
            )

    @classmethod
    def of(cls, values: Any) -> Tensor:
        """From a numpy array; ml_dtypes' types too (int4 and uint4 are packed, the first of two in the low
        half).

        Raises:
            SignalError: numbers of a type that safetensors has no name for.
        """
        array = np.asarray(values)
        name = BY_NUMPY_NAME.get(array.dtype.name)
        if name is None:
            known = ", ".join(NUMPY_NAMES.values())
            raise SignalError(f"the array is {array.dtype}; allowed are {known}")
        shape = array.shape
        array = np.ascontiguousarray(array, array.dtype.newbyteorder("=")).reshape(-1)
        if KINDS[name].bits == 4:
            halves: Words = array.astype(np.int8).view(np.uint8) & np.uint8(15)
            size_bytes(name, shape)
            return cls(dtype=name, shape=shape, words=halves[::2] | halves[1::2] << np.uint8(4))
        return cls(dtype=name, shape=shape, words=array.view(f"u{KINDS[name].word}"))

    @property
    def nbytes(self) -> int:
        return int(self.words.nbytes)

    def numpy(self) -> Numbers:
        """Values, without a copy where numbers fill bytes.

        Raises:
            MissingDependencyError: the type is one of ml_dtypes', which is not installed.
            SignalError: neither numpy nor ml_dtypes has the type; `words` has its bits.
        """
        if self.dtype not in NUMPY_NAMES:
            raise SignalError(f"no array has numbers of type {self.dtype}; `words` are their bits")
        name = NUMPY_NAMES[self.dtype]
        try:
            dtype = np.dtype(name)
        except TypeError:
            try:
                import ml_dtypes
            except ImportError as e:
                raise MissingDependencyError(
                    f"arrays of {name} need ml_dtypes (pip install ml_dtypes); `words` are their bits"
                ) from e
            dtype = np.dtype(getattr(ml_dtypes, name))
        if KINDS[self.dtype].bits == 4:
            halves = np.stack([self.words & 15, self.words >> 4], 1).reshape(-1).view(np.int8)
            signed = halves - ((halves & 8) << 1) if self.dtype == "I4" else halves
            return signed.astype(dtype).reshape(self.shape)
        return self.words.view(dtype).reshape(self.shape)

    def float32(self) -> NDArray[np.float32]:
        """Values as float32: of bfloat16 and float16 exact, of float64 rounded.

        Raises:
            SignalError, MissingDependencyError: as `numpy`.
        """
        if self.dtype == "BF16":
            return (self.words.astype(np.uint32) << 16).view(np.float32).reshape(self.shape)
        return self.numpy().astype(np.float32)

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> Numbers:
        values = self.numpy()
        return np.array(values, dtype=dtype) if copy or dtype not in (None, values.dtype) else values

    def __repr__(self) -> str:
        return f"Tensor({self.dtype}, {list(self.shape)})"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tensors:
    """Tensors by name, in order.

    Attributes:
        entries: name -> tensor; two names may share one tensor (tied weights).
        metadata: text that belongs to the whole, as safetensors' `__metadata__`.
        files: of the safetensors files it was read from, name -> the header's bytes, in the order of
            `entries`; empty if it was not, or is only a part. With it files come back byte by byte.
        index: the index file of a model in several files, (name, bytes), or None.
        notes: what was changed on the way in, for people.
    """

    entries: Mapping[str, Tensor]
    metadata: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, bytes] = field(default_factory=dict)
    index: tuple[str, bytes] | None = None
    notes: tuple[str, ...] = ()

    def __getitem__(self, name: str) -> Tensor:
        try:
            return self.entries[name]
        except KeyError:
            raise SignalError(f"no tensor '{name}'; there are {some(self.entries)}") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> Numbers:
        """The only tensor's values."""
        if len(self) != 1:
            raise SignalError(f"{len(self)} tensors are no array; name one of {some(self.entries)}")
        return next(iter(self.entries.values())).__array__(dtype, copy)

    @property
    def nbytes(self) -> int:
        """Bytes of the tensors, tied ones once."""
        return sum(t.nbytes for t in {id(t): t for t in self.entries.values()}.values())

    def __repr__(self) -> str:
        return f"Tensors({len(self)} tensors, {self.nbytes} bytes)"

    def save(self, path: str | Path) -> None:
        """Write a .safetensors file, or an index (.safetensors.index.json) with its files beside it."""
        importlib.import_module("tersor.files.tensors").write_tensors(self, Path(path))


def some(names: Collection[str]) -> str:
    """The first names, for errors."""
    first = list(names)[:8]
    return ", ".join(first) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
