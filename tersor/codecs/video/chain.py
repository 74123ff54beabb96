"""The frames of a group one by one, in the order they are shown: `encode_group` and `decode_group` of a
chain, in pieces, with no frame of delay.

    frame --coded--> settled bytes | 4 bytes that a decoder reads ahead --piece-->
    all settled bytes of a group, and the end: the payload that `encode_group` gives

A range coder's output lags behind by up to 4 bytes. A piece carries what the coder could write there to end
now (the lower bound of its interval); the next piece begins with what it did write, and a decoder takes that
instead.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tersor.arrays import Samples, sample_type
from tersor.codecs.video.group import (
    Group,
    GroupSettings,
    check_head,
    check_planes,
    decode_frame,
    read_head,
)
from tersor.codecs.video.model import start_tables
from tersor.codecs.video.structure import CHAIN
from tersor.entropy.binary import AT, CODE, LOW, finish_encoding, start_decoding
from tersor.errors import BitstreamError
from tersor.signals.colour import Planes

AHEAD = 4  # F: bytes of the coder's window
Shapes = Sequence[tuple[int, int]]


class FrameEncoder:
    """A group that is coded frame by frame.

    Attributes:
        head: of its payload.

    Args:
        shapes: (H, W) of each plane.
        frames: most of the group; it may end before.
        depth: bits of a sample.
        settings: quality and effort.
    """

    def __init__(self, shapes: Shapes, frames: int, *, depth: int, settings: GroupSettings) -> None:
        from tersor.codecs.video.effort import new_encoder  # only encoders load the search

        check_planes([(frames, *s) for s in shapes], depth)
        self._group = Group([(frames, *s) for s in shapes], depth, settings.head, start_tables())
        self._code = room_for(shapes)
        self._codec = self._group.start(self._code, decoding=False)
        self._search = new_encoder(self._codec, self._group, settings.effort)
        self.head = settings.head
        self._index, self._settled = 0, self.head

    def push(self, planes: Planes) -> bytes:
        """The next frame's piece.

        Args:
            planes: [H, W] each.
        """
        from tersor.codecs.video.effort import encode_frame

        i, group, io = self._index, self._group, self._codec.k.io
        group.begin(i)
        encode_frame(self._codec, self._search, list(planes), group.weight(group.steps[i]))
        group.finish(i, [])
        self._index += 1
        settled = self._code[: io[AT]].tobytes()
        io[AT] = 0  # what is settled never changes
        self._settled += settled
        return settled + int(io[LOW]).to_bytes(AHEAD, "big")

    def payload(self) -> bytes:
        """The whole group, once its last frame was given."""
        io = self._codec.k.io
        finish_encoding(io, self._code)
        return self._settled + self._code[: io[AT]].tobytes()


class FrameDecoder:
    """Pieces of a `FrameEncoder` in, frames out.

    Args:
        shapes: (H, W) of each plane.
        frames: most of the group.
        depth: bits of a sample.
        head: of the group's payload, checked.
        digest: of the tables it is coded with.
    """

    def __init__(self, shapes: Shapes, frames: int, *, depth: int, head: bytes, digest: bytes) -> None:
        self._shapes, self._depth = shapes, depth
        self._group = Group([(frames, *s) for s in shapes], depth, head, start_tables(digest))
        self._code = room_for(shapes)
        self._codec = self._group.start(self._code, decoding=True)
        self._index = 0

    def push(self, piece: bytes, name: str) -> Planes:
        """The frame of the next piece, [H, W] each.

        Raises:
            BitstreamError: damaged bytes.
        """
        if not AHEAD <= len(piece) <= len(self._code):
            raise BitstreamError(f"{name}: {len(piece)} bytes; needed are {AHEAD} to {len(self._code)}")
        i, group, io = self._index, self._group, self._codec.k.io
        self._code[: len(piece)] = np.frombuffer(piece, np.uint8)
        io[AT] = io[CODE] = 0
        start_decoding(io, self._code, len(piece))
        group.begin(i)
        decode_frame(self._codec)
        out = [np.empty(s, sample_type(self._depth)) for s in self._shapes]
        group.finish(i, [_alone(o, i) for o in out])
        if io[AT] != len(piece):
            raise BitstreamError(f"{name}: the symbols end at byte {io[AT]} of {len(piece)}; it is damaged")
        self._index += 1
        return tuple(out)


def check_chain(head: bytes, name: str) -> None:
    """Raises BitstreamError for the head of a payload that is not a chain's."""
    check_head(head, name)
    if read_head(head)[1] != CHAIN:
        raise BitstreamError(f"{name}: a single frame of a pyramid is not possible; leave it out")


def _alone(plane: Samples, index: int) -> Samples:
    """A view that has the plane as its frame `index`, and as all before."""
    shape, strides = (index + 1, *plane.shape), (0, *plane.strides)
    return np.lib.stride_tricks.as_strided(plane, shape, strides)


def room_for(shapes: Shapes) -> NDArray[np.uint8]:
    """For the code of one frame, however it looks."""
    return np.zeros(4096 + 4 * sum(h * w for h, w in shapes), np.uint8)
