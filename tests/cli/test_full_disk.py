"""A disk without room, for every kind of file: one short error that says so, and nothing is left of it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MOUNT = 'mount -t tmpfs -o size=200k tmpfs "$1" && shift && exec "$@"'  # in a namespace of its own

WRITES = """
import json, sys
from pathlib import Path
import numpy as np
import tersor
from tersor.cli import main
from tersor.errors import SignalError
from tersor.files.audio import write_audio
from tersor.files.coerce import video_of_rgb
from tersor.files.field import write_field
from tersor.files.image import write_image
from tersor.files.tensors import read_tensors, write_tensors
from tersor.files.video_write import write_video
from tersor.signals import Audio, Field, FieldSet, Image
from safetensors.numpy import save_file

small, source = Path(sys.argv[1]), Path(sys.argv[2])
rng = np.random.default_rng(0)
x = rng.normal(size=(300, 500)).astype(np.float32)
fields = FieldSet(fields={n: Field(values=x, name=n, dims=("y", "x")) for n in "ab"})
image = Image(samples=rng.integers(0, 256, (400, 400, 3), np.uint8))
sound = Audio(samples=rng.integers(-9000, 9000, (200_000, 2)).astype(np.int16), rate=44100)
video = video_of_rgb(rng.integers(0, 256, (24, 160, 192, 3), np.uint8), rate=25)
np.save(source / "x.npy", x)
(source / "x.tsr").write_bytes(tersor.encode(x, codec="field", lossless=True))
writes = {s: lambda p: write_field(fields, p) for s in (".nc", ".h5", ".zarr", ".npz")}
writes |= {s: lambda p: write_field(Field(values=x), p) for s in (".npy", ".tif")}
writes |= {s: lambda p: write_image(image, p) for s in (".png", ".jpg", ".webp", ".bmp")}
writes |= {s: lambda p: write_audio(sound, p) for s in (".wav", ".flac")}
writes |= {s: lambda p: write_video(video, p) for s in (".mkv", ".mp4", ".y4m", "")}
writes[".safetensors"] = lambda p: write_tensors(read_tensors(source / "w.safetensors"), p)
save_file({"w": x}, source / "w.safetensors")
found = {}
for suffix, write in writes.items():
    try:
        write(small / f"out{suffix}")
    except SignalError as e:
        found[suffix] = str(e)
for name, command in {
    ".tsr": ["encode", source / "x.npy", "--lossless", "-o", small / "x.tsr"],
    "large .npy": ["decode", source / "x.tsr", "-o", small / "x.npy"],
}.items():
    assert main([*map(str, command), "-q"]) == 1
print(json.dumps({"found": found, "left": [p.name for p in small.iterdir()]}))
"""


def may_mount(folder: Path) -> bool:
    if not shutil.which("unshare"):
        return False
    command = ["unshare", "-rm", "sh", "-c", MOUNT, "sh", str(folder), "true"]
    return subprocess.run(command, capture_output=True).returncode == 0


def test_a_full_disk_is_named_whatever_the_kind_of_file(tmp_path: Path) -> None:
    small, source = tmp_path / "small", tmp_path / "source"
    small.mkdir()
    source.mkdir()
    if not may_mount(small):
        pytest.skip("no small disk can be mounted here")
    done = subprocess.run(
        [
            *("unshare", "-rm", "sh", "-c", MOUNT, "sh", str(small)),
            *(sys.executable, "-c", WRITES, str(small), str(source)),
        ],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["left"] == []
    assert len(result["found"]) == 17, result["found"]
    said = [*result["found"].values(), *(line for line in done.stderr.splitlines() if "tersor:" in line)]
    assert len(said) == 19
    for line in said:
        assert f"no space left on {small}" in line
        assert len(line) < 400
        assert "\n" not in line


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is full")
@pytest.mark.parametrize("name", ["x.tsr", "x.npy"])
def test_a_full_standard_output_and_device(name: str, tmp_path: Path) -> None:
    import numpy as np

    np.save(tmp_path / "in.npy", np.arange(100_000.0))
    first = [sys.executable, "-m", "tersor", "encode", str(tmp_path / "in.npy"), "--lossless", "-o"]
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    subprocess.run([*first, str(tmp_path / "in.tsr"), "-q"], check=True, env=env)
    command = first if name == "x.tsr" else [*first[:3], "decode", str(tmp_path / "in.tsr"), "-o"]
    with open("/dev/full", "wb") as full:
        done = subprocess.run([*command, "-"], stdout=full, stderr=subprocess.PIPE, text=True, env=env)
    assert done.returncode == 1
    assert "standard output cannot be written (No space left on device)" in done.stderr
    assert "Traceback" not in done.stderr
    if name == "x.npy":
        return
    done = subprocess.run([*command, "/dev/full", "-f"], capture_output=True, text=True, env=env)
    assert done.returncode == 1
    assert "no space left on /dev" in done.stderr
