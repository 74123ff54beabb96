"""Stream the key-value cache of a prompt from one process to another, layer by layer, at less than 1 % error.

One process has read a long prompt and holds its cache; another is to continue. Keys and values of each layer
are coded as soon as they are there and sent through a pipe; the receiver decodes while the next layer is on
its way, and checks what attention makes of them.

    python examples/stream_kv_cache.py
"""

from __future__ import annotations

import multiprocessing
from multiprocessing.connection import Connection

import numpy as np

import tersor

LAYERS, HEADS, TOKENS, CHANNELS = 4, 4, 512, 64
ERROR = 0.08  # of keys and values, relative to their channel or token; attention averages most of it away


def layer_cache(layer: int) -> dict[str, np.ndarray]:
    """Stands in for a model: tokens that follow each other, channels of their own scale; float16."""
    rng = np.random.default_rng(layer)
    drift = np.cumsum(rng.standard_normal((2, HEADS, TOKENS, CHANNELS)), 2) * 0.05
    means = rng.normal(0, 1, (2, HEADS, 1, CHANNELS)) * np.exp2(rng.normal(0, 1, CHANNELS))
    keys, values = drift + means + rng.normal(0, 0.3, drift.shape)
    return {"k": keys.astype(np.float16), "v": values.astype(np.float16)}


def attention(cache: dict[str, np.ndarray]) -> np.ndarray:
    """What 16 queries a head read out of a layer's cache."""
    k, v = cache["k"].astype(np.float32), cache["v"].astype(np.float32)
    queries = np.random.default_rng(99).standard_normal((HEADS, 16, CHANNELS)).astype(np.float32)
    scores = queries @ k.transpose(0, 2, 1) / CHANNELS**0.5
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True) @ v


def send(pipe: Connection) -> None:
    codec = tersor.Codec("tensor")
    for layer in range(LAYERS):
        # keys: a step for each channel; values: one for each token
        rules = {"k": {"rel_error": ERROR, "groups": "channel"}, "v": {"rel_error": ERROR, "groups": "token"}}
        pipe.send_bytes(codec.encode(layer_cache(layer), per_tensor=rules))
    pipe.close()


def main() -> None:
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    sender = multiprocessing.get_context("spawn").Process(target=send, args=(theirs,))
    sender.start()
    theirs.close()
    for layer in range(LAYERS):
        file = ours.recv_bytes()
        found = tersor.decode(file)
        cache = {name: found[name].numpy() for name in found}
        exact = attention(layer_cache(layer))
        error = np.linalg.norm(attention(cache) - exact) / np.linalg.norm(exact)
        raw = sum(x.nbytes for x in cache.values())
        print(f"layer {layer}: {raw / len(file):.2f}:1, error of attention outputs {100 * error:.2f} %")
    sender.join()


if __name__ == "__main__":
    main()
