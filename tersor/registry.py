"""Codecs by name and by wire id; nothing is imported until it is used.

Wire ids are append-only: a number, once released, means the same bytes forever (tests/test_house.py holds the
list). Third parties register an entry point in the group "tersor.codecs" that names a `CodecEntry`; their
wire ids start at 1000.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any, Protocol

from tersor.errors import MissingDependencyError, SignalError, TersorError, UnknownCodecError

GROUP = "tersor.codecs"
FIRST_FOREIGN_ID = 1000  # F


@dataclass(frozen=True, slots=True, kw_only=True)
class CodecEntry:
    """One codec.

    Attributes:
        name: for people and `codec=`.
        wire_id: in files.
        summary: one line.
        codec: "module:Class"; made with (device=, batch=) and, where it is asked for, threads=; has
            encode_batch and decode_batch, encode_options and decode_options (see `AnyCodec`).
        describe: "module:function"; container.Reader -> tersor.facts.Facts, or a dict of extra facts,
            without loading torch; raises BitstreamError on a bad header.
        signal: what it codes, "image", "field", "integers", "audio", "tensors" or "video"; the command line
            reads and writes files of that kind.
        options: "module" with ENCODE and DECODE, its declared options (codecs/options.py), which loads
            neither torch nor numba; empty if it declares none.
    """

    name: str
    wire_id: int
    summary: str
    codec: str
    describe: str
    signal: str = "image"
    options: str = ""


class AnyCodec(Protocol):
    """What every codec can do; those on codecs/base.py also have encode_to and open."""

    device: str

    @property
    def wire_id(self) -> int: ...
    @property
    def encode_options(self) -> Iterable[str]: ...
    @property
    def decode_options(self) -> Iterable[str]: ...

    def encode_batch(self, signals: Sequence[object], **options: object) -> list[bytes]:
        """One file for each signal; an option `progress` is called with (done, in all)."""

    def decode_batch(self, files: Sequence[object], **options: object) -> list[Any]:
        """One signal for each file, bytes or container.Reader."""


BUILT_IN = (
    CodecEntry(
        name="image",
        wire_id=1,
        summary="photographs and pictures, any size and rate, one network; alpha exact",
        codec="tersor.codecs.image.codec:ImageCodec",
        describe="tersor.codecs.image.header:describe",
        options="tersor.codecs.image.options",
    ),
    CodecEntry(
        name="compressai",
        wire_id=2,
        summary="CompressAI's pretrained image models in our container (pip install tersor[zoo])",
        codec="tersor.codecs.compressai.codec:CompressAICodec",
        describe="tersor.codecs.compressai.header:describe",
        options="tersor.codecs.compressai.options",
    ),
    CodecEntry(
        name="field",
        wire_id=3,
        summary="arrays of numbers with a guaranteed error bound, or without loss",
        codec="tersor.codecs.field.codec:FieldCodec",
        describe="tersor.codecs.field.header:describe",
        options="tersor.codecs.field.options",
        signal="field",
    ),
    CodecEntry(
        name="audio",
        wire_id=4,
        summary="speech and music at any bit rate, or without loss",
        codec="tersor.codecs.audio.codec:AudioCodec",
        describe="tersor.codecs.audio.header:describe",
        options="tersor.codecs.audio.options",
        signal="audio",
    ),
    CodecEntry(
        name="lossless",
        wire_id=5,
        summary="integers bit by bit: images, volumes, arrays of any shape (pip install tersor[fields])",
        codec="tersor.codecs.lossless.codec:LosslessCodec",
        describe="tersor.codecs.lossless.header:describe",
        options="tersor.codecs.lossless.options",
        signal="integers",
    ),
    CodecEntry(
        name="image-overfit",
        wire_id=7,
        summary="pictures at the best rate: networks fitted to each, minutes to encode; exact pixels",
        codec="tersor.codecs.image_overfit.codec:ImageOverfitCodec",
        describe="tersor.codecs.image_overfit.header:describe",
        options="tersor.codecs.image_overfit.options",
    ),
    CodecEntry(
        name="tensor",
        wire_id=8,
        summary="weights, caches and embeddings of networks, bit by bit or with a bound",
        codec="tersor.codecs.tensor.codec:TensorCodec",
        describe="tersor.codecs.tensor.header:describe",
        options="tersor.codecs.tensor.options",
        signal="tensors",
    ),
    CodecEntry(
        name="video",
        wire_id=6,
        summary="moving pictures and their sound, the same planes on every machine",
        codec="tersor.codecs.video.codec:VideoCodec",
        describe="tersor.codecs.video.header:describe",
        options="tersor.codecs.video.options",
        signal="video",
    ),
)


@functools.cache
def entries() -> dict[str, CodecEntry]:
    """All codecs by name.

    Raises:
        TersorError: two codecs claim one name or wire id.
    """
    found = {e.name: e for e in BUILT_IN}
    ids = {e.wire_id for e in BUILT_IN}
    for point in entry_points(group=GROUP):
        try:
            entry = point.load()
        except Exception as e:  # whatever a foreign package does on import
            raise TersorError(
                f"entry point {point.value} cannot be loaded ({e!r}); repair or uninstall its package"
            ) from e
        if not isinstance(entry, CodecEntry) or entry.wire_id < FIRST_FOREIGN_ID:
            raise TersorError(
                f"entry point {point.value}: "
                f"needed is a tersor.registry.CodecEntry with a wire_id of at least {FIRST_FOREIGN_ID}"
            )
        if entry.name in found or entry.wire_id in ids:
            raise TersorError(
                f"entry point {point.value}: the name '{entry.name}' or wire id {entry.wire_id} is "
                "taken; uninstall one of the two packages"
            )
        found[entry.name] = entry
        ids.add(entry.wire_id)
    return found


def by_name(name: str) -> CodecEntry:
    """Built-in codecs are found without looking at third parties, so a broken plugin cannot disable them."""
    for entry in BUILT_IN:
        if entry.name == name:
            return entry
    if name not in entries():
        raise SignalError(f"no codec is called '{name}'; there are {', '.join(entries())}")
    return entries()[name]


def by_wire_id(wire_id: int) -> CodecEntry:
    for entry in BUILT_IN if wire_id < FIRST_FOREIGN_ID else entries().values():
        if entry.wire_id == wire_id:
            return entry
    raise UnknownCodecError(
        f"the file's codec has wire id {wire_id}, which no installed codec claims; "
        "install the package that wrote it, or a newer tersor"
    )


def resolve(path: str) -> Any:
    """ "module:name" -> the object.

    Raises:
        MissingDependencyError: it runs in torch, which is not installed.
    """
    module, _, name = path.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except ImportError as e:
        if isinstance(e, TersorError) or "torch" not in (e.name or str(e)):
            raise
        raise MissingDependencyError(
            f"{module} needs torch: pip install torch, which tersor brings along and tersor-core does not; "
            "without it the codecs lossless and image-overfit code pictures"
        ) from e
