"""One segment of the lossless mode: integer samples to a payload and back.

payload = u8 low bits that are zero in every sample | u8 bits of the largest magnitude that is left | adaptive
code (pcm_loops.py)
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tersor.arrays import Integers
from tersor.codecs.audio.pcm_loops import code_pcm
from tersor.container import ByteReader
from tersor.entropy.binary import AT, finish_encoding, new_io, start_decoding
from tersor.entropy.binary_tables import AdaptiveTables, Model
from tersor.errors import BitstreamError
from tersor.timing import stage

MAX_BITS = 24  # F


def encode_pcm(x: Integers, tables: AdaptiveTables, model: Model | None = None) -> bytes:
    """Samples [n, C] of at most 24 significant bits.

    Args:
        x: integers, silence at 0.
        tables: the frozen state.
        model: used, and changed, instead of a fresh one; for training.
    """
    together = int(np.bitwise_or.reduce(x.astype(np.int64), axis=None)) if x.size else 0
    shift = (together & -together).bit_length() - 1 if together else 0
    values = np.ascontiguousarray(x.astype(np.int64) >> shift)
    bits = max(int(values.max()), ~int(values.min())).bit_length() if x.size else 0
    buffer, io = np.empty(8 * x.size + 64, np.uint8), new_io(False)
    with stage("entropy"):
        code_pcm(io, buffer, model or tables.model("pcm"), values, bits)
        finish_encoding(io, buffer)
    assert io[AT] <= len(buffer)
    return bytes([shift, bits]) + buffer[: io[AT]].tobytes()


def decode_pcm(
    payload: bytes, samples: int, channels: int, tables: AdaptiveTables, name: str
) -> NDArray[np.int64]:
    """Samples [n, C].

    Raises:
        BitstreamError: not a payload of this shape.
    """
    reader = ByteReader(payload, name)
    shift, bits = reader.byte(), reader.byte()
    if shift > 31:
        raise BitstreamError(f"{name}: {shift} zero bits, allowed are at most 31; the file is damaged")
    if bits > MAX_BITS - 1:
        raise BitstreamError(
            f"{name}: samples of {bits} bits and a sign, allowed are at most {MAX_BITS - 1}; "
            "the file is damaged"
        )
    code, io = np.frombuffer(bytearray(payload[2:]), np.uint8), new_io(True)
    x = np.zeros((samples, channels), np.int64)
    with stage("entropy"):
        start_decoding(io, code, len(code))
        code_pcm(io, code, tables.model("pcm"), x, bits)
    if not io[AT] - 4 < len(code) <= io[AT]:
        raise BitstreamError(
            f"{name}: the samples end at byte {io[AT]} of {len(code)}; "
            "the file is damaged or was written with other tables"
        )
    return x << shift
