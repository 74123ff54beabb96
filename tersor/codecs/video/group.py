"""A group of frames to bytes and back: what one chunk of a video file holds. A group is decodable alone; its
first frame needs no other.

payload = u16 quality, in quarters | u8 structure | adaptive code of all frames in coding order
structure = distance of a pyramid, 0: a chain | how much finer than usual the first frame is << 6

    planes --pad to units--> frame by frame: decide, code, rebuild --> filter, keep as reference --> payload
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tersor.arrays import Samples, sample_type
from tersor.codecs.video import state
from tersor.codecs.video.block_loops import code_blocks, start_frame
from tersor.codecs.video.filter_loops import AREA, SQUARE
from tersor.codecs.video.frame_loops import finish_frame, smooth_frame
from tersor.codecs.video.model import Tables, costs, start_tables
from tersor.codecs.video.rate import LEAST, MOST, QUARTERS
from tersor.codecs.video.state import Codec, Coder, blocks_of
from tersor.codecs.video.structure import CHAIN, DISTANCES, Step, last_uses, steps_of
from tersor.codecs.video.tables import LEVELS, STEP_BITS, STEPS
from tersor.entropy.binary import AT, finish_encoding, new_io, start_decoding
from tersor.errors import BitstreamError, SignalError

Progress = Callable[[int, int], None]
Watch = Callable[[Codec, NDArray[np.int16]], None]
DEPTHS = range(8, 13)  # F
SIDE_MAX = 16384  # F
LAYER_LEVELS = (-16, 0, 12, 20, 28)  # F: added to the level of quantisation, by layer; 48ths of an octave
# M (tersor eval --codec video on three training clips, five scales): squared steps a bit is worth, by layer
BIT_WEIGHTS = (0.12, 0.15, 0.17, 0.19, 0.2)
CHROMA_LEVELS = -8  # F: of chroma against luma
FINER_LEVELS, FINER_MOST = 16, 3  # F: of a first frame that is finer, each time; how many times
HEAD = struct.Struct("<HB")  # F: quarters of quality, structure
DISTANCE_BITS = 6  # F: of the structure


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupSettings:
    """How a group is coded.

    Attributes:
        quality: 1 to 100, in quarters; stored in the payload.
        effort: 1 (fast) to 9 (small); the encoder's affair, decoders do not know it.
        low_delay: frames are coded in the order they are shown, so that each can be decoded as soon as it
            is there.
        distance: of the pyramid without low_delay.
        finer: 0 to 3, how much finer than usual the first frame is quantised, in thirds of an octave: what
            stands still is copied from it.
    """

    quality: float = 50
    effort: int = 5
    low_delay: bool = False
    distance: int = 8
    finer: int = 0

    def __post_init__(self) -> None:
        if not LEAST <= self.quality <= MOST or self.quality * QUARTERS % 1:
            raise SignalError(f"quality is {self.quality}; allowed are {LEAST} to {MOST}, in quarters")
        if not 1 <= self.effort <= 9:
            raise SignalError(f"effort is {self.effort}; allowed are 1 to 9")
        if self.distance not in DISTANCES:
            raise SignalError(f"distance is {self.distance}; allowed are {', '.join(map(str, DISTANCES))}")
        if not 0 <= self.finer <= FINER_MOST:
            raise SignalError(f"finer is {self.finer}; allowed are 0 to {FINER_MOST}")

    @property
    def head(self) -> bytes:
        """Of the payload."""
        structure = (CHAIN if self.low_delay else self.distance) | self.finer << DISTANCE_BITS
        return HEAD.pack(round(self.quality * QUARTERS), structure)


def encode_group(
    planes: Sequence[Samples], *, depth: int, settings: GroupSettings, progress: Progress | None = None
) -> bytes:
    """Code a group of frames.

    Args:
        planes: one (grey) or three (luma, Cb, Cr) arrays [T, H, W], uint8 or uint16, values below
            2^depth. Chroma has
            luma's height and width, or half of them, rounded up.
        depth: bits a sample, 8 to 12.
        settings: quality, effort, low delay.
        progress: called with (frames done, frames).

    Raises:
        SignalError: planes that do not fit together, or a depth out of range.
    """
    return encode_and_rebuild(planes, depth=depth, settings=settings, progress=progress, rebuild=False)[0]


def encode_and_rebuild(
    planes: Sequence[Samples],
    *,
    depth: int,
    settings: GroupSettings,
    progress: Progress | None = None,
    tables: Tables | None = None,
    watch: Watch | None = None,
    rebuild: bool = True,
) -> tuple[bytes, list[Samples]]:
    """`encode_group`, and the planes that a decoder will give, unless nobody wants them. Tables that are
    given learn on; `watch` sees every frame before it is filtered.
    """
    from tersor.codecs.video.effort import encode_frame, new_encoder  # only encoders load the search

    shapes = [p.shape for p in planes]
    check_planes(shapes, depth)
    if any(int(p.max()) >> depth for p in planes):
        raise SignalError(
            f"samples reach {max(int(p.max()) for p in planes)}; {depth} bits allow {(1 << depth) - 1}"
        )
    coder = Group(shapes, depth, settings.head, tables or start_tables())
    code = np.zeros(4096 + 4 * sum(p.size for p in planes), np.uint8)
    c = coder.start(code, decoding=False)
    e = new_encoder(c, coder, settings.effort)
    out = [np.empty(s, sample_type(depth)) for s in shapes] if rebuild else []
    for i, step in enumerate(coder.steps):
        coder.begin(i)
        encode_frame(c, e, [p[step.time] for p in planes], coder.weight(step), watch)
        coder.finish(i, out)
        if progress:
            progress(i + 1, len(coder.steps))
    finish_encoding(c.k.io, code)
    assert c.k.io[AT] <= len(code)
    return settings.head + code[: c.k.io[AT]].tobytes(), out


def decode_group(
    payload: bytes,
    *,
    shapes: Sequence[tuple[int, int, int]],
    depth: int,
    name: str,
    frames: slice | None = None,
    digest: bytes | None = None,
) -> list[Samples]:
    """Decode a group, or some frames of it.

    Args:
        payload: what `encode_group` gave.
        shapes: (T, H, W) of each plane.
        depth: bits a sample.
        name: of the group, for messages.
        frames: which to return; all if None. Only what comes before them in coding order is decoded.
        digest: of the tables that the group was written with (`model.start_digest`); None: those that
            encoders use.

    Returns:
        Planes [n, H, W], uint8 where depth is 8, else uint16.

    Raises:
        BitstreamError: damaged bytes. Damage that only a checksum can see gives wrong samples of the
            right shape.
    """
    check_planes(shapes, depth)
    if len(payload) <= HEAD.size:
        raise BitstreamError(
            f"{name}: {len(payload)} bytes; at least {HEAD.size + 1} are needed; the file is cut short"
        )
    head = payload[: HEAD.size]
    check_head(head, name)
    wanted = set(range(*(frames or slice(None)).indices(shapes[0][0])))
    coder = Group(shapes, depth, head, start_tables(digest))
    code = np.frombuffer(payload, np.uint8)[HEAD.size :].copy()
    c = coder.start(code, decoding=True)
    out = [np.empty(s, sample_type(depth)) for s in shapes]
    for i, step in enumerate(coder.steps):
        if not wanted:
            break
        coder.begin(i)
        decode_frame(c)
        coder.finish(i, out)
        wanted.discard(step.time)
    else:
        if not c.k.io[AT] - 4 < len(code) <= c.k.io[AT]:
            raise BitstreamError(
                f"{name}: the symbols end at byte {c.k.io[AT]} of {len(code)}; the file is damaged"
            )
    return [p[frames or slice(None)] for p in out]


def read_head(head: bytes) -> tuple[int, int, int]:
    """(quarters of quality, distance, finer) of a payload's head."""
    quarters, structure = HEAD.unpack(head)
    finer, distance = divmod(structure, 1 << DISTANCE_BITS)
    return quarters, distance, finer


def check_head(head: bytes, name: str) -> None:
    """Raises BitstreamError for a quality or distance that is not possible."""
    quarters, distance, _ = read_head(head)
    if not LEAST * QUARTERS <= quarters <= MOST * QUARTERS or distance not in (CHAIN, *DISTANCES):
        raise BitstreamError(
            f"{name}: quality {quarters / QUARTERS:g} and distance {distance} are not possible; the file is "
            "damaged"
        )


def decode_frame(c: Codec) -> None:
    """The blocks of the frame whose parameters are set, and its edges smoothed."""
    start_frame(c)
    code_blocks(c, 0, blocks_of(c))
    smooth_frame(c)


class Group:
    """The state of a group in coding: the arrays of the loops, and which frame lies where in the pool.

    Args:
        shapes: (T, H, W) of each plane.
        head: of the payload, checked.
        tables: their model changes while it codes.
    """

    def __init__(self, shapes: Sequence[tuple[int, ...]], depth: int, head: bytes, tables: Tables) -> None:
        self.shapes, self.depth, self._tables = shapes, depth, tables
        frames, height, width = shapes[0]
        quarters, distance, self._finer = read_head(head)
        self.steps = steps_of(frames, distance)
        self._uses = last_uses(self.steps)
        self.pool = pool_size(self.steps, self._uses)
        self.height, self.width = (-(-n // state.UNIT) * state.UNIT for n in (height, width))
        self._base = MOST * QUARTERS - quarters
        self._slots: dict[int, int] = {}
        self._shifts = (
            (0, 0) if len(shapes) == 1 else (int(shapes[1][1] != height), int(shapes[1][2] != width))
        )

    def start(self, code: NDArray[np.uint8], decoding: bool) -> Codec:
        """Allocate, and read the first word."""
        io = np.zeros(state.IO_SIZE, np.int64)
        io[: len(new_io(False))] = new_io(decoding)
        if decoding:
            start_decoding(io, code, len(code))
        k = Coder(io, code, np.zeros(8, np.int64), self._tables.model, costs())
        gh, gw = self.height // state.UNIT + 2, self.width // state.UNIT + 2
        margins = 2 * state.MARGIN
        self.codec = Codec(
            k=k,
            par=np.zeros(state.PARAMETERS, np.int64),
            frames=np.zeros((self.pool, 3, self.height + margins, self.width + margins), np.int16),
            motions=np.zeros((self.pool, gh, gw, state.MOTION), np.int64),
            grid=np.zeros((gh, gw, state.FIELDS), np.int64),
            planned=np.zeros((4, 4, state.FIELDS), np.int64),
            coefficients=np.zeros((3, state.BLOCK, state.BLOCK), np.int32),
            candidates=np.zeros((state.MAX_MERGE + 2, state.MOTION), np.int64),
            predictors=np.zeros((2, 2), np.int64),
            scratch=np.zeros((4, 48, 48), np.int32),
            edge=np.zeros((4, 160), np.int32),
            filters=self._tables.filters,
            filtered=np.zeros((2, *(n // AREA + 2 for n in (self.height, self.width))), np.int64),
            classes=np.zeros((3, *(n // SQUARE for n in (self.height, self.width))), np.int64),
            clean=np.zeros((3, self.height + margins, self.width + margins), np.int16),
        )
        return self.codec

    def level(self, step: Step) -> int:
        """Of quantisation of a frame's luma."""
        own = LAYER_LEVELS[min(step.layer, len(LAYER_LEVELS) - 1)]
        finer = 0 if step.layer else FINER_LEVELS * self._finer
        return int(np.clip(self._base + own - finer, 0, LEVELS - 1))

    def weight(self, step: Step) -> float:
        """Squared error that a bit is worth: of step sizes squared; encoders only."""
        size = float(STEPS[self.level(step)]) / (1 << STEP_BITS) * (1 << (self.depth - 8))
        return size * size * BIT_WEIGHTS[min(step.layer, len(BIT_WEIGHTS) - 1)]

    def begin(self, i: int) -> None:
        """Set the parameters of the i-th step's frame."""
        step, par = self.steps[i], self.codec.par
        free = min(set(range(self.pool)) - set(self._slots.values()))
        self._slots[step.time] = free
        level = self.level(step)
        par[state.HEIGHT], par[state.WIDTH], par[state.PLANES] = self.height, self.width, len(self.shapes)
        par[state.SHIFT_Y], par[state.SHIFT_X], par[state.DEPTH] = *self._shifts, self.depth
        par[state.CURRENT], par[state.REFS] = free, len(step.references)
        par[state.LEVEL], par[state.CHROMA_LEVEL] = level, max(level + CHROMA_LEVELS, 0)
        par[state.LAYER], par[state.TIME] = min(step.layer, 3), step.time
        for r, t in enumerate(step.references):
            par[state.REF_FIRST + r], par[state.REF_TIME_FIRST + r] = self._slots[t], t

    def finish(self, i: int, out: Sequence[Samples]) -> None:
        """Filter the frame, keep it while it is needed, and copy it to `out`, planes [T, H, W]."""
        step, frames = self.steps[i], self.codec.frames
        finish_frame(self.codec)
        for plane, o in enumerate(out):
            _, h, w = o.shape
            o[step.time] = frames[
                self._slots[step.time],
                plane,
                state.MARGIN : state.MARGIN + h,
                state.MARGIN : state.MARGIN + w,
            ]
        for t in [t for t in self._slots if self._uses[t] <= i]:
            del self._slots[t]


def pool_size(steps: list[Step], uses: dict[int, int]) -> int:
    """How many frames are alive at once."""
    return max(sum(1 for s in steps[: i + 1] if uses[s.time] >= i) for i in range(len(steps)))


def check_planes(shapes: Sequence[tuple[int, ...]], depth: int) -> None:
    """Raises SignalError for planes that cannot be coded together."""
    if depth not in DEPTHS:
        raise SignalError(f"depth is {depth} bits; allowed are 8 to 12")
    if len(shapes) not in (1, 3) or any(len(s) != 3 or min(s) < 1 for s in shapes):
        raise SignalError(
            f"planes have shapes {list(shapes)}; allowed are one or three of [T, H, W], none empty"
        )
    frames, height, width = shapes[0]
    if max(height, width) > SIDE_MAX or frames > 256:
        raise SignalError(
            f"a group is {frames} frames of {width} x {height}; allowed are 256 of {SIDE_MAX} x {SIDE_MAX}"
        )
    allowed = {(frames, h, w) for h in (height, (height + 1) // 2) for w in (width, (width + 1) // 2)}
    if len(shapes) == 3 and (shapes[1] != shapes[2] or tuple(shapes[1]) not in allowed):
        raise SignalError(
            f"chroma planes have shapes {list(shapes[1:])}; allowed are equal ones of {sorted(allowed)}"
        )
