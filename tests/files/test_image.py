from __future__ import annotations

import contextlib
import io
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pil

from tersor.errors import SignalError
from tersor.files.coerce import as_image
from tersor.files.image import image_bytes, read_image
from tersor.signals import Image


def png(mode: str, size: tuple[int, int] = (9, 7), **options: object) -> bytes:
    out = io.BytesIO()
    Pil.new(mode, size).save(out, "PNG", **options)
    return out.getvalue()


@pytest.mark.parametrize(
    ("mode", "channels"), [("L", 1), ("LA", 2), ("RGB", 3), ("RGBA", 4), ("P", 3), ("1", 1)]
)
def test_modes(mode: str, channels: int) -> None:
    image = read_image(png(mode))
    assert image.samples.shape == (7, 9, channels)
    assert bool(image.notes) == (mode in ("P", "1"))


def test_palette_transparency_and_cmyk_are_converted_and_say_so() -> None:
    im = Pil.new("P", (4, 4))
    im.info["transparency"] = 0
    assert as_image(im).samples.shape == (4, 4, 4)
    image = as_image(Pil.new("CMYK", (4, 4)))
    assert image.samples.shape == (4, 4, 3)
    assert "CMYK" in image.notes[0]


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_sixteen_bit_png_round_trip(channels: int, tmp_path: Path) -> None:
    samples = np.random.default_rng(0).integers(0, 65536, (12, 10, channels), dtype=np.uint16)
    path = tmp_path / "deep.png"
    Image(samples=samples).save(path)
    back = read_image(path)
    assert back.samples.dtype == np.uint16
    np.testing.assert_array_equal(back.samples, samples)


def test_metadata_of_files(tmp_path: Path) -> None:
    exif = Pil.Exif()
    exif[0x0112] = 6
    path = tmp_path / "in.jpg"
    from PIL import ImageCms

    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Pil.new("RGB", (20, 10)).save(path, exif=exif, icc_profile=icc)
    image = read_image(path)
    assert set(image.metadata) >= {"icc", "exif"}
    assert image.metadata["icc"] == icc
    for suffix in (".png", ".jpg", ".webp", ".tif"):
        back = read_image(image_bytes(image, suffix))
        assert back.metadata["icc"] == icc, suffix
        assert Pil.open(io.BytesIO(image_bytes(image, suffix))).getexif()[0x0112] == 6, suffix
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"></x:xmpmeta>'
    with_xmp = Image(samples=image.samples, metadata={**image.metadata, "xmp": xmp})
    for suffix in (".png", ".jpg", ".webp", ".tif"):
        assert read_image(image_bytes(with_xmp, suffix)).metadata["xmp"] == xmp, suffix
    deep_xmp = Image(samples=np.zeros((4, 4, 3), np.uint16), metadata={"xmp": xmp})
    assert read_image(image_bytes(deep_xmp, ".png")).metadata["xmp"] == xmp
    deep = Image(samples=np.zeros((4, 4, 3), np.uint16), metadata=image.metadata)
    with Pil.open(io.BytesIO(image_bytes(deep, ".png"))) as im:
        assert im.info["icc_profile"] == icc
        assert im.getexif()[0x0112] == 6


def test_reduced_depth_says_so() -> None:
    image = read_image(b"P3\n2 1\n65535\n" + b"65535 " * 6)
    assert image.samples.dtype == np.uint8
    assert "white is 65535" in image.notes[0]
    assert not image.exact


def test_damaged_files_are_an_error_or_an_image() -> None:
    rng = np.random.default_rng(0)
    picture = Pil.fromarray(rng.integers(0, 256, (40, 40, 3), dtype=np.uint8))
    for kind in ("PNG", "JPEG", "TIFF", "GIF", "WEBP"):
        out = io.BytesIO()
        picture.save(out, kind)
        for _ in range(60):
            data = bytearray(out.getvalue())
            for at in rng.integers(0, len(data), 6):
                data[at] = rng.integers(0, 256)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                with contextlib.suppress(SignalError):
                    read_image(bytes(data))


def test_animated_is_an_error() -> None:
    out = io.BytesIO()
    frames = [Pil.new("RGB", (8, 8), c) for c in ("red", "blue")]
    frames[0].save(out, "GIF", save_all=True, append_images=frames[1:])
    with pytest.raises(SignalError, match="animated, 2 frames"):
        read_image(out.getvalue())


@pytest.mark.parametrize(
    "data", [b"", b"GIF89a", b"\x89PNG\r\n\x1a\n", b"hello", png("RGB")[:40], png("RGB", (64, 64))[:-30]]
)
def test_broken_files_are_an_error(data: bytes) -> None:
    with pytest.raises(SignalError):
        read_image(data)


def test_bombs_are_an_error() -> None:
    huge = bytearray(png("L"))
    huge[16:24] = (100000).to_bytes(4, "big") * 2
    import struct
    import zlib

    huge[29:33] = struct.pack(">I", zlib.crc32(bytes(huge[12:29])))
    with pytest.raises(SignalError, match="pixels|bomb"):
        read_image(bytes(huge))


def test_missing_file_and_unknown_format(tmp_path: Path) -> None:
    with pytest.raises(SignalError, match=r"nowhere\.png"):
        read_image(tmp_path / "nowhere.png")
    image = Image(samples=np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(SignalError, match=r"\.xyz"):
        image_bytes(image, ".xyz")
    with pytest.raises(SignalError, match=r"\.png"):
        image_bytes(Image(samples=np.zeros((4, 4, 3), np.uint16)), ".jpg")
    with pytest.raises(SignalError, match="cannot be written"):
        image.save(tmp_path / "no folder" / "x.png")
    assert list(tmp_path.iterdir()) == []


def test_torch_and_numpy_layouts() -> None:
    import torch

    x = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    np.testing.assert_array_equal(as_image(torch.from_numpy(x).permute(2, 0, 1)).samples, x)
    np.testing.assert_array_equal(as_image(x).tensor().permute(1, 2, 0), x)
    assert as_image(x[..., 0]).samples.shape == (2, 4, 1)
    big_endian = x.astype(">u2")
    assert as_image(big_endian).samples.dtype == np.uint16
    np.testing.assert_array_equal(as_image(big_endian).samples, x)
    np.testing.assert_array_equal(np.asarray(as_image(x).pil()), x)
    assert np.asarray(as_image(x)).shape == (2, 4, 3)
