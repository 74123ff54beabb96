"""Without loss: equal to the file's values, or refused with the reason; over every format that Pillow writes,
in all modes, and over TIFF, PNM and JPEG 2000 of depths that Pillow reduces.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections import Counter
from pathlib import Path

import av
import numpy as np
import pytest
import tifffile
from PIL import Image as Pil
from PIL import features

from tersor.errors import SignalError, TersorError
from tersor.files import exif as exif_blocks
from tersor.files.coerce import as_field, as_image, as_integers
from tersor.files.field import field_file
from tersor.files.image import image_file, read_image
from tersor.signals import Field, Image

MODES = (
    "1",
    "L",
    "P",
    "LA",
    "PA",
    "RGB",
    "RGBA",
    "RGBX",
    "CMYK",
    "YCbCr",
    "LAB",
    "HSV",
    "I",
    "F",
    "I;16",
    "I;16B",
)
NOT_PICTURES = ("PDF", "EPS", "TERSOR", "BUFR", "GRIB", "HDF5", "WMF", "SPIDER", "PALM")
RNG = np.random.default_rng(0)
# samples of formats that Pillow writes with loss are what Pillow reads
LOSSLESS = ("PNG", "TIFF", "BMP", "DIB", "PPM", "TGA", "PCX", "SGI", "GIF", "QOI", "MSP", "XBM")


def picture(mode: str) -> Pil.Image:
    """Noise of a mode, 16 x 12; palettes of 50 colours, half transparent in PA."""
    grey = RNG.integers(0, 256, (12, 16), dtype=np.uint8)
    if mode in ("I", "I;16", "I;16B"):
        im = Pil.fromarray(RNG.integers(0, 65536, (12, 16), dtype=np.uint16))
        return im.convert(mode) if mode != "I;16" else im
    if mode == "F":
        return Pil.fromarray(RNG.normal(size=(12, 16)).astype(np.float32))
    if mode in ("P", "PA"):
        im = Pil.fromarray(grey % 50).convert("P")
        im.putpalette(RNG.integers(0, 256, 150, dtype=np.uint8).tobytes())
        return im if mode == "P" else im.convert("RGBA").convert("PA")
    if mode in ("1", "L"):
        return Pil.fromarray(grey).convert(mode)
    bands = len(Pil.new(mode, (1, 1)).getbands())
    channels = [Pil.fromarray(RNG.integers(0, 256, (12, 16), dtype=np.uint8)) for _ in range(bands)]
    return Pil.merge(mode, channels)


def values(im: Pil.Image) -> np.ndarray:
    """What Pillow's own image holds, as four channels of 8 bits or one of 16."""
    if im.mode.startswith("I"):
        return np.array(im).astype(np.int64)[:, :, None]
    return np.array(im.convert("RGBA"))


def as_values(image: Image) -> np.ndarray:
    if image.samples.dtype == np.uint16:
        return image.samples.astype(np.int64)
    return np.array(image.pil().convert("RGBA"))


def written_formats() -> list[str]:
    Pil.init()
    return sorted(k for k in Pil.SAVE if k in Pil.OPEN and k not in NOT_PICTURES)


@pytest.mark.parametrize("kind", written_formats())
def test_every_mode_of_every_format_is_equal_or_refused(kind: str) -> None:
    outcome: Counter[str] = Counter()
    for mode in MODES:
        out = io.BytesIO()
        try:
            picture(mode).save(out, kind)
            with Pil.open(io.BytesIO(out.getvalue())) as im:
                want = None if im.mode == "F" else values(im)
        except Exception:  # not a mode of this format, or one that Pillow does not read
            outcome["not written"] += 1
            continue
        try:
            image = as_integers(out.getvalue())
        except TersorError:
            outcome["refused"] += 1
            continue
        if isinstance(image, Field):  # TIFF of floats and the like
            outcome["array"] += 1
            np.testing.assert_array_equal(image.values, tifffile.imread(io.BytesIO(out.getvalue())))
            continue
        outcome["equal"] += 1
        assert want is not None
        np.testing.assert_array_equal(as_values(image), want, err_msg=f"{kind} {mode}")
        suffix = ".png"
        np.testing.assert_array_equal(as_values(read_image(image_file(image, suffix)[0])), want)
    if kind in LOSSLESS:
        assert outcome["equal"], outcome


def tiff(samples: np.ndarray, **options: object) -> bytes:
    out = io.BytesIO()
    tifffile.imwrite(out, samples, **options)
    return out.getvalue()


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("channels", [3, 4])
def test_sixteen_bit_colour_tiff_comes_through(
    order: str, compression: str | None, planar: str, channels: int
) -> None:
    samples = RNG.integers(0, 65536, (12, 16, channels), dtype=np.uint16)
    stored = samples if planar == "contig" else np.moveaxis(samples, 2, 0)
    options = {"photometric": "rgb", "planarconfig": planar, "compression": compression, "byteorder": order}
    extra = {"extrasamples": ["unassalpha"]} if channels == 4 else {}
    image = read_image(tiff(stored, **options, **extra, predictor=compression is not None))
    assert image.exact
    assert image.samples.dtype == np.uint16
    np.testing.assert_array_equal(image.samples, samples)


def test_orientation_of_deep_tiff_is_applied_once() -> None:
    samples = RNG.integers(0, 65536, (12, 16, 3), dtype=np.uint16)
    image = read_image(tiff(samples, photometric="rgb", extratags=[(274, "H", 1, 6, False)]))
    np.testing.assert_array_equal(image.samples, np.rot90(samples, 3))
    assert exif_blocks.orientation(image.metadata) == 1


@pytest.mark.parametrize(
    ("dtype", "shape", "options", "words"),
    [
        ("u2", (9, 9, 4), {"photometric": "rgb", "extrasamples": ["assocalpha"]}, "alpha"),
        ("u1", (9, 9, 4), {"photometric": "rgb", "extrasamples": ["assocalpha"]}, "alpha"),
        ("u1", (9, 9, 4), {"photometric": "rgb", "extrasamples": ["unspecified"]}, "channel"),
        ("u2", (9, 9, 4), {"photometric": "rgb", "extrasamples": ["unspecified"]}, "channel"),
        ("u2", (9, 9), {"photometric": "miniswhite"}, "0 is white"),
        ("u1", (9, 9, 4), {"photometric": "separated"}, "CMYK"),
    ],
)
def test_tiffs_that_hold_other_things_are_refused(
    dtype: str, shape: tuple[int, ...], options: dict[str, object], words: str
) -> None:
    data = tiff(RNG.integers(0, np.iinfo(dtype).max, shape, dtype=dtype), **options)
    assert not read_image(data).exact
    with pytest.raises(SignalError, match=words):
        as_integers(data)


def test_white_from_zero_is_turned_round_for_the_eye() -> None:
    samples = RNG.integers(0, 65536, (9, 9), dtype=np.uint16)
    image = read_image(tiff(samples, photometric="miniswhite"))
    np.testing.assert_array_equal(image.samples[..., 0], 65535 - samples)


@pytest.mark.parametrize("dtype", ["i1", "i2", "i4", "u4", "f4", "f8"])
def test_numbers_of_a_tiff_go_through_as_an_array(dtype: str, tmp_path: Path) -> None:
    values = (RNG.normal(size=(9, 11)) * 100).astype(dtype)
    path = tmp_path / "x.tif"
    path.write_bytes(tiff(values))
    if dtype[0] in "iu":
        found = as_integers(path)
        assert isinstance(found, Field)
        np.testing.assert_array_equal(found.values, values)
        assert found.values.dtype == values.dtype
    else:
        with pytest.raises(SignalError, match="codec='field'"):
            as_integers(path)
    if dtype != "i1":
        with pytest.raises(SignalError, match="codec"):
            read_image(path)
    else:
        assert "signed" in read_image(path).notes[0]
    field = as_field(path)
    assert isinstance(field, Field)
    np.testing.assert_array_equal(field.values, values)


@pytest.mark.parametrize("white", [1, 3, 100, 255, 256, 1000, 4095, 65535])
@pytest.mark.parametrize("magic", ["P2", "P3", "P5", "P6"])
def test_pnm_states_what_white_is(magic: str, white: int) -> None:
    channels = 3 if magic in ("P3", "P6") else 1
    stored = RNG.integers(0, white, (5, 7, channels), endpoint=True)
    head = f"{magic}\n# a comment\n7 5\n{white}\n".encode()
    plain = " ".join(map(str, stored.reshape(-1))).encode()
    data = head + (
        plain if magic in ("P2", "P3") else stored.astype(">u2" if white > 255 else np.uint8).tobytes()
    )
    image = read_image(data)
    top = np.iinfo(image.samples.dtype).max
    if not (magic == "P3" and white > 255):
        assert (top == 65535) == (white > 255)
    np.testing.assert_allclose(image.samples / top, stored / white, atol=0.51 / top)
    assert image.exact == (white == top)
    if not image.exact:
        assert f"white is {white}" in image.notes[0]
        with pytest.raises(SignalError, match="white is"):
            as_integers(data)


@pytest.mark.skipif(not features.check("jpg_2000"), reason="Pillow without JPEG 2000")
def test_jpeg_2000_of_eight_and_sixteen_bits() -> None:
    for im in (picture("RGB"), picture("L"), picture("I;16"), picture("RGBA")):
        out = io.BytesIO()
        im.save(out, "JPEG2000")
        np.testing.assert_array_equal(as_values(as_integers(out.getvalue())), values(im))
    data = bytearray(out.getvalue())
    at = data.find(b"\xff\x4f\xff\x51") + 42
    data[at] = 8  # nine bits
    with pytest.raises(SignalError, match=r"8, 9 bits|decoded"):
        as_integers(bytes(data))


def avif(samples: np.ndarray, layout: str) -> bytes:
    """One picture of 10 bits, Y'CbCr of BT.2020 with PQ, by FFmpeg."""
    out = io.BytesIO()
    with av.open(out, "w", format="avif") as container:
        stream = container.add_stream("libsvtav1", rate=1)
        stream.width, stream.height, stream.pix_fmt = samples.shape[1], samples.shape[0], layout
        stream.options = {"crf": "5", "preset": "8"}
        context = stream.codec_context
        context.color_primaries, context.color_trc, context.colorspace, context.color_range = 9, 16, 9, 1
        frame = av.VideoFrame.from_ndarray(samples, format="rgb48le")
        for packet in [*stream.encode(frame.reformat(format=layout, dst_colorspace=9)), *stream.encode()]:
            container.mux(packet)
    return out.getvalue()


@pytest.mark.skipif("libsvtav1" not in av.codecs_available, reason="FFmpeg without an AV1 encoder")
def test_ten_bit_avif_comes_through_deep_and_is_no_exact_reading() -> None:
    y, x = np.mgrid[:64, :96]
    samples = (np.stack([x * 600, y * 900, 65535 - x * 500], 2)).astype(np.uint16)
    data = avif(samples, "yuv420p10le")
    image = read_image(data)
    assert image.samples.dtype == np.uint16
    assert "10 bits" in image.notes[0]
    assert image.metadata["cICP"] == bytes([9, 16, 0, 1])
    assert np.abs(image.samples.astype(int) - samples).mean() < 257  # one level of 8 bits; the code is lossy
    assert len(np.unique(image.samples)) > 256
    with pytest.raises(SignalError, match="10 bits"):
        as_integers(data)


def test_formats_whose_depth_nobody_states_are_refused() -> None:
    out = io.BytesIO()
    picture("RGBA").save(out, "ICO")
    assert read_image(out.getvalue()).samples.shape[2] == 4
    with pytest.raises(SignalError, match="ICO may give less"):
        as_integers(out.getvalue())


def test_truncated_images_switched_on_is_no_exact_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import ImageFile

    out = io.BytesIO()
    picture("RGB").save(out, "TIFF")
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    assert "LOAD_TRUNCATED_IMAGES" in as_image(out.getvalue()).notes[0]
    with pytest.raises(SignalError, match="LOAD_TRUNCATED_IMAGES"):
        as_integers(out.getvalue())


@pytest.mark.parametrize("compression", [None, "tiff_lzw"])
def test_pages_that_were_cut_off_are_missed(compression: str | None) -> None:
    frames = [picture("RGB") for _ in range(5)]
    out = io.BytesIO()
    frames[0].save(out, "TIFF", save_all=True, append_images=frames[1:], compression=compression)
    data = out.getvalue()
    whole = as_integers(data)
    assert isinstance(whole, Field)
    assert whole.values.shape == (5, 12, 16, 3)
    for cut in range(20, len(data) - 100, 97):
        with pytest.raises(TersorError):
            as_integers(data[:-cut])


def test_damaged_files_are_an_error_or_a_picture_in_every_reader() -> None:
    rng = np.random.default_rng(1)
    deep = RNG.integers(0, 65536, (20, 30, 3), dtype=np.uint16)
    files = [
        tiff(deep, photometric="rgb"),
        tiff(deep[..., 1].view(np.int16)),
        tiff(deep[..., 0].astype("f4")),
    ]
    for kind in ("BMP", "PPM", "AVIF", "JPEG2000", "ICO", "TGA", "SGI", "QOI"):
        out = io.BytesIO()
        picture("RGB").save(out, kind)
        files.append(out.getvalue())
    for data in files:
        for _ in range(25):
            damaged = bytearray(data)
            for at in rng.integers(0, min(len(data), 400), 4):
                damaged[at] = rng.integers(0, 256)
            for read in (read_image, as_integers):
                with warnings.catch_warnings(), contextlib.suppress(TersorError):
                    warnings.simplefilter("ignore")
                    read(bytes(damaged))


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_sixteen_bits_are_written_to_tiff(channels: int) -> None:
    samples = RNG.integers(0, 65536, (12, 16, channels), dtype=np.uint16)
    metadata = {"resolution": b"300 200 inch", "xmp": b"<x/>", "iptc": b"\x1c\x02\x69\x00\x03Top"}
    data, notes = image_file(Image(samples=samples, metadata=metadata), ".tif")
    assert notes == ()
    image = read_image(data)
    assert image.exact
    np.testing.assert_array_equal(image.samples, samples)
    if channels != 2:  # grey and alpha of 16 bits are beyond Pillow, and with them what it would say
        assert dict(image.metadata) == metadata


def test_arrays_are_written_to_tiff() -> None:
    for shape, dtype in (
        ((4, 12, 16, 3), "u1"),
        ((4, 12, 16), "i2"),
        ((12, 16), "f8"),
        ((2, 3, 12, 16), "f4"),
        ((3, 4, 4), "u1"),
        ((1, 4, 4, 1), "u2"),
    ):
        values = (RNG.normal(size=shape) * 90 + 120).clip(0).astype(dtype)
        data, _ = field_file(Field(values=values), ".tif")
        back = as_field(data)
        assert isinstance(back, Field)
        assert back.values.dtype == values.dtype
        np.testing.assert_array_equal(back.values, values)
    with pytest.raises(SignalError, match="cannot hold"):
        field_file(Field(values=np.zeros(7, np.int64)), ".tif")
