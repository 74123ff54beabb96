"""Random damage: every file is a clean decode or a BitstreamError, within 2 seconds and 500 MB."""

from __future__ import annotations

import random
import resource
import time

import numpy as np
import pytest

from tersor.codecs.image.codec import ImageCodec
from tersor.container import Reader, write
from tersor.errors import BitstreamError, WeightsError


def damage(file: bytes, rng: random.Random) -> bytes:
    if rng.random() < 0.3:
        return file[: rng.randrange(len(file))]
    out = bytearray(file)
    for _ in range(rng.choice((1, 1, 2, 8))):
        at = rng.randrange(8 * len(file))
        out[at // 8] ^= 1 << at % 8
    return bytes(out)


def with_valid_checksums(file: bytes, rng: random.Random) -> bytes:
    """Damage below the checksums, as a hostile writer would do it."""
    r = Reader(file)
    header, chunks = bytearray(r.header), [bytearray(r.chunk(i)) for i in range(len(r.chunk_lengths))]
    target = header if rng.random() < 0.3 else rng.choice(chunks)
    for _ in range(rng.choice((1, 2, 8))):
        if target:
            target[rng.randrange(len(target))] ^= 1 << rng.randrange(8)
    if rng.random() < 0.2 and target is not header:
        del target[rng.randrange(len(target) + 1) :]
    return write(r.codec, bytes(header), r.metadata, [bytes(c) for c in chunks])


def survive(count: int, picture: np.ndarray, damaging: str) -> None:
    codec, rng = ImageCodec("cpu"), random.Random(1)
    alpha = np.dstack([picture[:80, :100], np.arange(80)[:, None] + np.arange(100)]).astype(np.uint8)
    files = codec.encode_batch([np.ascontiguousarray(picture[:90, :120]), alpha], tile=64)
    originals = {f: d.samples for f, d in zip(files, codec.decode_batch(files), strict=True)}
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    slowest, decoded = 0.0, 0
    for _ in range(count):
        original = rng.choice(files)
        file = damage(original, rng) if damaging == "any" else with_valid_checksums(original, rng)
        began = time.thread_time()
        try:
            out = codec.decode_batch([file])[0]
            decoded += 1
            if damaging == "any":
                np.testing.assert_array_equal(out.samples, originals[original])
        except BitstreamError:
            pass
        except WeightsError:
            assert damaging != "any"
        slowest = max(slowest, time.thread_time() - began)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory) / 1024
    assert slowest < 2, slowest
    assert grown < 500, grown
    assert damaging != "any" or decoded < count / 100, decoded  # checksums leave next to nothing undetected


def test_random_damage(picture: np.ndarray) -> None:
    survive(400, picture, "any")


def test_damage_below_the_checksums(picture: np.ndarray) -> None:
    survive(60, picture, "below checksums")


@pytest.mark.slow
def test_random_damage_ten_thousand(picture: np.ndarray) -> None:
    survive(10_000, picture, "any")
