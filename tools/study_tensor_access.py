"""One tensor of a file of about 1 GB: bytes that are read beside its own, and the time beside its decoding.

python tools/study_tensor_access.py
"""

from __future__ import annotations

import io
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

import tersor
from tersor.codecs.tensor.codec import TensorCodec
from tersor.container import Reader
from tersor.signals.tensors import Tensor, Tensors

LAYERS, SHAPE = 45, (4096, 4096)  # of bfloat16, 32 MiB each
WANTED = f"layers.{LAYERS // 2}.weight"
REPEATS = 9


class Counted(io.FileIO):
    """A file that counts the bytes that are read of it."""

    read_bytes = 0

    def readinto(self, buffer: object) -> int:
        n = super().readinto(buffer) or 0  # type: ignore[arg-type]
        self.read_bytes += n
        return n

    def read(self, size: int | None = -1) -> bytes:
        data = super().read(-1 if size is None else size) or b""
        self.read_bytes += len(data)
        return data


def main() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal(SHAPE, np.float32) * 0.02
    words = (x.view(np.uint32) >> 16).astype(np.uint16).reshape(-1)
    entries = {
        f"layers.{i}.weight": Tensor(dtype="BF16", shape=SHAPE, words=np.roll(words, 977 * i))
        for i in range(LAYERS)
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.tsr"
        with path.open("w+b") as out:
            TensorCodec().encode_to(out, Tensors(entries=entries))
        reader = Reader(path.read_bytes())
        own = sum(reader.chunk_lengths) // LAYERS
        counted = Counted(path)
        with tersor.open(counted) as f:
            found = f.read(tensors=[WANTED])
        assert np.array_equal(found.entries[WANTED].words, entries[WANTED].words)
        beside = counted.read_bytes - own
        alone = path.with_name("one.tsr")
        alone.write_bytes(TensorCodec().encode_batch([Tensors(entries={WANTED: entries[WANTED]})])[0])
        times: dict[str, list[float]] = {"of all": [], "alone": []}
        for _ in range(REPEATS):
            for name, file in (("of all", path), ("alone", alone)):
                began = time.perf_counter()
                with tersor.open(file) as f:
                    f.read(tensors=[WANTED])
                times[name].append(time.perf_counter() - began)
        of_all, one = (1000 * statistics.median(times[n]) for n in ("of all", "alone"))
        print(f"{path.stat().st_size / 1e9:.2f} GB, {LAYERS} tensors; one of {own / 1e6:.1f} MB coded:")
        print(f"{beside:,} bytes read beside it (about, by the mean size of a tensor)")
        print(f"{of_all:.0f} ms from opening, {of_all - one:+.1f} ms against the file that holds it alone")


if __name__ == "__main__":
    main()
