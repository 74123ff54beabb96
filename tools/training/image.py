"""The trainer behind `tools/train.py image`: one model for all qualities, crops of photographs and rendered
screens, Muon and AdamW, measured on development images while it learns.

tools/freeze_tables.py freezes the result into release form.
"""

from __future__ import annotations

import argparse
import io
import math
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from PIL import Image
from pytorch_optimizer import Muon
from torchvision.transforms import v2
from training.loop import Run, averaged

from tersor.datasets.image import Crops, image_paths, load_rgb, render_screen
from tersor.metrics.rate_distortion import bd_rate
from tersor.models.image import ImageModel, ImageModelConfig, lambda_of

WARMUP_STEPS = 100  # G
DECAY_FROM = 0.2  # G: of the steps; from there the rate of learning falls to zero
FILTER_WEIGHT_DECAY = 0.1  # G
DEV_POSITIONS = (0.1, 0.35, 0.6, 0.85)  # of the scale of qualities
EMA = 0.98  # G: at every fourth step


def optimisers(model: ImageModel, lr: float, weight_decay: float) -> list[torch.optim.Optimizer]:
    """Muon on the weight matrices, three times faster in the pixel filter than in the prior; AdamW on gains,
    biases and, ten times slower, the two linear transforms.
    """
    named = list(model.named_parameters())
    linear = [p for n, p in named if n.endswith("_transform")]
    matrices = {n: p for n, p in named if p.dim() == 4 and not n.endswith("_transform")}
    filters = [p for n, p in matrices.items() if n.startswith("filter.")]
    others = [p for n, p in matrices.items() if not n.startswith("filter.")]
    taken = {id(p) for p in [*linear, *matrices.values()]}
    rest = [p for _, p in named if id(p) not in taken]
    groups: list[dict[str, Any]] = [
        {"params": others, "use_muon": True},
        {"params": filters, "use_muon": True, "lr": 6 * lr, "weight_decay": FILTER_WEIGHT_DECAY},
    ]
    muon = Muon(groups, lr=2 * lr, weight_decay=weight_decay, use_adjusted_lr=True, foreach=True)
    others_of: list[dict[str, Any]] = [{"params": rest}, {"params": linear, "lr": 0.1 * lr}]
    adam = torch.optim.AdamW(others_of, lr=lr, betas=(0.9, 0.98), weight_decay=0.0)
    for o in (muon, adam):
        for g in o.param_groups:
            g["peak_lr"] = g["lr"]
    return [muon, adam]


def schedule(step: int, steps: int) -> float:
    """Warm-up, constant, then linear to zero."""
    done = step / steps
    return min(1.0, step / WARMUP_STEPS) * min(1.0, (1 - done) / (1 - DECAY_FROM))


class Dev:
    """Estimated bits and PSNR of development images, and the BD-rate against JPEG's real bytes on the same
    images.
    """

    def __init__(self, folder: str, count: int, device: str) -> None:
        paths = image_paths([folder])
        self.images = [load_rgb(p) for p in paths[:: max(1, len(paths) // count)][:count]]
        self.device = device
        curve = []
        for quality in (8, 14, 25, 45, 70, 85, 93):
            points = []
            for image in self.images:
                x = image.permute(1, 2, 0).numpy()
                file = io.BytesIO()
                Image.fromarray(x).save(file, "JPEG", quality=quality, optimize=True)
                error = np.mean((np.asarray(Image.open(file).convert("RGB")).astype(float) - x) ** 2)
                points.append((8 * file.tell() / (x.shape[0] * x.shape[1]), 10 * math.log10(255**2 / error)))
            curve.append(np.mean(points, 0))
        self.jpeg = np.array(curve)

    @torch.no_grad()
    def measure(self, model: ImageModel) -> dict[str, Any]:
        curve = []
        for t in DEV_POSITIONS:
            points = []
            for image in self.images:
                x = image[None].to(self.device).float()
                x = x[..., : x.shape[2] // 64 * 64, : x.shape[3] // 64 * 64]
                out = model(x, torch.tensor([t], device=self.device), None, True)
                error = (out.x_hat.clamp(0, 255).round() - x).square().mean().item()
                points.append((out.bits.item() / x[0, 0].numel(), 10 * math.log10(255**2 / error)))
            curve.append(np.mean(points, 0))
        a = np.array(curve)
        return {
            "bpp": a[:, 0].round(4).tolist(),
            "psnr": a[:, 1].round(3).tolist(),
            "bd_rate_jpeg": round(bd_rate(*self.jpeg.T, *a.T), 2),
        }


class Trainer:
    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.rank = int(os.environ.get("RANK", 0))
        self.world = int(os.environ.get("WORLD_SIZE", 1))
        self.device = args.device
        if self.world > 1:
            dist.init_process_group("nccl" if self.device == "cuda" else "gloo")
            if self.device == "cuda":
                self.device = f"cuda:{os.environ['LOCAL_RANK']}"
                torch.cuda.set_device(self.device)
        self.files = Run(args.out, self.rank)
        self.log = self.files.log
        torch.manual_seed(args.seed + 1000 * self.rank)

        began = time.monotonic()
        paths = image_paths(args.data)
        with ThreadPoolExecutor() as pool:
            photos = list(pool.map(load_rgb, paths))
        self.crops = Crops(
            photos, [render_screen(s) for s in range(48)], args.crop, seed=args.seed + 1000 * self.rank
        )
        self.flips = v2.Compose([v2.RandomHorizontalFlip(), v2.RandomVerticalFlip(0.1)])
        self.log(event="data", images=len(paths), seconds=round(time.monotonic() - began, 1))
        self.dev = Dev(args.dev, args.dev_images, self.device) if self.rank == 0 else None

        self.model = ImageModel(ImageModelConfig())
        if args.start_from:
            from tersor.models.image_weights import load_training_weights

            load_training_weights(self.model, Path(args.start_from))
        else:
            self.model.calibrate(Crops(photos, [], args.crop, seed=1).batch(64).float())
        self.model = self.model.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.ema = averaged(self.model, EMA)
        self.optimisers = optimisers(self.model, args.lr, args.weight_decay)
        self.noise = torch.Generator(self.device).manual_seed(args.seed + 1000 * self.rank)
        self.step, self.median, self.skipped, self.hours = 0, math.inf, 0, 0.0
        self.load()
        self.net: torch.nn.Module = self.model
        if self.world > 1:  # buffers are the same everywhere, and of types that no backend can send
            for p in self.model.parameters():
                dist.broadcast(p.data, 0)
            self.net = torch.nn.parallel.DistributedDataParallel(
                self.model, broadcast_buffers=False, init_sync=False
            )

    def save(self) -> None:
        self.files.save(
            {
                "config": self.model.config.to_dict(),
                "model": self.model.state_dict(),
                "ema": self.ema.state_dict(),
                "optimisers": [o.state_dict() for o in self.optimisers],
                "crops": self.crops.state(),
                "noise": self.noise.get_state(),
                "torch": torch.get_rng_state(),
                "progress": (self.step, self.median, self.skipped, self.hours),
            }
        )

    def load(self) -> None:
        if (state := self.files.load(self.device)) is None:
            return
        self.model.load_state_dict(state["model"])
        self.ema.load_state_dict(state["ema"])
        for o, s in zip(self.optimisers, state["optimisers"], strict=True):
            o.load_state_dict(s)
        self.crops.set_state(state["crops"])
        self.noise.set_state(state["noise"].cpu())
        torch.set_rng_state(state["torch"].cpu())
        self.step, self.median, self.skipped, self.hours = state["progress"]
        self.log(event="resumed", step=self.step)

    def train_step(self) -> tuple[float, float, float]:
        args = self.args
        x = (
            self.flips(self.crops.batch(args.batch))
            .to(self.device)
            .float()
            .contiguous(memory_format=torch.channels_last)
        )
        t = torch.rand(args.batch, generator=self.noise, device=self.device)
        out = self.net(x, t, self.noise, True)
        mse = (out.x_hat - x).square().mean((1, 2, 3))
        bpp = out.bits / args.crop**2
        lam = lambda_of(t)
        loss = (0.1 * (lam * mse + bpp) / lam.sqrt()).mean()
        value = loss.detach().clone()
        if self.world > 1:
            dist.all_reduce(value, dist.ReduceOp.AVG if self.device != "cpu" else dist.ReduceOp.SUM)
            value /= 1 if self.device != "cpu" else self.world
        now = value.item()
        for o in self.optimisers:
            o.zero_grad(set_to_none=True)
        if self.step > 200 and not now < 4 * self.median:
            self.skipped += 1
            self.log(event="skipped", step=self.step, loss=now, median=self.median, quality=t.tolist())
            return self.median, mse.mean().item(), bpp.mean().item()
        self.median = (
            now
            if not math.isfinite(self.median)
            else self.median + 0.02 * (min(now, 3 * self.median) - self.median)
        )
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for o in self.optimisers:
            for g in o.param_groups:
                g["lr"] = g["peak_lr"] * schedule(self.step, args.steps)
            o.step()
        if self.step % 4 == 0:
            self.ema.update_parameters(self.model)
        return now, mse.mean().item(), bpp.mean().item()

    def run(self) -> None:
        started, hours = time.monotonic(), self.hours
        sums, counted, since = np.zeros(3), 0, time.monotonic()
        last = min(self.args.steps, self.args.stop_at or self.args.steps)
        for step in self.files.steps(self.step, last):
            self.step = step
            sums += self.train_step()
            counted += 1
            self.hours = hours + (time.monotonic() - started) / 3600
            if self.step % 100 == 0:
                loss, mse, bpp = (sums / counted).tolist()
                seconds = (time.monotonic() - since) / counted
                self.log(
                    step=self.step,
                    loss=round(loss, 4),
                    mse=round(mse, 2),
                    bpp=round(bpp, 4),
                    seconds_per_step=round(seconds, 3),
                    skipped=self.skipped,
                )
                sums, counted, since = np.zeros(3), 0, time.monotonic()
            if self.dev and (self.step % self.args.eval_every == 0 or self.step == self.args.steps):
                self.log(
                    event="dev",
                    step=self.step,
                    hours=round(self.hours, 3),
                    **self.dev.measure(self.ema.module),
                )
                sums, counted, since = np.zeros(3), 0, time.monotonic()
            if self.step % self.args.save_every == 0:
                self.save()
        self.save()
        self.log(
            event="finished" if self.step == self.args.steps else "stopped",
            step=self.step,
            hours=round(self.hours, 3),
        )


def run(args: argparse.Namespace) -> None:
    Trainer(args).run()
