from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, UnidentifiedImageError

import tersor
import tersor.interop.pillow


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA"])
def test_save_and_open(mode: str, tmp_path: Path, picture: np.ndarray) -> None:
    im = Image.fromarray(picture[:70, :90]).convert(mode)
    path = tmp_path / "x.tsr"
    im.save(path, quality=80)
    with Image.open(path) as back:
        assert (back.format, back.size, back.mode) == ("TERSOR", im.size, mode)
        np.testing.assert_array_equal(np.asarray(back), np.asarray(tersor.decode(path.read_bytes()).pil()))
        assert back.crop((0, 0, 5, 5)).size == (5, 5)


def test_metadata(tmp_path: Path, picture: np.ndarray) -> None:
    exif = Image.Exif()
    exif[0x0112] = 8
    path = tmp_path / "x.tsr"
    Image.fromarray(picture[:30, :30]).save(path, exif=exif, icc_profile=b"profile")
    with Image.open(path) as back:
        assert back.info["icc_profile"] == b"profile"
        assert back.getexif()[0x0112] == 8


def test_sixteen_bit_grey(tmp_path: Path) -> None:
    path = tmp_path / "x.tsr"
    path.write_bytes(tersor.encode(np.full((20, 30), 30000, np.uint16)))
    with Image.open(path) as back:
        assert back.mode == "I;16"
        assert abs(int(np.asarray(back)[5, 5]) - 30000) < 1000


def test_damage_is_pillows_error(tmp_path: Path, picture: np.ndarray) -> None:
    path = tmp_path / "x.tsr"
    data = bytearray(tersor.encode(picture[:40, :40]))
    data[-1] ^= 1
    path.write_bytes(data)
    with Image.open(path) as im, pytest.raises(OSError, match="damaged"):
        im.load()
    path.write_bytes(data[:20])
    with pytest.raises(UnidentifiedImageError):
        Image.open(path)
    with pytest.raises(ValueError, match="quality"):
        Image.fromarray(picture[:8, :8]).save(tmp_path / "y.tsr", quality=1000)
    assert not (tmp_path / "y.tsr").exists()
