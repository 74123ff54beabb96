"""Turn a training checkpoint into released weights.

    python tools/freeze_tables.py --checkpoint runs/image/checkpoint.pt --data DIR... --out
    tersor/weights/image-1.safetensors

Rounds the prior to integers, then runs the encoder over crops of the training images at many qualities and
counts the symbols it really codes: the frozen probability tables are those counts, smoothed by a Gaussian of
the level's scale. Two rounds, because rate-distortion optimised rounding depends on the tables.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tersor.codecs.image.latents import MAX_HYPER_SYMBOL, LatentCoder
from tersor.codecs.image.refine import refine
from tersor.datasets.image import Crops, image_paths, load_rgb, render_screen
from tersor.entropy.tables import FrozenTables, counts_from_histogram
from tersor.models.image import ImageModel, ImageModelConfig
from tersor.models.image_weights import Z_BANDS, ReleasedImageModel, save_released
from tersor.models.prior import LOG_SIGMA_STEP, N_LEVELS, SIGMA_MIN

MAX_RADIUS = 255
GAUSSIAN_COUNTS = 200.0
TAIL_COUNTS = 0.02


class Histogram:
    """Counts symbols by table; takes the place of an encoder."""

    def __init__(self, y_size: int, z_size: int, y_tables: FrozenTables) -> None:
        self.counts = {
            True: np.zeros((y_size, 2 * MAX_RADIUS + 1)),
            False: np.zeros((z_size, 2 * MAX_RADIUS + 1)),
        }
        self._y = y_tables

    def push(self, symbols: np.ndarray, tables: np.ndarray, frozen: FrozenTables) -> None:
        np.add.at(
            self.counts[frozen is self._y],
            (tables, np.clip(symbols, -MAX_RADIUS, MAX_RADIUS) + MAX_RADIUS),
            1,
        )


def gaussian(sigma: float) -> np.ndarray:
    """Gaussian, with a wide tail, integrated over -MAX_RADIUS..MAX_RADIUS."""
    edges = np.arange(-MAX_RADIUS, MAX_RADIUS + 2) - 0.5
    cdf = lambda s: np.array([0.5 * math.erfc(-e / s / math.sqrt(2)) for e in edges])  # noqa: E731
    return 0.97 * np.diff(cdf(sigma)) + 0.03 * np.diff(cdf(3 * sigma))


def y_tables(histogram: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(counts, radii) of the scale levels; level 0 is certain."""
    counts, radii = [np.array([1 << 16])], [0]
    for level in range(1, N_LEVELS):
        sigma = SIGMA_MIN * math.exp(level * LOG_SIGMA_STEP)
        h = histogram[level] + histogram[level][::-1]
        counts_of_level, r = smooth(
            h + GAUSSIAN_COUNTS * gaussian(sigma), min(MAX_RADIUS, math.ceil(5 * sigma) + 2)
        )
        counts.append(counts_of_level)
        radii.append(r)
    return np.concatenate(counts), np.array(radii)


def z_tables(histogram: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(counts, radii) of the hyper-channels, band after band."""
    counts, radii = [], []
    for h in histogram:
        seen = np.flatnonzero(h) - MAX_RADIUS
        r = int(min(MAX_HYPER_SYMBOL, (np.abs(seen).max() if len(seen) else 0) + 2))
        spread = math.sqrt((h * (np.arange(len(h)) - MAX_RADIUS) ** 2).sum() / max(1, h.sum()))
        c, r = smooth(h + 0.02 * max(1, h.sum()) * gaussian(max(0.3, spread)), r)
        counts.append(c)
        radii.append(r)
    return np.concatenate(counts), np.array(radii)


def smooth(h: np.ndarray, r: int) -> tuple[np.ndarray, int]:
    inside = h[MAX_RADIUS - r : MAX_RADIUS + r + 1].copy()
    inside[0] += h[: MAX_RADIUS - r].sum()
    inside[-1] += h[MAX_RADIUS + r + 1 :].sum()
    return counts_from_histogram(inside + TAIL_COUNTS), r


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--checkpoint", required=True)
    p.add_argument("--data", nargs="+", required=True, help="folders of training images")
    p.add_argument("--out", required=True)
    p.add_argument("--note", default="", help="for the card: what the log does not say")
    p.add_argument("--crops", type=int, default=48)
    p.add_argument("--crop", type=int, default=512)
    p.add_argument("--qualities", type=int, default=12)
    a = p.parse_args()
    if Path(a.out).exists():
        raise SystemExit(
            f"{a.out} exists: files name their weights by digest, "
            "so released weights are never replaced; give new ones a new name"
        )

    state = torch.load(a.checkpoint, map_location="cpu", weights_only=True)
    model = ImageModel(ImageModelConfig.from_dict(state["config"]))
    model.load_state_dict(
        {k.removeprefix("module."): v for k, v in state["ema"].items() if k.startswith("module.")}
    )
    model.to(memory_format=torch.channels_last).eval().requires_grad_(False)  # type: ignore[call-overload]
    model.prior.freeze()
    for m in (model.log_gain, model.log_ungain, model.filter.quality):
        m.freeze()
    paths = image_paths(a.data)
    crops = Crops(
        [load_rgb(q) for q in paths[:: max(1, len(paths) // 200)]],
        [render_screen(s) for s in range(100, 108)],
        a.crop,
        seed=7,
    )
    pixels = crops.batch(a.crops).float()
    qualities = np.linspace(2, 99, a.qualities).round().astype(int)

    start = (
        np.zeros((N_LEVELS, 2 * MAX_RADIUS + 1)),
        np.zeros((Z_BANDS * model.config.hyper, 2 * MAX_RADIUS + 1)),
    )
    start[1][:, MAX_RADIUS - 20 : MAX_RADIUS + 21] = 1
    y, z = y_tables(start[0]), z_tables(start[1])
    for round_ in range(2):
        released = ReleasedImageModel(
            name="",
            digest=b"",
            model=model,
            y_tables=FrozenTables(*y),
            z_tables=FrozenTables(*z),
            card={},
            device=torch.device("cpu"),
        )
        coder = LatentCoder(released)
        histogram = Histogram(N_LEVELS, Z_BANDS * model.config.hyper, released.y_tables)
        with torch.inference_mode():
            for i, quality in enumerate(qualities):
                for x in pixels[i % 2 :: 2 if round_ == 0 else 1].split(8):
                    q = torch.full((len(x),), int(quality))
                    latents = model.analysis(x, model.log_gain.at(q).exp())
                    refined, hyper, *_ = refine(
                        coder, x, latents, q, (slice(0, latents.shape[2]), slice(0, latents.shape[3]))
                    )
                    coder.push(refined, q, [histogram] * len(x), hyper)
        y, z = y_tables(histogram.counts[True]), z_tables(histogram.counts[False])
        print(
            f"round {round_}: {int(histogram.counts[True].sum())} latents counted, "
            f"{histogram.counts[True][0].sum() / histogram.counts[True].sum():.1%} certain"
        )

    log = [json.loads(line) for line in (Path(a.checkpoint).parent / "log.jsonl").read_text().splitlines()]
    step, _, skipped, hours = state["progress"]
    card: dict[str, Any] = {
        "name": Path(a.out).stem,
        "trained_on": f"{len(paths)} photographs and crops of photographs, and rendered pages of text",
        "steps": step,
        "hours": round(hours, 2),
        "skipped_batches": skipped,
        "machine": f"{platform.machine()}, {torch.get_num_threads()} CPU threads"
        if not torch.cuda.is_available()
        else torch.cuda.get_device_name(),
        "dev": next((e for e in reversed(log) if e.get("event") == "dev"), None),
        "note": a.note,
        "licence": "Apache-2.0",
    }
    Path(a.out).parent.mkdir(parents=True, exist_ok=True)
    save_released(Path(a.out), model, y, z, card)
    Path(a.out).with_suffix(".json").write_text(json.dumps(card, indent=2) + "\n")
    print(f"{a.out}: {Path(a.out).stat().st_size} bytes")


if __name__ == "__main__":
    main()
