"""Video as it comes."""

from __future__ import annotations

import numpy as np
import pytest

import tersor
from tersor.codecs.video.codec import VideoCodec
from tersor.codecs.video.stream import PacketDecoder
from tersor.errors import BitstreamError, SignalError
from tersor.signals.video import VideoFormat
from tersor.testing.samples import clip


def test_packets_are_the_file() -> None:
    rgb = clip(48, 32, 11)
    stream = tersor.Codec("video").stream(width=48, height=32, fps=29.97, quality=80, group=4)
    assert stream.latency_seconds == pytest.approx(4 * 1001 / 30000)
    packets = [stream.push(x) for x in rgb]
    assert [len(p) for p in packets] == [0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0]
    packets.append(stream.end())
    video = tersor.decode(stream.finish())
    assert video.timing.is_constant
    assert len(video) == 11
    receiver = stream.decoder()
    frames = [planes for some in packets for packet in some for planes in receiver.push(packet)]
    assert receiver.next_frame == 11
    for own, frame in zip(video.frames(), frames, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(own, frame, strict=True))
    with pytest.raises(SignalError, match="finished"):
        stream.push(rgb[0])


def test_lost_and_damaged_packets_cost_their_own_frames() -> None:
    stream = VideoCodec().stream(width=48, height=32, fps=25, group=2, keep=False)
    start = stream.header().pack()
    packets = [p for x in clip(48, 32, 6) for p in stream.push(x)]
    receiver = PacketDecoder(start)
    bad = bytearray(packets[0])
    bad[-1] ^= 1
    for wrong in (bytes(bad), packets[0][:5], b""):
        with pytest.raises(BitstreamError):
            receiver.push(wrong)
    assert len(list(receiver.push(packets[2]))) == 2
    assert receiver.next_frame == 6
    with pytest.raises(SignalError, match="keep"):
        stream.finish()


def test_frames_and_options_that_do_not_fit() -> None:
    codec = VideoCodec()
    planar = codec.stream(form=VideoFormat(width=48, height=32), fps=25)
    for wrong in (clip(48, 32, 1)[0], clip(48, 32, 1)[0, ..., 0], (np.zeros((32, 48), np.uint8),) * 3):
        with pytest.raises(SignalError):
            planar.push(wrong)
    with pytest.raises(SignalError, match="target_psnr"):
        codec.stream(width=8, height=8, fps=25, target_psnr=40)
    with pytest.raises(SignalError, match="no frames"):
        codec.stream(width=8, height=8, fps=25).finish()
    with pytest.raises(SignalError, match="nothing to encode"):
        codec.stream(fps=25)
