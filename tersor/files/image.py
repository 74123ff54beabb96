"""Image files in and out, by Pillow; 16-bit colour PNG, which Pillow cannot hold, by PyAV."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pil
from PIL import PngImagePlugin, UnidentifiedImageError

from tersor.errors import SignalError
from tersor.files.atomic import write_atomically
from tersor.signals import Image
from tersor.signals.image import MAX_PIXELS

PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
KEEPS_EXIF = {"PNG", "JPEG", "WEBP", "TIFF", "AVIF", "MPO", "JPEG2000"}
EXACT_MODES = ("1", "P", "PA", "RGBX")  # whose colours RGB or RGBA holds exactly
DIRECT_MODES = ("L", "LA", "RGB", "RGBA")


def read_image(source: Path | bytes) -> Image:
    """Read a file (or its bytes) of any format Pillow knows.

    Raises:
        SignalError: no such file, not an image, animated, empty, or larger than Pillow's limit against
            decompression bombs (179 megapixels).
    """
    name = str(source) if isinstance(source, Path) else f"{len(source)} bytes"
    try:
        data = source.read_bytes() if isinstance(source, Path) else source
    except OSError as e:
        raise SignalError(f"{name}: cannot be read ({e.strerror})") from e
    if not data:
        raise SignalError(f"{name}: the file is empty")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Pil.DecompressionBombWarning)
            im = Pil.open(io.BytesIO(data))
    except UnidentifiedImageError as e:
        raise SignalError(f"{name}: not an image that Pillow can read") from e
    except Exception as e:  # damaged headers raise whatever comes to a parser; bombs raise here too
        raise SignalError(f"{name}: not an image that Pillow can read ({e})") from e
    with im:
        return _read_opened(im, data, name)


def _read_opened(im: Pil.Image, data: bytes, name: str) -> Image:
    if im.width * im.height > MAX_PIXELS:
        raise SignalError(
            f"{name}: {im.width}x{im.height} is more than {MAX_PIXELS} pixels; split the image first"
        )
    try:
        frames = getattr(im, "n_frames", 1)
        if frames > 1 and im.format != "MPO":
            raise SignalError(
                f"{name}: animated, {frames} frames; the image codec takes one: extract a frame first"
            )
        if (
            data[:8] == PNG_MAGIC
            and len(data) > 25
            and data[24] == 16
            and (data[25] in (2, 4, 6) or "transparency" in im.info)
        ):
            return Image(samples=_read_deep_png(data), metadata=_metadata(im))
        image = from_pil(im)
        if _file_is_deep(im, data) and image.bits_per_sample == 8:
            note = f"16 bits per sample of this {im.format} reduced to 8; a 16-bit PNG or array keeps them"
            return Image(
                samples=image.samples, metadata=image.metadata, notes=(*image.notes, note), exact=False
            )
        return image
    except SignalError:
        raise
    except Exception as e:  # damaged files raise whatever comes to Pillow's and FFmpeg's parsers
        raise SignalError(f"{name}: the {im.format} data cannot be decoded ({e!r})") from e


def _file_is_deep(im: Pil.Image, data: bytes) -> bool:
    """Whether the file has more than 8 bits per sample, of the formats that Pillow reduces silently."""
    if im.format == "TIFF":
        return max(im.tag_v2.get(258, (8,)), default=8) > 8  # type: ignore[attr-defined]
    if im.format == "PPM":
        head = [t for line in data[:200].split(b"\n") for t in line.split(b"#")[0].split()]
        return len(head) > 3 and head[3].isdigit() and int(head[3]) > 255
    return False


def _metadata(im: Pil.Image) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    if icc := im.info.get("icc_profile"):
        found["icc"] = bytes(icc)
    block = im.info.get("exif")
    if block is None:
        try:
            exif = im.getexif()
            block = exif.tobytes() if len(exif) else None
        except Exception:  # damaged EXIF must not lose the picture
            block = None
    if block:
        found["exif"] = bytes(block)
    xmp = im.info.get("xmp") or im.info.get("XML:com.adobe.xmp")
    if xmp:
        found["xmp"] = xmp if isinstance(xmp, bytes) else str(xmp).encode()
    return found


def from_pil(im: Pil.Image) -> Image:
    """A Pillow image of any mode; palettes, CMYK and the like are converted, and the notes say so."""
    metadata = _metadata(im)
    notes: tuple[str, ...] = ()
    mode = im.mode
    if mode.startswith("I;16"):
        return Image(samples=np.array(im).astype(np.uint16)[:, :, None], metadata=metadata)
    if mode == "I":
        values = np.array(im)
        if values.min() < 0 or values.max() > 65535:
            raise SignalError(
                f"32-bit integer image with values {values.min()}..{values.max()}; allowed are 0..65535"
            )
        return Image(samples=values.astype(np.uint16)[:, :, None], metadata=metadata)
    if mode == "F":
        raise SignalError(
            "float image; allowed are 8 and 16-bit integers: scale and round it first, or use the field codec"
        )
    transparent = "transparency" in im.info
    if mode not in DIRECT_MODES or transparent:
        if mode == "1" and not transparent:
            target = "L"
        elif transparent or mode in ("PA", "La", "RGBa"):
            target = "LA" if mode in ("L", "La") else "RGBA"
        else:
            target = "RGB"
        if mode == "CMYK":
            metadata.pop("icc", None)
            notes = ("CMYK converted to RGB without its ICC profile",)
        else:
            notes = (f"{'palette' if mode in ('P', 'PA') else mode} converted to {target}",)
        im = im.convert(target)
    samples = np.array(im)
    kept = mode in (*DIRECT_MODES, *EXACT_MODES)
    return Image(
        samples=samples[:, :, None] if samples.ndim == 2 else samples,
        metadata=metadata,
        notes=notes,
        exact=kept,
    )


def _read_deep_png(data: bytes) -> NDArray[np.uint16]:
    formats = {1: "gray16le", 2: "rgba64le", 3: "rgb48le", 4: "rgba64le"}
    with av.open(io.BytesIO(data), mode="r", format="png_pipe") as container:
        frame = next(container.decode(video=0))
        channels = {2: 3, 4: 2, 6: 4}[data[25]]
        samples = frame.to_ndarray(format=formats[channels])
    deep = samples.astype(np.uint16, copy=False)
    return deep[..., [0, 3]] if channels == 2 else deep


def _write_deep_png(image: Image) -> bytes:
    c = image.samples.shape[2]
    samples = image.samples[..., [0, 0, 0, 1]] if c == 2 else image.samples
    layout = "rgb48be" if c == 3 else "rgba64be"
    context = av.CodecContext.create("png", "w")
    context.width, context.height, context.pix_fmt = image.width, image.height, layout
    context.time_base = Fraction(1)
    frame = av.VideoFrame.from_ndarray(
        np.ascontiguousarray(samples), format=layout.replace("be", "le")
    ).reformat(format=layout)
    data = b"".join(bytes(p) for p in [*context.encode(frame), *context.encode(None)])
    extra = b""
    if icc := image.metadata.get("icc"):
        extra += _png_chunk(b"iCCP", b"icc\0\0" + zlib.compress(icc))
    if exif := image.metadata.get("exif"):
        extra += _png_chunk(b"eXIf", exif.removeprefix(b"Exif\0\0"))
    if xmp := image.metadata.get("xmp"):
        extra += _png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp)
    return data[:33] + extra + data[33:]


def _png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def to_pil(image: Image) -> Pil.Image:
    """8-bit images and 16-bit grey; see `Image.pil`."""
    s = image.samples
    if s.dtype == np.uint16:
        if s.shape[2] != 1:
            raise SignalError(
                "Pillow has no mode for 16-bit colour; use np.asarray(image), or image.save('x.png')"
            )
        im = Pil.fromarray(s[:, :, 0])
    else:
        im = Pil.fromarray(s[:, :, 0] if s.shape[2] == 1 else s)
    for key, name in (("icc", "icc_profile"), ("exif", "exif"), ("xmp", "xmp")):
        if key in image.metadata:
            im.info[name] = image.metadata[key]
    return im


def image_bytes(image: Image, suffix: str) -> bytes:
    """The image as a file of the format that `suffix` names (".png", ".jpg", ...).

    Raises:
        SignalError: the format is unknown or cannot hold the image.
    """
    kind = Pil.registered_extensions().get(suffix.lower())
    if kind is None or kind not in Pil.SAVE:
        raise SignalError(f"no image format is written to '{suffix}'; use .png, .webp, .tif, .ppm or .jpg")
    deep = image.samples.dtype == np.uint16
    if deep and (kind != "PNG" or image.samples.shape[2] > 1):
        if kind != "PNG" and (kind not in ("TIFF", "PPM") or image.samples.shape[2] > 1):
            raise SignalError(f"{kind} output cannot hold this 16-bit image; write .png")
        if kind == "PNG":
            return _write_deep_png(image)
    im = to_pil(image)
    options: dict[str, object] = {}
    if "icc" in image.metadata:
        options["icc_profile"] = image.metadata["icc"]
    if "exif" in image.metadata and kind in KEEPS_EXIF:
        options["exif"] = image.metadata["exif"]
    if "xmp" in image.metadata:
        options |= _xmp_option(kind, image.metadata["xmp"])
    if kind == "WEBP":
        options |= {"lossless": True}
    if kind == "JPEG":
        options |= {"quality": 95, "subsampling": 0}
    out = io.BytesIO()
    try:
        im.save(out, kind, **options)
    except Exception as e:  # limits of the format, or metadata of a hostile file that Pillow cannot parse
        raise SignalError(f"{kind} output cannot hold this image ({e!r}); write .png") from e
    return out.getvalue()


def _xmp_option(kind: str, xmp: bytes) -> dict[str, object]:
    """Each format takes it another way."""
    if kind == "PNG":
        info = PngImagePlugin.PngInfo()
        info.add_itxt("XML:com.adobe.xmp", xmp.decode("utf-8", "replace"))
        return {"pnginfo": info}
    if kind == "TIFF":
        return {"tiffinfo": {700: xmp}}
    return {"xmp": xmp} if kind in ("JPEG", "WEBP", "AVIF", "MPO") else {}


def write_image(image: Image, path: Path) -> None:
    """Write aside, then rename."""
    write_atomically(path, image_bytes(image, path.suffix))
