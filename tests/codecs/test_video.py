"""The video codec: contract, ranges of frames, sound, damage, rate control."""

from __future__ import annotations

import io
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tersor
from tersor.codecs.video.codec import VideoCodec
from tersor.codecs.video.groups import groups_of
from tersor.codecs.video.header import VideoHeader
from tersor.codecs.video.rate import next_for_psnr, psnr_611
from tersor.container import Reader, write
from tersor.errors import BitstreamError, ChecksumError, SignalError, WeightsError
from tersor.files.coerce import video_of_rgb
from tersor.files.video_write import write_y4m
from tersor.signals.audio import Audio
from tersor.signals.colour import Colour
from tersor.signals.timing import Timing
from tersor.signals.video import Video, VideoFormat
from tersor.testing.contract import CodecContract
from tersor.testing.samples import clip


class TestContract(CodecContract):
    encode_options = {"fps": 25, "group": 4}  # noqa: RUF012

    def make_codec(self) -> VideoCodec:
        return VideoCodec()

    def signals(self) -> list[Any]:
        return [clip(48, 32, 6), clip(33, 17, 3)[::-1]]


def of_planes(subsampling: str = "420", depth: int = 8, frames: int = 10, **facts: Any) -> Video:
    form = VideoFormat(width=96, height=64, depth=depth, subsampling=subsampling, **facts)
    rgb = clip(96, 64, frames).astype(np.int64)
    planes = []
    for i, (h, w) in enumerate(form.shapes):
        small = rgb[:, :: 64 // h, :: 96 // w, i]
        planes.append((small << (depth - 8)).astype(form.dtype))
    return Video(planes=tuple(planes), format=form, timing=Timing.constant(Fraction(25), frames))


@pytest.fixture(scope="module")
def codec() -> VideoCodec:
    return VideoCodec()


@pytest.fixture(scope="module")
def whole(codec: VideoCodec) -> tuple[bytes, Video]:
    """A file of four groups, and what it decodes to."""
    file = codec.encode_batch([of_planes(frames=16)], group=4)[0]
    return file, codec.decode_batch([file])[0]


@pytest.mark.parametrize("depth", [8, 10, 12])
@pytest.mark.parametrize("subsampling", ["400", "420", "422", "444"])
def test_planes_of_every_kind(codec: VideoCodec, subsampling: str, depth: int) -> None:
    video = of_planes(subsampling, depth, 5)
    (file,) = codec.encode_batch([video], quality=90)
    (back,) = codec.decode_batch([file])
    assert back.format == video.format
    assert back.timing == video.timing
    total, frames = psnr_611(list(video.planes), list(back.planes), depth)
    assert total / frames > 32


def test_what_describes_the_video_comes_back(codec: VideoCodec) -> None:
    colour = Colour(range="full", matrix=9, primaries=9, transfer=16, location="top left")
    stamps = np.array(
        [-3, 40, 100, 130, 500, 501, 502, 10_000_000_000, 10_000_000_001, 10_000_000_009], np.int64
    )
    timing = Timing(rate=Fraction(30000, 1001), base=Fraction(1, 90_000), stamps=stamps, end=10_000_000_050)
    made = of_planes(colour=colour, aspect=Fraction(64, 45), rotation=270)
    video = Video(
        planes=made.planes,
        format=made.format,
        timing=timing,
        tags={"title": "Zürich", "comment": 'a "quote"'},
    )
    (file,) = codec.encode_batch([video], group=3)
    (back,) = codec.decode_batch([file])
    assert back.format == video.format
    assert back.timing == video.timing
    assert back.tags == video.tags
    facts = tersor.info(file)
    assert (facts["width"], facts["frames"], facts["groups"], facts["rotation"]) == (96, 10, 4, 270)
    assert facts["rate"] == "29.97 frames/s, variable"


def test_a_constant_rate_costs_no_timestamps(whole: tuple[bytes, Video]) -> None:
    assert Reader(whole[0]).metadata == {}


@pytest.mark.parametrize(
    "frames",
    [
        slice(0, 1),
        slice(5, 7),
        slice(3, 13),
        slice(None, None, 3),
        slice(-2, None),
        slice(9, 9),
        slice(7, 15, 5),
    ],
)
def test_ranges_are_what_all_frames_are(codec: VideoCodec, whole: tuple[bytes, Video], frames: slice) -> None:
    file, video = whole
    (part,) = codec.decode_batch([file], frames=frames)
    assert all(np.array_equal(a, b[frames]) for a, b in zip(part.planes, video.planes, strict=True))
    assert part.timing.stamps.tolist() == video.timing.stamps[frames].tolist()


def test_seconds_are_frames(codec: VideoCodec, whole: tuple[bytes, Video]) -> None:
    file, video = whole
    (part,) = codec.decode_batch([file], start=0.2, stop=0.4)
    assert all(np.array_equal(a, b[5:10]) for a, b in zip(part.planes, video.planes, strict=True))
    assert part.timing.start_seconds == Fraction(1, 5)
    for wrong in ({"start": 1.0}, {"start": 0.4, "stop": 0.2}, {"frames": slice(0, 5, -1)}, {"frames": 3}):
        with pytest.raises(SignalError):
            codec.decode_batch([file], **wrong)
    with pytest.raises(SignalError, match="exclude"):
        codec.decode_batch([file], start=0.2, frames=slice(0, 1))


class Counting(io.BytesIO):
    """Bytes that remember which of them were read."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.spans: list[tuple[int, int]] = []

    def read(self, size: int | None = -1) -> bytes:
        at = self.tell()
        data = super().read(size)
        self.spans.append((at, at + len(data)))
        return data


def test_a_range_reads_only_its_groups(codec: VideoCodec, whole: tuple[bytes, Video]) -> None:
    stream = Counting(whole[0])
    reader = Reader(stream)
    edges = reader.front_size + np.cumsum([0, *reader.chunk_lengths])
    stream.spans.clear()
    codec.decode_batch([reader], frames=slice(9, 11))
    assert [(a, b) for a, b in stream.spans] == [(edges[2], edges[3])]


def test_frames_come_one_by_one_before_the_end_is_read(codec: VideoCodec, whole: tuple[bytes, Video]) -> None:
    stream = Counting(whole[0])
    reader = Reader(stream)
    stream.spans.clear()
    frames = codec.open(reader).frames()
    first = next(frames)
    assert np.array_equal(first[0], whole[1].planes[0][0])
    last = reader.front_size + sum(reader.chunk_lengths[:-1])
    assert all(b <= last for _, b in stream.spans), "the last group is not asked for yet"
    assert sum(1 for _ in frames) == 15


def test_encode_to_a_file_is_encode(codec: VideoCodec) -> None:
    video, file = of_planes(), io.BytesIO()
    size = codec.encode_to(file, video, group=4)
    assert file.getvalue() == codec.encode_batch([video], group=4)[0]
    assert size == len(file.getvalue())


def test_a_pipe_and_a_file_give_the_same_bytes(codec: VideoCodec, tmp_path: Path) -> None:
    video = of_planes(frames=9)
    with (tmp_path / "a.y4m").open("wb") as out:
        write_y4m(video, out)
    from tersor.files.video import open_video

    with (tmp_path / "a.y4m").open("rb") as stream:
        (piped,) = codec.encode_batch([open_video(stream)], group=4)
    (read,) = codec.encode_batch([tmp_path / "a.y4m"], group=4)
    assert piped == read
    (made,) = codec.encode_batch([video], group=4)
    assert Reader(piped).chunk(0) == Reader(made).chunk(0)


def with_sound(samples: np.ndarray, start: Fraction = Fraction(0)) -> Video:
    video = of_planes(frames=50)
    audio = Audio(samples=samples, rate=8000)
    return Video(
        planes=video.planes, format=video.format, timing=video.timing, audio=audio, audio_start=start
    )


TONE = (9000 * np.sin(np.arange(16_000) / 9)).astype(np.int16)[:, None]


def test_sound_travels_in_the_same_file(codec: VideoCodec) -> None:
    pytest.importorskip("numba")
    video = with_sound(TONE, Fraction(1, 10))
    (file,) = codec.encode_batch([video], audio="lossless", group=16)
    (back,) = codec.decode_batch([file])
    assert back.audio is not None
    assert np.array_equal(back.audio.samples, TONE)
    assert back.audio_start == Fraction(1, 10)
    assert "lossless, 8000 Hz" in tersor.info(file)["sound"]
    (part,) = codec.decode_batch([file], frames=slice(10, 20))
    assert part.audio is not None
    assert np.array_equal(part.audio.samples, TONE[2400:5600])  # from 0.4 s, the sound starts at 0.1 s
    assert part.audio_start == Fraction(4, 10)
    assert codec.decode_batch([file], no_audio=True)[0].audio is None
    (silent,) = codec.encode_batch([video], no_audio=True, group=16)
    assert len(Reader(silent).chunk_lengths) == 4
    assert tersor.info(silent)["sound"] == "none"
    (small,) = codec.encode_batch([video], audio_bitrate=16, group=16)
    (back,) = codec.decode_batch([small])
    assert back.audio is not None
    assert len(back.audio.samples) == len(TONE)
    assert "bitrate 16" in tersor.info(small)["sound"]


def test_the_layout_of_channels_is_kept(codec: VideoCodec) -> None:
    pytest.importorskip("numba")
    video = of_planes(frames=2)
    six = Audio(samples=np.repeat(TONE[:800], 6, axis=1), rate=8000, layout="5.1(side)")
    whole = Video(planes=video.planes, format=video.format, timing=video.timing, audio=six)
    (file,) = codec.encode_batch([whole], audio="lossless")
    (back,) = codec.decode_batch([file])
    assert back.audio is not None
    assert back.audio.layout == "5.1(side)"
    assert np.array_equal(back.audio.samples, six.samples)


def test_sound_that_starts_before_or_ends_early(codec: VideoCodec) -> None:
    pytest.importorskip("numba")
    (file,) = codec.encode_batch([with_sound(TONE[:4000], Fraction(-1, 4))], audio="lossless", group=16)
    (late,) = codec.decode_batch([file], frames=slice(40, 50))
    assert late.audio is not None
    assert len(late.audio.samples) == 0
    (early,) = codec.decode_batch([file], frames=slice(0, 5))
    assert early.audio is not None
    assert np.array_equal(early.audio.samples, TONE[2000:3600])


def test_damage_is_named_and_filled(codec: VideoCodec, whole: tuple[bytes, Video]) -> None:
    file, video = whole
    reader = Reader(file)
    at = reader.front_size + reader.chunk_lengths[0] + 5
    bad = bytearray(file)
    bad[at] ^= 1
    with pytest.raises(ChecksumError, match="group 1, frames 4 to 7"):
        codec.decode_batch([bytes(bad)])
    (back,) = codec.decode_batch([bytes(bad)], salvage=True)
    assert back.notes == ("frames 4 to 7 are damaged, and stand still",)
    for own, theirs in zip(back.planes, video.planes, strict=True):
        nearest = [*range(4), 3, 3, 8, 8, *range(8, 16)]
        assert np.array_equal(own, theirs[nearest])
    (part,) = codec.decode_batch([bytes(bad)], salvage=True, frames=slice(5, 7))
    assert np.array_equal(part.planes[0], video.planes[0][[3, 8]])
    (fine,) = codec.decode_batch([bytes(bad)], frames=slice(8, 16))
    assert np.array_equal(fine.planes[0], video.planes[0][8:])


def test_a_cut_file_keeps_its_beginning(codec: VideoCodec, whole: tuple[bytes, Video]) -> None:
    file, video = whole
    reader = Reader(file)
    cut = file[: reader.front_size + sum(reader.chunk_lengths[:2]) + 3]
    (back,) = codec.decode_batch([cut], salvage=True)
    assert back.notes == ("frames 8 to 15 are damaged, and stand still",)
    assert np.array_equal(back.planes[0][:8], video.planes[0][:8])
    assert np.array_equal(back.planes[0][15], video.planes[0][7])
    (none,) = codec.decode_batch([file[: reader.front_size]], salvage=True)
    assert (none.planes[0] == 128).all()


def test_headers_that_lie(whole: tuple[bytes, Video]) -> None:
    """Every byte of the header changed, the checksum right again: an error, or a video that can be told from
    noise by no one.
    """
    reader = Reader(whole[0])
    chunks = [reader.chunk(i) for i in range(len(reader.chunk_lengths))]
    codec = VideoCodec()
    refused = 0
    for at in range(len(reader.header)):
        for value in (0, 1, 127, 128, 255):
            header = reader.header[:at] + bytes([value]) + reader.header[at + 1 :]
            try:
                codec.decode_batch([write(6, header, {}, chunks)])
            except (BitstreamError, WeightsError):
                refused += 1
    assert refused > len(reader.header)


def test_a_header_cannot_ask_for_memory(whole: tuple[bytes, Video]) -> None:
    from dataclasses import replace

    header = VideoHeader.unpack(Reader(whole[0]).header, 4)
    huge = replace(header, format=VideoFormat(width=8192, height=8192, subsampling="444"), groups=(256,) * 4)
    with pytest.raises(BitstreamError, match="limit"):
        VideoHeader.unpack(huge.pack(), 4)
    many = replace(header, constant=False, groups=(256,) * 4, end=1 << 40)
    with pytest.raises(BitstreamError, match="timestamps"):
        VideoCodec().open(Reader(write(6, many.pack(), {}, [b""] * 4)))


def test_files_of_other_codecs(codec: VideoCodec, picture: np.ndarray) -> None:
    with pytest.raises(BitstreamError, match="codec is 'image'"):
        codec.decode_batch([write(1, b"", {}, [])])


def test_groups_end_where_scenes_do() -> None:
    first, second = clip(96, 64, 20), 255 - clip(96, 64, 20)[::-1]
    video = video_of_rgb(np.concatenate([first, second]), 25)
    lengths = [len(g[0]) for g in groups_of(video.frames(), video.format, 64)]
    assert lengths == [20, 20]
    assert [len(g[0]) for g in groups_of(video.frames(), video.format, 12)] == [12, 8, 12, 8]


@pytest.mark.parametrize(
    "wrong",
    [
        {"quality": 0},
        {"quality": 101},
        {"quality": 50, "bitrate": 100},
        {"bitrate": 0},
        {"bitrate": float("nan")},
        {"target_psnr": 200},
        {"effort": 0},
        {"effort": 10},
        {"group": 0},
        {"audio": "loud"},
        {"audio": "lossless", "audio_bitrate": 10},
    ],
)
def test_options_out_of_range(codec: VideoCodec, wrong: dict[str, Any]) -> None:
    with pytest.raises(SignalError):
        codec.encode_batch([of_planes(frames=2)], **wrong)


def test_signals_that_cannot_be_coded(codec: VideoCodec) -> None:
    for wrong, says in (
        (clip(8, 8, 2), "fps="),
        (clip(8, 8, 2).astype(float), "float"),
        (of_planes()[:0], "no frames"),
    ):
        with pytest.raises(SignalError, match=says):
            codec.encode_batch([wrong], fps=None if "fps=" in says else 25)
    with pytest.raises(SignalError, match="CPU"):
        VideoCodec("cuda")


def test_open_reads_lazily(codec: VideoCodec, whole: tuple[bytes, Video], tmp_path: Path) -> None:
    (tmp_path / "a.tsr").write_bytes(whole[0])
    with tersor.open(tmp_path / "a.tsr") as file:
        assert file.info["frames"] == 16
        part = file.read(frames=slice(10, 12))
    assert np.array_equal(np.asarray(part), np.asarray(whole[1])[10:12])


def test_info_loads_neither_torch_nor_numba(whole: tuple[bytes, Video], tmp_path: Path) -> None:
    (tmp_path / "a.tsr").write_bytes(whole[0])
    code = (
        "import sys; from tersor.cli import main; main(['info', sys.argv[1]]); main(['verify', sys.argv[1]])"
        "; assert not {'torch', 'numba'} & sys.modules.keys()"
    )
    subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "a.tsr")], check=True, stdout=subprocess.DEVNULL
    )


def test_progress_reaches_its_end(codec: VideoCodec) -> None:
    seen: list[tuple[int, int]] = []
    (file,) = codec.encode_batch([of_planes()], group=4, progress=lambda *a: seen.append(a))
    assert seen[-1][0] == seen[-1][1]
    assert all(a <= b for a, b in seen)
    seen.clear()
    codec.decode_batch([file], progress=lambda *a: seen.append(a))
    assert seen[-1] == (3, 3)


def test_the_search_for_a_psnr_ends_at_the_lowest_quality() -> None:
    def psnr(q: int) -> float:
        return 20 + 0.25 * q + (0.3 if q % 7 == 0 else 0)

    for target in (21.0, 30.0, 37.3, 44.9):
        points: dict[int, float] = {}
        while (q := next_for_psnr(points, target)) is not None:
            assert q not in points
            points[q] = psnr(q)
        found = min(q for q, p in points.items() if p >= target)
        assert psnr(found - 1) < target
        assert len(points) <= 12


def test_psnr_of_planes() -> None:
    a = np.zeros((1, 2, 2), np.uint8)
    assert psnr_611([a, a, a], [a + 1, a + 1, a], 8) == (
        pytest.approx(48.1308 * 7 / 8 + 100 / 8, abs=1e-3),
        1,
    )


def test_garbage_with_a_valid_checksum(codec: VideoCodec, whole: tuple[bytes, Video]) -> None:
    """Groups of random bytes, and a group in another's place: an error, or frames of the right shape."""
    reader = Reader(whole[0])
    chunks = [reader.chunk(i) for i in range(4)]
    rng = np.random.default_rng(0)
    trials = [b"", chunks[2], chunks[0][:20], chunks[0] + b"\0"]
    trials += [chunks[0][:2] + rng.bytes(int(n)) for n in rng.integers(1, 400, 12)]
    trials += [rng.bytes(40) for _ in range(4)]
    for group in trials:
        said = "group 0"
        try:
            (video,) = codec.decode_batch([write(6, reader.header, {}, [group, *chunks[1:]])])
            assert len(video) == 16
        except BitstreamError as e:
            said = str(e)
        assert "group 0" in said
