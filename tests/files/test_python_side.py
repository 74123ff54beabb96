"""What people try in Python: comparison, hashing, open files, paths, masked arrays."""

from __future__ import annotations

import io
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pil

import tersor
from tersor.errors import SignalError
from tersor.files.coerce import as_audio, as_field, as_image
from tersor.signals import Audio, Field, FieldSet, Image

SAMPLES = np.random.default_rng(0).integers(0, 256, (10, 14, 3), dtype=np.uint8)


def test_images_compare_and_hash_by_what_they_hold() -> None:
    a, b = Image(samples=SAMPLES), Image(samples=SAMPLES.copy(), notes=("a note",))
    assert a == b
    assert hash(a) == hash(b)
    assert len({a, b}) == 1
    for other in (
        Image(samples=255 - SAMPLES),
        Image(samples=SAMPLES.astype(np.uint16)),
        Image(samples=SAMPLES[:, ::-1]),
        Image(samples=SAMPLES, metadata={"xmp": b"<x/>"}),
        SAMPLES.tolist(),
    ):
        assert a != other


def test_arrays_and_sounds_compare_and_hash_too() -> None:
    values = np.array([1.0, np.nan, -0.5])
    a = Field(values=values, name="t", attributes={"range": np.array([0, 1]), "unit": "K", "fill": np.nan})
    b = Field(
        values=values.copy(), name="t", attributes={"range": np.array([0, 1]), "unit": "K", "fill": np.nan}
    )
    assert a == b
    assert hash(a) == hash(b)
    assert FieldSet(fields={"t": a}) == FieldSet(fields={"t": b})
    assert len({FieldSet(fields={"t": a}), FieldSet(fields={"t": b})}) == 1
    others = (
        replace(a, values=values.astype(np.float32)),
        replace(a, values=values[:2]),
        replace(a, name="u"),
        replace(a, attributes={"range": np.array([0, 2]), "unit": "K", "fill": np.nan}),
        FieldSet(fields={"t": a}),
    )
    assert all(a != other for other in others)
    assert FieldSet(fields={"t": a}) != FieldSet(fields={"t": others[1]})
    sound = np.arange(12, dtype=np.int16)[:, None]
    assert Audio(samples=sound, rate=8000) == Audio(samples=sound.copy(), rate=8000)
    assert len({Audio(samples=sound, rate=8000), Audio(samples=sound.copy(), rate=8000)}) == 1
    assert Audio(samples=sound, rate=8000) != Audio(samples=sound, rate=16000)
    assert Audio(samples=sound, rate=8000) != Audio(samples=sound[::-1], rate=8000)


def test_open_files_and_paths_go_in(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    assert Image(samples=SAMPLES).save(str(path)) == ()
    with path.open("rb") as file:
        for source in (
            path,
            str(path),
            file,
            io.BytesIO(path.read_bytes()),
            path.read_bytes(),
            os.fspath(path),
        ):
            assert as_image(source) == Image(samples=SAMPLES)
    assert tersor.encode(io.BytesIO(path.read_bytes()), codec="lossless") == tersor.encode(
        path, codec="lossless"
    )
    array, out = np.arange(12.0).reshape(3, 4), io.BytesIO()
    np.save(out, array)
    assert as_field(io.BytesIO(out.getvalue())) == Field(values=array)
    with path.open(encoding="latin-1") as file, pytest.raises(SignalError, match="'rb'"):
        as_image(file)


def test_images_are_saved_into_open_files(tmp_path: Path) -> None:
    image = Image(samples=SAMPLES)
    out = io.BytesIO()
    image.save(out, "png")
    assert as_image(out.getvalue()) == image
    with pytest.raises(SignalError, match="format="):
        image.save(io.BytesIO())
    with (tmp_path / "y.bmp").open("wb") as file:
        image.save(file)
    with Pil.open(tmp_path / "y.bmp") as im:
        assert im.format == "BMP"
    image.save(tmp_path / "no suffix", format=".tif")
    assert as_image(tmp_path / "no suffix") == image


def test_masked_cells_are_an_error() -> None:
    masked = np.ma.masked_array(SAMPLES, mask=SAMPLES > 200)
    with pytest.raises(SignalError, match="filled"):
        as_image(masked)
    with pytest.raises(SignalError, match="filled"):
        as_audio(np.ma.masked_array(np.zeros(9, np.int16), mask=[True] + [False] * 8), 8000)
    assert as_image(np.ma.masked_array(SAMPLES)) == Image(samples=SAMPLES)


@pytest.mark.parametrize("option", ["quality", "effort", "tile", "target_bpp", "target_psnr"])
def test_truth_values_are_no_numbers(option: str) -> None:
    with pytest.raises(SignalError, match=option):
        tersor.encode(SAMPLES, **{option: True})
