"""The video codec: moving pictures in groups of frames, and their sound, in one file that can be sought in.

    planes of 8 to 12 bits --groups.py--> groups of up to 64 frames --group.py--> chunks  (encode.py, rate.py)
    sound --the codec "audio"--> chunks after them

Every group decodes alone. What reconstructs is integer arithmetic, so decoded planes are the same on every
machine.
"""

from __future__ import annotations

from collections.abc import Sequence

from tersor.codecs.assembly import Coded, Job
from tersor.codecs.base import ChunkCodec
from tersor.codecs.parallel import Progress
from tersor.codecs.video.decode import OpenedVideo, Planar, VideoAssembly
from tersor.codecs.video.encode import Encoding
from tersor.codecs.video.header import WIRE_ID
from tersor.codecs.video.options import DECODE, ENCODE, DecodeOptions, EncodeOptions
from tersor.codecs.video.stream import STREAM_GROUP, VideoStream
from tersor.container import Reader
from tersor.files.coerce import as_rate, video_source
from tersor.signals.colour import RGB_CODED
from tersor.signals.video import VideoFormat, VideoSource


class VideoCodec(ChunkCodec[VideoSource, VideoAssembly, EncodeOptions, DecodeOptions]):
    """Moving pictures in, small files out.

    Signals are `Video`s, paths or bytes of video files, opened readers, or arrays of RGB frames [T, H, W, 3]
    or grey ones [T, H, W] with fps=. Memory of `encode_to` and `open` depends on the group, not on the
    length.
    """

    name, wire_id = "video", WIRE_ID
    encode_options, decode_options = ENCODE, DECODE

    def signal_of(self, x: object, options: EncodeOptions) -> VideoSource:
        return video_source(x, options["fps"])

    def chunks_of(self, signal: VideoSource, options: EncodeOptions, progress: Progress | None) -> Coded:
        encoding = Encoding(signal, options, self.team, progress)
        return Coded(header=encoding.header, metadata=encoding.metadata, payloads=encoding.payloads())

    def assembly(self, reader: Reader, options: DecodeOptions) -> VideoAssembly:
        return VideoAssembly(reader, options)

    def decode_chunks(self, jobs: Sequence[Job[VideoAssembly]]) -> list[Planar]:
        return [job.of.decode(job.chunk, job.payload) for job in jobs]

    def open(  # type: ignore[override]  # a source of frames and sound, not of blocks
        self, file: bytes | Reader, *, progress: Progress | None = None, **options: object
    ) -> OpenedVideo:
        """A file to be decoded frame by frame; options as for `decode_batch`."""
        return OpenedVideo(super().open(file, progress=progress, **options))

    def stream(
        self,
        *,
        width: int = 0,
        height: int = 0,
        fps: float,
        form: VideoFormat | None = None,
        keep: bool = True,
        **options: object,
    ) -> VideoStream:
        """Encode frames as they come: see `VideoStream`. Without `keep` it forgets packets that were given,
        and memory stays the same however long it goes on.

        Args:
            width, height: of RGB frames of 8 bits; or
            form: of planes.
            fps: frames a second.
            keep: packets, for a file at the end.
            options: of encode; group is the latency in frames, 8 if nothing is said.
        """
        if form is None:
            form = VideoFormat(width=width, height=height, subsampling="444", colour=RGB_CODED)
        asked = self.encode_options.check({"group": STREAM_GROUP, **options})
        return VideoStream(form, as_rate(fps), asked, keep)
