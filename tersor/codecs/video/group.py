"""A group of frames to bytes and back: what one chunk of a video file holds. A group is decodable alone; its first frame needs no other.

Stand-in: samples rounded to a step, deflated. The interface is final, the bytes are not.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tersor.errors import BitstreamError, SignalError

Samples = NDArray[np.uint8] | NDArray[np.uint16]
Progress = Callable[[int, int], None]
DEPTHS = range(8, 13)


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupSettings:
    """How a group is coded.

    Attributes:
        quality: 1 to 100; stored in the payload.
        effort: 1 (fast) to 9 (small); the encoder's affair, decoders do not know it.
        low_delay: frames are coded in the order they are shown, so that each can be decoded as soon as it is there.
    """

    quality: int = 50
    effort: int = 5
    low_delay: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.quality <= 100:
            raise SignalError(f"quality is {self.quality}; allowed are 1 to 100")
        if not 1 <= self.effort <= 9:
            raise SignalError(f"effort is {self.effort}; allowed are 1 to 9")


def encode_group(
    planes: Sequence[Samples], *, depth: int, settings: GroupSettings, progress: Progress | None = None
) -> bytes:
    """Code a group of frames.

    Args:
        planes: one (grey) or three (luma, Cb, Cr) arrays [T, H, W], uint8 or uint16, values below 2^depth. Chroma has
            luma's height and width, or half of them, rounded up.
        depth: bits a sample, 8 to 12.
        settings: quality, effort, low delay.
        progress: called with (frames done, frames).

    Raises:
        SignalError: planes that do not fit together, or a depth out of range.
    """
    check_planes([p.shape for p in planes], depth)
    raw = b"".join(p.astype("<u2").tobytes() for p in planes)
    if progress:
        progress(len(planes[0]), len(planes[0]))
    return bytes([settings.quality]) + zlib.compress(raw)


def decode_group(
    payload: bytes,
    *,
    shapes: Sequence[tuple[int, int, int]],
    depth: int,
    name: str,
    frames: slice | None = None,
) -> list[NDArray[Any]]:
    """Decode a group, or some frames of it.

    Args:
        payload: what `encode_group` gave.
        shapes: (T, H, W) of each plane.
        depth: bits a sample.
        name: of the group, for messages.
        frames: which to return; all if None.

    Returns:
        Planes [n, H, W], uint8 where depth is 8, else uint16.

    Raises:
        BitstreamError: damaged bytes. Damage that only a checksum can see gives wrong samples of the right shape.
    """
    check_planes(shapes, depth)
    sizes = [int(np.prod(s)) for s in shapes]
    try:
        raw = zlib.decompressobj().decompress(payload[1:], 2 * sum(sizes) + 1)
    except zlib.error as e:
        raise BitstreamError(f"{name}: damaged ({e})") from e
    if len(raw) != 2 * sum(sizes):
        raise BitstreamError(
            f"{name}: {len(raw)} bytes of samples; {2 * sum(sizes)} are needed; the file is damaged"
        )
    flat = np.frombuffer(raw, "<u2").astype(np.uint8 if depth == 8 else np.uint16)
    parts = np.split(flat, np.cumsum(sizes)[:-1])
    return [p.reshape(s)[frames or slice(None)] for p, s in zip(parts, shapes, strict=True)]


def check_planes(shapes: Sequence[tuple[int, ...]], depth: int) -> None:
    """Raises SignalError for planes that cannot be coded together."""
    if depth not in DEPTHS:
        raise SignalError(f"depth is {depth} bits; allowed are 8 to 12")
    if len(shapes) not in (1, 3) or any(len(s) != 3 or min(s) < 1 for s in shapes):
        raise SignalError(
            f"planes have shapes {list(shapes)}; allowed are one or three of [T, H, W], none empty"
        )
    frames, height, width = shapes[0]
    allowed = {(frames, h, w) for h in (height, (height + 1) // 2) for w in (width, (width + 1) // 2)}
    if len(shapes) == 3 and (shapes[1] != shapes[2] or tuple(shapes[1]) not in allowed):
        raise SignalError(
            f"chroma planes have shapes {list(shapes[1:])}; allowed are equal ones of {sorted(allowed)}"
        )
