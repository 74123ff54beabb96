"""Decoded planes are the same integers under every instruction set, number of threads, and uncompiled."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MATRIX = {
    "as it is": {},
    "uncompiled": {"NUMBA_DISABLE_JIT": "1"},
    "generic processor": {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""},
    "one thread": {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"},
}
PRINT_DIGESTS = """
import json, pathlib, sys
sys.path[:0] = [sys.argv[1], sys.argv[1] + "/tools"]
from make_golden import planes_digest
print(json.dumps({p: planes_digest(pathlib.Path(p).read_bytes()) for p in sys.argv[2:]}))
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The digest that the encoder's own process decodes each file to."""
    sys.path.insert(0, str(ROOT / "tools"))
    from make_golden import make_video

    folder = tmp_path_factory.mktemp("exact") / "video"
    make_video(folder)
    digests = json.loads((folder / "planes.json").read_text())
    return {str(folder / f"{name}.tsr"): digest for name, digest in digests.items()}


@pytest.mark.parametrize("setting", MATRIX)
def test_planes_are_the_same_everywhere(files: dict[str, str], setting: str) -> None:
    command = [sys.executable, "-c", PRINT_DIGESTS, str(ROOT), *files]
    environment = os.environ | MATRIX[setting]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert json.loads(run.stdout) == files


def test_the_encoder_gives_the_same_bytes_twice_and_with_one_thread() -> None:
    sys.path.insert(0, str(ROOT / "tools"))
    from make_golden import video_cases

    from tersor.codecs.video.codec import VideoCodec

    video, options = video_cases()["groups-q70"]
    files = {VideoCodec(threads=n).encode_batch([video], **options)[0] for n in (1, 2, 2)}
    assert len(files) == 1
