"""Several versions of tables and weights side by side: files of each decode, whichever is the default."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

import tersor
from tersor import container, weights
from tersor.codecs.image.codec import ImageCodec
from tersor.container import Reader
from tersor.errors import BitstreamError, WeightsError
from tersor.signals import Audio
from tersor.testing.golden import FAMILIES, levels_off
from tersor.testing.samples import picture, sound, weather

GOLDEN = Path(__file__).parents[1] / "golden"
Install = Callable[..., weights.Release]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Put a set of tensors beside those of the package, and let encoders use it."""
    monkeypatch.setenv(weights.FOLDERS_VARIABLE, str(tmp_path))

    def put(name: str, tensors: dict[str, Any], metadata: dict[str, str] | None = None) -> weights.Release:
        save_file(tensors, tmp_path / f"{name}.safetensors", metadata)
        kind = name.rpartition("-")[0]
        monkeypatch.setattr(weights, "DEFAULTS", MappingProxyType({**weights.DEFAULTS, kind: name}))
        return weights.find(kind)

    return put


def header_digest(file: bytes) -> bytes:
    return Reader(file).header[:4]


def other_audio() -> dict[str, Any]:
    """The released state with every probability and the net moved."""
    tensors = dict(weights.load(weights.find("audio"))[0])
    for model in ("audio", "voice", "pcm"):
        p = tensors[f"{model}.probabilities"]
        tensors[f"{model}.probabilities"] = p + (((1 << 21) - p) >> 2)
    return {k: v * np.float32(0.5) if k.startswith("speech.") else v for k, v in tensors.items()}


def other_magnitudes() -> dict[str, Any]:
    """The released counts with one moved from the middle of each table to its end."""
    tensors, _ = weights.find("magnitude").read()
    for shape in range(4):
        at = 0
        for radius in tensors[f"radii.{shape}"]:
            if radius:
                tensors[f"counts.{shape}"][at + radius] -= 1
                tensors[f"counts.{shape}"][at] += 1
            at += 2 * radius + 1
    return tensors


def golden_files_decode(name: str) -> None:
    family = FAMILIES[name]
    paths = family.files(GOLDEN)
    assert paths
    for path in paths:
        assert family.digest(path.read_bytes()) == family.expected(path), path
        assert not family.suffix or levels_off(family, path) <= 1, path


def test_sounds_of_two_versions_decode_side_by_side(install: Install) -> None:
    speech, music = sound(1.0), sound(0.6, channels=2)
    cases = ((speech, {"quality": 50}), (music, {"quality": 50}), (music, {"lossless": True}))
    old = [tersor.encode(Audio(samples=x, rate=16000), codec="audio", **o) for x, o in cases]
    as_before = [np.asarray(tersor.decode(f)) for f in old]
    second = install("audio-7", other_audio())
    new = [tersor.encode(Audio(samples=x, rate=16000), codec="audio", **o) for x, o in cases]
    assert {header_digest(f) for f in new} == {second.digest}
    assert {header_digest(f) for f in old} != {second.digest}
    assert all(a != b for a, b in zip(old, new, strict=True))
    for f, x in zip(old, as_before, strict=True):
        assert np.array_equal(np.asarray(tersor.decode(f)), x)
    assert np.array_equal(np.asarray(tersor.decode(new[2])), music)
    assert np.abs(np.asarray(tersor.decode(new[0])).astype(float) - speech).mean() < 1000
    golden_files_decode("audio")
    stream = tersor.Codec("audio").stream(rate=16000, channels=2, lossless=True)
    receiver = stream.decoder()
    heard = [receiver.push(p) for p in [*stream.push(music), *stream.end()]]
    assert np.array_equal(np.concatenate(heard), music)


def test_speech_is_learned_again_without_touching_the_rest(install: Install) -> None:
    second = install("audio-7", other_audio())
    own = {k: v for k, v in second.read()[0].items() if k.startswith(("voice.", "shape."))}
    own["voice.probabilities"] = own["voice.probabilities"] // 2 + (1 << 20)
    third = install("audio-8", own, {"base": second.digest.hex()})
    assert third.path.stat().st_size < second.path.stat().st_size / 2
    x = Audio(samples=sound(1.0), rate=16000)
    lossless, music, speech = (
        tersor.encode(x, codec="audio", **o)
        for o in ({"lossless": True}, {"quality": 40, "content": "music"}, {"quality": 40})
    )
    assert header_digest(lossless) == header_digest(music) == second.digest
    assert header_digest(speech) == third.digest
    assert np.array_equal(np.asarray(tersor.decode(lossless)), x.samples)
    tersor.decode(speech)
    reader = Reader(speech)
    chunks = [reader.chunk(i) for i in range(len(reader.chunk_lengths))]
    other = container.write(4, second.digest + reader.header[4:], {}, chunks)
    with pytest.raises(BitstreamError, match="other tables"):
        tersor.decode(other)
    golden_files_decode("audio")


def test_fields_and_integers_of_two_versions_decode_side_by_side(install: Install) -> None:
    air, photo = np.asarray(weather())[:2, :64, :64], np.ascontiguousarray(picture(90, 70))
    cases = (
        (air, "field", {"max_error": 0.01}),
        (air, "field", {"pointwise_rel_error": 0.01}),
        (photo, "lossless", {"effort": 1}),
    )
    old = [tersor.encode(x, codec=codec, **o) for x, codec, o in cases]
    as_before = [np.asarray(tersor.decode(f)) for f in old]
    second = install("magnitude-2", other_magnitudes())
    new = [tersor.encode(x, codec=codec, **o) for x, codec, o in cases]
    assert header_digest(new[0]) == second.digest
    assert all(a != b for a, b in zip(old, new, strict=True))
    for a, b, x in zip(old, new, as_before, strict=True):
        assert np.array_equal(np.asarray(tersor.decode(a)), x)
        assert np.array_equal(np.asarray(tersor.decode(b)), x)
    golden_files_decode("fields")


def test_images_of_two_versions_decode_in_one_batch(install: Install) -> None:
    first = weights.find("image")
    tensors, metadata = first.read()
    codec, photo = ImageCodec("cpu"), np.ascontiguousarray(picture(96, 64))
    old = codec.encode_batch([photo])[0]
    second = install("image-3", tensors, metadata | {"card": '{"name": "image-3"}'})
    new = codec.encode_batch([photo])[0]
    assert [tersor.info(f)["model"] for f in (old, new)] == [2, 3]
    assert tersor.info(new)["weights"] == second.digest.hex()
    a, b = codec.decode_batch([old, new])
    np.testing.assert_array_equal(a.samples, b.samples)
    golden_files_decode("image")


def test_what_is_missing_is_named(install: Install, tmp_path: Path) -> None:
    installed = weights.find("audio")
    with pytest.raises(
        WeightsError, match=rf"77777777.*audio-2 \({installed.digest.hex()}\).*TERSOR_WEIGHTS"
    ):
        weights.find("audio", b"wwww")
    with pytest.raises(WeightsError, match="no weights are called 'nonsense'"):
        weights.find("nonsense")
    (tmp_path / "audio-9.safetensors").write_bytes(b"no tensors")
    with pytest.raises(WeightsError, match=r"audio-9\.safetensors.*damaged"):
        weights.release_at(tmp_path / "audio-9.safetensors").read()
    lost = install("audio-6", {"speech.first.bias": np.zeros(1, np.float32)}, {"base": "00000000"})
    with pytest.raises(WeightsError, match="00000000"):
        weights.load(lost)
