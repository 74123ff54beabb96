"""The audio codec: lengths and rates hold, spans are spans, lossless is lossless, damage is an error."""

from __future__ import annotations

import io
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import tersor
from tersor.codecs.audio.codec import AudioCodec
from tersor.codecs.audio.stream import PacketDecoder
from tersor.codecs.audio.transform import analysis, synthesis
from tersor.container import Reader
from tersor.errors import BitstreamError, SignalError
from tersor.signals import Audio
from tersor.testing.contract import CodecContract
from tersor.testing.samples import sound

RATE = 16000


def snr_db(x: NDArray[Any], y: NDArray[Any]) -> float:
    a, b = x.astype(float), y.astype(float)
    return 10 * float(np.log10((a**2).sum() / max(((a - b) ** 2).sum(), 1e-9)))


@pytest.fixture(scope="module")
def codec() -> AudioCodec:
    return AudioCodec()


def through(codec: AudioCodec, x: Any, rate: int = RATE, **options: Any) -> tuple[NDArray[Any], int]:
    (file,) = codec.encode_batch([x], rate=rate, **options)
    return np.asarray(codec.decode_batch([file])[0]), len(file)


class TestContract(CodecContract):
    encode_options = {"rate": RATE}  # noqa: RUF012

    def make_codec(self) -> AudioCodec:
        return AudioCodec()

    def signals(self) -> list[Any]:
        return [sound(0.6), sound(0.8, channels=2, seed=1)]


@pytest.mark.parametrize("samples", [0, 1, 2, 31, 319, 320, 321, 5000, 80_000, 80_001, 165_003])
@pytest.mark.parametrize("options", [{"quality": 40}, {"lossless": True}], ids=str)
def test_length_is_kept_to_the_sample(codec: AudioCodec, samples: int, options: dict[str, Any]) -> None:
    x = sound(11)[:samples]
    y, _ = through(codec, x, **options)
    assert y.shape == x.shape
    if "lossless" in options:
        assert np.array_equal(x, y)
    elif samples > 300:
        assert snr_db(x, y) > 15


@pytest.mark.parametrize("rate", [4000, 8000, 11025, 22050, 44100, 48000, 96000, 192000])
def test_any_rate_without_delay(codec: AudioCodec, rate: int) -> None:
    x = sound(0.7, rate, 2)
    y, _ = through(codec, x, rate, quality=70)
    assert snr_db(x, y) > 18


@pytest.mark.parametrize("channels", range(1, 9))
def test_any_number_of_channels(codec: AudioCodec, channels: int) -> None:
    x = sound(0.5, channels=channels)
    assert snr_db(x, through(codec, x, quality=60)[0]) > 15
    assert np.array_equal(x, through(codec, x, lossless=True)[0])


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.float32, np.float64, np.uint8])
def test_any_type(codec: AudioCodec, dtype: Any) -> None:
    x = sound(0.5, dtype=dtype)
    y, _ = through(codec, x, quality=80)
    assert y.dtype == x.dtype
    center = 128 if dtype == np.uint8 else 0
    assert snr_db(x.astype(float) - center, y.astype(float) - center) > 15


def test_hard_sounds(codec: AudioCodec) -> None:
    n = 30_000
    rng = np.random.default_rng(0)
    cases = {
        "silence": np.zeros((n, 2), np.int16),
        "full scale": np.full((n, 1), -32768, np.int16),
        "constant": np.full((n, 2), 12345, np.int16),
        "square": np.where(np.arange(n) // 40 % 2, 32767, -32768).astype(np.int16)[:, None],
        "noise": rng.integers(-32768, 32768, (n, 2)).astype(np.int16),
        "impulses": np.where(np.arange(n) % 4999 == 7, 32767, 0).astype(np.int16)[:, None],
        "one loud sample": np.eye(1, n, 777, dtype=np.int16).T * 32767,
    }
    for name, x in cases.items():
        for options in ({"quality": 50}, {"bitrate": 24}, {"lossless": True}):
            y, size = through(codec, x, **options)
            assert y.shape == x.shape, name
            if "lossless" in options:
                assert np.array_equal(x, y), name
            elif name in ("full scale", "constant"):
                assert snr_db(x, y) > 40, name
        if name == "silence":
            assert size < 200
            assert not through(codec, x, quality=50)[0].any()


def test_loud_floats_come_back(codec: AudioCodec) -> None:
    x = sound(0.5, dtype=np.float32) * 50
    assert snr_db(x, through(codec, x, quality=70)[0]) > 15


@pytest.mark.parametrize("bits", [8, 12, 16, 20, 24])
def test_lossless_at_any_depth(codec: AudioCodec, bits: int) -> None:
    x = (sound(0.4, channels=2, dtype=np.int32) >> (32 - bits)) << (32 - bits)
    (file,) = codec.encode_batch([Audio(samples=x, rate=48000, bits=24)], lossless=True)
    assert np.array_equal(np.asarray(codec.decode_batch([file])[0]), x)
    assert len(file) < x.size * bits / 8


@pytest.mark.parametrize("kbps", [8, 16, 32, 64])
def test_bitrate_within_three_percent(codec: AudioCodec, kbps: float) -> None:
    x = sound(12, 24000)
    x = (x + np.random.default_rng(1).normal(0, 900, x.shape)).astype(np.int16)
    _, size = through(codec, x, 24000, bitrate=kbps)
    assert abs(size * 8 / 12 / 1000 / kbps - 1) < 0.03


def test_quality_is_monotone(codec: AudioCodec) -> None:
    x = sound(1.5, channels=2)
    results = [through(codec, x, quality=q) for q in (1, 30, 60, 100)]
    sizes, snrs = [r[1] for r in results], [snr_db(x, r[0]) for r in results]
    assert sizes == sorted(sizes)
    assert snrs == sorted(snrs)


@pytest.mark.parametrize("options", [{"quality": 40}, {"lossless": True}], ids=str)
def test_a_span_is_part_of_the_whole(
    codec: AudioCodec, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    x = sound(4, channels=2)
    (file,) = codec.encode_batch([x], rate=RATE, segment=0.5, **options)
    whole = np.asarray(codec.decode_batch([file])[0])
    read: list[int] = []
    chunk = Reader.chunk
    monkeypatch.setattr(Reader, "chunk", lambda self, i: (read.append(i), chunk(self, i))[1])
    for start, stop in ((0.0, 0.3), (0.999, 1.001), (1.2, 1.3), (2.0, 2.5), (3.9, 9.0), (4.0, 4.0)):
        read.clear()
        part = np.asarray(codec.decode_batch([file], start=start, stop=stop)[0])
        assert np.array_equal(part, whole[round(start * RATE) : round(stop * RATE)])
        assert len(read) <= 3
    for start, stop in (
        (-1, 1),
        (3, 2),
        (5, 6),
        (float("nan"), None),
        (None, float("nan")),
        (float("inf"), None),
    ):
        with pytest.raises(SignalError, match="span"):
            codec.decode_batch([file], start=start, stop=stop)


@pytest.mark.parametrize("dtype", [np.int16, np.uint8])
@pytest.mark.parametrize("options", [{"quality": 40}, {"lossless": True}], ids=str)
def test_salvage_keeps_what_is_intact_in_its_place(
    codec: AudioCodec, options: dict[str, Any], dtype: Any
) -> None:
    x = sound(3.3, channels=2, dtype=dtype)
    (file,) = codec.encode_batch([x], rate=RATE, segment=0.5, **options)
    whole = np.asarray(codec.decode_batch([file])[0])
    reader = Reader(file)
    starts = reader.front_size + np.cumsum([0, *reader.chunk_lengths])
    damaged = bytearray(file)
    for segment in (1, 2, 4):
        damaged[starts[segment] + 9] ^= 4
    with pytest.raises(BitstreamError, match=r"segment 1, from 0\.500 s.*--salvage"):
        codec.decode_batch([bytes(damaged)])
    zero, overlap = 128 if dtype == np.uint8 else 0, RATE // 800 if "quality" in options else 0
    for data, lost, words in (
        (
            bytes(damaged),
            [(0.5, 1.5), (2.0, 2.5)],
            ("0.500 s to 1.500 s are damaged and silent", "2.000 s to 2.500 s are damaged and silent"),
        ),
        (file[: starts[5] + 3], [(2.5, 3.3)], ("2.500 s to 3.300 s are damaged and silent",)),
        (file[: starts[0]], [(0.0, 3.3)], ("0.000 s to 3.300 s are damaged and silent",)),
        (file + b"appended", [], ()),
    ):
        audio = tersor.decode(data, salvage=True)
        y = np.asarray(audio)
        assert y.shape == x.shape
        assert audio.notes == words
        intact = np.ones(len(x), bool)
        for first, last in lost:
            a, b = round(first * RATE), round(last * RATE)
            assert (y[a + overlap : b - overlap] == zero).all()
            intact[max(0, a - overlap) : b + overlap] = False
        assert np.array_equal(y[intact], whole[intact])
    part = tersor.decode(bytes(damaged), salvage=True, start=1.9, stop=2.6)
    assert np.array_equal(
        np.asarray(part),
        np.asarray(tersor.decode(bytes(damaged), salvage=True))[round(1.9 * RATE) : round(2.6 * RATE)],
    )
    assert part.notes == ("2.000 s to 2.500 s are damaged and silent",)


@pytest.mark.parametrize("options", [{"bitrate": 24}, {"quality": 50}, {"lossless": True}], ids=str)
def test_streams(codec: AudioCodec, options: dict[str, Any]) -> None:
    x = sound(2.3, channels=2)
    stream = codec.stream(rate=RATE, channels=2, segment=0.4, **options)
    segment, latency = stream.header.segment, round(stream.latency_seconds * RATE)
    receiver, heard, sent, waits = stream.decoder(), [], [], []
    for at in range(0, len(x), 10):
        for packet in stream.push(x[at : at + 10]):
            waits.append(at + 10 - segment * len(sent))
            sent.append(packet)
            heard.append(receiver.push(packet))
    assert latency <= max(waits) < latency + 10
    heard += [receiver.push(p) for p in stream.end()]
    heard.append(receiver.finish())
    file = stream.finish()
    together = np.concatenate(heard)
    assert np.array_equal(together, np.asarray(codec.decode_batch([file])[0]))
    assert together.shape == x.shape
    forgetful = codec.stream(rate=RATE, channels=2, segment=0.4, keep=False, **options)
    assert forgetful.push(x) + forgetful.end() == sent + stream.end()
    with pytest.raises(SignalError, match="keep=True"):
        forgetful.finish()
    with pytest.raises(BitstreamError, match="checksum"):
        stream.decoder().push(sent[0][:-1])
    with pytest.raises(BitstreamError, match="due"):
        PacketDecoder(stream.header.pack()).push(sent[1])
    with pytest.raises(SignalError, match="finished"):
        stream.push(x)
    with pytest.raises(SignalError, match="stream takes"):
        codec.stream(rate=RATE).push(x)


@pytest.mark.parametrize("samples", [0, 1, 40_001])
@pytest.mark.parametrize("options", [{"bitrate": 24}, {"lossless": True}], ids=str)
def test_encoding_into_a_file_gives_the_same_file(
    codec: AudioCodec, options: dict[str, Any], samples: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = Audio(samples=sound(3)[:samples], rate=RATE, tags={"title": "t"})
    (expected,) = codec.encode_batch([x], segment=0.5, **options)
    for moved in (7, 1000, 1 << 20):
        monkeypatch.setattr("tersor.container.MOVED_AT_ONCE", moved)
        file = io.BytesIO()
        assert codec.encode_to(file, x, segment=0.5, **options) == len(expected)
        assert file.getvalue() == expected


def test_stereo_of_one_voice_costs_little_more(codec: AudioCodec) -> None:
    x = sound(2)
    for options, limit in (({"quality": 50}, 1.35), ({"lossless": True}, 1.6)):
        _, one = through(codec, x, **options)
        _, two = through(codec, np.concatenate([x, x // 2], 1), **options)
        assert two < limit * one


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"quality": 0}, "quality is 0"),
        ({"quality": "much"}, "quality is 'much'; allowed are numbers from 1 to 100"),
        ({"bitrate": 0}, "bitrate is 0"),
        ({"bitrate": float("nan")}, "bitrate is nan"),
        ({"bitrate": 8, "lossless": True}, "exclude each other"),
        ({"segment": 0}, "segment is 0"),
    ],
)
def test_bad_options(codec: AudioCodec, options: dict[str, Any], words: str) -> None:
    with pytest.raises(SignalError, match=words):
        codec.encode_batch([sound(0.1)], rate=RATE, **options)


def test_bad_sounds(codec: AudioCodec) -> None:
    x = sound(0.1, dtype=np.float32)
    x[77] = np.nan
    with pytest.raises(SignalError, match="sample 77 of channel 0 is nan"):
        codec.encode_batch([x], rate=RATE)
    with pytest.raises(SignalError, match="rate"):
        codec.encode_batch([sound(0.1)])
    with pytest.raises(SignalError, match="floats"):
        codec.encode_batch([sound(0.1, dtype=np.float32)], rate=RATE, lossless=True)
    with pytest.raises(SignalError, match="significant bits"):
        codec.encode_batch([sound(0.1, dtype=np.int32)], rate=RATE, lossless=True)
    for bad in (np.zeros((5, 9), np.int16), np.zeros((5, 1), np.int64), np.zeros((2, 2, 2), np.int16)):
        with pytest.raises(SignalError):
            codec.encode_batch([bad], rate=RATE)
    with pytest.raises(SignalError, match="rate is 10; allowed are .* samples a second"):
        codec.encode_batch([sound(0.1)], rate=10)
    with pytest.raises(SignalError, match="CPU"):
        AudioCodec("cuda")


@pytest.mark.parametrize("options", [{"quality": 40}, {"lossless": True}], ids=str)
def test_damage_behind_the_checksum_is_an_error(codec: AudioCodec, options: dict[str, Any]) -> None:
    """A payload whose checksum was made for it: whatever it says, decoding ends in samples or in a
    BitstreamError.
    """
    x = sound(0.3, channels=2)
    (file,) = codec.encode_batch([x], rate=RATE, **options)
    reader = Reader(file)
    payload, length = reader.chunk(0), reader.chunk_lengths[0]
    front = file[: len(file) - length]
    table = front.rfind(zlib.crc32(payload).to_bytes(4, "little"))
    rng = np.random.default_rng(0)
    outcomes = set()
    for n in range(200):
        bad = bytearray(payload)
        bad[n % 12 if n < 60 else rng.integers(len(bad))] ^= 1 << rng.integers(8)
        head = bytearray(front[:-4])
        head[table : table + 4] = zlib.crc32(bytes(bad)).to_bytes(4, "little")
        try:
            (decoded,) = codec.decode_batch(
                [bytes(head) + zlib.crc32(bytes(head)).to_bytes(4, "little") + bytes(bad)]
            )
            assert np.asarray(decoded).shape == x.shape
            outcomes.add("samples")
        except BitstreamError:
            outcomes.add("error")
    assert "error" in outcomes


def test_the_transform_is_orthonormal() -> None:
    rng = np.random.default_rng(0)
    splits = rng.integers(0, 4, 12).astype(np.uint8)
    y = rng.normal(size=(2, 12 * 64))
    x = analysis(y.copy(), splits, 64)
    assert np.isclose((x**2).sum(), (y**2).sum())
    np.testing.assert_allclose(synthesis(x, splits), y, atol=1e-12)


def test_front_door(tmp_path: Path) -> None:
    x = sound(1.0, channels=2)
    file = tersor.encode(x, codec="audio", rate=RATE, bitrate=32)
    decoded = tersor.decode(file)
    assert decoded.rate == RATE
    assert snr_db(x, np.asarray(decoded)) > 10
    facts = tersor.info(file)
    assert (facts["codec"], facts["rate"], facts["channels"], facts["samples"]) == ("audio", RATE, 2, RATE)
    Audio(samples=x, rate=RATE, tags={"title": "Löwe"}).save(tmp_path / "x.wav")
    again = tersor.decode(tersor.encode(tmp_path / "x.wav", codec="audio", lossless=True))
    assert np.array_equal(np.asarray(again), x)
    assert again.tags["title"] == "Löwe"
    (tmp_path / "x.tsr").write_bytes(file)
    with tersor.open(tmp_path / "x.tsr") as f:
        assert np.array_equal(np.asarray(f.read(start=0.25, stop=0.5)), np.asarray(decoded)[4000:8000])
    with pytest.raises(SignalError, match="no streams"):
        tersor.Codec("image", device="cpu").stream()
