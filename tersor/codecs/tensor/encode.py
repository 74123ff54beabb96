"""Tensors -> index and chunks: which tensors are tied, how each is cut, and the chunks coded side by side."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tersor.codecs.tensor import chunk
from tersor.codecs.tensor.header import LOSSLESS, MAX_NAME, TIED, Entry
from tersor.codecs.tensor.options import Rules
from tersor.errors import SignalError
from tersor.signals.tensors import Tensor, Tensors

CHUNK_WORDS = 1 << 21  # M (evaluate tensor): larger chunks save tables and hardly a thread waits for another
ROW_WORDS = 1 << 15  # G: axes are merged to rows of up to this
LONGEST_ROW = 1 << 20  # G: a longer last axis is cut
FLAT_ROW = 512  # G: rows of what has no axes to make rows of
LOOKED_AT = 1 << 12  # G: bytes that tell most tensors apart


def plan(signal: Tensors, rules: Rules) -> list[tuple[Entry, Tensor]]:
    """The entry of each tensor, in order.

    Raises:
        SignalError: a name that is too long, or a bound for numbers that are no floats.
    """
    found: dict[Any, list[tuple[int, Tensor]]] = {}
    out: list[tuple[Entry, Tensor]] = []
    for i, (name, t) in enumerate(signal.entries.items()):
        if len(name.encode()) > MAX_NAME:
            raise SignalError(f"a tensor's name has {len(name)} letters ({name[:40]}...); allowed are {MAX_NAME} bytes")
        settings = rules.of(name)
        alike = found.setdefault((t.dtype, t.shape, settings, zlib.crc32(t.words.data[:LOOKED_AT])), [])
        entry = Entry(name=name, dtype=t.dtype, shape=t.shape)
        twin = next((j for j, other in alike if t.words is other.words or np.array_equal(t.words, other.words)), None)
        if twin is not None and t.nbytes:
            out.append((replace(entry, coding=TIED, tied_to=twin), t))
            continue
        alike.append((i, t))
        columns, rows = shape_of_chunks(t)
        out.append((replace(entry, columns=columns, rows=rows, coding=LOSSLESS), t))
    return out


def shape_of_chunks(t: Tensor) -> tuple[int, int]:
    """(words in a row, rows in a chunk): rows are what scales vary over, chunks about equally large."""
    words, (columns, *more) = len(t.words), (*reversed(t.shape), 1)[:-1] or (1,)
    columns = columns * len(t.words) // max(1, math.prod(t.shape)) if t.shape else 1
    for n in more[:-1]:
        if columns * n > ROW_WORDS:
            break
        columns *= n
    if len(t.shape) < 2 or not 1 <= columns <= LONGEST_ROW:
        columns = min(FLAT_ROW, max(1, words))
    rows = max(1, -(-words // columns))
    chunks = -(-words // CHUNK_WORDS) or 1
    return columns, max(1, min(-(-rows // chunks), CHUNK_WORDS // columns * 2))


def pieces(entry: Entry, t: Tensor) -> Iterator[NDArray[Any]]:
    """Words of each chunk of a tensor, as loops take them: aligned, writable."""
    for first in range(0, entry.words if entry.chunks else 0, entry.chunk_words):
        yield np.require(t.words[first : first + entry.chunk_words], requirements=["C", "A", "W"])


def encode_piece(job: tuple[Entry, NDArray[Any]]) -> bytes:
    """Payload of one chunk."""
    entry, words = job
    return chunk.encode(words, entry.columns, entry.kind)
