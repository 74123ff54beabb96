"""Golden files: what a released version wrote. Every later version decodes them to the same integers, on any
machine, and to samples within a stated distance.

    FAMILIES: inputs and options -> .tsr files | digest of the integers in each | decoded samples
    python -m tersor.testing.golden FILE...    -> JSON, for a run under each of SETTINGS

A new codec adds a family; `tools/make_golden.py` writes its files once, at the release that brings it.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from tersor.api import Codec, decode
from tersor.arrays import Samples
from tersor.files.coerce import video_of_rgb
from tersor.signals import Audio
from tersor.signals.timing import Timing
from tersor.signals.video import Video, VideoFormat
from tersor.testing import samples
from tersor.testing.samples import clip, picture

Asked = dict[str, Any]  # options, of any codec
Cases = dict[str, tuple[str, object, Asked]]  # name -> codec, signal, options

# What a decoder may meet: environment variables of a process that decodes.
SETTINGS: dict[str, dict[str, str]] = {
    "as it is": {},
    "no vectors": {
        "ATEN_CPU_CAPABILITY": "default",
        "ONEDNN_MAX_CPU_ISA": "SSE41",
        "NUMBA_CPU_NAME": "generic",
        "NUMBA_CPU_FEATURES": "",
        "NPY_DISABLE_CPU_FEATURES": "AVX512F AVX2 FMA3",
    },
    "avx2": {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"},
    "one thread": {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"},
    "uncompiled": {"NUMBA_DISABLE_JIT": "1"},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """Golden files of one kind.

    Attributes:
        folder: below that of a version; "" is the version's own.
        digests: the file with the digest of each.
        suffix: of the decoded samples kept beside each file, ".png" or ".npy"; "" where the digest is of the
            samples themselves.
        cases: what is coded.
        integers: the arrays that are the same on every machine, from a file.
        runs: ways to decode them that must not matter, as keyword arguments of `integers`.
    """

    folder: str
    digests: str
    suffix: str
    cases: Callable[[], Cases]
    integers: Callable[..., Iterable[Samples]]
    runs: tuple[Asked, ...] = ({},)

    def digest(self, file: bytes, **run: Any) -> str:
        """SHA-256 over the integers."""
        h = hashlib.sha256()
        for part in self.integers(file, **run):
            h.update(np.ascontiguousarray(part).tobytes())
        return h.hexdigest()

    def files(self, root: Path) -> list[Path]:
        """Of every version in a folder of versions."""
        return sorted(root.glob(f"*/{self.folder}/*.tsr" if self.folder else "*/*.tsr"))

    def expected(self, path: Path) -> str:
        """The digest kept for a file."""
        return str(json.loads((path.parent / self.digests).read_text())[path.stem])

    def write(self, version: Path) -> int:
        """The files of a version that is being released, but those that are there; -> how many."""
        folder = version / self.folder
        folder.mkdir(parents=True, exist_ok=True)
        digests = folder / self.digests
        kept: dict[str, str] = json.loads(digests.read_text()) if digests.exists() else {}
        new = {name: case for name, case in self.cases().items() if name not in kept}
        for name, (codec, signal, options) in new.items():
            file = Codec(codec, device="cpu").encode(signal, **options)
            (folder / f"{name}.tsr").write_bytes(file)
            kept[name] = self.digest(file)
            if self.suffix == ".npy":
                np.save(folder / f"{name}.npy", np.asarray(decode(file, device="cpu")))
            elif self.suffix:
                decode(file, device="cpu").save(folder / f"{name}{self.suffix}")
        digests.write_text(json.dumps(kept, indent=1) + "\n")
        return len(new)


def image_cases() -> Cases:
    from tersor.datasets.image import render_screen

    photo = np.ascontiguousarray(picture(200, 152))
    alpha = np.dstack([photo, (np.arange(152)[:, None] + np.arange(200)) % 256]).astype(np.uint8)
    text = np.ascontiguousarray(render_screen(5, 160).permute(1, 2, 0).numpy())
    mixed = photo[:130, :150].copy()  # tiles of latents, WebP and JPEG
    mixed[:64, 64:] = (np.indices((64, 86)).sum(0) % 2 * 255)[..., None]
    mixed[64:128, :64] = np.random.default_rng(0).integers(0, 256, (64, 64, 3))
    grey = (np.indices((40, 50)).sum(0) % 3 * 90).astype(np.uint8)[..., None]
    return {
        "rgb-q50": ("image", photo, {"quality": 50}),
        "rgb-q5-tiles": ("image", photo, {"quality": 5, "tile": 64}),
        "rgb-q95": ("image", photo, {"quality": 95}),
        "alpha-q60-tiles": ("image", alpha, {"quality": 60, "tile": 128}),
        "grey-q70": ("image", np.ascontiguousarray(photo[..., :1]), {"quality": 70}),
        "deep-q80": ("image", photo.astype(np.uint16) * 257, {"quality": 80}),
        "text-q40": ("image", text, {"quality": 40}),
        "samples-q80-tiles": ("image", mixed, {"quality": 80, "tile": 64}),
        "samples-grey-q50": ("image", grey, {"quality": 50}),
        "pixel": ("image", np.full((1, 1, 3), 77, np.uint8), {"quality": 50}),
    }


def field_cases() -> Cases:
    rng = np.random.default_rng(0)
    waves = np.add.outer(
        np.sin(np.arange(12) / 3), np.add.outer(np.cos(np.arange(40) / 9), np.arange(50) / 20)
    ) + rng.normal(0, 0.02, (12, 40, 50))
    masked = waves.astype(np.float32)
    masked[:, 5:9, 10:20] = np.nan
    steps = np.cumsum(rng.integers(-9999, 9999, (30, 40)), 0).astype(np.int32)
    photo = np.ascontiguousarray(picture(90, 70))
    return {
        "abs-f4": ("field", masked, {"max_error": 0.01}),
        "rel-f8-blocks": ("field", waves, {"rel_error": 1e-4, "block": 4096}),
        "pointwise-f4": ("field", masked, {"pointwise_rel_error": 1e-2}),
        "packed-f4": ("field", np.round(waves * 64).astype(np.float32) / 64, {"max_error": 1e-3}),
        "lossless-f4": ("field", masked, {"lossless": True}),
        "lossless-u1": ("field", picture(60, 40)[..., 0], {"lossless": True}),
        "short-axis-f4": ("field", np.ascontiguousarray(masked.transpose(1, 2, 0)), {"max_error": 0.01}),
        "lossless-i4": ("field", steps, {"lossless": True}),
        "nested-e1-f4": ("field", masked, {"max_error": 0.01, "effort": 1}),
        "nested-e9-f8": ("field", waves, {"rel_error": 1e-4, "effort": 9}),
        "nested-2d-f4": ("field", np.ascontiguousarray(waves[0]).astype(np.float32), {"rel_error": 1e-3}),
        "nested-5d-f4": ("field", waves.reshape(2, 6, 8, 5, 50).astype(np.float32), {"rel_error": 1e-3}),
        "nested-lanes-f4": ("field", np.tile(waves, (3, 1, 1)).astype(np.float32), {"rel_error": 1e-2}),
        "nested-escapes-f4": ("field", (waves**9).astype(np.float32), {"max_error": 1e-4}),
        "integers-rgb": ("lossless", photo, {}),
        "integers-rgba16": ("lossless", np.dstack([photo, photo[..., 1]]).astype(np.uint16) * 199, {}),
        "integers-i2": ("lossless", photo[..., 0].astype(np.int16) - 99, {}),
    }


def audio_cases() -> Cases:
    rng = np.random.default_rng(0)
    t = np.arange(9000) / 16000
    voice = np.sin(2 * np.pi * 160 * t) * (0.5 + 0.5 * np.sin(20 * t)) * 0.5 + 0.2 * np.sin(
        2 * np.pi * 1234 * t
    ) * (t > 0.3)
    noisy = voice + rng.normal(0, 0.004, voice.shape)
    stereo = np.stack([noisy, 0.6 * noisy + rng.normal(0, 0.002, voice.shape)], 1)
    whole = np.round(stereo * 30000).astype(np.int16)
    deep = np.round(stereo[:600] * 2**23).astype(np.int32) << 8
    sounds: dict[str, tuple[Audio, Asked]] = {
        "voice-8k": (Audio(samples=whole[:4000, :1], rate=8000), {"bitrate": 12}),
        "speech-16k": (
            Audio(samples=np.round(32000 * samples.voice(1.2)).astype(np.int16)[:, None], rate=16000),
            {"bitrate": 10},
        ),
        "stereo-q50": (Audio(samples=whole, rate=16000), {"quality": 50, "segment": 0.2}),
        "float-48k-q80": (Audio(samples=stereo[:6000].astype(np.float32), rate=48000), {"quality": 80}),
        "lossless-stereo": (Audio(samples=whole[:800], rate=44100), {"lossless": True}),
        "lossless-24": (Audio(samples=deep, rate=96000, bits=24), {"lossless": True}),
        "silence": (Audio(samples=np.zeros((1000, 2), np.int16), rate=11025), {"quality": 30}),
    }
    return {name: ("audio", sound, options) for name, (sound, options) in sounds.items()}


def tensor_cases() -> Cases:
    """Every kind of chunk, layout and bound, small."""
    from tersor.signals.dtypes import KINDS
    from tersor.signals.tensors import Tensor

    rng = np.random.default_rng(0)
    scale = np.exp2(rng.normal(0, 1, (24, 1)) + rng.normal(0, 2, 96))
    x = (rng.standard_normal((24, 96)) * scale).astype(np.float32)
    half = x.astype(np.float16)
    bits = Tensor(dtype="BF16", shape=x.shape, words=(x.view(np.uint32) >> 16).astype(np.uint16).reshape(-1))
    eight = Tensor(dtype="F8_E4M3", shape=(2000,), words=rng.integers(0, 99, 2000).astype(np.uint8))
    mixed = np.where(np.arange(24)[:, None] % 3 == 0, half, x).astype(np.float32)
    cache = np.cumsum(rng.normal(0, 0.2, (2, 3, 40, 16)), 2).astype(np.float32)
    exact: dict[str, object] = {"f4": x, "f2": half, "f8": x.astype(np.float64), "b2": bits, "e4m3": eight}
    exact |= {"mixed": mixed, "rounded": half.astype(np.float32), "ids": np.arange(900)}
    exact |= {"again": np.tile(x[0], 40), "zero": np.zeros(7), "empty": np.zeros((0, 3))}
    exact |= {"scalar": np.float32(-0.0), "tied": mixed.copy()}
    channels = {"rel_error": 0.02, "groups": "channel"}
    state = rng.standard_normal((400, 24))
    mixes = rng.standard_normal((4, 24, 16))
    heads = np.einsum("tc,hcd->htd", state, mixes).astype(np.float16)
    types: dict[str, object] = {}
    for name, kind in KINDS.items():  # every pattern: NaN with payloads, subnormals
        raw = rng.integers(0, 2 if name == "BOOL" else 256, 300 * kind.bits // 8, dtype=np.uint8)
        words = np.frombuffer(raw.tobytes(), f"<u{kind.word}")
        types[name] = Tensor(dtype=name, shape=(300,), words=words)
    return {
        "exact": ("tensor", exact, {}),
        "max-error-anchors": ("tensor", {"k": cache}, {"max_error": 0.01, "anchor": 10}),
        "rel-error-channels": ("tensor", {"k": cache.astype(np.float16)}, channels),
        "cosine": ("tensor", {"k": cache, "b": bits}, {"cosine_error": 1e-3}),
        "across-heads": ("tensor", {"kv": heads}, {"rel_error": 0.02}),
        "bits-per-value": ("tensor", {"k": cache, "b": bits}, {"bits_per_value": 4}),
        "every-type": ("tensor", types, {}),
    }


def image_integers(file: bytes, batch: int = 4, device: str = "cpu") -> Iterable[Samples]:
    from tersor.codecs.image.symbols import latents

    return (y.cpu().numpy().astype("<i4") for y in latents(file, device=device, batch=batch))


def tensor_integers(file: bytes) -> Iterable[Samples]:
    for name, t in decode(file, device="cpu").entries.items():
        yield np.frombuffer(f"{name} {t.dtype} {list(t.shape)}".encode(), np.uint8)
        yield t.words


def audio_integers(file: bytes) -> Iterable[Samples]:
    from tersor.codecs.audio.symbols import symbols

    return (part.astype("<i8") for segment in symbols(file) for part in segment)


def overfit_cases() -> Cases:
    """Small, since they are decoded without a compiler too."""
    photo = np.ascontiguousarray(picture(52, 40))
    alpha = np.dstack([photo[..., 0], (np.arange(40)[:, None] + np.arange(52)) % 256]).astype(np.uint8)
    asked = {"iterations": 150, "quality": 100}
    return {
        "rgb-best": ("image-overfit", photo, asked),
        "rgb-fast-tiles": (
            "image-overfit",
            np.ascontiguousarray(picture(90, 70)),
            asked | {"preset": "fast", "tile": 64},
        ),
        "grey-normal": (
            "image-overfit",
            np.ascontiguousarray(photo[..., :1]),
            asked | {"preset": "normal"},
        ),
        "alpha-16": ("image-overfit", alpha.astype(np.uint16) * 257, asked | {"preset": "fast"}),
    }


def video_cases() -> Cases:
    """Small, since they are decoded without a compiler too."""
    colours = video_of_rgb(clip(40, 24, 6), 25)
    luma, *chroma = colours.planes
    half = tuple(np.ascontiguousarray(p[:, ::2, ::2]) for p in chroma)
    wide = tuple(np.ascontiguousarray(p[:, :, ::2]) for p in chroma)

    def video(planes: tuple[Samples, ...], subsampling: str, depth: int = 8) -> Video:
        frames, height, width = planes[0].shape
        form = VideoFormat(width=width, height=height, depth=depth, subsampling=subsampling)
        return Video(planes=planes, format=form, timing=Timing.constant(Fraction(25), frames))

    whole = video((luma, *half), "420")
    deep = tuple(np.ascontiguousarray(p.astype(np.uint16) << 2) for p in colours.planes)
    odd = (luma[:, :23, :37], *(p[:, :12, :19] for p in half))
    noise = np.random.default_rng(0).integers(0, 256, (2, 16, 16), dtype=np.uint8)
    still = np.random.default_rng(1).integers(0, 60, (1, 128, 128), dtype=np.uint8).repeat(6, 0)
    y, x = np.mgrid[:64, :64]
    tone, across = np.sin(0.31 * x + 0.13 * y), np.tanh(2 * np.sin(0.2 * x - 0.17 * y))
    waves = tuple(
        np.round(p).astype(np.uint8)[None].repeat(2, 0)
        for p in (110 + 0.4 * x + 40 * across, 128 + 60 * tone, 128 - 50 * tone)
    )
    videos: dict[str, tuple[Video, Asked]] = {
        "pyramid-q50": (whole, {"quality": 50}),
        "chain-q30": (whole, {"quality": 30, "low_delay": True}),
        "chain-444-q45": (colours, {"quality": 45, "low_delay": True}),
        "groups-q70": (whole, {"quality": 70, "group": 4}),
        "odd-q40": (video(odd, "420"), {"quality": 40}),
        "wide-422-q55": (video((luma, *wide), "422"), {"quality": 55.25}),
        "colour-444-q60": (colours, {"quality": 60}),
        "filtered-444-q50": (video(waves, "444"), {"quality": 50}),
        "deep-444-q90": (video(deep, "444", 10), {"quality": 90}),
        "grey-q20": (video((luma,), "400"), {"quality": 20}),
        "noise-q100": (video((noise,), "400"), {"quality": 100}),
        "still-q50": (video((still,), "400"), {"quality": 50}),
        "pixel": (video((luma[:1, :1, :1], *(p[:1, :1, :1] for p in half)), "420"), {"quality": 50}),
    }
    return {name: ("video", v, options) for name, (v, options) in videos.items()}


def video_integers(file: bytes) -> Iterable[Samples]:
    return (p.astype("<u2") for p in decode(file).planes)


FAMILIES: dict[str, Family] = {
    "overfit": Family(
        folder="overfit",
        digests="samples.json",
        suffix="",
        cases=overfit_cases,
        integers=lambda file: [np.asarray(decode(file))],
    ),
    "image": Family(
        folder="",
        digests="latents.json",
        suffix=".png",
        cases=image_cases,
        integers=image_integers,
        runs=({"batch": 1}, {"batch": 3}),
    ),
    "fields": Family(
        folder="fields",
        digests="values.json",
        suffix="",
        cases=field_cases,
        integers=lambda file: [np.asarray(decode(file, device="cpu"))],
    ),
    "tensors": Family(
        folder="tensors", digests="values.json", suffix="", cases=tensor_cases, integers=tensor_integers
    ),
    "audio": Family(
        folder="audio", digests="symbols.json", suffix=".npy", cases=audio_cases, integers=audio_integers
    ),
    "video": Family(
        folder="video", digests="planes.json", suffix="", cases=video_cases, integers=video_integers
    ),
}


def levels_off(family: Family, path: Path) -> float:
    """The largest distance of what a file decodes to from the samples kept beside it: in levels of 8 bits for
    pictures, of 16 bits for sound; infinite where sound without loss, or alpha, differs at all.
    """
    decoded = np.asarray(decode(path.read_bytes(), device="cpu"))
    if family.suffix == ".npy":
        kept = np.load(path.with_suffix(".npy"))
    else:
        from tersor.files.image import read_image

        kept = read_image(path.with_suffix(family.suffix)).samples
    if decoded.dtype != kept.dtype or decoded.shape != kept.shape:
        return float("inf")
    apart = float(np.abs(decoded.astype(np.float64) - kept).max(initial=0))
    exact = ("lossless" in path.stem and apart) or ("alpha" in path.stem and (decoded != kept)[..., -1].any())
    if exact:
        return float("inf")
    if family.suffix == ".npy":
        return apart if decoded.dtype.kind == "i" else apart * 2.0**15
    return apart / (257 if decoded.dtype == np.uint16 else 1)


def run_under(setting: str, name: str, paths: Iterable[Path]) -> dict[Path, tuple[list[str], float]]:
    """Decode files of a family in a process of its own; -> the digests, one a run, and `levels_off`, 0 where
    no samples are kept.
    """
    command = [sys.executable, "-W", "ignore", "-m", "tersor.testing.golden", name, *map(str, paths)]
    run = subprocess.run(command, env=os.environ | SETTINGS[setting], capture_output=True, text=True)
    if run.returncode:
        raise RuntimeError(f"golden files of {name} under '{setting}':\n{run.stderr}")
    return {Path(p): (digests, off) for p, (digests, off) in json.loads(run.stdout).items()}


def main(name: str, *paths: str) -> None:
    family, out = FAMILIES[name], {}
    for path in map(Path, paths):
        digests = [family.digest(path.read_bytes(), **run) for run in family.runs]
        out[str(path)] = digests, levels_off(family, path) if family.suffix else 0.0
    sys.stdout.write(json.dumps(out))


if __name__ == "__main__":
    main(*sys.argv[1:])
