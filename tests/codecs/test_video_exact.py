"""Decoded planes are the same integers under every instruction set, number of threads, and uncompiled."""

from __future__ import annotations

from pathlib import Path

import pytest

from tersor.codecs.video.codec import VideoCodec
from tersor.testing.golden import DRAFTS, SETTINGS, run_under, video_cases


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """One of every case, with the digest that the encoder's own process decodes it to."""
    family, version = DRAFTS["video"], tmp_path_factory.mktemp("golden") / "now"
    family.write(version)
    return family.files(version.parent)


@pytest.mark.parametrize("setting", SETTINGS)
def test_planes_are_the_same_everywhere(files: list[Path], setting: str) -> None:
    assert len(files) == len(video_cases())
    for path, (digests, _) in run_under(setting, "video", files).items():
        assert digests == [DRAFTS["video"].expected(path)], path


def test_the_encoder_gives_the_same_bytes_twice_and_with_one_thread() -> None:
    _, video, options = video_cases()["groups-q70"]
    files = {VideoCodec(threads=n).encode_batch([video], **options)[0] for n in (1, 2, 2)}
    assert len(files) == 1
