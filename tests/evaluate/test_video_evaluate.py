from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tersor.cli import main
from tersor.errors import SignalError
from tersor.evaluate import speed_video
from tersor.evaluate.anchors.video import MODES, Variant, run_anchor, user_data_bytes, variants
from tersor.evaluate.video import bd_rates, quality_of, table
from tersor.files.coerce import video_of_rgb
from tersor.files.video_write import write_video
from tersor.signals.colour import Colour
from tersor.signals.timing import Timing
from tersor.signals.video import Video, VideoFormat
from tersor.testing.samples import clip


def yuv420(frames: int = 6) -> Video:
    full = video_of_rgb(clip(64, 48, frames), 25)
    planes = (full.planes[0], *(np.ascontiguousarray(p[:, ::2, ::2]) for p in full.planes[1:]))
    form = VideoFormat(width=64, height=48, colour=Colour(range="full", matrix=1))
    return Video(planes=planes, format=form, timing=Timing.constant(full.rate, frames))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("family", ["x264", "x265", "vp9"])
def test_anchors_code_and_count(family: str, mode: str) -> None:
    video = yuv420()
    for variant in variants(family, mode):
        fine, coarse = (run_anchor(variant, video, crf) for crf in (10, 40))
        assert fine.size > coarse.size > 0
        assert (
            quality_of(video, fine.video, False)["psnr_yuv"]
            > quality_of(video, coarse.video, False)["psnr_yuv"]
        )
        assert (fine.left_out > 500) == (family in ("x264", "x265"))


def test_user_data_is_the_sei_of_its_type_alone() -> None:
    sei, other, slice_ = b"\0\0\0\1\x06\x05abc", b"\0\0\1\x06\x01xy", b"\0\0\0\1\x65data"
    assert user_data_bytes(sei + other + slice_, "x264") == len(sei)
    assert user_data_bytes(other + slice_ + sei, "x264") == len(sei)
    assert user_data_bytes(b"\0\0\1\x4e\1\5abcd" + slice_, "x265") == 10
    assert user_data_bytes(sei, "vp9") == 0


def test_unknown_anchor() -> None:
    with pytest.raises(SignalError, match="there are x264"):
        variants("mpeg1", MODES[0])
    assert Variant(family="x265", preset="slow", mode=MODES[0], tuned=True).name == "x265-slow psnr"


def test_bd_rate_of_half_the_bytes() -> None:
    rows = [
        {"clip": c, "codec": name, "mode": MODES[0], "bpp": factor * rate, "psnr_y": 30 + 5 * i}
        for c in ("a", "b")
        for name, factor in (("tersor", 0.5), ("x264-medium", 1.0))
        for i, rate in enumerate((0.1, 0.2, 0.4, 0.8))
    ]
    rates = bd_rates(rows, "psnr_y")
    assert rates["low delay, x264-medium"]["mean"] == pytest.approx(-50)
    assert "-50.0" in "".join(table(rates))


def test_the_command_writes_every_point(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    (tmp_path / "data").mkdir()
    write_video(yuv420(), tmp_path / "data" / "a.mkv")
    arguments = [
        "--data",
        str(tmp_path / "data"),
        "--anchors",
        "x264",
        "--qualities",
        "20,80",
        "--modes",
        "low-delay",
    ]
    assert main(["eval", "--codec", "video", *arguments, "--frames", "4", "-o", str(tmp_path / "out")]) == 0
    found = json.loads((tmp_path / "out" / "video.json").read_text())
    assert set(found["bd_rate"]) >= {"psnr_y", "psnr_yuv", "psnr_rgb"}
    assert [r["knob"] for r in found["points"] if r["codec"] == "tersor"] == [20, 80]
    assert {r["codec"] for r in found["points"]} == {"tersor", "x264-medium", "x264-medium psnr"}
    assert (tmp_path / "out" / "video.png").stat().st_size > 5000
    assert "BD-rate" in capsys.readouterr().out
    assert main(["eval", "--codec", "video", "--data", str(tmp_path / "out")]) == 1
    assert main(["eval", "--codec", "video", *arguments[:2], "--modes", "sideways"]) == 1


def test_speed_in_both_modes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_video(yuv420(4), tmp_path / "a.mkv")
    command = ["bench", "--codec", "video", "--data", str(tmp_path), "--repeat", "1"]
    assert main([*command, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    for mode in ("random access", "low delay"):
        assert facts[mode]["encode_fps"] > 0
        assert facts[mode]["decode_fps"] > 0
        assert facts[mode]["one_frame_seconds"] > 0
    assert len(speed_video.lines(facts)) == 3
