"""Arrays of one to four axes (more are merged) with a guaranteed error bound, or without loss.

    array --blocks--> cells --special cells aside--> lattice? --field_block.encode_block--> payload, decoded again and checked --> container

Blocks are independent: a slice decodes only those it touches. Everything runs on the CPU; blocks run side by side on all cores, since the loops release the GIL.
The reconstruction is integer arithmetic and one float64 product and sum: the same numbers on every machine.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tersor import container
from tersor.codecs.field_block import Lattice, decode_block, encode_block
from tersor.codecs.field_bounds import Bound, resolve, value_range
from tersor.codecs.field_header import DTYPES, MAX_AXES, WIRE_ID, FieldHeader, Variable, coded_axes
from tersor.entropy.magnitude import file_digest
from tersor.errors import BitstreamError, ChecksumError, SignalError, WeightsError
from tersor.signals import Field, as_field
from tersor.timing import stage

Progress = Callable[[int, int], None]
BLOCK_CELLS = 1 << 20
SEARCH_STEPS = 24
SEARCH_PRECISION = 1.01
LATTICE_SAMPLE = 1 << 16


class FieldCodec:
    """Error-bounded coding of scientific fields; lossless coding of integers.

    Args:
        device: "auto" or "cpu"; the codec has no other.
        batch: ignored; blocks are as many as there are cores.
    """

    wire_id = WIRE_ID
    encode_options = ("max_error", "rel_error", "pointwise_rel_error", "target_psnr", "target_ratio", "lossless", "fill_value", "block")
    decode_options = ("slices",)

    def __init__(self, device: str = "auto", batch: int | None = None) -> None:
        if device not in ("auto", "cpu"):
            raise SignalError(f"the field codec runs on the CPU, not on '{device}'; use device auto or cpu")
        self.device = "cpu"
        self._pool_size = os.cpu_count() or 1

    def encode_batch(
        self, signals: Sequence[Any], *, fill_value: float | None = None, block: int = BLOCK_CELLS, progress: Progress | None = None, **bound: Any
    ) -> list[bytes]:
        """One file for each array.

        Args:
            signals: arrays (numpy, masked, torch, anything with __array__) or paths of .npy files.
            fill_value: a value that marks missing cells; kept exactly and left out of ranges.
            block: most cells of a block, 4096 to 4194304.
            progress: called with (blocks done, blocks in all).
            bound: one of max_error, rel_error, pointwise_rel_error, target_psnr, target_ratio, lossless; rel_error=1e-3 if none is given.

        Raises:
            SignalError: a type that is not supported, or a bound that is not one.
        """
        if not 4096 <= block <= 1 << 22:
            raise SignalError(f"block is {block}; allowed are 4096 to {1 << 22} cells")
        asked = Bound.of(bound)
        return [self._encode(as_field(s), asked, fill_value, block, progress) for s in signals]

    def _encode(self, field: Field, asked: Bound, fill_value: float | None, block: int, progress: Progress | None) -> bytes:
        x = field.values
        if x.dtype.newbyteorder("=") not in DTYPES or x.ndim > MAX_AXES:
            raise SignalError(f"the array is {x.dtype} with {x.ndim} axes; allowed are {', '.join(map(str, DTYPES))} with up to {MAX_AXES} axes")
        native = np.ascontiguousarray(x.astype(x.dtype.newbyteorder("="), copy=False)).reshape(coded_axes(x.shape))
        native = native.view(np.uint8) if native.dtype == np.bool_ else native
        special = _special(native, fill_value)
        if asked.mode == "target_psnr":
            return self._search_psnr(field, native, special, asked, block, progress)
        if asked.mode == "target_ratio":
            return self._search_ratio(field, native, special, asked, block, progress)
        return self._file(field, native, special, asked, resolve(asked, native, special), block, progress)

    def _file(self, field: Field, x: NDArray[Any], special: NDArray[np.bool_], asked: Bound, bound: float, block: int, progress: Progress | None) -> bytes:
        shape = _block_shape(x.shape, block)
        variable = Variable(
            name=field.name, dtype=field.values.dtype, shape=field.values.shape, axes=x.shape, block=shape, mode=asked.mode, asked=asked.value, bound=bound
        )
        places = list(variable.blocks()) if x.size else []
        lattice = _lattice(x, special, bound if asked.mode != "pointwise_rel_error" else 0.0)

        def work(place: tuple[slice, ...]) -> bytes:
            cells, odd = np.ascontiguousarray(x[place]), np.ascontiguousarray(special[place])
            if asked.mode == "pointwise_rel_error":
                from tersor.codecs.field_pointwise import encode_pointwise

                return encode_pointwise(cells, bound, odd)
            payload = encode_block(cells, bound, odd if odd.any() else None, lattice)
            with stage("check"):
                _check(cells, odd, decode_block(payload, cells.shape, cells.dtype, "new block"), bound)
            return payload

        chunks = []
        with ThreadPoolExecutor(self._pool_size) as pool:
            for n, payload in enumerate(pool.map(work, places)):
                chunks.append(payload)
                if progress:
                    progress(n + 1, len(places))
        header = FieldHeader(digest=file_digest(), variables=(variable,))
        return container.write(WIRE_ID, header.pack(), field.metadata, chunks)

    def _search_psnr(self, field: Field, x: NDArray[Any], special: NDArray[np.bool_], asked: Bound, block: int, progress: Progress | None) -> bytes:
        """The coarsest bound found whose decoded PSNR is at least the target."""
        low, high = value_range(x, special)

        def encode(bound: float) -> bytes:
            return self._file(field, x, special, asked, bound, block, progress)

        def good(file: bytes) -> bool:
            y = self.decode_batch([file])[0].values.reshape(x.shape)
            rmse = math.sqrt(float(np.square(np.subtract(x[~special], y[~special], dtype=np.float64)).mean()))
            return rmse == 0 or 20 * math.log10((high - low) / rmse) >= asked.value

        if not math.isfinite(high - low) or high == low:
            return encode(0.0)
        start = resolve(asked, x, special)
        return _bisect(encode, good, start / 4, start * 16) or encode(0.0)

    def _search_ratio(self, field: Field, x: NDArray[Any], special: NDArray[np.bool_], asked: Bound, block: int, progress: Progress | None) -> bytes:
        """The smallest bound found whose file is small enough."""
        low, high = value_range(x, special)
        wanted = field.values.nbytes / asked.value

        def encode(bound: float) -> bytes:
            return self._file(field, x, special, asked, bound, block, progress)

        file = encode(0.0)
        if len(file) <= wanted:
            return file
        extent = high - low if math.isfinite(high - low) else np.finfo(np.float64).max
        if found := _bisect(encode, lambda f: len(f) <= wanted, extent, extent * 1e-12):
            return found
        raise SignalError(f"a ratio of {asked.value:g} is out of reach: even at an error as large as the range the file is larger than the {wanted:.0f} bytes wanted")

    def decode_batch(self, files: Sequence[bytes | container.Reader], *, slices: Any = None, progress: Progress | None = None) -> list[Field]:
        """Files to arrays.

        Args:
            files: bytes of .tsr files, or opened containers.
            slices: as for indexing an array (a slice or a tuple of them; no steps, no integers): only the blocks that it touches are read.
            progress: called with (blocks done, blocks in all).

        Raises:
            BitstreamError: a damaged file, with the block named.
            SignalError: slices that do not fit.
        """
        return [self._decode(f if isinstance(f, container.Reader) else container.Reader(f), slices, progress) for f in files]

    def _decode(self, reader: container.Reader, slices: Any, progress: Progress | None) -> Field:
        header = FieldHeader.unpack(reader.header, len(reader.chunk_lengths))
        if header.digest != file_digest():
            raise WeightsError(f"the file was written with tables {header.digest.hex()}, installed are {file_digest().hex()}; install the tersor that wrote it")
        if len(header.variables) != 1:
            raise BitstreamError(f"the file holds {len(header.variables)} variables; this tersor reads files of one")
        (v,) = header.variables
        native = np.dtype(np.uint8) if v.dtype == np.bool_ else v.dtype.newbyteorder("=")
        window = _window(slices, v)
        out = np.empty([s.stop - s.start for s in window], native)
        wanted = [(i, place) for i, place in enumerate(v.blocks()) if _overlap(place, window)] if out.size else []

        def work(item: tuple[int, tuple[slice, ...]]) -> None:
            i, place = item
            name = f"chunk {i} (block {i})"
            try:
                payload = reader.chunk(i)
            except ChecksumError as e:
                raise ChecksumError(f"block {i} of {v.n_blocks}: {e}") from e
            shape = tuple(s.stop - s.start for s in place)
            if v.mode == "pointwise_rel_error":
                from tersor.codecs.field_pointwise import decode_pointwise

                cells = decode_pointwise(payload, shape, native, name)
            else:
                cells = decode_block(payload, shape, native, name)
            common = [slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(place, window, strict=True)]
            source = tuple(slice(c.start - p.start, c.stop - p.start) for c, p in zip(common, place, strict=True))
            to = tuple(slice(c.start - w.start, c.stop - w.start) for c, w in zip(common, window, strict=True))
            out[to] = cells[source]

        with ThreadPoolExecutor(self._pool_size) as pool:
            for n, _ in enumerate(pool.map(work, wanted)):
                if progress:
                    progress(n + 1, len(wanted))
        values = out.reshape(v.shape) if slices is None else out
        values = values.view(np.bool_) if v.dtype == np.bool_ else values
        return Field(values=values.astype(v.dtype, copy=False), name=v.name, metadata=reader.metadata)


def _bisect(encode: Callable[[float], bytes], good: Callable[[bytes], bool], accepted: float, refused: float) -> bytes:
    """The last good file between a bound that is likely good and one that is likely not, in logarithmic steps; empty if none was good."""
    best = b""
    for step in range(SEARCH_STEPS):
        bound = accepted if step == 0 else math.sqrt(accepted) * math.sqrt(refused)
        file = encode(bound)
        if good(file):
            best, accepted = file, bound
        elif step == 0:
            return b""
        else:
            refused = bound
        if max(accepted, refused) < SEARCH_PRECISION * min(accepted, refused):
            break
    return best


def _special(x: NDArray[Any], fill_value: float | None) -> NDArray[np.bool_]:
    """Cells that are kept as they are."""
    special = ~np.isfinite(x) if x.dtype.kind == "f" else np.zeros(x.shape, np.bool_)
    if fill_value is not None and not math.isnan(fill_value):
        with np.errstate(over="ignore"):
            special |= x == np.asarray(fill_value).astype(x.dtype)
    return special


def _lattice(x: NDArray[Any], special: NDArray[np.bool_], bound: float) -> Lattice | None:
    """What the values lie on, if coding its points is at least as good as rounding to bins: integers, packed data; the integers of a float's bits are not one."""
    with np.errstate(over="ignore", invalid="ignore"):
        return _find_lattice(x[~special], bound)


def _find_lattice(known: NDArray[Any], bound: float) -> Lattice | None:
    if not known.size:
        return None
    if known.dtype.kind in "iu":
        whole = math.floor(min(bound, float(1 << 40)))
        low = int(known.min())
        return Lattice(offset=float(low), step=float(2 * whole + 1), exact=whole == 0) if abs(low) < 1 << 53 else None
    sample = np.unique(known[:: len(known) // LATTICE_SAMPLE + 1]).astype(np.float64)
    if len(sample) < 3:
        return None
    gaps = np.diff(sample)
    gaps = gaps[gaps > 4 * float(np.finfo(known.dtype).eps) * float(np.abs(sample).max())]
    if not len(gaps) or float(gaps.min()) < 2 * bound:
        return None
    step = float(gaps.min())
    # a mean over many steps is better than one gap, which carries the rounding of two values
    for _ in range(3):
        k = np.round((sample - sample[0]) / step)
        if k[-1] < 1 or k[-1] > 1 << 30:
            return None
        step = float((k * (sample - sample[0])).sum() / (k * k).sum())
    k = np.round((known.astype(np.float64) - sample[0]) / step)
    near = np.abs((sample[0] + k * step) - known.astype(np.float64)) <= max(bound, 0.0)
    same = (sample[0] + k * step).astype(known.dtype) == known
    exact = bool(same.mean() > 0.999)
    if exact or (bound > 0 and bool(near.mean() > 0.999)):
        return Lattice(offset=float(sample[0]), step=step, exact=exact)
    return None


def _check(x: NDArray[Any], special: NDArray[np.bool_], y: NDArray[Any], bound: float) -> None:
    """The promise: what the decoder gives is inside the bound, special cells are the same bits."""
    from tersor.codecs.field_block import within

    good = within(x.reshape(-1), y.reshape(-1), bound) | special.reshape(-1)
    kept = within(x[special], y[special], 0.0)
    assert good.all(), f"{int((~good).sum())} cells miss the bound {bound}"
    assert kept.all(), "special cells changed"


def _block_shape(axes: tuple[int, ...], cells: int) -> tuple[int, ...]:
    """Halve the longest axis until a block has at most this many cells."""
    shape = [max(1, n) for n in axes]
    while math.prod(shape) > cells:
        longest = max(range(len(shape)), key=lambda j: shape[j])
        shape[longest] = -(-shape[longest] // 2)
    return tuple(shape)


def _window(slices: Any, v: Variable) -> tuple[slice, ...]:
    if slices is None:
        return tuple(slice(0, n) for n in v.axes)
    if v.shape != v.axes:
        raise SignalError(f"slices of an array of {len(v.shape)} axes; blocks have at most 4: decode it whole")
    given = slices if isinstance(slices, tuple) else (slices,)
    if len(given) > len(v.shape) or not all(isinstance(s, slice) and s.step in (None, 1) for s in given):
        raise SignalError(f"slices {slices!r} do not fit an array of shape {v.shape}; give slice(start, stop) for its leading axes")
    out = []
    for s, n in zip((*given, *[slice(None)] * (len(v.shape) - len(given))), v.shape, strict=True):
        start, stop, _ = s.indices(n)
        out.append(slice(start, max(start, stop)))
    return tuple(out)


def _overlap(a: tuple[slice, ...], b: tuple[slice, ...]) -> bool:
    return all(p.start < q.stop and q.start < p.stop for p, q in zip(a, b, strict=True))
