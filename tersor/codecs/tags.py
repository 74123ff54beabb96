"""Tags of sound and video in the container's metadata."""

from __future__ import annotations

import json
from collections.abc import Mapping

from tersor.errors import BitstreamError

TAGS = "tags"  # F: key of the metadata


def pack_tags(tags: Mapping[str, str]) -> dict[str, bytes]:
    return {TAGS: json.dumps(dict(tags), ensure_ascii=False).encode()} if tags else {}


def unpack_tags(metadata: Mapping[str, bytes]) -> dict[str, str]:
    """Raises: BitstreamError if they are not what `pack_tags` makes."""
    if TAGS not in metadata:
        return {}
    try:
        found = json.loads(metadata[TAGS])
    except ValueError as e:
        raise BitstreamError(f"metadata: tags are not JSON ({e}); the file is damaged") from e
    if not isinstance(found, dict):
        raise BitstreamError("metadata: tags are not an object; the file is damaged")
    return {str(k): str(v) for k, v in found.items()}
