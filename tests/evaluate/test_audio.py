"""Distances between sounds, other codecs beside ours, and `tersor eval --codec audio`."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest

from tersor.cli import main
from tersor.errors import MissingDependencyError, SignalError
from tersor.evaluate.anchors.audio import ANCHORS, aligned, modes, run_anchor
from tersor.evaluate.audio import summarise
from tersor.evaluate.judges import panel, verdict
from tersor.metrics.audio import mel_distance, si_sdr_db, visqol, visqol_api
from tersor.metrics.listeners import dnsmos, voice_distance
from tersor.signals import Audio

RATE = 24000


def voice(seconds: float = 1.0, channels: int = 1) -> np.ndarray:
    """float64 [C, n]: syllables of a gliding pitch, and a little noise."""
    t = np.arange(round(seconds * RATE)) / RATE
    rng = np.random.default_rng(0)
    pitch = np.cumsum(130 + 30 * np.sin(2 * np.pi * 1.3 * t)) / RATE
    y = sum(np.sin(2 * np.pi * k * pitch) / k for k in range(1, 20)) * (t % 0.31 < 0.22)
    return np.stack([0.2 * y + 0.002 * rng.normal(size=len(t)) for _ in range(channels)])


def test_distances() -> None:
    x = voice(channels=2)
    noise = np.random.default_rng(1).normal(size=x.shape)
    noise -= (noise * x).sum() / (x * x).sum() * x
    y = x + noise * math.sqrt((x * x).sum() / (noise * noise).sum() / 100)
    assert si_sdr_db(x, y) == pytest.approx(20)
    assert si_sdr_db(x, 3 * y) == pytest.approx(20)
    assert mel_distance(x, x, RATE) == 0
    assert mel_distance(x, 10 * x, RATE) == pytest.approx(1, abs=0.05)
    assert mel_distance(x[:, :7], y[:, :7], RATE) > 0


@pytest.mark.parametrize("delay", [-700, 0, 1, 1105])
def test_delay_is_taken_out(delay: int) -> None:
    x = voice()
    y = np.pad(x, ((0, 0), (delay, 50))) if delay >= 0 else x[:, -delay:]
    z = aligned(x, y, RATE)
    assert z.shape == x.shape
    assert np.array_equal(z[:, 800:-800], x[:, 800:-800])


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("name", ANCHORS)
def test_anchors_are_real_files_in_time(name: str, channels: int) -> None:
    pytest.importorskip("torchaudio")
    x = voice(channels=channels)
    for mode in modes(name):
        coded = run_anchor(name, x, RATE, 64, mode)
        assert coded.y.shape == x.shape
        assert 0 < coded.payload_bytes < coded.file_bytes
        assert si_sdr_db(x, coded.y) > (3 if "voip" in mode[0] else 8), mode[
            0
        ]  # voip filters the bass, which turns its phase


def test_unknown_anchor() -> None:
    with pytest.raises(SignalError, match="opus, mp3, aac"):
        modes("flac")


def test_visqol_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "visqol", None)
    visqol_api.cache_clear()
    with pytest.raises(MissingDependencyError, match=r"visqol-python\[lattice\]"):
        visqol(voice(), voice(), RATE, "speech")


def test_summary_keeps_signs_and_says_what_cannot_be_compared() -> None:
    rows = [
        {
            "file": "a",
            "kind": "music",
            "codec": codec,
            "asked_kbps": k,
            "mode": "m",
            "kbps": k,
            "payload_kbps": k,
            "si_sdr_db": k + up,
            "mel": 1 / (k - up),
        }
        for codec, up in (("tersor", 0.0), ("opus", -30.0))
        for k in (8.0, 16.0)
    ]
    summary, text = summarise(rows, ["si_sdr_db", "mel"])
    assert any("8.0: -22.000" in line and "reaches no common quality" in line for line in text)
    assert summary["music si_sdr_db kbps"]["bd_rate"] == {"opus": None}
    assert summary["music mel kbps"]["curves"]["tersor"][1] == [-1 / 8, -1 / 16]


def test_the_figure_is_the_worst_of_the_panel() -> None:
    table = verdict("speech", "opus", {"pesq": -23.0, "visqol speech": 64.3, "voice": None}, 17)
    assert table[0].endswith("17 sounds")
    assert "our loss" in table[1]
    assert "our loss" not in table[2]
    assert "no common quality" in table[3]
    assert table[-1].endswith("+64.3 % (visqol speech)")


def test_judges_that_are_missing_are_left_out_with_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "speechmos", None)
    lines: list[str] = []
    heard = panel(None, ["speech"], lines.append)
    assert "mel" in heard
    assert not {"dnsmos", "visqol audio"} & set(heard)
    assert any(line.startswith("left out: dnsmos needs speechmos") for line in lines)
    with pytest.raises(MissingDependencyError, match=r"tersor\[judges\]"):
        panel(["dnsmos"], ["speech"])
    with pytest.raises(SignalError, match="'ears'; there are pesq"):
        panel(["ears"], ["speech"])
    with pytest.raises(MissingDependencyError, match=r"tersor\[judges\]"):
        dnsmos(voice(), voice(), RATE)


def test_learned_judges_hear_damage() -> None:
    for module in ("resemblyzer", "speechmos", "librosa"):
        pytest.importorskip(module)
    x = voice(3.0)
    y = x + 0.1 * np.random.default_rng(2).normal(size=x.shape)
    assert voice_distance(x, x, RATE) == pytest.approx(0, abs=1e-6)
    assert voice_distance(x, y, RATE) > 0.02
    assert dnsmos(x, y, RATE) < dnsmos(x, x, RATE)


def test_eval(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for module in ("pesq", "pystoi", "torchaudio", "matplotlib"):
        pytest.importorskip(module)
    (tmp_path / "speech").mkdir()
    Audio(samples=(voice(1.5).T * 32767).astype(np.int16), rate=RATE).save(tmp_path / "speech" / "a.wav")
    out = tmp_path / "out"
    assert (
        main(
            [
                "eval",
                "--codec",
                "audio",
                "--data",
                str(tmp_path),
                "--anchors",
                "mp3",
                "--bitrates",
                "16,32",
                "--judges",
                "pesq,stoi,si_sdr_db,mel",
                "-o",
                str(out),
            ]
        )
        == 0
    )
    printed = capsys.readouterr().out
    assert "speech pesq by payload_kbps, 1 sounds" in printed
    assert "exact: True" in printed
    assert "speech: rate of tersor against the best mode of mp3" in printed
    rows = [json.loads(line) for line in (out / "audio.json").read_text().splitlines()]
    assert {(r["codec"], r["asked_kbps"]) for r in rows[1:]} == {
        (c, k) for c in ("tersor", "mp3") for k in (16.0, 32.0)
    }
    assert all(0 < r["payload_kbps"] < r["kbps"] for r in rows[1:])
    assert (out / "audio.png").read_bytes()[:4] == b"\x89PNG"
    assert main(["eval", "--codec", "audio", "--data", str(tmp_path), "--bitrates", "x"]) == 1
    assert "not numbers" in capsys.readouterr().err
    Audio(samples=np.zeros((9, 3), np.int16), rate=RATE).save(tmp_path / "three.wav")
    assert main(["eval", "--codec", "audio", "--data", str(tmp_path)]) == 1
    assert "three.wav: 3 channels" in capsys.readouterr().err
    assert main(["eval", "--codec", "audio", "--data", str(out)]) == 1
    assert "no sound files" in capsys.readouterr().err
