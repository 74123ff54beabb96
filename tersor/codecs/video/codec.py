"""The video codec: moving pictures in groups of frames, and their sound, in one file that can be sought in.

    planes of 8 to 12 bits --groups.py--> groups of up to 64 frames --group.py--> chunks       (encode.py,
    rate.py)
    sound --the codec "audio"--> chunks after them

Every group decodes alone. What reconstructs is integer arithmetic, so decoded planes are the same on every
machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, BinaryIO

from tersor import container
from tersor.codecs.parallel import Progress
from tersor.codecs.video.decode import OpenedVideo
from tersor.codecs.video.encode import Encoding
from tersor.codecs.video.header import WIRE_ID
from tersor.codecs.video.options import Options
from tersor.errors import SignalError
from tersor.files.coerce import video_source
from tersor.files.video import in_memory
from tersor.signals.video import Video


class VideoCodec:
    """Moving pictures in, small files out.

    Args:
        device: "auto" or "cpu"; the codec has no other.
        batch: ignored; groups are coded on all cores.
    """

    wire_id = WIRE_ID
    encode_options = (
        "quality",
        "bitrate",
        "target_psnr",
        "effort",
        "low_delay",
        "group",
        "audio",
        "audio_bitrate",
        "rate",
    )
    decode_options = ("frames", "start", "stop", "salvage", "audio")

    def __init__(self, device: str = "auto", batch: int | None = None) -> None:
        if device not in ("auto", "cpu"):
            raise SignalError(f"the video codec runs on the CPU, not on '{device}'; use device auto or cpu")
        self.device = "cpu"

    def encode_batch(
        self, signals: Sequence[Any], *, progress: Progress | None = None, **options: Any
    ) -> list[bytes]:
        """One file for each video.

        Args:
            signals: `Video`, paths or bytes of video files, opened readers, arrays uint8 [T, H, W, 3] or [T,
                H, W] with rate=.
            progress: called with (frames done, frames in all), over all passes.
            options: as of `encode_to`.

        Raises:
            SignalError: a signal or option that cannot be coded.
        """
        files = []
        for signal in signals:
            encoding = self._encoding(signal, progress, **options)
            chunks = list(encoding.payloads())
            files.append(container.write(WIRE_ID, encoding.header(), encoding.metadata, chunks))
        return files

    def encode_to(
        self, file: BinaryIO, signal: Any, *, progress: Progress | None = None, **options: Any
    ) -> int:
        """One video into a file that is empty, readable and seekable; -> its size. Memory depends on the
        group, not on the length.

        Args:
            file: where to.
            signal: as of `encode_batch`.
            progress: called with (frames done, frames in all), over all passes.
            options: quality: 1 (smallest) to 100; 50 if nothing is asked for.
                bitrate: kbit/s of the pictures, within 2 % over a clip of some groups; two or three passes,
                    over a stream one.
                target_psnr: dB of the planes, 6:1:1; the lowest quality that reaches it, by some passes.
                effort: 1 (fast) to 9.
                low_delay: code frames in the order they are shown.
                group: most frames that only decode together.
                audio: True, False, or "lossless"; audio_bitrate: kbit/s of the sound.
                rate: frames a second, for arrays.
        """
        encoding = self._encoding(signal, progress, **options)
        return container.write_to(file, WIRE_ID, encoding.header, encoding.metadata, encoding.payloads())

    def _encoding(
        self,
        signal: Any,
        progress: Progress | None,
        *,
        quality: float | None = None,
        bitrate: float | None = None,
        target_psnr: float | None = None,
        effort: int | None = None,
        low_delay: bool = False,
        group: int | None = None,
        audio: bool | str = True,
        audio_bitrate: float | None = None,
        rate: float | None = None,
    ) -> Encoding:
        options = Options.of(
            quality=quality,
            bitrate=bitrate,
            target_psnr=target_psnr,
            effort=effort,
            low_delay=low_delay,
            group=group,
            audio=audio,
            audio_bitrate=audio_bitrate,
        )
        return Encoding(video_source(signal, rate), options, progress)

    def decode_batch(self, files: Sequence[bytes | container.Reader], **options: Any) -> list[Video]:
        """Files to videos in memory.

        Args:
            files: bytes of .tsr files, or opened containers.
            options: as of `open`.

        Raises:
            BitstreamError: a damaged file, with the group named.
            SignalError: frames that are not in the video.
        """
        out = []
        for f in files:
            reader = (
                f
                if isinstance(f, container.Reader)
                else container.Reader(f, salvage=bool(options.get("salvage")))
            )
            out.append(in_memory(self.open(reader, **options)))
        return out

    def open(self, reader: container.Reader, **options: Any) -> OpenedVideo:
        """A file to be decoded frame by frame.

        Args:
            reader: the file.
            options: frames: a slice; or start, stop: seconds. salvage: fill damaged groups. audio: False
                leaves the sound out. progress.
        """
        return OpenedVideo(reader, **options)
