"""Weights, caches, embeddings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tersor.files.atomic import prepared
from tersor.files.kinds.base import Asked, Kind

if TYPE_CHECKING:
    from tersor.signals.tensors import Tensors


class TensorsKind(Kind["Tensors"]):
    called = "a file of tensors"
    suffixes = frozenset({".safetensors", ".safetensors.index.json"})
    codec = "tensor"
    at_once = False

    def read(self, source: Any, asked: Asked) -> Tensors:
        from tersor.files.tensors import read_tensors

        self.check(asked)
        return read_tensors(source)

    def to_bytes(self, signal: Tensors, suffix: str) -> bytes:
        from tersor.files.tensors import pieces

        return b"".join(pieces(signal, suffix))

    def write(self, signal: Tensors, path: Path | None, usual: str) -> tuple[str, ...]:
        from tersor.files.tensors import write_tensors

        if path is None:
            return super().write(signal, path, ".safetensors")
        write_tensors(signal, prepared(path))
        return ()

    def describe(self, signal: Tensors, size: int) -> tuple[str, str, dict[str, object]]:
        plural = "s" * (len(signal) != 1)
        ratio = signal.nbytes / size
        return (
            f"{len(signal)} tensor{plural}  {signal.nbytes:,} bytes",
            f"{size:,} bytes  {100 * size / max(1, signal.nbytes):.2f} %",
            {"ratio": round(ratio, 3)},
        )
