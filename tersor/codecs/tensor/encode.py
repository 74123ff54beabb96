"""Tensors -> index and chunks: which tensors are tied, how each is cut, and the chunks coded side by side."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tersor.arrays import Words
from tersor.codecs.tensor import chunk, quantised
from tersor.codecs.tensor.header import LOSSLESS, MAX_CHUNK_WORDS, MAX_NAME, TIED, Entry
from tersor.codecs.tensor.options import Rules, Settings
from tersor.errors import SignalError
from tersor.signals.tensors import Tensor, Tensors

# M: by tersor eval --codec tensor, on weights that packages ship.
CHUNK_WORDS = 1 << 21  # M: larger chunks save tables and hardly a thread waits for another
ROW_WORDS = 1 << 15  # G: axes are merged to rows of up to this
LONGEST_ROW = 1 << 20  # G: a longer last axis is cut
FEWEST_CHANNELS = 16  # G: of heads that are coded together
FLAT_ROW = 512  # G: rows of what has no axes to make rows of
LOOKED_AT = 1 << 12  # G: bytes that tell most tensors apart


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A tensor and how it is coded.

    Attributes:
        entry: of the header.
        tensor: its numbers.
        settings: without loss, or a bound.
        tokens: rows of a head in each chunk, of a bound.
        heads: of each chunk that see the same tokens.
    """

    entry: Entry
    tensor: Tensor
    settings: Settings
    tokens: int
    heads: int = 1


def plan(signal: Tensors, rules: Rules) -> list[Part]:
    """How each tensor is coded, in order.

    Raises:
        SignalError: a name that is too long.
    """
    found: dict[Any, list[tuple[int, Tensor]]] = {}
    out: list[Part] = []
    for i, (name, t) in enumerate(signal.entries.items()):
        if len(name.encode()) > MAX_NAME:
            raise SignalError(
                f"a tensor's name has {len(name)} letters ({name[:40]}...); allowed are {MAX_NAME} bytes"
            )
        settings = rules.of(name) if t.dtype in quantised.TYPES and t.shape and t.nbytes else Settings()
        columns, rows = shape_of_chunks(t) if settings.coding == LOSSLESS else shape_with_bound(t, settings)
        tokens = min(rows, t.shape[-2]) if len(t.shape) > 1 and columns == t.shape[-1] else rows
        heads = min(t.shape[-3], rows // tokens) if len(t.shape) > 2 and tokens == t.shape[-2] else 1
        entry = Entry(
            name=name,
            dtype=t.dtype,
            shape=t.shape,
            columns=columns,
            rows=rows,
            coding=settings.coding,
            asked=settings.asked,
        )
        alike = found.setdefault((t.dtype, t.shape, settings, zlib.crc32(t.words.data[:LOOKED_AT])), [])
        twin = next(
            (j for j, other in alike if t.words is other.words or np.array_equal(t.words, other.words)), None
        )
        if twin is None or not t.nbytes:
            alike.append((i, t))
        else:
            entry = Entry(name=name, dtype=t.dtype, shape=t.shape, coding=TIED, tied_to=twin)
        out.append(Part(entry=entry, tensor=t, settings=settings, tokens=tokens, heads=max(1, heads)))
    return out


def shape_with_bound(t: Tensor, settings: Settings) -> tuple[int, int]:
    """(words in a row, rows in a chunk): rows are tokens, and a chunk has whole heads, or whole runs from
    anchor to anchor.
    """
    columns = t.shape[-1]
    if columns > LONGEST_ROW:
        if settings.coding == "cosine_error":
            raise SignalError(f"vectors of {columns} numbers; allowed are {LONGEST_ROW} for a cosine_error")
        return shape_of_chunks(t)
    rows = len(t.words) // columns
    tokens = t.shape[-2] if len(t.shape) > 1 else 1
    most = max(1, CHUNK_WORDS // columns)
    unit = tokens if tokens <= most else max(1, settings.anchor)
    together = columns >= FEWEST_CHANNELS and len(t.shape) > 2
    if together and t.shape[-3] * tokens * columns <= MAX_CHUNK_WORDS:  # heads help each other
        unit, most = t.shape[-3] * tokens, MAX_CHUNK_WORDS // columns
    return columns, min(rows, max(unit, most // unit * unit))


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


def pieces(parts: Sequence[Part]) -> Iterator[tuple[Part, Words]]:
    """Words of each chunk of all tensors, as loops take them: aligned, writable."""
    for p in parts:
        size = p.entry.chunk_words
        for i in range(p.entry.chunks):
            yield p, np.require(p.tensor.words[i * size : (i + 1) * size], requirements=["C", "A", "W"])


def encode_piece(job: tuple[Part, Words]) -> bytes:
    """Payload of one chunk."""
    p, words = job
    if p.settings.coding == LOSSLESS or len(words) % p.entry.columns:
        return chunk.encode(words, p.entry.columns, p.entry.kind)
    heads = p.heads if len(words) % (p.heads * p.tokens * p.entry.columns) == 0 else 1
    return quantised.encode(words, p.entry.columns, p.tokens, p.entry.dtype, p.settings, heads)
