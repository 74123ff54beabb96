"""Video as it comes."""

from __future__ import annotations

import numpy as np
import pytest

import tersor
from tersor.codecs.video.codec import VideoCodec
from tersor.codecs.video.stream import PacketDecoder
from tersor.container import Reader
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


def test_low_delay_gives_every_frame_at_once_and_the_same_file() -> None:
    codec, rgb = VideoCodec(), clip(48, 32, 7)
    stream = codec.stream(width=48, height=32, fps=25, quality=60, group=4, low_delay=True)
    assert stream.latency_seconds == pytest.approx(1 / 25)
    receiver = stream.decoder()
    shown = []
    for x in rgb:
        (packet,) = stream.push(x)
        shown += list(receiver.push(packet))
    assert len(shown) == 7
    file = stream.finish()
    assert stream.end() == []
    video = tersor.decode(file)
    for own, frame in zip(video.frames(), shown, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(own, frame, strict=True))
    (whole,) = codec.encode_batch([rgb], fps=25, quality=60, group=4, low_delay=True)
    chunks = [[Reader(f).chunk(i) for i in range(2)] for f in (file, whole)]
    assert chunks[0] == chunks[1]


def test_a_lost_frame_costs_the_rest_of_its_group() -> None:
    stream = VideoCodec().stream(width=48, height=32, fps=25, quality=40, group=3, low_delay=True, keep=False)
    start = stream.header().pack()
    packets = [p for x in clip(48, 32, 6) for p in stream.push(x)]
    receiver = PacketDecoder(start)
    assert len(list(receiver.push(packets[0]))) == 1
    with pytest.raises(BitstreamError, match="missing"):
        receiver.push(packets[2])
    with pytest.raises(BitstreamError, match="missing"):
        receiver.push(packets[1])
    assert sum(len(list(receiver.push(p))) for p in packets[3:]) == 3
    assert receiver.next_frame == 6


def test_a_bit_rate_in_low_delay_is_approached() -> None:
    stream = VideoCodec().stream(width=48, height=32, fps=25, bitrate=60, group=3, low_delay=True)
    sizes = [len(p) for x in clip(48, 32, 15) for p in stream.push(x)]
    asked = 60 * 125 / 25
    assert 0.5 * asked < np.mean(sizes[6:]) < 2 * asked
