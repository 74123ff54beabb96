"""Write the golden files of a released version: .tsr files, the SHA-256 of the symbols and means they decode
to, and the decoded samples.

    python tools/make_golden.py tests/golden/v0.1
    python tools/make_golden.py tests/golden/v0.1 --fields     only the folder fields/

Golden files are never changed or deleted: every later version must decode them to the same integers, and to
samples within one level.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path

import numpy as np

import tersor
from tersor import container
from tersor.codecs.audio.bands import block_length
from tersor.codecs.audio.codec import AudioCodec
from tersor.codecs.audio.decode import open_header
from tersor.codecs.audio.pcm import decode_pcm
from tersor.codecs.audio.segment import read_symbols
from tersor.codecs.field.codec import FieldCodec
from tersor.codecs.image.codec import ImageCodec
from tersor.codecs.image.decode import DecodeJob
from tersor.codecs.lossless.codec import LosslessCodec
from tersor.datasets.image import render_screen
from tersor.entropy.binary_tables import adaptive_tables
from tersor.signals import Audio
from tersor.testing.samples import picture


def latent_digest(file: bytes, batch: int = 4, device: str = "cpu") -> str:
    """SHA-256 over y_hat (int32, Q8) of every tile: what must be the same on every machine."""
    codec = ImageCodec(device, batch)
    job = DecodeJob(container.Reader(file), device=device)
    codec._decode_latents([job], [(0, t) for t in range(len(job.header.grid))])
    h = hashlib.sha256()
    for t in sorted(job.latents):
        h.update(job.latents[t].cpu().contiguous().numpy().astype("<i4").tobytes())
    return h.hexdigest()


def cases() -> dict[str, tuple[np.ndarray, dict[str, int]]]:
    photo = np.ascontiguousarray(picture(200, 152))
    alpha = np.dstack([photo, (np.arange(152)[:, None] + np.arange(200)) % 256]).astype(np.uint8)
    return {
        "rgb-q50": (photo, {"quality": 50}),
        "rgb-q5-tiles": (photo, {"quality": 5, "tile": 64}),
        "rgb-q95": (photo, {"quality": 95}),
        "alpha-q60-tiles": (alpha, {"quality": 60, "tile": 128}),
        "grey-q70": (np.ascontiguousarray(photo[..., :1]), {"quality": 70}),
        "deep-q80": (photo.astype(np.uint16) * 257, {"quality": 80}),
        "text-q40": (render_screen(5, 160).permute(1, 2, 0).numpy(), {"quality": 40}),
        "pixel": (np.full((1, 1, 3), 77, np.uint8), {"quality": 50}),
    }


def field_cases() -> dict[str, tuple[np.ndarray, dict[str, object]]]:
    rng = np.random.default_rng(0)
    waves = np.add.outer(
        np.sin(np.arange(12) / 3), np.add.outer(np.cos(np.arange(40) / 9), np.arange(50) / 20)
    ) + rng.normal(0, 0.02, (12, 40, 50))
    masked = waves.astype(np.float32)
    masked[:, 5:9, 10:20] = np.nan
    return {
        "abs-f4": (masked, {"max_error": 0.01}),
        "rel-f8-blocks": (waves, {"rel_error": 1e-4, "block": 4096}),
        "pointwise-f4": (masked, {"pointwise_rel_error": 1e-2}),
        "packed-f4": (np.round(waves * 64).astype(np.float32) / 64, {"max_error": 1e-3}),
        "lossless-f4": (masked, {"lossless": True}),
        "lossless-u1": (picture(60, 40)[..., 0], {"lossless": True}),
        "short-axis-f4": (np.ascontiguousarray(masked.transpose(1, 2, 0)), {"max_error": 0.01}),
        "lossless-i4": (
            np.cumsum(rng.integers(-9999, 9999, (30, 40)), 0).astype(np.int32),
            {"lossless": True},
        ),
    }


def integer_cases() -> dict[str, np.ndarray]:
    photo = np.ascontiguousarray(picture(90, 70))
    return {
        "integers-rgb": photo,
        "integers-rgba16": np.dstack([photo, photo[..., 1]]).astype(np.uint16) * 199,
        "integers-i2": photo[..., 0].astype(np.int16) - 99,
    }


def make_fields(folder: Path) -> int:
    """Files and the digest of what each decodes to."""
    folder.mkdir(parents=True)
    files = {
        name: FieldCodec().encode_batch([x], **options)[0] for name, (x, options) in field_cases().items()
    }
    files |= {name: LosslessCodec().encode_batch([x])[0] for name, x in integer_cases().items()}
    digests = {}
    for name, file in files.items():
        (folder / f"{name}.tsr").write_bytes(file)
        digests[name] = hashlib.sha256(np.asarray(tersor.decode(file)).tobytes()).hexdigest()
    (folder / "values.json").write_text(json.dumps(digests, indent=1) + "\n")
    return len(digests)


def audio_digest(file: bytes) -> str:
    """SHA-256 over the integers of every segment: what must be the same on every machine."""
    reader = container.Reader(file)
    header = open_header(reader)
    h, tables = hashlib.sha256(), adaptive_tables(header.digest)
    for i in range(header.n_segments):
        payload = reader.chunk(i)
        if header.mode == "lossless":
            parts = [decode_pcm(payload, header.length(i), header.channels, tables, "golden")]
        else:
            frames = -(-header.length(i) // block_length(header.rate))
            _, coded, q = read_symbols(payload, header.rate, header.channels, frames, tables, "golden")
            parts = [coded.splits, coded.envelope, q]
        for part in parts:
            h.update(part.astype("<i8").tobytes())
    return h.hexdigest()


def audio_cases() -> dict[str, tuple[Audio, dict[str, float]]]:
    rng = np.random.default_rng(0)
    t = np.arange(9000) / 16000
    voice = np.sin(2 * np.pi * 160 * t) * (0.5 + 0.5 * np.sin(20 * t)) * 0.5 + 0.2 * np.sin(
        2 * np.pi * 1234 * t
    ) * (t > 0.3)
    noisy = voice + rng.normal(0, 0.004, voice.shape)
    stereo = np.stack([noisy, 0.6 * noisy + rng.normal(0, 0.002, voice.shape)], 1)
    whole = np.round(stereo * 30000).astype(np.int16)
    return {
        "voice-8k": (Audio(samples=whole[:4000, :1], rate=8000), {"bitrate": 12}),
        "stereo-q50": (Audio(samples=whole, rate=16000), {"quality": 50, "segment": 0.2}),
        "float-48k-q80": (Audio(samples=stereo[:6000].astype(np.float32), rate=48000), {"quality": 80}),
        "lossless-stereo": (Audio(samples=whole[:800], rate=44100), {"lossless": True}),
        "lossless-24": (
            Audio(samples=(np.round(stereo[:600] * 2**23).astype(np.int32) << 8), rate=96000, bits=24),
            {"lossless": True},
        ),
        "silence": (Audio(samples=np.zeros((1000, 2), np.int16), rate=11025), {"quality": 30}),
    }


def make_audio(folder: Path) -> int:
    """Files, the digests of their symbols, and the samples they decode to."""
    folder.mkdir()
    codec, digests = AudioCodec(), {}
    for name, (sound, options) in audio_cases().items():
        (file,) = codec.encode_batch([sound], **options)
        (folder / f"{name}.tsr").write_bytes(file)
        np.save(folder / f"{name}.npy", np.asarray(codec.decode_batch([file])[0]))
        digests[name] = audio_digest(file)
    (folder / "symbols.json").write_text(json.dumps(digests, indent=1) + "\n")
    return len(digests)


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("folder", type=Path)
    p.add_argument("--fields", action="store_true")
    a = p.parse_args()
    if a.fields:
        print(f"{make_fields(a.folder / 'fields')} fields in {a.folder}")
        return
    a.folder.mkdir(parents=True)
    codec = ImageCodec("cpu")
    digests = {}
    for name, (samples, options) in cases().items():
        (file,) = codec.encode_batch([np.ascontiguousarray(samples)], **options)
        (decoded,) = codec.decode_batch([file])
        (a.folder / f"{name}.tsr").write_bytes(file)
        decoded.save(a.folder / f"{name}.png")
        digests[name] = latent_digest(file)
    (a.folder / "latents.json").write_text(json.dumps(digests, indent=1) + "\n")
    print(
        f"{len(digests)} images, {make_fields(a.folder / 'fields')} fields and "
        f"{make_audio(a.folder / 'audio')} sounds in {a.folder}"
    )


if __name__ == "__main__":
    main()
