"""Arrays, sound, tensors, video and two codecs of pictures run without torch; the rest name it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
GOLDEN = ROOT / "tests" / "golden"
BLOCK = """
import sys

class NoTorch:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "torch":
            raise ModuleNotFoundError(f"No module named '{name}'", name=name)

sys.meta_path.insert(0, NoTorch())
"""


def run(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", BLOCK + code, *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}
    )


@pytest.mark.parametrize("family", ["fields", "audio"])
def test_golden_files_decode_alike(family: str) -> None:
    """Speech too, by the plain net."""
    code = """
from pathlib import Path
from tersor.testing.golden import FAMILIES, levels_off
family = FAMILIES[sys.argv[1]]
files = family.files(Path(sys.argv[2]))
assert files
for path in files:
    assert family.digest(path.read_bytes()) == family.expected(path), path
    assert not family.suffix or levels_off(family, path) <= 1, path
assert "torch" not in sys.modules
"""
    done = run(code, family, str(GOLDEN))
    assert not done.returncode, done.stderr


@pytest.mark.parametrize("codec", ["field", "lossless", "audio", "tensor", "video", "image-overfit"])
def test_codecs_encode_and_decode(codec: str) -> None:
    code = """
import numpy as np, tersor
from tersor.testing.samples import clip, picture, voice, weather
small = np.ascontiguousarray(picture(24, 16))
signal, options = {
    "field": (weather((4, 16, 16)), {}),
    "lossless": (small, {}),
    "audio": (tersor.Audio(samples=voice(0.3)[:, None].astype(np.float32), rate=16000), {"effort": 4}),
    "tensor": ({"x": np.arange(64.0)}, {}),
    "video": (clip(24, 16, 2), {"fps": 25}),
    "image-overfit": (small, {"iterations": 20, "preset": "fast"}),
}[sys.argv[1]]
decoded = tersor.decode(tersor.encode(signal, codec=sys.argv[1], **options))
assert "torch" not in sys.modules
print(type(decoded).__name__)
"""
    done = run(code, codec)
    assert not done.returncode, done.stderr
    assert done.stdout.strip()
    assert ("speech is not refined" in done.stderr) == (codec == "audio"), done.stderr


def test_the_image_codec_says_what_to_install(tmp_path: Path) -> None:
    code = """
import numpy as np, tersor
from PIL import Image
from tersor.cli import main
Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(sys.argv[1])
sys.exit(main(["encode", sys.argv[1]]))
"""
    done = run(code, str(tmp_path / "x.png"))
    assert done.returncode == 4, done.stderr
    assert "pip install torch" in done.stderr
    assert "lossless and image-overfit" in done.stderr
    assert not list(tmp_path.glob("*.tsr"))
