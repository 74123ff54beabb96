"""Signals: samples plus the metadata that must survive a round trip. Plain data: no file is opened here.

`as_image`, `as_field`, `as_audio` and `as_video` (anything -> signal) live in `tersor.files.coerce`; they
are found here as well, and loaded when they are used.
"""

from __future__ import annotations

import importlib
from typing import Any

from tersor.signals.audio import Audio as Audio
from tersor.signals.audio import AudioSource as AudioSource
from tersor.signals.field import Field as Field
from tersor.signals.field import FieldSet as FieldSet
from tersor.signals.image import Image as Image
from tersor.signals.video import Video as Video

COERCIONS = ("as_audio", "as_field", "as_image", "as_video", "audio_source", "video_source")


def __getattr__(name: str) -> Any:
    if name in COERCIONS:
        return getattr(importlib.import_module("tersor.files.coerce"), name)
    raise AttributeError(f"module 'tersor.signals' has no attribute '{name}'")
