"""The trainer behind `tools/train.py filter`: the pixel filter of a released image model learns on, on
pictures that the codec really coded, and is told to leave no edges of blocks where a picture is smooth.
Transform, prior and tables stay, so the result stands on the weights that it started from.

loss = error / error before + EDGES * edges / edges before

Edges are errors of second differences of the mean colour across the lines of the 16x16 grid, in blocks where
the original is smooth: what people see as squares in skies. Crops are coded by the encoder's own search once,
before training, at qualities with more low ones than high ones.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor
from training.loop import Run, averaged

from tersor.codecs.image.latents import LatentCoder
from tersor.codecs.image.refine import refine
from tersor.codecs.image.work import analysis, at_work
from tersor.datasets.image import image_paths, load_rgb
from tersor.models.exact import ONE
from tersor.models.image import PATCH, PixelFilter
from tersor.models.image_weights import load_released
from tersor.models.prior import N_QUALITIES
from tersor.weights import release_at

SIDE = 192  # of a crop
LOW = 1.7  # of a beta distribution: qualities lean to the low end
FINE = 16  # of a level: how finely crops are kept
SMOOTH = 4.0  # levels from a sample to the next: blocks with less count as smooth
ERROR_FLOOR, EDGES_FLOOR = 0.05, 0.02
HELD_OUT = 48  # crops that are measured, not trained on
WARMUP_STEPS, LEAST_RATE = 50, 0.02
EMA = 0.995

Arrays = dict[str, NDArray[Any]]


def coded_crops(weights: Path, data: list[str], count: int, seed: int) -> Arrays:
    """Crops (`x`, uint8 [n, 3, SIDE, SIDE]), what the filter gets of them (`bare`, int16, in 1 / FINE) and
    their qualities. Half of them are the smoother ones of their pictures.
    """
    released, rng = load_released(weights, "cpu"), np.random.default_rng(seed)
    coder, model, paths = LatentCoder(released), released.model, image_paths(data)
    whole = slice(0, SIDE // PATCH)
    found: dict[str, list[Any]] = {"x": [], "bare": [], "quality": []}
    with at_work("cpu"), torch.inference_mode():
        while len(found["x"]) < count:
            picture = load_rgb(paths[rng.integers(len(paths))])
            if min(picture.shape[1:]) < SIDE:
                continue
            crops: list[tuple[float, int, Tensor]] = []
            for _ in range(4):
                top, left = (int(rng.integers(0, n - SIDE + 1)) for n in picture.shape[1:])
                crop = picture[:, top : top + SIDE, left : left + SIDE].contiguous()
                crops.append((roughness(crop[None].float()).mean().item(), len(crops), crop))
            crops.sort(key=lambda c: c[:2])
            crop = crops[rng.integers(0, 2) if rng.random() < 0.5 else rng.integers(1, 4)][2]
            at = 1 + (N_QUALITIES - 1) * rng.beta(1, LOW)
            quality, x = torch.tensor([round(at)]), crop[None].float()
            y = analysis(model, x, model.log_gain.at(quality).exp())
            latents, z, plain, _ = refine(coder, x, y, quality, (whole, whole))
            if plain.any():
                continue
            y_hat = coder.push(latents, quality, (), z) / ONE
            bare = model.base_synthesis(y_hat, model.log_ungain.at(quality).exp())[0]
            found["x"].append(crop.numpy())
            found["bare"].append((bare * FINE).round().clamp(-(1 << 15), (1 << 15) - 1).short().numpy())
            found["quality"].append(round(at))
    return {k: np.stack(v) for k, v in found.items()}


def roughness(x: Tensor) -> Tensor:
    """Mean change from a sample to the next of each block of [N, 3, H, W] -> [N, 1, H / 16, W / 16]."""
    y = x.mean(1, keepdim=True)
    across, down = F.pad(y.diff(dim=3).abs(), (0, 1)), F.pad(y.diff(dim=2).abs(), (0, 0, 0, 1))
    return F.avg_pool2d(across + down, PATCH)


def edges(error: Tensor, x: Tensor) -> Tensor:
    """Mean squared second difference of the error, [N, 3, H, W], at lines of the grid in smooth blocks of x;
    [N].
    """
    weight = F.interpolate(torch.exp(-roughness(x) / SMOOTH), scale_factor=PATCH)
    y, at = error.mean(1, keepdim=True), torch.arange(1, x.shape[3] - 1) % PATCH
    line = (at == PATCH - 1) | (at == 0)
    total = torch.zeros(len(x))
    for v, w in ((y, weight), (y.transpose(2, 3), weight.transpose(2, 3))):
        total += (v.diff(n=2, dim=3)[..., line].square() * w[..., 1:-1][..., line]).mean((1, 2, 3))
    return total


def blockiness(picture: Tensor, x: Tensor) -> float:
    """Second differences at the lines of the grid over those elsewhere, in smooth blocks."""
    smooth = F.interpolate((roughness(x) < SMOOTH / 2).float(), scale_factor=PATCH)[..., 1:-1] > 0
    at = torch.arange(1, x.shape[3] - 1) % PATCH
    line = ((at == PATCH - 1) | (at == 0)).expand_as(smooth)
    d = picture.mean(1, keepdim=True).diff(n=2, dim=3).abs()
    return float(d[smooth & line].mean() / d[smooth & ~line].mean())


def shown(net: PixelFilter, bare: Tensor, quality: Tensor) -> Tensor:
    """What a filter makes of the bare transform; its inner part in bfloat16."""
    with torch.autocast("cpu", torch.bfloat16):
        out: Tensor = net(bare, net.quality.at(quality))
    return out.float()


class Trainer:
    """The filter that learns, and the one before it, by which errors are measured."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args, self.files = args, Run(args.out)
        start = Path(args.start_from)
        cache = self.files.folder / "crops.npz"
        if not cache.exists():
            np.savez(cache, **coded_crops(start, args.data, args.crops, args.seed))
        with np.load(cache) as kept:
            self.crops: Arrays = dict(kept)
        self.before = load_released(start, "cpu").model.filter
        self.usual = self.errors_before()
        self.net = load_released(start, "cpu").model.filter.requires_grad_(True)
        self.average = averaged(self.net, EMA)
        self.adam = torch.optim.Adam(self.net.parameters(), args.lr, betas=(0.9, 0.98))

    @torch.no_grad()
    def errors_before(self) -> Tensor:
        """Squared error and edges of each crop, [2, n]."""
        found = []
        for i in range(0, len(self.crops["x"]), 4):
            x, bare, quality = self.batch(np.arange(i, min(i + 4, len(self.crops["x"]))))
            off = shown(self.before, bare, quality) - x
            found.append(torch.stack([off.square().mean((1, 2, 3)), edges(off, x)]))
        return torch.cat(found, 1)

    def batch(self, rows: NDArray[np.int64]) -> tuple[Tensor, Tensor, Tensor]:
        """Originals, what filters get, and qualities."""
        x, bare = (torch.from_numpy(self.crops[k][rows]).float() for k in ("x", "bare"))
        return x, bare / FINE, torch.from_numpy(self.crops["quality"][rows])

    def train(self) -> None:
        first = 0
        if state := self.files.load():
            first = state["step"]
            self.net.load_state_dict(state["net"])
            self.average.load_state_dict(state["average"])
            self.adam.load_state_dict(state["adam"])
        began, sums = time.monotonic(), np.zeros(2)
        last = min(self.args.stop_at or self.args.steps, self.args.steps)
        for step in self.files.steps(first, last):
            sums += self.step(step)
            if step % self.args.every == 0 or step == last or self.files.stopped:
                self.files.save(
                    {
                        "step": step,
                        "net": self.net.state_dict(),
                        "average": self.average.state_dict(),
                        "adam": self.adam.state_dict(),
                    }
                )
                error, lines = sums / self.args.every
                entry = {"step": step, "error": round(error, 4), "edges": round(lines, 4)}
                self.files.log(**entry, **self.measure(), seconds=round(time.monotonic() - began))
                sums[:] = 0
        if last == self.args.steps and not self.files.stopped:
            self.write()

    def step(self, step: int) -> tuple[float, float]:
        """One batch; error and edges over those before."""
        rng = np.random.default_rng((self.args.seed, step))
        rate = LEAST_RATE + (1 - LEAST_RATE) * (1 + math.cos(math.pi * step / self.args.steps)) / 2
        for group in self.adam.param_groups:
            group["lr"] = self.args.lr * rate * min(1, step / WARMUP_STEPS)
        rows = rng.integers(HELD_OUT, len(self.crops["x"]), self.args.batch)
        x, bare, quality = self.batch(rows)
        if rng.random() < 0.5:
            x, bare = x.flip(3), bare.flip(3)
        if rng.random() < 0.5:
            x, bare = x.transpose(2, 3), bare.transpose(2, 3)
        error, lines = self.usual[:, torch.from_numpy(rows)]
        off = shown(self.net, bare, quality) - x
        of_error = (off.square().mean((1, 2, 3)) / (error + ERROR_FLOOR)).mean()
        of_edges = (edges(off, x) / (lines + EDGES_FLOOR)).mean()
        self.adam.zero_grad()
        (of_error + self.args.edges * of_edges).backward()
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
        self.adam.step()
        self.average.update_parameters(self.net)
        return of_error.item(), of_edges.item()

    @torch.no_grad()
    def measure(self) -> dict[str, Any]:
        """On crops that are not trained on: dB gained, and blockiness before, now and of the originals."""
        gained, blocks = [], []
        for i in range(0, HELD_OUT, 4):
            x, bare, quality = self.batch(np.arange(i, i + 4))
            net = self.average.module
            now, before = (shown(f, bare, quality) for f in (net, self.before))
            errors = [(v - x).square().mean((1, 2, 3)) for v in (before, now)]
            gained += (10 * torch.log10(errors[0] / errors[1])).tolist()
            blocks.append([blockiness(v, x) for v in (before, now, x)])
        mean = np.nanmean(blocks, 0).round(3).tolist()
        return {"gained_db": round(float(np.mean(gained)), 4), "blocks": mean}

    def write(self) -> None:
        """The weights, which stand on those that training started from."""
        start = release_at(Path(self.args.start_from))
        _, metadata = start.read()
        card = {
            "name": "image-2",
            "trained_on": f"{len(self.crops['x']) - HELD_OUT} crops of photographs, coded with {start.name}",
            "note": f"the pixel filter alone; transform, prior and tables are those of {start.name}",
            "steps": self.args.steps,
            "edges": self.args.edges,
            "dev": self.measure(),
            "licence": "Apache-2.0",
        }
        kept = {
            f"filter.{k}": (v.half() if v.dim() > 1 and not k.endswith("points") else v).contiguous()
            for k, v in self.average.module.state_dict().items()
        }
        out = self.files.folder / "filter.safetensors"
        metadata = {"base": start.digest.hex(), "config": metadata["config"], "card": json.dumps(card)}
        save_file(kept, out, metadata)
        print(f"{out}: {out.stat().st_size} bytes")


def run(args: argparse.Namespace) -> None:
    Trainer(args).train()
