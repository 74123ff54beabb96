"""What files say besides their samples: kept through .tsr and back, or named."""

from __future__ import annotations

import io
import struct
import warnings
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pil
from PIL import ImageCms, ImageOps, IptcImagePlugin, PngImagePlugin

import tersor
from tersor.errors import SignalError
from tersor.files import exif as exif_blocks
from tersor.files.coerce import as_image
from tersor.files.image import image_file, read_image
from tersor.files.image_metadata import stripped, upright
from tersor.signals import Image

SAMPLES = np.random.default_rng(0).integers(0, 256, (10, 14, 3), dtype=np.uint8)
WITH_ORIENTATION = (".jpg", ".png", ".webp", ".avif", ".tif")
WITHOUT = (".bmp", ".ppm", ".gif", ".tga", ".jp2")
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf tiff:Orientation="6"/></x:xmpmeta>'
IPTC = b"\x1c\x02\x78\x00\x05Hello\x1c\x02\x69\x00\x03Top"


def saved(im: Pil.Image, kind: str, **options: Any) -> bytes:
    out = io.BytesIO()
    im.save(out, kind, **options)
    return out.getvalue()


def exif(**tags: object) -> Pil.Exif:
    found = Pil.Exif()
    for name, value in tags.items():
        found[int(name[1:], 16)] = value
    return found


def through(source: Any, suffix: str) -> tuple[bytes, tuple[str, ...]]:
    """A picture in and out as a file; what .tsr files do between is one test's."""
    return image_file(read_image(source), suffix)


def opened(data: bytes) -> Pil.Image:
    im = Pil.open(io.BytesIO(data))
    im.load()
    return im


def seen(data: bytes) -> np.ndarray:
    """As people see it: turned as the file says."""
    return np.asarray(ImageOps.exif_transpose(opened(data)).convert("RGB"))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_seen_alike_whatever_file_it_passes(orientation: int) -> None:
    y, x = np.mgrid[:64, :96]
    smooth = np.stack([x * 2, y * 3, 255 - x], 2).astype(np.uint8)
    im = Pil.fromarray(smooth)
    tags = exif(x112=orientation, x10f="Maker")
    for kind in ("PNG", "WEBP", "TIFF", "JPEG", "AVIF"):
        data = saved(im, kind, exif=tags, **({"lossless": True} if kind == "WEBP" else {}))
        want = seen(data).astype(int)
        for suffix in WITH_ORIENTATION + WITHOUT:
            got, notes = through(data, suffix)
            assert seen(got).shape == want.shape, (kind, suffix)
            if suffix != ".gif":
                assert np.abs(seen(got) - want).max() <= 12, (kind, suffix)
            turned = orientation > 1 and kind != "TIFF" and suffix in WITHOUT
            assert any("turned upright" in n for n in notes) == turned, (kind, suffix)
            if suffix in WITH_ORIENTATION:
                assert opened(got).getexif()[0x10F] == "Maker", (kind, suffix)


def test_xmp_says_the_orientation_where_exif_does_not() -> None:
    image = Image(samples=SAMPLES, metadata={"xmp": XMP})
    assert exif_blocks.orientation(image.metadata) == 6
    turned = upright(image)
    assert turned.samples.shape == (14, 10, 3)
    assert b'Orientation="1"' in turned.metadata["xmp"]


def test_pillows_own_turns_are_not_done_twice() -> None:
    data = saved(Pil.fromarray(SAMPLES), "PNG", exif=exif(x112=6))
    with Pil.open(io.BytesIO(data)) as im:
        for done in (im.transpose(Pil.Transpose.ROTATE_270), ImageOps.exif_transpose(im)):
            image = as_image(done)
            assert exif_blocks.orientation(image.metadata) == 1
            np.testing.assert_array_equal(image.samples, np.asarray(done))
        assert "may have turned it" in as_image(im.transpose(Pil.Transpose.ROTATE_270)).notes[0]
        assert exif_blocks.orientation(as_image(im).metadata) == 6
    tags = exif(x112=6)
    tags.get_ifd(34665).update({40962: 14, 40963: 10})  # the camera's width and height
    with Pil.open(io.BytesIO(saved(Pil.fromarray(SAMPLES), "PNG", exif=tags))) as im:
        assert exif_blocks.orientation(as_image(im.convert("L")).metadata) == 6
        assert exif_blocks.orientation(as_image(im.transpose(Pil.Transpose.ROTATE_270)).metadata) == 1
    by_hand = Pil.fromarray(SAMPLES)
    by_hand.getexif()[0x112] = 8
    assert exif_blocks.orientation(as_image(by_hand).metadata) == 8


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_edits_of_getexif_are_kept_and_blocks_without_edits_byte_by_byte(kind: str) -> None:
    data = saved(Pil.fromarray(SAMPLES), kind, exif=exif(x10E="before", x10F="Maker"))
    with Pil.open(io.BytesIO(data)) as im:
        im.getexif()[0x10E] = "after"
        found = exif_blocks.parsed(as_image(im).metadata["exif"])
        assert found is not None
        assert (found[0x10E], found[0x10F]) == ("after", "Maker")
    with Pil.open(io.BytesIO(data)) as im:
        del im.getexif()[0x10F]
        assert 0x10F not in (exif_blocks.parsed(as_image(im).metadata["exif"]) or {})
    if kind != "TIFF":
        with Pil.open(io.BytesIO(data)) as im:
            assert as_image(im).metadata["exif"].removeprefix(b"Exif\0\0") in data


def test_one_framing_of_exif_for_all_containers() -> None:
    directory = exif(x10F="Maker").tobytes()[6:]
    for block in (
        directory,
        b"Exif\0\0" + directory,
        b"\0\0\0\6Exif\0\0" + directory,
        b"\0\0\0\0" + directory,
    ):
        assert exif_blocks.canonical(block) == b"Exif\0\0" + directory
        old = Image(samples=SAMPLES, metadata={"exif": block})  # as tersor 0.1 kept it of WebP
        for suffix in WITH_ORIENTATION:
            assert opened(image_file(old, suffix)[0]).getexif()[0x10F] == "Maker", suffix
    assert exif_blocks.canonical(b"Exif\0\0") is None


def test_tags_of_a_tiff_files_layout_go_nowhere() -> None:
    source = saved(
        Pil.fromarray(SAMPLES), "TIFF", compression="tiff_lzw", exif=exif(x10F="Maker"), dpi=(72, 72)
    )
    image = read_image(source)
    found = exif_blocks.parsed(image.metadata["exif"])
    assert set(found or {}) == {0x10F}
    with Pil.open(io.BytesIO(source)) as im:
        whole = im.getexif().tobytes()  # as tersor 0.1 kept it
    for suffix in WITH_ORIENTATION:
        data, _ = image_file(Image(samples=SAMPLES, metadata={"exif": whole}), suffix)
        im = opened(data)
        assert im.getexif()[0x10F] == "Maker"
        if suffix != ".tif":
            assert set(im.getexif()) == {0x10F}, suffix
        elif suffix == ".tif":
            assert im.tag_v2[259] == 1
            np.testing.assert_array_equal(np.asarray(im), SAMPLES)


@pytest.mark.parametrize("mode", ["CMYK", "LAB", "YCbCr", "HSV"])
def test_a_profile_that_no_longer_fits_is_left_out(mode: str) -> None:
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    im = (
        Pil.fromarray(SAMPLES).convert("RGB" if mode == "HSV" else mode)
        if mode != "LAB"
        else Pil.new("LAB", (9, 9))
    )
    im = im.convert("HSV") if mode == "HSV" else im
    im.info["icc_profile"] = lab
    image = as_image(im)
    assert "icc" not in image.metadata
    assert not image.exact
    assert any("ICC profile" in n for n in image.notes)
    kept = image_file(Image(samples=SAMPLES, metadata={"icc": lab}), ".png")
    assert "icc_profile" not in opened(kept[0]).info
    assert "Lab" in kept[1][0]


def colourful_png() -> bytes:
    info = PngImagePlugin.PngInfo()
    info.add(b"gAMA", struct.pack(">I", 100000))
    info.add(b"cHRM", struct.pack(">8I", 31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000))
    info.add(b"cICP", bytes([9, 16, 0, 1]))
    info.add_text("Copyright", "Me")
    info.add_itxt("Title", "Bild", "de", "Titel")
    info.add_text("Long", "x" * 3000, zip=True)
    info.add(b"bKGD", bytes(6))
    return saved(Pil.fromarray(SAMPLES), "PNG", dpi=(300, 150), pnginfo=info, exif=exif(x10F="Maker"))


def test_png_keeps_its_colour_text_and_resolution() -> None:
    source = colourful_png()
    image = read_image(source)
    assert set(image.metadata) == {"gAMA", "cHRM", "cICP", "text", "resolution", "exif"}
    data, notes = through(source, ".png")
    assert notes == ()
    a, b = opened(source), opened(data)
    for key in ("gamma", "chromaticity", "dpi", "Copyright", "Title", "Long"):
        assert a.info[key] == b.info[key], key
    assert (b.text["Title"].lang, b.text["Title"].tkey) == ("de", "Titel")
    assert b"cICP\x09\x10\x00\x01" in data
    again = read_image(data)
    assert again == image


@pytest.mark.parametrize("codec", ["image", "lossless"])
def test_tsr_files_hold_all_of_it(codec: str) -> None:
    image = read_image(colourful_png())
    assert dict(tersor.decode(tersor.encode(image, codec=codec)).metadata) == dict(image.metadata)


def test_what_an_output_cannot_hold_is_named_once() -> None:
    source = colourful_png()
    for suffix in (".jpg", ".ppm", ".bmp", ".gif", ".webp"):
        _, notes = through(source, suffix)
        (named,) = [n for n in notes if f"a {suffix} file holds no" in n]
        for word in ("gAMA", "cHRM", "cICP", "text (Copyright, Title, Long)"):
            assert word in named, (suffix, word)
        assert ("EXIF" in named) == (suffix in (".ppm", ".bmp", ".gif")), suffix
        assert ("resolution" in named) == (suffix in (".ppm", ".gif", ".webp")), suffix
    assert read_image(source).notes == ("PNG chunks bKGD are left out",)


def test_jpeg_keeps_comment_iptc_and_density() -> None:
    block = (
        b"Photoshop 3.0\x008BIM\x04\x04\0\0" + struct.pack(">I", len(IPTC)) + IPTC + b"\0" * (len(IPTC) % 2)
    )
    segment = b"\xff\xed" + struct.pack(">H", len(block) + 2) + block
    source = saved(Pil.fromarray(SAMPLES), "JPEG", dpi=(300, 200), comment=b"a note", extra=segment)
    image = read_image(source)
    assert image.metadata["iptc"] == IPTC
    assert image.metadata["resolution"] == b"300 200 inch"
    for suffix in (".jpg", ".tif"):
        data, notes = through(source, suffix)
        back = opened(data)
        assert back.info["dpi"] == (300, 200)
        assert IptcImagePlugin.getiptcinfo(back) == {(2, 120): b"Hello", (2, 105): b"Top"}
        assert ("comment" in back.info) == (suffix == ".jpg")
        assert any("no comment" in n for n in notes) == (suffix == ".tif")
        assert read_image(data).metadata["iptc"] == IPTC
    assert opened(through(source, ".png")[0]).text["Comment"] == "a note"
    assert opened(through(source, ".gif")[0]).info["comment"] == b"a note"


@pytest.mark.parametrize(
    ("suffix", "kind"), [(".png", "PNG"), (".jpg", "JPEG"), (".tif", "TIFF"), (".bmp", "BMP")]
)
def test_resolution_in_every_unit(suffix: str, kind: str) -> None:
    for text, dpi in (
        (b"300 300 inch", 300),
        (b"11811 11811 metre", 300),
        (b"100 100 cm", 254),
        (b"601/2 601/2 inch", 300.5),
    ):
        data, notes = image_file(Image(samples=SAMPLES, metadata={"resolution": text}), suffix)
        assert not any("resolution" in n for n in notes)
        assert opened(data).info["dpi"][0] == pytest.approx(dpi, abs=0.6)
    for bad in (b"nan nan inch", b"0 0 inch", b"1/0 2 inch", b"", b"9" * 5000):
        image_file(Image(samples=SAMPLES, metadata={"resolution": bad}), suffix)


def test_bmp_profile_is_kept() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    pixels = np.zeros((4, 4, 3), np.uint8).tobytes()
    head = struct.pack("<IiiHHIIiiII", 124, 4, 4, 1, 24, 0, len(pixels), 2835, 2835, 0, 0)
    head += bytes(16) + b"DEBM" + bytes(48) + struct.pack("<IIII", 4, 124 + len(pixels), len(profile), 0)
    data = (
        b"BM"
        + struct.pack("<IHHI", 14 + 124 + len(pixels) + len(profile), 0, 0, 138)
        + head
        + pixels
        + profile
    )
    assert read_image(data).metadata["icc"] == profile


def test_damaged_metadata_loses_no_picture() -> None:
    for key in (
        "exif",
        "icc",
        "xmp",
        "text",
        "comment",
        "iptc",
        "resolution",
        "gAMA",
        "cHRM",
        "cICP",
        "sRGB",
    ):
        for block in (
            b"junk",
            b"\xff" * 300,
            b"",
            b"II*\0\xff\xff\xff\xff",
            b"Exif\0\0MM\0*\0\0\0\x08\xff\xff",
        ):
            for suffix in (*WITH_ORIENTATION, *WITHOUT):
                data, _ = image_file(Image(samples=SAMPLES, metadata={key: block}), suffix)
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # damaged EXIF is copied as it was
                    assert opened(data).size == (14, 10), (key, suffix)
                if suffix == ".png":
                    np.testing.assert_array_equal(np.asarray(opened(data)), SAMPLES)
    notes = image_file(Image(samples=SAMPLES, metadata={"exif": b"junk"}), ".tif")[1]
    assert "EXIF block is damaged" in notes[0]


def test_blocks_too_long_for_a_segment_are_named() -> None:
    long = exif(x10F="Maker")
    long[0x10E] = "x" * 70000
    metadata = {"exif": long.tobytes(), "xmp": b"<" + b"y" * 70000}
    data, notes = image_file(Image(samples=SAMPLES, metadata=metadata), ".jpg")
    assert "EXIF, XMP too long" in notes[0]
    assert "exif" not in opened(data).info


def test_stripping_leaves_colours_and_turns_upright() -> None:
    source = colourful_png()
    image = stripped(read_image(source))
    assert set(image.metadata) == {"gAMA", "cHRM", "cICP"}
    turned = stripped(read_image(saved(Pil.fromarray(SAMPLES), "PNG", exif=exif(x112=6))))
    np.testing.assert_array_equal(turned.samples, np.rot90(SAMPLES, 3))
    assert turned.metadata == {}


def test_pillow_images_carry_them() -> None:
    metadata = dict(read_image(colourful_png()).metadata)
    im = Image(samples=SAMPLES, metadata=metadata | {"comment": b"c"}).pil()
    assert im.info["dpi"] == pytest.approx((300, 150), abs=0.02)
    assert (im.info["gamma"], im.info["comment"]) == (1.0, b"c")
    assert {"gAMA", "cHRM", "comment", "resolution", "exif"} <= as_image(im).metadata.keys()


def test_unknown_text_and_truncated_files_are_errors() -> None:
    with pytest.raises(SignalError, match="damaged|decoded"):
        read_image(colourful_png()[:-40])


def test_directories_below_exif_go_into_every_container() -> None:
    """As cameras write them: Exif with an Interoperability directory below it, and GPS."""
    tags = exif(x10F="Maker", x112=3)
    tags.get_ifd(34665).update({36867: "2020:01:02 03:04:05", 40965: {1: "R98", 2: b"0100"}})
    tags.get_ifd(34853).update({1: "N", 2: (1.0, 2.0, 3.0)})
    image = read_image(saved(Pil.fromarray(SAMPLES), "JPEG", exif=tags, xmp=b"<x/>"))
    for suffix in WITH_ORIENTATION:
        data, notes = image_file(image, suffix)
        assert not any("EXIF" in n for n in notes)
        back = opened(data).getexif()
        assert back.get_ifd(34665)[36867] == "2020:01:02 03:04:05", suffix
        assert back.get_ifd(40965)[1] == "R98", suffix
        assert back.get_ifd(34853)[1] == "N", suffix
        again = read_image(data).metadata
        assert again["xmp"] == b"<x/>", suffix
        found = exif_blocks.parsed(again["exif"])
        assert found is not None
        assert found.get_ifd(34665)[36867] == "2020:01:02 03:04:05", suffix
        assert found.get_ifd(34853)[1] == "N", suffix
