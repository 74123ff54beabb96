"""Groups of frames: what the encoder rebuilds is what decoders give, for every kind of planes, and damage
never goes further than wrong samples.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tersor.codecs.video.group import (
    FINER_MOST,
    GroupSettings,
    decode_group,
    encode_and_rebuild,
    encode_group,
)
from tersor.codecs.video.model import fresh_state, start_tables, tables_of
from tersor.entropy.binary_tables import arithmetic_tables
from tersor.errors import BitstreamError, SignalError

Planes = list[NDArray[Any]]


def moving(frames: int, height: int, width: int, chroma: str = "420", depth: int = 8) -> Planes:
    """A textured picture that moves two samples a frame, with a square that moves the other way."""
    rng = np.random.default_rng(5)
    texture = (
        rng.integers(0, 256, (height // 8 + 20, width // 8 + 20)).repeat(8, 0).repeat(8, 1).astype(float)
    )
    texture = (texture + np.roll(texture, 3, 0) + np.roll(texture, 3, 1)) / 3
    luma = np.stack([texture[16 : 16 + height, 2 * t : 2 * t + width] for t in range(frames)])
    for t in range(frames):
        luma[t, height // 4 : height // 2, max(width // 2 - t, 0) : width // 2 - t + 9] = 200
    full = np.round(luma / 255 * ((1 << depth) - 1)).astype(np.uint8 if depth == 8 else np.uint16)
    if chroma == "grey":
        return [full]
    sy, sx = {"420": (2, 2), "422": (1, 2), "444": (1, 1), "440": (2, 1)}[chroma]
    return [full, full[:, ::sy, ::sx], ((1 << depth) - 1 - full)[:, ::sy, ::sx]]


def shapes(planes: Planes) -> list[tuple[int, int, int]]:
    return [p.shape for p in planes]


def psnr(a: Planes, b: Planes, depth: int = 8) -> float:
    error = np.mean((a[0].astype(float) - b[0]) ** 2)
    return float(10 * np.log10(((1 << depth) - 1) ** 2 / max(error, 1e-9)))


@pytest.mark.parametrize(
    ("size", "chroma", "depth"),
    [
        ((5, 64, 96), "420", 8),
        ((4, 37, 51), "420", 8),
        ((3, 40, 40), "422", 8),
        ((3, 40, 40), "444", 10),
        ((3, 33, 47), "440", 8),
        ((3, 35, 70), "grey", 12),
        ((2, 1, 1), "420", 8),
        ((2, 1, 9), "420", 10),
        ((2, 9, 1), "422", 8),
        ((1, 8, 8), "420", 8),
    ],
)
@pytest.mark.parametrize("low_delay", [True, False])
def test_decoders_give_what_the_encoder_rebuilt(
    size: tuple[int, int, int], chroma: str, depth: int, low_delay: bool
) -> None:
    planes = moving(*size, chroma, depth)
    payload, rebuilt = encode_and_rebuild(
        planes, depth=depth, settings=GroupSettings(quality=60, low_delay=low_delay)
    )
    decoded = decode_group(payload, shapes=shapes(planes), depth=depth, name="group 0")
    assert all(
        np.array_equal(a, b) and a.dtype == p.dtype for a, b, p in zip(rebuilt, decoded, planes, strict=True)
    )
    assert psnr(planes, decoded, depth) > 32


@pytest.mark.parametrize("low_delay", [True, False])
def test_a_finer_first_frame(low_delay: bool) -> None:
    planes = moving(5, 32, 48)
    first = []
    for finer in range(FINER_MOST + 1):
        settings = GroupSettings(quality=40, low_delay=low_delay, finer=finer)
        payload, rebuilt = encode_and_rebuild(planes, depth=8, settings=settings)
        decoded = decode_group(payload, shapes=shapes(planes), depth=8, name="group 0")
        assert all(np.array_equal(a, b) for a, b in zip(rebuilt, decoded, strict=True))
        first.append(psnr([p[:1] for p in planes], [p[:1] for p in decoded], 8))
    assert all(b > a + 1 for a, b in itertools.pairwise(first))


@pytest.mark.parametrize("low_delay", [True, False])
def test_some_frames(low_delay: bool) -> None:
    planes = moving(7, 32, 48)
    payload = encode_group(planes, depth=8, settings=GroupSettings(low_delay=low_delay))
    whole = decode_group(payload, shapes=shapes(planes), depth=8, name="group 0")
    some = decode_group(payload, shapes=shapes(planes), depth=8, name="group 0", frames=slice(2, 5))
    assert all(np.array_equal(a[2:5], b) for a, b in zip(whole, some, strict=True))


def test_quality_and_effort() -> None:
    """More quality is more bytes and less error; more effort is fewer bytes for what error it leaves."""
    planes = moving(4, 64, 64)
    coarse, fine = (encode_and_rebuild(planes, depth=8, settings=GroupSettings(quality=q)) for q in (30, 70))
    assert len(coarse[0]) < len(fine[0])
    assert psnr(planes, coarse[1]) < psnr(planes, fine[1]) - 5
    assert psnr(planes, encode_and_rebuild(planes, depth=8, settings=GroupSettings(quality=100))[1]) > 50
    for effort in (1, 9):
        payload, rebuilt = encode_and_rebuild(
            planes, depth=8, settings=GroupSettings(quality=50, effort=effort)
        )
        assert all(
            np.array_equal(a, b)
            for a, b in zip(
                rebuilt, decode_group(payload, shapes=shapes(planes), depth=8, name="g"), strict=True
            )
        )


def test_what_stands_still_costs_nearly_nothing() -> None:
    first = moving(1, 128, 128)
    still = [p.repeat(16, 0) for p in first]
    one = len(encode_group(first, depth=8, settings=GroupSettings()))
    many = len(encode_group(still, depth=8, settings=GroupSettings()))
    assert many < one * 1.1 + 15 * 12


def test_what_was_learned_is_sane() -> None:
    """The mixer's released weights are near those of a mean of opinions, and not those of a fresh model."""
    probabilities, counts, weights = start_tables().model[:3]
    fresh = tables_of(fresh_state(arithmetic_tables())).model
    assert np.abs(weights).max() < 2 << 16
    assert 0.5 < np.median(weights[weights.any(1)].sum(1)) / 65536 < 1.7
    assert probabilities.min() >= 0
    assert probabilities.max() < 1 << 22
    assert counts.any()
    assert not np.array_equal(weights, fresh[2])


def test_flat_frames() -> None:
    planes = [
        np.full((8, 96, 128), 90, np.uint8),
        np.full((8, 48, 64), 120, np.uint8),
        np.full((8, 48, 64), 30, np.uint8),
    ]
    payload, rebuilt = encode_and_rebuild(planes, depth=8, settings=GroupSettings())
    assert len(payload) < 120
    assert all(np.abs(a.astype(int) - b).max() <= 2 for a, b in zip(planes, rebuilt, strict=True))


@pytest.mark.parametrize("low_delay", [True, False])
def test_damage_gives_errors_or_wrong_samples(low_delay: bool) -> None:
    planes = moving(3, 40, 56)
    payload = encode_group(planes, depth=8, settings=GroupSettings(quality=60, low_delay=low_delay))
    rng = np.random.default_rng(3)
    damaged = [payload[:n] for n in (0, 1, 2, 3, len(payload) // 2, len(payload) - 1)]
    for _ in range(40):
        bad = bytearray(payload)
        bad[rng.integers(len(bad))] ^= 1 << rng.integers(8)
        damaged.append(bytes(bad))
    damaged += [rng.bytes(200), bytes([50, 0]) + bytes(300), bytes([50, 1]) + b"\xff" * 300]
    errors = 0
    for bad in damaged:
        try:
            decoded = decode_group(bad, shapes=shapes(planes), depth=8, name="group 3")
        except BitstreamError:
            errors += 1
        else:
            assert shapes(decoded) == shapes(planes)
    assert errors >= 6


def test_refusals() -> None:
    planes = moving(2, 16, 16)
    settings = GroupSettings()
    for bad, depth, word in (
        (planes[:2], 8, "one or three"),
        (planes, 7, "8 to 12"),
        ([planes[0], planes[1][:, :3], planes[2][:, :3]], 8, "chroma"),
        ([p[:0] for p in planes], 8, "empty"),
        ([planes[0].astype(np.uint16) * 16], 10, "1023"),
    ):
        with pytest.raises(SignalError, match=word):
            encode_group(bad, depth=depth, settings=settings)
    for wrong in ({"quality": 0}, {"quality": 101}, {"effort": 0}, {"effort": 10}):
        with pytest.raises(SignalError):
            GroupSettings(**wrong)


UNCOMPILED = """
import sys
import itertools

import numpy as np
sys.path.insert(0, {tests!r})
from test_group import moving
from tersor.codecs.video.group import FINER_MOST, GroupSettings, decode_group, encode_group
planes = moving(3, 24, 40)
payload = encode_group(planes, depth=8, settings=GroupSettings(quality=60, effort=3, low_delay={low_delay}))
decoded = decode_group(payload, shapes=[p.shape for p in planes], depth=8, name="g")
sys.stdout.buffer.write(payload + b"".join(p.tobytes() for p in decoded))
"""


@pytest.mark.parametrize("low_delay", [True, False])
def test_uncompiled_loops_do_the_same(low_delay: bool) -> None:
    """Same bytes and same samples without numba's compiler."""
    script = UNCOMPILED.format(tests=os.path.dirname(__file__), low_delay=low_delay)
    outputs = [
        subprocess.run(
            [sys.executable, "-c", script], env={**os.environ, **more}, capture_output=True, check=True
        ).stdout
        for more in ({"NUMBA_DISABLE_JIT": "1"}, {})
    ]
    assert outputs[0] == outputs[1]
    assert len(outputs[0]) > 500
