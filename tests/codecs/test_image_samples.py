"""Tiles of an image that are kept as samples."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from tersor import container
from tersor.codecs.image import pixels
from tersor.codecs.image.codec import ImageCodec
from tersor.codecs.image.symbols import latents
from tersor.errors import BitstreamError
from tersor.metrics.psnr import psnr


@pytest.fixture(scope="module")
def codec() -> ImageCodec:
    return ImageCodec("cpu")


def kinds(file: bytes) -> list[int]:
    reader = container.Reader(file)
    return [reader.chunk(t)[0] for t in range(len(reader.chunk_lengths))]


def stripes(h: int, w: int, channels: int = 3) -> np.ndarray:
    return np.broadcast_to((np.arange(w) % 2 * 255).astype(np.uint8)[:, None], (h, w, channels)).copy()


def mixed(picture: np.ndarray) -> np.ndarray:
    """Tiles of 64: a photograph at the top left, stripes right, noise below."""
    x = picture[:130, :150].copy()
    x[:64, 64:] = stripes(64, 86)
    x[64:128, :64] = np.random.default_rng(0).integers(0, 256, (64, 64, 3))
    return x


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("quality", [5, 50, 95])
def test_patterns_are_exact_and_small(codec: ImageCodec, channels: int, quality: int) -> None:
    x = stripes(70, 90, channels)
    (file,) = codec.encode_batch([x], quality=quality)
    np.testing.assert_array_equal(np.asarray(codec.decode_batch([file])[0]), x)
    assert len(file) < 200


def test_noise_is_no_worse_than_jpeg(codec: ImageCodec) -> None:
    x = np.random.default_rng(0).integers(0, 256, (96, 128, 3), dtype=np.uint8)
    (file,) = codec.encode_batch([x], quality=95)
    assert kinds(file) == [pixels.JPEG]
    assert psnr(np.asarray(codec.decode_batch([file])[0]), x) > 30


def test_photographs_keep_their_latents(codec: ImageCodec, picture: np.ndarray) -> None:
    for quality in (5, 50, 95):
        (file,) = codec.encode_batch([picture], quality=quality)
        assert max(kinds(file)) <= 1


def test_kinds_side_by_side(codec: ImageCodec, picture: np.ndarray) -> None:
    x = mixed(picture)
    (file,) = codec.encode_batch([x], quality=80, tile=64)
    assert kinds(file)[0] <= 1
    assert {pixels.EXACT, pixels.JPEG} <= set(kinds(file))
    whole = np.asarray(codec.decode_batch([file])[0])
    np.testing.assert_array_equal(whole[:64, 64:128], x[:64, 64:128])
    (alone,) = codec.decode_batch(codec.encode_batch([np.ascontiguousarray(x[:64, :64])], quality=80))
    # beside tiles that have no latents of their own
    assert psnr(whole[:64, :64], x[:64, :64]) > psnr(alone.samples, x[:64, :64]) - 0.3
    part = np.asarray(codec.decode_batch([file], region=(50, 40, 90, 80))[0]).astype(int)
    assert np.abs(part - whole[40:120, 50:140]).max() <= 1
    rows = np.concatenate([np.asarray(b) for b in codec.open(file).blocks()])
    assert np.abs(rows.astype(int) - whole).max() <= 1
    found = latents(file)
    assert found[1].shape == (3, 64, 64)
    assert found[0].shape[0] == 416


def test_what_alpha_hides_is_free_and_the_rest_exact(codec: ImageCodec) -> None:
    x = np.dstack([stripes(64, 80), np.zeros((64, 80), np.uint8)])
    x[:, :40, 3] = 255
    x[:, 40:, :3] = np.random.default_rng(0).integers(0, 256, (64, 40, 3))
    (file,) = codec.encode_batch([x], quality=50)
    out = np.asarray(codec.decode_batch([file])[0])
    np.testing.assert_array_equal(out[..., 3], x[..., 3])
    np.testing.assert_array_equal(out[:, :40], x[:, :40])
    assert len(file) < 2000


def test_sixteen_bits_go_through_the_network(codec: ImageCodec) -> None:
    (file,) = codec.encode_batch([stripes(64, 64).astype(np.uint16) * 257], quality=50)
    assert max(kinds(file)) <= 1


def forged(file: bytes, payload: bytes) -> bytes:
    reader = container.Reader(file)
    return container.write(reader.codec, reader.header, {}, [payload])


def saved(format: str, size: tuple[int, int] = (64, 64), mode: str = "RGB", **options: object) -> bytes:
    out = io.BytesIO()
    Image.new(mode, size).save(out, format, **options)
    return out.getvalue()


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\2",
        b"\2" + saved("WEBP", quality=50),
        b"\2" + saved("WEBP", (64, 63), lossless=True),
        b"\2" + saved("WEBP", lossless=True) + b"x",
        b"\2" + saved("WEBP", lossless=True)[:-4],
        b"\2" + saved("PNG"),
        b"\3" + saved("JPEG", (32, 64)),
        b"\3" + saved("JPEG", mode="CMYK"),
        b"\3" + saved("JPEG")[:-30],
        b"\3" + saved("JPEG")[:200] + b"\xff\xd9",
        b"\4" + saved("JPEG"),
    ],
)
def test_damage_is_an_error(codec: ImageCodec, payload: bytes) -> None:
    (file,) = codec.encode_batch([stripes(64, 64)], quality=50)
    with pytest.raises(BitstreamError):
        codec.decode_batch([forged(file, payload)])


def test_sixteen_bit_files_hold_no_samples(codec: ImageCodec) -> None:
    (file,) = codec.encode_batch([np.zeros((64, 64, 3), np.uint16)], quality=50)
    with pytest.raises(BitstreamError, match="allowed are 00, 01"):
        codec.decode_batch([forged(file, b"\2" + saved("WEBP", lossless=True))])
