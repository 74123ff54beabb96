"""PNG: every kind of file, two readers beside ours, and every flipped bit."""

from __future__ import annotations

import io
import zlib

import av
import numpy as np
import pytest
from PIL import Image as Pil

import tersor
from tersor.errors import SignalError
from tersor.files import png
from tersor.files.image import image_bytes, read_image
from tersor.files.image_options import texts
from tersor.signals import Image
from tersor.testing import png_maker

FFMPEG = {"gray": 1, "ya8": 2, "rgb24": 3, "rgba": 4, "gray16be": 1, "ya16be": 2, "rgb48be": 3, "rgba64be": 4}


def ffmpeg(data: bytes) -> np.ndarray | None:
    """What FFmpeg decodes, without its pixel conversions; None of layouts that hold no colours."""
    with av.open(io.BytesIO(data), format="png_pipe") as container:
        frame = next(container.decode(video=0))
    channels = FFMPEG.get(frame.format.name)
    if channels is None:
        return None
    plane = frame.planes[0]
    dtype = np.dtype(">u2") if frame.format.name.endswith("be") else np.dtype(np.uint8)
    rows = np.frombuffer(plane, dtype).reshape(plane.height, plane.line_size // dtype.itemsize)
    samples = rows[: frame.height, : frame.width * channels].reshape(frame.height, frame.width, channels)
    return samples.astype(dtype.newbyteorder("="))


@pytest.mark.parametrize("kind", png_maker.KINDS, ids=str)
def test_every_kind_of_png_is_read_exactly(kind: tuple[int, int, bool, bool]) -> None:
    data, seen = png_maker.make(*kind)
    image = read_image(data)
    assert image.exact
    np.testing.assert_array_equal(image.samples, seen)
    assert image.samples.dtype == seen.dtype
    colour_type, depth, _, transparent = kind
    other = ffmpeg(data)
    if other is not None and not (transparent and depth < 8):  # FFmpeg compares such colours unscaled
        np.testing.assert_array_equal(other, seen)
    if depth < 16 and not (transparent and colour_type == 0 and depth < 8):  # as does Pillow
        with Pil.open(io.BytesIO(data)) as im:
            mode = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[seen.shape[2]]
            np.testing.assert_array_equal(np.array(im.convert(mode)).reshape(seen.shape), seen)
    again = read_image(image_bytes(image, ".png"))
    assert again.samples.dtype == seen.dtype
    np.testing.assert_array_equal(again.samples, seen)


@pytest.mark.parametrize("kind", [(2, 8, False, False), (6, 16, True, False), (0, 16, False, True)], ids=str)
def test_lossless_keeps_them(kind: tuple[int, int, bool, bool]) -> None:
    data, seen = png_maker.make(*kind)
    np.testing.assert_array_equal(np.asarray(tersor.decode(tersor.encode(data, codec="lossless"))), seen)


def test_a_flipped_bit_anywhere_is_an_error() -> None:
    for seed in range(100):
        rng = np.random.default_rng(seed)
        data, _ = png_maker.make(*png_maker.KINDS[seed % len(png_maker.KINDS)])
        damaged = bytearray(data)
        damaged[int(rng.integers(len(data)))] ^= 1 << int(rng.integers(8))
        with pytest.raises(SignalError):
            read_image(bytes(damaged))


@pytest.mark.parametrize("depth", [8, 16])
def test_image_data_that_ends_early_is_an_error(depth: int) -> None:
    data, _ = png_maker.make(2, depth, False, False, (300, 200))
    parts = [(n, b) for n, b in png._all_chunks(data)]
    for cut in (lambda b: b[: len(b) // 2], lambda b: b[:-4], lambda b: b[:40] + bytes(9) + b[49:]):
        body = png.MAGIC + b"".join(png.chunk(n, cut(b) if n == "IDAT" else b) for n, b in parts)
        if depth == 8 and cut(parts[1][1]) == parts[1][1][:-4]:
            continue  # all rows are there; only zlib's sum is not
        with pytest.raises(SignalError):
            read_image(body)
    with pytest.raises(SignalError, match="end is missing"):
        read_image(data[:-12])
    assert "7 bytes after the end" in read_image(data + b"trailer").notes[0]


def test_a_pillow_image_of_a_damaged_file_is_an_error_too() -> None:
    data, _ = png_maker.make(2, 8, False, False, (300, 200))
    damaged = bytearray(data)
    damaged[len(data) // 2] ^= 4
    with Pil.open(io.BytesIO(bytes(damaged))) as im, pytest.raises(SignalError, match="damaged"):
        tersor.encode(im)


def test_what_pillow_reduced_is_not_taken_as_exact() -> None:
    data, seen = png_maker.make(2, 16, False, False)
    with Pil.open(io.BytesIO(data)) as im, pytest.raises(SignalError, match="16 bits"):
        tersor.encode(im, codec="lossless")
    assert read_image(data) == Image(samples=seen)


@pytest.mark.parametrize("kind", ["ICO", "ICNS"])
def test_a_flipped_bit_of_a_png_inside_icons_is_an_error(kind: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 4), dtype=np.uint8)
    out = io.BytesIO()
    Pil.fromarray(noise).save(out, kind)
    data = out.getvalue()
    assert read_image(data).samples.shape[2] == 4
    for at in range(len(data) // 3, len(data) - 200, len(data) // 40):
        damaged = bytearray(data)
        damaged[at] ^= 1
        with pytest.raises(SignalError):
            read_image(bytes(damaged))


def test_texts_with_the_names_of_other_things_are_texts() -> None:
    """Pillow keeps texts and what it knows of a picture in one place."""
    for colour_type, transparent in ((2, False), (2, True), (3, True), (0, False)):
        data, seen = png_maker.make(colour_type, 8, False, transparent)
        names = ("transparency", "exif", "gamma", "dpi", "icc_profile", "comment", "xmp")
        odd = [("tEXt", name.encode() + b"\0" + b"words") for name in names]
        for chunks in (
            odd,
            [*odd, ("tEXt", b"comment\0again"), ("zTXt", b"Title\0\0" + zlib.compress(b"packed"))],
        ):
            image = read_image(png.insert(data, chunks))
            assert image.exact
            np.testing.assert_array_equal(image.samples, seen)
            assert image.metadata.keys() == {"text"}
            again = read_image(image_bytes(image, ".png"))
            assert again.metadata == image.metadata
            assert len(texts(again.metadata)) == len(chunks), "also two of one keyword"


def test_several_comments_of_a_jpeg_are_counted() -> None:
    out = io.BytesIO()
    Pil.fromarray(np.zeros((8, 8), np.uint8)).save(out, "JPEG", comment=b"one")
    data = out.getvalue()
    two = data[:2] + b"\xff\xfe\0\x05two" + data[2:]
    assert "1 further comments" in " ".join(read_image(two).notes)
    assert read_image(data).notes == ()
