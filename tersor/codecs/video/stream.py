"""Moving pictures as they come: packets out of an encoder, frames out of a decoder, with a stated latency.

    packet = CRC-32 of the rest | uvarint number of its first frame | uvarint its frames, 0 of a chain | body
    body   = the payload of a group; of a chain: uvarint place in the group | head of the payload | piece
             (chain.py)

Without low_delay a packet is a group: it decodes alone, and one that is lost costs its own frames. With
low_delay it is one frame, given as soon as it is there; one that is lost costs the frames up to the next
group.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction

import numpy as np

from tersor import container
from tersor.arrays import Samples
from tersor.codecs.video.chain import FrameDecoder, FrameEncoder, check_chain
from tersor.codecs.video.coder import GroupCoder, OnePass
from tersor.codecs.video.group import HEAD, decode_group
from tersor.codecs.video.groups import longest, stacked
from tersor.codecs.video.header import MAX_FRAMES, MAX_GROUP, WIRE_ID, VideoHeader
from tersor.codecs.video.model import start_digest
from tersor.codecs.video.options import ENCODE, EncodeOptions
from tersor.codecs.video.rate import clipped
from tersor.container import ByteReader, put_uvarint
from tersor.errors import BitstreamError, ChecksumError, SignalError
from tersor.files.coerce import video_of_rgb
from tersor.signals.colour import RGB_CODED, Planes
from tersor.signals.timing import Timing
from tersor.signals.video import VideoFormat

STREAM_GROUP = 8  # G: frames that a packet of a stream holds, if nothing is said


class VideoStream:
    """An encoder for pictures that have not ended. Latency: with low_delay=True one frame, the one that is
    given;
    without, those of a group.

    Example:
        stream = tersor.Codec("video").stream(width=640, height=360, fps=30, bitrate=500, low_delay=True)
        receiver = stream.decoder()
        for frame in camera:                           # uint8 [360, 640, 3], RGB, or a tuple of planes
            for packet in stream.push(frame):
                for planes in receiver.push(packet):
                    show(planes)
        file = stream.finish()                         # a whole .tsr file

    Args:
        form: of the frames.
        rate: frames a second.
        options: of encode; a target_psnr needs all frames and is refused.
        keep: packets for `finish`; without, memory depends on the group alone.

    Raises:
        SignalError: options that a stream does not have.
    """

    def __init__(self, form: VideoFormat, rate: Fraction, options: EncodeOptions, keep: bool = True) -> None:
        self.format, self.rate, self._options, self._keep = form, rate, options, keep
        asked, value = ENCODE.asked(options, "target")
        if asked == "target_psnr":
            raise SignalError(
                "a stream cannot look at all its frames for target_psnr; give quality or bitrate"
            )
        self._asked, self._value = asked, float(str(value))
        self._coder = GroupCoder(form.depth, options)
        self._paced = OnePass(self._coder, form, rate, self._value * 125) if asked == "bitrate" else None
        self.group = longest(form, options["group"] or STREAM_GROUP)
        self._chain: FrameEncoder | None = None
        self._chains, self._quality, self._place = bool(options["low_delay"]), 0.0, 0
        self._held: list[Planes] = []
        self._payloads: list[bytes] = []
        self._lengths: list[int] = []
        self._frames, self._ended = 0, False

    @property
    def latency_seconds(self) -> float:
        """From a frame going in to the packet that holds it coming out."""
        return (1 if self._chains else self.group) / float(self.rate)

    def push(self, frame: Samples | Planes) -> list[bytes]:
        """A frame -> packets that are finished.

        Args:
            frame: planes [H, W] of the stream's format; or uint8 [H, W, 3] where it is that of RGB.

        Raises:
            SignalError: a frame of another format, or a stream that was finished.
        """
        if self._ended:
            raise SignalError("the stream is finished; make another")
        planes = self._planes(frame)
        for p, shape in zip(planes, self.format.shapes, strict=True):
            if p.dtype != self.format.dtype or p.shape != shape:
                wanted = f"{self.format.dtype} {list(shape)}"
                raise SignalError(f"a plane is {p.dtype} {list(p.shape)}; the stream takes {wanted}")
        if self._chains:
            return [self._piece(planes)]
        self._held.append(planes)
        return [self._packet()] if len(self._held) == self.group else []

    def _planes(self, frame: Samples | Planes) -> Planes:
        if isinstance(frame, np.ndarray) and frame.ndim == 3:
            if self.format.colour != RGB_CODED or self.format.subsampling != "444":
                raise SignalError("the stream takes planes, not RGB; give a tuple of Y, Cb, Cr")
            frame = tuple(p[0] for p in video_of_rgb(frame[None], self.rate, self.format.depth).planes)
        planes = (frame,) if isinstance(frame, np.ndarray) else tuple(frame)
        if len(planes) != len(self.format.shapes):
            raise SignalError(f"{len(planes)} planes; the stream takes {len(self.format.shapes)}")
        return planes

    def end(self) -> list[bytes]:
        """The last packet, if frames are left."""
        self._ended = True
        self._close_chain()
        return [self._packet()] if self._held else []

    def finish(self) -> bytes:
        """All of it as a .tsr file.

        Raises:
            SignalError: the packets were not kept, or there are none.
        """
        self.end()
        if not self._keep:
            raise SignalError("the stream kept no packets to make a file of; open it with keep=True")
        if not self._frames:
            raise SignalError("the stream has no frames; there is nothing to write")
        return container.write(WIRE_ID, self.header().pack(), {}, self._payloads)

    def header(self) -> VideoHeader:
        """Of what was coded so far; what a decoder needs of it does not change."""
        timing = Timing.constant(self.rate, self._frames)
        return VideoHeader(
            digest=start_digest(),
            format=self.format,
            groups=tuple(self._lengths),
            rate=self.rate,
            base=timing.base,
            start=0,
            end=timing.end,
            constant=True,
            asked=self._asked,
            value=self._value,
        )

    def _packet(self) -> bytes:
        group, frames = stacked(self._held), len(self._held)
        self._held = []
        payload = self._paced.code(group) if self._paced else self._coder.code(group, clipped(self._value))
        packet = _checked(put_uvarint(self._frames) + put_uvarint(frames) + payload)
        self._frames += frames
        self._kept(payload, frames)
        return packet

    def _piece(self, planes: Planes) -> bytes:
        """One frame of a chain."""
        if self._chain is None:
            self._quality = self._paced.quality(self.group) if self._paced else clipped(self._value)
            self._chain = self._coder.chain(self.format.shapes, self.group, self._quality)
        numbers = put_uvarint(self._frames) + put_uvarint(0) + put_uvarint(self._place)
        packet = _checked(numbers + self._chain.head + self._chain.push(planes))
        self._frames, self._place = self._frames + 1, self._place + 1
        if self._place == self.group:
            self._close_chain()
        return packet

    def _close_chain(self) -> None:
        if self._chain is None:
            return
        payload = self._chain.payload()
        if self._paced:
            self._paced.took(self._place, self._quality, len(payload))
        self._kept(payload, self._place)
        self._chain, self._place = None, 0

    def _kept(self, payload: bytes, frames: int) -> None:
        if self._keep:
            self._payloads.append(payload)
            self._lengths.append(frames)

    def decoder(self) -> PacketDecoder:
        """For the packets of this stream; elsewhere, make it from `header().pack()` of its start."""
        return PacketDecoder(VideoHeader.pack(replace(self.header(), groups=(), end=0)))


def _checked(body: bytes) -> bytes:
    return zlib.crc32(body).to_bytes(4, "little") + body


class PacketDecoder:
    """Packets of a `VideoStream` in, frames out; packets may be lost.

    Attributes:
        next_frame: number of the frame after the last packet's.

    Args:
        header: `VideoStream.header().pack()`, taken before the first frame.
    """

    def __init__(self, header: bytes) -> None:
        read = VideoHeader.unpack(header, 0)
        self.format, self._digest = read.format, read.digest
        self.next_frame = 0
        self._chain: FrameDecoder | None = None
        self._place = 0

    def push(self, packet: bytes) -> Iterator[Planes]:
        """The planes [H, W] of the packet's frames; they are frames `next_frame` less their number and on.

        Raises:
            BitstreamError: a damaged packet, which can be left out.
        """
        body = packet[4:]
        if len(packet) < 6 or zlib.crc32(body).to_bytes(4, "little") != packet[:4]:
            raise ChecksumError(
                f"the packet after frame {self.next_frame}: its checksum is wrong; leave it out"
            )
        r = ByteReader(body, f"the packet after frame {self.next_frame}")
        first, frames = r.uvarint(MAX_FRAMES, "its first frame"), r.uvarint(MAX_GROUP, "its frames")
        if not frames:
            return iter([self._frame(first, r)])
        if frames > longest(self.format, MAX_GROUP):
            raise BitstreamError(f"packet of frame {first}: {frames} frames are not valid; leave it out")
        shapes = [(frames, *s) for s in self.format.shapes]
        name = f"packet of frame {first}"
        planes = decode_group(
            body[r.at :], shapes=shapes, depth=self.format.depth, name=name, digest=self._digest
        )
        self.next_frame = first + frames
        return (tuple(p[i] for p in planes) for i in range(frames))

    def _frame(self, first: int, r: ByteReader) -> Planes:
        """The one frame of a packet of a chain."""
        name = f"packet of frame {first}"
        place, head = r.uvarint(MAX_GROUP - 1, "its place in the group"), r.take(HEAD.size)
        check_chain(head, name)
        if place == 0:
            most = longest(self.format, MAX_GROUP)
            self._chain = FrameDecoder(
                self.format.shapes, most, depth=self.format.depth, head=head, digest=self._digest
            )
            self._place = 0
        if self._chain is None or place != self._place or (first != self.next_frame and place):
            self._chain = None
            raise BitstreamError(
                f"{name}: one before it is missing; leave it out, the next group can be shown"
            )
        planes = self._chain.push(r.data[r.at :], name)
        self._place, self.next_frame = place + 1, first + 1
        return planes
