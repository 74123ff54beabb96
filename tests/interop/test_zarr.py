"""Array stores: numcodecs, Zarr 3, xarray and Dask with our codec inside; entry points; the xarray backend
for .tsr files.
"""

from __future__ import annotations

import pickle
from pathlib import Path

import dask.array
import numcodecs
import numpy as np
import pytest
import xarray
import zarr
from numcodecs.compat import ensure_bytes

import tersor
from tersor.container import Reader
from tersor.errors import BitstreamError, SignalError
from tersor.interop.numcodecs import TersorCodec as NumcodecsCodec
from tersor.interop.zarr import TersorCodec
from tersor.signals import Field, FieldSet

pytestmark = pytest.mark.filterwarnings(
    "ignore::UserWarning:zarr.*", "ignore:.*Consolidated metadata.*", "ignore:.*vlen-.*"
)


@pytest.fixture
def waves() -> np.ndarray:
    rng = np.random.default_rng(0)
    t, y, x = np.meshgrid(*(np.linspace(0, 6, n) for n in (12, 60, 70)), indexing="ij")
    return (270 + 20 * np.sin(x + t / 3) * np.cos(y) + rng.normal(0, 0.05, x.shape)).astype(np.float32)


@pytest.fixture
def climate(waves: np.ndarray) -> xarray.Dataset:
    values = waves.copy()
    values[:, 10:14, 20:30] = np.nan
    return xarray.Dataset(
        {
            "t": (("time", "lat", "lon"), values, {"units": "K"}),
            "count": (("lat",), np.arange(60, dtype=np.int16)),
        },
        coords={"time": np.arange(12), "lat": np.linspace(-90, 90, 60), "lon": np.linspace(0, 350, 70)},
        attrs={"title": "waves"},
    )


class TestNumcodecs:
    """What numcodecs asks of every codec."""

    def test_found_by_entry_point(self) -> None:
        codec = numcodecs.get_codec({"id": "tersor", "max_error": 0.01})
        assert isinstance(codec, NumcodecsCodec)
        assert codec.get_config() == {"id": "tersor", "max_error": 0.01}
        assert numcodecs.get_codec(codec.get_config()) == codec

    def test_round_trip(self, waves: np.ndarray) -> None:
        codec = NumcodecsCodec(max_error=0.02)
        data = codec.encode(waves)
        assert len(data) < waves.nbytes / 5
        assert np.abs(codec.decode(data) - waves).max() <= 0.02
        out = np.empty_like(waves)
        codec.decode(ensure_bytes(data), out=out)
        assert np.abs(out - waves).max() <= 0.02
        for exact in (
            np.arange(50, dtype=">i4"),
            np.arange(6) % 2 == 0,
            np.asfortranarray(np.arange(12, dtype="u1").reshape(3, 4)),
        ):
            back = codec.decode(codec.encode(exact))
            assert back.dtype == exact.dtype
            assert np.array_equal(back, exact)

    def test_options(self) -> None:
        for wrong, words in (
            ({}, "needs a bound"),
            ({"max_error": 1, "rel_error": 1}, "exclude"),
            ({"level": 3}, "no option level"),
            ({"max_error": -1}, "max_error is -1"),
        ):
            with pytest.raises(SignalError, match=words):
                NumcodecsCodec(**wrong)
        with pytest.raises(SignalError, match="tersor codes floats"):
            NumcodecsCodec(lossless=True).encode(np.array(["a"]))


def test_zarr_round_trip(waves: np.ndarray, tmp_path: Path) -> None:
    codec = TersorCodec(max_error=0.02)
    array = zarr.create_array(
        tmp_path / "a.zarr",
        shape=waves.shape,
        chunks=(6, 30, 40),
        dtype="float32",
        serializer=codec,
        compressors=None,
    )
    array[:] = waves
    again = zarr.open_array(tmp_path / "a.zarr")
    assert again.metadata.codecs == (codec,)
    assert np.abs(again[:] - waves).max() <= 0.02
    assert np.abs(again[3:5, 10, ::3] - waves[3:5, 10, ::3]).max() <= 0.02
    chunk = next(p for p in (tmp_path / "a.zarr" / "c").rglob("*") if p.is_file())
    assert Reader(chunk.read_bytes()).codec == 3
    whole = bytearray(chunk.read_bytes())
    whole[-1] ^= 1
    chunk.write_bytes(bytes(whole))
    with pytest.raises(BitstreamError, match="damaged"):
        again[:]
    with pytest.raises(SignalError, match="cannot use the tersor codec"):
        zarr.create_array(
            tmp_path / "b.zarr",
            shape=(4,),
            chunks=(2,),
            dtype="complex64",
            serializer=codec,
            compressors=None,
        )


def test_a_dataset_through_zarr_and_dask(climate: xarray.Dataset, tmp_path: Path) -> None:
    path = tmp_path / "climate.zarr"
    codec = TersorCodec(max_error=0.02)
    climate.chunk(time=4).to_zarr(
        path, encoding={"t": {"serializer": codec, "compressors": None}}, consolidated=False
    )
    stored = sum(p.stat().st_size for p in (path / "t").rglob("*") if p.is_file())
    assert stored < climate["t"].nbytes / 5
    with xarray.open_zarr(path, consolidated=False) as back:
        assert isinstance(back["t"].data, dask.array.Array)
        worst = abs(back["t"] - climate["t"]).max().compute()
        assert float(worst) <= 0.02
        assert int(back["t"].isnull().sum().compute()) == int(climate["t"].isnull().sum())
        assert back["t"].attrs["units"] == "K"
    plain = dask.array.from_zarr(str(path), component="t")
    assert abs(plain[5].compute() - climate["t"].values[5])[20:].max() <= 0.02


def test_xarray_reads_tsr_files_lazily(
    climate: xarray.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, file = tmp_path / "in.nc", tmp_path / "x.tsr"
    climate["t"].encoding["_FillValue"] = np.float32(-999)
    climate.to_netcdf(source)
    file.write_bytes(tersor.encode(source, codec="field", max_error=0.02, block=8192))
    read: list[int] = []
    chunk = Reader.chunk
    monkeypatch.setattr(Reader, "chunk", lambda self, i: (read.append(i), chunk(self, i))[1])
    with xarray.open_dataset(file, engine="tersor") as data:
        read.clear()
        part = data["t"].isel(time=3, lat=slice(40, 20, -2), lon=[1, 5])
        assert not read
        assert (
            abs(part.values - climate["t"].isel(time=3, lat=slice(40, 20, -2), lon=[1, 5]).values).max()
            <= 0.02
        )
        assert 0 < len(set(read)) < len(Reader(file.read_bytes()).chunk_lengths) / 2
        assert set(data.coords) == {"time", "lat", "lon"}
        assert np.array_equal(data["count"], climate["count"])
        assert data.attrs["title"] == "waves"
        assert np.array_equal(np.isnan(data["t"].values), np.isnan(climate["t"].values))
        assert pickle.loads(pickle.dumps(data))["t"].shape == (12, 60, 70)
    with xarray.open_dataset(file, engine="tersor", chunks={}) as data:
        assert isinstance(data["t"].data, dask.array.Array)
        assert float(abs(data["t"] - climate["t"]).max().compute()) <= 0.02
    with xarray.open_dataset(file) as data:  # by its suffix
        assert "t" in data
    with xarray.open_dataset(file, engine="tersor", drop_variables="t") as data:
        assert "t" not in data


def test_xarray_opens_what_fields_there_are(tmp_path: Path) -> None:
    for shape in ((), (3,), (2, 3, 4, 5, 6), (20, 20, 3), (0, 4)):
        x = np.arange(int(np.prod(shape)), dtype=np.int32).reshape(shape)
        (tmp_path / "x.tsr").write_bytes(tersor.encode(x, codec="field", lossless=True))
        with xarray.open_dataset(tmp_path / "x.tsr", engine="tersor") as data:
            assert np.array_equal(data["field"].values, x)
    both = FieldSet(
        fields={"a": Field(values=np.arange(3.0), name="a"), "b": Field(values=np.arange(2), name="b")}
    )
    (tmp_path / "x.tsr").write_bytes(tersor.encode(both, codec="field", lossless=True))
    with xarray.open_dataset(tmp_path / "x.tsr", engine="tersor") as data:
        assert data["a"].values.tolist() == [0, 1, 2]
    (tmp_path / "x.tsr").write_bytes(tersor.encode(np.arange(4), codec="lossless"))
    with pytest.raises(SignalError, match="codec 'lossless'"):
        xarray.open_dataset(tmp_path / "x.tsr", engine="tersor")
