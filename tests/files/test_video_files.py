"""Video files: what FFmpeg reads, made by PyAV on the spot; what is written, and read again."""

from __future__ import annotations

import io
import random
import wave
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from tersor.errors import SignalError
from tersor.files.coerce import video_of_rgb
from tersor.files.cut_short import announced_size
from tersor.files.video import open_video, read_video
from tersor.files.video_write import write_video, write_y4m
from tersor.signals.audio import Audio
from tersor.signals.colour import Colour
from tersor.signals.timing import Timing
from tersor.signals.video import Video, VideoFormat
from tersor.testing.samples import clip

MS = Fraction(1, 1000)


def make(
    path: Path,
    codec: str,
    pixels: str,
    rgb: np.ndarray,
    *,
    options: dict[str, str] | None = None,
    muxer: dict[str, str] | None = None,
    stamps: list[int] | None = None,
    base: Fraction = Fraction(1, 25),
    change: Callable[[Any], None] = lambda stream: None,
    sound: np.ndarray | None = None,
) -> Path:
    """A video file of RGB frames, and sound of 8000 samples a second."""
    with av.open(str(path), "w", options=muxer or {}) as out:
        stream: Any = out.add_stream(codec, rate=25)
        stream.height, stream.width = rgb.shape[1:3]
        stream.pix_fmt = pixels
        stream.codec_context.options = options or {}
        stream.codec_context.time_base = base
        change(stream)
        hears: Any = (
            out.add_stream("flac", rate=8000, layout="mono", format="s16") if sound is not None else None
        )
        for i, x in enumerate(rgb):
            frame = av.VideoFrame.from_ndarray(x, format="rgb24").reformat(format=pixels)
            frame.pts, frame.time_base = (stamps[i] if stamps else i), base
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
        if sound is not None:
            block = av.AudioFrame.from_ndarray(sound[None], format="s16", layout="mono")
            block.sample_rate, block.pts = 8000, 0
            out.mux(hears.encode(block))
            out.mux(hears.encode(None))
    return path


MATRIX = [
    ("a.mp4", "libx264", "yuv420p", (34, 18), "420", 8),
    ("a.mp4", "libx264", "yuvj420p", (34, 18), "420", 8),
    ("a.mkv", "libx264", "yuv422p10le", (34, 18), "422", 10),
    ("a.mkv", "libx264", "yuv444p", (33, 17), "444", 8),
    ("a.mkv", "ffv1", "yuv420p", (33, 17), "420", 8),
    ("a.mkv", "ffv1", "yuv420p12le", (33, 17), "420", 12),
    ("a.mkv", "ffv1", "gray", (33, 17), "400", 8),
    ("a.mkv", "ffv1", "gray10le", (33, 17), "400", 10),
    ("a.mkv", "ffv1", "bgr0", (33, 17), "444", 8),
    ("a.mkv", "ffv1", "gbrp10le", (33, 17), "444", 10),
    ("a.avi", "rawvideo", "rgb24", (34, 18), "444", 8),
    ("a.avi", "rawvideo", "nv12", (34, 18), "420", 8),
    ("a.avi", "rawvideo", "yuyv422", (34, 18), "422", 8),
    ("a.avi", "mjpeg", "yuvj422p", (34, 18), "422", 8),
    ("a.mov", "prores_ks", "yuv422p10le", (64, 48), "422", 10),
    ("a.mpg", "mpeg2video", "yuv420p", (64, 48), "420", 8),
    ("a.gif", "gif", "rgb8", (34, 18), "444", 8),
]


@pytest.mark.parametrize(("name", "codec", "pixels", "size", "subsampling", "depth"), MATRIX)
def test_formats_become_planes(
    tmp_path: Path, name: str, codec: str, pixels: str, size: tuple[int, int], subsampling: str, depth: int
) -> None:
    rgb = clip(*size, 5)
    path = make(tmp_path / name, codec, pixels, rgb)
    video = read_video(path)
    assert (video.format.subsampling, video.format.depth) == (subsampling, depth)
    assert np.asarray(video).shape == rgb.shape
    assert video.timing.is_constant
    assert video.rate == 25
    with av.open(str(path)) as container:
        for i, frame in enumerate(container.decode(video=0)):
            own = video.rgb(i).astype(float)
            theirs = frame.to_ndarray(format="rgb24").astype(float)
            if pixels.startswith("gray"):
                assert np.ptp(own, axis=2).max() == 0
            else:
                assert np.abs(own - theirs).mean() < 8, "FFmpeg's own way to RGB is not far"
            if frame.format.name.startswith("yuv") and frame.format.is_planar:
                luma = np.frombuffer(frame.planes[0], np.uint8 if depth == 8 else "<u2")
                row = luma.reshape(frame.height, -1)[:, : frame.width]
                assert np.array_equal(video.planes[0][i], row), "planes are taken as they are"
    if pixels.startswith("yuvj") or (subsampling == "444" and pixels[0] in "bgr"):
        assert video.format.colour.range == "full"


@pytest.mark.parametrize(
    ("codec", "pixels", "note"),
    [
        ("ffv1", "yuva420p", "transparency"),
        ("ffv1", "gray16le", "16 bits"),
        ("ffv1", "yuv420p16le", "16 bits"),
        ("ffv1", "yuv411p", "422"),
        ("ffv1", "yuv440p", "444"),
        ("ffv1", "bgr0", "RGB"),
    ],
)
def test_what_is_changed_is_said(tmp_path: Path, codec: str, pixels: str, note: str) -> None:
    video = read_video(make(tmp_path / "a.mkv", codec, pixels, clip(34, 18, 2)))
    assert any(note in n for n in video.notes), video.notes


def test_colour_rotation_and_aspect_are_kept(tmp_path: Path) -> None:
    def change(stream: Any) -> None:
        c = stream.codec_context
        c.color_range, c.colorspace, c.color_primaries, c.color_trc = 2, 9, 9, 16
        c.sample_aspect_ratio = Fraction(4, 3)
        stream.set_display_rotation(90)

    video = read_video(make(tmp_path / "a.mp4", "libx264", "yuv420p10le", clip(34, 18, 3), change=change))
    assert video.format.colour == Colour(range="full", matrix=9, primaries=9, transfer=16)
    assert video.format.rotation == 90
    assert video.format.aspect == Fraction(4, 3)


def test_variable_frame_rate(tmp_path: Path) -> None:
    stamps = [10, 40, 100, 130, 500, 501]
    video = read_video(
        make(tmp_path / "a.mkv", "libx264", "yuv420p", clip(34, 18, 6), stamps=stamps, base=MS)
    )
    assert [int(s) * video.timing.base * 1000 for s in video.timing.stamps] == stamps
    assert not video.timing.is_constant


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("a.mpg", "mpeg2video", {"flags": "+ildct+ilme"}),
        ("a.mp4", "libx264", {"x264-params": "interlaced=1"}),
    ],
)
def test_interlaced_fields_are_joined_with_a_note(
    tmp_path: Path, name: str, codec: str, options: dict[str, str]
) -> None:
    video = read_video(make(tmp_path / name, codec, "yuv420p", clip(64, 48, 6), options=options))
    assert any("interlaced" in n for n in video.notes)
    assert len(video) == 6
    assert video.rate == 25


def test_sound_comes_with_the_pictures(tmp_path: Path) -> None:
    tone = (9000 * np.sin(np.arange(2000) / 9)).astype(np.int16)
    path = make(tmp_path / "a.mkv", "ffv1", "yuv420p", clip(34, 18, 6), sound=tone)
    video = read_video(path)
    assert video.audio is not None
    assert video.audio.rate == 8000
    assert np.array_equal(video.audio.samples[:, 0], tone)
    assert video.audio_start == 0
    assert not video.notes
    assert read_video(path, audio=False).audio is None


def damaged(data: bytes, at: int) -> bytes:
    return data[:at] + bytes(b ^ 0x55 for b in data[at : at + 64]) + data[at + 64 :]


def test_damaged_pictures_are_an_error(tmp_path: Path) -> None:
    data = make(
        tmp_path / "a.mp4", "libx264", "yuv420p", clip(320, 240, 20), options={"crf": "10"}
    ).read_bytes()
    rng = random.Random(1)
    path = tmp_path / "b.mp4"
    for _ in range(5):
        path.write_bytes(damaged(data, rng.randrange(len(data) // 4, len(data) // 2)))
        with pytest.raises(SignalError, match="damaged"):
            read_video(path)


@pytest.mark.parametrize(
    ("name", "muxer"),
    [
        ("a.mkv", {}),
        ("a.mp4", {}),
        ("a.mp4", {"movflags": "faststart"}),
        ("a.mp4", {"movflags": "frag_keyframe+empty_moov"}),
        ("a.avi", {}),
    ],
)
def test_cut_files_are_an_error(tmp_path: Path, name: str, muxer: dict[str, str]) -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (20, 48, 64, 3), dtype=np.uint8)
    path = make(tmp_path / name, "libx264", "yuv420p", rgb, options={"g": "5"}, muxer=muxer)
    data = path.read_bytes()
    assert announced_size(io.BytesIO(data)) in (0, len(data))
    for share in (0.5, 0.8, 0.97):
        path.write_bytes(data[: int(share * len(data))])
        with pytest.raises(SignalError, match="cut short"):
            read_video(path)


def test_files_without_video(tmp_path: Path) -> None:
    with wave.open(str(tmp_path / "a.wav"), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(bytes(1600))
    (tmp_path / "empty.mp4").write_bytes(b"")
    (tmp_path / "text.mp4").write_bytes(b"hello " * 200)
    for name, says in (
        ("a.wav", "no video in it"),
        ("empty.mp4", "not a video"),
        ("text.mp4", "not a video"),
        ("missing.mp4", "cannot be read"),
        (".", "cannot be read"),
    ):
        with pytest.raises(SignalError, match=says):
            read_video(tmp_path / name)


def test_frames_that_change_size(tmp_path: Path) -> None:
    parts = [make(tmp_path / f"{w}.h264", "libx264", "yuv420p", clip(w, 48, 4)) for w in (64, 96)]
    both = tmp_path / "both.h264"
    both.write_bytes(b"".join(p.read_bytes() for p in parts))
    with pytest.raises(SignalError, match="96x48"):
        read_video(both)


def test_one_frame_of_one_pixel(tmp_path: Path) -> None:
    video = read_video(make(tmp_path / "a.mkv", "ffv1", "yuv444p", clip(16, 16, 1)[:, :1, :1]))
    assert np.asarray(video).shape == (1, 1, 1, 3)
    assert video.seconds > 0


def noise(subsampling: str, depth: int, size: tuple[int, int], frames: int = 5, **facts: Any) -> Video:
    form = VideoFormat(width=size[0], height=size[1], depth=depth, subsampling=subsampling, **facts)
    rng = np.random.default_rng(depth)
    planes = tuple(rng.integers(0, 1 << depth, (frames, *s)).astype(form.dtype) for s in form.shapes)
    return Video(planes=planes, format=form, timing=Timing.constant(Fraction(30000, 1001), frames, MS))


@pytest.mark.parametrize("size", [(64, 48), (33, 17), (1, 1)])
@pytest.mark.parametrize("depth", [8, 9, 10, 12])
@pytest.mark.parametrize("subsampling", ["400", "420", "422", "444"])
def test_mkv_and_y4m_keep_every_sample(
    tmp_path: Path, subsampling: str, depth: int, size: tuple[int, int]
) -> None:
    colour = Colour(range="limited", matrix=1, primaries=1, transfer=1)
    video = noise(subsampling, depth, size, colour=colour, rotation=270)
    assert write_video(video, tmp_path / "a.mkv") == ()
    back = read_video(tmp_path / "a.mkv")
    assert back == video
    lost = write_video(video, tmp_path / "a.y4m")
    assert "rotation" in lost[0]
    back = read_video(tmp_path / "a.y4m")
    assert all(np.array_equal(a, b) for a, b in zip(back.planes, video.planes, strict=True))
    assert back.format.colour.range == "limited"
    assert back.rate == video.rate


def test_gbr_planes_are_kept(tmp_path: Path) -> None:
    video = noise("444", 8, (32, 16), colour=Colour(range="full", matrix=0))
    write_video(video, tmp_path / "a.mkv")
    back = read_video(tmp_path / "a.mkv")
    assert np.abs(np.asarray(back).astype(int) - np.asarray(video)).max() <= 1


@pytest.mark.parametrize("dtype", ["i2", "i4", "u1"])
def test_mkv_keeps_sound_and_variable_timestamps(tmp_path: Path, dtype: str) -> None:
    video = noise("420", 8, (16, 16), 4)
    stamps = np.array([7, 40, 100, 130], np.int64)
    rng = np.random.default_rng(0)
    samples = rng.integers(0, 200, (3000, 2)).astype(dtype) << (8 if dtype == "i4" else 0)
    video = Video(
        planes=video.planes,
        format=video.format,
        timing=Timing(rate=Fraction(25), base=MS, stamps=stamps, end=170),
        audio=Audio(samples=samples.astype(dtype), rate=8000, bits=24 if dtype == "i4" else 0),
        audio_start=Fraction(50, 1000),
        tags={"title": "Zürich"},
    )
    write_video(video, tmp_path / "a.mkv")
    back = read_video(tmp_path / "a.mkv")
    assert back.timing.stamps.tolist() == stamps.tolist()
    assert back.tags["title"] == "Zürich"
    assert back.audio is not None
    assert back.audio_start == Fraction(50, 1000)
    wanted = (samples.astype(int) - 128) << 8 if dtype == "u1" else samples
    assert np.array_equal(back.audio.samples, wanted)


def test_mp4_and_pictures(tmp_path: Path) -> None:
    video = video_of_rgb(clip(64, 48, 4), 25)
    write_video(video, tmp_path / "a.mp4", crf=1)
    back = read_video(tmp_path / "a.mp4")
    assert np.abs(np.asarray(back).astype(int) - np.asarray(video)).mean() < 2
    assert back.timing == video.timing
    turned = Video(
        planes=video.planes,
        format=VideoFormat(width=64, height=48, subsampling="444", colour=video.format.colour, rotation=90),
        timing=video.timing,
    )
    turned.save(tmp_path / "frames")
    from PIL import Image

    pictures = sorted((tmp_path / "frames").iterdir())
    assert len(pictures) == 4
    with Image.open(pictures[1]) as picture:
        assert np.array_equal(np.array(picture), np.rot90(video.rgb(1)))


def test_odd_sizes_in_mp4_are_said(tmp_path: Path) -> None:
    lost = write_video(noise("420", 8, (33, 17)), tmp_path / "a.mp4")
    assert "4:4:4" in lost[0]


def test_nothing_is_left_of_a_file_that_fails(tmp_path: Path) -> None:
    class Failing(Video):
        def frames(self) -> Any:
            yield from list(super().frames())[:2]
            raise SignalError("the source ends here")

    video = noise("420", 8, (32, 16))
    failing = Failing(planes=video.planes, format=video.format, timing=video.timing)
    for name in ("a.mkv", "a.mp4", "a.y4m", "frames"):
        with pytest.raises(SignalError, match="ends here"):
            write_video(failing, tmp_path / name)
    assert list(tmp_path.iterdir()) == []
    for name, crf, says in (("a.foo", None, "'.foo'"), ("a.mkv", 20, "crf"), ("a.mp4", 99, "crf")):
        with pytest.raises(SignalError, match=says):
            write_video(video, tmp_path / name, crf=crf)
    with pytest.raises(SignalError):
        write_video(video, tmp_path / "nowhere" / "deep" / "a.mkv")


def y4m(video: Video) -> bytes:
    out = io.BytesIO()
    write_y4m(video, out)
    return out.getvalue()


class Pipe(io.RawIOBase):
    """A stream that cannot be sought and gives a few bytes at a time."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        part = self._data.read(min(len(buffer), 1000))
        buffer[: len(part)] = part
        return len(part)


def test_y4m_from_a_pipe() -> None:
    video = noise("420", 10, (33, 17), 7)
    reader = open_video(io.BufferedReader(Pipe(y4m(video))))
    frames = list(reader.frames())
    assert all(
        np.array_equal(p, v[i]) for i, f in enumerate(frames) for p, v in zip(f, video.planes, strict=True)
    )
    assert len(reader.timing) == 7
    with pytest.raises(SignalError, match="once only"):
        reader.again()


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (b"FRAME", b"FRAMY", "not FRAME"),
        (b"W33 ", b"W0 ", "nothing to encode"),
        (b"W33 ", b"Wxx ", "header is damaged"),
        (b"W33 ", b"", "no width"),
        (b"Ip", b"It", "interlaced"),
        (b"C420mpeg2", b"C411", "C411"),
        (b"F30000:1001", b"F30000", "header is damaged"),
    ],
)
def test_y4m_that_is_damaged(old: bytes, new: bytes, says: str) -> None:
    data = y4m(noise("420", 8, (33, 17), 2))
    with pytest.raises(SignalError, match=says):
        list(open_video(data.replace(old, new, 1)).frames())


def test_y4m_that_is_cut_short() -> None:
    data = y4m(noise("420", 8, (33, 17), 2))
    for n in (5, 20, len(data) // 2, len(data) - 1):
        with pytest.raises(SignalError):
            list(open_video(data[:n]).frames())
