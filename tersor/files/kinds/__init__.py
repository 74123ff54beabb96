"""The kinds of signal: which files, and which signals in memory, are of which kind, how their files are read,
written and described, and which codec codes them. A new kind is a file here, and a line in KINDS.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tersor.errors import SignalError
from tersor.files.kinds.audio import AudioKind
from tersor.files.kinds.base import FOLDER as FOLDER
from tersor.files.kinds.base import Asked as Asked
from tersor.files.kinds.base import Kind as Kind
from tersor.files.kinds.field import FieldKind
from tersor.files.kinds.image import ImageKind
from tersor.files.kinds.integers import IntegersKind
from tersor.files.kinds.tensors import TensorsKind
from tersor.files.kinds.video import VideoKind
from tersor.signals import Audio, Field, FieldSet, Image

_IMAGE, _FIELD = ImageKind(), FieldKind()
KINDS: dict[str, Kind[Any]] = {
    "image": _IMAGE,
    "field": _FIELD,
    "integers": IntegersKind(_IMAGE, _FIELD),
    "audio": AudioKind(),
    "tensors": TensorsKind(),
    "video": VideoKind(),
}
SIGNAL_SUFFIXES = frozenset().union(*(k.suffixes for k in KINDS.values()))


def codec_of(x: object, asked: str | None = None) -> str:
    """The codec for a signal or the name of a file: the one asked for, or that of its type or suffix; image
    if that says nothing.
    """
    if asked:
        return asked
    if isinstance(x, Audio) or (hasattr(x, "blocks") and hasattr(x, "rate")):
        return KINDS["audio"].codec
    if isinstance(x, (Field, FieldSet, Mapping)):
        return KINDS["field"].codec
    name = str(x).lower() if isinstance(x, (str, Path)) else ""
    return next((k.codec for k in KINDS.values() if any(map(name.endswith, k.suffixes))), "image")


def without_metadata(signal: object) -> Image:
    """An image without what tells of people, places and tools.

    Raises:
        SignalError: another kind of signal.
    """
    from tersor.files.image_metadata import stripped

    if not isinstance(signal, Image):
        raise SignalError("--strip is for images; leave it out")
    return stripped(signal)
