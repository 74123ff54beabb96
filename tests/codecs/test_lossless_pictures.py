"""Photographs and graphics without loss: any size, depth and number of channels; rates pinned."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tempfile
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pil

import tersor
from tersor.codecs.lossless.arithmetic import STRETCH_MAX, tables
from tersor.codecs.lossless.codec import LosslessCodec
from tersor.codecs.lossless.graphics import decode_graphics, encode_graphics
from tersor.codecs.lossless.header import PictureHeader, read_header
from tersor.codecs.lossless.photo import decode_photo, encode_photo
from tersor.codecs.lossless.pictures import decode_tile, encode_tile, grid
from tersor.container import Reader
from tersor.errors import BitstreamError, LimitExceededError, SignalError
from tersor.signals import Image
from tersor.testing.graphics import RENDERERS

SHAPES = (
    (1, 1, 1),
    (1, 1, 4),
    (1, 23, 3),
    (31, 1, 2),
    (2, 2, 3),
    (9, 17, 1),
    (17, 9, 3),
    (13, 26, 4),
    (11, 12, 2),
)
CODERS = {"photo": (encode_photo, decode_photo), "graphics": (encode_graphics, decode_graphics)}


def kinds(shape: tuple[int, int, int], dtype: type) -> dict[str, np.ndarray]:
    top = int(np.iinfo(dtype).max)
    rng = np.random.default_rng(3)
    ramp = np.add.outer(np.arange(shape[0]) * 5, np.arange(shape[1]) * 3)[..., None] + np.arange(shape[2])
    return {
        "noise": rng.integers(0, top, shape, dtype=dtype, endpoint=True),
        "flat": np.full(shape, top, dtype),
        "smooth": (ramp * (top // 255) % (top + 1)).astype(dtype),
        "extremes": (rng.integers(0, 2, shape) * top).astype(dtype),
        "one plane": np.concatenate([np.full(shape, 3, dtype)[..., 1:], ramp[..., :1].astype(dtype)], 2),
    }


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("coder", CODERS)
def test_every_sample_comes_back(coder: str, shape: tuple[int, int, int], dtype: type) -> None:
    encode, decode = CODERS[coder]
    for name, samples in kinds(shape, dtype).items():
        payload = encode(samples)
        assert payload is not None
        out = decode(payload, shape, np.dtype(dtype), "chunk 0")
        assert out.dtype == dtype, name
        assert np.array_equal(out, samples), name


def test_codes_are_the_same_without_a_compiler(picture: np.ndarray) -> None:
    """Integers alone decide: Python's and the machine's give the same bytes."""
    crops = [picture[40:47, 60:70], picture[40:44, 60:66, :1].astype(np.uint16) * 257]
    program = (
        "import sys, numpy as np\n"
        "from tersor.codecs.lossless.photo import encode_photo, decode_photo\n"
        "from tersor.codecs.lossless.graphics import encode_graphics, decode_graphics\n"
        "for i in (0, 1):\n"
        "    x = np.load(sys.argv[1 + i])\n"
        "    for encode, decode in ((encode_photo, decode_photo), (encode_graphics, decode_graphics)):\n"
        "        code = encode(x)\n"
        "        assert np.array_equal(decode(code, x.shape, x.dtype, 'chunk'), x)\n"
        "        print(code.hex())\n"
    )
    with tempfile.TemporaryDirectory() as folder:
        paths = [f"{folder}/{i}.npy" for i in range(2)]
        for path, crop in zip(paths, crops, strict=True):
            np.save(path, crop)
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", program, *paths],
            env={**os.environ, "NUMBA_DISABLE_JIT": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
        )
    assert done.returncode == 0, done.stderr
    codes = [bytes.fromhex(line) for line in done.stdout.split()]
    assert codes == [encode(crop) for crop in crops for encode in (encode_photo, encode_graphics)]


@pytest.mark.parametrize("coder", CODERS)
def test_damage_is_an_error_or_another_picture(coder: str, picture: np.ndarray) -> None:
    """Behind the checksums: whatever bytes come, the decoder stays inside its memory."""
    encode, decode = CODERS[coder]
    samples = picture[:20, :30] if coder == "photo" else picture[:20, :30] // 64 * 64
    payload = encode(samples)
    assert payload is not None
    rng = np.random.default_rng(1)
    refused = 0
    for i in range(150):
        damaged = bytearray(payload[: len(payload) - i % 7])
        for _ in range(int(rng.integers(1, 4))):
            damaged[int(rng.integers(0, len(damaged) if i % 2 else 12))] = int(rng.integers(0, 256))
        damaged = damaged if i % 5 else bytearray(rng.bytes(40))
        try:
            out = decode(bytes(damaged), samples.shape, samples.dtype, "chunk 3")
        except BitstreamError:
            refused += 1
        else:
            assert out.shape == samples.shape
    assert refused > 20
    with pytest.raises(BitstreamError, match="chunk 3"):
        decode_tile(b"\x09" + payload, samples.shape, samples.dtype, "chunk 3")
    with pytest.raises(BitstreamError, match="chunk 3"):
        decode_tile(b"", samples.shape, samples.dtype, "chunk 3")


def test_rates_are_pinned(picture: np.ndarray) -> None:
    """Bytes of a crop, within 2 %: more is a loss, fewer is a gain that belongs here."""
    photo = len(encode_photo(picture[:128, :160]))
    assert PHOTO_BYTES * 0.98 < photo < PHOTO_BYTES * 1.02
    graphics = encode_graphics(RENDERERS[1](np.random.default_rng(1)))
    assert graphics is not None
    assert GRAPHICS_BYTES * 0.98 < len(graphics) < GRAPHICS_BYTES * 1.02


PHOTO_BYTES, GRAPHICS_BYTES = 36882, 6601


@pytest.mark.parametrize("render", RENDERERS, ids=lambda r: r.__name__)
def test_graphics_are_never_larger_than_png_and_webp(render: Any) -> None:
    samples = render(np.random.default_rng(RENDERERS.index(render)))
    file = tersor.encode(Image(samples=samples), codec="lossless")
    assert np.array_equal(np.asarray(tersor.decode(file)), samples)
    shown = Pil.fromarray(samples[..., 0] if samples.shape[2] == 1 else samples)
    for options in (
        {"format": "PNG", "optimize": True},
        {"format": "WEBP", "lossless": True, "quality": 100, "method": 6},
    ):
        out = io.BytesIO()
        shown.save(out, **options)
        assert len(file) <= len(out.getvalue()), options["format"]


def test_noise_is_stored() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (50, 60, 3), dtype=np.uint8)
    assert len(encode_tile(noise)) <= noise.nbytes + 1
    deep = np.random.default_rng(0).integers(0, 65536, (5, 6, 1), dtype=np.uint16)
    assert np.array_equal(decode_tile(encode_tile(deep), deep.shape, deep.dtype, "c"), deep)


def test_regions_read_only_their_tiles(picture: np.ndarray) -> None:
    codec = LosslessCodec()
    (file,) = codec.encode_batch([Image(samples=picture)], block=16384)
    reader = Reader(file)
    header = read_header(reader.header, len(reader.chunk_lengths))
    assert isinstance(header, PictureHeader)
    assert header.rows > 2
    assert header.columns > 1
    read: list[int] = []
    whole = reader.chunk
    reader.chunk = lambda i: read.append(i) or whole(i)  # type: ignore[method-assign, func-returns-value]
    part = codec.decode_batch([reader], region=(header.tile_width - 3, 2, 6, 9))[0]
    assert np.array_equal(np.asarray(part), picture[2:11, header.tile_width - 3 : header.tile_width + 3])
    assert sorted(read) == [0, 1]


def test_effort(picture: np.ndarray) -> None:
    codec = LosslessCodec()
    crop = Image(samples=np.ascontiguousarray(picture[:96, :128]))
    fast, usual = (codec.encode_batch([crop], effort=e)[0] for e in (1, 3))
    assert fast[6:] != usual[6:]
    assert len(usual) < 0.99 * len(fast)
    for file in (fast, usual):
        assert np.array_equal(np.asarray(codec.decode_batch([file])[0]), crop.samples)
    with pytest.raises(SignalError, match="effort"):
        codec.encode_batch([crop], effort=10)


def test_headers() -> None:
    good = PictureHeader(
        image=True, bytes_per_sample=1, channels=3, width=300, height=200, tile_width=300, tile_height=100
    )
    assert read_header(good.pack(), 2) == good
    with pytest.raises(BitstreamError, match="2 tiles, but the file has 3"):
        read_header(good.pack(), 3)
    for at, value in ((1, 3), (2, 0), (2, 5), (3, 0)):
        damaged = bytearray(good.pack())
        damaged[at] = value
        with pytest.raises(BitstreamError):
            read_header(bytes(damaged), 2)
    huge = PictureHeader(
        image=True,
        bytes_per_sample=1,
        channels=4,
        width=1 << 14,
        height=1 << 14,
        tile_width=1 << 14,
        tile_height=1 << 9,
    )
    with pytest.raises(LimitExceededError, match="samples a tile"):
        read_header(huge.pack(), 32)


def test_grids_cover() -> None:
    for h, w, pixels in (
        (512, 768, 1 << 18),
        (1, 1, 1),
        (1, 100000, 4096),
        (70000, 3, 4096),
        (3000, 4000, 1 << 18),
    ):
        tile_height, tile_width = grid(h, w, pixels)
        assert 1 <= tile_height <= h
        assert 1 <= tile_width <= w
        assert tile_height * tile_width <= max(pixels, 2 * 16384)
    assert grid(512, 768, 1 << 18) == (256, 768)


def test_tables() -> None:
    t = tables()
    p = (np.arange(4096) + 0.5) / 4096
    assert np.abs(t.stretch - 256 * np.log(p / (1 - p))).max() <= 0.51
    x = np.arange(-STRETCH_MAX, STRETCH_MAX + 1) / 256
    assert np.abs(t.squash[1:] - 65536 / (1 + np.exp(-x))).max() <= 1
    assert t.squash.min() == 1
    assert t.squash.max() == 65535
    assert (np.diff(t.cumulative) >= 0).all()
    assert (np.diff(t.levels) >= 0).all()
