"""Chunks of HDF5 data sets that the library would pass over: it looks a chunk up by its place, and gives fill
values where it finds none. The index of the places has no checksum, also where each chunk has one.
"""

from __future__ import annotations

import math
from pathlib import Path
from types import ModuleType
from typing import Any

from tersor.errors import SignalError

Node = Any  # a data set of h5py, which has no types
FLETCHER_BYTES = 4  # F: that the filter adds to a chunk
NO_ROOM = bytearray()


def check_file(path: Path) -> None:
    """`check_chunks` of every data set of a file that another library reads, if h5py is installed.

    Raises:
        SignalError: as `check_chunks`.
    """
    try:
        import h5py
    except ImportError:
        return

    def check(_: str, node: Node) -> None:
        if isinstance(node, h5py.Dataset):
            check_chunks(h5py, node)

    with h5py.File(path, "r") as file:
        file.visititems(check)


def check_chunks(h5py: ModuleType, node: Node) -> None:
    """Compare the index of a data set's chunks with its shape, and look each of them up.

    Args:
        h5py: the module.
        node: a data set.

    Raises:
        SignalError: a chunk lies outside the array or off its grid, two lie in one place, one is not found
            where it lies, or leaves out filters that it was written with.
    """
    if not node.chunks or not node.size or not hasattr(node.id, "chunk_iter"):
        return
    stored: list[Any] = []
    node.id.chunk_iter(lambda info: stored.append(info))  # None, or the library stops
    created = node.id.get_create_plist()
    filters = [created.get_filter(i)[0] for i in range(created.get_nfilters())]
    fletcher = h5py.h5z.FILTER_FLETCHER32
    whole = math.prod(node.chunks) * node.id.get_type().get_size() + FLETCHER_BYTES * (fletcher in filters)
    seen = set[tuple[int, ...]]()
    for info in stored:
        at, fault = tuple(int(n) for n in info.chunk_offset), ""
        skipped = [f for i, f in enumerate(filters) if info.filter_mask >> i & 1]
        if any(n >= top for n, top in zip(at, node.shape, strict=True)):
            fault = f"a chunk lies at {at}, outside {node.shape}"
        elif at in seen or any(n % side for n, side in zip(at, node.chunks, strict=True)):
            fault = f"there are two chunks at {at}, or one between those of {node.chunks}"
        elif fletcher in skipped or (
            skipped and info.size != whole
        ):  # deflate may be, where it gains nothing
            fault = f"the chunk at {at} leaves out filters"
        elif not _is_found(node, at):
            fault = f"the chunk at {at} is not found"
        if fault:
            name = node.name.strip("/")
            raise SignalError(f"{name}: the index of its chunks is damaged ({fault}); copy the file again")
        seen.add(at)


def _is_found(node: Node, at: tuple[int, ...]) -> bool:
    """Whether the library finds a chunk: then it says how much room it needs."""
    try:
        node.id.read_direct_chunk(at, out=NO_ROOM)
    except ValueError:
        return True
    except (RuntimeError, OSError):
        return False
    return True
