"""`tersor bench`: images and megapixels a second, and the split by stage. Medians of several runs, after a
warm-up.

Beside our coder the speed of CompressAI's own, on the same symbols and tables, if it is installed.
"""

from __future__ import annotations

import time

import numpy as np
import torch
from numpy.typing import NDArray

from tersor.arrays import Numbers
from tersor.codecs.image.codec import ImageCodec
from tersor.codecs.image.latents import LatentCoder
from tersor.codecs.parallel import in_parts
from tersor.entropy.rans import SymbolDecoder, SymbolEncoder
from tersor.entropy.tables import FrozenTables
from tersor.errors import SignalError
from tersor.evaluate.lab import Figures, Paths, check_counts, load_images, shares, split_text, timed
from tersor.models import exact, exact_compiled
from tersor.models.image_weights import load_image_model
from tersor.signals import Image
from tersor.testing.samples import picture


class SymbolRecorder:
    """Takes the place of an encoder and keeps what it is given."""

    def __init__(self) -> None:
        self.runs: list[tuple[Numbers, Numbers, FrozenTables]] = []

    def push(self, symbols: Numbers, tables: Numbers, frozen: FrozenTables) -> None:
        self.runs.append((symbols, tables, frozen))


def coder_speed(device: str, image: NDArray[np.uint8], quality: int, repeat: int) -> dict[str, float]:
    """Millions of latent symbols a second, ours and CompressAI's, on the latents of one image."""
    released = load_image_model(None, device)
    model = released.model
    h, w = (max(16, v // 16 * 16) for v in image.shape[:2])
    if min(image.shape[:2]) < 16:
        raise SignalError(
            f"an image of {image.shape[1]}x{image.shape[0]} is too small to time; "
            "use some of at least 16 pixels a side"
        )
    q = torch.tensor([quality], device=device)
    with torch.inference_mode():
        x = torch.from_numpy(image[:h, :w]).permute(2, 0, 1)[None].float().to(device)
        y = model.analysis(x, model.log_gain.at(q).exp())
        recorder = SymbolRecorder()
        LatentCoder(released).push(y, q, [recorder])
    runs = [(s, t) for s, t, frozen in recorder.runs if frozen is released.y_tables]
    symbols, tables = (np.concatenate(v) for v in zip(*runs, strict=True))
    coded = tables > 0
    count = len(symbols) / 1e6

    def encode() -> bytes:
        e = SymbolEncoder()
        e.push(symbols, tables, released.y_tables)
        return e.finish()

    payload = encode()
    out = {
        "ours_encode": count / timed(encode, repeat, False)[0],
        "ours_decode": count
        / timed(lambda: SymbolDecoder(payload, "bench").pop(tables, released.y_tables), repeat, False)[0],
    }
    try:
        from compressai import ans
    except ImportError:
        return out
    radii = released.y_tables.radii
    cdfs = [
        [0, *np.round(np.cumsum(2.0**-b) * 65535).astype(int).tolist(), 65536] for b in released.y_tables.bits
    ]
    sizes, offsets = [len(c) for c in cdfs], (-radii).tolist()
    few, few_tables = (
        symbols[coded].astype(int),
        tables[coded].astype(int),
    )  # it has no certain table: only what we code too
    args = (few_tables.tolist(), cdfs, sizes, offsets)
    string = ans.RansEncoder().encode_with_indexes(few.tolist(), *args)
    # The lists are made on every call, as CompressAI's own entropy models do.
    out["compressai_encode"] = (
        count
        / timed(
            lambda: ans.RansEncoder().encode_with_indexes(few.tolist(), few_tables.tolist(), *args[1:]),
            repeat,
            False,
        )[0]
    )
    out["compressai_decode"] = (
        count
        / timed(
            lambda: ans.RansDecoder().decode_with_indexes(string, few_tables.tolist(), *args[1:]),
            repeat,
            False,
        )[0]
    )
    return out


def exact_speed(device: str, repeat: int) -> dict[str, float]:
    """Tera-operations a second of one layer of the prior (1536 positions, 3x3, 160 channels): int16 pairs,
    which decoders use on x86 CPUs with numba; float64, which they use elsewhere; and four int8 products of
    8-bit digits.

    `int8_digits_agree` is 0 where the library's int8 product is not exact: CPUs without VNNI saturate its
    16-bit partial sums.
    """
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(-1000, 1000, (1, 160, 32, 48), dtype=torch.int32, generator=generator).to(device)
    rows = exact.columns(x, 3)
    weights = torch.randint(-3000, 3000, (rows.shape[1], 160), generator=generator).double().to(device)
    digits = torch.cat(int8_digits(weights), 1)

    def by_digits() -> torch.Tensor:
        high, low = torch._int_mm(torch.cat(int8_digits(rows), 0), digits).long().chunk(2, 0)
        return (high[:, :160] << 16) + ((high[:, 160:] + low[:, :160]) << 8) + low[:, 160:]

    cuda = device != "cpu"
    operations = 2 * rows.shape[0] * weights.numel() / 1e12
    speeds = {}
    if loops := exact_compiled.loops_for(x):
        kernel = weights.reshape(3, 3, 160, 160).permute(3, 2, 0, 1).to(torch.int16).contiguous()
        layer = loops.pack(kernel.numpy(), np.zeros(160, np.int64), 0)

        def by_pairs() -> torch.Tensor:
            return exact_compiled.convolve(loops, x, layer)

        token = exact_compiled.spread.set(in_parts)
        speeds["int16_pairs"] = operations / timed(by_pairs, repeat, False)[0]
        exact_compiled.spread.reset(token)
    return speeds | {
        "float64": operations / timed(lambda: rows @ weights, repeat, cuda)[0],
        "int8_digits": operations / timed(by_digits, repeat, cuda)[0],
        "int8_digits_agree": float(torch.equal(by_digits(), (rows @ weights).long())),
    }


def int8_digits(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Integers in +-32639 -> signed 8-bit digits (high, low), x = 256 high + low."""
    v = x.to(torch.int16)
    high = (v + 128) >> 8
    return high.to(torch.int8), (v - (high << 8)).to(torch.int8)


def measure(
    paths: Paths | None = None,
    *,
    device: str = "auto",
    batch: int = 4,
    quality: int = 50,
    limit: int = 8,
    repeat: int = 5,
) -> Figures:
    """Speed of encoding and decoding with the split by stage, of the coder and of an exact layer.

    Args:
        paths: a folder of images, or files; pictures made on the spot if None.
        device: "auto", "cpu" or "cuda".
        batch: tiles that share a batch.
        quality: 1..100.
        limit: of images.
        repeat: runs; medians count.
    """
    check_counts(limit, repeat)
    began = time.perf_counter()
    images = [picture()] * limit if paths is None else [x for _, x in load_images(paths, limit)]
    reading = time.perf_counter() - began
    codec = ImageCodec(device, batch)
    cuda = codec.device != "cpu"
    signals = [Image(samples=np.ascontiguousarray(x)) for x in images]
    files = codec.encode_batch(signals, quality=quality)
    pixels = sum(i.width * i.height for i in signals) / 1e6
    facts: Figures = {
        "device": torch.cuda.get_device_name() if cuda else f"cpu, {torch.get_num_threads()} threads",
        "images": len(images),
        "megapixels": round(pixels, 3),
        "batch": batch,
        "reading_seconds": round(reading, 4),
    }
    for name, work in (
        ("encode", lambda: codec.encode_batch(signals, quality=quality)),
        ("decode", lambda: codec.decode_batch(files)),
    ):
        seconds, stages = timed(work, repeat, cuda)
        stages["other"] = max(0.0, seconds - sum(stages.values()))
        facts[name] = {
            "seconds_per_image": round(seconds / len(images), 4),
            "images_per_second": round(len(images) / seconds, 2),
            "megapixels_per_second": round(pixels / seconds, 2),
            "split": shares(stages, seconds),
        }
    symbols = coder_speed(codec.device, images[0], quality, repeat)
    facts["coder_million_symbols_per_second"] = {k: round(v, 1) for k, v in symbols.items()}
    operations = exact_speed(codec.device, max(repeat, 10))
    facts["exact_layer_tera_operations_per_second"] = {k: round(v, 3) for k, v in operations.items()}
    return facts


def lines(facts: Figures) -> list[str]:
    """The same to be read."""
    out = [
        f"{facts['device']}; {facts['images']} images, {facts['megapixels']:.2f} megapixels, "
        f"batch {facts['batch']}; reading the files took {facts['reading_seconds']:.3f} s"
    ]
    for name in ("encode", "decode"):
        f = facts[name]
        out.append(
            f"{name}  {f['images_per_second']:8.2f} images/s  {f['megapixels_per_second']:7.2f} Mpx/s  "
            f"{f['seconds_per_image']:.3f} s each   {split_text(f['split'])}"
        )
    for key, unit in (
        ("coder_million_symbols_per_second", "M symbols/s"),
        ("exact_layer_tera_operations_per_second", "T op/s"),
    ):
        speeds = ", ".join(f"{k.replace('_', ' ')} {v:g} {unit}" for k, v in facts[key].items())
        out.append(f"{key.split('_')[0]}   {speeds}")
    return out
