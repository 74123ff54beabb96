"""The lossless codec: integers of any shape, images as images, files back to the same samples."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image as Pil

import tersor
from tersor.cli import main
from tersor.codecs.lossless.codec import LosslessCodec
from tersor.codecs.lossless.colour import TRANSFORMS, backward, forward
from tersor.errors import BitstreamError, SignalError
from tersor.signals import Field, Image
from tersor.testing.contract import CodecContract


class TestContract(CodecContract):
    mean_error_levels = 0.0 + 1e-9

    def make_codec(self) -> LosslessCodec:
        return LosslessCodec()

    def signals(self) -> list[Any]:
        rng = np.random.default_rng(0)
        waves = (100 + 50 * np.sin(np.add.outer(np.arange(40) / 7, np.arange(50) / 5))).astype(np.uint8)
        return [
            np.stack([waves, waves + 3, waves + rng.integers(0, 9, waves.shape, np.uint8)], 2),
            waves.astype(np.uint16) * 200,
        ]


@pytest.fixture(scope="module")
def codec() -> LosslessCodec:
    return LosslessCodec()


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_colours_are_reversible(transform: str, dtype: type) -> None:
    top = np.iinfo(dtype).max
    x = np.random.default_rng(0).integers(0, top, (4, 30, 20), dtype=dtype, endpoint=True)
    corners = np.array(
        [[a, b, c, d] for a in (0, top) for b in (0, top) for c in (0, top) for d in (0, top)], dtype
    ).T.reshape(4, 4, 4)
    for planes in (x, x[:3], corners):
        assert np.array_equal(backward(forward(planes, transform), transform, np.dtype(dtype)), planes)


@settings(
    max_examples=50,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_any_integers(codec: LosslessCodec, data: st.DataObject) -> None:
    dtype = data.draw(
        st.sampled_from(
            [np.uint8, np.int8, np.uint16, np.int32, np.uint64, np.int64, np.bool_, np.dtype(">u2")]
        )
    )
    x = data.draw(arrays(dtype, array_shapes(min_dims=0, max_dims=4, min_side=1, max_side=9)))
    y = np.asarray(codec.decode_batch(codec.encode_batch([x]))[0])
    assert y.dtype == x.dtype
    assert y.shape == x.shape
    assert np.array_equal(y, x)


def test_images_come_back_as_images(
    codec: LosslessCodec, picture: np.ndarray, hard_pictures: dict[str, np.ndarray]
) -> None:
    alpha = np.dstack([picture, picture[..., 0] // 2])
    deep = picture.astype(np.uint16) * 257 + np.arange(picture.shape[1], dtype=np.uint16)[None, :, None]
    cases = [
        picture,
        alpha,
        alpha[..., :2],
        picture[..., :1],
        deep,
        deep[..., :1],
        *hard_pictures.values(),
        np.full((1, 1, 3), 7, np.uint8),
        picture[:3, :200],
    ]
    for samples in cases:
        image = Image(samples=np.ascontiguousarray(samples), metadata={"icc": b"profile"})
        (file,) = codec.encode_batch([image])
        back = codec.decode_batch([file])[0]
        assert isinstance(back, Image)
        assert back.metadata == {"icc": b"profile"}
        assert back.samples.dtype == samples.dtype
        assert np.array_equal(back.samples, samples)
    (file,) = codec.encode_batch([Image(samples=picture)], block=8192)
    part = codec.decode_batch([file], region=(30, 20, 50, 40))[0]
    assert np.array_equal(np.asarray(part), picture[20:60, 30:80])
    facts = tersor.info(file)
    assert (facts["codec"], facts["width"], facts["height"], facts["raw_bytes"]) == (
        "lossless",
        420,
        300,
        picture.nbytes,
    )
    for wrong in ({"region": (0, 0, 421, 3)}, {"slices": slice(3)}):
        with pytest.raises(SignalError, match="image"):
            codec.decode_batch([file], **wrong)


def test_arrays_come_back_as_arrays(codec: LosslessCodec, picture: np.ndarray) -> None:
    (file,) = codec.encode_batch([picture])
    back = codec.decode_batch([file])[0]
    assert isinstance(back, Field)
    assert np.array_equal(back.values, picture)
    part = codec.decode_batch([file], slices=(slice(5, 9), slice(None), slice(1, 2)))[0]
    assert np.array_equal(np.asarray(part), picture[5:9, :, 1:2])
    volume = np.add.outer(np.arange(20), np.add.outer(np.arange(30) ** 2 // 9, np.arange(40))).astype(
        np.uint16
    )
    data = tersor.encode(volume, codec="lossless")
    assert np.array_equal(np.asarray(tersor.decode(data)), volume)
    assert len(data) < volume.nbytes / 10


def test_bad_signals(codec: LosslessCodec) -> None:
    for wrong, words in (
        (np.zeros(4), "codec='field'"),
        ({"a": np.arange(3), "b": np.arange(3)}, "2 variables"),
        (np.array(["a"]), "allowed are floats"),
    ):
        with pytest.raises(SignalError, match=words):
            codec.encode_batch([wrong])
    out = io.BytesIO()
    Pil.new("CMYK", (20, 20), (1, 2, 3, 4)).save(out, "TIFF")
    with pytest.raises(SignalError, match="CMYK"):
        codec.encode_batch([out.getvalue()])
    with pytest.raises(SignalError, match="CPU"):
        LosslessCodec("cuda")


def test_bad_headers(codec: LosslessCodec, picture: np.ndarray) -> None:
    from tersor.codecs.lossless.header import LosslessHeader
    from tersor.container import Reader

    reader = Reader(codec.encode_batch([picture])[0])
    chunks = len(reader.chunk_lengths)
    for wrong in (
        b"",
        b"\x09\x00",
        b"\x01\x09",
        bytes([0]) + reader.header[1:],
        reader.header[:2] + b"\0\0\0\0\0",
    ):
        with pytest.raises(BitstreamError):
            LosslessHeader.unpack(wrong, chunks)


def test_files_come_back_exactly(tmp_path: Path, picture: np.ndarray) -> None:
    """PNG, palette, 16-bit grey TIFF and .npy through the command line."""
    deep = (np.add.outer(np.arange(90), np.arange(80)) * 311).astype(np.uint16)
    Pil.fromarray(picture).save(tmp_path / "photo.png")
    Pil.fromarray(picture).quantize(20).save(tmp_path / "palette.png")
    Pil.fromarray(deep).save(tmp_path / "deep.tif")
    np.save(tmp_path / "volume.npy", np.arange(4000, dtype=np.int16).reshape(10, 20, 20))
    for name, out in (
        ("photo.png", "a.png"),
        ("palette.png", "b.png"),
        ("deep.tif", "c.tif"),
        ("deep.tif", "d.png"),
        ("volume.npy", "e.npy"),
    ):
        file = tmp_path / f"{out}.tsr"
        assert main(["encode", "--codec", "lossless", str(tmp_path / name), "-o", str(file), "-q"]) == 0
        assert main(["decode", str(file), "-o", str(tmp_path / out), "-q"]) == 0
        if out == "e.npy":
            assert np.array_equal(np.load(tmp_path / out), np.load(tmp_path / name))
            continue
        with Pil.open(tmp_path / name) as a, Pil.open(tmp_path / out) as b:
            assert np.array_equal(np.array(a.convert("RGB") if a.mode == "P" else a), np.array(b)), name
    assert main(["decode", str(tmp_path / "a.png.tsr"), "-q"]) == 0
    assert (tmp_path / "a.png.png").exists()
    assert main(["verify", str(tmp_path / "a.png.tsr")]) == 0
