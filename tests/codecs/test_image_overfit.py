"""Overfitted pictures: the fit against a plain network, the integer decoder, damage, hostile networks."""

from __future__ import annotations

import hashlib
import re
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

import tersor
from tersor import container
from tersor.codecs.image_overfit import checkpoint, pair_sums
from tersor.codecs.image_overfit import encode as encoder
from tersor.codecs.image_overfit import fit as fitting
from tersor.codecs.image_overfit.codec import ImageOverfitCodec
from tersor.codecs.image_overfit.fit import Fit
from tersor.codecs.image_overfit.frozen import BITS, GROUPS, STEP_MAX, Quantised, bounds, tame, used
from tersor.codecs.image_overfit.header import OverfitHeader
from tersor.codecs.image_overfit.laplace import FRACTIONS, SCALES, TOTAL, tables
from tersor.codecs.image_overfit.latents import LatentCoder
from tersor.codecs.image_overfit.layout import LEVELS, level_size
from tersor.codecs.image_overfit.network import REACH, Shape, initial
from tersor.codecs.image_overfit.network_bytes import read_network, write_network
from tersor.codecs.image_overfit.schedule import Status
from tersor.codecs.image_overfit.synthesis import Synthesis
from tersor.errors import BitstreamError, ChecksumError, SignalError, UnsupportedVersionError
from tersor.metrics.psnr import psnr
from tersor.signals import Image
from tersor.testing.contract import CodecContract
from tersor.testing.samples import picture

ROOT = Path(__file__).parents[2]
SMALL = Shape(around=6, features=2, hidden=8, colours=3, first=0)


class TestContract(CodecContract):
    encode_options = {"iterations": 60, "preset": "fast", "quality": 40}  # noqa: RUF012
    mean_error_levels = 30.0

    def make_codec(self) -> ImageOverfitCodec:
        return ImageOverfitCodec("cpu")

    def signals(self) -> list[Any]:
        return [picture(70, 45), picture(33, 65)[..., :1]]


@pytest.fixture(scope="module")
def codec() -> ImageOverfitCodec:
    return ImageOverfitCodec()


@pytest.fixture(scope="module")
def photo() -> NDArray[np.uint8]:
    """[200, 180, 3], of four tiles of 128."""
    return np.ascontiguousarray(picture(180, 200))


@pytest.fixture(scope="module")
def file(codec: ImageOverfitCodec, photo: NDArray[np.uint8]) -> bytes:
    return codec.encode_batch([photo], iterations=150, preset="fast", tile=128)[0]


# The fit


def plain_loss(fit: Fit, p: dict[str, Tensor], latents: list[Tensor], lam: float) -> Tensor:
    """The loss of `Fit.step`, in plain torch: what a reader would write first."""
    shape, count = fit.shape, fit.grids.count
    bits = torch.zeros((), dtype=torch.float64)
    for i, q in enumerate(latents):
        level, (h, w) = i % count, q.shape
        padded = F.pad(q, (4, 4, 4, 0))
        near = [padded[4 + a : 4 + a + h, 4 + b : 4 + b + w].reshape(-1) for a, b in REACH[: shape.around]]
        coarse = p["bf"][level][:, None].expand(-1, h * w)
        for j in range(1, count - level):
            up = latents[i + j].repeat_interleave(2**j, 0).repeat_interleave(2**j, 1)[:h, :w].reshape(-1)
            coarse = coarse + p["wf"][level][:, j - 1][:, None] * up
        x = torch.cat([torch.stack(near), coarse])
        h1 = torch.relu(x + p["w1"] @ x + p["b1"][:, None])
        h2 = torch.relu(h1 + p["w2"] @ h1 + p["b2"][:, None])
        mu, log_b = p["w3"] @ h2 + p["s"] @ x + p["b3"][:, None]
        b = torch.exp2(log_b.clamp(-6, 6))
        a = (q.reshape(-1) - mu).abs()
        far = torch.exp(-(a - 0.5).clamp(min=0) / b) * -torch.expm1(-1 / b) / 2
        near_0 = 1 - (torch.exp(-(a + 0.5) / b) + torch.exp(-(0.5 - a).clamp(min=0) / b)) / 2
        bits = bits - torch.log2(torch.where(a >= 0.5, far, near_0)).sum()
    _, height, width = fit.target.shape
    planes: Tensor | None = None
    for level in range(LEVELS - 1, -1, -1):
        h, w = level_size(height, level), level_size(width, level)
        if planes is not None:
            planes = plain_up(planes, p["k"][level], h, w)
        if level >= shape.first:
            columns, at = fit.tiling.columns, level - shape.first
            own = [latents[t * count + at] for t in range(len(fit.tiling))]
            rows = [torch.cat(own[r : r + columns], 1) for r in range(0, len(own), columns)]
            plane = torch.cat(rows)[None]
            planes = plane if planes is None else torch.cat([plane, planes])
    assert planes is not None
    z = planes.reshape(len(planes), -1)
    u = p["v2"] @ torch.relu(p["v1"] @ z + p["c1"][:, None]) + p["t"] @ z + p["c2"][:, None]
    u = u.reshape(-1, height, width)
    w1 = torch.relu(u + plain_conv(u, p["k1"], p["d1"]))
    x = w1 + plain_conv(w1, p["k2"], p["d2"])
    return (x - torch.from_numpy(fit.target)).square().mean() + lam * bits / (height * width)


def plain_up(x: Tensor, k: Tensor, height: int, width: int) -> Tensor:
    def rows(x: Tensor, n: int) -> Tensor:
        h = x.shape[1]
        p = F.pad(x[None], (0, 0, 2, 2), mode="replicate")[0]
        even = sum(k[i] * p[:, i : i + h] for i in range(4))
        odd = sum(k[i] * p[:, 4 - i : 4 - i + h] for i in range(4))
        assert isinstance(even, Tensor)
        assert isinstance(odd, Tensor)
        return torch.stack([even, odd], 2).reshape(len(x), 2 * h, -1)[:, :n]

    return rows(rows(x, height).transpose(1, 2), width).transpose(1, 2)


def plain_conv(x: Tensor, k: Tensor, d: Tensor) -> Tensor:
    return F.conv2d(F.pad(x[None], (1, 1, 1, 1), mode="replicate"), k, d)[0]


@pytest.mark.parametrize(
    ("size", "first", "colours", "tile"),
    [((150, 203), 0, 3, 64), ((149, 130), 1, 1, 256), ((20, 9), 0, 3, 64)],
)
def test_the_fused_passes_are_the_plain_network(
    size: tuple[int, int], first: int, colours: int, tile: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fitting, "LATENTS_A_PART", 3000)  # several parts, of whole tiles or not
    rng = np.random.default_rng(1)
    shape = Shape(around=12, features=4, hidden=16, colours=colours, first=first)
    parameters = initial(shape, rng, np.full(shape.colours, 0.5, np.float32))
    for v in parameters.values():
        v += (0.03 * rng.standard_normal(v.shape)).astype(np.float32)
    parameters["b3"][1] = 0
    fit = Fit(rng.random((colours, *size), dtype=np.float32), tile, shape, parameters, rng)
    for i in range(len(fit.grids)):
        fit.grids.view(fit.y, i)[:] = 0.1 * rng.standard_normal(fit.grids.view(fit.y, i).shape)
    result, gradients = fit.step(1e-3, 0.3, 0.2)
    p = {k: torch.from_numpy(v.astype(np.float64)).requires_grad_() for k, v in parameters.items()}
    q = [
        torch.from_numpy(fit.grids.view(fit.q, i).astype(np.float64)).requires_grad_()
        for i in range(len(fit.grids))
    ]
    loss = plain_loss(fit, p, q, 1e-3)
    loss.backward()
    assert result.loss(1e-3, fit.pixels) == pytest.approx(loss.item(), rel=1e-5)
    for name, v in p.items():
        expected = np.zeros(v.shape) if v.grad is None else v.grad.numpy()
        assert (
            np.abs((gradients[name] - expected) * used(name, shape)).max()
            <= 1e-4 * np.abs(expected).max() + 1e-9
        ), name
    mine = np.zeros(fit.grids.size, np.float32)
    for a, _, n, b in fit.rows:
        mine[a : a + n] = fit._gy.sum(0)[a : a + n] * 1e-3 / fit.pixels + fit.planes[b : b + n]
    for i, v in enumerate(q):
        assert v.grad is not None
        expected = v.grad.numpy()
        assert np.abs(fit.grids.view(mine, i) - expected).max() <= 1e-4 * np.abs(expected).max() + 1e-9


def test_threads_do_not_change_the_file(
    codec: ImageOverfitCodec, photo: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    together = codec.encode_batch([photo], iterations=30, preset="fast")[0]
    for module in (fitting, encoder):
        monkeypatch.setattr(module, "side_by_side", lambda work, items: [work(i) for i in items])
    assert codec.encode_batch([photo], iterations=30, preset="fast")[0] == together


def test_targets_are_met(codec: ImageOverfitCodec, photo: NDArray[np.uint8]) -> None:
    """Within what 300 iterations can steer; thousands end far nearer."""
    file = codec.encode_batch([photo], iterations=300, preset="fast", target_psnr=30.5)[0]
    assert abs(psnr(np.asarray(codec.decode_batch([file])[0]), photo) - 30.5) < 1
    file = codec.encode_batch([photo], iterations=300, preset="fast", target_bpp=0.8)[0]
    assert 0.65 < 8 * len(file) / photo[..., 0].size < 0.95


def test_the_error_is_of_what_is_seen(codec: ImageOverfitCodec) -> None:
    """That of the whole is the mean of the parts'."""
    photo = picture(128, 96)
    alpha = np.zeros(photo.shape[:2], np.uint8)
    alpha[:, :48] = 255
    seen = encoder.seen_of(Image(samples=np.dstack([photo, alpha])))
    assert seen is not None
    assert seen[:, :48].all()
    assert not seen[:, 48:].any()
    assert encoder.seen_of(Image(samples=photo)) is None
    assert encoder.seen_of(Image(samples=np.dstack([photo, alpha | 1]))) is None
    shape = Shape(around=12, features=4, hidden=16, colours=3, first=0)
    target = np.ascontiguousarray(photo.transpose(2, 0, 1) / np.float32(255), np.float32)
    rng = np.random.default_rng(0)
    fit = Fit(target, 1024, shape, initial(shape, rng, np.full(3, 0.5, np.float32)), rng)
    whole = fit.evaluate().mse
    parts = []
    for fit.seen in (seen, ~seen):
        parts.append(fit.evaluate().mse * fit.seen.mean())
    assert sum(parts) == pytest.approx(whole, rel=1e-4)
    assert parts[0] != pytest.approx(parts[1], rel=1e-3)


def test_a_fit_ends_when_it_is_told_to(codec: ImageOverfitCodec, photo: NDArray[np.uint8]) -> None:
    seen: list[Status] = []

    def watch(status: Status) -> bool:
        seen.append(status)
        return status.iteration >= 100

    file = codec.encode_batch([photo], effort=9, preset="fast", watch=watch)[0]
    assert seen[-1].iteration == 100
    assert codec.decode_batch([file])[0].samples.shape == photo.shape
    began = time.monotonic()
    file = codec.encode_batch([photo], effort=9, preset="fast", time_limit=1.0)[0]
    assert time.monotonic() - began < 60  # 40 000 iterations would take many minutes
    assert codec.decode_batch([file])[0].samples.shape == photo.shape


@pytest.mark.parametrize("end", [4, 40, 58], ids=["small picture", "moving latents", "resting latents"])
def test_a_run_that_goes_on_ends_in_the_same_file(
    codec: ImageOverfitCodec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: int
) -> None:
    photo = np.ascontiguousarray(picture(200, 192))
    options: dict[str, Any] = {"iterations": 60, "preset": "fast"}
    whole = codec.encode_batch([photo], **options)[0]
    state = tmp_path / "state.npz"
    monkeypatch.setattr(checkpoint, "EVERY", 0.0)
    told: list[int] = []

    def killed(done: int, total: int) -> None:
        told.append(done)
        if done >= end:
            raise MemoryError

    with pytest.raises(MemoryError):
        codec.encode_batch([photo], resume=str(state), progress=killed, **options)
    assert told[-1] == end
    again: list[int] = []
    file = codec.encode_batch(
        [photo], resume=str(state), progress=lambda done, total: again.append(done), **options
    )[0]
    assert again[0] >= end
    assert file == whole


def test_states_of_something_else_are_refused(
    codec: ImageOverfitCodec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = tmp_path / "state.npz"
    state.write_bytes(b"nonsense")
    options: dict[str, Any] = {"iterations": 20, "preset": "fast", "resume": str(state)}
    with pytest.raises(SignalError, match="not the state of a fit"):
        codec.encode_batch([picture(70, 45)], **options)
    state.unlink()
    monkeypatch.setattr(checkpoint, "EVERY", 0.0)
    codec.encode_batch([picture(70, 45)], **options)
    with pytest.raises(SignalError, match="of another picture"):
        codec.encode_batch([picture(45, 70)], **options)


def test_rate_and_quality_stay_where_they_are(
    codec: ImageOverfitCodec, photo: NDArray[np.uint8], file: bytes
) -> None:
    """Two-sided: what makes it better has to tighten this."""
    pixels = np.asarray(codec.decode_batch([file])[0])
    assert 0.2 < 8 * len(file) / photo[..., 0].size < 1.0
    assert 25 < psnr(pixels, photo) < 32


# The integers


def test_tables_are_laplace_and_always_the_same() -> None:
    t = tables()
    digest = hashlib.sha256(t.cumulative.astype("<u4").tobytes()).hexdigest()
    assert digest[:16] == TABLE_DIGEST
    for k in range(0, SCALES, 7):
        b, r = 2.0 ** (k / 8 - 6), int(t.radius[k])
        for j in (0, 15, FRACTIONS - 1):
            base = t.start[k] + j * (2 * r + 3)
            counts = np.diff(t.cumulative[base : base + 2 * r + 3].astype(np.int64))
            assert counts.min() >= 1
            assert counts.sum() == TOTAL
            edges = np.arange(-r, r + 2) - 0.5 - (2 * j - 31) / 64
            below = np.where(edges < 0, np.exp(-np.abs(edges) / b) / 2, 1 - np.exp(-np.abs(edges) / b) / 2)
            assert np.abs(counts[:-1] / TOTAL - np.diff(below)).max() < (4 * r + 8) / TOTAL


TABLE_DIGEST = "ef37e792e28862a4"


def random_network(shape: Shape, rng: np.random.Generator, deviation: float = 0.05) -> Quantised:
    p = initial(shape, rng, np.full(shape.colours, 0.5, np.float32))
    steps = {g: min(STEP_MAX[g], 8) for g in GROUPS}
    values = {}
    for g, e in steps.items():
        for n in g:
            v = p[n] * (n != "k") + deviation * rng.standard_normal(p[n].shape)
            values[n] = (np.rint(v * (1 << e)) * used(n, shape)).astype(np.int32)
    return Quantised(values, steps)


def random_latents(rng: np.random.Generator, height: int, width: int, first: int) -> list[NDArray[np.int8]]:
    sizes = [(level_size(height, v), level_size(width, v)) for v in range(first, LEVELS)]
    out = [
        np.rint(rng.laplace(0, 0.4 * 1.7**i, s)).clip(-127, 127).astype(np.int8) for i, s in enumerate(sizes)
    ]
    out[0][0, 0], out[-1][-1, -1] = 127, -127
    return out


@pytest.mark.parametrize("shape", [SMALL, Shape(around=14, features=6, hidden=48, colours=1, first=1)])
def test_networks_and_latents_come_back(shape: Shape) -> None:
    rng = np.random.default_rng(2)
    network = random_network(shape, rng)
    back = read_network(write_network(network, shape), shape)
    assert back.steps == network.steps
    assert all(np.array_equal(back.values[n], v) for n, v in network.values.items())
    coder = LatentCoder(network.fixed(shape), shape)
    for height, width in ((1, 1), (37, 150), (130, 64)):
        levels = random_latents(rng, height, width, shape.first)
        payload = coder.encode(levels)
        decoded = coder.decode(payload, (height, width), "tile")
        assert all(np.array_equal(a, b) for a, b in zip(levels, decoded, strict=True))
        nothing = [np.zeros_like(v) for v in levels]
        assert coder.encode(nothing) == b"\0"
        assert not any(v.any() for v in coder.decode(b"\0", (height, width), "tile"))


def test_the_integer_networks_do_what_the_floats_do() -> None:
    rng = np.random.default_rng(3)
    shape = Shape(around=12, features=4, hidden=32, colours=3, first=0)
    network = random_network(shape, rng, 0.02)
    network.values["b3"][:] = 0
    target = rng.random((3, 90, 140), dtype=np.float32)
    fit = Fit(target, 256, shape, network.floats(), rng)
    levels = random_latents(rng, 90, 140, 0)
    levels[0][0, 0] = levels[-1][-1, -1] = 0
    for i, v in enumerate(levels):
        fit.grids.view(fit.y, i)[:] = v / fitting.GAIN
    result = fit.evaluate()
    fixed = network.fixed(shape)
    payload = LatentCoder(fixed, shape).encode(levels)
    assert 8 * len(payload) == pytest.approx(result.bits.sum(), rel=0.02)
    samples = Synthesis(fixed, shape).samples(levels, 90, 140, np.uint8)
    assert ((samples / 255 - target.transpose(1, 2, 0)) ** 2).mean() == pytest.approx(result.mse, rel=1e-3)


def test_weights_too_large_are_tamed_before_they_are_frozen() -> None:
    rng = np.random.default_rng(4)
    for name in ("w1", "w3", "v1", "v2", "t", "k", "k1", "wf", "c1"):
        p = initial(SMALL, rng, np.full(3, 0.5, np.float32))
        p[name][:] = np.inf if name == "c1" else 200
        tame(p)
        fixed = {k: np.rint(v.astype(np.float64) * (1 << BITS[k])).astype(np.int64) for k, v in p.items()}
        assert max(bounds(fixed).values()) < 1 << 31, name


def test_the_largest_latents_and_large_weights_do_not_overflow() -> None:
    """Weights of one half, latents at their limit: what comes back is what went in."""
    rng = np.random.default_rng(8)
    network = random_network(SMALL, rng, 0.3)
    for g, e in network.steps.items():
        for n in g:
            if n not in ("k", "c2", "d1", "d2", "b3"):
                halves = rng.choice([-1, 1], network.values[n].shape) << (e - 1)
                network.values[n] = (halves * used(n, SMALL)).astype(np.int32)
    fixed = network.fixed(SMALL)
    levels = [rng.choice([-127, 127], v.shape).astype(np.int8) for v in random_latents(rng, 70, 50, 0)]
    coder = LatentCoder(fixed, SMALL)
    back = coder.decode(coder.encode(levels), (70, 50), "tile")
    assert all(np.array_equal(a, b) for a, b in zip(levels, back, strict=True))
    assert Synthesis(fixed, SMALL).samples(levels, 70, 50, np.uint8).shape == (70, 50, 3)


# Files


def test_the_vector_of_the_format() -> None:
    """The file that docs/format-image-overfit.md shows decodes to the samples it shows."""
    page = (ROOT / "docs" / "format-image-overfit.md").read_text()
    numbers = page.split("## Test vector")[1]
    file, samples = (bytes.fromhex(part) for part in re.findall(r"(?:^    [0-9a-f ]+\n)+", numbers, re.M))
    shown = np.asarray(tersor.decode(file))
    assert shown.shape == (8, 12, 3)
    assert shown.tobytes() == samples


@pytest.mark.parametrize("n", [1, 31, 32, 33, 256])
def test_named_and_plain_layers_give_the_same_integers(n: int) -> None:
    rng = np.random.default_rng(n)
    x = rng.integers(-32767, 32768, (10, pair_sums.BLOCK, 2)).astype(np.int16)
    w = pair_sums.paired(rng.integers(-1600, 1600, (18, 19)).astype(np.int32))
    assert w.shape == (20, 10, 2)
    w[0, 0], x[0] = 32767, 32767  # the largest there are
    w[0, 1:] = 0
    bias = rng.integers(-1000, 1000, 20).astype(np.int32)
    expected = bias[:, None] + np.einsum("okm,kpm->op", w.astype(np.int64), x[:, :n].astype(np.int64))
    for sums in (pair_sums.plain_sums, pair_sums.layer_sums):
        out = np.zeros((20, pair_sums.BLOCK), np.int32)
        sums(x, w, bias, out, n)
        assert np.array_equal(out[:, :n], expected)


def test_quiet_latents_take_a_short_way_to_the_same_integers() -> None:
    """Few latents: most outputs come from `quiet_outputs`, and are those of the whole network."""
    rng = np.random.default_rng(9)
    network = random_network(SMALL, rng, 0.1).fixed(SMALL)
    coder = LatentCoder(network, SMALL)
    levels = [(v * (rng.random(v.shape) < 0.04)).astype(np.int8) for v in random_latents(rng, 130, 150, 0)]
    symbols = np.zeros((2 * levels[0].size, 2), np.uint32)
    coder._level(levels, 0, np.zeros(2, np.uint64), np.zeros(0, np.uint32), symbols, False)
    t, q = tables(), np.pad(levels[0].astype(np.int64), 4)
    starts, feature = symbols[::2, 0], coder._features(levels, 0).astype(np.int64)
    order = [(r, w - 3 * r) for w in range(150 + 3 * 129) for r in range(130) if 0 <= w - 3 * r < 150]
    for i in rng.choice(len(order), 300, replace=False):
        r, c = order[i]
        x = np.array([q[4 + r + a, 4 + c + b] << 6 for a, b in REACH[:6]] + [*feature[r >> 1, c >> 1]])
        h = x
        for k in ("1", "2"):
            h = np.clip(
                ((h << 8) + network[f"b{k}"] + network[f"w{k}"].astype(np.int64) @ h + 128) >> 8, 0, 32767
            )
        mu, log_b = (
            network["b3"] + network["w3"].astype(np.int64) @ h + network["s"].astype(np.int64) @ x + 128
        ) >> 8
        mu, k = np.clip(mu, -8128, 8128), int(np.clip((log_b + 388) >> 3, 0, 95))
        m = (mu + 32) >> 6
        row = t.start[k] + ((mu - (m << 6) + 32) >> 1) * (2 * t.radius[k] + 3)
        s = int(levels[0][r, c]) - m
        at = s + t.radius[k] if abs(s) <= t.radius[k] else 2 * t.radius[k] + 1
        assert starts[i] == t.cumulative[row + at]


def test_regions_are_cut_from_the_whole(codec: ImageOverfitCodec, file: bytes) -> None:
    whole = np.asarray(codec.decode_batch([file])[0])
    for x, y, w, h in ((0, 0, 180, 200), (0, 0, 1, 1), (179, 199, 1, 1), (120, 60, 50, 100)):
        part = np.asarray(codec.decode_batch([file], region=(x, y, w, h))[0])
        assert np.array_equal(part, whole[y : y + h, x : x + w])
    with pytest.raises(SignalError, match="does not lie inside"):
        codec.decode_batch([file], region=(0, 0, 181, 1))


def test_windows_far_apart_agree_with_the_whole() -> None:
    """A region needs 320 pixels around it, no more."""
    rng = np.random.default_rng(5)
    shape = SMALL
    network = random_network(shape, rng, 0.1)
    header = OverfitHeader(
        width=1500, height=900, tile=256, colour=True, alpha=False, deep=False, shape=shape
    )
    coder = LatentCoder(network.fixed(shape), shape)
    tiles = []
    for t in range(len(header.tiling)):
        top, left, bottom, right = header.tiling.box(t)
        tiles.append(coder.encode(random_latents(rng, bottom - top, right - left, 0)))
    file = container.write(7, header.pack(), {}, [write_network(network, shape), *tiles])
    codec = ImageOverfitCodec()
    whole = np.asarray(codec.decode_batch([file])[0])
    for region in ((700, 400, 60, 50), (1, 1, 300, 300), (1100, 500, 400, 400)):
        x, y, w, h = region
        part = np.asarray(codec.decode_batch([file], region=region)[0])
        assert np.array_equal(part, whole[y : y + h, x : x + w])


def test_alpha_is_exact_and_metadata_travel(codec: ImageOverfitCodec) -> None:
    rng = np.random.default_rng(6)
    samples = np.dstack([picture(90, 70), rng.integers(0, 255, (70, 90), dtype=np.uint8)])
    image = Image(samples=samples, metadata={"icc": b"profile", "exif": b"facts"})
    file = codec.encode_batch([image], iterations=30, preset="fast", tile=64)[0]
    back = codec.decode_batch([file])[0]
    assert np.array_equal(back.samples[..., 3], samples[..., 3])
    assert back.metadata == image.metadata
    part = codec.decode_batch([file], region=(50, 20, 30, 50))[0]
    assert np.array_equal(part.samples, back.samples[20:70, 50:80])
    grey = samples[..., [0, 3]].astype(np.uint16) * 257
    back = codec.decode_batch(codec.encode_batch([grey], iterations=150, preset="fast"))[0]
    assert back.samples.dtype == np.uint16
    assert np.array_equal(back.samples[..., 1], grey[..., 1])
    assert psnr(back.samples, grey) > 20


def test_damage_is_named_and_salvaged(codec: ImageOverfitCodec, file: bytes) -> None:
    whole = np.asarray(codec.decode_batch([file])[0])
    reader = container.Reader(file)
    damaged = bytearray(file)
    damaged[len(file) - reader.chunk_lengths[-1] // 2] ^= 1
    with pytest.raises(ChecksumError, match="tile 3 of 4"):
        codec.decode_batch([bytes(damaged)])
    image = codec.decode_batch([bytes(damaged)], salvage=True)[0]
    assert image.notes == ("tile 3 of 4 is damaged and was filled",)
    assert (image.samples[128:, 128:] == 128).all()
    near = np.abs(image.samples[:20, :20].astype(int) - whole[:20, :20])
    assert near.max() < 64  # other tiles decode; synthesis sees grey latents where the damage is
    broken = bytearray(file)
    broken[reader.front_size + 20] ^= 1
    with pytest.raises(ChecksumError):
        codec.decode_batch([bytes(broken)], salvage=True)


def test_hostile_files_end_in_an_error(codec: ImageOverfitCodec, file: bytes) -> None:
    r = container.Reader(file)
    chunks = [r.chunk(i) for i in range(len(r.chunk_lengths))]
    rng = np.random.default_rng(7)

    def decode(parts: list[bytes], header: bytes = r.header) -> None:
        codec.decode_batch([container.write(7, header, {}, parts)])

    decode(chunks)
    for _ in range(20):  # networks of noise: refused, or decoded without a crash and then refused
        with pytest.raises(BitstreamError):
            decode([bytes([8] * len(GROUPS)) + rng.bytes(300), *chunks[1:]])
    with pytest.raises(BitstreamError, match="step 13"):
        decode([bytes([13] * len(GROUPS)) + chunks[0][len(GROUPS) :], *chunks[1:]])
    header = OverfitHeader.unpack(r.header, len(chunks))
    network = read_network(chunks[0], header.shape)
    for name in ("w1", "w3", "v1", "v2", "t", "k", "k1", "b1", "c2", "wf"):
        values = dict(network.values)
        values[name] = np.where(used(name, header.shape), 1 << 19, 0).astype(np.int32)
        steps = {g: 0 if name in g else e for g, e in network.steps.items()}
        with pytest.raises(BitstreamError, match="network"):
            decode([write_network(Quantised(values, steps), header.shape), *chunks[1:]])
    for payload in (
        b"",
        b"\xff",
        b"\x7f",
        b"\x01" + bytes(8),
        chunks[1][:-4],
        chunks[1] + bytes(4),
        chunks[1][:1] + rng.bytes(400),
    ):
        with pytest.raises(BitstreamError, match="tile 0"):
            decode([chunks[0], payload, *chunks[2:]])
    with pytest.raises(UnsupportedVersionError):
        decode(chunks, bytes([9]) + r.header[1:])
    for at in range(1, len(r.header)):
        for value in (0, 255):
            bad = bytearray(r.header)
            if bad[at] == value:
                continue
            bad[at] = value
            with pytest.raises(BitstreamError):
                decode(chunks, bytes(bad))
    with pytest.raises(BitstreamError, match="use tersor.decode"):
        codec.decode_batch([container.write(1, r.header, {}, chunks)])


def test_options_are_checked(codec: ImageOverfitCodec, photo: NDArray[np.uint8]) -> None:
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"quality": 0}, "quality"),
        ({"quality": 5, "target_bpp": 1.0}, "exclude"),
        ({"effort": 10}, "effort"),
        ({"preset": "huge"}, "fast.*normal.*best"),
        ({"iterations": 3}, "iterations"),
        ({"tile": 100}, "tile"),
        ({"time_limit": -1}, "time_limit"),
    ]
    for options, message in wrong:
        with pytest.raises(SignalError, match=message):
            codec.encode_batch([photo], **options)
    with pytest.raises(SignalError, match="CPU"):
        ImageOverfitCodec("cuda")


def test_the_front_door_knows_it(file: bytes) -> None:
    facts = tersor.info(file)
    assert (facts["codec"], facts["width"], facts["height"], facts["tiles"]) == ("image-overfit", 180, 200, 4)
    assert tersor.decode(file).samples.shape == (200, 180, 3)
