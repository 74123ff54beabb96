"""Videos as plain data: formats, timing, colour."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from tersor.errors import SignalError
from tersor.files.coerce import as_rate, video_of_rgb
from tersor.signals.colour import RGB_CODED, Colour, from_rgb, to_rgb
from tersor.signals.timing import Timing, simplest_timing
from tersor.signals.video import Video, VideoFormat
from tersor.testing.samples import clip

NTSC = Fraction(30000, 1001)


@pytest.mark.parametrize(
    ("subsampling", "size", "shapes"),
    [
        ("420", (33, 17), ((17, 33), (9, 17), (9, 17))),
        ("422", (33, 17), ((17, 33), (17, 17), (17, 17))),
        ("444", (33, 17), ((17, 33), (17, 33), (17, 33))),
        ("400", (33, 17), ((17, 33),)),
        ("420", (1, 1), ((1, 1), (1, 1), (1, 1))),
    ],
)
def test_chroma_of_odd_sizes_is_rounded_up(subsampling: str, size: tuple[int, int], shapes: object) -> None:
    assert VideoFormat(width=size[0], height=size[1], subsampling=subsampling).shapes == shapes


@pytest.mark.parametrize(
    "wrong",
    [
        {"width": 0},
        {"width": 1 << 17},
        {"width": 50_000, "height": 50_000},
        {"depth": 7},
        {"depth": 13},
        {"subsampling": "411"},
        {"rotation": 45},
        {"aspect": Fraction(0)},
        {"aspect": Fraction(1, 1 << 40)},
    ],
)
def test_formats_that_cannot_be_coded(wrong: dict[str, object]) -> None:
    with pytest.raises(SignalError):
        VideoFormat(**{"width": 8, "height": 8, **wrong})  # type: ignore[arg-type]


@pytest.mark.parametrize("depth", [8, 10, 12])
def test_rgb_comes_back_within_a_level(depth: int) -> None:
    rng = np.random.default_rng(depth)
    rgb = rng.integers(0, 1 << depth, (40, 50, 3)).astype(np.uint8 if depth == 8 else np.uint16)
    back = to_rgb(from_rgb(rgb, depth), depth, RGB_CODED)
    exact = rgb.astype(float) * 255 / ((1 << depth) - 1)
    assert np.abs(back - exact).max() <= 1.01


# Of BT.601 and BT.709, 8 bits, limited and full range; the colour bars of ITU-R BT.1729 rounded to integers.
KNOWN = [
    (Colour(matrix=6, range="limited"), (81, 90, 240), (254, 0, 0)),
    (Colour(matrix=6, range="limited"), (145, 54, 34), (0, 255, 1)),
    (Colour(matrix=1, range="limited"), (63, 102, 240), (255, 1, 0)),
    (Colour(matrix=1, range="limited"), (235, 128, 128), (255, 255, 255)),
    (Colour(matrix=1, range="limited"), (16, 128, 128), (0, 0, 0)),
    (Colour(matrix=6, range="full"), (76, 85, 255), (254, 0, 0)),
    (Colour(matrix=0, range="full"), (10, 20, 30), (30, 10, 20)),
]


@pytest.mark.parametrize(("colour", "levels", "rgb"), KNOWN)
def test_known_colours(colour: Colour, levels: tuple[int, ...], rgb: tuple[int, ...]) -> None:
    planes = tuple(np.full((4, 4), v, np.uint8) for v in levels)
    assert np.abs(to_rgb(planes, 8, colour).astype(int) - rgb).max() <= 1


def test_ten_bits_are_as_bright_as_eight() -> None:
    colour = Colour(matrix=1, range="limited")
    eight = tuple(np.full((2, 2), v, np.uint8) for v in (120, 90, 160))
    ten = tuple(np.full((2, 2), 4 * v, np.uint16) for v in (120, 90, 160))
    assert np.array_equal(to_rgb(eight, 8, colour), to_rgb(ten, 10, colour))


def test_an_unspecified_matrix_goes_by_size() -> None:
    small, large = (tuple(np.full((n, 4), v, np.uint8) for v in (100, 90, 200)) for n in (480, 720))
    known = [to_rgb(small, 8, Colour(matrix=m))[0, 0] for m in (6, 1)]
    assert np.array_equal(to_rgb(small, 8, Colour())[0, 0], known[0])
    assert np.array_equal(to_rgb(large, 8, Colour())[0, 0], known[1])
    with pytest.raises(SignalError, match="matrix 14"):
        to_rgb(small, 8, Colour(matrix=14))


@pytest.mark.parametrize("location", ["left", "centre", "top left", "top", "bottom left", "bottom"])
def test_chroma_lies_where_the_file_says(location: str) -> None:
    """A chroma that grows evenly over the picture is the same after it was brought to the luma's grid."""
    y, x = np.mgrid[:16, :16].astype(float)
    across = 0.5 if location in ("centre", "top", "bottom") else 0.0
    down = 0.0 if location.startswith("top") else 1.0 if location.startswith("bottom") else 0.5
    rows, columns = np.mgrid[:8, :8]
    ramp = np.rint(8 * (2 * columns + across) + 4 * (2 * rows + down) + 20).astype(np.uint8)
    from tersor.signals.colour import _raised

    got = _raised(ramp, (16, 16), location) / 16
    assert np.abs(got - (8 * x + 4 * y + 20))[1:-1, 1:-1].max() <= 0.5


def test_timing_of_a_constant_rate() -> None:
    t = Timing.constant(NTSC, 5, Fraction(1, 1000))
    assert t.stamps.tolist() == [0, 33, 67, 100, 133]
    assert t.end == 167
    assert t.is_constant
    assert t.part(1, 3).stamps.tolist() == [33, 67]
    assert t.part(1, 3).end == 100
    assert t.frames_between(0.05, 0.101) == (1, 4)
    assert t.frames_between(None, None) == (0, 5)
    for wrong in ((-1.0, None), (1.0, None), (0.1, 0.05), (float("nan"), None)):
        with pytest.raises(SignalError, match="does not fit"):
            t.frames_between(*wrong)


def test_timestamps_must_rise() -> None:
    with pytest.raises(SignalError, match="frame 1"):
        Timing(rate=NTSC, base=Fraction(1, 90_000), stamps=np.array([0, 5, 5]), end=9).check()


@pytest.mark.parametrize("rate", [Fraction(24000, 1001), Fraction(25), NTSC, Fraction(60), Fraction(12, 7)])
@pytest.mark.parametrize("base", [Fraction(1, 1000), Fraction(1, 90_000), Fraction(1, 12_800)])
def test_a_rate_is_found_in_rounded_timestamps(rate: Fraction, base: Fraction) -> None:
    t = Timing.constant(rate, 300, base, start=40)
    found = simplest_timing(t.stamps.tolist(), t.end, base, [rate])
    assert found.rate == rate
    assert found.is_constant
    assert [s * found.base for s in found.stamps.tolist()] == [s * base for s in t.stamps.tolist()]


def test_a_variable_rate_is_kept() -> None:
    found = simplest_timing([0, 40, 100, 130, 500], 541, Fraction(1, 1000), [Fraction(25)])
    assert not found.is_constant
    assert found.stamps.tolist() == [0, 4, 10, 13, 50]
    assert found.base == Fraction(1, 100)


def test_a_video_is_its_frames() -> None:
    rgb = clip(40, 24, 6)
    video = video_of_rgb(rgb, 29.97)
    assert video.rate == NTSC
    assert np.asarray(video).shape == rgb.shape
    assert np.abs(np.asarray(video).astype(int) - rgb).max() <= 1
    part = video[2:4]
    assert len(part) == 2
    assert part == video[2:4]
    assert part != video[1:3]
    assert np.array_equal(part.planes[1], video.planes[1][2:4])
    assert part.timing.start_seconds == 2 / NTSC
    assert repr(video) == "Video(6 frames of 40x24, 444, 8 bits, 29.97 frames/s)"
    assert sum(1 for _ in video.frames()) == 6
    with pytest.raises(SignalError, match="slice"):
        video[3]  # type: ignore[index]
    with pytest.raises(SignalError, match="a plane is"):
        replace(video, planes=tuple(p[:5] for p in video.planes))
    with pytest.raises(SignalError, match="10 bits"):
        Video(
            planes=(np.full((1, 2, 2), 1 << 10, np.uint16),),
            format=VideoFormat(width=2, height=2, depth=10, subsampling="400"),
            timing=Timing.constant(NTSC, 1),
        )


@pytest.mark.parametrize(
    ("given", "rate"),
    [
        (23.976, Fraction(24000, 1001)),
        (29.97, NTSC),
        (25, Fraction(25)),
        (12.5, Fraction(25, 2)),
        ("50", Fraction(50)),
    ],
)
def test_rates_as_people_write_them(given: object, rate: Fraction) -> None:
    assert as_rate(given) == rate


@pytest.mark.parametrize("wrong", [0, -1, float("nan"), float("inf"), "fast", None])
def test_rates_that_are_none(wrong: object) -> None:
    with pytest.raises(SignalError, match="frame rate"):
        as_rate(wrong)
