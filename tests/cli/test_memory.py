"""What does not fit in memory goes through the command line: a new process for each, whose peak is held."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import netCDF4
import numpy as np
import pytest
import zarr

ROOT = Path(__file__).resolve().parents[2]
MOST_MEBIBYTES = 600
BOUND = 0.01
FLAT, DEEP = (16, 8192, 4096), (512, 1024, 1024)  # 2 GiB of float32


def peak_of(*arguments: object) -> float:
    """Of the command with these arguments, in MiB; it must end well."""
    code = """
import resource, subprocess, sys
subprocess.run([sys.executable, "-m", "tersor", *sys.argv[1:]], check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)
"""
    out = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        check=True,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    return float(out.stdout.split()[-1])


def fill(target: Any, shape: tuple[int, ...]) -> None:
    """A field that is smooth in a corner, and one value elsewhere, so that coding it takes no hour."""
    y, x = np.mgrid[:256, :512] / 50.0
    for i in range(shape[0]):
        plane = np.full(shape[1:], 280, np.float32)
        plane[:256, :512] += np.sin(x + i / 9) * np.cos(y - i / 7)
        target[i] = plane


def make_netcdf(path: Path, shape: tuple[int, ...]) -> None:
    with netCDF4.Dataset(path, "w") as d:
        for name, n in zip("tyx", shape, strict=True):
            d.createDimension(name, n)
        d.createVariable("t", "f8", ("t",))[:] = np.arange(shape[0])
        fill(d.createVariable("air", "f4", tuple("tyx"), chunksizes=(1, *shape[1:])), shape)


def make_hdf5(path: Path, shape: tuple[int, ...]) -> None:
    with h5py.File(path, "w") as d:
        fill(d.create_dataset("air", shape, "f4", chunks=(1, *shape[1:])), shape)


def make_zarr(path: Path, shape: tuple[int, ...]) -> None:
    group = zarr.open_group(path, mode="w")
    names = ("t", "y", "x")
    fill(
        group.create_array("air", shape=shape, dtype="f4", chunks=(1, *shape[1:]), dimension_names=names),
        shape,
    )


def make_npy(path: Path, shape: tuple[int, ...]) -> None:
    fill(np.lib.format.open_memmap(path, "w+", np.float32, shape), shape)


def planes(path: Path) -> Callable[[int], np.ndarray]:
    """What gives the i-th plane of a file."""
    if path.suffix == ".nc":
        variable = netCDF4.Dataset(path)["air"]
        variable.set_auto_mask(False)
        return variable.__getitem__
    if path.suffix == ".h5":
        return h5py.File(path)["air"].__getitem__
    if path.suffix == ".zarr":
        return zarr.open_group(path, mode="r")["air"].__getitem__
    return np.load(path, mmap_mode="r").__getitem__


@pytest.mark.slow
@pytest.mark.parametrize(
    ("suffix", "make", "shape"),
    [
        (".nc", make_netcdf, DEEP),
        (".nc", make_netcdf, FLAT),
        (".h5", make_hdf5, DEEP),
        (".zarr", make_zarr, DEEP),
        (".npy", make_npy, (1024, 1024, 1024)),
    ],
)
def test_files_of_gigabytes(
    suffix: str, make: Callable[[Path, tuple[int, ...]], None], shape: tuple[int, ...], tmp_path: Path
) -> None:
    """Each way in at most 600 MiB, whatever the blocks of the codec and the chunks of the file are."""
    source, coded, back = (tmp_path / f"{n}" for n in (f"in{suffix}", "x.tsr", f"out{suffix}"))
    make(source, shape)
    peaks = (
        peak_of("encode", source, "-o", coded, "--max-error", BOUND, "-q"),
        peak_of("decode", coded, "-o", back, "-q"),
    )
    before, after = planes(source), planes(back)
    for i in range(0, shape[0], 37 if shape[0] > 37 else 5):
        assert np.abs(before(i) - after(i)).max() <= BOUND
    assert max(peaks) <= MOST_MEBIBYTES, peaks
