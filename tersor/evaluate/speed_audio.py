"""`tersor bench --codec audio`: times real time and the split by stage, of speech, music and without loss."""

from __future__ import annotations

import os
from collections.abc import Callable

import numpy as np

from tersor.codecs.audio.codec import AudioCodec
from tersor.codecs.audio.options import AudioEncodeOptions
from tersor.evaluate.lab import Figures, Paths, check_counts, find, shares, split_text, timed
from tersor.files.audio import SUFFIXES, read_audio
from tersor.signals import Audio
from tersor.testing.samples import sound, voice

SECONDS = 10.0  # of the sounds made on the spot
MODES: dict[str, AudioEncodeOptions] = {
    "speech": {"content": "speech"},
    "music": {"content": "music"},
    "lossless": {"lossless": True},
}


def measure(paths: Paths | None = None, *, quality: float = 50, limit: int = 8, repeat: int = 5) -> Figures:
    """Speed of encoding and decoding with the split by stage, in each mode that fits a sound: speech for one
    channel, music for all, and integers without loss.

    Args:
        paths: a folder of sounds, or files; sounds made on the spot if None.
        quality: 1..100, of the lossy modes.
        limit: of sounds.
        repeat: runs; medians count.
    """
    check_counts(limit, repeat)
    found = [] if paths is None else find(paths, SUFFIXES, limit, "sound files")
    sounds = [read_audio(p) for p in found] or made_on_the_spot()
    codec = AudioCodec()
    facts: Figures = {
        "device": f"cpu, {os.cpu_count()} cores",
        "sounds": len(sounds),
        "seconds": round(sum(s.seconds for s in sounds), 3),
        "quality": quality,
    }
    for mode, options in MODES.items():
        if fitting := [s for s in sounds if fits(mode, s)]:
            asked: AudioEncodeOptions = options if mode == "lossless" else {"quality": quality, **options}
            facts[mode] = speed_of(codec, fitting, asked, repeat)
    return facts


def speed_of(codec: AudioCodec, sounds: list[Audio], options: AudioEncodeOptions, repeat: int) -> Figures:
    """Of both directions, and the rate."""
    files = codec.encode_batch(sounds, **options)
    length = sum(s.seconds for s in sounds)
    out: Figures = {"kbps": round(sum(map(len, files)) * 8 / length / 1000, 2)}
    works: dict[str, Callable[[], object]] = {
        "encode": lambda: codec.encode_batch(sounds, **options),
        "decode": lambda: codec.decode_batch(files),
    }
    for name, work in works.items():
        seconds, stages = timed(work, repeat)
        split = shares(stages, sum(stages.values()))
        out[name] = {"times_real_time": round(length / seconds, 1), "split": split}
    return out


def fits(mode: str, audio: Audio) -> bool:
    if mode == "speech":
        return audio.channels == 1
    return mode == "music" or audio.samples.dtype in (np.int16, np.uint8)


def made_on_the_spot() -> list[Audio]:
    """Something like speech, and tones in stereo."""
    speech = np.round(voice(SECONDS) * 32767).astype(np.int16)[:, None]
    return [Audio(samples=speech, rate=16_000), Audio(samples=sound(SECONDS, 44_100, 2), rate=44_100)]


def lines(facts: Figures) -> list[str]:
    """The same to be read."""
    out = [
        f"{facts['device']}; {facts['sounds']} sounds, {facts['seconds']:.1f} s, quality {facts['quality']:g}"
    ]
    for mode in MODES:
        for name in ("encode", "decode") if mode in facts else ():
            f = facts[mode][name]
            out.append(
                f"{mode:<9}{facts[mode]['kbps']:8.1f} kbit/s  {name} "
                f"{f['times_real_time']:7.1f}x real time   {split_text(f['split'])}"
            )
    return [*out, "the split is of thread seconds"]
