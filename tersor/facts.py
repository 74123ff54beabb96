"""What a .tsr file says of itself, from its header alone: `tersor info`, `tersor.info`, `File.info`.

The keys are fixed. What only one codec knows stands under `extra`, whose keys that codec's code chooses;
names that come out of files (variables) are values, never keys, so no file can overwrite a fact.
"""

from __future__ import annotations

from collections.abc import Iterator, KeysView, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from tersor.container import Reader


@dataclass(frozen=True, slots=True, kw_only=True)
class VariableFacts:
    """One array of a file.

    Attributes:
        name: may be empty.
        dtype: as numpy writes it.
        shape: of its axes.
        extra: what the codec says of it.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    extra: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Facts of one file. `facts["width"]` finds an attribute or, after them, an extra fact.

    Attributes:
        codec: its name.
        bytes: of the file.
        signal: what it decodes to: "image", "field", "integers", "audio".
        shape: of the samples; of several variables empty.
        parts: chunks.
        suffix: of the file that a command decodes it to if nothing else is said.
        overhead_bytes: of what stands before the chunks, without metadata.
        metadata: names of the blocks that travel along.
        variables: arrays that have names.
        extra: what only the codec knows.
    """

    codec: str
    bytes: int
    signal: str
    shape: tuple[int, ...]
    parts: int
    suffix: str
    overhead_bytes: int
    metadata: tuple[str, ...]
    variables: tuple[VariableFacts, ...] = ()
    extra: Mapping[str, object] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        reader: Reader,
        *,
        codec: str,
        signal: str,
        suffix: str,
        shape: tuple[int, ...] = (),
        variables: tuple[VariableFacts, ...] = (),
        extra: Mapping[str, object],
    ) -> Facts:
        """The facts of an opened file; what the container knows is filled in."""
        return cls(
            codec=codec,
            bytes=reader.size,
            signal=signal,
            shape=shape,
            parts=len(reader.chunk_lengths),
            suffix=suffix,
            overhead_bytes=reader.front_size - len(reader.metadata_bytes),
            metadata=tuple(sorted(reader.metadata)),
            variables=variables,
            extra=extra,
        )

    def keys(self) -> KeysView[str]:
        """Of the attributes, then of the extra facts."""
        return dict.fromkeys(self).keys()

    def __iter__(self) -> Iterator[str]:
        own = [f.name for f in fields(self) if f.name != "extra"]
        yield from own
        yield from (k for k in self.extra if k not in own)

    def __contains__(self, key: object) -> bool:
        return key in list(self)

    def __getitem__(self, key: str) -> Any:
        if key in (f.name for f in fields(self)):
            return getattr(self, key)
        return self.extra[key]

    def json(self) -> dict[str, object]:
        """As plain values; the keys are the attributes, and do not change."""
        return asdict(self)
