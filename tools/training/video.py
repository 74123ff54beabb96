"""The video trainer behind `tools/train.py video`: the codec runs over pieces of the training clips and what
its adaptive coder knows at the end is frozen.

Coding is learning here: every slot and weight moves toward what it sees. So training is coding the training
set at many qualities with one model that is never reset; what is saved is its state, with the counts cut so
that a new clip can still move it. The filters of frames are the least squares of what a pass decoded and what
it should have been; the next pass has them in its loop. The state is saved after every clip and picked up
again.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from tersor.arrays import Numbers
from tersor.codecs.video.filter_loops import WEIGHT_BITS, gather_products
from tersor.codecs.video.group import GroupSettings, encode_and_rebuild
from tersor.codecs.video.model import fresh_state, tables_of
from tersor.codecs.video.state import Codec
from tersor.codecs.video.structure import DISTANCES
from tersor.codecs.video.tables import TAPS
from tersor.entropy.binary_tables import arithmetic_tables

SUFFIXES = (".mkv", ".mp4", ".y4m")
QUALITIES = (15, 85)
SUMS = ("products", "targets")  # of a pass, for its filters
RIDGE, FLOOR = 1e-3, 1000.0  # of the mean square of a tap; squares of 8-bit differences


def read_planes(path: Path, first: int, count: int) -> list[NDArray[np.uint8]]:
    """Frames of a clip as 4:2:0 planes [T, H, W]."""
    frames: list[list[NDArray[np.uint8]]] = []
    with av.open(str(path)) as container:
        for i, frame in enumerate(container.decode(video=0)):
            if i < first:
                continue
            planes: tuple[Any, ...] = frame.reformat(format="yuv420p").planes
            rows = [
                np.frombuffer(p, np.uint8).reshape(p.height, p.line_size)[:, : p.width].copy() for p in planes
            ]
            frames.append(rows)
            if len(frames) == count:
                break
    return [np.stack([f[i] for f in frames]) for i in range(3)]


def learn(
    state: dict[str, NDArray], path: Path, count: int, side: int, effort: int, rng: random.Random
) -> tuple[int, int]:
    """Code a piece of a clip at one quality; -> (luma samples, bytes)."""
    planes = read_planes(path, rng.randrange(8), count)
    _, height, width = planes[0].shape
    y, x = (rng.randrange(max(n - side, 0) // 16 + 1) * 16 for n in (height, width))
    planes = [
        np.ascontiguousarray(p[:, y >> s : (y + side) >> s, x >> s : (x + side) >> s])
        for p, s in zip(planes, (0, 1, 1), strict=True)
    ]
    settings = GroupSettings(
        quality=rng.randint(*QUALITIES),
        effort=effort,
        low_delay=rng.random() < 0.5,
        distance=rng.choice(DISTANCES[2:5]),
    )

    def watch(c: Codec, original: NDArray[np.int16]) -> None:
        gather_products(c, original, *(state[name] for name in SUMS))

    payload, _ = encode_and_rebuild(planes, depth=8, settings=settings, tables=tables_of(state), watch=watch)
    return planes[0].size, len(payload)


def no_sums(filters: Numbers) -> dict[str, NDArray]:
    """Nothing seen yet."""
    return {"products": np.zeros((*filters.shape, TAPS)), "targets": np.zeros(filters.shape)}


def solved(products: Numbers, targets: Numbers) -> NDArray[np.int8]:
    """Filters of the least squares of what was seen, [..., TAPS]."""
    whole = products + np.swapaxes(np.tril(products, -1), -1, -2)
    mean = np.trace(products, axis1=-2, axis2=-1)[..., None, None] / TAPS
    ridge = np.eye(TAPS) * (RIDGE * mean + FLOOR)
    best = np.linalg.solve(whole + ridge, targets[..., None].astype(np.float64))[..., 0]
    return np.clip(np.round(best * (1 << WEIGHT_BITS)), -127, 127).astype(np.int8)


def frozen(state: dict[str, NDArray], count_max: int) -> dict[str, NDArray]:
    kept = {name: t for name, t in state.items() if name not in SUMS}
    return kept | {"counts": np.minimum(state["counts"], count_max).astype(np.uint8)}


def run(args: argparse.Namespace) -> None:
    folder = Path(args.out)
    folder.mkdir(parents=True, exist_ok=True)
    files = sorted(p for d in args.data for p in Path(d).rglob("*") if p.suffix.lower() in SUFFIXES)
    if not files:
        raise SystemExit(f"{', '.join(args.data)}: no clips here; give folders with {', '.join(SUFFIXES)}")
    plan = [p for n in range(args.passes) for p in random.Random(args.seed + n).sample(files, len(files))]
    checkpoint = folder / "state.safetensors"
    first, state = 0, fresh_state(arithmetic_tables())
    state |= no_sums(state["filters"])
    if checkpoint.exists():
        state = dict(load_file(checkpoint))
        with safe_open(checkpoint, "np") as f:
            first = int(f.metadata()["clips"])
    began = time.monotonic()
    for i, path in enumerate(plan[first:], first):
        n, size = learn(state, path, args.frames, args.side, args.effort, random.Random(f"{args.seed} {i}"))
        if (i + 1) % len(files) == 0 and i + 1 < len(plan):
            state["filters"] = solved(state["products"], state["targets"])
            state |= no_sums(state["filters"])
        save_file(state, checkpoint, {"clips": str(i + 1)})
        seconds = time.monotonic() - began
        print(
            f"{i + 1}/{len(plan)} {path.stem}: {8 * size / n:.3f} bits a luma sample, {seconds:.0f} s",
            flush=True,
        )
    target = folder / "video.safetensors"
    save_file(frozen(state, args.count_max), target)
    card = {
        "what": "initial state of the coder of video, its arithmetic tables, filters of frames",
        "trained_by": f"python tools/train.py video --passes {args.passes} --frames {args.frames} "
        f"--side {args.side} --effort {args.effort} --count-max {args.count_max} --seed {args.seed}",
        "data": f"{len(files)} clips",
    }
    target.with_suffix(".json").write_text(json.dumps(card, indent=1) + "\n")
    print(f"{target}: {target.stat().st_size} bytes")
