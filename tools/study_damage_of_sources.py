"""One flipped bit in source files whose formats carry checksums: is it refused, noted, or coded as if whole?

python tools/study_damage_of_sources.py --data DATA                 every format, 100 files each
python tools/study_damage_of_sources.py --data DATA --format FLAC --each 200 --show

DATA has images/kodak, audio, fields and video. Files are taken from there and made by code, of every kind
that the format has; one bit of each is flipped at a random place, and it is read as
`tersor encode --codec lossless` reads it. Outcomes:

    refused     an error, or a note that the reading of the whole file does not have
    equal       the bit was in bytes that carry nothing: all that is read is what the whole file says
    texts       the samples are equal; a tag, an attribute or the like is not, in bytes without a checksum
    SILENT      samples are not equal, without a word
"""

from __future__ import annotations

import argparse
import hashlib
import io
import itertools
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import h5py
import netCDF4
import numcodecs
import numpy as np
import zarr
from PIL import Image as Pil
from PIL import PngImagePlugin
from zarr.codecs import BloscCodec, BytesCodec, Crc32cCodec, GzipCodec, ShardingCodec, ZstdCodec

from tersor.errors import TersorError
from tersor.files.audio import audio_bytes
from tersor.files.kinds import KINDS, Asked
from tersor.signals import Audio, Field, Image
from tersor.testing import png_maker
from tersor.testing.samples import clip, picture, sound

Reading = tuple[str, str, tuple[str, ...]]  # digests of samples and of the rest; notes
Maker = Callable[[Path, Path], Iterator[Path]]  # (data, folder to write into) -> files
MOST_BYTES = 1 << 20  # larger files of the data are left out


def digest(*parts: Any) -> str:
    sha = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray) and part.dtype != object:
            sha.update(f"{part.dtype} {part.shape}".encode() + np.ascontiguousarray(part).tobytes())
        else:
            sha.update(repr(part.tolist() if isinstance(part, np.ndarray) else part).encode())
    return sha.hexdigest()


def read(path: Path) -> Reading:
    """What the command line takes from a file.

    Raises:
        TersorError: it refuses the file.
    """
    suffix = path.suffix.lower()
    kind = next((k for k in KINDS.values() if suffix in k.suffixes), KINDS["image"])
    kind = KINDS["integers"] if kind is KINDS["image"] else kind
    signal: Any = kind.read(path, Asked(name=str(path)))
    if hasattr(signal, "frames"):
        samples = digest(*[plane for frame in signal.frames() for plane in frame])
        return samples, digest(signal.format, signal.timing, signal.tags), tuple(signal.notes)
    if hasattr(signal, "blocks"):
        samples = digest(*[np.asarray(b) for b in signal.blocks() if len(b)])
        about = (signal.rate, signal.channels, str(signal.dtype), signal.bits, signal.tags, signal.layout)
        return samples, digest(about), tuple(signal.notes)
    if isinstance(signal, Image):
        return digest(signal.samples), digest(sorted(signal.metadata.items())), signal.notes
    fields = [signal] if isinstance(signal, Field) else list(signal.fields.values())
    texts = [(f.name, f.dims, sorted(map(repr, f.attributes.items())), f.encoding) for f in fields]
    whole = getattr(signal, "attributes", None), getattr(signal, "encoding", None)
    return digest(*[f.values for f in fields]), digest(texts, whole), signal.notes


def outcome(whole: Reading, path: Path) -> tuple[str, str]:
    """(outcome, what was said)."""
    try:
        damaged = read(path)
    except TersorError as e:
        return "refused", str(e)
    if new := set(damaged[2]) - set(whole[2]):
        return "refused", "; ".join(new)
    if damaged[0] != whole[0]:
        return "SILENT", ""
    return ("texts" if damaged[1] != whole[1] else "equal"), ""


def png(data: Path, folder: Path) -> Iterator[Path]:
    yield from sorted((data / "images" / "kodak").glob("*.png"))
    for n, kind in enumerate(png_maker.KINDS):
        (path := folder / f"kind{n}.png").write_bytes(png_maker.make(*kind, size=(61, 47))[0])
        yield path
    for n, (mode, level) in enumerate(itertools.product(("L", "LA", "RGB", "RGBA", "P", "1"), (0, 1, 9))):
        info = PngImagePlugin.PngInfo()
        info.add_text("Title", "a picture")
        info.add_itxt("Author", "someone", zip=True)
        path = folder / f"pillow{n}.png"
        Pil.fromarray(picture(200, 100)).convert(mode).save(
            path, pnginfo=info, compress_level=level, dpi=(72, 72)
        )
        yield path


def flac(data: Path, folder: Path) -> Iterator[Path]:
    yield from itertools.islice(_small(data / "audio", "*.flac"), 60)
    for n, (channels, bits, rate) in enumerate(
        itertools.product((1, 2, 3, 6, 8), (8, 16, 24), (8000, 44100, 96000))
    ):
        dtype = {8: "u1", 16: "i2", 24: "i4"}[bits]
        x = sound(0.4, rate, channels, np.dtype(dtype))
        x = np.left_shift(np.right_shift(x, 8), 8) if bits == 24 else x
        made = Audio(samples=x, rate=rate, bits=bits, tags={"title": "a sound"})
        (path := folder / f"made{n}.flac").write_bytes(audio_bytes(made, ".flac"))
        yield path


def _small(folder: Path, pattern: str) -> Iterator[Path]:
    return (p for p in sorted(folder.rglob(pattern)) if p.stat().st_size <= MOST_BYTES)


def encoded(form: str, codec: str, x: Any, rate: int, layout: str, **options: str) -> bytes:
    """A sound file of FFmpeg's; samples int16 [n, channels]."""
    out = io.BytesIO()
    with av.open(out, "w", format=form) as file:
        file.metadata.update({"title": "a sound"})
        stream: Any = file.add_stream(codec, rate=rate, layout=layout)
        stream.codec_context.options = options
        for at in range(0, len(x), 1024):
            part = np.ascontiguousarray(x[at : at + 1024].reshape(1, -1))
            frame = av.AudioFrame.from_ndarray(part, format="s16", layout=layout)
            frame.sample_rate, frame.pts, frame.time_base = rate, at, Fraction(1, rate)
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return out.getvalue()


def made_by_ffmpeg(
    folder: Path, suffix: str, form: str, codecs: list[str], rates: list[int]
) -> Iterator[Path]:
    for n, (codec, rate, layout) in enumerate(itertools.product(codecs, rates, ("mono", "stereo"))):
        x = sound(0.5, rate, 1 + (layout == "stereo"), seed=n)
        (path := folder / f"{codec}{n}{suffix}").write_bytes(encoded(form, codec, x, rate, layout))
        yield path


def ogg(data: Path, folder: Path) -> Iterator[Path]:
    yield from itertools.islice(_small(data / "audio", "*.ogg"), 70)
    yield from made_by_ffmpeg(folder, ".ogg", "ogg", ["flac", "libopus"], [16000, 24000, 48000])


def wavpack(_: Path, folder: Path) -> Iterator[Path]:
    yield from made_by_ffmpeg(folder, ".wv", "wv", ["wavpack"], [8000, 44100, 96000])


def true_audio(_: Path, folder: Path) -> Iterator[Path]:
    yield from made_by_ffmpeg(folder, ".tta", "tta", ["tta"], [8000, 44100, 96000])


def dolby(_: Path, folder: Path) -> Iterator[Path]:
    yield from made_by_ffmpeg(folder, ".ac3", "ac3", ["ac3"], [32000, 48000])
    yield from made_by_ffmpeg(folder, ".eac3", "eac3", ["eac3"], [32000, 48000])


def ffv1(_: Path, folder: Path) -> Iterator[Path]:
    """FFV1, whose slices carry a CRC."""
    for n, (suffix, form) in enumerate(((".mkv", "matroska"), (".avi", "avi"))):
        for pixels in ("yuv420p", "yuv422p10le", "gray"):
            path = folder / f"{n}{pixels}{suffix}"
            with av.open(str(path), "w", format=form) as file:
                stream: Any = file.add_stream("ffv1", rate=25)
                stream.width, stream.height, stream.pix_fmt = 96, 64, pixels
                stream.options = {"level": "3", "slicecrc": "1"}
                for rgb in clip():
                    file.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, "rgb24").reformat(format=pixels)))
                file.mux(stream.encode(None))
            yield path


def matroska(data: Path, folder: Path) -> Iterator[Path]:
    """Whose elements carry a CRC each, of whatever is in them."""
    yield from itertools.islice(_small(data / "video" / "train", "*.mkv"), 12)


def flac_in_others(_: Path, folder: Path) -> Iterator[Path]:
    yield from made_by_ffmpeg(folder, ".mka", "matroska", ["flac"], [8000, 44100, 96000])
    yield from made_by_ffmpeg(folder, ".m4a", "mp4", ["flac"], [8000, 44100, 96000])


def arrays(data: Path) -> Iterator[Any]:
    """Parts of the fields, of all types that files of arrays have."""
    types = ("f4", "f8", "i2", "u1", "i4", "f4", "f4")
    for n, path in enumerate(sorted((data / "fields").rglob("*.npy"))):
        x = np.load(path, mmap_mode="r")
        part = np.array(x[tuple(slice(0, max(1, round(40000 ** (1 / x.ndim)))) for _ in x.shape)], np.float32)
        known = part[np.isfinite(part)]
        scale = 100 / max(1e-9, float(np.ptp(known))) if known.size else 1
        kind = np.dtype(types[n % len(types)])
        yield (
            part.astype(kind)
            if kind.kind == "f"
            else np.nan_to_num((part - known.min()) * scale).astype(kind)
        )


def netcdf(data: Path, folder: Path) -> Iterator[Path]:
    for n, x in enumerate(arrays(data)):
        for deflated, grouped in ((False, False), (True, False), (True, True)):
            path = folder / f"f{n}{deflated:d}{grouped:d}.nc"
            with netCDF4.Dataset(path, "w") as file:
                file.title = "made for a study"
                node = file.createGroup("run") if grouped else file
                for axis, size in enumerate(x.shape):
                    node.createDimension(f"d{axis}", None if grouped and axis == 0 else size)
                    along = node.createVariable(f"d{axis}", "f8", (f"d{axis}",), fletcher32=True)
                    along[:] = np.linspace(0, 9, size)
                v = node.createVariable(
                    "x",
                    x.dtype,
                    [f"d{a}" for a in range(x.ndim)],
                    fletcher32=True,
                    zlib=deflated,
                    shuffle=deflated,
                )
                v.units = "K"
                v[:] = x
            yield path


def hdf5(data: Path, folder: Path) -> Iterator[Path]:
    for n, x in enumerate(arrays(data)):
        for version in ("earliest", "latest"):
            for options in ({}, {"compression": "gzip", "shuffle": True}, {"compression": "lzf"}):
                path = folder / f"f{n}{version}{options.get('compression')}.h5"
                with h5py.File(path, "w", libver=version) as file:
                    node = file.create_dataset("group/x", data=x, fletcher32=True, chunks=True, **options)
                    node.attrs["units"] = "K"
                yield path


def zarr_crc32c(data: Path, folder: Path) -> Iterator[Path]:
    """Every chunk with a CRC; in shards the index as well."""
    for n, x in enumerate(arrays(data)):
        for name, codecs in {
            "plain": [Crc32cCodec()],
            "zstd": [ZstdCodec(), Crc32cCodec()],
            "blosc": [BloscCodec(), Crc32cCodec()],
            "sum in zstd": [ZstdCodec(checksum=True)],
            "gzip": [GzipCodec()],
        }.items():
            chunks = tuple(-(-s // 2) for s in x.shape)
            yield _store(folder / f"f{n} {name}.zarr", x, chunks=chunks, compressors=codecs)
        inner: Any = [BytesCodec(), ZstdCodec(), Crc32cCodec()]
        serializer = ShardingCodec(chunk_shape=chunks, codecs=inner)
        shard = tuple(2 * c for c in chunks)
        yield _store(folder / f"f{n} shards.zarr", x, chunks=shard, serializer=serializer, compressors=None)


def zarr_2(data: Path, folder: Path) -> Iterator[Path]:
    """Version 2 with the filters of numcodecs that carry a sum."""
    for n, x in enumerate(arrays(data)):
        for sum_ in (numcodecs.CRC32(), numcodecs.Adler32(), numcodecs.Fletcher32(), numcodecs.GZip()):
            path = folder / f"f{n} {sum_.codec_id}.zarr"
            yield _store(path, x, chunks=x.shape, zarr_format=2, compressors=sum_)


def _store(path: Path, x: Any, **options: Any) -> Path:
    group = zarr.open_group(path, mode="w", zarr_format=options.get("zarr_format", 3))
    options.pop("zarr_format", None)
    group.create_array("x", shape=x.shape, dtype=x.dtype, **options)[...] = x
    return path


def npz(data: Path, folder: Path) -> Iterator[Path]:
    """Zip archives: a CRC of each member."""
    for n, x in enumerate(arrays(data)):
        for save in (np.savez, np.savez_compressed):
            path = folder / f"f{n}{save.__name__}.npz"
            save(path, x=x, y=np.arange(40.0))
            yield path


FORMATS: dict[str, Maker] = {
    "PNG": png,
    "FLAC": flac,
    "Ogg": ogg,
    "NetCDF-4 with fletcher32": netcdf,
    "HDF5 with fletcher32": hdf5,
    "Zarr 3 with sums": zarr_crc32c,
    "Zarr 2 with sums": zarr_2,
    "npz": npz,
    "WavPack": wavpack,
    "True Audio": true_audio,
    "AC-3, E-AC-3": dolby,
    "FLAC in Matroska, MP4": flac_in_others,
    "FFV1": ffv1,
    "H.264 in Matroska with sums": matroska,
}


def with_a_bit_flipped(path: Path, folder: Path, rng: np.random.Generator) -> tuple[Path, str]:
    """A copy of a file or store, and where it differs."""
    copy = folder / f"damaged{path.suffix}"
    if copy.is_dir():
        shutil.rmtree(copy)
    target = copy
    if path.is_dir():
        shutil.copytree(path, copy)
        chunks = [
            p for p in sorted(copy.rglob("*")) if p.is_file() and not p.name.startswith((".z", "zarr.json"))
        ]
        target = chunks[rng.integers(len(chunks))]
    else:
        copy.write_bytes(path.read_bytes())
    data = bytearray(target.read_bytes())
    at = int(rng.integers(8 * len(data)))
    data[at // 8] ^= 1 << at % 8
    target.write_bytes(data)
    return copy, f"bit {at % 8} of byte {at // 8} of {len(data)}"


def study(name: str, data: Path, each: int, show: bool) -> Counter[str]:
    counts: Counter[str] = Counter()
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as made, tempfile.TemporaryDirectory() as work:
        files = list(FORMATS[name](data, Path(made)))
        wholes: dict[Path, Reading] = {}
        for n in range(each):
            path = files[(n * len(files) // each if each < len(files) else n) % len(files)]
            wholes[path] = wholes.get(path) or read(path)
            copy, where = with_a_bit_flipped(path, Path(work), rng)
            found, said = outcome(wholes[path], copy)
            counts[found] += 1
            if show:
                print(f"  {found:8s} {path.name}: {where}  {said[:200]}", flush=True)
        counts["kinds"] = min(len(files), each)
    return counts


def main() -> int:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--data", type=Path, required=True)
    p.add_argument("--format", choices=FORMATS, action="append")
    p.add_argument("--each", type=int, default=100)
    p.add_argument("--show", action="store_true", help="a line for each file")
    a = p.parse_args()
    columns = ("refused", "equal", "texts", "SILENT")
    print(f"{'one flipped bit in ' + str(a.each) + ' files':26s}", *(f"{c:>8s}" for c in columns))
    silent = 0
    for name in a.format or FORMATS:
        counts = study(name, a.data, a.each, a.show)
        silent += counts["SILENT"]
        print(f"{name:26s}", *(f"{counts[c]:8d}" for c in columns), flush=True)
    return int(silent > 0)


if __name__ == "__main__":
    sys.exit(main())
