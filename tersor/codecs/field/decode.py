"""From blocks back to arrays, or to the part that was asked for, a slab at a time.

A slab is the blocks of a variable that share their place along one axis, the first of the array: slabs join
to the array along it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from tersor.arrays import Numbers
from tersor.codecs.assembly import Assembly, Room
from tersor.codecs.field.block_decode import decode_block
from tersor.codecs.field.header import FieldHeader, Variable, channels_last
from tersor.codecs.field.metadata import Described, unpack_attributes, with_coordinates
from tersor.codecs.field.options import FieldDecodeOptions
from tersor.codecs.field.pointwise import decode_pointwise
from tersor.container import Reader
from tersor.entropy.magnitude_tables import MagnitudeTables, magnitude_tables
from tersor.errors import SignalError
from tersor.files.spool import release
from tersor.signals import Field, FieldSet

Window = tuple[slice, ...]


class Blocks:
    """The blocks of one variable that touch a window, slab by slab.

    Args:
        v: the variable.
        first: chunk of its first block.
        window: of the coded axes.
        fill: what cells of damaged blocks become.
        tables: that the file was written with.
        axis: coded axis along which slabs follow each other.
        rows: of the first axis, ascending, if not all of the window are wanted.

    Attributes:
        slabs: chunks of each, in order.
        shape: of the window.
    """

    def __init__(
        self,
        v: Variable,
        first: int,
        window: Window,
        fill: float,
        tables: MagnitudeTables,
        axis: int = 0,
        rows: NDArray[np.int64] | None = None,
    ) -> None:
        self.v, self.fill, self._window, self._tables, self._axis = v, fill, window, tables, axis
        self._native = np.dtype(np.uint8) if v.dtype == np.bool_ else v.dtype.newbyteorder("=")
        self.shape = tuple(s.stop - s.start for s in window)
        places = v.blocks() if math.prod(self.shape) else iter(())
        wanted = ((i, place) for i, place in enumerate(places) if _overlap(place, window))
        self._places = {first + i: (i, p) for i, p in wanted if rows is None or _among(rows, p[0]).size}
        by_slab: dict[int, list[int]] = {}
        for chunk, (_, place) in self._places.items():
            by_slab.setdefault(place[axis].start, []).append(chunk)
        self.slabs = [by_slab[start] for start in sorted(by_slab)]
        self._slab: Numbers | None = None
        self._origin = window

    def called(self, chunk: int) -> str:
        """ "t2m, block 3"."""
        return f"{self.v.name + ', ' if self.v.name else ''}block {self._places[chunk][0]}"

    def decode(self, chunk: int, payload: bytes) -> Numbers:
        """Cells of one block."""
        _, place = self._places[chunk]
        decode = decode_pointwise if self.v.mode == "pointwise_rel_error" else decode_block
        shape, name = tuple(s.stop - s.start for s in place), f"chunk {chunk} ({self.called(chunk)})"
        return decode(payload, shape, self._native, name, self._tables)

    def place(self, chunk: int, cells: Numbers | float) -> None:
        """Put the cells of a block, or one value for all, where they belong in their slab."""
        common, part = self._common_part(chunk, cells)
        if self._slab is None:
            rows = common[self._axis]
            self._origin = (*self._window[: self._axis], rows, *self._window[self._axis + 1 :])
            self._slab = np.empty([s.stop - s.start for s in self._origin], self._native)
        self._slab[_relative(common, self._origin)] = part

    def _common_part(self, chunk: int, cells: Numbers | float) -> tuple[Window, Numbers | float]:
        """What of a block lies in the window: where, and its cells."""
        _, place = self._places[chunk]
        common = tuple(_common(a, b) for a, b in zip(place, self._window, strict=True))
        return common, cells if isinstance(cells, float) else cells[_relative(common, place)]

    def slab(self) -> Numbers:
        """The slab whose blocks were placed, as coded."""
        assert self._slab is not None
        out, self._slab = self._slab, None
        return out

    def nothing(self) -> Numbers:
        """The window, where it has no cells."""
        return np.empty(self.shape, self._native)


class ArrayBlocks(Blocks):
    """The blocks of an array, given back as it went in, and joined.

    Args:
        slices: that were asked for, as `window_of` takes them.
        own_fill: the variable's `_FillValue`, if it has one.
    """

    def __init__(self, v: Variable, first: int, slices: Any, own_fill: Any, tables: MagnitudeTables) -> None:
        self._planes = channels_last(v.shape)
        self._rows = rows_of(slices, v)
        self._asked = [s.stop - s.start for s in asked_of(slices, v)]
        window, fill = window_of(slices, v), fill_of(v, own_fill)
        super().__init__(v, first, window, fill, tables, int(self._planes), self._rows)
        if self._rows is not None:
            self.shape = (self._rows.size, *self.shape[1:])
        self._joined: Numbers | None = None
        self._placed = False
        self._at = 0

    def into(self, room: Room) -> None:
        """Put blocks where they belong in an array of all cells; there are no slabs then."""
        if self.slabs:
            self._joined, self._placed = room(self._joined_shape, self.v.dtype), True

    @property
    def _joined_shape(self) -> tuple[int, ...]:
        return (*self.shape[1:], self.shape[0]) if self._planes else self.shape

    @property
    def asked_shape(self) -> tuple[int, ...]:
        """Of the array, or of the part of it that was asked for."""
        return tuple(self._asked)

    def place(self, chunk: int, cells: Numbers | float) -> None:
        if not self._placed:
            super().place(chunk, cells)
            return
        assert self._joined is not None
        common, part = self._common_part(chunk, cells)
        to = _relative(common, self._window)
        if self._rows is not None:
            mine = _among(self._rows, common[0])
            first = int(np.searchsorted(self._rows, mine[0]))
            to = (slice(first, first + mine.size), *to[1:])
            part = part if isinstance(part, float) else part[mine - common[0].start]
        target = np.moveaxis(self._joined, 2, 0) if self._planes else self._joined
        target = target.view(np.uint8) if self.v.dtype == np.bool_ else target
        target[to] = part
        release(self._joined)

    def piece(self) -> Numbers:
        """The slab whose blocks were placed; of merged axes the rows that were asked for. Nothing if they
        were placed in an array of all."""
        if self._placed:
            return np.empty(0, self._native)
        x = self.slab()
        if self._rows is not None:
            x = x[_among(self._rows, self._origin[0]) - self._origin[0].start]
        return self._as_it_was(x)

    def _as_it_was(self, x: Numbers) -> Numbers:
        x = x.view(np.bool_) if self.v.dtype == np.bool_ else x.astype(self.v.dtype, copy=False)
        return np.ascontiguousarray(np.moveaxis(x, 0, 2)) if self._planes else x

    def keep(self, piece: Numbers) -> None:
        if self._placed:
            return
        if len(self.slabs) == 1:
            self._joined = piece
            return
        if self._joined is None:
            self._joined = np.empty(self._joined_shape, piece.dtype)
        self._joined[self._at : self._at + len(piece)] = piece
        self._at += len(piece)

    def whole(self) -> Numbers:
        """The array, or the window of it."""
        x = self._as_it_was(self.nothing()) if self._joined is None else self._joined
        return x if len(self.v.shape) in range(1, 5) else x.reshape(self._asked)


class FieldAssembly(Assembly[Field | FieldSet]):
    """One file; a part is a slab of one of the variables that were asked for.

    Raises:
        SignalError: slices or names that do not fit.
    """

    def __init__(self, reader: Reader, options: FieldDecodeOptions) -> None:
        header = FieldHeader.unpack(reader.header, len(reader.chunk_lengths))
        tables = magnitude_tables(header.digest)
        self._described = described = unpack_attributes(reader.metadata)
        self._dims = dims = {v.name: described.dims.get(v.name, ()) for v in header.variables} | {
            n: t.dims for n, t in described.texts.items()
        }
        self._slices, self._asked = options.get("slices"), tuple(options.get("variables") or ())
        self._wanted = _wanted(options, dims, described)
        self._blocks: list[ArrayBlocks] = []
        first = 0
        for v in header.variables:
            if v.name in self._wanted:
                attributes = described.variables.get(v.name, {})
                own = attributes.get("_FillValue", attributes.get("missing_value"))
                mine = by_dims(self._slices, dims[v.name])
                self._blocks.append(ArrayBlocks(v, first, mine, own, tables))
            first += v.n_blocks
        self._parts = [(b, slab) for b in self._blocks for slab in b.slabs]
        self._of = {chunk: b for b, slab in self._parts for chunk in slab}
        super().__init__(reader, len(self._parts))

    @property
    def array(self) -> ArrayBlocks | None:
        """The array of a file that holds one without a name."""
        return self._blocks[0] if [b.v.name for b in self._blocks] == [""] else None

    def into(self, room: Room) -> None:
        for b in self._blocks:
            b.into(room)

    def decode(self, chunk: int, payload: bytes) -> Numbers:
        return self._of[chunk].decode(chunk, payload)

    def needs(self, part: int) -> Sequence[int]:
        return self._parts[part][1]

    def place(self, chunk: int, x: Numbers) -> None:
        self._of[chunk].place(chunk, x)

    def fill(self, chunk: int) -> None:
        self._of[chunk].place(chunk, self._of[chunk].fill)

    def piece(self, part: int) -> Numbers:
        return self._parts[part][0].piece()

    def keep(self, part: int, piece: Numbers) -> None:
        self._parts[part][0].keep(piece)

    def called(self, chunk: int) -> str:
        return self._of[chunk].called(chunk)

    def notes(self) -> tuple[str, ...]:
        return tuple(
            f"{self.called(i)} is damaged and was filled with {self._of[i].fill:g}"
            for i in sorted(self.damaged)
        )

    def finish(self) -> Field | FieldSet:
        described, notes = self._described, self.notes()
        out = {
            b.v.name: Field(
                values=b.whole(),
                name=b.v.name,
                dims=self._dims[b.v.name],
                attributes=described.variables.get(b.v.name, {}),
                encoding=described.encodings.get(b.v.name, {}),
            )
            for b in self._blocks
        }
        if len(out) == 1 and "" in out:
            return replace(out[""], notes=notes)
        for name, text in described.texts.items():
            if name in self._wanted:
                part = by_dims(self._slices, text.dims) if isinstance(self._slices, dict) else None
                out[name] = replace(text, values=text.values[part or ...])
        return FieldSet(
            fields=out,
            attributes=described.attributes,
            encoding=described.encoding,
            asked=self._asked,
            notes=notes,
        )


def _wanted(options: FieldDecodeOptions, dims: dict[str, tuple[str, ...]], described: Described) -> set[str]:
    """Names of the variables to decode."""
    names, slices = options.get("variables"), options.get("slices")
    if names is not None and (unknown := sorted(set(names) - set(dims))):
        raise SignalError(f"the file has no variable {', '.join(unknown)}; it has {', '.join(dims)}")
    wanted = set(dims) if names is None else set(names)
    if names is not None and options.get("coordinates"):
        wanted = with_coordinates(names, dims, described.variables)
    known = {d for n in wanted for d in dims[n]}
    if isinstance(slices, dict) and (strange := sorted(set(slices) - known)):
        raise SignalError(
            f"no variable has an axis {', '.join(strange)}; there are {', '.join(sorted(known))}"
        )
    return wanted


def fill_of(v: Variable, own: Any) -> float:
    """What cells of a damaged block become: the variable's own fill value, else NaN; 0 for integers."""
    if isinstance(own, (np.number, int, float)) and np.isreal(own):
        return float(cast(float, own))
    return math.nan if v.dtype.kind == "f" else 0.0


def by_dims(slices: Any, dims: tuple[str, ...]) -> Any:
    """Slices by the names of axes as slices by position."""
    return tuple(slices.get(d, slice(None)) for d in dims) or None if isinstance(slices, dict) else slices


def asked_of(slices: Any, v: Variable) -> list[slice]:
    """What was asked for, along every axis of the array.

    Raises:
        SignalError: no slices, too many, or with steps.
    """
    given = () if slices is None else slices if isinstance(slices, tuple) else (slices,)
    if len(given) > len(v.shape) or not all(isinstance(s, slice) and s.step in (None, 1) for s in given):
        raise SignalError(
            f"slices {slices!r} do not fit an array of shape {v.shape}; give slice(start, "
            "stop) for its leading axes"
        )
    out = []
    for s, n in zip((*given, *[slice(None)] * (len(v.shape) - len(given))), v.shape, strict=True):
        start, stop, _ = s.indices(n)
        out.append(slice(start, max(start, stop)))
    return out


def window_of(slices: Any, v: Variable) -> Window:
    """Slices of an array as a window of its coded axes; of merged axes the span that holds them.

    Raises:
        SignalError: they do not fit.
    """
    asked = asked_of(slices, v)
    if not asked:
        return tuple(slice(0, n) for n in v.axes)
    if channels_last(v.shape):
        return asked[2], *asked[:2]
    rows = rows_of(slices, v)
    if rows is None:
        return tuple(asked)
    return slice(int(rows[0]), int(rows[-1]) + 1) if rows.size else slice(0, 0), *asked[-3:]


def rows_of(slices: Any, v: Variable) -> NDArray[np.int64] | None:
    """Of merged leading axes, the rows that were asked for; None where no axes are merged."""
    if len(v.shape) <= 4:
        return None
    index = np.ix_(*(np.arange(s.start, s.stop) for s in asked_of(slices, v)[:-3]))
    return np.ravel_multi_index(np.broadcast_arrays(*index), v.shape[:-3]).reshape(-1)


def _among(rows: NDArray[np.int64], span: slice) -> NDArray[np.int64]:
    first, last = np.searchsorted(rows, (span.start, span.stop))
    return rows[first:last]


def _common(a: slice, b: slice) -> slice:
    return slice(max(a.start, b.start), min(a.stop, b.stop))


def _relative(window: Window, origin: Window) -> Window:
    return tuple(slice(w.start - o.start, w.stop - o.start) for w, o in zip(window, origin, strict=True))


def _overlap(a: Window, b: Window) -> bool:
    return all(p.start < q.stop and q.start < p.stop for p, q in zip(a, b, strict=True))
