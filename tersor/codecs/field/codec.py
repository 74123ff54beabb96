"""Arrays of one to four axes (more are merged) with a guaranteed error bound, or without loss.

    array --blocks--> cells --special cells aside--> lattice? --block_encode.encode_block--> payload, decoded
    again and checked --> container

Blocks are independent: a slice decodes only those it touches. Everything runs on the CPU; blocks run side by
side on all cores, since the loops release the GIL. The reconstruction is integer arithmetic and one float64
product and sum: the same numbers on every machine.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tersor import container
from tersor.codecs.field.block_decode import decode_block
from tersor.codecs.field.cells import Missing
from tersor.codecs.field.decode import _asked, _by_dims, _overlap, _rows, _window
from tersor.codecs.field.encode import (
    BLOCK_CELLS,
    USUAL_OVERHEAD,
    CodedVariable,
    _block_shape,
    encode_checked,
)
from tersor.codecs.field.header import (
    DTYPES,
    MAX_AXES,
    WIRE_ID,
    FieldHeader,
    Variable,
    channels_last,
    coded_axes,
)
from tersor.codecs.field.lattice import find_lattice
from tersor.codecs.field.metadata import pack_attributes, unpack_attributes, with_coordinates
from tersor.codecs.field.options import Bound, resolve, value_range
from tersor.codecs.field.pointwise import decode_pointwise
from tersor.codecs.parallel import Progress
from tersor.codecs.rate_control import bisect
from tersor.entropy.magnitude_tables import MagnitudeTables, magnitude_tables
from tersor.errors import ChecksumError, SignalError
from tersor.files.coerce import as_field
from tersor.signals import Field, FieldSet


class FieldCodec:
    """Error-bounded coding of scientific fields; lossless coding of integers.

    Args:
        device: "auto" or "cpu"; the codec has no other.
        batch: ignored; blocks are as many as there are cores.
    """

    wire_id = WIRE_ID
    encode_options = (
        "max_error",
        "rel_error",
        "pointwise_rel_error",
        "target_psnr",
        "target_ratio",
        "lossless",
        "fill_value",
        "block",
    )
    decode_options = ("slices", "variables", "coordinates")

    def __init__(self, device: str = "auto", batch: int | None = None) -> None:
        if device not in ("auto", "cpu"):
            raise SignalError(f"the field codec runs on the CPU, not on '{device}'; use device auto or cpu")
        self.device = "cpu"
        self._pool_size = os.cpu_count() or 1

    def encode_batch(
        self,
        signals: Sequence[Any],
        *,
        fill_value: float | None = None,
        block: int = BLOCK_CELLS,
        progress: Progress | None = None,
        **bound: Any,
    ) -> list[bytes]:
        """One file for each array.

        Args:
            signals: arrays (numpy, masked, torch, anything with __array__), dicts of them, or paths of .npy
                and .nc files. The bound holds for every variable on its own; coordinates are kept exactly.
            fill_value: a value that marks missing cells; kept exactly and left out of ranges.
            block: most cells of a block, 4096 to 4194304.
            progress: called with (blocks done, blocks in all).
            bound: one of max_error, rel_error, pointwise_rel_error, target_psnr, target_ratio, lossless;
                rel_error=1e-3 if none is given.

        Raises:
            SignalError: a type that is not supported, or a bound that is not one.
        """
        if not 4096 <= block <= 1 << 22:
            raise SignalError(f"block is {block}; allowed are 4096 to {1 << 22} cells")
        asked = Bound.of(bound)
        return [self._encode(as_field(s), asked, fill_value, block, progress) for s in signals]

    def _encode(
        self,
        signal: Field | FieldSet,
        asked: Bound,
        fill_value: float | None,
        block: int,
        progress: Progress | None,
    ) -> bytes:
        fields = (
            [signal] if isinstance(signal, Field) else [f for f in signal.fields.values() if not f.is_text]
        )
        coded = [
            self.encode_variable(
                f, Bound.of({"lossless": True}) if f.exact else asked, fill_value, block, progress
            )
            for f in fields
        ]
        header = FieldHeader(digest=magnitude_tables().digest, variables=tuple(c.variable for c in coded))
        return container.write(
            WIRE_ID, header.pack(), pack_attributes(signal), [chunk for c in coded for chunk in c.chunks]
        )

    def encode_variable(
        self, field: Field, asked: Bound, fill_value: float | None, block: int, progress: Progress | None
    ) -> CodedVariable:
        """One array to its header and blocks."""
        x = field.values
        if x.dtype.newbyteorder("=") not in DTYPES or x.ndim > MAX_AXES:
            raise SignalError(
                f"the array {field.name} is {x.dtype} with {x.ndim} axes; "
                f"allowed are {', '.join(map(str, DTYPES))} with up to {MAX_AXES} axes"
            )
        native = x.astype(x.dtype.newbyteorder("="), copy=False)
        native = np.ascontiguousarray(
            np.moveaxis(native, 2, 0) if channels_last(x.shape) else native
        ).reshape(coded_axes(x.shape))
        native = native.view(np.uint8) if native.dtype == np.bool_ else native
        missing = Missing.of(field.attributes, field.encoding, fill_value)
        if asked.mode == "lossless":
            missing = replace(missing, low=-math.inf, high=math.inf)
        special = missing.cells(native)

        def code(bound: float) -> CodedVariable:
            return self._blocks(field, native, special, missing, asked, bound, block, progress)

        if asked.mode == "target_psnr":
            return self._search_psnr(native, special, asked, code)
        if asked.mode == "target_ratio":
            return self._search_ratio(native, special, asked, code)
        return code(resolve(asked, native, special))

    def _blocks(
        self,
        field: Field,
        x: NDArray[Any],
        special: NDArray[np.bool_],
        missing: Missing,
        asked: Bound,
        bound: float,
        block: int,
        progress: Progress | None,
    ) -> CodedVariable:
        shape = _block_shape(x.shape, block)
        variable = Variable(
            name=field.name,
            dtype=field.values.dtype,
            shape=field.values.shape,
            axes=x.shape,
            block=shape,
            mode=asked.mode,
            asked=asked.value,
            bound=bound,
        )
        places = list(variable.blocks()) if x.size else []
        lattice = find_lattice(x, special, bound if asked.mode != "pointwise_rel_error" else 0.0)

        def work(place: tuple[slice, ...]) -> bytes:
            cells, odd = np.ascontiguousarray(x[place]), np.ascontiguousarray(special[place])
            return encode_checked(cells, odd, missing, bound, asked.mode == "pointwise_rel_error", lattice)

        chunks = []
        with ThreadPoolExecutor(self._pool_size) as pool:
            for n, payload in enumerate(pool.map(work, places)):
                chunks.append(payload)
                if progress:
                    progress(n + 1, len(places))
        return CodedVariable(variable, chunks)

    def _search_psnr(
        self,
        x: NDArray[Any],
        special: NDArray[np.bool_],
        asked: Bound,
        code: Callable[[float], CodedVariable],
    ) -> CodedVariable:
        """The coarsest bound found whose decoded PSNR is at least the target."""
        low, high = value_range(x, special)

        def good(coded: CodedVariable) -> bool:
            v = coded.variable
            y = self._values(v, coded.chunks.__getitem__, 0, _window(None, v), magnitude_tables(), None)
            rmse = math.sqrt(float(np.square(np.subtract(x[~special], y[~special], dtype=np.float64)).mean()))
            return rmse == 0 or 20 * math.log10((high - low) / rmse) >= asked.value

        if not math.isfinite(high - low) or high == low:
            return code(0.0)
        start = resolve(asked, x, special)
        return bisect(code, good, start / 4, start * 16) or code(0.0)

    def _search_ratio(
        self,
        x: NDArray[Any],
        special: NDArray[np.bool_],
        asked: Bound,
        code: Callable[[float], CodedVariable],
    ) -> CodedVariable:
        """The smallest bound found whose chunks, and the usual header, are small enough."""
        low, high = value_range(x, special)
        wanted = x.nbytes / asked.value - USUAL_OVERHEAD
        exact = code(0.0)
        if exact.size <= wanted:
            return exact
        extent = high - low if math.isfinite(high - low) else sys.float_info.max
        if found := bisect(code, lambda c: c.size <= wanted, extent, extent * 1e-12):
            return found
        raise SignalError(
            f"a ratio of {asked.value:g} is out of reach: even at an error as large as the range the "
            f"file is larger than the {x.nbytes / asked.value:.0f} bytes wanted"
        )

    def decode_batch(
        self,
        files: Sequence[bytes | container.Reader],
        *,
        slices: Any = None,
        variables: Sequence[str] | None = None,
        coordinates: bool = True,
        progress: Progress | None = None,
    ) -> list[Field | FieldSet]:
        """Files to arrays; a FieldSet where the file holds named variables.

        Args:
            files: bytes of .tsr files, or opened containers.
            slices: as for indexing an array (a slice or a tuple of them; no steps, no integers): only the
                blocks that it touches are read. A dict of such by the names of axes applies to every variable
                that has them.
            variables: names of the variables to decode, all if None.
            coordinates: whether variables bring their coordinates along.
            progress: called with (blocks done, blocks in all).

        Raises:
            BitstreamError: a damaged file, with the block named.
            SignalError: slices or names that do not fit.
        """
        return [
            self._decode(
                f if isinstance(f, container.Reader) else container.Reader(f),
                slices,
                variables,
                coordinates,
                progress,
            )
            for f in files
        ]

    def _decode(
        self,
        reader: container.Reader,
        slices: Any,
        names: Sequence[str] | None,
        coordinates: bool,
        progress: Progress | None,
    ) -> Field | FieldSet:
        header = FieldHeader.unpack(reader.header, len(reader.chunk_lengths))
        tables = magnitude_tables(header.digest)
        described = unpack_attributes(reader.metadata)
        dims = {v.name: described.dims.get(v.name, ()) for v in header.variables} | {
            n: t.dims for n, t in described.texts.items()
        }
        if names is not None and (unknown := sorted(set(names) - set(dims))):
            raise SignalError(f"the file has no variable {', '.join(unknown)}; it has {', '.join(dims)}")
        wanted = (
            set(dims)
            if names is None
            else with_coordinates(names, dims, described.variables)
            if coordinates
            else set(names)
        )
        if isinstance(slices, dict) and (
            strange := sorted(set(slices) - {d for n in wanted for d in dims[n]})
        ):
            raise SignalError(
                f"no variable has an axis {', '.join(strange)}; "
                f"there are {', '.join(sorted({d for n in wanted for d in dims[n]}))}"
            )
        out, first = {}, 0
        for v in header.variables:
            if v.name in wanted:
                values = self.decode_variable(
                    v, reader.chunk, first, _by_dims(slices, dims[v.name]), tables, progress
                )
                out[v.name] = Field(
                    values=values,
                    name=v.name,
                    dims=dims[v.name],
                    attributes=described.variables.get(v.name, {}),
                    encoding=described.encodings.get(v.name, {}),
                )
            first += v.n_blocks
        if len(out) == 1 and "" in out:
            return out[""]
        for name, text in described.texts.items():
            if name in wanted:
                part = _by_dims(slices, text.dims) if isinstance(slices, dict) else None
                out[name] = replace(text, values=text.values[part or ...])
        return FieldSet(
            fields=out,
            attributes=described.attributes,
            encoding=described.encoding,
            asked=tuple(names or ()),
        )

    def decode_variable(
        self,
        v: Variable,
        chunk: Callable[[int], bytes],
        first: int,
        slices: Any,
        tables: MagnitudeTables,
        progress: Progress | None,
    ) -> NDArray[Any]:
        """The part of an array in its slices; its blocks start at chunk `first`."""
        window, rows = _window(slices, v), _rows(slices, v)
        values = self._values(v, chunk, first, window, tables, progress, rows)
        if channels_last(v.shape):
            return np.ascontiguousarray(np.moveaxis(values, 0, 2))
        if len(v.shape) in range(1, 5):
            return values
        return values[rows - window[0].start].reshape([s.stop - s.start for s in _asked(slices, v)])

    def _values(
        self,
        v: Variable,
        chunk: Callable[[int], bytes],
        first: int,
        window: tuple[slice, ...],
        tables: MagnitudeTables,
        progress: Progress | None,
        rows: NDArray[np.int64] | None = None,
    ) -> NDArray[Any]:
        """The part of a variable in a window of its coded axes; what is not in `rows` may be anything."""
        native = np.dtype(np.uint8) if v.dtype == np.bool_ else v.dtype.newbyteorder("=")
        out = np.empty([s.stop - s.start for s in window], native)
        wanted = (
            [(i, place) for i, place in enumerate(v.blocks()) if _overlap(place, window)] if out.size else []
        )
        if rows is not None:
            wanted = [w for w in wanted if np.diff(np.searchsorted(rows, (w[1][0].start, w[1][0].stop)))[0]]

        def work(item: tuple[int, tuple[slice, ...]]) -> None:
            i, place = item
            name = f"chunk {first + i} ({v.name + ', ' if v.name else ''}block {i})"
            try:
                payload = chunk(first + i)
            except ChecksumError as e:
                raise ChecksumError(f"{name}: {e}") from e
            shape = tuple(s.stop - s.start for s in place)
            decode = decode_pointwise if v.mode == "pointwise_rel_error" else decode_block
            cells = decode(payload, shape, native, name, tables)
            common = [
                slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(place, window, strict=True)
            ]
            source = tuple(
                slice(c.start - p.start, c.stop - p.start) for c, p in zip(common, place, strict=True)
            )
            to = tuple(
                slice(c.start - w.start, c.stop - w.start) for c, w in zip(common, window, strict=True)
            )
            out[to] = cells[source]

        with ThreadPoolExecutor(self._pool_size) as pool:
            for n, _ in enumerate(pool.map(work, wanted)):
                if progress:
                    progress(n + 1, len(wanted))
        values = out.view(np.bool_) if v.dtype == np.bool_ else out
        return values.astype(v.dtype, copy=False)
