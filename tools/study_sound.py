"""Studies of the audio codec, which docs/sound.md quotes:

python tools/study_sound.py coder --train DIR --data DIR     adaptive binary coding, or frozen tables
python tools/study_sound.py spectra --data SOUND -o FIGURE   spectrograms beside Opus, what each band lost
python tools/study_sound.py against OPUS.txt OURS.txt        the panel's table from two prints of tersor eval
"""

from __future__ import annotations

import argparse
import re
import time
from pathlib import Path

import numpy as np

from tersor.codecs.audio.bands import band_edges, block_length
from tersor.codecs.audio.codec import AudioCodec
from tersor.codecs.audio.encode import SHAPED_ROUNDING, SHAPED_SPLITS, SHAPED_TOLERANCE
from tersor.codecs.audio.mdct import Folder
from tersor.codecs.audio.noise_shaping import PROFILES, coded_bands, heights_of, step_exponents, steps_of
from tersor.codecs.audio.options import CONTENTS
from tersor.codecs.audio.samples import to_floats
from tersor.codecs.audio.segment import loop_tables, prepare
from tersor.codecs.audio.segment_loops import UNARY, code_coefficients
from tersor.codecs.audio.transform import analysis, choose_splits, quantise
from tersor.entropy.binary import AT, finish_encoding, new_io, start_decoding
from tersor.entropy.binary_tables import AdaptiveTables, adaptive_tables
from tersor.evaluate.anchors.audio import modes, run_anchor
from tersor.evaluate.audio import rising
from tersor.evaluate.judges import sign_of, verdict
from tersor.evaluate.lab import find, pyplot
from tersor.files.audio import SUFFIXES, read_audio
from tersor.metrics.audio import resample
from tersor.metrics.rate_distortion import bd_rate
from tersor.signals import Audio

GAINS = (220, 190, 150)
LEVELS, HEIGHTS = 24, 8
POINT = re.compile(r"([\d.]+): (-?[\d.]+)")
ERBS, LOWEST_HZ = 21, 50.0


class Segment:
    """Quantised coefficients q [T, K] of one channel at a gain, and what their coders need."""

    def __init__(self, y: np.ndarray, rate: int, gain: int) -> None:
        self.block = block_length(rate)
        self.edges = band_edges(rate, self.block)
        profile = PROFILES[CONTENTS["speech"]]
        self.splits = choose_splits(y, self.block, self.edges, SHAPED_SPLITS)
        coefficients = analysis(y.copy(), self.splits, self.block)
        frames = prepare(coefficients, self.splits, rate, SHAPED_TOLERANCE)
        self.exponents = step_exponents(frames.envelope, gain, profile, rate, self.block)
        self.heights = heights_of(frames.envelope, self.exponents)
        self.q = quantise(frames.x, frames.envelope, self.exponents, self.edges, SHAPED_ROUNDING)
        self.coded = np.repeat(coded_bands(frames.envelope, self.exponents), np.diff(self.edges), 2)[0]

    def contexts(self, lower: bool) -> np.ndarray:
        """A context of every coded coefficient: how large its neighbours are, in its own step, of the two
        frames before and, if `lower`, of the three bins below; and how high the envelope stands.
        """
        steps = np.repeat(steps_of(self.exponents), np.diff(self.edges), 2)[0]
        size = np.pad(np.abs(self.q[0]) * steps, ((2, 0), (3, 2)))
        t, k = self.q.shape[1:]

        def at(back: int, up: int) -> np.ndarray:
            return size[2 - back : 2 - back + t, 3 + up : 3 + up + k]

        near = 4 * at(1, 0) + 2 * (at(1, -1) + at(1, 1)) + at(1, -2) + at(1, 2) + 2 * at(2, 0)
        if lower:
            near = near + 4 * at(0, -1) + 3 * at(0, -2) + 2 * at(0, -3)
        level = np.minimum(np.log2(1 + 4 * near / steps) * 2.4, LEVELS - 1).astype(np.int64)
        height = np.repeat(np.clip((self.heights[0] + 64) >> 5, 0, HEIGHTS - 1), np.diff(self.edges), 1)
        return (level * HEIGHTS + height)[self.coded]

    def symbols(self) -> np.ndarray:
        return np.minimum(np.abs(self.q[0][self.coded]), UNARY)


def segments(paths: list[Path]) -> list[Segment]:
    out = []
    for i, path in enumerate(paths):
        audio = read_audio(path)
        folder = Folder(audio.rate, 250 * block_length(audio.rate))
        for y in (*folder.push(to_floats(audio.samples[:, :1])), *folder.finish()):
            out.append(Segment(y, audio.rate, GAINS[i % len(GAINS)]))
    return out


def coder(a: argparse.Namespace) -> None:
    """Bytes of magnitudes and signs, and CPU time, of the codec's coder and of frozen tables by context."""
    import constriction

    learned, measured = (
        segments(find(d, SUFFIXES, n, "sounds")) for d, n in ((a.train, a.train_limit), (a.data, a.limit))
    )
    tables = adaptive_tables()
    signs = sum(int((s.q[0][s.coded] != 0).sum()) for s in measured) / 8
    n = sum(len(s.symbols()) for s in measured)
    beyond = np.concatenate([np.abs(s.q[0][s.coded]) for s in measured]) - UNARY
    escapes = float((2 * np.floor(np.log2(beyond[beyond >= 0] + 1)) + 1).sum()) / 8  # Exp-Golomb
    print(
        f"{len(measured)} segments, {n} coded coefficients, signs {signs:.0f} and escapes {escapes:.0f} bytes"
    )
    print(f"{'coder':<44}{'bytes':>9}{'write ns':>10}{'read ns':>9}   a coefficient")
    for model, name in (("audio", "all sound"), ("voice", "speech")):
        size, spent = 0, [0.0, 0.0]
        for s in measured:
            for turn in range(2):  # the first compiles
                bytes_of, seconds = _adaptive(s, tables, model)
                if turn:
                    size, spent = size + bytes_of, [v + t for v, t in zip(spent, seconds, strict=True)]
        _row(f"adaptive binary, tables of {name}", size, spent, n)
    for lower in (False, True):
        counts = np.full((LEVELS * HEIGHTS, UNARY + 1), 0.02)
        for s in learned:
            np.add.at(counts, (s.contexts(lower), s.symbols()), 1.0)
        p = counts / counts.sum(1, keepdims=True)
        family = constriction.stream.model.Categorical(perfect=False)
        size, spent = 0, [0.0, 0.0]
        for s in measured:
            symbols, of = s.symbols().astype(np.int32), p[s.contexts(lower)].astype(np.float32)
            began = time.process_time()
            out = constriction.stream.queue.RangeEncoder()
            out.encode(symbols, family, of)
            words = out.get_compressed()
            wrote, began = time.process_time() - began, time.process_time()
            back = constriction.stream.queue.RangeDecoder(words).decode(family, of)
            assert np.array_equal(back, symbols)
            spent[0], spent[1], size = (
                spent[0] + wrote,
                spent[1] + time.process_time() - began,
                size + 4 * len(words),
            )
        name = f"frozen tables, {'frames before and bins below' if lower else 'frames before'}"
        _row(name, size + signs + escapes, spent, n)
    print("frozen tables: contexts were computed beforehand, and are not in the time")


def _adaptive(s: Segment, tables: AdaptiveTables, model: str) -> tuple[int, tuple[float, float]]:
    """Bytes, and seconds to write and to read them."""
    buffer, io, began = np.empty(4 * s.q.size + 1024, np.uint8), new_io(False), time.process_time()
    given = (loop_tables(tables), s.exponents, s.heights, s.splits)
    code_coefficients(io, buffer, tables.model(model), *given, s.q, s.edges)
    finish_encoding(io, buffer)
    wrote, end = time.process_time() - began, int(io[AT])
    io, began, q = new_io(True), time.process_time(), np.zeros_like(s.q)
    start_decoding(io, buffer, end)
    code_coefficients(io, buffer, tables.model(model), *given, q, s.edges)
    assert np.array_equal(q, s.q)
    return end, (wrote, time.process_time() - began)


def _row(name: str, size: float, spent: list[float], n: int) -> None:
    print(f"{name:<44}{size:>9.0f}{1e9 * spent[0] / n:>10.0f}{1e9 * spent[1] / n:>9.0f}")


def spectra(a: argparse.Namespace) -> None:
    """A figure: spectrograms of the original, tersor and Opus by rate; printed: level and error by band."""
    audio = read_audio(Path(a.data))
    stop = round(a.seconds * audio.rate)
    audio = Audio(samples=audio.samples[:stop, :1], rate=audio.rate, bits=audio.bits)
    x = to_floats(audio.samples) / 32768
    codec = AudioCodec("cpu")
    shown: list[tuple[str, np.ndarray]] = [("original", x)]
    for kbps in a.bitrates:
        (file,) = codec.encode_batch([audio], bitrate=kbps, content="speech")
        ours = to_floats(np.asarray(codec.decode_batch([file])[0])) / 32768
        shown.append((f"tersor, {8 * len(file) / audio.seconds / 1000:.1f} kbit/s", ours))
        mode = next(m for m in modes("opus") if m[0] == "audio 20 ms")
        opus = run_anchor("opus", x, audio.rate, kbps, mode)
        shown.append((f"Opus, {8 * opus.file_bytes / audio.seconds / 1000:.1f} kbit/s", opus.y))
    pictures = [(name, _decibels(y, audio.rate)) for name, y in shown]
    hz, band = _bands()
    print("bands around Hz      " + " ".join(f"{f:5.0f}" for f in hz))
    reference = _levels(pictures[0][1], band)
    loud = reference.max(0) > reference.max() - 40
    for name, picture in pictures[1:]:
        apart = (_levels(picture, band) - reference)[:, loud]
        print(f"{name + ', dB':<21}" + " ".join(f"{v:+5.1f}" for v in apart.mean(1)))
        print(f"{'  spread, dB':<21}" + " ".join(f"{v:5.1f}" for v in apart.std(1)))
    plt = pyplot()
    rows = 1 + len(a.bitrates)
    figure, axes = plt.subplots(rows, 2, figsize=(12, 2.6 * rows), sharex=True, sharey=True)
    axes[0, 1].set_visible(False)
    for axis, (name, picture) in zip([axes[0, 0], *axes[1:].flat], pictures, strict=True):
        top = pictures[0][1].max()
        axis.imshow(
            picture, origin="lower", aspect="auto", vmin=top - 80, vmax=top, extent=(0, a.seconds, 0, 8)
        )
        axis.set(title=name, ylabel="kHz")
    figure.tight_layout()
    figure.savefig(a.output, dpi=70)
    print(f"written to {a.output}")


def _decibels(y: np.ndarray, rate: int) -> np.ndarray:
    """[bins, frames] up to 8 kHz, windows of 32 ms every 8 ms."""
    z = resample(y.mean(0, keepdims=True), rate, 16000)[0]
    frames = np.lib.stride_tricks.sliding_window_view(z, 512)[::128] * np.hanning(512)
    return np.asarray(20 * np.log10(np.abs(np.fft.rfft(frames)) + 1e-5).T)


def _bands() -> tuple[np.ndarray, np.ndarray]:
    """Centres in Hz, and which band each bin lies in: equal on the ERB scale."""
    low, high = (21.4 * np.log10(1 + 0.00437 * f) for f in (LOWEST_HZ, 8000.0))
    erb = np.linspace(low, high, ERBS + 1)
    edges = (10 ** (erb / 21.4) - 1) / 0.00437
    f = np.fft.rfftfreq(512, 1 / 16000)
    return (edges[1:] + edges[:-1]) / 2, np.clip(np.searchsorted(edges, f) - 1, 0, ERBS - 1)


def _levels(picture: np.ndarray, band: np.ndarray) -> np.ndarray:
    """dB of each band, [bands, frames], over 5 frames."""
    power = np.array([(10 ** (picture[band == b] / 10)).sum(0) for b in range(ERBS)])
    kernel = np.hanning(7)[1:-1]
    smooth = np.array([np.convolve(p, kernel / kernel.sum(), "same") for p in power])
    return np.asarray(10 * np.log10(smooth + 1e-10))


def against(a: argparse.Namespace) -> None:
    """Opus's curves do not change with our codec: those of an earlier print serve for a new one of ours."""
    kept, ours = (_curves(Path(p)) for p in (a.opus, a.ours))
    deltas: dict[str, dict[str, float | None]] = {}
    for (kind, judge), curves in ours.items():
        if "opus" in kept.get((kind, judge), {}):
            sign = sign_of(judge)
            both = [
                rising(r, [sign * q for q in v]) for r, v in (kept[kind, judge]["opus"], curves["tersor"])
            ]
            try:
                deltas.setdefault(kind, {})[judge] = bd_rate(*both[0], *both[1])
            except ValueError:
                deltas.setdefault(kind, {})[judge] = None
    for kind, found in deltas.items():
        print("\n".join(verdict(kind, "opus", found, a.sounds)))


def _curves(path: Path) -> dict[tuple[str, str], dict[str, tuple[list[float], list[float]]]]:
    """(rates, values) by kind and judge, by codec, of the payload."""
    out: dict[tuple[str, str], dict[str, tuple[list[float], list[float]]]] = {}
    here: dict[str, tuple[list[float], list[float]]] = {}
    for line in path.read_text().splitlines():
        if " by " in line:
            what, rate = line.split(",")[0].split(" by ")
            kind, judge = what.split(" ", 1)
            here = out.setdefault((kind, judge), {}) if rate == "payload_kbps" else {}
        elif line.startswith("  ") and (points := POINT.findall(line)):
            here[line.split()[0]] = [float(r) for r, _ in points], [float(v) for _, v in points]
    return out


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sub = p.add_subparsers(dest="study", required=True)
    q = sub.add_parser("coder")
    q.add_argument("--train", required=True, help="folder of sounds whose statistics are frozen")
    q.add_argument("--train-limit", type=int, default=60)
    q.add_argument("--data", required=True, help="folder of sounds to code")
    q.add_argument("--limit", type=int, default=12)
    q = sub.add_parser("spectra")
    q.add_argument("--data", required=True, help="a sound")
    q.add_argument("--seconds", type=float, default=3.0)
    q.add_argument("--bitrates", type=float, nargs="+", default=[8.0, 12.0, 24.0])
    q.add_argument("-o", "--output", required=True, help="PNG")
    q = sub.add_parser("against")
    q.add_argument("opus", help="printed by tersor eval with Opus")
    q.add_argument("ours", help="printed by tersor eval for the same sounds, with or without")
    q.add_argument("--sounds", type=int, default=17)
    args = p.parse_args()
    {"coder": coder, "spectra": spectra, "against": against}[args.study](args)


if __name__ == "__main__":
    main()
