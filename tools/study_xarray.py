"""Data sets of xarray's own tests of backends, through .tsr and back without loss: what xarray reads of both,
undecoded.

python tools/study_xarray.py
"""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from xarray.tests import create_test_data, test_backends

import tersor
from tersor.errors import TersorError

STORES: dict[str, dict[str, Any]] = {
    "NetCDF 4": {"format": "NETCDF4"},
    "NetCDF 3": {"format": "NETCDF3_64BIT"},
    "Zarr 2": {"zarr_format": 2},
    "Zarr 3": {"zarr_format": 3},
}


def data_sets() -> dict[str, xr.Dataset]:
    """By name; of those that take a type, with float64."""
    found = {"test_data": create_test_data()}
    for name in sorted(n for n in dir(test_backends) if n.endswith(("scaled_data", "boolean_data"))):
        make = getattr(test_backends, name)
        found[name.removeprefix("create_")] = make(np.dtype("f8")) if make.__code__.co_argcount else make()
    dates = xr.date_range("2000-01-01", periods=4, calendar="noleap", use_cftime=True)
    found["calendar"] = xr.Dataset({"t": ("t", dates)})
    found["text_alone"] = xr.Dataset({"s": ("x", np.array(["a", "bcd", ""]))})
    return found


def read(path: Path) -> xr.Dataset:
    engine = "zarr" if path.suffix == ".zarr" else "netcdf4"
    return xr.open_dataset(path, engine=engine, decode_cf=False, mask_and_scale=False).load()


def outcome(data: xr.Dataset, store: str, folder: Path) -> str:
    suffix = ".zarr" if store.startswith("Zarr") else ".nc"
    source, back = folder / f"source{suffix}", folder / f"back{suffix}"
    try:
        data.to_zarr(source, **STORES[store]) if suffix == ".zarr" else data.to_netcdf(
            source, **STORES[store]
        )
    except (ValueError, TypeError):
        return "-"  # xarray itself cannot write it there
    try:
        decoded: Any = tersor.decode(tersor.encode(source, codec="field", lossless=True))
    except TersorError as e:
        return f"refused ({str(e).rpartition(': ')[2]})"
    decoded.save(back)
    return "equal" if read(source).identical(read(back)) else "DIFFERENT"


def main() -> None:
    warnings.simplefilter("ignore")
    for name, data in data_sets().items():
        row = []
        for store in STORES:
            with tempfile.TemporaryDirectory() as folder:
                row.append(outcome(data, store, Path(folder)))
        print(f"{name:<42}" + "  ".join(f"{r:<8}" for r in row), flush=True)


if __name__ == "__main__":
    main()
