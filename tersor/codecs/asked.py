"""The options of all codecs together, for type checkers; tools/make_options.py writes this file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypedDict


class AnyEncodeOptions(TypedDict, total=False):
    """Options of encode."""

    quality: float | None
    target_bpp: float | None
    target_psnr: float | None
    effort: int | None
    tile: int | None
    architecture: str | None
    metric: str | None
    max_error: float | None
    rel_error: float | None
    pointwise_rel_error: float | None
    target_ratio: float | None
    lossless: bool | None
    fill_value: float | None
    block: int | None
    rate: int | None
    bitrate: float | None
    content: str | None
    segment: float | None
    preset: str | None
    iterations: int | None
    time_limit: float | None
    resume: str | None
    watch: Callable[..., bool | None] | None
    cosine_error: float | None
    bits_per_value: float | None
    groups: str | None
    anchor: int | None
    per_tensor: Mapping[str, Mapping[str, object]] | None
    low_delay: bool | None
    group: int | None
    no_audio: bool | None
    audio: str | None
    audio_bitrate: float | None
    fps: float | None


class AnyDecodeOptions(TypedDict, total=False):
    """Options of decode."""

    salvage: bool | None
    region: tuple[int, int, int, int] | None
    slices: slice | tuple[slice, ...] | Mapping[str, slice] | None
    variables: Sequence[str] | None
    coordinates: bool | None
    start: float | None
    stop: float | None
    tensors: Sequence[str] | None
    rows: slice | None
    out: Mapping[str, object] | None
    max_bytes: int | None
    frames: slice | None
    no_audio: bool | None
