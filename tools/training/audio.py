"""The audio trainer behind `tools/train.py audio`: the adaptive coder runs over the training sounds and what
it knows at the end is frozen.

Coding is learning here: every slot and weight moves toward what it sees. So training is coding the training
set at many rates with one model that is never reset; what is saved is its state, with the counts cut so that
a new sound can still move it. The state is saved every 25 files and picked up again.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import load_file, save_file
from training.loop import Run

from tersor.codecs.audio import pcm_loops, segment_loops
from tersor.codecs.audio.bands import band_edges, block_length
from tersor.codecs.audio.encode import ROUNDING
from tersor.codecs.audio.mdct import Folder
from tersor.codecs.audio.noise_shaping import EXPONENTS_PER_OCTAVE, PROFILES, heights_of, step_exponents
from tersor.codecs.audio.pcm import encode_pcm
from tersor.codecs.audio.samples import to_floats
from tersor.codecs.audio.segment import prepare
from tersor.codecs.audio.transform import analysis, choose_splits, quantise
from tersor.entropy.binary import new_io
from tersor.entropy.binary_tables import ARITHMETIC, arithmetic_tables, tables_from
from tersor.files.audio import SUFFIXES, read_audio

GAINS = (-60, 330)
PCM_SECONDS = 3
SAVE_EVERY = 25  # files


def fresh() -> dict[str, np.ndarray]:
    """A state that knows nothing, and the tables of the arithmetic."""
    out: dict[str, np.ndarray] = dict(arithmetic_tables())
    out["levels"] = np.array(
        [0, *(((v**4).bit_length()) for v in range(1, segment_loops.MAGNITUDE_MAX + 1))], np.int32
    )
    r = segment_loops.POWER_RANGE
    out["powers"] = np.round(4096 * 2.0 ** (np.arange(-r, r + 1) / EXPONENTS_PER_OCTAVE)).astype(np.int64)
    for name, loops in (("audio", segment_loops), ("pcm", pcm_loops)):
        out[f"{name}.probabilities"] = np.full(loops.N_SLOTS, 1 << 21, np.int32)
        out[f"{name}.counts"] = np.zeros(loops.N_SLOTS, np.uint8)
        weights = np.full((loops.N_ROWS, loops.N_INPUTS), 65536 * 3 // 10, np.int32)
        weights[loops.ROW_SINGLE] = 0
        weights[loops.ROW_SINGLE, 0] = 65536
        out[f"{name}.weights"] = weights
    return out


def model_of(state: dict[str, np.ndarray], name: str) -> tuple[np.ndarray, ...]:
    """The state itself, which coding changes."""
    return tuple(state[f"{name}.{part}"] for part in ("probabilities", "counts", "weights")) + tuple(
        state[part] for part in ARITHMETIC
    )


def learn(state: dict[str, np.ndarray], path: Path, seconds: float, rng: random.Random) -> tuple[int, int]:
    """Code a piece of a file at two rates, and without loss; -> (samples, bytes)."""
    audio = read_audio(path)
    x: NDArray[Any] = audio.samples[:, :1] if path.parent.name == "speech" else audio.samples
    length = int(seconds * audio.rate)
    at = rng.randrange(max(1, len(x) - length))
    x = x[at : at + length]
    block = block_length(audio.rate)
    edges = band_edges(audio.rate, block)
    model = model_of(state, "audio")
    total = 0
    for y in _segments(to_floats(x), audio.rate, block):
        splits = choose_splits(y, block, edges)
        frames = prepare(analysis(y, splits, block), splits, audio.rate)
        for _ in range(2):
            exponents = step_exponents(
                frames.envelope, rng.randint(*GAINS), rng.choice(PROFILES), audio.rate, block
            )
            q = quantise(frames.x, frames.envelope, exponents, edges, ROUNDING)
            io, buffer = new_io(False), np.empty(4 * q.size + 1024, np.uint8)
            segment_loops.code_side(io, buffer, model, splits.copy(), frames.envelope.copy())
            segment_loops.code_coefficients(
                io,
                buffer,
                model,
                (state["levels"], state["powers"]),
                exponents,
                heights_of(frames.envelope, exponents),
                splits,
                q,
                edges,
            )
            total += int(io[3])
    if audio.samples.dtype.kind == "f":
        x = np.round(np.clip(x, -1, 1) * 32767).astype(np.int16)
    encode_pcm(x[: PCM_SECONDS * audio.rate], tables_from(state), model_of(state, "pcm"))
    return x.size, total


def _segments(y: np.ndarray, rate: int, block: int) -> list[np.ndarray]:
    folder = Folder(rate, 250 * block)
    return [*folder.push(y), *folder.finish()]


def frozen(state: dict[str, np.ndarray], count_max: int) -> dict[str, np.ndarray]:
    out = dict(state)
    for name in ("audio", "pcm"):
        out[f"{name}.counts"] = np.minimum(state[f"{name}.counts"], count_max).astype(np.uint8)
    return out


def run(args: argparse.Namespace) -> None:
    here = Run(args.out)
    files = sorted(p for d in args.data for p in Path(d).rglob("*") if p.suffix.lower() in SUFFIXES)
    if not files:
        raise SystemExit(
            f"{', '.join(args.data)}: no sounds here; give folders with {', '.join(sorted(SUFFIXES))}"
        )
    plan = [
        (n, p) for n in range(args.passes) for p in random.Random(args.seed + n).sample(files, len(files))
    ]
    first, state = 0, fresh()
    if kept := here.load():
        first, state = kept["files"], {k: v.numpy() for k, v in kept["state"].items()}
    began = time.monotonic()
    samples = size = 0
    for i in here.steps(first, len(plan)):
        _, path = plan[i - 1]
        n, b = learn(state, path, args.seconds, random.Random(f"{args.seed} {i - 1}"))
        samples, size = samples + n, size + b
        if i % SAVE_EVERY == 0 or i == len(plan) or here.stopped:
            here.save({"files": i, "state": {k: torch.from_numpy(v) for k, v in state.items()}})
            rate = round(4 * size / samples, 4)
            seconds = round(time.monotonic() - began, 1)
            here.log(files=i, of=len(plan), bits_per_sample=rate, seconds=seconds)
            samples = size = 0
    if here.stopped:
        return
    card: dict[str, object] = {
        "name": "audio-1",
        "trained_on": f"{len(files)} sounds, {sum(p.parent.name == 'speech' for p in files)} of them speech",
        "passes": args.passes,
        "seconds_of_a_sound": args.seconds,
        "licence": "Apache-2.0",
    }
    speech = {}
    if args.speech:
        speech = load_file(args.speech)
        with safe_open(args.speech, "np") as f:
            card["speech_net"] = json.loads((f.metadata() or {}).get("card", "{}"))
    out = here.folder / "audio.safetensors"
    save_file({**frozen(state, args.count_max), **speech}, out, {"card": json.dumps(card)})
    print(f"{out}: {out.stat().st_size} bytes")
