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


def test_saving_follows_pillows_custom_with_metadata(tmp_path: Path, picture: np.ndarray) -> None:
    source = tmp_path / "s.jpg"
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    Image.fromarray(picture[:30, :40]).save(source, exif=exif, icc_profile=b"i" * 200, dpi=(300, 300))
    path = tmp_path / "x.tsr"
    with Image.open(source) as im:
        im.save(path)
        with Image.open(path) as back:
            assert back.getexif()[0x010F] == "Maker"
            assert back.info["dpi"] == (300, 300)
        for nothing in (None, b""):
            im.save(path, exif=nothing, icc_profile=nothing, dpi=None)
            with Image.open(path) as back:
                assert not {"exif", "icc_profile", "dpi"} & back.info.keys()
        im.save(path, xmp=b"<x/>", comment="c", exif=Image.Exif())
        with Image.open(path) as back:
            assert (back.info["xmp"], back.info["comment"]) == (b"<x/>", b"c")
            assert "exif" not in back.info


def test_options_of_other_formats_are_errors(tmp_path: Path, picture: np.ndarray) -> None:
    im = Image.fromarray(picture[:30, :40])
    path = tmp_path / "x.tsr"
    im.save(path, lossless=True)
    with Image.open(path) as back:
        np.testing.assert_array_equal(np.asarray(back), picture[:30, :40])
    for options in (
        {"optimize": True},
        {"subsampling": 0},
        {"lossless": True, "quality": 3},
        {"append_images": [im]},
    ):
        with pytest.raises(ValueError, match="it has|one image"):
            im.save(path, **options)


def test_what_pillow_cannot_hold_says_why(tmp_path: Path) -> None:
    path = tmp_path / "x.tsr"
    for data, words in (
        (tersor.encode(np.zeros((8, 8, 3), np.uint16)), "16-bit colour"),
        (tersor.encode(np.zeros((8, 8)), codec="field", lossless=True), "no image"),
        (b"\x89TSR", "cut short|ends|short"),
    ):
        path.write_bytes(data)
        with pytest.raises(UnidentifiedImageError, match=words):
            Image.open(path)
    path.write_bytes(
        tersor.encode(np.full((20, 20, 3), 9, np.uint8), codec="lossless")
    )  # an array of samples
    with Image.open(path) as back:
        assert (np.asarray(back) == 9).all()
