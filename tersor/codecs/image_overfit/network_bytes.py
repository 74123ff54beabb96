"""The networks of one picture to bytes and back: for each group its step, then its integers by the adaptive
binary code.

chunk = e of 11 groups, a byte each | binary code of all values, group by group, tensor by tensor
"""

from __future__ import annotations

import numpy as np

from tersor.codecs.image_overfit.frozen import GROUPS, STEP_MAX, Quantised, used
from tersor.codecs.image_overfit.network import Shape
from tersor.codecs.image_overfit.network_loops import CONTEXTS, code_values
from tersor.entropy.binary import finish_encoding, new_io, start_decoding
from tersor.errors import BitstreamError, TruncatedError

AT = 3  # F: position of a coder in its buffer


def write_network(network: Quantised, shape: Shape) -> bytes:
    """The network chunk."""
    buffer = np.zeros(64 + 8 * sum(v.size for v in network.values.values()), np.uint8)
    io = new_io(False)
    for group in GROUPS:
        counts = np.zeros((CONTEXTS, 2), np.int64)
        for name in group:
            if not code_values(io, buffer, network.values[name][used(name, shape)].astype(np.int32), counts):
                raise AssertionError(f"a value of {name} is too large to be coded")
    finish_encoding(io, buffer)
    return bytes(network.steps[g] for g in GROUPS) + buffer[: io[AT]].tobytes()


def read_network(chunk: bytes, shape: Shape) -> Quantised:
    """The networks of a file.

    Raises:
        BitstreamError: the chunk is not such a network.
    """
    if len(chunk) < len(GROUPS):
        raise TruncatedError(
            f"chunk 0 (network): {len(chunk)} bytes, at least {len(GROUPS)} are needed; the file is damaged"
        )
    steps = dict(zip(GROUPS, chunk, strict=False))
    for group, e in steps.items():
        if e > STEP_MAX[group]:
            raise BitstreamError(
                f"chunk 0 (network): step {e} of {', '.join(group)}, allowed are 0 to {STEP_MAX[group]}; "
                "the file is damaged"
            )
    code = np.frombuffer(chunk, np.uint8, offset=len(GROUPS)).copy()
    io = new_io(True)
    start_decoding(io, code, len(code))
    values = {}
    for group in GROUPS:
        counts = np.zeros((CONTEXTS, 2), np.int64)
        for name in group:
            mask = used(name, shape)
            part = np.zeros(int(mask.sum()), np.int32)
            if not code_values(io, code, part, counts) or io[AT] > len(code) + 4:
                raise BitstreamError(f"chunk 0 (network): the code of {name} is not one; the file is damaged")
            values[name] = np.zeros(mask.shape, np.int32)
            values[name][mask] = part
    network = Quantised(values, steps)
    if write_network(network, shape) != chunk:
        raise BitstreamError("chunk 0 (network): its values are written otherwise; the file is damaged")
    return network
