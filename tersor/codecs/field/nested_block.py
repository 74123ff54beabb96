"""A block predicted on nested grids, to bytes and back (FORMAT.md, "Nested block").

side = offset, unit | order | first cells | models | tables | sizes of the streams | specials | exact cells
body = raw bits | states | words
"""

from __future__ import annotations

import struct
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tersor.codecs.field import class_tables, nested
from tersor.codecs.field.cells import reconstruct, within
from tersor.codecs.field.effort import Effort
from tersor.codecs.field.nested import Floats, Ints, Plan
from tersor.codecs.field.nested_encode_loops import COLLECT, FIT, NOTHING, encode_passes, fit_key
from tersor.codecs.field.nested_fit_loops import RUN
from tersor.codecs.field.nested_loops import (
    CLASSES,
    FRACTION_BITS,
    LEAD,
    MAX_TAPS,
    N_FEATURES,
    VALUE_MAX,
    decode_passes,
)
from tersor.codecs.field.nested_models import Models, caps, pack_models, settle, units, unpack_models
from tersor.codecs.field.sections import (
    FRAMES,
    NESTED,
    OUTLIERS,
    SNAP,
    SPECIALS,
    pack_outliers,
    pack_side,
    pack_special,
    put_ints,
    take_ints,
    unpack_outliers,
    unpack_special,
)
from tersor.container import ByteReader, put_uvarint
from tersor.entropy import lanes
from tersor.entropy.letters import ESCAPE_BITS, FIRST_BUCKET, LETTERS, letters_of, raw_bits
from tersor.entropy.magnitude_tables import MagnitudeTables
from tersor.errors import BitstreamError
from tersor.timing import stage

MAX_TARGET = 1 << 35  # F: |value| of a cell, in units
FEW_LANES, MANY_CELLS = 4, 1 << 15  # F: lanes of a block with fewer cells
SEQUENCE = 4  # G: frames in a row that later ones are fitted to
FITTED_FROM = 16  # G: points of a key that are worth fitting


class NestedTrial:
    """A block predicted one way: fitted and quantised, not yet coded.

    Args:
        shape: of the block.
        target: float64 [cells], what the values should be, in units.
        valid: cells that count; empty for all.
        frames: axis 0 is a sequence.
        snap: values lie on a lattice, and units are its steps.
        order: of the axes.
        slope: of ghosts, in halves, 0 to 2.
        effort: how much is tried.
        tables: of frozen frequencies.

    Attributes:
        bits: that the letters take.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        target: Floats,
        valid: NDArray[np.bool_],
        frames: bool,
        snap: bool,
        order: tuple[int, ...],
        slope: int,
        effort: Effort,
        tables: MagnitudeTables,
    ) -> None:
        self.slope = slope
        self.snap, self.frames, self.shape = snap, frames, shape
        with stage("plan"):
            self.plan = p = nested.plan(shape, frames, order)
            self.target = _transposed(target, shape, order)
            self.valid = _transposed(valid, shape, order) if valid.size else valid
        with stage("prediction"):
            self.models = Models.of(p, snap)
            self.values, self.base, self.symbols, self.classes = self._code(effort)
            settle(self.models, p, snap)
        with stage("coder"):
            self.letters = np.empty(len(self.symbols), np.uint8)
            counts = np.zeros((CLASSES, LETTERS), np.int64)
            letters_of(self.symbols, self.classes, self.letters, counts)
            self.counts = counts
            self.tables, self.frequencies, self.bits = class_tables.choose(counts, tables, effort.measure)

    def _code(self, effort: Effort) -> tuple[Floats, Floats, NDArray[np.int32], NDArray[np.uint8]]:
        """The closed loop; what is not known yet is fitted on the way, but for frames after the first."""
        p, n = self.plan, self.target.size
        values, sizes = np.empty(p.room), np.empty(p.room, np.float32)
        one = 1 if self.snap else 1 << FRACTION_BITS
        starts = np.arange(p.frames) * (n // p.frames)
        base = np.floor(self.target[starts] / one + 0.5)
        if self.valid.size:
            base[~self.valid[starts]] = 0
        symbols, classes = np.empty(n - p.frames, np.int32), np.empty(n - p.frames, np.uint8)
        actions = np.where(p.points >= FITTED_FROM, FIT, NOTHING)
        if self.frames:
            later = len(actions) // 2 if p.frames > 1 else len(actions)
            actions[later:] = NOTHING
            self._train(effort, later)
            self.models.heads[:later] = -1  # not fitted yet: they begin as their parents will be
        places = np.zeros((len(actions), 3), np.int64)
        places[:, 2] = effort.samples
        most = effort.samples if actions.any() else 0
        room = np.empty((most, MAX_TAPS)), np.empty(most), np.empty((most, N_FEATURES))
        m = self.models
        fit = actions, p.points, p.parents, m.heads, units(self.snap), places
        models = m.stencils, m.weights, caps(self.snap), self.slope / 2
        out = symbols, classes
        encode_passes(
            values,
            sizes,
            p.g,
            p.passes,
            models,
            self.snap,
            self.target,
            self.valid,
            base * one,
            fit,
            room,
            out,
        )
        return values, base, symbols, classes

    def _train(self, effort: Effort, later: int) -> None:
        """Fit frames that have others before them to some short sequences: stencils first, then weights."""
        p, keys = self.plan, len(self.plan.points)
        actions = np.zeros(keys, np.int64)
        actions[later:] = np.where(p.points[later:] >= FITTED_FROM, COLLECT, NOTHING)
        places = np.zeros((keys, 3), np.int64)
        places[:, 2] = np.where(actions > 0, np.minimum(p.points, effort.samples), 0)
        places[:, 0] = np.cumsum(places[:, 2]) - places[:, 2]
        most = int(places[:, 2].sum())
        room = np.empty((most, MAX_TAPS)), np.empty(most), np.empty((most, N_FEATURES))
        m = self.models
        models = m.stencils, m.weights, caps(self.snap), self.slope / 2
        fit = actions, p.points, p.parents, m.heads, units(self.snap), places
        sequences = _sequences(p.frames, effort.sequences)
        for stencils in (True, False):
            places[:, 1] = 0
            for first, count in sequences:
                self._collect(first, count, actions, places, room, sum(c for _, c in sequences))
            for key in range(later, keys):
                start, have, own = places[key]
                if have < RUN:  # too few to know better
                    m.heads[key] = 1 if p.parents[key] >= 0 else 2, 0
                    continue
                samples = tuple(r[start : start + own] for r in room)
                axis = int(
                    p.passes[np.flatnonzero((p.passes[:, 5] == key - key % 2) & (p.passes[:, 2] >= 0))[0], 2]
                )
                fit_key(
                    samples,
                    have,
                    key,
                    (p.g, axis, key % 2, 2),
                    models,
                    self.snap,
                    fit,
                    stencils,
                    not stencils,
                )
            settle(m, p, self.snap)

    def _collect(
        self,
        first: int,
        count: int,
        actions: Ints,
        places: Ints,
        room: tuple[Floats, Floats, Floats],
        frames: int,
    ) -> None:
        """Samples of `count` frames from `first` on, which are coded after the two before as they are."""
        before = min(first, 2)
        p = nested.plan((before + count, *self.plan.shape[1:]), True, tuple(range(len(self.shape))))
        cells = self.target.size // self.plan.frames
        span = slice((first - before) * cells, (first + count) * cells)
        target, valid = self.target[span], self.valid[span] if self.valid.size else self.valid
        values, sizes = np.zeros(p.room), np.zeros(p.room, np.float32)
        one = 1 if self.snap else 1 << FRACTION_BITS
        rounded = np.floor(target / one + 0.5) * one
        g = [int(v) for v in p.g]
        view = np.lib.stride_tricks.as_strided(
            values[LEAD:], (before, *g[:4]), tuple(8 * s for s in (g[11], g[4], g[5], g[6], 1))
        )
        view[:] = rounded[: before * cells].reshape(view.shape)
        base = rounded[np.arange(before + count) * cells]
        n = count * (cells - 1)
        out = np.empty(n, np.int32), np.empty(n, np.uint8)
        kept = p.passes[p.passes[:, 3] >= before]
        few = replace(p, passes=kept)
        scaled = self.plan.points * frames // self.plan.frames
        m = self.models
        fit = actions, scaled, self.plan.parents, m.heads, units(self.snap), places
        models = m.stencils, m.weights, caps(self.snap), self.slope / 2
        encode_passes(
            values, sizes, few.g, few.passes, models, self.snap, target, valid, base, fit, room, out
        )

    def payload(
        self, flat: NDArray[Any], special: NDArray[np.bool_], bound: float, offset: float, unit: float
    ) -> tuple[bytes, float]:
        """Bytes, and which share of the cells is stored beside."""
        p = self.plan
        rebuilt = _cells(self.values, p, self.shape, offset, unit, self.snap, flat.dtype)
        wrong = ~within(flat, rebuilt, bound)
        wrong &= ~special
        with stage("coder"):
            known = self.frequencies > 0
            raw_letters = int(self.counts[:, FIRST_BUCKET:].sum() + self.counts[~known].sum())
            raw = np.zeros(raw_letters * (ESCAPE_BITS // 8 + 1) + 16, np.uint8)
            used = raw_bits(self.symbols, self.classes, self.letters, known, raw) if raw_letters else 0
            states, words = self._words()
        flags = (
            FRAMES * self.frames
            | SNAP * self.snap
            | SPECIALS * bool(special.any())
            | OUTLIERS * bool(wrong.any())
        )
        side = struct.pack("<dd", offset, unit) + bytes(
            [3 * nested.orders(len(p.order)).index(p.order) + self.slope]
        )
        side += put_ints(self.base.astype(np.int64)) + pack_models(self.models, p, self.snap) + self.tables
        side += put_uvarint(used) + put_uvarint(len(words))
        if flags & SPECIALS:
            side += pack_special(flat, ~special)
        if flags & OUTLIERS:
            side += pack_outliers(flat, wrong)
        body = raw[:used].tobytes() + states.astype("<u4").tobytes() + words.astype("<u2").tobytes()
        return pack_side(NESTED, flags, side) + body, float(wrong.mean())

    def _words(self) -> tuple[NDArray[np.uint32], NDArray[np.uint16]]:
        """The rANS stream: passes are its runs, coded last to first."""
        spacing = LETTERS + lanes.GAP
        table = np.zeros((CLASSES * spacing, 4), np.uint32)
        lanes.encoding_table(self.frequencies, np.arange(LETTERS), spacing, table)
        n = len(self.letters)
        states = np.full(lanes_of(n + self.plan.frames), lanes.LOWEST, np.uint32)
        words = np.empty(n + 1, np.uint16)
        at = lanes.encode_runs(self.letters, self.classes, self.plan.runs, spacing, table, states, words)
        return states, words[at:]


def _sequences(frames: int, often: int) -> list[tuple[int, int]]:
    """First frame and length of the sequences that frames are fitted to, spread over all."""
    if frames <= SEQUENCE * often:
        return [(0, frames)]
    return [((frames - SEQUENCE) * (2 * i + 1) // (2 * often), SEQUENCE) for i in range(often)]


def lanes_of(cells: int) -> int:
    return lanes.LANES if cells >= MANY_CELLS else FEW_LANES


def _transposed(flat: NDArray[Any], shape: tuple[int, ...], order: tuple[int, ...]) -> NDArray[Any]:
    return np.ascontiguousarray(flat.reshape(shape).transpose(order)).reshape(-1)


def _cells(
    values: Floats,
    p: Plan,
    shape: tuple[int, ...],
    offset: float,
    unit: float,
    snap: bool,
    dtype: np.dtype[Any],
) -> NDArray[Any]:
    """Cells of a block, [cells] in its own order."""
    known = nested.cells_of(values, p)
    if snap:
        out = reconstruct(known.astype(np.int64) << FRACTION_BITS, offset, unit, True, dtype)
    elif dtype.kind in "iu":
        out = reconstruct(known.astype(np.int64), offset, unit, False, dtype)
    else:
        known *= unit
        known += offset
        with np.errstate(over="ignore"):
            out = known.astype(dtype, copy=False)
    if p.order == tuple(range(len(p.order))):
        return out
    back = np.argsort(p.order)
    return np.ascontiguousarray(out.reshape(p.shape).transpose(back)).reshape(-1)


def decode_nested(
    side: ByteReader,
    body: bytes,
    flags: int,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    name: str,
    tables: MagnitudeTables,
) -> NDArray[Any]:
    """Cells [cells] of a block.

    Args:
        side: side information after mode and flags.
        body: the rest of the payload.

    Raises:
        BitstreamError: not a block of this shape.
    """
    count = int(np.prod(shape))
    offset, unit = struct.unpack("<dd", side.take(16))
    if not (np.isfinite(offset) and np.isfinite(unit) and unit > 0):
        raise BitstreamError(f"{name}: offset {offset}, unit {unit} are not a scale; the file is damaged")
    frames, snap = bool(flags & FRAMES), bool(flags & SNAP)
    (number, slope), orders = divmod(side.byte(), 3), nested.orders(len(shape))
    if number >= len(orders) or (frames and orders[number][0]) or (frames and len(shape) < 2):
        raise BitstreamError(f"{name}: order {number} of {len(shape)} axes is none; the file is damaged")
    p = nested.plan(shape, frames, orders[number])
    base = take_ints(side, p.frames).astype(np.float64) * (1 if snap else 1 << FRACTION_BITS)
    models = unpack_models(side, p, snap)
    frequencies = class_tables.unpack(side, tables)
    n = count - p.frames
    n_raw = side.uvarint(len(body), "bytes of raw bits")
    n_words = side.uvarint(n, "number of words")
    valid = np.empty(0, np.bool_)
    where, what = np.empty(0, np.int64), np.empty(0, dtype)
    if flags & SPECIALS:
        where, what = unpack_special(side, count, dtype)
        valid = np.ones(count, np.bool_)
        valid[where] = False
        valid = _transposed(valid, shape, p.order)
    fixed_at, fixed = unpack_outliers(side, count, dtype) if flags & OUTLIERS else (where[:0], what[:0])
    side.end()
    n_lanes = lanes_of(count)
    if len(body) != n_raw + 4 * n_lanes + 2 * n_words:
        raise BitstreamError(
            f"{name}: {len(body)} bytes where {n_raw + 4 * n_lanes + 2 * n_words} are announced; "
            "the file is damaged"
        )
    with stage("coder"):
        raw = np.zeros(n_raw + 8, np.uint8)
        raw[:n_raw] = np.frombuffer(body, np.uint8, n_raw)
        states = np.frombuffer(body, "<u4", n_lanes, n_raw).astype(np.uint32)
        words = np.zeros(n_words + n_lanes, np.uint16)
        words[:n_words] = np.frombuffer(body, "<u2", n_words, n_raw + 4 * n_lanes)
        slots = np.zeros(CLASSES << lanes.TABLE_BITS, np.uint32)
        lanes.decoding_table(frequencies, slots)
    with stage("prediction"):
        values, sizes = np.empty(p.room), np.empty(p.room, np.float32)
        work = (
            np.empty(p.largest),
            np.empty(p.largest, np.uint8),
            np.empty(p.largest, np.uint8),
            np.empty(p.largest, np.int32),
        )
        taken, bit = decode_passes(
            values,
            sizes,
            p.g,
            p.passes,
            (models.stencils, models.weights, caps(snap), slope / 2),
            snap,
            valid,
            base.clip(-VALUE_MAX, VALUE_MAX),
            (words, states, slots, LETTER_ALPHABET, raw),
            work,
        )
    if taken != n_words or -(-bit // 8) != n_raw or (states != lanes.LOWEST).any():
        raise BitstreamError(
            f"{name}: the coded values do not end where the block does; the file is damaged or was written "
            "with other tables"
        )
    out = _cells(values, p, shape, offset, unit, snap, dtype)
    out[where] = what
    out[fixed_at] = fixed
    return out


LETTER_ALPHABET = np.arange(256, dtype=np.uint8)  # F
