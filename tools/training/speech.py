"""The trainer behind `tools/train.py speech`: the net that decoders run (`tersor/models/speech.py`), against
what is heard of the coded sound.

Pieces of sounds are coded at random rates and levels; the loss is the disturbance of `loudness.py`, its
worst third of a second counting most, and a distance of log-mel spectra. A checkpoint is saved with every
line of the log and picked up again.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file
from torch import Tensor
from torchaudio.transforms import MelSpectrogram
from training.loop import Run, averaged

from tersor.codecs.audio.bands import band_edges, block_length
from tersor.codecs.audio.encode import ROUNDING
from tersor.codecs.audio.loudness import CRITICAL_BANDS, SPEECH_POWER, Loudness
from tersor.codecs.audio.noise_shaping import SPEECH, heights_of, step_exponents
from tersor.codecs.audio.samples import to_floats
from tersor.codecs.audio.speech_features import features_of
from tersor.codecs.audio.transform import (
    FULL_SCALE,
    analysis,
    choose_splits,
    dequantise,
    envelope_of,
    quantise,
    speech_power,
    synthesis,
)
from tersor.files.audio import SUFFIXES, read_audio
from tersor.models.speech import PREFIX, SpeechNet, grown

GAINS = (90, 250)
LEVELS = (-3.0, 1.0)
PIECE_SECONDS, PIECES = 3.2, 2
HELD_OUT = 16
WORST_FRAMES = 20
MEL_SECONDS, MEL_BANDS, MEL_FLOOR = 0.032, 48, 1e-8
MEL_WEIGHT, MEAN_WEIGHT = 0.15, 0.7
EMA = 0.99
DEV_GAINS = (110, 150, 200)


class Synthesis(torch.autograd.Function):
    """Coefficients [T, K] -> samples; the transform is orthonormal, so slopes go back through `analysis`."""

    @staticmethod
    def forward(ctx, x, splits):  # type: ignore[no-untyped-def]
        ctx.splits, ctx.block = splits, x.shape[1]
        return torch.from_numpy(synthesis(x.numpy().astype(np.float64)[None], splits)[0].astype(np.float32))

    @staticmethod
    def backward(ctx, slope):  # type: ignore[no-untyped-def]
        return torch.from_numpy(
            analysis(slope.numpy().astype(np.float64)[None].copy(), ctx.splits, ctx.block)[0].astype(
                np.float32
            )
        ), None


@dataclass
class Piece:
    """A few seconds of speech, transformed."""

    x: np.ndarray
    splits: np.ndarray
    rate: int
    ears: list[tuple[Loudness, Loudness, MelSpectrogram, Tensor, Tensor]]


def pieces(paths: list[Path]) -> list[Piece]:
    out = []
    for path in paths:
        audio = read_audio(path)
        y = to_floats(audio.samples[:, :1])
        block, n = block_length(audio.rate), int(PIECE_SECONDS * audio.rate)
        for at in range(0, min(PIECES * n, y.shape[1] - n // 3), n):
            part = y[:, at : at + n]
            part = np.pad(part, ((0, 0), (0, -part.shape[1] % block)))
            if np.sqrt((part**2).mean()) < 30:
                continue
            splits = choose_splits(part, block, band_edges(audio.rate, block))
            out.append(Piece(analysis(part.copy(), splits, block), splits, audio.rate, []))
    return out


def loss_of(net: SpeechNet, piece: Piece, gain: int, seed: int, octaves: float) -> Tensor:
    """What is heard of a piece coded at a gain and level, after the net."""
    x, block = piece.x * 2.0**octaves, piece.x.shape[2]
    edges = band_edges(piece.rate, block)
    envelope = envelope_of(x, edges)
    exponents = step_exponents(envelope, gain, SPEECH, piece.rate, block)
    q = quantise(x, envelope, exponents, edges, ROUNDING)
    features = torch.from_numpy(
        features_of(q, envelope, heights_of(envelope, exponents), piece.splits, edges)
    )
    bins = features.shape[3]
    decoded = torch.from_numpy(dequantise(q, envelope, exponents, edges, SPEECH, seed)[0].astype(np.float32))
    head = grown(decoded[None, :, :bins], torch.from_numpy(q[:, :, :bins] == 0), net(features))[0]
    y = Synthesis.apply(torch.cat([head, decoded[:, bins:]], 1), piece.splits) / (FULL_SCALE * 2.0**octaves)  # type: ignore[no-untyped-call]
    wide, fine, mel, original, floor = _ear(piece)
    heard = wide.disturbance(y, coloured=True)
    worst = torch.nn.functional.pad(heard, (0, WORST_FRAMES)).unfold(0, WORST_FRAMES, WORST_FRAMES // 2)
    worst = ((worst**6).mean(1) + 1e-8) ** (1 / 6)
    apart = (torch.log10(mel(y) + floor) - original).abs().mean()
    return (
        (worst**2).mean().sqrt() + MEAN_WEIGHT * (fine.disturbance(y) ** 2).mean().sqrt() + MEL_WEIGHT * apart
    )


def _ear(piece: Piece) -> tuple[Loudness, Loudness, MelSpectrogram, Tensor, Tensor]:
    """Loudness in critical and in fine bands, mel transform, log-mel spectrum and floor of the original; kept
    with the piece.
    """
    if not piece.ears:
        y = torch.from_numpy((synthesis(piece.x.copy(), piece.splits)[0] / FULL_SCALE).astype(np.float32))
        gain = (SPEECH_POWER / max(speech_power(piece.x, piece.rate), 1e-9)) ** 0.5
        n = 2 * int(MEL_SECONDS * piece.rate / 2)
        mel = MelSpectrogram(
            piece.rate,
            n_fft=n,
            hop_length=n // 4,
            n_mels=MEL_BANDS,
            f_min=50,
            f_max=min(8000.0, piece.rate / 2),
        )
        spectrum = mel(y)
        floor = spectrum.max() * MEL_FLOOR
        wide, fine = Loudness(y, piece.rate, gain, CRITICAL_BANDS), Loudness(y, piece.rate, gain)
        piece.ears.append((wide, fine, mel, torch.log10(spectrum + floor), floor))
    return piece.ears[0]


def run(args: argparse.Namespace) -> None:
    here = Run(args.out)
    paths = sorted(
        p
        for d in args.data
        for p in Path(d).rglob("*")
        if p.suffix.lower() in SUFFIXES and p.parent.name == "speech"
    )
    if not paths:
        raise SystemExit(f"{', '.join(args.data)}: no sounds in a folder called speech")
    random.Random(args.seed).shuffle(paths)
    kept = min(HELD_OUT, len(paths) // 2)
    held, train = pieces(paths[:kept]), pieces(paths[kept:])
    if not train or not held:
        raise SystemExit(
            "too little speech: at least two sounds are needed that last a second and are not silent"
        )
    torch.manual_seed(args.seed)
    net = SpeechNet()
    average = averaged(net, EMA)
    average.update_parameters(net)
    optimiser = torch.optim.AdamW(net.parameters(), args.lr)
    first = 0
    if state := here.load():
        net.load_state_dict(state["net"])
        average.load_state_dict(state["average"])
        optimiser.load_state_dict(state["optimiser"])
        first = state["step"]
    began, losses = time.monotonic(), []
    stop = min(args.steps, args.stop_at or args.steps)
    for step in here.steps(first, stop):
        rng = random.Random(f"{args.seed} {step - 1}")
        for group in optimiser.param_groups:
            group["lr"] = (
                args.lr * min(1.0, step / 100) * (0.51 + 0.49 * math.cos(math.pi * (step - 1) / args.steps))
            )
        optimiser.zero_grad()
        for piece in rng.choices(train, k=args.batch):
            loss = (
                loss_of(net, piece, rng.randint(*GAINS), rng.randrange(1000), rng.uniform(*LEVELS))
                / args.batch
            )
            loss.backward()  # type: ignore[no-untyped-call]
            losses.append(args.batch * float(loss.detach()))
        torch.nn.utils.clip_grad_norm_(net.parameters(), 0.3)
        optimiser.step()
        average.update_parameters(net)
        if step % args.every == 0 or step == stop or here.stopped:
            with torch.no_grad():
                each = [loss_of(average.module, p, g, 0, 0.0) for p in held for g in DEV_GAINS]
            dev = float(np.mean([float(loss) for loss in each]))
            seconds = round(time.monotonic() - began)
            here.log(
                step=step, loss=round(float(np.mean(losses)), 4), held_out=round(dev, 4), seconds=seconds
            )
            losses = []
            here.save(
                {
                    "net": net.state_dict(),
                    "average": average.state_dict(),
                    "optimiser": optimiser.state_dict(),
                    "step": step,
                }
            )
            card = {
                "trained_on": f"{len(train)} pieces of {len(paths) - kept} sounds of speech",
                "steps": step,
                "batch": args.batch,
                "held_out": round(dev, 4),
            }
            save_file(
                {PREFIX + k: v.numpy() for k, v in average.module.state_dict().items()},
                here.folder / "speech.safetensors",
                {"card": json.dumps(card)},
            )
