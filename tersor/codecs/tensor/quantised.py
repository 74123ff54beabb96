"""One chunk of a tensor with a bound: whole numbers of steps, coded as words (FORMAT.md, "Tensor chunk").

    values [heads, tokens, channels] --/ step of the group, rounded--> q --less anchor tokens, or middles of
    channels--> numbers --chunk.encode_words--> payload

    QUANTISED 3 | length of side information, side information (zlib) | the numbers as a chunk
        side:     tokens of a head | groups | anchor | step (float64) | least (int64) | bits | centred |
                  middle of each channel of a head (int32), if centred |
                  power k of each group (int16): its step is step 2^(k/16)
        numbers:  less the middles and the least, in the upper bits of words of 16 or 32 bits

A value is q times its group's step, one float64 product, rounded to the tensor's type. The encoder decodes
what it wrote and holds it against the bound; where that fails, or numbers are not finite, the chunk is coded
without loss.

Source: anchor tokens and steps for groups of channels or tokens after Y. Liu et al., "CacheGen" (SIGCOMM
2024), and Z. Liu et al., "KIVI" (ICML 2024). Entropy coding with classes of channels takes the place of their
bits for each layer.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from tersor.arrays import Words
from tersor.codecs.rate_control import bisect
from tersor.codecs.tensor import across, chunk, scales
from tersor.codecs.tensor.layout import number_layout
from tersor.codecs.tensor.options import GROUPS, MAX_ANCHOR, Settings
from tersor.container import ByteReader, put_uvarint
from tersor.errors import BitstreamError, SignalError
from tersor.signals.dtypes import KINDS

QUANTISED = 3  # F
CENTRED, ACROSS = 1, 2  # F: middles of channels are taken out; numbers are predicted across heads
TYPES = ("F16", "BF16", "F32", "F64")  # what can have a bound
FRACTIONS = 16  # F: steps of groups are 1/16 octave apart
# F: 2^(k/16), k = 0..15, as float64
POWERS = np.array([float.fromhex(h) for h in (
    "0x1.0000000000000p+0", "0x1.0b5586cf9890fp+0", "0x1.172b83c7d517bp+0", "0x1.2387a6e756238p+0",
    "0x1.306fe0a31b715p+0", "0x1.3dea64c123422p+0", "0x1.4bfdad5362a27p+0", "0x1.5ab07dd485429p+0",
    "0x1.6a09e667f3bcdp+0", "0x1.7a11473eb0187p+0", "0x1.8ace5422aa0dbp+0", "0x1.9c49182a3f090p+0",
    "0x1.ae89f995ad3adp+0", "0x1.c199bdd85529cp+0", "0x1.d5818dcfba487p+0", "0x1.ea4afa2a490dap+0",
)])  # fmt: skip
MAX_Q = 1 << 30  # F: |q| is below this
LEAST_TOKENS = 8  # G: rows of a head from which middles of channels are worth their bytes
FINEST = 1e-5  # G: relative error below which bits_per_value does not look
TRIES = 48  # G: finer steps for groups that break their bound
UNIFORM_ERROR = 12**0.5  # F: a step over the root mean square error of rounding to it
Floats = NDArray[np.float64]
Number = TypeVar("Number", bound=np.generic)


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """Steps of a chunk [rows, columns].

    Attributes:
        tokens: rows of a head.
        groups: of GROUPS.
        step: the common one.
        powers: int16 of each group, in FRACTIONS of an octave.
    """

    tokens: int
    groups: str
    step: float
    powers: NDArray[np.int16]

    def spread(self, rows: int, columns: int) -> Floats:
        """The step of each value, float64 [rows, columns], or something that broadcasts to it."""
        whole, part = np.divmod(self.powers.astype(np.int64), FRACTIONS)
        steps = np.ldexp(self.step * POWERS[part], whole)  # exact but for one rounding
        if self.groups == "token":
            return steps[:, None]
        each = steps.reshape(-(-rows // self.tokens), -1)
        return _each(each, self.tokens, rows)


def groups_of(rows: int, columns: int, tokens: int, groups: str) -> int:
    """Number of groups of a chunk."""
    heads = -(-rows // tokens)
    return {"tensor": heads, "channel": heads * columns, "token": rows}[groups]


def encode(words: Words, columns: int, tokens: int, dtype: str, settings: Settings, heads: int = 1) -> bytes:
    """Bytes of a chunk with a bound.

    Args:
        words: uint [n], bits of numbers of `dtype`, n a multiple of columns.
        columns: channels.
        tokens: rows of a head.
        dtype: of TYPES.
        settings: with a bound.
        heads: that see the same tokens.
    """
    x = to_floats(words, dtype).reshape(-1, columns)
    data = None
    if np.isfinite(x).all():
        if settings.coding == "bits_per_value":
            data = _to_size(x, tokens, dtype, settings, heads)
        else:
            data = _to_bound(x, tokens, dtype, settings, settings.asked, heads)
    return chunk.encode(words, columns, KINDS[dtype]) if data is None else data


def _to_size(x: Floats, tokens: int, dtype: str, settings: Settings, heads: int) -> bytes | None:
    """The smallest relative error whose chunk is not too long."""
    limit = settings.asked * x.size / 8

    def at(error: float) -> bytes | None:
        return _to_bound(x, tokens, dtype, settings, error, heads)

    best = bisect(at, lambda data: data is None or len(data) <= limit, 1.0, FINEST)
    if best is None and at(1.0) is not None:
        raise SignalError(
            f"{settings.asked:g} bits per value are too few for steps and tables; give more, or larger groups"
        )
    return best


def _to_bound(
    x: Floats, tokens: int, dtype: str, settings: Settings, asked: float, heads: int
) -> bytes | None:
    """A chunk that keeps the bound, or None if none was found."""
    rows, columns = x.shape
    number = groups_of(rows, columns, tokens, settings.groups)
    if settings.coding == "max_error":
        powers = np.zeros(-(-rows // tokens), np.int16)
        steps = Steps(tokens=tokens, groups="tensor", step=2 * asked, powers=powers)
    else:
        error = (2 * asked) ** 0.5 if settings.coding == "cosine_error" else asked
        size = _root_mean_square(x, tokens, settings.groups)
        largest = float(size.max())
        if largest == 0:
            return None
        step = largest * error * UNIFORM_ERROR
        least = np.maximum(size, largest * 2.0**-40)
        powers = np.floor(FRACTIONS * np.log2(least / largest)).astype(np.int16)
        steps = Steps(tokens=tokens, groups=settings.groups, step=step, powers=powers)
        assert len(powers) == number
    for _ in range(TRIES):
        spread = steps.spread(rows, columns)
        if float((np.abs(x) / spread).max()) >= MAX_Q / 2:
            return None
        q = np.rint(x / spread).astype(np.int64)
        broken = _broken(x, to_floats(from_floats(q * spread, dtype), dtype), tokens, settings, asked)
        if not broken.any():
            return _pack(q, steps, settings, heads)
        finer = steps.powers - broken
        if settings.coding == "max_error":
            # rounding to the type adds half its unit u. At half the step that is harmless: asked / 2 + u / 2
            # <= asked if

            # u <= asked, and if not, rounding leads back to the number itself, which is of the type
            finer = np.maximum(finer, -FRACTIONS)
        steps = Steps(tokens=tokens, groups=steps.groups, step=steps.step, powers=finer.astype(np.int16))
    return None


def _root_mean_square(x: Floats, tokens: int, groups: str) -> Floats:
    """Of each group, in order."""
    if groups == "token":
        return np.asarray(np.sqrt((x * x).mean(1)))
    heads = range(0, len(x), tokens)
    if groups == "tensor":
        return np.array([np.sqrt((x[i : i + tokens] ** 2).mean()) for i in heads])
    return np.concatenate([np.sqrt((x[i : i + tokens] ** 2).mean(0)) for i in heads])


def _broken(x: Floats, y: Floats, tokens: int, settings: Settings, asked: float) -> NDArray[np.bool_]:
    """Groups whose bound does not hold."""
    if settings.coding == "max_error":
        return np.array(
            [(np.abs(x[i : i + tokens] - y[i : i + tokens]) > asked).any() for i in range(0, len(x), tokens)]
        )
    if settings.coding == "cosine_error":
        return np.asarray(1 - cosines(x, y) > asked)
    error, size = (_root_mean_square(v, tokens, settings.groups) for v in (x - y, x))
    return np.asarray(error > asked * size)


def cosines(x: Floats, y: Floats) -> Floats:
    """Cosine of each row's two vectors; 1 if both are 0."""
    lengths = np.sqrt((x * x).sum(1) * (y * y).sum(1))
    return np.where(
        lengths > 0, (x * y).sum(1) / np.where(lengths > 0, lengths, 1), ((x == 0) & (y == 0)).all(1)
    )


def _pack(q: NDArray[np.int64], steps: Steps, settings: Settings, heads: int) -> bytes:
    columns = q.shape[1]
    d = q
    middles = b""
    if settings.anchor:
        d = _differences(q, steps.tokens, settings.anchor)
    elif steps.groups != "token" and steps.tokens >= LEAST_TOKENS:
        means = [np.rint(q[i : i + steps.tokens].mean(0)) for i in range(0, len(q), steps.tokens)]
        middle = np.array(means, np.int32)
        d = q - _each(middle, steps.tokens, len(q))
        middles = middle.astype("<i4").tobytes()
    weights, flags = b"", bool(middles) * CENTRED
    if not settings.anchor and steps.groups != "token" and len(q) % (heads * steps.tokens) == 0:
        together = across.gathered(d, heads, steps.tokens)
        if fitted := across.fit(together):
            d, columns, flags = fitted[0], together.shape[1], flags | ACROSS
            weights = put_uvarint(heads) + fitted[1]
    least = int(d.min())
    used = max(1, (int(d.max()) - least).bit_length())
    assert used <= 32, "|q| < 2^29, so differences stay below 2^30"
    high = ((d - least) << ((16 if used <= 16 else 32) - used)).reshape(-1)
    words: Words = high.astype(np.uint16) if used <= 16 else high.astype(np.uint32)
    size = (np.abs(d).astype(np.float32) + np.float32(0.5)).reshape(-1).view(np.uint32)
    levels = scales.Levels(words=size, at=23, bits=8)
    body = chunk.encode_words(words, columns, number_layout(words, used), levels)
    assert body is not None, "the layout was made for these numbers"
    side = put_uvarint(steps.tokens) + bytes([GROUPS.index(steps.groups)]) + put_uvarint(settings.anchor)
    side += struct.pack("<dqBB", steps.step, least, used, flags) + middles + weights
    packed = zlib.compress(side + steps.powers.astype("<i2").tobytes(), 9)
    return bytes([QUANTISED]) + put_uvarint(len(packed)) + packed + body


def _each(of_heads: NDArray[Number], tokens: int, rows: int) -> NDArray[Number]:
    """Rows [heads, ...] repeated for each token."""
    return np.repeat(of_heads, tokens, 0)[:rows]


def _anchors(rows: int, tokens: int, anchor: int) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """(which rows are anchors [rows, 1], the anchor of each row [rows])."""
    place = np.arange(rows) % tokens % anchor
    return (place == 0)[:, None], np.arange(rows) - place


def _differences(q: NDArray[np.int64], tokens: int, anchor: int) -> NDArray[np.int64]:
    """Every anchor-th token of a head stays, those up to the next become differences to it."""
    is_anchor, of = _anchors(len(q), tokens, anchor)
    return np.where(is_anchor, q, q - q[of])


def _sums(d: NDArray[np.int64], tokens: int, anchor: int) -> NDArray[np.int64]:
    """The inverse of `_differences`."""
    is_anchor, of = _anchors(len(d), tokens, anchor)
    return np.where(is_anchor, d, d + d[of])


def decode(data: bytes, columns: int, out: Words, dtype: str, name: str) -> None:
    """Words of a chunk with a bound.

    Args:
        data: of `encode`, from a QUANTISED byte on.
        columns: channels.
        out: uint [n], written.
        dtype: of the numbers.
        name: of the chunk, for errors.

    Raises:
        BitstreamError: bytes that no encoder writes.
    """
    r = ByteReader(data[1:], name)
    if dtype not in TYPES or len(out) % columns:
        raise BitstreamError(
            f"{name}: a bound on {len(out)} numbers of {dtype}, {columns} in a row; the file is damaged"
        )
    rows = len(out) // columns
    side = ByteReader(
        chunk.inflate(r.take(r.uvarint(chunk.MAX_SIDE, "length of side information")), name), name
    )
    tokens = side.uvarint(1 << 22, "tokens")
    code, anchor = side.byte(), side.uvarint(MAX_ANCHOR, "anchor")
    if tokens == 0 or code >= len(GROUPS):
        raise BitstreamError(f"{name}: heads of {tokens} tokens with groups {code}; the file is damaged")
    step, least, used, flags = struct.unpack("<dqBB", side.take(18))
    heads = -(-rows // tokens)
    middle = np.frombuffer(side.take(4 * heads * columns if flags & CENTRED else 0), "<i4").reshape(
        -1, columns
    )
    together = side.uvarint(across.MOST, "heads") if flags & ACROSS else 1
    whole = together and not rows % (together * tokens) and not anchor
    if flags & ~(CENTRED | ACROSS) or (flags & ACROSS and not whole):
        raise BitstreamError(
            f"{name}: flags {flags:#x}, {together} heads together; the file is damaged or newer"
        )
    wide = together * columns
    weights = across.unpack(side, wide, name) if flags & ACROSS else None
    powers = np.frombuffer(side.take(2 * groups_of(rows, columns, tokens, GROUPS[code])), "<i2").astype(
        np.int16
    )
    side.end()
    if not 1 <= used <= 32 or abs(least) > MAX_Q or not np.isfinite(step) or step <= 0:
        raise BitstreamError(
            f"{name}: numbers of {used} bits from {least} in steps of {step}; the file is damaged"
        )
    words: Words = np.empty(len(out), np.uint16 if used <= 16 else np.uint32)
    chunk.decode(r.take(len(r.data) - r.at), wide, words, name)
    words >>= words.dtype.type(8 * words.itemsize - used)
    d = words.reshape(-1, wide).astype(np.int64) + least
    if weights:
        d = across.scattered(across.rebuilt(d, weights, name), together, tokens)
    steps = Steps(tokens=tokens, groups=GROUPS[code], step=step, powers=powers)
    q = _sums(d, tokens, anchor) if anchor else d + _each(middle, tokens, rows) if flags & CENTRED else d
    with np.errstate(
        over="ignore", invalid="ignore"
    ):  # hostile steps; any number is as good as another there
        out[:] = from_floats(q * steps.spread(rows, columns), dtype).reshape(-1)


def to_floats(words: Words, dtype: str) -> Floats:
    """Bits of numbers -> float64, exactly."""
    with np.errstate(invalid="ignore"):  # signalling NaNs; their chunk is coded without loss
        if dtype == "BF16":
            return (words.astype(np.uint32) << 16).view(np.float32).astype(np.float64)
        return words.view(f"f{words.itemsize}").astype(np.float64)


def from_floats(x: Floats, dtype: str) -> Words:
    """float64 -> bits of numbers, to the nearest, ties to even; bfloat16 by way of float32."""
    with np.errstate(over="ignore"):
        if dtype == "BF16":
            bits = x.astype(np.float32).view(np.uint32).astype(np.uint64)
            return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)
        word = KINDS[dtype].word
        return x.astype(f"f{word}").view(f"u{word}")
