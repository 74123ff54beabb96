"""What must work in a bare install of tersor or tersor-core: for tools/test_bare.sh, from an empty folder."""

import os
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image

import tersor
from tersor.warm_up import WORK

core = sys.argv[1:] == ["core"]
assert "site-packages" in tersor.__file__, tersor.__file__
assert int(np.__version__.split(".")[0]) >= 2, np.__version__
assert (find_spec("torch") is None) == core


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """A Python that has nothing compiled before."""
    environment = os.environ | {"NUMBA_CACHE_DIR": str(Path("cache").resolve())}
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, env=environment)


y, x = np.mgrid[:150, :200]
samples = np.stack([x, y, (x + y) // 2], 2).astype(np.uint8)
Image.fromarray(samples).save("in.png")
np.save("x.npy", np.arange(12.0))
if core:
    missing = run("-m", "tersor", "encode", "in.png")
    assert missing.returncode == 4, missing
    assert "pip install torch" in missing.stderr, missing.stderr
    options = ["--codec", "lossless"]
else:
    image = tersor.decode(tersor.encode(samples, quality=70))
    assert np.asarray(image).shape == samples.shape
    error = np.abs(np.asarray(image).astype(int) - samples).mean()
    assert error < 3, error
    missing = run("-m", "tersor", "encode", "--codec", "compressai", "in.png", "-f")
    assert missing.returncode == 4, missing
    assert "tersor[zoo]" in missing.stderr, missing.stderr
    options = []
for command in (
    ["encode", "in.png", "-f", *options],
    ["info", "in.tsr"],
    ["verify", "in.tsr"],
    ["decode", "in.tsr", "-o", "out.png", "-f"],
    ["encode", "x.npy", "-f"],
    ["list"],
):
    done = run("-m", "tersor", *command)
    assert not done.returncode, done
    assert "compiling" not in done.stderr, done
for codec in WORK:
    began = time.monotonic()
    done = run("-m", "tersor.warm_up", codec)
    assert (done.returncode, done.stdout.strip()) == (0, "0"), done  # loops compiled
    print(f"{codec}: nothing compiled, {time.monotonic() - began:.1f} s for all cases")
print(f"bare install of {'tersor-core' if core else 'tersor'}, numpy {np.__version__}: ok")
