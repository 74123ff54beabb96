"""The front door: kinds are found, files stay open or closed as their owner wants, facts keep their keys,
damage is salvaged, threads are bounded, and what does not fit in memory goes through.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tersor
from tersor import Audio, Field, FieldSet, Image
from tersor.container import Reader
from tersor.errors import BitstreamError, SignalError, TruncatedError
from tersor.facts import Facts

ROOT = Path(__file__).parents[1]
TONE = np.round(9000 * np.sin(np.arange(4000) / 9)).astype(np.int16)[:, None]
RAMP = np.add.outer(np.arange(40.0), np.arange(50.0)).astype(np.float32)


def test_signals_and_files_find_their_codec(tmp_path: Path, picture: np.ndarray) -> None:
    sound = Audio(samples=TONE, rate=8000)
    sound.save(tmp_path / "a.wav")
    Field(values=RAMP).save(tmp_path / "a.npy")
    FieldSet(fields={"t": Field(values=RAMP, name="t")}).save(tmp_path / "a.npz")
    small = Image(samples=np.ascontiguousarray(picture[:16, :16]))
    small.save(tmp_path / "a.png")
    for x, codec in (
        (sound, "audio"),
        (tmp_path / "a.wav", "audio"),
        (str(tmp_path / "a.npy"), "field"),
        (tmp_path / "a.npz", "field"),
        (Field(values=RAMP), "field"),
        ({"t": RAMP}, "field"),
        (small, "image"),
        (tmp_path / "a.png", "image"),
        (picture[:16, :16], "image"),
    ):
        assert tersor.info(tersor.encode(x)).codec == codec
    with pytest.raises(SignalError, match="floats"):
        tersor.encode(RAMP)  # an array alone is taken for a picture


def test_names_in_files_overwrite_no_fact() -> None:
    file = tersor.encode({"codec": RAMP, "bytes": RAMP, "extra": RAMP})
    facts = tersor.info(file)
    assert (facts.codec, facts["codec"], facts["bytes"]) == ("field", "field", len(file))
    assert [v.name for v in facts.variables] == ["codec", "bytes", "extra"]
    plain = json.loads(json.dumps(facts.json()))
    assert set(plain) == {f.strip() for f in Facts.__dataclass_fields__}
    assert plain["variables"][0] == {
        "name": "codec",
        "dtype": "float32",
        "shape": [40, 50],
        "extra": {"block": [40, 50], "bound": "rel_error 0.001, bound 0.088"},
    }


def test_the_file_of_a_caller_stays_open(tmp_path: Path) -> None:
    data = tersor.encode(Field(values=RAMP))
    for content, good in ((data, True), (b"nonsense", False)):
        stream = io.BytesIO(content)
        if good:
            with tersor.open(stream) as f:
                f.read()
        else:
            with pytest.raises(BitstreamError):
                tersor.open(stream)
        assert not stream.closed


def test_missing_files_are_file_not_found(tmp_path: Path) -> None:
    for do in (tersor.open, tersor.info):
        with pytest.raises(FileNotFoundError, match=r"^\S*nowhere\.tsr: cannot be read \(No such") as caught:
            do(tmp_path / "nowhere.tsr")
        assert caught.value.filename == str(tmp_path / "nowhere.tsr")


def test_foreign_files_are_named(picture: np.ndarray) -> None:
    image = tersor.encode(np.ascontiguousarray(picture[:16, :16]))
    for name in ("field", "lossless", "audio"):
        with pytest.raises(BitstreamError, match=f"codec is 'image', not '{name}'; use tersor.decode"):
            tersor.Codec(name).decode(image)


def damaged(file: bytes, chunk: int) -> bytes:
    out = bytearray(file)
    out[Reader(file)._spans[chunk].offset + 1] ^= 0xFF
    return bytes(out)


def test_every_codec_salvages_and_lazily_too(tmp_path: Path, picture: np.ndarray) -> None:
    photo = Image(samples=np.ascontiguousarray(picture[:128, :128]))
    marked = Field(values=RAMP.astype(np.float64), attributes={"_FillValue": np.float64(-99)})
    large = np.add.outer(np.arange(100), np.arange(100)).astype(np.int32)
    cases: list[tuple[Any, dict[str, Any], Any]] = [
        (photo, {"codec": "image", "tile": 64}, 0x80),
        (Audio(samples=np.tile(TONE, (4, 1)), rate=8000), {"segment": 0.5, "lossless": True}, 0),
        (Field(values=np.tile(RAMP, (4, 4))), {"block": 4096}, np.nan),
        (Field(values=np.tile(marked.values, (4, 4)), attributes=marked.attributes), {"block": 4096}, -99),
        (large, {"codec": "lossless", "block": 4096}, 0),
    ]
    for x, options, fill in cases:
        file = tersor.encode(x, **options)
        whole = np.asarray(tersor.decode(file))
        bad = damaged(file, 1)
        with pytest.raises(BitstreamError, match="chunk 1") as caught:
            tersor.decode(bad)
        assert caught.value.chunk == 1
        (out,) = tersor.Codec(tersor.info(file).codec).decode_batch([bad], salvage=True)
        y = np.asarray(out)
        assert len(out.notes) == 1
        assert "damaged" in out.notes[0]
        changed = ~np.isclose(y.astype(float), whole.astype(float), atol=1 if options.get("tile") else 0)
        assert 0 < changed.mean() < 0.6
        filled = np.isnan(y) if fill != fill else y == fill
        assert filled[changed].mean() > 0.5
        path = tmp_path / "cut.tsr"
        path.write_bytes(file[:-3])
        with tersor.open(path) as f:
            assert f.info.codec == tersor.info(file).codec
            with pytest.raises(TruncatedError):
                f.read()
            lazy = f.read(salvage=True)
            assert len(lazy.notes) == 1
            pieces = np.concatenate(list(f.blocks(salvage=True)))
            np.testing.assert_array_equal(pieces, np.asarray(lazy))


@pytest.mark.parametrize("codec", ["image", "field", "audio", "lossless"])
def test_threads_change_nothing_but_time(codec: str, picture: np.ndarray) -> None:
    x: Any = {
        "image": np.ascontiguousarray(picture[:96, :96]),
        "audio": Audio(samples=TONE, rate=8000),
        "field": np.tile(RAMP, (6, 6)),
        "lossless": np.tile(RAMP, (6, 6)).astype(np.int16),
    }[codec]
    one, two = tersor.Codec(codec, threads=1), tersor.Codec(codec, threads=2)
    file = one.encode(x)
    assert file == two.encode(x)
    np.testing.assert_array_equal(np.asarray(one.decode(file)), np.asarray(two.decode(file)))
    with pytest.raises(SignalError, match="threads is 0"):
        tersor.Codec(codec, threads=0)


def test_one_thread_is_one_thread() -> None:
    code = """
import numpy as np, threading, tersor
from concurrent.futures import ThreadPoolExecutor
x = np.add.outer(np.arange(300.0), np.add.outer(np.arange(40.0), np.arange(40.0)))
tersor.decode(tersor.encode({"x": x}, threads=1, block=1 << 16), threads=1)
assert threading.active_count() == 1, threading.enumerate()
"""
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, env=env)


@pytest.mark.slow
def test_arrays_larger_than_memory_would_like(tmp_path: Path) -> None:
    """Four gigabytes in a file, through the command line and back, in less than a gigabyte."""
    path, part = tmp_path / "x.npy", RAMP[:32, :32] + np.random.default_rng(0).normal(0, 0.01, (64, 32, 32))
    x = np.lib.format.open_memmap(path, "w+", np.float32, (1 << 20, 32, 32))
    for at in range(0, len(x), 64):
        x[at : at + 64] = part
    x.flush()
    del x
    code = """
import resource, sys, numpy as np, tersor
with open(sys.argv[2], "w+b") as f:
    tersor.Codec("field").encode_to(f, np.load(sys.argv[1], mmap_mode="r"), max_error=0.5)
worst, at, x = 0.0, 0, np.load(sys.argv[1], mmap_mode="r")
with tersor.open(sys.argv[2]) as f:
    for piece in f.blocks():
        worst, at = max(worst, float(np.abs(piece - x[at : at + len(piece)]).max())), at + len(piece)
assert at == len(x) and worst <= 0.5, (at, worst)
with open("/proc/self/status") as f:
    print([line for line in f if line.startswith("RssAnon")])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""
    out = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, str(path), str(tmp_path / "x.tsr")],
        check=True,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert "RssAnon" in out.stdout


def test_images_stream_in_and_out_row_by_row(picture: np.ndarray) -> None:
    x = np.tile(picture[:200, :200], (2, 1, 1))
    codec, out = tersor.Codec("image", device="cpu"), io.BytesIO()
    size = codec.encode_to(out, Image(samples=x), tile=128)
    assert out.getvalue() == codec.encode(Image(samples=x), tile=128)
    assert size == len(out.getvalue())
    rows = [len(piece) for piece in codec.open(out.getvalue()).blocks()]
    assert rows == [128, 128, 128, 16]
