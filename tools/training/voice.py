"""The trainer behind `tools/train.py voice`: what the coder of speech knows at the start of a segment.

As for sound at large (`audio.py`): coding is learning, so every training sound is coded at several rates with
one model that is never reset; its state, counts cut, is what is saved. It stands on the released tables.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file
from training.audio import model_of
from training.loop import Run

from tersor.codecs.audio import segment_loops, shape_loops
from tersor.codecs.audio.bands import band_edges, block_length
from tersor.codecs.audio.encode import SHAPED_ROUNDING, SHAPED_SPLITS, SHAPED_TOLERANCE
from tersor.codecs.audio.mdct import Folder
from tersor.codecs.audio.noise_shaping import heights_of
from tersor.codecs.audio.options import CONTENTS
from tersor.codecs.audio.samples import to_floats
from tersor.codecs.audio.segment import Shaping, prepare
from tersor.codecs.audio.shapes import open_parts, parts_of, shapes_of
from tersor.codecs.audio.transform import analysis, choose_splits, quantise
from tersor.entropy.binary import AT, new_io
from tersor.entropy.binary_tables import adaptive_tables
from tersor.files.audio import SUFFIXES, read_audio
from tersor.weights import find

GAINS = (90, 250)
LEVELS = (-2.0, 1.0)
RATES = 2
PIECE_SECONDS = 5
SAVE_EVERY = 50  # files
SHAPE_COUNT_MAX = 12  # shapes differ more between sounds than coefficients do
OWN = ("voice.", "shape.")


def code(state: dict[str, np.ndarray], y: np.ndarray, rate: int, gain: int) -> int:
    """Code one folded segment of one channel; -> bytes."""
    block = block_length(rate)
    edges, parts, profile = band_edges(rate, block), parts_of(rate, block), CONTENTS["speech"]
    splits = choose_splits(y, block, edges, SHAPED_SPLITS)
    frames = prepare(analysis(y.copy(), splits, block), splits, rate, SHAPED_TOLERANCE)
    exponents = Shaping(gain=gain, profile=profile).exponents(frames.envelope, rate, block)
    q = quantise(frames.x, frames.envelope, exponents, edges, SHAPED_ROUNDING)
    io, buffer = new_io(False), np.empty(4 * q.size + 1024, np.uint8)
    model = model_of(state, "voice")
    segment_loops.code_side(io, buffer, model, splits.copy(), frames.envelope.copy())
    is_open = open_parts(frames.envelope, exponents, parts)
    shapes = shapes_of(frames.x, frames.envelope, exponents, parts)
    shape_loops.code_shapes(io, buffer, model_of(state, "shape"), is_open, parts.bands, shapes)
    tables = (state["levels"], state["powers"])
    heights = heights_of(frames.envelope, exponents)
    segment_loops.code_coefficients(io, buffer, model, tables, exponents, heights, splits, q, edges)
    return int(io[AT])


def learn(state: dict[str, np.ndarray], path: Path, seconds: float, rng: random.Random) -> tuple[float, int]:
    """Code a piece of a file at some rates and levels; -> (seconds, bytes)."""
    audio = read_audio(path)
    length = int(seconds * audio.rate)
    at = rng.randrange(max(1, len(audio.samples) - length))
    x = to_floats(audio.samples[at : at + length, :1])
    spent, size = 0.0, 0
    for _ in range(RATES):
        folder = Folder(audio.rate, PIECE_SECONDS * 50 * block_length(audio.rate))
        loud = x * 2.0 ** rng.uniform(*LEVELS)
        for y in (*folder.push(loud), *folder.finish()):
            size += code(state, y, audio.rate, rng.randint(*GAINS))
            spent += y.shape[1] / audio.rate
    return spent, size


def start(digest: bytes) -> dict[str, np.ndarray]:
    """What the base knows of coefficients of all sound; shapes know nothing."""
    tables = adaptive_tables(digest).tensors
    state = dict(tables)
    for part in ("probabilities", "counts", "weights"):
        state[f"voice.{part}"] = tables[f"audio.{part}"].copy()
    state["shape.probabilities"] = np.full(shape_loops.N_SLOTS, 1 << 21, np.int32)
    state["shape.counts"] = np.zeros(shape_loops.N_SLOTS, np.uint8)
    state["shape.weights"] = np.full((1, 1), 1 << 16, np.int32)
    return state


def run(args: argparse.Namespace) -> None:
    here = Run(args.out)
    files = sorted(
        p
        for d in args.data
        for p in Path(d).rglob("*")
        if p.suffix.lower() in SUFFIXES and p.parent.name == "speech"
    )
    if not files:
        raise SystemExit(f"{', '.join(args.data)}: no sounds in a folder called speech")
    plan = [p for n in range(args.passes) for p in random.Random(args.seed + n).sample(files, len(files))]
    base = find("audio", bytes.fromhex(args.base))
    state, first = start(base.digest), 0
    if kept := here.load():
        first, state = kept["files"], state | {k: v.numpy() for k, v in kept["state"].items()}
    began, spent, size = time.monotonic(), 0.0, 0
    for i in here.steps(first, len(plan)):
        seconds, coded = learn(state, plan[i - 1], args.seconds, random.Random(f"{args.seed} {i - 1}"))
        spent, size = spent + seconds, size + coded
        if i % SAVE_EVERY == 0 or i == len(plan) or here.stopped:
            own = {k: v for k, v in state.items() if k.startswith(OWN)}
            here.save({"files": i, "state": {k: torch.from_numpy(v) for k, v in own.items()}})
            here.log(files=i, of=len(plan), kbps=round(8 * size / spent / 1000, 3), seconds=elapsed(began))
            spent, size = 0.0, 0
    if here.stopped:
        return
    own = {k: v for k, v in state.items() if k.startswith(OWN)}
    for k in own:
        if k.endswith(".counts"):
            firm = args.count_max if k.startswith("voice.") else SHAPE_COUNT_MAX
            own[k] = np.minimum(own[k], firm).astype(np.uint8)
    card = {"trained_on": f"{len(files)} sounds of speech", "passes": args.passes, "licence": "Apache-2.0"}
    out = here.folder / "voice.safetensors"
    save_file(own, out, {"card": json.dumps(card), "base": base.digest.hex()})
    print(f"{out}: {out.stat().st_size} bytes")


def elapsed(began: float) -> int:
    return round(time.monotonic() - began)
