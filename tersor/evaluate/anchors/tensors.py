"""Established compressors for tensors: zstd and ZipNN on the bytes of the file, pcodec on each tensor."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from tersor.arrays import Words
from tersor.errors import MissingDependencyError, SignalError
from tersor.signals.tensors import Tensors

ANCHORS = ("zstd", "zipnn", "pcodec")
ZSTD_LEVEL = 3
# ZipNN asks for the type of the numbers; it groups the bytes of a file by it
ZIPNN_TYPES = {"F32": "float32", "BF16": "bfloat16", "F16": "float16"}
C = TypeVar("C")  # what was coded
D = TypeVar("D")  # what came back


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One file: its size, and seconds to make it and to undo it."""

    bytes: int
    encode_seconds: float
    decode_seconds: float


def timed(encode: Callable[[], C], decode: Callable[[C], D], repeat: int = 3) -> tuple[C, D, float, float]:
    """-> what was coded, what came back, the least seconds of a few of each; the first call is not timed."""
    coded = encode()
    decoded = decode(coded)
    times: list[tuple[float, float]] = []
    for _ in range(repeat):
        began = time.perf_counter()
        coded = encode()
        between = time.perf_counter()
        decoded = decode(coded)
        times.append((between - began, time.perf_counter() - between))
    return coded, decoded, min(t[0] for t in times), min(t[1] for t in times)


def main_type(signal: Tensors) -> str:
    """The type of most of the bytes."""
    sizes: dict[str, int] = {}
    for t in signal.entries.values():
        sizes[t.dtype] = sizes.get(t.dtype, 0) + t.nbytes
    return max(sizes, key=lambda k: sizes[k])


def run_anchor(name: str, file: bytes, signal: Tensors) -> Result:
    """Encode and decode with all cores, checked.

    Args:
        name: of ANCHORS.
        file: a safetensors file.
        signal: what is in it.

    Raises:
        SignalError: unknown name, or numbers that did not come back.
        MissingDependencyError: the package is not installed.
    """
    if name not in ANCHORS:
        raise SignalError(f"no anchor for tensors is called '{name}'; there are {', '.join(ANCHORS)}")
    try:
        encode, decode, size = {"zstd": _zstd, "zipnn": _zipnn, "pcodec": _pcodec}[name](file, signal)
    except ImportError as e:
        package = {"zstd": "zstandard"}.get(name, name)
        raise MissingDependencyError(f"the anchor {name} needs pip install {package}") from e
    coded, decoded, encode_seconds, decode_seconds = timed(encode, decode)
    if (
        decoded != file
        if name != "pcodec"
        else not all(
            np.array_equal(a, b.words) for a, b in zip(decoded, signal.entries.values(), strict=True)
        )
    ):
        raise SignalError(f"{name}: the numbers did not come back")
    return Result(bytes=size(coded), encode_seconds=encode_seconds, decode_seconds=decode_seconds)


Codec = tuple[Callable[[], Any], Callable[[Any], Any], Callable[[Any], int]]


def _zstd(file: bytes, signal: Tensors) -> Codec:
    import zstandard

    compressor = zstandard.ZstdCompressor(ZSTD_LEVEL, threads=os.cpu_count() or 1)
    return lambda: compressor.compress(file), zstandard.ZstdDecompressor().decompress, len


def _zipnn(file: bytes, signal: Tensors) -> Codec:
    import zipnn

    kind = ZIPNN_TYPES.get(main_type(signal), "uint8")
    z = zipnn.ZipNN(bytearray_dtype=kind, input_format="byte", threads=os.cpu_count() or 1)
    # it groups the bytes of its input in place
    return lambda: z.compress(bytearray(file)), lambda coded: bytes(z.decompress(coded)), len


def _pcodec(file: bytes, signal: Tensors) -> Codec:
    from pcodec import ChunkConfig, standalone

    arrays = [
        t.words.view(f"f{t.words.itemsize}") if t.dtype in ("F16", "F32", "F64") else t.words
        for t in signal.entries.values()
    ]

    def encode() -> list[bytes]:
        return [
            standalone.simple_compress(a, ChunkConfig()) if a.itemsize > 1 else a.tobytes() for a in arrays
        ]

    def decode(coded: list[bytes]) -> list[Words]:
        return [
            standalone.simple_decompress(c).view(f"u{a.itemsize}")
            if a.itemsize > 1
            else np.frombuffer(c, "u1")
            for c, a in zip(coded, arrays, strict=True)
        ]

    return encode, decode, lambda coded: sum(map(len, coded))
