"""The tensor codec without loss: every type bit by bit, parts, ties, files, damage."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tersor
from tersor import container
from tersor.cli import main
from tersor.codecs.tensor.codec import TensorCodec
from tersor.codecs.tensor.header import WIRE_ID, Entry, TensorHeader
from tersor.container import Reader
from tersor.errors import BitstreamError, ChecksumError, LimitExceededError, SignalError
from tersor.signals.dtypes import KINDS, size_bytes
from tersor.signals.tensors import Tensor, Tensors
from tersor.testing.contract import CodecContract

ROOT = Path(__file__).parents[2]


def weights(rows: int = 96, columns: int = 160, seed: int = 0) -> np.ndarray:
    """Normal numbers whose rows and columns differ in scale, float32."""
    rng = np.random.default_rng(seed)
    scale = np.exp2(rng.normal(0, 1, (rows, 1)) + rng.normal(0, 1.5, columns))
    return (rng.standard_normal((rows, columns)) * scale * 0.02).astype(np.float32)


def bfloat16(x: np.ndarray) -> Tensor:
    return Tensor(dtype="BF16", shape=x.shape, words=(x.view(np.uint32) >> 16).astype(np.uint16).reshape(-1))


def random_bits(dtype: str, shape: tuple[int, ...], seed: int = 0) -> Tensor:
    words = np.random.default_rng(seed).bytes(size_bytes(dtype, shape))
    return Tensor(dtype=dtype, shape=shape, words=np.frombuffer(words, f"u{KINDS[dtype].word}"))


def same(a: Tensor, b: Tensor) -> bool:
    return (a.dtype, a.shape) == (b.dtype, b.shape) and np.array_equal(a.words, b.words)


class TestContract(CodecContract):
    mean_error_levels = 1e-9

    def make_codec(self) -> TensorCodec:
        return TensorCodec()

    def signals(self) -> list[Any]:
        rng = np.random.default_rng(0)
        return [rng.integers(0, 40, (30, 41), np.uint16), rng.integers(0, 255, (64, 9), np.uint8)]


@pytest.fixture(scope="module")
def codec() -> TensorCodec:
    return TensorCodec()


@pytest.mark.parametrize("dtype", KINDS)
def test_every_type_comes_back(codec: TensorCodec, dtype: str) -> None:
    """Random bits are NaNs of all payloads, infinities, subnormals and -0.0."""
    shape = (24, 40)
    noise = random_bits(dtype, shape)
    sparse = noise.words.copy()
    sparse[sparse % 5 != 0] = 0
    narrow = noise.words >> np.asarray(3, noise.words.dtype) << np.asarray(3, noise.words.dtype)
    given = {
        "noise": noise,
        "sparse": Tensor(dtype=dtype, shape=shape, words=sparse),
        "narrow": Tensor(dtype=dtype, shape=shape, words=narrow),
        "zero": Tensor(dtype=dtype, shape=shape, words=np.zeros_like(noise.words)),
        "empty": random_bits(dtype, (0, 8)),
        "pair": random_bits(dtype, (4,)),
    }
    (out,) = codec.decode_batch(codec.encode_batch([given]))
    assert list(out) == list(given)
    assert all(same(out[name], t) for name, t in given.items())


SPECIAL = {
    "F16": [0x7C01, 0x7E00, 0xFFFF, 0x8000, 0x0001, 0x03FF, 0x7C00, 0xFC00],
    "BF16": [0x7F81, 0x7FC0, 0xFFFF, 0x8000, 0x0001, 0x007F, 0x7F80, 0xFF80],
    "F32": [0x7F800001, 0x7FC00000, 0xFFFFFFFF, 0x80000000, 1, 0x7FFFFF, 0x7F800000, 0xFF800000],
    "F64": [
        0x7FF0000000000001,
        0x7FF8 << 48,
        (1 << 64) - 1,
        1 << 63,
        1,
        (1 << 52) - 1,
        0x7FF << 52,
        0xFFF << 52,
    ],
}


@pytest.mark.parametrize("dtype", SPECIAL)
@pytest.mark.parametrize("bound", [{}, {"max_error": 0.5}, {"rel_error": 0.1}])
def test_nans_infinities_and_signs_of_zero_survive(
    codec: TensorCodec, dtype: str, bound: dict[str, Any]
) -> None:
    values = weights(64, 128).astype(
        np.float16 if dtype == "F16" else np.float64 if dtype == "F64" else np.float32
    )
    words = (bfloat16(values) if dtype == "BF16" else Tensor.of(values)).words.copy()
    words[100 : 100 + len(SPECIAL[dtype])] = SPECIAL[dtype]
    t = Tensor(dtype=dtype, shape=(64, 128), words=words)
    (out,) = codec.decode_batch(codec.encode_batch([{"t": t}], **bound))
    assert same(out["t"], t)


@pytest.mark.parametrize("shape", [(), (1,), (7,), (1, 1), (3, 0, 5), (1, 70000), (70000, 1), (5, 3, 7, 11)])
def test_any_shape(codec: TensorCodec, shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    (out,) = codec.decode_batch(codec.encode_batch([{"x": x}]))
    assert out["x"].numpy().tobytes() == x.tobytes()
    assert out["x"].shape == shape


def test_several_chunks(codec: TensorCodec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tersor.codecs.tensor.encode.CHUNK_WORDS", 4096)
    x = {"wide": weights(100, 300), "flat": weights(1, 50001)[0], "one": np.float32(3)}
    (file,) = codec.encode_batch([x])
    assert tersor.info(file)["chunks"] > 20
    (out,) = codec.decode_batch([file])
    assert all(np.array_equal(out[name].numpy(), value) for name, value in x.items())
    for rows in (slice(0, 1), slice(37, 61), slice(90, None), slice(5, 5)):
        (part,) = codec.decode_batch([file], tensors=["wide"], rows=rows)
        assert np.array_equal(part["wide"].numpy(), x["wide"][rows])


def test_rounded_rows_and_scales_pay(codec: TensorCodec) -> None:
    """Classes of rows and columns, zeros at the bottom, and rows that were float16 once: each must save."""
    x = weights(512, 512)
    plain = np.random.default_rng(0).permutation(x.ravel()).reshape(x.shape)
    half = x.astype(np.float16).astype(np.float32)
    mixed = np.where(np.arange(512)[:, None] % 4 == 0, half, x)

    def size(values: Any) -> int:
        return len(codec.encode_batch([{"x": values}])[0])

    assert size(bfloat16(x)) < 0.69 * x.nbytes / 2 < size(bfloat16(plain))
    assert size(half) < 0.45 * x.nbytes
    assert size(mixed) < size(x) - 512 * 128 * 1.4
    assert size(np.zeros((4096, 4096), np.float32)) < 200
    assert size(np.arange(100_000)) < 0.3 * 800_000
    wave = np.sin(2 * np.pi / 512 * np.outer(np.arange(256), np.arange(512))).astype(np.float32)
    assert size(np.tile(wave, (2, 1))) < 0.3 * 2 * wave.nbytes


def test_tied_tensors_are_stored_once(codec: TensorCodec, tmp_path: Path) -> None:
    x = weights()
    (file,) = codec.encode_batch([{"a": x, "b": weights(seed=1), "c": x.copy(), "d": x}])
    (once,) = codec.encode_batch([{"a": x, "b": weights(seed=1)}])
    assert len(file) < len(once) + 60
    assert tersor.info(file)["tied"] == 2
    (out,) = codec.decode_batch([file])
    assert out["a"] is out["c"] is out["d"]
    (one,) = codec.decode_batch([file], tensors=["c"])
    assert np.array_equal(one["c"].numpy(), x)


def test_tensors_are_decoded_into_given_memory(codec: TensorCodec) -> None:
    x, y = weights(), weights(seed=1)
    (file,) = codec.encode_batch([{"x": x, "y": y}])
    memory = np.empty_like(x)
    (out,) = codec.decode_batch([file], out={"x": memory})
    assert np.array_equal(memory, x)
    assert np.shares_memory(out["x"].words, memory)
    assert np.array_equal(out["y"].numpy(), y)
    bad: dict[str, Any]
    for bad in ({"x": np.empty(3, np.float32)}, {"x": memory[:, ::2]}, {"x": bytes(x.nbytes)}):
        with pytest.raises(SignalError, match="memory"):
            codec.decode_batch([file], out=bad)
    with pytest.raises(SignalError, match="not decoded"):
        codec.decode_batch([file], tensors=["y"], out={"x": memory})


class Counting(io.BytesIO):
    """Counts the bytes that are read."""

    taken = 0

    def read(self, size: int | None = -1) -> bytes:
        data = super().read(size)
        self.taken += len(data)
        return data


def test_one_tensor_reads_its_chunks_and_the_front(codec: TensorCodec) -> None:
    (file,) = codec.encode_batch([{f"layers.{i}.w": weights(seed=i) for i in range(40)}])
    source = Counting(file)
    with tersor.open(source) as f:
        before = source.taken
        assert before < 8192
        x = f.read(tensors=["layers.17.w"])
    assert np.array_equal(np.asarray(x), weights(seed=17))
    assert source.taken - before < 0.9 * weights().nbytes


def test_damage_names_the_tensor_and_salvage_keeps_the_rest(codec: TensorCodec) -> None:
    x = {"first": weights(), "second": weights(seed=1), "third": weights(seed=2)}
    x["also second"] = x["second"]
    (file,) = codec.encode_batch([x])
    lengths = Reader(file).chunk_lengths
    damaged = bytearray(file)
    damaged[len(file) - lengths[2] - 5] ^= 1
    with pytest.raises(ChecksumError, match="tensor 'second', part 1 of 1"):
        codec.decode_batch([bytes(damaged)])
    (rest,) = codec.decode_batch([bytes(damaged)], salvage=True)
    assert list(rest) == ["first", "third"]
    assert rest.notes == ("left out, damaged: second", "left out, damaged: also second")
    (one,) = codec.decode_batch([bytes(damaged)], tensors=["third"])
    assert np.array_equal(one["third"].numpy(), x["third"])
    (cut,) = codec.decode_batch([file[: len(file) - lengths[2] - 9]], salvage=True)
    assert list(cut) == ["first"]


@pytest.mark.parametrize(
    ("entries", "match"),
    [
        ([Entry(name="x", dtype="F32", shape=(1 << 40, 1 << 40), columns=1, rows=1)], "no tensor of F32"),
        (
            [Entry(name="x", dtype="F32", shape=(1 << 40,), columns=1 << 11, rows=1 << 11)],
            "take 262144 chunks",
        ),
        ([Entry(name="x", dtype="F32", shape=(8,), columns=1 << 23, rows=2)], "allowed are 1 to"),
        ([Entry(name="x", dtype="F32", shape=(8,), columns=0, rows=0)], "allowed are 1 to"),
        ([Entry(name="x", dtype="F32", shape=(8,), columns=8, rows=1)] * 2, "two tensors are called"),
        ([Entry(name="x", dtype="F32", shape=(8,), coding="tied", tied_to=0)], "cannot be"),
        ([Entry(name="x", dtype="F32", shape=(8,), coding="tied", tied_to=7)], "cannot be"),
        ([Entry(name="x", dtype="I4", shape=(3,), columns=8, rows=1)], "no tensor of I4"),
    ],
)
def test_hostile_headers_are_refused(entries: list[Entry], match: str) -> None:
    raw = container.put_uvarint(len(entries)) + b"".join(e.pack() for e in entries)
    header = container.put_uvarint(len(raw)) + zlib.compress(raw)
    file = container.write(WIRE_ID, header, {}, [b"\1\0\0\0\0"])
    with pytest.raises(BitstreamError, match=match):
        TensorCodec().decode_batch([file])
    with pytest.raises(BitstreamError, match=match):
        tersor.info(file)


def test_an_index_that_inflates_without_end_is_refused() -> None:
    bomb = container.put_uvarint(1000) + zlib.compress(bytes(1 << 24))
    with pytest.raises(BitstreamError, match="1000 bytes announced"):
        TensorHeader.unpack(bomb, 0, 0)


def test_an_index_longer_than_a_header_is_a_chunk(codec: TensorCodec) -> None:
    rng = np.random.default_rng(0)
    many = {rng.bytes(24).hex(): rng.integers(0, 9, 3, np.int32) for _ in range(3000)}
    (file,) = codec.encode_batch([many])
    reader = Reader(file)
    assert len(reader.header) == 1
    assert len(reader.chunk(0)) > container.MAX_HEADER
    assert tersor.info(file)["tensors"] == len(many)
    (found,) = codec.decode_batch([file])
    assert found.entries.keys() == many.keys()
    assert all(np.array_equal(found[n].numpy(), x) for n, x in many.items())
    last = list(many)[-1]
    (found,) = codec.decode_batch([file], tensors=[last])
    assert np.array_equal(found[last].numpy(), many[last])
    damaged = bytearray(file)
    damaged[len(file) - sum(reader.chunk_lengths) + 100] ^= 1
    with pytest.raises(BitstreamError, match="chunk 0"):
        tersor.info(bytes(damaged))
    with pytest.raises(BitstreamError, match="there is none"):
        codec.decode_batch([container.write(WIRE_ID, b"\0", {}, [])])


def test_more_than_max_bytes_is_refused(codec: TensorCodec) -> None:
    (file,) = codec.encode_batch([{"x": np.zeros((3000, 3000), np.float32)}])
    with pytest.raises(LimitExceededError, match="36000000 bytes"):
        codec.decode_batch([file], max_bytes=1 << 20)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_hostile_chunks_end_in_errors(data: st.DataObject) -> None:
    """A payload with a good checksum and any content: an error or numbers, never a crash."""
    t = bfloat16(weights(16, 64))
    file = Reader(TensorCodec().encode_batch([{"x": t}])[0])
    payload = bytearray(file.chunk(0))
    for _ in range(data.draw(st.integers(1, 4))):
        payload[data.draw(st.integers(0, len(payload) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(payload)))
    for hostile in (bytes(payload), bytes(payload[:cut])):
        with contextlib.suppress(BitstreamError):
            TensorCodec().decode_batch([container.write(WIRE_ID, file.header, {}, [hostile])])


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_hostile_side_information_ends_in_errors(data: st.DataObject) -> None:
    """As above, behind the zlib stream that would hide it."""
    from tersor.codecs.tensor import chunk

    words = bfloat16(weights(16, 512)).words
    good = chunk.encode(words, 512, KINDS["BF16"])
    r = container.ByteReader(good[1:], "chunk")
    side = bytearray(chunk.inflate(r.take(r.uvarint(1 << 20, "side")), "side"))
    for _ in range(data.draw(st.integers(1, 3))):
        side[data.draw(st.integers(0, min(64, len(side) - 1)))] = data.draw(st.integers(0, 255))
    again = zlib.compress(bytes(side))
    hostile = b"\2" + container.put_uvarint(len(again)) + again + r.take(len(r.data) - r.at)
    with contextlib.suppress(BitstreamError):
        chunk.decode(hostile, 512, np.empty_like(words), "chunk")


def test_threads_change_nothing(codec: TensorCodec) -> None:
    x = {f"{i}": weights(seed=i) for i in range(12)}
    assert TensorCodec(threads=1).encode_batch([x]) == TensorCodec(threads=3).encode_batch([x])
    (file,) = codec.encode_batch([x])
    for threads in (1, 3):
        (out,) = TensorCodec(threads=threads).decode_batch([file])
        assert all(np.array_equal(out[n].numpy(), v) for n, v in x.items())


PRINT_DIGEST = """
import hashlib, sys
sys.path.insert(0, sys.argv[1])
import numpy as np
from tests.codecs.test_tensor import digest
print(digest())
"""


def digest() -> str:
    """Of files and of what they decode to, of every width and coding."""
    codec, h = TensorCodec(threads=1), hashlib.sha256()
    x = weights(40, 64)
    given = {
        "f4": x,
        "f2": x.astype(np.float16),
        "f8": x.astype(np.float64),
        "half": x.astype(np.float16).astype(np.float32),
        "mixed": np.where(np.arange(40)[:, None] % 2 == 0, x.astype(np.float16), x).astype(np.float32),
        "b2": bfloat16(x),
        "i1": (x * 99).astype(np.int8),
        "i8": np.arange(300),
        "again": np.tile(x[0], 40),
    }
    options: list[dict[str, Any]] = [
        {},
        {"max_error": 1e-3},
        {"rel_error": 0.03, "groups": "channel", "anchor": 4},
        {"cosine_error": 1e-3},
    ]
    for option in options:
        (file,) = codec.encode_batch([given], **option)
        (out,) = codec.decode_batch([file])
        h.update(file)
        for t in out.entries.values():
            h.update(t.words.tobytes())
    return h.hexdigest()


SETTINGS = {
    "uncompiled": {"NUMBA_DISABLE_JIT": "1"},
    "plain processor": {"NUMBA_CPU_NAME": "generic", "NPY_DISABLE_CPU_FEATURES": "AVX512F AVX512_SKX"},
}


@pytest.mark.parametrize("setting", SETTINGS)
def test_same_bytes_uncompiled_and_on_other_processors(setting: str, tmp_path: Path) -> None:
    command = [sys.executable, "-W", "error", "-c", PRINT_DIGEST, str(ROOT)]
    environment = os.environ | SETTINGS[setting] | {"NUMBA_CACHE_DIR": str(tmp_path)}
    run = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=ROOT, check=False)
    assert run.stdout.strip() == digest(), run.stderr


def test_wrong_codec_and_options_are_named(codec: TensorCodec) -> None:
    with pytest.raises(SignalError, match="max_error and rel_error exclude each other"):
        codec.encode_batch([np.ones(3)], max_error=1.0, rel_error=0.1)
    with pytest.raises(SignalError, match="no tensor 'b'"):
        codec.decode_batch(codec.encode_batch([{"a": np.ones(3)}]), tensors=["b"])
    with pytest.raises(SignalError, match="complex128"):
        codec.encode_batch([np.ones(3, np.complex128)])
    with pytest.raises(BitstreamError, match="use tersor.decode"):
        codec.decode_batch([container.write(4, b"", {}, [])])
    with pytest.raises(SignalError, match="CPU"):
        TensorCodec("cuda")


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, coded, back = tmp_path / "m.safetensors", tmp_path / "m.tsr", tmp_path / "back.safetensors"
    Tensors(
        entries={"w": bfloat16(weights()), "b": Tensor.of(weights(1, 160)[0])}, metadata={"format": "pt"}
    ).save(path)
    assert main(["encode", str(path)]) == 0
    assert main(["info", str(coded)]) == 0
    assert main(["verify", str(coded)]) == 0
    assert "1 BF16, 1 F32" in capsys.readouterr().out
    assert main(["decode", str(coded), "-o", str(back)]) == 0
    assert back.read_bytes() == path.read_bytes()
    damaged = bytearray(coded.read_bytes())
    damaged[-1] ^= 1
    coded.write_bytes(damaged)
    assert main(["decode", "-f", str(coded), "-o", str(back)]) == 3
    assert main(["decode", "-f", "--salvage", str(coded), "-o", str(back)]) == 0
    assert "left out, damaged: " in capsys.readouterr().out
