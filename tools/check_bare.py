"""What must work with the core alone: run by tools/test_bare.sh from an empty folder."""

import subprocess
import sys
from importlib.metadata import version

import numpy as np
from PIL import Image

import tersor

assert "site-packages" in tersor.__file__, tersor.__file__
assert int(np.__version__.split(".")[0]) >= 2, np.__version__
y, x = np.mgrid[:150, :200]
samples = np.stack([x, y, (x + y) // 2], 2).astype(np.uint8)
Image.fromarray(samples).save("in.png")
image = tersor.decode(tersor.encode(samples, quality=70))
assert np.asarray(image).shape == samples.shape
error = np.abs(np.asarray(image).astype(int) - samples).mean()
assert error < 3, error
for command in (
    ["encode", "in.png"],
    ["info", "in.tsr"],
    ["verify", "in.tsr"],
    ["decode", "in.tsr", "-o", "out.png"],
    ["list"],
):
    subprocess.run([sys.executable, "-m", "tersor", *command], check=True)
missing = subprocess.run(
    [sys.executable, "-m", "tersor", "encode", "--codec", "compressai", "in.png", "-f"],
    capture_output=True,
    text=True,
)
assert missing.returncode == 4, missing
assert "tersor[zoo]" in missing.stderr, missing.stderr
np.save("x.npy", np.arange(12.0))
missing = subprocess.run([sys.executable, "-m", "tersor", "encode", "x.npy"], capture_output=True, text=True)
assert missing.returncode == 4, missing
assert "tersor[fields]" in missing.stderr, missing.stderr
missing = subprocess.run(
    [
        sys.executable,
        "-c",
        "import tersor, numpy; tersor.encode(numpy.zeros(99, 'i2'), codec='audio', rate=8000)",
    ],
    capture_output=True,
    text=True,
)
assert "tersor[audio]" in missing.stderr, missing.stderr
print(f"bare install: torch {version('torch')}, numpy {np.__version__}, mean error {error:.2f}: ok")
