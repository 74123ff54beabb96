"""Sound on its way in: the header and metadata that follow from it and from what is asked, and its samples a
part at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from tersor.arrays import Numbers
from tersor.codecs.audio.bands import block_length
from tersor.codecs.audio.header import MAX_SEGMENT, AudioHeader
from tersor.codecs.audio.options import ENCODE, SEGMENT_SECONDS, AudioEncodeOptions, content_of
from tersor.codecs.audio.pcm import MAX_BITS
from tersor.codecs.tags import pack_tags
from tersor.entropy.binary_tables import adaptive_tables
from tersor.errors import BitstreamError, SignalError
from tersor.signals import Audio, AudioSource

LOUDEST = 2.0**32  # G: samples above are no sound
LAYOUT = "layout"  # F: key of the metadata


def header_of(source: Audio | AudioSource, options: AudioEncodeOptions) -> AudioHeader:
    """The header of a sound; nothing is coded yet, and the number of samples of a source is not known.

    Raises:
        SignalError: floats, or more than 24 bits, without loss; a segment out of range.
    """
    whole = source.samples if isinstance(source, Audio) else np.zeros((0, source.channels), source.dtype)
    bits = source.bits or 8 * whole.dtype.itemsize
    asked, value = ENCODE.asked(options, "target")
    lossless = asked == "lossless"
    if lossless:
        if whole.dtype.kind == "f":
            raise SignalError(
                "lossless is for 8-, 16- and 24-bit integers, and these samples are floats; "
                "convert them, or give a quality or bitrate"
            )
        if bits > MAX_BITS and isinstance(source, Audio) and whole.size:
            low = int(np.bitwise_or.reduce(whole, axis=None))
            bits = bits if low & ((1 << (bits - MAX_BITS)) - 1) else MAX_BITS
        if bits > MAX_BITS:
            raise SignalError(
                f"lossless takes up to {MAX_BITS} significant bits, and these samples have {bits}; "
                "give a quality or bitrate"
            )
    tables = adaptive_tables()
    speech = not lossless and content_of(options.get("content"), whole.shape[1]) == "speech"
    return AudioHeader(
        digest=tables.digest if speech else tables.base_digest,
        mode="lossless" if lossless else "transform",
        rate=source.rate,
        channels=whole.shape[1],
        samples=len(whole),
        dtype=whole.dtype,
        bits=bits,
        segment=check_segment(options["segment"] or SEGMENT_SECONDS, source.rate),
        asked=asked,
        value=float(value),
    )


def pieces(source: Audio | AudioSource, length: int) -> Iterator[Numbers]:
    """The samples [n, channels] of a sound, a part at a time."""
    if not isinstance(source, Audio):
        yield from source.blocks()
        return
    for at in range(0, len(source.samples), length):
        yield source.samples[at : at + length]


def check_finite(x: Numbers, first: int) -> None:
    """Raises: SignalError at the first sample that is not a finite number or far too loud; `first` is the
    number of x[0].
    """
    if x.dtype.kind == "f" and not (fits := np.abs(x) <= LOUDEST).all():
        at = np.argwhere(~fits)[0]
        raise SignalError(
            f"sample {first + at[0]} of channel {at[1]} is {x[tuple(at)]}; full scale is 1, "
            f"allowed are finite numbers to {LOUDEST:g}: repair the signal first"
        )


def metadata_of(source: Audio | AudioSource) -> dict[str, bytes]:
    """Tags, and the layout of channels where it is not the usual one."""
    tags, layout = source.tags, getattr(source, "layout", "")
    return pack_tags(tags) | ({LAYOUT: layout.encode()} if layout else {})


def unpack_layout(metadata: Mapping[str, bytes]) -> str:
    """Raises: BitstreamError if it is not a name."""
    try:
        layout = metadata.get(LAYOUT, b"").decode("ascii")
    except UnicodeDecodeError as e:
        raise BitstreamError("metadata: the layout is not a name; the file is damaged") from e
    if len(layout) > 64:
        raise BitstreamError("metadata: the layout is not a name; the file is damaged")
    return layout


def check_segment(seconds: float, rate: int) -> int:
    """Samples of a segment of whole blocks.

    Raises:
        SignalError: too long at this rate.
    """
    block = block_length(rate)
    samples = max(1, round(seconds * rate / block)) * block
    if samples > MAX_SEGMENT:
        raise SignalError(
            f"segment is {seconds} s, {samples} samples at {rate} samples a second; "
            f"allowed are {MAX_SEGMENT}: give a shorter one"
        )
    return samples
