"""A Zarr store whose chunks are coded with an error bound (pip install 'tersor[zarr]').

python examples/zarr_store.py STORE
"""

import sys

import numpy as np
import zarr

from tersor.interop.zarr import TersorCodec

t, y, x = np.meshgrid(np.linspace(0, 6, 24), np.linspace(0, 6, 90), np.linspace(0, 6, 120), indexing="ij")
air = (280 + 20 * np.sin(2 * x + t) * np.cos(3 * y)).astype(np.float32)

store = zarr.create_array(
    sys.argv[1],
    name="air",
    shape=air.shape,
    dtype="float32",
    chunks=(12, 90, 120),
    serializer=TersorCodec(max_error=0.01),  # no value off by more than this; each chunk is checked
    compressors=None,
)
store[:] = air

back = zarr.open_array(sys.argv[1], path="air", mode="r")
error = np.abs(back[6:9, :, :] - air[6:9]).max()  # reads the chunks it touches
print(f"{air.nbytes:,} bytes -> {store.nbytes_stored():,}, largest error {error:.4f}")
assert error <= 0.01
