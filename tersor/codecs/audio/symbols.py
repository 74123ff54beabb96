"""The integers in a sound file: what its segments say before any floating point is computed.
The same on every machine.
"""

from __future__ import annotations

from collections.abc import Iterator

from tersor.arrays import Integers
from tersor.codecs.audio.bands import block_length
from tersor.codecs.audio.header import WIRE_ID, AudioHeader
from tersor.codecs.audio.pcm import decode_pcm
from tersor.codecs.audio.segment import read_symbols
from tersor.codecs.base import check_codec
from tersor.container import Reader
from tersor.entropy.binary_tables import adaptive_tables


def symbols(file: bytes | Reader) -> Iterator[list[Integers]]:
    """The arrays of each segment, in order: samples [n, C] of the lossless mode; of the transform mode splits
    [T], envelope [C, T, bands], shapes [C, T, parts] if its profile has them, and quantised coefficients
    [C, T, block].

    Raises:
        BitstreamError: a damaged file. WeightsError: its tables are not installed.
    """
    reader = file if isinstance(file, Reader) else Reader(file)
    check_codec(reader, WIRE_ID)
    header = AudioHeader.unpack(reader.header, len(reader.chunk_lengths))
    tables = adaptive_tables(header.digest)
    for i in range(header.n_segments):
        payload, name = reader.chunk(i), f"segment {i}"
        if header.mode == "lossless":
            yield [decode_pcm(payload, header.length(i), header.channels, tables, name)]
        else:
            frames = -(-header.length(i) // block_length(header.rate))
            _, coded, q = read_symbols(payload, header.rate, header.channels, frames, tables, name)
            shapes = [] if coded.shapes is None else [coded.shapes]
            yield [coded.splits, coded.envelope, *shapes, q]
