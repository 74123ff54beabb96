"""state_dicts, checkpoints and modules of torch in .tsr files."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import tersor
from tersor.codecs.tensor.codec import TensorCodec
from tersor.container import Reader
from tersor.errors import BitstreamError, ChecksumError, SignalError
from tersor.interop.torch import load, load_into, save
from tersor.signals.tensors import Tensors

ROOT = Path(__file__).parents[2]


class Model(torch.nn.Module):
    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.embed = torch.nn.Embedding(300, 32)
        self.norm = torch.nn.BatchNorm1d(32)
        self.hidden = torch.nn.Linear(32, 64).to(torch.bfloat16)
        self.head = torch.nn.Linear(32, 300, bias=False)
        self.head.weight = self.embed.weight  # tied


def equal(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return list(a) == list(b) and all(equal(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return type(a) is type(b) and len(a) == len(b) and all(map(equal, a, b))
    return type(a) is type(b) and a == b


def test_state_dicts(tmp_path: Path) -> None:
    state = Model().state_dict()
    size = save(state, tmp_path / "m.tsr")
    assert size == (tmp_path / "m.tsr").stat().st_size
    found = load(tmp_path / "m.tsr")
    assert equal(dict(state), found)
    assert tersor.info(tmp_path / "m.tsr")["tied"] == 3  # the head, and what is still all ones or zeros
    found["norm.weight"].add_(1)
    assert torch.equal(found["norm.running_var"], torch.ones(32))


def test_checkpoints_with_optimiser_states(tmp_path: Path) -> None:
    model = Model()
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for _ in range(3):
        ids = torch.randint(0, 300, (8,))
        (model.head(model.norm(model.embed(ids))) ** 2).mean().backward()
        optimiser.step()
    checkpoint = {
        "model": dict(model.state_dict()),
        "optimiser": optimiser.state_dict(),
        "step": 3,
        "loss": 0.25,
        "history": [1, (2.5, None, "x"), True],
    }
    save(checkpoint, tmp_path / "c.tsr")
    found = load(tmp_path / "c.tsr")
    assert equal(checkpoint, found)
    again = torch.optim.AdamW(Model().parameters())
    again.load_state_dict(found["optimiser"])
    save(checkpoint, tmp_path / "lossy.tsr", per_tensor={"optimiser.*": {"rel_error": 0.01}})
    assert (tmp_path / "lossy.tsr").stat().st_size < (tmp_path / "c.tsr").stat().st_size
    assert equal(load(tmp_path / "lossy.tsr")["model"], checkpoint["model"])


def test_other_things_are_refused(tmp_path: Path) -> None:
    for bad in (
        {"f": print},
        {("a", 1): torch.ones(2)},
        {"s": {1, 2}},
        torch.ones(2, dtype=torch.complex128),
    ):
        with pytest.raises(SignalError):
            save(bad, tmp_path / "x.tsr")
    assert not list(tmp_path.iterdir())
    for tree in ('{"tensor":"nothing"}', '{"code":[]}', "[[", '{"dict":[[1]]}'):
        (file,) = TensorCodec().encode_batch([Tensors(entries={}, metadata={"tree": tree})])
        (tmp_path / "x.tsr").write_bytes(file)
        with pytest.raises(BitstreamError, match="tree"):
            load(tmp_path / "x.tsr")


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_modules_are_loaded_in_place(tmp_path: Path, device: str) -> None:
    source = Model(1)
    save(source.state_dict(), tmp_path / "m.tsr")
    with torch.device(device):
        module = Model(2)
    where = module.embed.weight.data_ptr()
    assert load_into(module, tmp_path / "m.tsr") == ([], [])
    assert equal(dict(module.state_dict()), dict(source.state_dict()))
    if device == "cpu":
        assert module.embed.weight.data_ptr() == where == module.head.weight.data_ptr()
    assert module.hidden.weight.requires_grad


def test_modules_of_another_type_and_layout(tmp_path: Path) -> None:
    source = Model(1).float()
    save(source.state_dict(), tmp_path / "m.tsr")
    module = Model(2).double()
    module.embed.weight.data = module.embed.weight.data.T.contiguous().T
    load_into(module, tmp_path / "m.tsr")
    assert equal(
        dict(module.state_dict()),
        {k: v.to(module.state_dict()[k].dtype) for k, v in source.state_dict().items()},
    )


def test_names_and_shapes_that_differ(tmp_path: Path) -> None:
    state = dict(Model(1).state_dict())
    state["surplus"] = state.pop("norm.bias")
    save(state, tmp_path / "m.tsr")
    module = Model(2)
    before = {k: v.clone() for k, v in module.state_dict().items()}
    with pytest.raises(SignalError, match="1 are missing \\(norm.bias\\), 1 are not its \\(surplus\\)"):
        load_into(module, tmp_path / "m.tsr")
    assert equal(before, dict(module.state_dict()))
    assert load_into(module, tmp_path / "m.tsr", strict=False) == (["norm.bias"], ["surplus"])
    assert torch.equal(module.hidden.weight, state["hidden.weight"])
    save({**state, "norm.bias": torch.ones(33)}, tmp_path / "m.tsr")
    with pytest.raises(SignalError, match=r"'norm.bias' is \[33\]"):
        load_into(module, tmp_path / "m.tsr", strict=False)
    with pytest.raises(FileNotFoundError):
        load_into(module, tmp_path / "nothing.tsr")


def test_damage_is_named(tmp_path: Path) -> None:
    save(Model().state_dict(), tmp_path / "m.tsr")
    data = bytearray((tmp_path / "m.tsr").read_bytes())
    data[-Reader(bytes(data)).chunk_lengths[-1]] ^= 1
    (tmp_path / "m.tsr").write_bytes(data)
    with pytest.raises(ChecksumError, match="tensor 'hidden.bias'"):
        load_into(Model(), tmp_path / "m.tsr")


def test_the_example_streams_a_cache_between_processes() -> None:
    run = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "stream_kv_cache.py")],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
    )
    assert "error of attention outputs" in run.stdout
