"""What array files say beside their values: missing data, what describes what, groups, links, types."""

from __future__ import annotations

import io
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import netCDF4
import numcodecs
import numpy as np
import pytest
import torch
import xarray
import zarr

import tersor
from tersor.cli import main
from tersor.codecs.field.codec import FieldCodec
from tersor.errors import BitstreamError, SignalError
from tersor.files.field import field_file, read_field, write_field
from tersor.interop.numcodecs import TersorCodec
from tersor.signals import Field, FieldSet


def smooth(*shape: int, seed: int = 0) -> np.ndarray:
    x = np.random.default_rng(seed).standard_normal(shape)
    for axis, n in enumerate(shape):
        x = np.cumsum(x, axis) / np.sqrt(n)
    return x.astype(np.float32)


def through(signal: Any, **options: Any) -> Any:
    codec = FieldCodec()
    return codec.decode_batch(codec.encode_batch([signal], **options))[0]


@pytest.mark.parametrize(
    "attributes",
    [
        {"_FillValue": np.float32(-9999)},
        {"missing_value": np.float32(-9999)},
        {"missing_value": np.array([1e20, -9999], np.float32)},
        {"missing_value": -9999},
        {"_FillValue": np.float32(1e20), "missing_value": np.float64(-9999)},
        {"valid_range": np.array([0, 1000], np.float32)},
        {"valid_min": np.float32(0)},
        {"valid_min": 0.0, "valid_max": 400.0},
    ],
)
def test_every_spelling_of_missing_is_kept_and_out_of_the_range(attributes: dict[str, Any]) -> None:
    x = 280 + smooth(40, 50)
    x[:3] = -9999
    back = np.asarray(through(Field(values=x, attributes=attributes), rel_error=1e-3))
    assert (back[:3] == -9999).all()
    assert np.abs(back - x)[3:].max() <= 1.0001e-3 * np.ptp(x[3:])


def test_fill_values_of_the_store_and_of_the_netcdf_library_are_missing_too() -> None:
    x = 280 + smooth(40, 50)
    x[:3], x[3:5] = -1, 9.969209968386869e36
    back = np.asarray(through(Field(values=x, encoding={"fillvalue": np.float32(-1)}), rel_error=1e-3))
    assert np.array_equal(back[:5], x[:5])
    assert np.abs(back - x)[5:].max() <= 1.0001e-3 * np.ptp(x[5:])


def test_no_cell_becomes_missing_or_invalid() -> None:
    """Values near a marker, and near the end of the valid range, stay on their side of it."""
    x = np.abs(smooth(60, 70)) * 0.01
    x[10:20] = 0
    attributes = {"missing_value": np.float32(0), "valid_max": np.float32(x.max())}
    back = np.asarray(through(Field(values=x, attributes=attributes), max_error=0.02))
    assert np.array_equal(back == 0, x == 0)
    assert back.max() <= x.max()
    assert np.abs(back - x).max() <= 0.02


def test_a_value_far_from_the_rest_is_pointed_out(tmp_path: Path) -> None:
    x = smooth(30, 40)
    x[3, 3] = 1e20
    np.save(tmp_path / "x.npy", x)
    assert "--fill-value" in read_field(tmp_path / "x.npy").notes[0]
    np.save(tmp_path / "y.npy", smooth(30, 40))
    assert read_field(tmp_path / "y.npy").notes == ()


@pytest.mark.parametrize("options", [{"lossless": True}, {"max_error": 0.01}])
def test_zarr_2_and_numcodecs_in_fortran_order(options: dict[str, Any]) -> None:
    x = 280 + smooth(24, 30, 26)
    for order in ("C", "F"):
        store = zarr.storage.MemoryStore()
        z = zarr.create_array(
            store, shape=x.shape, chunks=(10, 30, 13), dtype="f4", zarr_format=2, order=order,
            compressors=TersorCodec(**options),
        )  # fmt: skip
        z[...] = x
        assert np.abs(zarr.open_array(store)[...] - x).max() <= 0.01
    codec, f = TersorCodec(lossless=True), np.asfortranarray(x)
    for out in (np.empty_like(f), np.empty(x.shape, x.dtype)):
        codec.decode(codec.encode(f if out.flags.f_contiguous else x), out=out)
        assert np.array_equal(out, x)
    assert np.array_equal(np.asarray(codec.decode(codec.encode(f))), x)
    assert np.array_equal(
        np.frombuffer(numcodecs.Zstd().decode(numcodecs.Zstd().encode(f)), "f4"), f.ravel("K")
    )


@pytest.mark.parametrize("shape", [(3, 4, 5, 16, 18), (2, 3, 2, 3, 9, 8), (4, 5, 6, 7), (9,), (20, 21, 3)])
def test_slices_of_any_number_of_axes(shape: tuple[int, ...]) -> None:
    x = np.arange(int(np.prod(shape)), dtype=np.int32).reshape(shape)
    codec = FieldCodec()
    (file,) = codec.encode_batch([x], lossless=True, block=4096)
    rng = np.random.default_rng(0)
    for _ in range(12):
        ends = [sorted(rng.integers(0, n + 1, 2)) for n in shape[: rng.integers(1, len(shape) + 1)]]
        slices = tuple(slice(int(a), int(b)) for a, b in ends)
        assert np.array_equal(np.asarray(codec.decode_batch([file], slices=slices)[0]), x[slices])


def test_a_slice_of_five_axes_reads_only_its_blocks() -> None:
    x = smooth(2, 600, 4, 8, 8)
    codec = FieldCodec()
    (file,) = codec.encode_batch([x], max_error=0.01, block=8192)
    reader = tersor.container.Reader(file)
    asked: list[int] = []
    chunk = reader.chunk
    reader.chunk = lambda i: asked.append(i) or chunk(i)  # type: ignore[method-assign,func-returns-value]
    part = np.asarray(codec.decode_batch([reader], slices=(slice(0, 2), slice(1, 2)))[0])
    assert np.abs(part - x[:, 1:2]).max() <= 0.01
    assert len(asked) == 2 < len(reader.chunk_lengths)


@pytest.fixture
def groups(tmp_path: Path) -> Path:
    """NetCDF with groups, an unlimited axis, deflate, an enumeration, characters, ragged arrays."""
    path = tmp_path / "in.nc"
    with netCDF4.Dataset(path, "w") as d:
        d.title = "root"
        d.createDimension("t", None)
        d.createDimension("n", 50)
        v = d.createVariable(
            "x", "f4", ("t", "n"), zlib=True, complevel=3, fletcher32=True, chunksizes=(2, 25)
        )
        v[:] = smooth(6, 50)
        g = d.createGroup("run")
        g.note = "hi"
        g.createDimension("m", 4)
        w = g.createVariable("y", "f8", ("m",))
        w[:], w.units = np.arange(4.0), "m"
        d.createGroup("notes").text = "keep me"
        ragged = d.createVariable("ragged", d.createVLType(np.int32, "list"), ("n",))
        ragged[0] = np.array([1, 2], np.int32)
        e = d.createVariable("flag", d.createEnumType(np.int8, "flag_t", {"off": 0, "on": 1}), ("n",))
        e[:] = np.arange(50, dtype=np.int8) % 2
        d.createVariable("letters", "S1", ("n",))[:] = np.array(list("ab") * 25, "S1")
    return path


def test_netcdf_keeps_its_structure(groups: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = groups.with_name("out.nc")
    assert main(["encode", str(groups), "--max-error", "0.01"]) == 0
    assert "ragged" in capsys.readouterr().out
    assert main(["decode", str(groups.with_suffix(".tsr")), "-o", str(out)]) == 0
    with netCDF4.Dataset(groups) as a, netCDF4.Dataset(out) as b:
        assert set(b.variables) == set(a.variables) - {"ragged"}
        assert b.dimensions["t"].isunlimited()
        assert not b.dimensions["n"].isunlimited()
        assert b["x"].filters()["zlib"]
        assert b["x"].filters()["complevel"] == 3
        assert b["x"].filters()["fletcher32"]
        assert b["x"].chunking() == [2, 25]
        assert b["flag"].datatype.enum_dict == {"off": 0, "on": 1}
        assert (b["letters"][:] == a["letters"][:]).all()
        assert b.groups["run"].note == "hi"
        assert b["run/y"].units == "m"
        assert b["run/y"].dimensions == ("m",)
        assert (b["run/y"][:] == a["run/y"][:]).all()
        assert b.groups["notes"].text == "keep me"


def test_what_describes_a_variable_is_exact_and_comes_along(tmp_path: Path) -> None:
    lat2 = np.repeat(np.linspace(50.0, 51, 20), 30).reshape(20, 30)
    data = xarray.Dataset(
        {
            "t": (
                ("time", "y", "x"),
                smooth(4, 20, 30),
                {
                    "coordinates": "lat lon",
                    "grid_mapping": "crs: x y",
                    "cell_measures": "area: cell_area",
                    "ancillary_variables": "t_error",
                },
            ),
            "time_bounds": (("time", "two"), np.arange(8.0).reshape(4, 2) + 0.1),
            "lat": (("y", "x"), lat2, {"units": "degrees_north"}),
            "lon": (("y", "x"), lat2 + 3, {"units": "degrees_east"}),
            "crs": ((), np.int32(1), {"grid_mapping_name": "mercator"}),
            "cell_area": (("y", "x"), lat2 * 1e6),
            "t_error": (("time", "y", "x"), smooth(4, 20, 30, seed=1)),
            "other": (("y", "x"), smooth(20, 30, seed=2)),
        },
        coords={"time": ("time", np.arange(4.0) + 0.03, {"bounds": "time_bounds"})},
    )
    path = tmp_path / "in.nc"
    data.to_netcdf(path)
    expected = {"t", "time", "time_bounds", "lat", "lon", "crs", "cell_area", "t_error"}
    asked = read_field(path, ["t"])
    assert isinstance(asked, FieldSet)
    assert set(asked.fields) == expected
    (file,) = FieldCodec().encode_batch([read_field(path)], rel_error=1e-2)
    part = FieldCodec().decode_batch([file], variables=["t"])[0]
    assert set(part.fields) == expected
    for name in expected - {"t"}:
        assert np.array_equal(np.asarray(part[name]), data[name].values), name
    whole = FieldCodec().decode_batch([file])[0]
    assert not np.array_equal(np.asarray(whole["other"]), data["other"].values)


def every_attribute() -> dict[str, Any]:
    return {
        "text": "m/s",
        "bytes": np.bytes_("x"),
        "list of bytes": np.array([b"ab", b"cde"]),
        "list of text": np.array(["a", "bc"], object),
        "complex": 1 + 2j,
        "pair": np.array([(1, 2.0)], [("a", "i4"), ("b", "f8")]),
        "matrix": np.arange(6, dtype=np.int16).reshape(2, 3),
        "flag": np.True_,
        "big": np.uint64(2**64 - 1),
        "half": np.float16(0.1),
    }


def test_hdf5_keeps_attributes_of_every_kind(tmp_path: Path) -> None:
    path, out = tmp_path / "in.h5", tmp_path / "out.h5"
    with h5py.File(path, "w") as f:
        node = f.create_dataset("t", data=smooth(9, 8))
        node.attrs.update(every_attribute())
        node.attrs["nothing"] = h5py.Empty("f4")
        node.attrs["reference"] = node.ref
        f.attrs["root"] = "x"
    signal = read_field(path)
    assert "reference" in " ".join(signal.notes)
    data, notes = field_file(through(signal, lossless=True), ".h5")
    assert notes == ()
    out.write_bytes(data)
    with h5py.File(path) as a, h5py.File(out) as b:
        assert set(b["t"].attrs) == set(a["t"].attrs) - {"reference"}
        for name in every_attribute():
            x, y = a["t"].attrs[name], b["t"].attrs[name]
            assert np.array_equal(x, y), name
            assert np.asarray(x).dtype == np.asarray(y).dtype, name
        assert b["t"].attrs["nothing"].dtype == np.float32
        assert b.attrs["root"] == "x"


def test_a_format_names_what_it_does_not_hold() -> None:
    signal = FieldSet(
        fields={"t": Field(values=smooth(4, 5), name="t", attributes={"pair": every_attribute()["pair"]})}
    )
    assert "t:pair" in field_file(signal, ".nc")[1][0]
    assert "attributes" in field_file(signal, ".npy")[1][0]


@pytest.mark.parametrize("suffix", [".h5", ".npz", ".nc"])
def test_a_file_becomes_one_of_its_source_s_kind(suffix: str, tmp_path: Path) -> None:
    fields = {n: Field(values=smooth(5, 6), name=n) for n in ("a", "g/b")}
    source = tmp_path / f"in{suffix}"
    source.write_bytes(field_file(FieldSet(fields=fields), suffix)[0])
    assert main(["encode", str(source), "--lossless", "-q"]) == 0
    source.rename(tmp_path / f"was{suffix}")
    assert main(["decode", str(tmp_path / "in.tsr"), "-q"]) == 0
    again = read_field(source)
    assert isinstance(again, FieldSet)
    assert all(np.array_equal(again[n].values, f.values) for n, f in fields.items())


@pytest.mark.parametrize("suffix", [".nc", ".h5", ".npz", ".npy"])
def test_bytes_are_told_apart_by_how_they_begin(suffix: str) -> None:
    x = Field(values=smooth(5, 6), name="" if suffix == ".npy" else "t")
    found = read_field(field_file(x, suffix)[0])
    assert np.array_equal(np.asarray(found if isinstance(found, Field) else found["t"]), x.values)


def test_foreign_bytes_say_what_is_allowed() -> None:
    with pytest.raises(SignalError, match="allowed are .npy, .npz, NetCDF and HDF5"):
        read_field(b"some text that is no array")
    with pytest.raises(SignalError, match="Python objects"):
        np.save(out := io.BytesIO(), np.array([{}], object), allow_pickle=True)
        read_field(out.getvalue())


def test_zarr_without_names_of_axes_and_bare_arrays(tmp_path: Path) -> None:
    root = zarr.open_group(tmp_path / "a.zarr", mode="w")
    root.create_array("t", data=smooth(8, 9), chunks=(4, 9), fill_value=-5)
    zarr.open_array(tmp_path / "b.zarr", mode="w", shape=(4,), dtype="f4")[...] = 1
    found = read_field(tmp_path / "a.zarr")
    assert isinstance(found, FieldSet)
    assert found["t"].encoding["fillvalue"] == -5
    assert found["t"].encoding["chunks"] == [4, 9]
    assert np.array_equal(np.asarray(read_field(tmp_path / "b.zarr")["b"]), np.ones(4))


def test_objects_of_xarray_and_torch_go_in() -> None:
    data = xarray.Dataset(
        {"t": (("time", "y"), smooth(4, 5), {"units": "K"})},
        coords={
            "time": np.array(["2000-01-01", "2000-01-02", "2000-01-03", "2000-01-05"], "M8[ns]"),
            "y": np.arange(5.0),
        },
    )
    back = through(data, max_error=0.01)
    assert back["time"].attributes["units"].startswith("days since 2000-01-01")
    assert back["time"].values.tolist() == [0, 1, 2, 4]
    assert np.abs(through(data["t"], max_error=0.01)["t"].values - data["t"].values).max() <= 0.01
    x = torch.arange(9, dtype=torch.bfloat16) / 7
    assert np.array_equal(np.asarray(through(x, lossless=True)), x.float().numpy())
    masked = np.ma.masked_equal(np.arange(100, dtype=np.int32) % 7, 3)
    assert np.array_equal(np.asarray(through(masked, lossless=True)), masked.filled())


def test_metadata_that_are_no_attributes_are_damage() -> None:
    (file,) = FieldCodec().encode_batch([Field(values=smooth(4, 5), attributes={"z": 1j})], lossless=True)
    reader = tersor.container.Reader(file)
    for text, other in itertools.product((b'"raw"', b'"<c16"'), (b'"rot"', b'"|O8"', b"[1234]", b"9")):
        broken = {k: v.replace(text, other) for k, v in reader.metadata.items()}
        data = tersor.container.write(3, reader.header, broken, [reader.chunk(0)])
        with pytest.raises(BitstreamError):
            FieldCodec().decode_batch([data])


def test_odd_attributes_of_callers_are_named(capfd: pytest.CaptureFixture[str]) -> None:
    bad: Callable[[], None] = lambda: None  # noqa: E731
    with pytest.raises(SignalError, match="attribute 'f' is a function"):
        FieldCodec().encode_batch([Field(values=smooth(3, 4), attributes={"f": bad})])


@pytest.mark.parametrize("shape", [(3, 4, 5, 16, 18), (9,), (20, 21, 3), (), (5, 0)])
@pytest.mark.parametrize("kind", ["<i4", ">i4", "?"])
def test_blocks_are_placed_where_there_is_room(shape: tuple[int, ...], kind: str) -> None:
    """As when slabs are joined: whole, a slice of it, and with a block that is damaged."""
    x = np.arange(int(np.prod(shape))).reshape(shape).astype(kind)
    codec = FieldCodec()
    (file,) = codec.encode_batch([x], lossless=True, block=4096)
    part = tuple(slice(1, 4) for _ in shape[:2])
    for options in ({}, {"slices": part or None}):
        joined = codec.open(file, **options).read(np.empty)
        again = codec.decode_batch([file], **options)[0]
        assert joined.values.dtype == again.values.dtype == x.dtype
        assert np.array_equal(joined.values, again.values)
        assert np.array_equal(joined.values, x[part] if options else x)
    if x.size:
        damaged = bytearray(file)
        damaged[-1] ^= 255
        opened = codec.open(bytes(damaged), salvage=True)
        assert np.array_equal(opened.read(np.empty), codec.decode_batch([bytes(damaged)], salvage=True)[0])
        assert "damaged" in opened.notes[0]


@pytest.mark.parametrize(
    "model", ["NETCDF4", "NETCDF3_CLASSIC", "NETCDF3_64BIT_OFFSET", "NETCDF3_64BIT_DATA", "NETCDF4_CLASSIC"]
)
def test_the_format_of_netcdf_is_kept(model: str, tmp_path: Path) -> None:
    path, coded, back = tmp_path / "x.nc", tmp_path / "x.tsr", tmp_path / "back.nc"
    with netCDF4.Dataset(path, "w", format=model) as d:
        d.title = "of its format"
        for name, n in (("t", None), ("y", 30), ("n", 3)):
            d.createDimension(name, n)
        d.createVariable("air", "f4", ("t", "y"), fill_value=-9.0)[:] = smooth(8, 30)
        d.createVariable("names", "S1", ("y", "n"))[:] = np.full((30, 3), b"a")
        d.createVariable("t", "i4", ("t",))[:] = np.arange(8)
        d["t"].units = "days since 2000-01-01"
    assert main(["encode", str(path), "-o", str(coded), "--lossless", "-q"]) == 0
    assert main(["decode", str(coded), "-o", str(back), "-q"]) == 0
    with netCDF4.Dataset(path) as a, netCDF4.Dataset(back) as b:
        assert b.data_model == a.data_model
        assert b.title == a.title
        assert b.dimensions["t"].isunlimited()
        for name, v in a.variables.items():
            assert np.array_equal(v[:], b[name][:])
            assert v.ncattrs() == b[name].ncattrs()


def test_a_format_that_holds_less_than_is_written_is_named(tmp_path: Path) -> None:
    x = Field(values=np.arange(6, dtype=np.int64), name="x")
    signal = FieldSet(fields={"x": x}, encoding={"format": "NETCDF3_CLASSIC"})
    assert "NETCDF3_CLASSIC" in write_field(signal, tmp_path / "x.nc")[0]
    with netCDF4.Dataset(tmp_path / "x.nc") as d:
        assert d.data_model == "NETCDF4"


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("order", ["C", "F"])
def test_the_version_of_zarr_is_kept(version: int, order: str, tmp_path: Path) -> None:
    if version == 3 and order == "F":
        pytest.skip("version 3 has no orders")
    path, coded, back = tmp_path / "x.zarr", tmp_path / "x.tsr", tmp_path / "back.zarr"
    group = zarr.open_group(path, mode="w", zarr_format=version)
    group.attrs["title"] = "of its version"
    options = {"order": order} if version == 2 else {}
    z = group.create_array("inner/air", shape=(9, 20), chunks=(4, 20), dtype="f4", **options)
    z[...] = x = smooth(9, 20)
    z.attrs["units"] = "K"
    assert main(["encode", str(path), "-o", str(coded), "--lossless", "-q"]) == 0
    assert main(["decode", str(coded), "-o", str(back), "-q"]) == 0
    again = zarr.open_group(back, mode="r")
    assert again.metadata.zarr_format == version
    assert again.attrs["title"] == "of its version"
    assert np.array_equal(again["inner/air"][...], x)
    assert again["inner/air"].chunks == (4, 20)
    assert again["inner/air"].attrs["units"] == "K"


def test_kinds_of_attributes_of_hdf5_are_kept_or_named(tmp_path: Path) -> None:
    path, coded, back = tmp_path / "x.h5", tmp_path / "x.tsr", tmp_path / "back.h5"
    kinds: dict[str, Any] = {
        "text": "grüß", "fixed": np.bytes_(b"ab"), "nul": np.bytes_(b"a\0b"), "half": np.float16(1.5),
        "wide": np.uint64(2**63), "complex": np.complex64(1j), "table": np.arange(6).reshape(2, 3),
        "nothing": np.zeros(0, "f4"), "empty": h5py.Empty("f4"),
        "empty text": h5py.Empty(h5py.string_dtype()),
        "texts": np.array([["a", "b"], ["c", "d"]], object), "words": np.array([b"ab", b"c"], "S2"),
        "truth": np.array([True, False]), "pair": np.array((1, 2.5), [("a", "i4"), ("b", "f8")]),
        "opaque": np.void(b"\0\1raw"), "big": np.array([1, 2], ">i4"), "none": np.float64(np.nan),
    }  # fmt: skip
    with h5py.File(path, "w") as file:
        node = file.create_dataset("x", data=np.arange(12.0))
        for name, value in kinds.items():
            node.attrs[name] = value
        node.attrs["reference"] = node.ref
        if np.dtype(np.longdouble).itemsize > 8:
            node.attrs["long"] = np.longdouble(1.5)
        file["no text"] = h5py.Empty(h5py.string_dtype())
    signal = read_field(path)
    assert "x:reference" in signal.notes[0]
    assert main(["encode", str(path), "-o", str(coded), "--lossless", "-q"]) == 0
    assert main(["decode", str(coded), "-o", str(back), "-q"]) == 0
    with h5py.File(path) as a, h5py.File(back) as b:
        assert set(b["x"].attrs) == kinds.keys()
        assert b["no text"].dtype == a["no text"].dtype
        for name in kinds:
            before, after = a["x"].attrs[name], b["x"].attrs[name]
            assert a["x"].attrs.get_id(name).dtype == b["x"].attrs.get_id(name).dtype, name
            if isinstance(before, h5py.Empty):
                assert isinstance(after, h5py.Empty)
            else:
                np.testing.assert_array_equal(before, after, err_msg=name)
