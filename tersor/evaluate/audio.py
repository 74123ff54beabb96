"""Rate of sound against what a panel of judges says of it (`judges.py`), beside other codecs at every mode.

Rates are bits of the whole file, and of the payload alone. Quality is measured on what `decode` gives back,
in time with the input. An anchor's point is, for each sound, rate and metric, its best mode (more quality for
no more rate); BD-rate compares curves of means over the sounds. Files in a folder called speech or music are
of that kind; of others, mono ones count as speech. One or two channels are measured.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

import numpy as np

from tersor.arrays import Numbers
from tersor.codecs.audio.codec import AudioCodec
from tersor.container import Reader
from tersor.errors import SignalError
from tersor.evaluate.anchors.audio import ANCHORS, Coded, modes, run_anchor
from tersor.evaluate.judges import JUDGES, panel, sign_of, verdict
from tersor.evaluate.lab import Paths, find, pyplot
from tersor.evaluate.report import Curve, Report, Row, json_text, percent
from tersor.files.audio import SUFFIXES, AudioReader, audio_bytes, read_audio
from tersor.metrics.audio import Floats
from tersor.metrics.rate_distortion import bd_rate
from tersor.signals import Audio

BITRATES = {"speech": (6, 8, 10, 12, 16, 20, 24, 32), "music": (16, 24, 32, 48, 64, 96)}


Points = tuple[list[float], list[float]]  # rates, and quality there


class Compared(TypedDict):
    """Curves of one kind of sound by one metric, and BD-rates of ours against the others."""

    curves: dict[str, Points]
    bd_rate: dict[str, float | None]
    sounds: int


class Lossless(TypedDict):
    """One sound without loss."""

    file: str
    bytes: int
    flac: int
    exact: bool
    seconds: float
    encode_seconds: float
    decode_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioReport(Report):
    """Curves by the rate of the payload, "speech pesq": rate in kbit/s, and the metric.

    Attributes:
        summary: curves and BD-rates by kind of sound, metric and rate (of payloads, of files).
        without_loss: whole files beside FLAC.
        lines: the same in words.
    """

    summary: dict[str, Compared]
    without_loss: dict[str, list[Lossless]]
    speed: list[str]
    lines: list[str]

    def text(self) -> list[str]:
        return self.lines

    def write(self, folder: Path) -> None:
        """One JSON object a line: the summary, then every point."""
        front = {"summary": self.summary, "lossless": self.without_loss, "speed": self.speed}
        rounded = [{k: _for_json(v) for k, v in r.items()} for r in self.rows]
        (folder / "audio.json").write_text("\n".join(json_text(r) for r in [front, *rounded]) + "\n")

    def plot(self, path: str | Path) -> None:
        """Quality over payload rate, a row of panels for each kind of sound, a panel for each metric."""
        plt = pyplot()
        panels_of: dict[str, list[tuple[str, Compared]]] = {}
        for name, content in self.summary.items():
            kind, metric = name.rsplit(" ", 1)[0].split(" ", 1)
            if name.endswith(" payload_kbps"):
                panels_of.setdefault(kind, []).append((metric, content))
        columns = max(map(len, panels_of.values()), default=1)
        n = max(len(panels_of), 1)
        figure, axes = plt.subplots(n, columns, figsize=(4.5 * columns, 4 * n), squeeze=False)
        for axis in axes.flat:
            axis.set_visible(False)
        for line, (kind, panels) in zip(axes, panels_of.items(), strict=False):
            for axis, (metric, content) in zip(line, panels, strict=False):
                for i, (c, (rates, quality)) in enumerate(content["curves"].items()):
                    axis.plot(rates, sign_of(metric) * np.array(quality), "osD^"[i % 4] + "-", label=c)
                better = "lower" if sign_of(metric) < 0 else "higher"
                axis.set(
                    title=f"{kind}, {content['sounds']} sound{'s' * (content['sounds'] != 1)}",
                    xlabel="kbit/s of payload",
                    ylabel=f"{metric} ({better} is better)",
                    xscale="log",
                    visible=True,
                )
                axis.set_xticks([round(r) for r in content["curves"]["tersor"][0]])
                axis.xaxis.set_major_formatter("{x:g}")
                axis.minorticks_off()
                axis.grid(alpha=0.3)
            line[0].legend()
        figure.tight_layout()
        figure.savefig(path, dpi=100)
        plt.close(figure)


def ours(codec: AudioCodec, audio: Audio, x: Floats, kbps: float, kind: str) -> Coded:
    """Encode and decode with the audio codec."""
    (file,) = codec.encode_batch([audio], bitrate=kbps, content=kind)
    y = np.asarray(codec.decode_batch([file])[0])
    return Coded(
        payload_bytes=sum(Reader(file).chunk_lengths), file_bytes=len(file), y=_floats(y), mode="transform"
    )


def _floats(x: Numbers) -> Floats:
    return np.ascontiguousarray(
        x.T.astype(np.float64) / (1.0 if x.dtype.kind == "f" else 2.0 ** (8 * x.dtype.itemsize - 1))
    )


def kind_of(path: Path, channels: int) -> str:
    """ "speech" or "music": the name of its folder; of others, mono ones are speech."""
    return path.parent.name if path.parent.name in BITRATES else "speech" if channels == 1 else "music"


def measure(
    codec: AudioCodec, path: Path, names: list[str], bitrates: list[float] | None, judges: Sequence[str]
) -> list[Row]:
    """Every point of one sound."""
    audio = read_audio(path)
    kind = kind_of(path, audio.channels)
    x = _floats(audio.samples)
    rows = []
    for kbps in bitrates or BITRATES[kind]:
        coded = [("tersor", ours(codec, audio, x, kbps, kind))]
        coded += [
            (name, run_anchor(name, x, audio.rate, kbps, mode)) for name in names for mode in modes(name)
        ]
        for name, c in coded:
            quality = {m: JUDGES[m].of(x, c.y, audio.rate) for m in judges if kind in JUDGES[m].kinds}
            rates = {
                "kbps": 8 * c.file_bytes / audio.seconds / 1000,
                "payload_kbps": 8 * c.payload_bytes / audio.seconds / 1000,
            }
            rows.append(
                {
                    "file": path.stem,
                    "kind": kind,
                    "codec": name,
                    "asked_kbps": kbps,
                    "mode": c.mode,
                    **rates,
                    **quality,
                }
            )
    return rows


def best_modes(rows: list[Row], metric: str, rate: str) -> list[Row]:
    """Of each sound, codec and asked rate the mode with the best quality per rate: quality corrected to the
    rate asked for at the slope of a typical curve.
    """
    sign = sign_of(metric)
    groups: dict[tuple[str, str, float], list[Row]] = {}
    for r in rows:
        groups.setdefault((r["file"], r["codec"], r["asked_kbps"]), []).append(r)
    out = []
    for group in groups.values():
        spread = max(abs(r[metric]) for r in group)
        out.append(
            max(group, key=lambda r: sign * r[metric] - 0.25 * spread * math.log(r[rate] / r["asked_kbps"]))
        )
    return out


def curve(rows: list[Row], codec: str, metric: str, rate: str) -> tuple[list[float], list[float]]:
    """Mean rate and quality over the sounds at each asked rate; quality grows: a metric of which less is
    better is negative.
    """
    sign = sign_of(metric)
    asked = sorted({r["asked_kbps"] for r in rows if r["codec"] == codec})
    points = [[r for r in rows if r["codec"] == codec and r["asked_kbps"] == a] for a in asked]
    return [float(np.mean([r[rate] for r in p])) for p in points], [
        sign * float(np.mean([r[metric] for r in p])) for p in points
    ]


def summarise(rows: list[Row], judges: Sequence[str]) -> tuple[dict[str, Compared], list[str]]:
    """Curves and BD-rates by kind, judge and rate; last, what the panel says of each kind by the payload."""
    text: list[str] = []
    verdicts: list[str] = []
    out: dict[str, Compared] = {}
    codecs = list(dict.fromkeys(r["codec"] for r in rows))
    for kind in dict.fromkeys(r["kind"] for r in rows):
        own = [r for r in rows if r["kind"] == kind]
        heard = [m for m in judges if kind in JUDGES[m].kinds]
        for metric in heard:
            known = {r["file"] for r in own} - {r["file"] for r in own if math.isnan(r[metric])}
            chosen_rows = [r for r in own if r["file"] in known]
            if not chosen_rows:
                text.append(f"{kind} {metric}: not measured")
                continue
            for rate in ("payload_kbps", "kbps"):
                chosen = best_modes(chosen_rows, metric, rate)
                curves = {c: curve(chosen, c, metric, rate) for c in codecs}
                deltas = {c: _bd(curves[c], curves["tersor"]) for c in codecs if c != "tersor"}
                out[f"{kind} {metric} {rate}"] = {"curves": curves, "bd_rate": deltas, "sounds": len(known)}
                text.append(f"{kind} {metric} by {rate}, {len(known)} sounds")
                for c in codecs:
                    points = "  ".join(
                        f"{r:.1f}: {sign_of(metric) * q:.3f}" for r, q in zip(*curves[c], strict=True)
                    )
                    text.append(
                        f"  {c:<8}{points}"
                        + ("" if c == "tersor" else f"   | tersor against it {percent(deltas[c])}")
                    )
        names = {m: f"{kind} {m} payload_kbps" for m in heard}
        for c in codecs:
            if c != "tersor":
                said = {m: out[n]["bd_rate"][c] for m, n in names.items() if n in out}
                verdicts += verdict(kind, c, said, len({r["file"] for r in own}))
    return out, text + verdicts


def _bd(anchor: tuple[list[float], list[float]], own: Points) -> float | None:
    """None where the curves have no quality in common."""
    try:
        return bd_rate(*rising(*anchor), *rising(*own))
    except ValueError:
        return None


def _for_json(v: object) -> object:
    return v if not isinstance(v, float) else round(v, 5) if math.isfinite(v) else None


def rising(rates: list[float], quality: list[float]) -> tuple[list[float], list[float]]:
    """A curve without points that more rate does not improve."""
    kept: list[tuple[float, float]] = []
    for r, q in sorted(zip(rates, quality, strict=True)):
        if not kept or q > kept[-1][1]:
            kept.append((r, q))
    return [r for r, _ in kept], [q for _, q in kept]


def lossless(codec: AudioCodec, paths: list[Path]) -> tuple[dict[str, list[Lossless]], list[str]]:
    """Whole files without loss beside FLAC's highest level, for integer sounds; speed of both modes."""
    rows: list[Lossless] = []
    text = []
    for path in paths:
        audio = read_audio(path)
        if audio.samples.dtype.kind == "f":
            continue
        t0 = time.perf_counter()
        (file,) = codec.encode_batch(
            [Audio(samples=audio.samples, rate=audio.rate, bits=audio.bits)], lossless=True
        )
        t1 = time.perf_counter()
        exact = np.array_equal(np.asarray(codec.decode_batch([file])[0]), audio.samples)
        t2 = time.perf_counter()
        flac = len(
            audio_bytes(Audio(samples=audio.samples, rate=audio.rate, bits=audio.bits), ".flac", level=12)
        )
        rows.append(
            {
                "file": path.stem,
                "bytes": len(file),
                "flac": flac,
                "exact": exact,
                "seconds": audio.seconds,
                "encode_seconds": t1 - t0,
                "decode_seconds": t2 - t1,
            }
        )
    if rows:
        total, flac = sum(r["bytes"] for r in rows), sum(r["flac"] for r in rows)
        speed = [
            sum(r["seconds"] for r in rows) / sum(r[k] for r in rows)
            for k in ("encode_seconds", "decode_seconds")
        ]
        mean = math.exp(float(np.mean([math.log(r["bytes"] / r["flac"]) for r in rows])))
        text.append(
            f"lossless, {len(rows)} integer sounds: {total:,} bytes, FLAC at its highest level {flac:,}"
        )
        text.append(
            f"  against FLAC: {100 * (total / flac - 1):+.2f} % in all, {100 * (mean - 1):+.2f} % a sound"
        )
        text.append(
            f"  exact: {all(r['exact'] for r in rows)}; encode {speed[0]:.0f}x, "
            f"decode {speed[1]:.0f}x real time"
        )
    return {"rows": rows}, text


def speeds(codec: AudioCodec, paths: list[Path]) -> list[str]:
    """Times real time, at a bit rate and at a quality."""
    text = []
    for kind, options in (("bitrate 24", {"bitrate": 24.0}), ("quality 50", {"quality": 50.0})):
        sound = encode = decode = 0.0
        for path in paths:
            audio = read_audio(path)
            t0 = time.perf_counter()
            (file,) = codec.encode_batch([audio], **options)  # type: ignore[arg-type]
            t1 = time.perf_counter()
            codec.decode_batch([file])
            t2 = time.perf_counter()
            sound, encode, decode = sound + audio.seconds, encode + t1 - t0, decode + t2 - t1
        text.append(
            f"speed at {kind}: encode {sound / encode:.0f}x, "
            f"decode {sound / decode:.0f}x real time ({codec.threads} threads)"
        )
    return text


def compare(
    codec: str,
    paths: Paths,
    anchors: Sequence[str] | None = None,
    rates: Sequence[float] | None = None,
    *,
    limit: int | None = None,
    say: Callable[[str], None] = lambda line: None,
    device: str = "auto",
    judges: Sequence[str] | None = None,
) -> AudioReport:
    """Measure the audio codec on sounds; see `tersor.evaluate.compare`.

    Args:
        rates: kbit/s; those usual for each kind of sound if None.
        judges: which of `tersor.evaluate.judges.JUDGES`; all that are installed if None.
    """
    names = list(ANCHORS if anchors is None else anchors)
    for name in names:
        modes(name)
    files = find(paths, SUFFIXES, limit, "sound files")
    kinds = []
    for path in files:
        if (channels := AudioReader(path).channels) > 2:
            raise SignalError(f"{path}: {channels} channels; sounds of one or two are measured")
        kinds.append(kind_of(path, channels))
    heard = panel(judges, kinds, say)
    own = AudioCodec(device)
    warm = Audio(samples=np.zeros((4000, 1), np.int16), rate=8000)
    own.decode_batch(own.encode_batch([warm], bitrate=8) + own.encode_batch([warm], lossless=True))
    speed = speeds(own, files)
    without_loss, lines = lossless(own, files)
    for line in (*speed, *lines):
        say(line)
    asked = None if rates is None else [float(r) for r in rates]
    rows = [r for path in files for r in measure(own, path, names, asked, heard)]
    summary, lines = summarise(rows, heard)
    payload = {k.removesuffix(" payload_kbps"): v for k, v in summary.items() if k.endswith(" payload_kbps")}
    curves: dict[str, Curve] = {name: {} for name in ("tersor", *names)}
    for what, found in payload.items():
        for name, (kbps, values) in found["curves"].items():
            curves[name][f"{what} kbps"] = kbps
            curves[name][what] = [sign_of(what.split(" ", 1)[1]) * v for v in values]
    return AudioReport(
        title="audio",
        rows=rows,
        curves=curves,
        bd_rate={n: {what: found["bd_rate"].get(n) for what, found in payload.items()} for n in names},
        summary=summary,
        without_loss=without_loss,
        speed=speed,
        lines=lines,
    )
