"""Sound."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tersor.files.atomic import atomic_file, prepared
from tersor.files.audio import SUFFIXES
from tersor.files.kinds.base import Asked, FileCodec, Kind, OptionsByName

if TYPE_CHECKING:
    from tersor.container import Reader


class AudioKind(Kind[Any]):
    called, salvages = "a sound", True
    suffixes = frozenset(SUFFIXES)
    codec = "audio"
    at_once = False

    def read(self, source: Any, asked: Asked) -> Any:
        from tersor.files.audio import AudioReader

        self.check(asked)
        return AudioReader(source, salvage=asked.salvage)

    def to_bytes(self, signal: Any, suffix: str) -> bytes:
        from tersor.files.audio import audio_bytes

        return audio_bytes(signal, suffix)

    def describe(self, signal: Any, size: int) -> tuple[str, str, dict[str, object]]:
        seconds = signal.seconds or 1 / signal.rate
        kbps = 8 * size / seconds / 1000
        raw = signal.seconds * signal.rate * signal.channels * signal.bits / 8
        plural = "s" * (signal.channels != 1)
        what = f"{signal.seconds:.2f} s  {signal.rate} Hz  {signal.channels} channel{plural}"
        return (
            what,
            f"{size:,} bytes  {kbps:.2f} kbps  {raw / size:.1f}:1",
            {"bitrate_kbps": round(kbps, 3), "seconds_of_sound": round(signal.seconds, 3)},
        )

    def decode_to(
        self,
        codec: FileCodec,
        reader: Reader,
        path: Path | None,
        options: OptionsByName,
        writing: dict[str, int],
    ) -> Any | None:
        from tersor.files.audio import AudioWriter

        if path is None:
            return None
        sound = codec.open(reader, **options)
        with atomic_file(prepared(path)) as file:
            writer = AudioWriter(
                file,
                path.suffix,
                sound.rate,
                sound.channels,
                sound.dtype,
                sound.bits,
                dict(sound.tags),
                sound.layout,
            )
            for x in sound.blocks():
                writer.write(x)
            writer.close()
        sound.note(*writer.notes)
        return sound
