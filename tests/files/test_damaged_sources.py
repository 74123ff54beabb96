"""One flipped bit in files whose formats carry checksums: an error or a note, and never other samples
without a word. Pictures are in `test_png`, FLAC and Ogg in `test_damaged_sound`;
`tools/study_damage_of_sources.py` does it with files of the development data.
"""

from __future__ import annotations

import shutil
from fractions import Fraction
from pathlib import Path

import av
import h5py
import netCDF4
import numcodecs
import numpy as np
import pytest
import zarr
from zarr.codecs import BytesCodec, Crc32cCodec, GzipCodec, ShardingCodec, ZstdCodec

from tersor.errors import SignalError
from tersor.files.audio import AudioReader, read_audio
from tersor.files.checksums import SliceSums, matroska_damage
from tersor.files.field import read_field
from tersor.files.video import read_video
from tersor.testing.samples import clip, sound, weather

RNG = np.random.default_rng(0)


def flipped(path: Path, at: int) -> Path:
    """A copy with one bit of the file changed."""
    data = bytearray(path.read_bytes())
    data[at // 8] ^= 1 << at % 8
    copy = path.with_name(f"damaged-{path.name}")
    copy.write_bytes(data)
    return copy


def some_bits(path: Path, n: int, begin: float = 0.0, end: float = 1.0) -> list[int]:
    size = 8 * path.stat().st_size
    return [int(v) for v in RNG.integers(int(begin * size), int(end * size), n)]


@pytest.mark.parametrize(
    ("suffix", "form", "codec"),
    [
        (".wv", "wv", "wavpack"),
        (".tta", "tta", "tta"),
        (".ac3", "ac3", "ac3"),
        (".eac3", "eac3", "eac3"),
        (".mka", "matroska", "pcm_s16le"),
    ],
)
def test_sound(suffix: str, form: str, codec: str, tmp_path: Path) -> None:
    """The middle of the file: what stands around it are tags, which have no sum."""
    path, rate = tmp_path / f"x{suffix}", 48000
    samples = sound(4, rate, 2)
    with av.open(str(path), "w", format=form) as file:
        stream = file.add_stream(codec, rate=rate, layout="stereo")
        for at in range(0, len(samples), 1024):
            part = np.ascontiguousarray(samples[at : at + 1024].reshape(1, -1))
            frame = av.AudioFrame.from_ndarray(part, format="s16", layout="stereo")
            frame.sample_rate, frame.pts, frame.time_base = rate, at, Fraction(1, rate)
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    whole = read_audio(path)
    assert not whole.notes
    for at in some_bits(path, 25, 0.1, 0.9):
        with pytest.raises(SignalError, match="damaged"):
            read_audio(flipped(path, at))
    reader = AudioReader(flipped(path, at), salvage=True)
    assert 0.5 * len(whole.samples) < sum(map(len, reader.blocks()))
    assert reader.notes


@pytest.fixture(scope="module")
def ffv1(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """By what holds it."""
    paths = {}
    for suffix in (".mkv", ".avi"):
        paths[suffix] = path = tmp_path_factory.mktemp("v") / f"x{suffix}"
        with av.open(str(path), "w") as file:
            stream = file.add_stream("ffv1", rate=25)
            stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
            stream.options = {"level": "3", "slicecrc": "1"}
            for rgb in clip():
                file.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, "rgb24").reformat(format="yuv420p")))
            file.mux(stream.encode(None))
    return paths


@pytest.mark.parametrize("suffix", [".mkv", ".avi"])
def test_slices_of_ffv1(ffv1: dict[str, Path], suffix: str) -> None:
    path = ffv1[suffix]
    assert read_video(path).notes == ()
    for at in some_bits(path, 20, 0.15, 0.95):
        try:
            assert read_video(flipped(path, at)).notes
        except SignalError as e:
            assert "damaged" in str(e)  # noqa: PT017 (or a note)


def test_ffv1_without_sums_is_read(tmp_path: Path) -> None:
    for level, sums in (("3", "0"), ("1", "0")):
        path = tmp_path / f"x{level}.avi"
        with av.open(str(path), "w") as file:
            stream = file.add_stream("ffv1", rate=25)
            stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
            stream.options = {"level": level, "slicecrc": sums}
            for rgb in clip():
                file.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, "rgb24").reformat(format="yuv420p")))
            file.mux(stream.encode(None))
        assert len(read_video(path).timing) == 12
    with av.open(str(path)) as file:
        packets = [bytes(p) for p in file.demux()]
    assert not SliceSums().fail(b"")
    assert SliceSums().fail(packets[0]), (
        "neither with sums nor without: damaged, of a version that has slices"
    )


def test_elements_of_matroska(ffv1: dict[str, Path]) -> None:
    path = ffv1[".mkv"]
    data = path.read_bytes()
    assert matroska_damage(path) == matroska_damage(data) == ""
    cluster = data.index(b"\x1f\x43\xb6\x75")
    for at, said in ((cluster + 200, "CRC"), (cluster + 2, "no element")):
        damaged = bytearray(data)
        damaged[at] ^= 4
        assert said in matroska_damage(bytes(damaged))
    assert matroska_damage(ffv1[".avi"]) == ""


@pytest.mark.parametrize("deflated", [False, True])
@pytest.mark.parametrize("unlimited", [False, True])
def test_netcdf_with_fletcher32(deflated: bool, unlimited: bool, tmp_path: Path) -> None:
    path, x = tmp_path / "x.nc", weather((9, 40, 50))
    with netCDF4.Dataset(path, "w") as file:
        for name, n in zip("tyx", x.shape, strict=True):
            file.createDimension(name, None if unlimited and name == "t" else n)
        v = file.createVariable(
            "air", "f4", tuple("tyx"), zlib=deflated, fletcher32=True, chunksizes=(1, 5, 50)
        )
        v[:] = x
    _no_bit_goes_unnoticed(path, 60, "air")


@pytest.mark.parametrize("version", ["earliest", "latest"])
@pytest.mark.parametrize("packed", [{}, {"compression": "gzip", "shuffle": True}, {"compression": "lzf"}])
def test_hdf5_with_fletcher32(version: str, packed: dict[str, object], tmp_path: Path) -> None:
    path = tmp_path / "x.h5"
    with h5py.File(path, "w", libver=version) as file:
        file.create_dataset("air", data=weather((9, 40, 50)), chunks=(1, 5, 50), fletcher32=True, **packed)
    _no_bit_goes_unnoticed(path, 60, "air")


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz(save: object, tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    save(path, air=weather((4, 40, 50)))  # type: ignore[operator]
    _no_bit_goes_unnoticed(path, 60, "air")


def _no_bit_goes_unnoticed(path: Path, n: int, name: str) -> None:
    whole, found = read_field(path)[name], 0
    for at in some_bits(path, n):
        try:
            signal = read_field(flipped(path, at))
        except SignalError:
            found += 1
        else:
            assert signal[name] == whole or signal.notes, at
    assert found > n // 2


def test_the_index_of_chunks_is_compared_with_the_array(tmp_path: Path) -> None:
    """The B-tree of HDF5 has no checksum; of a chunk whose place is wrong the library gives fill values."""
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("air", data=weather((80, 8, 8)), chunks=(1, 8, 8), fletcher32=True)
    data = path.read_bytes()
    key = (4 * 64 + 4).to_bytes(4, "little") + bytes(4) + (51).to_bytes(8, "little") + bytes(24)
    at = data.index(key) + 8
    for change, said in ((4, "not found|two chunks"), (128, "outside")):
        damaged = bytearray(data)
        damaged[at] ^= change
        (tmp_path / "y.h5").write_bytes(damaged)
        with h5py.File(tmp_path / "y.h5") as file:
            assert (file["air"][51] == 0).all() or change == 4
        with pytest.raises(SignalError, match=said):
            read_field(tmp_path / "y.h5")
    damaged = bytearray(data)
    damaged[at - 4] ^= 1  # the mask of filters: no sum is compared
    (tmp_path / "y.h5").write_bytes(damaged)
    with pytest.raises(SignalError, match="leaves out filters"):
        read_field(tmp_path / "y.h5")


def test_arrays_of_which_some_chunks_were_never_written_are_whole(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        node = file.create_dataset(
            "air", (90, 40), "f4", chunks=(3, 7), compression="gzip", maxshape=(None, 40)
        )
        node[30:50] = 1 + RNG.normal(size=(20, 40))  # incompressible: deflate is left out by the library
        node.resize((45, 40))
    values = read_field(tmp_path / "x.h5")["air"].values
    assert (values[30:45] != 0).all()
    assert not values[:30].any()


@pytest.mark.parametrize("kind", ["crc32c", "zstd", "gzip", "shards", "crc32", "adler32", "fletcher32"])
def test_zarr_with_sums(kind: str, tmp_path: Path) -> None:
    x, path = weather((4, 40, 50)), tmp_path / "x.zarr"
    group = zarr.open_group(
        path, mode="w", zarr_format=2 if kind in ("crc32", "adler32", "fletcher32") else 3
    )
    options = {
        "crc32c": {"compressors": [Crc32cCodec()]},
        "zstd": {"compressors": [ZstdCodec(checksum=True)]},
        "gzip": {"compressors": [GzipCodec()]},
        "shards": {
            "serializer": ShardingCodec(chunk_shape=(2, 20, 50), codecs=[BytesCodec(), Crc32cCodec()]),
            "compressors": None,
        },
        "crc32": {"compressors": numcodecs.CRC32()},
        "adler32": {"compressors": numcodecs.Adler32()},
        "fletcher32": {"compressors": numcodecs.Fletcher32()},
    }[kind]
    group.create_array("air", shape=x.shape, dtype="f4", chunks=x.shape, **options)[...] = x
    whole = read_field(path)["air"]
    (chunk,) = (p for p in path.rglob("*") if p.is_file() and not p.name.startswith((".z", "zarr.json")))
    for at in some_bits(chunk, 12):
        shutil.copytree(path, copy := tmp_path / f"{at}.zarr")
        data = bytearray(chunk.read_bytes())
        data[at // 8] ^= 1 << at % 8
        (copy / chunk.relative_to(path)).write_bytes(data)
        try:
            assert read_field(copy)["air"] == whole
        except SignalError as e:
            assert "not a Zarr store that can be read" in str(e)  # noqa: PT017
            continue
        assert kind == "gzip", "only its header has bytes that say nothing"
