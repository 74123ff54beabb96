"""The field codec: the bound holds, on anything; damage is an error; slices are slices."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray

import tersor
from tersor.codecs.field.codec import FieldCodec
from tersor.codecs.field.header import FieldHeader
from tersor.codecs.field.pointwise import exp2
from tersor.container import Reader
from tersor.errors import BitstreamError, BoundError, SignalError
from tersor.signals import Field
from tersor.testing.contract import CodecContract

BOUNDS: list[dict[str, Any]] = [
    {"max_error": 0.01},
    {"rel_error": 1e-3},
    {"pointwise_rel_error": 1e-2},
    {"lossless": True},
]
DTYPES = ("f2", "f4", "f8", ">f4", "i1", "u1", "i2", ">i4", "i8", "u8", "?")


def smooth(*shape: int, dtype: str = "f4", noise: float = 0.1) -> NDArray[Any]:
    """Waves with a little noise."""
    axes = np.meshgrid(*[np.linspace(0, 3, n) for n in shape], indexing="ij")
    waves = 100 * sum(np.sin((i + 1) * a) for i, a in enumerate(axes))
    return np.asarray(waves + np.random.default_rng(0).normal(0, noise, shape)).astype(dtype)


@pytest.fixture(scope="module")
def codec() -> FieldCodec:
    return FieldCodec()


def through(codec: FieldCodec, x: Any, **options: Any) -> tuple[NDArray[Any], int]:
    (file,) = codec.encode_batch([x], **options)
    return codec.decode_batch([file])[0].values, len(file)


def error(x: NDArray[Any], y: NDArray[Any]) -> float:
    """Largest difference where x is finite, in more digits than either has."""
    known = np.isfinite(x.astype(np.longdouble))
    return float(np.abs(x[known].astype(np.longdouble) - y[known].astype(np.longdouble)).max(initial=0))


class TestContract(CodecContract):
    mean_error_levels = 1.0

    def make_codec(self) -> FieldCodec:
        return FieldCodec()

    def signals(self) -> list[Any]:
        holes = smooth(40, 30)
        holes[3:5, 7:11] = np.nan
        return [smooth(20, 30, 12).astype(np.int16), (smooth(60, 50) % 256).astype(np.uint8), holes]


@pytest.mark.parametrize(
    "shape",
    [
        (1000,),
        (64, 80),
        (20, 30, 40),
        (3, 5, 20, 21),
        (2, 3, 4, 5, 6),
        (),
        (0, 3),
        (1, 1, 1),
        (1,),
        (2,),
        (1, 70),
        (5, 1, 9),
        (7, 2),
    ],
)
@pytest.mark.parametrize("bound", BOUNDS, ids=str)
def test_any_shape(codec: FieldCodec, shape: tuple[int, ...], bound: dict[str, Any]) -> None:
    x = smooth(*shape) if shape else np.float32(3.7)
    y, _ = through(codec, x, **bound)
    x = np.asarray(x)
    assert y.shape == x.shape
    assert y.dtype == x.dtype
    if "lossless" in bound:
        assert y.tobytes() == x.tobytes()
    elif x.size:
        limit = bound.get("max_error", bound.get("rel_error", 0) * float(x.max() - x.min() if x.size else 0))
        assert error(x, y) <= limit or (
            "pointwise_rel_error" in bound and (np.abs(x - y) <= 0.01 * np.abs(x)).all()
        )


@pytest.mark.parametrize("dtype", DTYPES)
def test_any_type(codec: FieldCodec, dtype: str) -> None:
    x = (smooth(40, 50) if "f" in dtype else np.abs(smooth(40, 50)) % 100).astype(dtype)
    y, _ = through(codec, x, lossless=True)
    assert y.dtype == x.dtype
    assert y.tobytes() == x.tobytes()
    if dtype != "?":
        y, _ = through(codec, x, max_error=1)
        assert y.dtype == x.dtype
        assert error(x, y) <= 1


def test_what_is_not_a_number_survives(codec: FieldCodec) -> None:
    x = smooth(40, 50)
    x[3:10, 4:8], x[0, 0], x[1, 1], x[2, 2] = np.nan, np.inf, -np.inf, -0.0
    payload_nan = np.array([0x7FC00123], np.uint32).view(np.float32)[0]
    x[20, 20] = payload_nan
    for bound in BOUNDS:
        y, _ = through(codec, x, **bound)
        odd = ~np.isfinite(x)
        assert y[odd].tobytes() == x[odd].tobytes(), bound
    y, _ = through(codec, x, lossless=True)
    assert y.tobytes() == x.tobytes()


def test_fill_values_are_kept_and_left_out_of_the_range(codec: FieldCodec) -> None:
    x = smooth(40, 50)
    x[5:20] = 1e20
    y, size = through(codec, x, rel_error=1e-3, fill_value=1e20)
    assert (y[5:20] == np.float32(1e20)).all()
    keep = x[x < 1e19]
    assert error(keep, y[x < 1e19]) <= 1e-3 * (keep.max() - keep.min())
    assert size < x.nbytes / 8


def test_fill_attributes_of_any_kind(codec: FieldCodec) -> None:
    x = smooth(40, 50)
    x[3, 3], x[4, 4] = 1e20, -999
    for fill in (
        np.array([1e20, -999], np.float32),
        np.array([]),
        "none",
        b"x",
        np.array(["a"]),
        np.float32(1e20),
        np.int64(-999),
        [1e20],
    ):
        file = codec.encode_batch([Field(values=x, attributes={"_FillValue": fill})], max_error=5.0)[0]
        y = codec.decode_batch([file])[0].values
        assert error(x, y) <= 5
        if not isinstance(fill, (str, bytes)) and np.size(fill) == 2:
            assert y[3, 3] == x[3, 3]
            assert y[4, 4] == x[4, 4]
    counts = np.arange(40).astype(np.int16)
    y, _ = through(codec, counts, max_error=2, fill_value=1e20)
    assert error(counts, y) <= 2
    for wrong in ("x", [1, 2]):
        with pytest.raises(SignalError, match="fill_value"):
            codec.encode_batch([x], fill_value=wrong)


@pytest.mark.parametrize("bound", [{"max_error": 0.01}, {"pointwise_rel_error": 0.01}])
def test_a_broken_bound_is_an_error_not_a_file(
    codec: FieldCodec, bound: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the decoder gives counts, also with python -O."""
    from tersor.codecs.field import encode as field

    for name in ("decode_block", "decode_pointwise"):
        right = getattr(field, name)
        monkeypatch.setattr(field, name, lambda *a, right=right: right(*a) * np.float32(1.5))
    with pytest.raises(BoundError, match="miss the bound"):
        codec.encode_batch([1 + smooth(40, 50)], **bound)


def test_a_short_last_axis_and_large_blocks(codec: FieldCodec) -> None:
    """Loops over the longest axis instead; parts of a pass in several threads; a way of prediction chosen on
    the middle.
    """
    for shape in ((40, 30, 7), (12, 90, 6, 5), (3, 700, 2), (50, 60, 70), (260, 500)):
        x = smooth(*shape)
        y, _ = through(codec, x, max_error=0.05)
        assert error(x, y) <= 0.05


def test_masked_arrays(codec: FieldCodec) -> None:
    x = np.ma.masked_greater(smooth(40, 50), 150)
    y, _ = through(codec, x, max_error=0.1)
    assert np.array_equal(np.isnan(y), np.ma.getmaskarray(x))
    counts = np.ma.masked_greater(np.arange(9), 5)
    assert np.array_equal(np.asarray(codec.decode_batch(codec.encode_batch([counts]))[0]), counts.filled())
    with pytest.raises(SignalError, match="fill_value"):
        codec.encode_batch([np.ma.array([999999, 1], mask=[False, True])])


@pytest.mark.parametrize(
    "x",
    [
        np.full((50, 50), 3.3, np.float32),
        np.full(50, np.nan),
        (smooth(40, 50) * 1e-42).astype(np.float32),
        np.array([[-1.7e308, 1.7e308] * 40] * 3),
        np.where(np.random.default_rng(1).random((60, 60)) < 0.01, 1e6, smooth(60, 60)).astype(np.float32),
        np.random.default_rng(2).normal(size=(50, 60)),
        np.random.default_rng(3).integers(-(2**31), 2**31 - 1, (50, 50), dtype=np.int32),
        np.array([2**62, -(2**62), 5] * 50),
        np.array([2**64 - 1, 0, 5] * 50, np.uint64),
        np.cumsum(np.random.default_rng(4).normal(size=(3, 40, 50)), 0).astype(np.float16),
    ],
    ids=[
        "constant",
        "nan",
        "denormal",
        "huge",
        "spikes",
        "noise",
        "random32",
        "wide64",
        "unsigned64",
        "half",
    ],
)
def test_hard_values(codec: FieldCodec, x: NDArray[Any]) -> None:
    known = x[np.isfinite(x)]
    extent = (
        float(known.max().astype(np.longdouble) - known.min().astype(np.longdouble)) if known.size else 0.0
    )
    for rel in (1e-1, 1e-3, 1e-7):
        y, _ = through(codec, x, rel_error=rel)
        assert error(x, y) <= rel * min(extent, np.finfo(np.float64).max)
    y, _ = through(codec, x, lossless=True)
    assert y.tobytes() == x.tobytes()


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_the_bound_holds_for_any_floats(codec: FieldCodec, data: st.DataObject) -> None:
    x = data.draw(
        arrays(
            data.draw(st.sampled_from([np.float16, np.float32, np.float64])),
            array_shapes(max_dims=4, max_side=7),
        )
    )
    bound = data.draw(st.floats(1e-6, 1e6))
    y, _ = through(codec, x, max_error=bound)
    odd = ~np.isfinite(x)
    assert y[odd].tobytes() == x[odd].tobytes()
    assert error(x, y) <= bound
    pointwise, _ = through(codec, x, pointwise_rel_error=0.01)
    known = np.isfinite(x)
    assert (
        np.abs(x[known].astype(np.longdouble) - pointwise[known].astype(np.longdouble))
        <= np.longdouble(0.01) * np.abs(x[known].astype(np.longdouble))
    ).all()


def test_packed_data_are_found_and_kept_exactly(codec: FieldCodec) -> None:
    x = (np.round(smooth(80, 90) * 8) / 8).astype(np.float32)
    y, size = through(codec, x, max_error=1e-3)
    assert np.array_equal(x, y)
    _, unpacked = through(codec, smooth(80, 90), max_error=1e-3)
    assert size < 0.6 * unpacked


def test_targets(codec: FieldCodec) -> None:
    x = smooth(60, 70)
    y, _ = through(codec, x, target_psnr=60)
    rmse = float(np.sqrt(np.square(x.astype(float) - y).mean()))
    assert 60 <= 20 * np.log10(float(x.max() - x.min()) / rmse) < 61
    _, size = through(codec, x, target_ratio=12)
    assert x.nbytes / 14 < size <= x.nbytes / 12
    with pytest.raises(SignalError, match="out of reach"):
        codec.encode_batch([x], target_ratio=1e6)


def test_frames_use_the_frames_before(codec: FieldCodec) -> None:
    """A pattern that stays costs little more in 30 frames than in one."""
    frame = np.random.default_rng(0).normal(size=(40, 40)).astype(np.float32)
    _, one = through(codec, frame, max_error=0.01)
    _, thirty = through(codec, np.repeat(frame[None], 30, 0), max_error=0.01)
    assert thirty < 1.5 * one


def test_slices_read_only_their_blocks(codec: FieldCodec, monkeypatch: pytest.MonkeyPatch) -> None:
    x = smooth(32, 50, 40)
    (file,) = codec.encode_batch([x], max_error=0.1, block=8192)
    header = FieldHeader.unpack(Reader(file).header, len(Reader(file).chunk_lengths))
    assert header.variables[0].n_blocks > 4
    whole = codec.decode_batch([file])[0].values
    read: list[int] = []
    chunk = Reader.chunk
    monkeypatch.setattr(Reader, "chunk", lambda self, i: (read.append(i), chunk(self, i))[1])
    window = (slice(3, 9), slice(10, 12))
    part = codec.decode_batch([file], slices=window)[0].values
    assert np.array_equal(part, whole[window])
    assert 0 < len(read) < header.variables[0].n_blocks
    for wrong in (3, (slice(None),) * 4, slice(0, 10, 2)):
        with pytest.raises(SignalError, match="slices"):
            codec.decode_batch([file], slices=wrong)


def test_colours_last_are_coded_as_planes(codec: FieldCodec) -> None:
    grey = 100 + smooth(90, 120, noise=8).astype(np.int16) // 4
    x = np.stack([grey, grey + 3, grey - 5], 2).astype(np.uint8)
    (file,) = codec.encode_batch([x], lossless=True)
    _, alone = through(codec, x[..., 0], lossless=True)
    assert np.array_equal(np.asarray(codec.decode_batch([file])[0]), x)
    assert len(file) < 1.2 * alone
    part = codec.decode_batch([file], slices=(slice(3, 9), slice(None), slice(1, 2)))[0]
    assert np.array_equal(np.asarray(part), x[3:9, :, 1:2])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"max_error": -1}, "max_error is -1"),
        ({"rel_error": float("nan")}, "rel_error is nan"),
        ({"max_error": "much"}, "max_error is 'much'; allowed are numbers from 0"),
        ({"max_error": 1, "lossless": True}, "exclude each other"),
        ({"pointwise_rel_error": 1}, "allowed are numbers from 0 and below 1"),
        ({"target_ratio": 1}, "above 1"),
        ({"block": 7}, "4096"),
    ],
)
def test_bad_options(codec: FieldCodec, options: dict[str, Any], words: str) -> None:
    with pytest.raises(SignalError, match=words):
        codec.encode_batch([smooth(10, 10)], **options)


def test_bad_arrays(codec: FieldCodec) -> None:
    for x in (smooth(4, 4) + 1j, np.array(["a"]), np.zeros(3, "M8[s]")):
        with pytest.raises(SignalError):
            codec.encode_batch([x])
    with pytest.raises(SignalError, match="CPU"):
        FieldCodec("cuda")


def test_damage_behind_the_checksum_is_an_error(codec: FieldCodec) -> None:
    """A payload whose checksum was made for it: whatever it says, decoding ends in cells or in a
    BitstreamError.
    """
    import zlib

    x = smooth(16, 20)
    (file,) = codec.encode_batch([x], max_error=0.1)
    reader = Reader(file)
    payload, length = reader.chunk(0), reader.chunk_lengths[0]
    front = file[: len(file) - length]
    rng = np.random.default_rng(0)
    table = front.rfind(zlib.crc32(payload).to_bytes(4, "little"))
    outcomes = set()
    for _ in range(300):
        bad = bytearray(payload)
        bad[rng.integers(len(bad))] ^= 1 << rng.integers(8)
        head = bytearray(front[:-4])
        head[table : table + 4] = zlib.crc32(bytes(bad)).to_bytes(4, "little")
        try:
            decoded = codec.decode_batch(
                [bytes(head) + zlib.crc32(bytes(head)).to_bytes(4, "little") + bytes(bad)]
            )
            assert decoded[0].values.shape == x.shape
            outcomes.add("cells")
        except BitstreamError:
            outcomes.add("error")
    assert "error" in outcomes


def test_powers_of_two_are_right() -> None:
    x = np.random.default_rng(0).uniform(-1070, 1020, 20_000)
    with np.errstate(under="ignore"):
        np.testing.assert_allclose(exp2(x), np.exp2(x), rtol=4e-15, atol=1e-320)


def test_front_door(tmp_path: Path) -> None:
    x = smooth(30, 40)
    file = tersor.encode(x, codec="field", max_error=0.5)
    assert np.abs(np.asarray(tersor.decode(file)) - x).max() <= 0.5
    facts = tersor.info(file)
    assert facts["codec"] == "field"
    assert facts["raw_bytes"] == x.nbytes
    np.save(tmp_path / "x.npy", x)
    assert tersor.encode(tmp_path / "x.npy", codec="field", max_error=0.5) == file
    (tmp_path / "x.tsr").write_bytes(file)
    with tersor.open(tmp_path / "x.tsr") as f:
        assert np.array_equal(f.read(slices=slice(3, 5)).values, tersor.decode(file).values[3:5])


def test_threads_share_one_file(codec: FieldCodec, tmp_path: Path) -> None:
    """Blocks are read and decoded side by side from one open file."""
    x = smooth(64, 60, 60)
    (tmp_path / "x.tsr").write_bytes(codec.encode_batch([x], max_error=0.1, block=4096)[0])
    for _ in range(3):
        with (tmp_path / "x.tsr").open("rb") as f:
            assert error(x, codec.decode_batch([Reader(f)])[0].values) <= 0.1


@pytest.mark.slow
def test_one_value_of_a_gigabyte(tmp_path: Path) -> None:
    """From a file, in a new process: at most 0.5 s after the imports, at most 500 MB."""
    frame = smooth(64, 128, 128)
    x = np.concatenate([np.roll(frame, 5 * k, 2) for k in range(256)])
    assert x.nbytes == 1 << 30
    (tmp_path / "x.tsr").write_bytes(FieldCodec().encode_batch([x], max_error=0.5)[0])
    code = """
import resource, sys, time, numpy as np, tersor
at = lambda k: (slice(k, k + 1), slice(9, 10), slice(9, 10))
read = lambda k: np.asarray(tersor.open(sys.argv[1]).read(slices=at(k)))
read(5)
began = time.perf_counter()
value = float(read(9000)[0, 0, 0])
print(time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, value)
"""
    test_value = float(x[9000, 9, 9])
    del x
    shell = subprocess.run(
        ["sh", "-c", f"'{sys.executable}' -W ignore -c '{code}' '{tmp_path / 'x.tsr'}' && true"],
        capture_output=True,
        check=True,
        text=True,
    )
    seconds, peak, value = map(float, shell.stdout.split())
    assert seconds < 0.5
    assert peak < 500
    assert abs(value - test_value) <= 0.5
