"""safetensors files: byte by byte through the codec, several beside an index, what a reader must refuse."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

from tersor.cli import main
from tersor.codecs.tensor.codec import TensorCodec
from tersor.errors import MissingDependencyError, SignalError
from tersor.files.coerce_tensors import as_tensors
from tersor.files.tensors import read_tensors, write_tensors
from tersor.signals.dtypes import NUMPY_NAMES
from tersor.signals.tensors import Tensor, Tensors


def model(seed: int = 0) -> dict[str, torch.Tensor]:
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(40, 50, generator=g)
    return {
        "w": x.bfloat16(),
        "half": x.half(),
        "bias": x[0].clone(),
        "scalar": torch.tensor(3.5),
        "empty": torch.empty(0, 7),
        "eight": x.to(torch.float8_e4m3fn),
        "eight too": x.to(torch.float8_e5m2),
        "ids": torch.arange(7),
        "mask": x[0] > 0,
        "größe": x[1].double(),
    }


def through(signal: Any) -> Tensors:
    codec = TensorCodec()
    return codec.decode_batch(codec.encode_batch([signal]))[0]


def test_files_come_back_byte_by_byte(tmp_path: Path) -> None:
    path, back = tmp_path / "m.safetensors", tmp_path / "back.safetensors"
    safetensors.torch.save_file(model(), path, metadata={"format": "pt", "who": "ours"})
    out = through(path)
    assert out.metadata == {"format": "pt", "who": "ours"}
    out.save(back)
    assert back.read_bytes() == path.read_bytes()
    assert through(path.read_bytes()).entries.keys() == out.entries.keys()


def test_unusual_headers_come_back_too(tmp_path: Path) -> None:
    """Spaces, odd order, no alignment: nothing is normalised."""
    path = tmp_path / "m.safetensors"
    header = (
        b'{ "b" : {"dtype":"F32","shape":[2],"data_offsets":[3,11]},'
        b'"a":{"data_offsets":[0,3],"dtype":"U8","shape":[3]}}   '
    )
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(range(11)))
    out = through(path)
    assert list(out) == ["a", "b"]
    out.save(tmp_path / "back.safetensors")
    assert (tmp_path / "back.safetensors").read_bytes() == path.read_bytes()


def test_torch_reads_what_is_written(tmp_path: Path) -> None:
    given = model()
    write_tensors(as_tensors(given), tmp_path / "m.safetensors")
    found = safetensors.torch.load_file(tmp_path / "m.safetensors")
    assert found.keys() == given.keys()
    for name, t in given.items():
        assert found[name].dtype == t.dtype
        assert found[name].shape == t.shape
        assert torch.equal(found[name].reshape(-1).view(torch.uint8), t.reshape(-1).view(torch.uint8))


def test_models_in_several_files(tmp_path: Path) -> None:
    first, second = model(), {f"second.{k}": v for k, v in model(1).items()}
    names = {"model-00001-of-00002.safetensors": first, "model-00002-of-00002.safetensors": second}
    for name, part in names.items():
        safetensors.torch.save_file(part, tmp_path / name, metadata={"format": "pt"})
    weight_map = {k: name for name, part in names.items() for k in part}
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": weight_map}, indent=2))
    assert main(["encode", str(index), "-o", str(tmp_path / "model.safetensors.index.tsr")]) == 0
    there = tmp_path / "there"
    there.mkdir()
    assert main(["decode", str(tmp_path / "model.safetensors.index.tsr"), "-o", f"{there}/"]) == 0
    for name in (*names, index.name):
        assert (there / name).read_bytes() == (tmp_path / name).read_bytes()
    read_tensors(index).save(tmp_path / "one.safetensors")
    assert safetensors.torch.load_file(tmp_path / "one.safetensors").keys() == weight_map.keys()


def test_names_that_lead_elsewhere_are_refused(tmp_path: Path) -> None:
    index = tmp_path / "model.safetensors.index.json"
    for name in ("../x.safetensors", "/x.safetensors", "a\\b", "..", "", 3):
        index.write_text(json.dumps({"weight_map": {"w": name}}))
        with pytest.raises(SignalError, match="without folders"):
            read_tensors(index)
    evil = Tensors(
        entries={"w": Tensor.of(np.ones(2, np.float32))},
        files={"../w": b'{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}'},
        index=("i", b""),
    )
    with pytest.raises(SignalError, match="without folders"):
        write_tensors(evil, tmp_path / "x.index.json")


@pytest.mark.parametrize(
    ("header", "match"),
    [
        ({"a": ("F32", [2], [0, 4])}, "takes 8 bytes and has 4"),
        ({"a": ("F32", [2], [0, 8]), "b": ("F32", [2], [4, 12])}, "expected is a start at 8"),
        ({"a": ("F32", [1], [4, 8])}, "expected is a start at 0"),
        ({"a": ("F32", [1 << 40, 1 << 40], [0, 8])}, "takes"),
        ({"a": ("F32", [-2, -1], [0, 8])}, "not a whole number"),
        ({"a": ("F32", [2.0], [0, 8])}, "not a whole number"),
        ({"a": ("F99", [2], [0, 8])}, "'F99'; known are BOOL"),
        ({"a": ("F32", [4], [0, 16])}, "an end by 8"),
        ({"a": ("F32", [1], [0, 4])}, "4 bytes after the last tensor"),
        ({"a": ("F4", [15], [0, 8])}, "inside a byte"),
    ],
)
def test_contradicting_headers_are_refused(tmp_path: Path, header: dict[str, Any], match: str) -> None:
    text = json.dumps(
        {k: {"dtype": d, "shape": s, "data_offsets": o} for k, (d, s, o) in header.items()}
    ).encode()
    with pytest.raises(SignalError, match=match):
        read_tensors(len(text).to_bytes(8, "little") + text + bytes(8))


@pytest.mark.parametrize(
    "data", [b"", b"1234567", b"\xff" * 8, (4).to_bytes(8, "little") + b"[[[[", b"\2" + bytes(7) + b"[]"]
)
def test_what_is_no_safetensors_file_is_refused(data: bytes, tmp_path: Path) -> None:
    for source in (data, tmp_path / "x.safetensors"):
        (tmp_path / "x.safetensors").write_bytes(data)
        with pytest.raises(SignalError):
            read_tensors(source)


def test_arrays_of_ml_dtypes() -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    x = np.linspace(-7, 7, 24).reshape(4, 6)
    for name in NUMPY_NAMES.values():
        if hasattr(ml_dtypes, name):
            array = np.abs(x).astype(getattr(ml_dtypes, name))
            out = through({"x": array})["x"].numpy()
            assert out.dtype == array.dtype
            assert out.tobytes() == array.tobytes(), name


def test_values_without_ml_dtypes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    t = as_tensors({"x": torch.tensor([[1.5, -0.25]]).bfloat16()})["x"]
    assert np.array_equal(t.float32(), [[1.5, -0.25]])
    monkeypatch.setitem(NUMPY_NAMES, "BF16", "bfloat16 of nobody")
    with pytest.raises(MissingDependencyError, match="ml_dtypes"):
        t.numpy()


def test_nested_names_and_shared_memory() -> None:
    x = torch.randn(4, 4)
    tensors = as_tensors({"a": {"b": x, "c": x, "d": x.T}})
    assert list(tensors) == ["a.b", "a.c", "a.d"]
    assert tensors["a.b"] is tensors["a.c"] is not tensors["a.d"]
    assert np.array_equal(tensors["a.d"].numpy(), x.T.numpy())
    with pytest.raises(SignalError, match=r"no tensor 'z'; there are a\.b"):
        tensors["z"]
