"""Pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tersor.files.atomic import write_output
from tersor.files.kinds.base import Asked, Kind

if TYPE_CHECKING:
    from tersor.signals import Image


class ImageKind(Kind["Image"]):
    called = "an image"
    suffixes = frozenset(
        {".png", ".jpg", ".jpeg", ".webp", ".avif", ".tif", ".tiff", ".bmp", ".ppm", ".pgm", ".gif", ".jp2"}
    )
    codec = "image"

    def read(self, source: Any, asked: Asked) -> Image:
        from tersor.files.coerce import as_image

        self.check(asked)
        return as_image(source, asked.page)

    def to_bytes(self, signal: Image, suffix: str) -> bytes:
        from tersor.files.image import image_bytes

        return image_bytes(signal, suffix)

    def write(self, signal: Image, path: Path | None, usual: str) -> tuple[str, ...]:
        from tersor.files.image import image_file

        data, lost = image_file(signal, usual if path is None else path.suffix)
        write_output(path, data)
        return lost

    def describe(self, signal: Image, size: int) -> tuple[str, str, dict[str, object]]:
        bpp = 8 * size / (signal.width * signal.height)
        return (
            f"{signal.width}x{signal.height}",
            f"{size:,} bytes  {bpp:.3f} bpp  {signal.nbytes / size:.1f}:1",
            {"width": signal.width, "height": signal.height, "bpp": round(bpp, 4)},
        )
