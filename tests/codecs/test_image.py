from __future__ import annotations

import dataclasses
import zlib
from typing import Any

import numpy as np
import pytest
import torch

from tersor import container
from tersor.codecs.alpha import decode_alpha, encode_alpha
from tersor.codecs.image.codec import ImageCodec
from tersor.codecs.image.header import ImageHeader
from tersor.codecs.image.tiles import PATCH, Rect, TileGrid
from tersor.errors import (
    BitstreamError,
    ChecksumError,
    DeviceError,
    LimitExceededError,
    SignalError,
    WeightsError,
)
from tersor.metrics.psnr import psnr
from tersor.testing.contract import CodecContract


@pytest.fixture(scope="module")
def codec() -> ImageCodec:
    return ImageCodec("cpu")


class TestContract(CodecContract):
    encode_options = {"tile": 64}  # noqa: RUF012
    mean_error_levels = 12.0  # one of the signals is noise of 40 levels

    def make_codec(self) -> Any:
        return ImageCodec("cpu")

    def signals(self) -> list[Any]:
        rng = np.random.default_rng(0)
        y, x = np.mgrid[:70, :90]
        smooth = np.stack([x * 2, y * 3, 255 - x], 2).astype(np.uint8)
        return [
            smooth,
            smooth[:33, :1],
            (smooth.astype(np.uint16) * 257),
            rng.integers(100, 140, (65, 64, 1), dtype=np.uint8),
            smooth[..., [0, 1, 2, 1]],
        ]


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (15, 17), (64, 64), (65, 129)])
def test_any_size(codec: ImageCodec, picture: np.ndarray, size: tuple[int, int]) -> None:
    x = picture[: size[0], : size[1]]
    (out,) = codec.decode_batch(codec.encode_batch([np.ascontiguousarray(x)], quality=90))
    assert out.samples.shape == x.shape
    assert psnr(out.samples, x) > 30


def test_a_pixel_costs_little(codec: ImageCodec) -> None:
    (file,) = codec.encode_batch([np.full((1, 1, 3), 200, np.uint8)])
    assert len(file) < 64
    assert container.Reader(file).front_size <= 48


def test_quality_orders_rate_and_distortion(codec: ImageCodec, picture: np.ndarray) -> None:
    files = [codec.encode_batch([picture], quality=q)[0] for q in (1, 25, 50, 75, 100)]
    sizes = [len(f) for f in files]
    quality = [psnr(np.asarray(d), picture) for d in codec.decode_batch(files)]
    assert sizes == sorted(sizes)
    assert quality == sorted(quality)
    assert (
        quality[-1] > 33
    )  # the picture is noisy in colour, whose highest frequencies the model does not keep


def test_file_is_within_the_estimate(codec: ImageCodec, picture: np.ndarray) -> None:
    for quality in (5, 50, 95):
        ((file, bits),) = codec.encode_with_estimate([picture], quality=quality)
        assert len(file) <= 1.01 * bits / 8 + 64


def test_grey_alpha_and_sixteen_bits(codec: ImageCodec, picture: np.ndarray) -> None:
    alpha = (np.arange(300)[:, None] * np.arange(420) % 251).astype(np.uint8)
    deep = picture.astype(np.uint16) * 257 + 3
    deep_alpha = alpha.astype(np.uint16) * 200
    inputs = {
        "grey": picture[..., :1],
        "grey alpha": np.dstack([picture[..., 0], alpha]),
        "rgb alpha": np.dstack([picture, alpha]),
        "deep grey": deep[..., :1],
        "deep rgb alpha": np.dstack([deep, deep_alpha]),
    }
    files = codec.encode_batch([np.ascontiguousarray(v) for v in inputs.values()], quality=80, tile=128)
    for (name, x), out in zip(inputs.items(), codec.decode_batch(files), strict=True):
        assert out.samples.dtype == x.dtype, name
        assert psnr(out.samples, x) > 30, name
        if "alpha" in name:
            np.testing.assert_array_equal(out.samples[..., -1], x[..., -1], err_msg=name)


def test_sixteen_bits_are_more_than_eight(codec: ImageCodec) -> None:
    ramp = np.linspace(20000, 21000, 256 * 256).reshape(256, 256, 1).astype(np.uint16)
    (out,) = codec.decode_batch(codec.encode_batch([ramp], quality=100))
    assert len(np.unique(out.samples)) > 20  # 1000 of 65536 is 4 of 256
    assert psnr(out.samples, ramp) > 50


def test_metadata_survives(codec: ImageCodec, picture: np.ndarray) -> None:
    from tersor.signals import Image

    image = Image(samples=picture, metadata={"icc": b"profile" * 50, "exif": b"Exif\0\0..."})
    (out,) = codec.decode_batch(codec.encode_batch([image]))
    assert out.metadata == image.metadata


def test_tiles_leave_no_seam(codec: ImageCodec, picture: np.ndarray) -> None:
    """Synthesis in tiles equals synthesis of the whole: decode a tiled file in tiles, and its latents in one
    window.
    """
    (file,) = codec.encode_batch([picture], quality=60, tile=128)
    (tiled,) = codec.decode_batch([file])
    from tersor.codecs.image.decode import DecodedTile
    from tersor.codecs.image.options import DECODE
    from tersor.codecs.image.symbols import latents
    from tersor.codecs.image.tiles import Window

    assembly = codec.assembly(container.Reader(file), DECODE.check({}))
    for t, y_hat in enumerate(latents(file)):
        plain = assembly.reader.chunk(t)[:1] == b"\1"
        assembly.place(t, DecodedTile(plain, y_hat))
    grid = assembly.header.grid
    window = Window(image=0, tile=0, inner=grid.whole, outer=grid.whole)
    whole = codec._synthesised([assembly], [window])[0][: grid.height, : grid.width]
    difference = np.abs(np.rint(whole.clip(0, 255)).astype(int) - tiled.samples)
    assert difference.max() <= 1
    assert (difference > 0).mean() < 1e-3


@pytest.mark.parametrize(
    "region", [(0, 0, 1, 1), (100, 50, 200, 130), (419, 299, 1, 1), (0, 120, 420, 16), (127, 127, 2, 2)]
)
def test_region_equals_the_whole(
    codec: ImageCodec, picture: np.ndarray, region: tuple[int, int, int, int]
) -> None:
    (file,) = codec.encode_batch([picture], quality=60, tile=128)
    (whole,) = codec.decode_batch([file])
    (part,) = codec.decode_batch([file], region=region)
    x, y, w, h = region
    assert np.abs(part.samples.astype(int) - whole.samples[y : y + h, x : x + w]).max() <= 1


def test_region_reads_only_what_it_needs(codec: ImageCodec, picture: np.ndarray) -> None:
    (file,) = codec.encode_batch([picture], tile=64)
    reader = container.Reader(file)
    read = []
    original = reader.chunk
    reader.chunk = lambda i: (read.append(i), original(i))[1]  # type: ignore[method-assign]
    codec.decode_batch([reader], region=(0, 0, 16, 16))
    assert len(read) < len(reader.chunk_lengths) / 4


@pytest.mark.parametrize("region", [(-1, 0, 4, 4), (0, 0, 0, 4), (0, 0, 421, 4), (420, 0, 1, 1)])
def test_region_outside_is_an_error(
    codec: ImageCodec, picture: np.ndarray, region: tuple[int, int, int, int]
) -> None:
    with pytest.raises(SignalError, match="420x300"):
        codec.decode_batch([codec.encode_batch([picture])[0]], region=region)


def test_salvage_fills_the_damaged_tile_and_says_so(codec: ImageCodec, picture: np.ndarray) -> None:
    (file,) = codec.encode_batch([picture], quality=60, tile=128)
    (good,) = codec.decode_batch([file])
    reader = container.Reader(file)
    damaged = bytearray(file)
    damaged[reader._spans[5].offset + 3] ^= 0xFF
    with pytest.raises(ChecksumError, match="tile 5"):
        codec.decode_batch([bytes(damaged)])
    (out,) = codec.decode_batch([bytes(damaged)], salvage=True)
    assert out.notes == ("tile 5 is damaged and was filled",)
    assert (out.samples[128:256, 128:256] == 0x80).all()
    np.testing.assert_array_equal(out.samples[:, 360:], good.samples[:, 360:])
    assert container.Reader(bytes(damaged)).damaged_chunks() == [5]


def test_targets(codec: ImageCodec, picture: np.ndarray) -> None:
    pixels = picture.shape[0] * picture.shape[1]
    (file,) = codec.encode_batch([picture], target_bpp=1.0)
    assert 0.8 < 8 * len(file) / pixels <= 1.0
    (file,) = codec.encode_batch([picture], target_psnr=32.0)
    assert 32 <= psnr(np.asarray(codec.decode_batch([file])[0]), picture) < 33
    with pytest.raises(SignalError, match="out of reach"):
        codec.encode_batch([picture], target_psnr=90.0)
    with pytest.raises(SignalError, match="out of reach"):
        codec.encode_batch([picture], target_bpp=0.0001)


@pytest.mark.parametrize(
    "options",
    [
        {"quality": 0},
        {"quality": 101},
        {"quality": 1.5},
        {"effort": 0},
        {"effort": 10},
        {"tile": 100},
        {"tile": 0},
        {"tile": 4096},
        {"quality": 5, "target_bpp": 1.0},
        {"target_bpp": -1.0},
        {"quality": 50.0},
        {"effort": 3.5},
        {"quality": "x"},
        {"target_psnr": float("nan")},
    ],
)
def test_bad_options_are_an_error(codec: ImageCodec, picture: np.ndarray, options: dict[str, Any]) -> None:
    with pytest.raises(SignalError):
        codec.encode_batch([picture], **options)


@pytest.mark.parametrize(
    "x",
    [
        np.zeros((0, 5, 3), np.uint8),
        np.zeros((5, 5, 5), np.uint8),
        np.zeros((5, 5, 3), np.float32),
        np.zeros((5, 5, 3), np.int8),
        np.zeros(5, np.uint8),
    ],
)
def test_bad_arrays_are_an_error(codec: ImageCodec, x: np.ndarray) -> None:
    with pytest.raises(SignalError):
        codec.encode_batch([x])


def test_what_the_decoder_would_refuse_is_not_written(codec: ImageCodec) -> None:
    from tersor.signals import Image

    with pytest.raises(SignalError, match="pixels"):
        codec.encode_batch([np.broadcast_to(np.uint8(0), (1 << 15, (1 << 14) + 1, 3))])
    with pytest.raises(SignalError, match="metadata"):
        codec.encode_batch([Image(samples=np.zeros((1, 1, 3), np.uint8), metadata={"k" * 2000: b""})])


def test_subclasses_of_pillow_and_torch_are_known(codec: ImageCodec) -> None:
    class Mine(torch.Tensor):
        pass

    x = torch.zeros(3, 5, 7, dtype=torch.uint8).as_subclass(Mine)
    (out,) = codec.decode_batch(codec.encode_batch([x]))
    assert out.samples.shape == (5, 7, 3)


def test_effort_never_costs(codec: ImageCodec, picture: np.ndarray) -> None:
    from tersor.models.image import lambda_of

    x = np.ascontiguousarray(picture[:128, :192])

    def cost(effort: int) -> float:
        (file,) = codec.encode_batch([x], quality=40, effort=effort)
        mse = np.square(np.asarray(codec.decode_batch([file])[0]).astype(float) - x).mean()
        return float(lambda_of(39 / 99)) * mse + 8 * len(file) / (128 * 192)

    assert cost(5) < 1.002 * cost(3) < 1.004 * cost(1)


def test_what_the_prior_calls_certain_can_be_otherwise(codec: ImageCodec) -> None:
    """A one-pixel checkerboard is all in the highest frequency, which no photograph holds."""
    board = np.repeat((np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)[..., None], 3, 2)
    (out,) = codec.decode_batch(codec.encode_batch([board], quality=95))
    assert psnr(out.samples, board) > 25


def test_no_picture_falls_far_below_the_bare_transform(
    codec: ImageCodec, hard_pictures: dict[str, np.ndarray]
) -> None:
    """The network's corrections are bounded: on anything, at any quality, at most 3 dB are lost against the
    linear path alone.
    """
    from tersor.codecs.image.latents import LatentCoder
    from tersor.models.exact import ONE
    from tersor.models.image_weights import load_image_model

    released = load_image_model(None, "cpu")
    model, coder = released.model, LatentCoder(released)
    for name, x in hard_pictures.items():
        for quality in (1, 20, 50, 80, 100):
            (out,) = codec.decode_batch(codec.encode_batch([x], quality=quality))
            q = torch.tensor([quality])
            with torch.inference_mode():
                pixels = torch.from_numpy(x).permute(2, 0, 1)[None].float()
                y = model.analysis(pixels, model.log_gain.at(q).exp())
                payloads, _, _ = coder.encode(y, q)
                y_hat = coder.decode(payloads, ["bare"], q, *y.shape[2:])
                bare = model.base_synthesis(y_hat.float() / ONE, model.log_ungain.at(q).exp())
            reference = psnr(bare.clamp(0, 255).round().byte()[0].permute(1, 2, 0).numpy(), x)
            assert psnr(out.samples, x) > min(reference, 50) - 3, (
                name,
                quality,
            )  # above 50 dB nothing is visible


def test_header_limits() -> None:
    header = ImageHeader(
        model=1, digest=b"abcd", width=7, height=9, quality=50, tile=64, colour=True, alpha=False, deep=False
    )
    assert ImageHeader.unpack(header.pack(), 1) == header
    for change, error in (
        ({"quality": 0}, BitstreamError),
        ({"width": 0}, BitstreamError),
        ({"width": 1 << 23, "height": 1 << 10}, LimitExceededError),
    ):
        with pytest.raises(error):
            ImageHeader.unpack(dataclasses.replace(header, **change).pack(), 1)
    with pytest.raises(BitstreamError, match="chunks"):
        ImageHeader.unpack(header.pack(), 2)


def test_foreign_weights_are_named(codec: ImageCodec, picture: np.ndarray) -> None:
    (file,) = codec.encode_batch([picture])
    r = container.Reader(file)
    header = ImageHeader.unpack(r.header, 1)
    chunks = [r.chunk(0)]
    for change, message in (
        ({"digest": b"none"}, "installed are"),
        ({"model": 999}, "needs image model 999"),
    ):
        other = container.write(1, dataclasses.replace(header, **change).pack(), {}, chunks)
        with pytest.raises(WeightsError, match=message):
            codec.decode_batch([other])


def test_nonsense_with_valid_checksums_is_an_error(codec: ImageCodec, picture: np.ndarray) -> None:
    (file,) = codec.encode_batch([picture])
    r = container.Reader(file)
    rng = np.random.default_rng(0)
    for size in (0, 1, 2, 5, 400, 4000):
        with pytest.raises(BitstreamError):
            codec.decode_batch([container.write(1, r.header, {}, [rng.bytes(size)])])
    with pytest.raises(BitstreamError):
        codec.decode_batch([container.write(1, r.header, {}, [r.chunk(0)[:-4]])])


def test_alpha_plane() -> None:
    plane = np.arange(12, dtype=np.uint8).reshape(3, 4)
    area = (3, 4)
    np.testing.assert_array_equal(decode_alpha(encode_alpha(plane), area, False, "alpha"), plane)
    assert encode_alpha(np.full((3, 4), 255, np.uint8)) == b""
    assert (decode_alpha(b"", area, True, "alpha") == 65535).all()
    with pytest.raises(BitstreamError):
        decode_alpha(encode_alpha(plane), (4, 3), False, "alpha")
    bomb = bytearray(encode_alpha(plane))
    bomb[16:24] = (30000).to_bytes(4, "big") * 2
    bomb[29:33] = zlib.crc32(bytes(bomb[12:29])).to_bytes(4, "big")
    for chunk, deep in (
        (b"not a png", False),
        (bytes(bomb), False),
        (encode_alpha(plane), True),
        (encode_alpha(plane.astype(np.uint16)), False),
    ):
        with pytest.raises(BitstreamError, match="alpha"):
            decode_alpha(chunk, area, deep, "alpha")


def test_devices_do_not_fall_back() -> None:
    with pytest.raises(DeviceError, match="not known"):
        ImageCodec("abacus")
    with pytest.raises(DeviceError, match="not supported"):
        ImageCodec("meta")
    if not torch.cuda.is_available():
        with pytest.raises(DeviceError, match="no CUDA"):
            ImageCodec("cuda")


def test_grid() -> None:
    grid = TileGrid(200, 130, 64)
    assert (grid.columns, grid.rows, len(grid)) == (4, 3, 12)
    assert grid.rect(11) == Rect(8, 12, 9, 13)
    assert sum(grid.rect(t).height * grid.rect(t).width for t in range(12)) == 9 * 13
    assert grid.touching(Rect(3, 3, 5, 5).scaled(PATCH)) == [0, 1, 4, 5]
