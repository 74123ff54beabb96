"""What the first call of a codec costs: CPU seconds of a whole fresh process, from `python` to the end of the
encode or decode of a small signal.

    python tools/study_first_call.py [--codecs field,audio] [--repeat 3] [--compiled]

shipped: with the machine code that came with tersor and an empty cache; with --compiled, which takes minutes,
also kept: with what an earlier process compiled and kept, and compiled: with neither.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

CODECS = ("field", "lossless", "audio", "tensor", "video", "image-overfit", "image")
MAKE = """
import pickle, sys
import numpy as np
import tersor
from tersor.testing.samples import clip, picture, sound, weather
small = np.ascontiguousarray(picture(96, 64))
signals = {
    "field": (weather((16, 64, 64)), {}),
    "lossless": (small, {}),
    "audio": (tersor.Audio(samples=sound(1.0, 44100, 2), rate=44100), {"bitrate": 64}),
    "tensor": ({"x": np.random.default_rng(0).normal(size=(256, 256)).astype("f4")}, {}),
    "video": (clip(64, 48, 4), {"fps": 25}),
    "image-overfit": (small, {"iterations": 20}),
    "image": (small, {}),
}
pickle.dump(signals[sys.argv[1]], open(sys.argv[2], "wb"))
"""
ENCODE = """
import pickle, sys
import tersor
signal, options = pickle.load(open(sys.argv[2], "rb"))
open(sys.argv[3], "wb").write(tersor.encode(signal, codec=sys.argv[1], **options))
"""
DECODE = "import sys, tersor; tersor.decode(open(sys.argv[3], 'rb').read())"


def cpu_seconds(code: str, *arguments: str, **environment: str) -> float:
    """User and system time of a process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("NUMBA_", "TERSOR_"))}
    subprocess.run([sys.executable, "-c", code, *arguments], check=True, env=clean | environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--codecs", default=",".join(CODECS))
    p.add_argument("--repeat", type=int, default=3)
    p.add_argument("--compiled", action="store_true")
    a = p.parse_args()
    ways = ("shipped", "kept", "compiled") if a.compiled else ("shipped",)
    print(f"{'CPU seconds':14s} {'':8s} " + " ".join(f"{way:>8s}" for way in ways))
    for codec in a.codecs.split(","):
        with tempfile.TemporaryDirectory() as folder:
            signal, file = str(Path(folder, "signal")), str(Path(folder, "file"))
            cpu_seconds(MAKE, codec, signal)
            for name, code in (("encode", ENCODE), ("decode", DECODE)):
                took: dict[str, list[float]] = {way: [] for way in ways}
                own = {"TERSOR_MACHINE_CODE": "0", "NUMBA_CACHE_DIR": str(Path(folder, name))}
                if a.compiled:
                    took["compiled"].append(cpu_seconds(code, codec, signal, file, **own))
                for again in range(a.repeat):
                    empty = {"NUMBA_CACHE_DIR": str(Path(folder, f"{name}-{again}"))}
                    took["shipped"].append(cpu_seconds(code, codec, signal, file, **empty))
                    if a.compiled:
                        took["kept"].append(cpu_seconds(code, codec, signal, file, **own))
                middle = " ".join(f"{statistics.median(t):8.2f}" for t in took.values())
                print(f"{codec:14s} {name:8s} {middle}", flush=True)


if __name__ == "__main__":
    main()
