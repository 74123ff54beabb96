"""Video."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tersor.files.atomic import prepared, to_stdout
from tersor.files.kinds.base import Asked, FileCodec, Kind, OptionsByName
from tersor.files.video import SUFFIXES

if TYPE_CHECKING:
    from tersor.container import Reader


class VideoKind(Kind[Any]):
    called = "a video"
    suffixes = SUFFIXES
    codec = "video"
    at_once = False
    streams = True

    def read(self, source: Any, asked: Asked) -> Any:
        from tersor.files.video import open_video

        self.check(asked)
        return open_video(source)

    def to_bytes(self, signal: Any, suffix: str) -> bytes:
        from tersor.files.video_write import write_y4m

        out = io.BytesIO()
        write_y4m(signal, out)
        return out.getvalue()

    def describe(self, signal: Any, size: int) -> tuple[str, str, dict[str, object]]:
        frames, seconds = len(signal.timing), signal.timing.seconds
        kbps = 8 * size / max(seconds, 1e-9) / 1000
        bpp = 8 * size / max(1, frames * signal.format.width * signal.format.height)
        what = f"{frames} frames of {signal.format.width}x{signal.format.height}  {seconds:.2f} s"
        facts = {"frames": frames, "seconds_of_video": round(seconds, 3), "bitrate_kbps": round(kbps, 3)}
        return what, f"{size:,} bytes  {kbps:.1f} kbps  {bpp:.4f} bpp", {**facts, "bpp": round(bpp, 5)}

    def decode_to(
        self,
        codec: FileCodec,
        reader: Reader,
        path: Path | None,
        options: OptionsByName,
        writing: dict[str, int],
    ) -> Any | None:
        from tersor.files.video_write import check_suffix, write_video, write_y4m

        if path is not None:
            check_suffix(path.suffix)
        video = codec.open(reader, **options)
        if path is None:
            with to_stdout() as file:
                lost = write_y4m(video, file)
        else:
            lost = write_video(video, prepared(path), **writing)
        video.notes += lost  # what was damaged is known after the last frame
        return video
