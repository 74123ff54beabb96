"""Formats that plugins of Pillow bring; errors that name the one to install."""

from __future__ import annotations

import importlib.util
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pil
from PIL import ImageOps

from tersor.errors import MissingDependencyError, SignalError
from tersor.files import image as images
from tersor.files.image import image_file, picture_suffixes, read_image
from tersor.signals import Image

HEADS = {
    "pillow-jxl-plugin": (b"\xff\x0a" + bytes(20), b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(20)),
    "pillow-heif": (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic"),
}
BY_PLUGIN = [
    pytest.param(suffix, marks=pytest.mark.skipif(importlib.util.find_spec(m) is None, reason=f"without {m}"))
    for suffix, m in ((".jxl", "pillow_jxl"), (".heic", "pillow_heif"))
]


@pytest.mark.parametrize("package", HEADS)
def test_a_missing_plugin_is_named(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "load_plugin", lambda module: False)
    for data in HEADS[package]:
        with pytest.raises(MissingDependencyError, match=f"pip install {package}"):
            read_image(data)


@pytest.mark.parametrize("suffix", [".dng", ".nef", ".cr2"])
def test_raw_files_name_a_way_out(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"x{suffix}"
    path.write_bytes(b"II*\0" + bytes(100))
    with pytest.raises(SignalError, match="rawpy"):
        read_image(path)


def test_a_tiff_that_opens_with_a_preview_is_refused() -> None:
    out = io.BytesIO()
    tags = Pil.Exif()
    Pil.new("RGB", (8, 8)).save(out, "TIFF", tiffinfo={50706: b"\1\4\0\0", 254: 1, 330: 8}, exif=tags)
    with pytest.raises(SignalError, match="preview"):
        read_image(out.getvalue())


@pytest.mark.parametrize("suffix", BY_PLUGIN)
def test_installed_plugins_read_and_write(suffix: str) -> None:
    y, x = np.mgrid[:48, :64]
    samples = np.stack([x * 2, y * 3, 255 - x], 2).astype(np.uint8)
    exif = Pil.Exif()
    exif[0x0112], exif[0x010F] = 6, "Maker"
    data, notes = image_file(Image(samples=samples, metadata={"exif": exif.tobytes()}), suffix)
    assert "turned upright" in notes[0]
    image = read_image(data)
    assert np.abs(image.samples.astype(int) - np.rot90(samples, 3)).max() <= (0 if suffix == ".jxl" else 12)
    assert image.pil().getexif()[0x010F] == "Maker"
    assert ImageOps.exif_transpose(image.pil()).size == (48, 64)
    assert suffix in picture_suffixes()
