"""Fields as files: .npy and NetCDF through the command line and back."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import xarray

import tersor
from tersor.cli import main
from tersor.codecs.field.codec import FieldCodec
from tersor.errors import SignalError
from tersor.files.field import field_bytes, read_field, write_field
from tersor.signals import Field, FieldSet


@pytest.fixture
def climate(tmp_path: Path) -> Path:
    """A small NetCDF file: a masked float variable, an integer one, text, coordinates, attributes of all
    kinds.
    """
    rng = np.random.default_rng(0)
    lat, lon = np.linspace(-90, 90, 19), np.linspace(0, 350, 36)
    values = (280 + 20 * np.cos(np.deg2rad(lat))[None, :, None] + rng.normal(0, 0.3, (6, 19, 36))).astype(
        np.float32
    )
    values[:, 3:5, 3:9] = np.nan
    data = xarray.Dataset(
        {
            "t": (
                ("time", "lat", "lon"),
                values,
                {"units": "K", "valid_range": np.array([0, 400], np.float32)},
            ),
            "land": (("lat", "lon"), (np.nan_to_num(values[0]) > 290).astype(np.int8)),
            "station": (("time",), np.array(list("abcdef"))),
        },
        coords={"time": ("time", np.arange(6), {"units": "days since 2000-01-01"}), "lat": lat, "lon": lon},
        attrs={"title": "climate", "version": np.float32(2.5), "levels": np.array([1, 2, 3])},
    )
    data["t"].encoding["_FillValue"] = np.float32(-999)
    path = tmp_path / "in.nc"
    data.to_netcdf(path)
    return path


def test_netcdf_comes_back_with_everything(climate: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, out = climate.with_suffix(".tsr"), climate.with_name("out.nc")
    assert main(["encode", str(climate), "--max-error", "0.05"]) == 0
    capsys.readouterr()
    assert main(["info", str(file)]) == 0
    assert "time, lat" not in capsys.readouterr().out
    assert main(["decode", str(file), "-o", str(out)]) == 0
    with xarray.open_dataset(climate, decode_cf=False) as a, xarray.open_dataset(out, decode_cf=False) as b:
        assert set(b.variables) == set(a.variables)
        for name in b.variables:
            assert b[name].dims == a[name].dims
            assert b[name].dtype == a[name].dtype
            np.testing.assert_equal(dict(b[name].attrs), dict(a[name].attrs))
            if name != "t":
                assert np.array_equal(a[name], b[name])
        missing = a["t"].values == -999
        assert missing.sum() == 6 * 2 * 6
        assert (b["t"].values[missing] == -999).all()
        assert np.abs(a["t"].values - b["t"].values)[~missing].max() <= 0.05
        assert b.attrs["title"] == "climate"
        assert b.attrs["version"].dtype == np.float32
        assert b.attrs["levels"].tolist() == [1, 2, 3]


def test_parts_of_a_file(climate: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, part = climate.with_suffix(".tsr"), climate.with_name("part.npy")
    assert main(["encode", str(climate), "--variables", "t", "--rel-error", "1e-3", "-q"]) == 0
    assert (
        main(["decode", str(file), "--variables", "t", "--slice", "time=1:3,lat=5:9", "-o", str(part)]) == 0
    )
    assert np.load(part).shape == (2, 4, 36)
    capsys.readouterr()
    for wrong, words in (
        (["--slice", "tim=1:3"], "no variable has an axis tim"),
        (["--slice", "1:3,x"], "not a list of ranges"),
        (["--variables", "q"], "no variable q"),
        (["-o", str(part), "-f"], "holds one array"),
    ):
        assert (
            main(
                [
                    "decode",
                    str(file),
                    *(wrong if "-o" in wrong else [*wrong, "-o", str(climate.with_name("new.nc"))]),
                ]
            )
            == 1
        )
        assert words in capsys.readouterr().err
    assert main(["encode", str(climate), "--variables", "q", "-f"]) == 1
    assert "no variable q" in capsys.readouterr().err


def test_parts_bring_their_coordinates(climate: Path) -> None:
    file, out = climate.with_suffix(".tsr"), climate.with_name("out.nc")
    assert main(["encode", str(climate), "--max-error", "0.05", "-q"]) == 0
    assert (
        main(["decode", str(file), "--variables", "t,station", "--slice", "time=1:3", "-o", str(out), "-q"])
        == 0
    )
    with xarray.open_dataset(climate, decode_cf=False) as a, xarray.open_dataset(out, decode_cf=False) as b:
        assert set(b.variables) == {"t", "station", "time", "lat", "lon"}
        assert b["time"].values.tolist() == a["time"].values[1:3].tolist()
        assert b["time"].attrs["units"] == a["time"].attrs["units"]
        assert np.array_equal(b["lat"], a["lat"])
        assert np.array_equal(a["station"][1:3], b["station"])
    npy = climate.with_name("t.npy")
    assert main(["decode", str(file), "--variables", "t", "-o", str(npy), "-q"]) == 0
    assert np.load(npy).shape == (6, 19, 36)


@pytest.mark.parametrize("suffix", [".h5", ".zarr", ".nc", ".npz"])
def test_other_files_of_arrays(climate: Path, suffix: str, tmp_path: Path) -> None:
    """NetCDF -> .tsr -> another format -> .tsr without loss -> the same values, axes and attributes."""
    first, other, second, last = (tmp_path / n for n in ("1.tsr", f"other{suffix}", "2.tsr", "last.nc"))
    assert main(["encode", str(climate), "-o", str(first), "--max-error", "0.05", "-q"]) == 0
    assert main(["decode", str(first), "-o", str(other), "-q"]) == 0
    assert "station" in read_field(other).fields, "text"
    assert main(["decode", str(first), "-o", str(other), "-q"]) == 1  # it exists
    assert main(["decode", str(first), "--variables", "t", "-o", str(other), "-q", "-f"]) == 0
    assert main(["encode", str(other), "-o", str(second), "--lossless", "-q"]) == 0
    assert main(["decode", str(second), "-o", str(last), "-q"]) == 0
    with xarray.open_dataset(climate, decode_cf=False) as a, xarray.open_dataset(last, decode_cf=False) as b:
        known = a["t"].values != -999
        assert np.abs(a["t"].values - b["t"].values)[known].max() <= 0.05
        assert np.array_equal(b["lon"], a["lon"])
        if suffix != ".npz":
            assert b["t"].dims == ("time", "lat", "lon")
            assert b["t"].attrs["units"] == "K"
            assert b.attrs["title"] == "climate"
            assert b.attrs["levels"].tolist() == [1, 2, 3]


def test_hdf5_groups_and_scales(tmp_path: Path) -> None:
    import h5py

    path = tmp_path / "in.h5"
    x = np.add.outer(np.sin(np.arange(40) / 5), np.arange(30) / 9).astype(np.float32)
    with h5py.File(path, "w") as f:
        f.create_dataset("run/field", data=x)
        f.create_dataset("run/depth", data=np.linspace(0, 1, 40))
        f["run/depth"].make_scale("depth")
        f["run/field"].dims[0].attach_scale(f["run/depth"])
        f["run/field"].dims[1].label = "station"
        f["run/field"].attrs["_FillValue"] = np.array([x[3, 3]], np.float32)
        f.create_dataset("names", data=[b"a", b"b"])
        f.attrs["title"] = "groups"
    read = read_field(path)
    assert isinstance(read, FieldSet)
    assert read["names"].values.tolist() == ["a", "b"]
    assert read["run/field"].dims == ("run/depth", "station")
    (file,) = FieldCodec().encode_batch([path], max_error=0.01)
    out = FieldCodec().decode_batch([file])[0]
    (tmp_path / "out.h5").write_bytes(field_bytes(out, ".h5"))
    with h5py.File(tmp_path / "out.h5") as f:
        assert np.abs(f["run/field"][()] - x).max() <= 0.01
        assert f["run/field"][3, 3] == x[3, 3]
        assert np.array_equal(f["run/depth"], np.linspace(0, 1, 40))
        assert f["run/field"].dims[0][0].name == "/run/depth"
        assert f["run/field"].dims[1].label == "station"
        assert f.attrs["title"] == "groups"


def test_a_folder_that_is_no_store_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "x.zarr").mkdir()
    (tmp_path / "x.zarr" / "notes.txt").write_text("mine")
    with pytest.raises(SignalError, match="no Zarr store"):
        write_field(Field(values=np.arange(3.0)), tmp_path / "x.zarr")
    assert (tmp_path / "x.zarr" / "notes.txt").read_text() == "mine"


def test_npy_through_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    x = np.add.outer(np.arange(40.0), np.arange(30.0) ** 2).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    file, out = tmp_path / "x.tsr", tmp_path / "y.npy"
    assert main(["encode", str(tmp_path / "x.npy"), "--max-error", "0.5", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["codec"] == "field"
    assert facts["ratio"] == pytest.approx(x.nbytes / file.stat().st_size, rel=1e-3)
    assert main(["decode", str(file), "-o", str(out)]) == 0
    assert np.abs(np.load(out) - x).max() <= 0.5
    assert main(["decode", str(file), "-o", str(tmp_path / "y.png")]) == 1
    assert main(["encode", str(tmp_path / "x.npy"), "--quality", "50", "-f"]) == 1
    assert "has no option quality" in capsys.readouterr().err
    assert main(["encode", str(tmp_path / "x.npy"), "--max-error", "-1", "-f"]) == 1
    assert np.abs(np.load(out) - x).max() <= 0.5
    assert main(["verify", str(file)]) == 0


def test_bad_files(tmp_path: Path) -> None:
    (tmp_path / "bad.npy").write_bytes(b"nothing")
    for suffix in ("nc", "h5", "npz"):
        (tmp_path / f"bad.{suffix}").write_bytes(b"nothing")
    np.save(tmp_path / "pickled.npy", np.array([{}], dtype=object), allow_pickle=True)
    np.save(tmp_path / "text.npy", np.array(["a"]))
    for name in (
        "bad.npy",
        "bad.nc",
        "pickled.npy",
        "text.npy",
        "bad.h5",
        "bad.npz",
        "missing.npy",
        "missing.nc",
        "missing.h5",
        "missing.zarr",
    ):
        with pytest.raises(SignalError, match=name):
            read_field(tmp_path / name)


def test_files_of_one_and_of_many() -> None:
    one = Field(values=np.arange(3.0))
    many = FieldSet(
        fields={"a": Field(values=np.arange(3.0), name="a"), "b": Field(values=np.arange(4.0), name="b")}
    )
    assert field_bytes(many, ".nc")[:4] in (b"\x89HDF", b"CDF\x01")
    assert field_bytes(one, ".npy").startswith(b"\x93NUMPY")
    with pytest.raises(SignalError, match="2 variables"):
        field_bytes(many, ".npy")
    with pytest.raises(SignalError, match="not a format"):
        field_bytes(one, ".xyz")


@pytest.mark.parametrize("cut", [3, 60, 128, 1000])
def test_a_npy_file_that_is_cut_short_says_so(tmp_path: Path, cut: int) -> None:
    """With the bytes that are expected and found; of standard input too."""
    path = tmp_path / "x.npy"
    np.save(path, np.zeros((40, 50), np.float32))
    path.write_bytes(path.read_bytes()[:cut])
    for source in (path, path.read_bytes()):
        with pytest.raises(SignalError, match="cut short") as e:
            read_field(source)
        assert (
            "8,128 bytes are expected" in str(e.value) and f"{cut:,} are there" in str(e.value)
        ) or cut < 128


def test_a_large_npy_file_that_is_cut_short_says_so(tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    np.lib.format.open_memmap(path, "w+", np.float32, (70 << 20 >> 2,))
    with path.open("r+b") as f:
        f.truncate(69 << 20)
    with pytest.raises(SignalError, match="cut short: 73,400,448 bytes are expected"):
        read_field(path)


def test_archives_of_numpy(tmp_path: Path) -> None:
    """Text and both orders are kept, what is no number is left out and named; any name may be used."""
    x = np.arange(60.0).reshape(3, 4, 5)
    path, big = tmp_path / "x.npz", np.arange(20, dtype=">i4")
    labels, wide = np.array(["one", "two"]), np.array([b"a", b"bcd"])
    odd = {"pickled": np.array([{}, None]), "when": np.array(["2020-01-01"], "M8[D]"), "z": np.ones(2, "c8")}
    plain = {"x": np.asfortranarray(x), "one": np.float32(5), "none": np.zeros((0, 3)), "big": big}
    np.savez(path, labels=labels, wide=wide, **plain, **odd)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("readme.txt", "of a tool")
    found = read_field(path)
    assert isinstance(found, FieldSet)
    assert set(found.fields) == {"x", "labels", "wide", "one", "none", "big"}
    assert all(
        n in found.notes[0] for n in ("pickled (Python objects)", "when", "z (complex64)", "readme.txt")
    )
    assert np.array_equal(found["x"].values, x)
    assert found["x"].values.flags.f_contiguous
    assert set(read_field(path, ["big"]).fields) == {"big"}
    with pytest.raises(SignalError, match="pickled"):
        read_field(path, ["x", "pickled"])
    file = FieldSet(fields={n: Field(values=x + i, name=n) for i, n in enumerate(("file", "args", "arr_0"))})
    for signal in (found, file):
        coded, back = tmp_path / "x.tsr", tmp_path / "back.npz"
        coded.write_bytes(tersor.encode(signal, codec="field", lossless=True))
        assert main(["decode", str(coded), "-o", str(back), "-q", "-f"]) == 0
        with np.load(back) as arrays:
            assert set(arrays.files) == set(signal.fields)
            for n, f in signal.fields.items():
                assert np.array_equal(arrays[n], f.values.astype(arrays[n].dtype))


def test_a_large_archive_is_not_held_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tersor.files.spool.LARGE_BYTES", 1 << 20)
    x = np.random.default_rng(0).normal(size=(300, 1000))
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "x.npz", x=x, y=x.T)
        for n, f in read_field(tmp_path / "x.npz").fields.items():
            assert isinstance(f.values, np.memmap)
            assert np.array_equal(f.values, x if n == "x" else x.T)
