"""torch: state_dicts, modules and checkpoints in .tsr files; tensors only, so that nothing in a file can run.

    save(model.state_dict(), "model.tsr")                    load("model.tsr")
    save({"model": ..., "optimizer": optimizer.state_dict(), "step": 7}, "checkpoint.tsr")
    load_into(model, "model.tsr")                            tensor by tensor, into the parameters' memory

A tree of dicts, lists and tuples is written as its tensors, named by their path, and a JSON text that says
how they hang together and holds the numbers and words between them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from tersor.codecs.tensor.codec import TensorCodec
from tersor.container import Reader
from tersor.errors import BitstreamError, SignalError, unreadable
from tersor.files.atomic import atomic_file
from tersor.files.coerce_tensors import as_tensors
from tersor.signals.dtypes import KINDS, NUMPY_NAMES
from tersor.signals.tensors import Tensor, Tensors

TREE = "tree"  # F: in the text of the file
PLAIN = (bool, int, float, str, type(None))


def save(tree: Any, path: str | Path, *, threads: int | None = None, **options: Any) -> int:
    """Write a state_dict, or a checkpoint of several and numbers.

    Args:
        tree: tensors in dicts (keys are text or whole numbers), lists and tuples, with numbers, text and None
            between them; names that share memory are stored once.
        path: of the file.
        threads: at work; all cores if None.
        options: of the codec, such as per_tensor={"optimizer.*": {"rel_error": 0.01}}.

    Returns:
        Bytes written.

    Raises:
        SignalError: anything else in the tree.
    """
    found: dict[str, torch.Tensor] = {}
    skeleton = _take_apart(tree, "", found)
    flat = isinstance(tree, Mapping) and all(isinstance(v, torch.Tensor) for v in tree.values())
    text = {} if flat else {TREE: json.dumps(skeleton, ensure_ascii=False)}
    signal = Tensors(entries=as_tensors(found).entries, metadata=text)
    with atomic_file(Path(path)) as file:
        return TensorCodec(threads=threads).encode_to(file, signal, **options)


def load(path: str | Path, *, device: str | torch.device = "cpu", threads: int | None = None) -> Any:
    """What `save` was given, or the state_dict of a file made of safetensors. Every name has memory of its
    own, tied ones too: a module ties its own names.

    Raises:
        BitstreamError: a damaged file. SignalError: no file, or a type that torch does not have.
    """
    (signal,) = TensorCodec(threads=threads).decode_batch([path])
    found: dict[str, torch.Tensor] = {}
    given: set[int] = set()
    for name, t in signal.entries.items():  # what was stored once because it was equal may not be so for long
        value = to_torch(t, device)
        found[name] = value.clone() if id(t) in given and value.device.type == "cpu" else value
        given.add(id(t))
    if TREE not in signal.metadata:
        return found
    try:
        return _put_together(json.loads(signal.metadata[TREE]), found)
    except (KeyError, ValueError, TypeError, RecursionError) as e:
        raise BitstreamError(
            f"{path}: its tree is not one that save writes ({e!r}); the file is damaged"
        ) from e


def load_into(
    module: torch.nn.Module, path: str | Path, *, strict: bool = True, threads: int | None = None
) -> tuple[list[str], list[str]]:
    """Load parameters and buffers one after the other, in the memory of a few chunks beside the module.

    Args:
        module: on any device; parameters on the CPU are decoded in place, those on "meta" are made.
        path: of a file with a state_dict.
        strict: raise if names are missing on either side.
        threads: at work; all cores if None.

    Returns:
        Names of the module that the file has not, names of the file that the module has not.

    Raises:
        SignalError: names (if strict) or shapes differ; nothing was loaded then.
        BitstreamError: a damaged file; tensors before the damage are loaded.
    """
    own: dict[str, torch.Tensor] = module.state_dict(keep_vars=True)
    try:
        stream = Path(path).open("rb")  # noqa: SIM115 (closed below)
    except OSError as e:
        raise unreadable(path, e) from e
    with stream:
        reader, codec = Reader(stream), TensorCodec(threads=threads)
        entries = {name: t.entry for name, t in codec.open(reader).assembly.of.items()}
        missing, surplus = [n for n in own if n not in entries], [n for n in entries if n not in own]
        if strict and (missing or surplus):
            raise SignalError(
                f"{path}: of the module's names {len(missing)} are missing ({', '.join(missing[:4])}), "
                f"{len(surplus)} are not its ({', '.join(surplus[:4])}); give strict=False to load the rest"
            )
        wanted = [n for n in own if n in entries]
        for n in wanted:
            if tuple(own[n].shape) != entries[n].shape:
                raise SignalError(
                    f"{path}: '{n}' is {list(entries[n].shape)}, the module's {list(own[n].shape)}"
                )
        opened = codec.open(reader, tensors=wanted)
        names: dict[int, list[str]] = {}
        for n, target in opened.assembly.of.items():
            names.setdefault(id(target), []).append(n)
        for target in opened.assembly.targets:
            if (memory := _memory(own[names[id(target)][0]], target.entry.dtype)) is not None:
                target.use(memory)
        for target, words in zip(opened.assembly.targets, opened.blocks(), strict=True):
            value = to_torch(Tensor(dtype=target.entry.dtype, shape=target.shape, words=words), "cpu")
            for n in names[id(target)]:
                _set(module, n, own[n], value)
            target.forget()
    return missing, surplus


def _memory(t: torch.Tensor, dtype: str) -> Any:
    """A tensor's memory as bytes, if its numbers can be decoded into it."""
    if t.device.type != "cpu" or not t.is_contiguous() or t.dtype != torch_dtype(dtype) or not t.numel():
        return None
    return t.detach().reshape(-1).view(torch.uint8).numpy()


def _set(module: torch.nn.Module, name: str, old: torch.Tensor, value: torch.Tensor) -> None:
    with torch.no_grad():
        if not old.is_meta:
            if old.data_ptr() != value.data_ptr():
                old.copy_(value)
            return
    path, _, last = name.rpartition(".")
    owner, value = module.get_submodule(path), value.clone()
    if last in owner._parameters:
        owner._parameters[last] = torch.nn.Parameter(value, requires_grad=old.requires_grad)
    else:
        owner._buffers[last] = value


def to_torch(t: Tensor, device: str | torch.device = "cpu") -> torch.Tensor:
    """A torch tensor of the same bits; on the CPU it shares their memory.

    Raises:
        SignalError: torch has no such type.
    """
    dtype = torch_dtype(t.dtype)
    if not t.nbytes:
        return torch.empty(t.shape, dtype=dtype, device=device)
    return torch.from_numpy(t.words.view("u1")).view(dtype).reshape(t.shape).to(device)


def torch_dtype(dtype: str) -> torch.dtype:
    """Raises: SignalError: torch has no such type, or does not keep its numbers packed."""
    found = getattr(torch, NUMPY_NAMES.get(dtype, ""), None)
    if not isinstance(found, torch.dtype) or KINDS[dtype].bits < 8:
        raise SignalError(f"torch has no numbers of type {dtype}; tersor.decode gives their bits")
    return found


def _take_apart(x: Any, path: str, found: dict[str, torch.Tensor]) -> Any:
    """JSON of a tree whose tensors go to `found`: lists, and objects of one key that say what they are."""
    if isinstance(x, torch.Tensor):
        found[path or "tensor"] = x
        return {"tensor": path or "tensor"}
    if isinstance(x, Mapping):
        out = []
        for k, v in x.items():
            if not isinstance(k, (str, int)) or isinstance(k, bool):
                raise SignalError(f"'{path}' has the key {k!r}; allowed are text and whole numbers")
            inner = f"{path}.{k}" if path else str(k)
            out.append([k, _take_apart(v, inner, found)])
        return {"dict": out}
    if isinstance(x, (list, tuple)):
        items = [_take_apart(v, f"{path}.{i}" if path else str(i), found) for i, v in enumerate(x)]
        return {"tuple": items} if isinstance(x, tuple) else items
    if isinstance(x, PLAIN):
        return x
    raise SignalError(
        f"'{path}' is a {type(x).__name__}; allowed are tensors, dicts, lists, tuples, numbers, text and None"
    )


def _put_together(x: Any, found: Mapping[str, torch.Tensor]) -> Any:
    if isinstance(x, list):
        return [_put_together(v, found) for v in x]
    if isinstance(x, dict):
        ((what, inside),) = x.items()
        if what == "tensor":
            return found[inside]
        if what == "tuple":
            return tuple(_put_together(v, found) for v in inside)
        return {k: _put_together(v, found) for k, v in {"dict": inside}[what]}
    return x
