"""Integers without loss, as a picture or an array."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tersor.files.kinds.base import Asked, Kind
from tersor.files.kinds.field import FieldKind
from tersor.files.kinds.image import ImageKind

if TYPE_CHECKING:
    from tersor.signals import Field, Image


class IntegersKind(Kind["Image | Field"]):
    """Images and arrays; never the kind of a suffix, since both have their own."""

    called, suffixes, codec = "an image", frozenset(), "lossless"

    def __init__(self, image: ImageKind, field: FieldKind) -> None:
        self._image, self._field = image, field

    def read(self, source: Any, asked: Asked) -> Image | Field:
        from tersor.files.coerce import as_integers

        if Path(asked.name).suffix.lower() in self._field.suffixes:
            return as_integers(self._field.read(source, asked))
        self.check(asked)
        return as_integers(source, asked.page)

    def to_bytes(self, signal: Image | Field, suffix: str) -> bytes:
        return self._of(signal).to_bytes(signal, suffix)

    def write(self, signal: Image | Field, path: Path | None, usual: str) -> tuple[str, ...]:
        return self._of(signal).write(signal, path, usual)

    def describe(self, signal: Image | Field, size: int) -> tuple[str, str, dict[str, object]]:
        return self._of(signal).describe(signal, size)

    def _of(self, signal: Image | Field) -> Kind[Any]:
        return self._image if hasattr(signal, "samples") else self._field
