"""Files that released versions wrote: the same integers everywhere, the same samples within one level."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tersor.codecs.image.codec import ImageCodec
from tersor.files.image import read_image

GOLDEN = Path(__file__).parent / "golden"
ROOT = Path(__file__).parents[1]
FILES = sorted(GOLDEN.glob("*/*.tsr"))
MATRIX = {
    "as it is": {},
    "scalar": {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41"},
    "avx2": {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"},
    "one thread": {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
}
PRINT_DIGESTS = """
import json, sys, pathlib
sys.path[:0] = [sys.argv[1], sys.argv[1] + "/tools"]
import torch
import numpy as np
from make_golden import latent_digest
from tersor.codecs.image.codec import ImageCodec
from tersor.files.image import read_image
out = {}
for path in sys.argv[2:]:
    data = pathlib.Path(path).read_bytes()
    decoded = ImageCodec("cpu").decode_batch([data])[0].samples
    reference = read_image(pathlib.Path(path).with_suffix(".png")).samples
    level = 257 if decoded.dtype == np.uint16 else 1
    levels_off = float(np.abs(decoded.astype(int) - reference).max() / level)
    out[path] = [[latent_digest(data, batch) for batch in (1, 3)], levels_off]
print(json.dumps(out))
"""


def expected(path: Path) -> str:
    return str(json.loads((path.parent / "latents.json").read_text())[path.stem])


def test_there_are_golden_files() -> None:
    assert FILES


@pytest.mark.parametrize("setting", MATRIX)
def test_same_integers_and_samples_whatever_the_instruction_set_threads_and_batch(setting: str) -> None:
    command = [sys.executable, "-c", PRINT_DIGESTS, str(ROOT), *map(str, FILES)]
    run = subprocess.run(
        command, env=os.environ | MATRIX[setting], capture_output=True, text=True, check=True
    )
    for path, (digests, levels_off) in json.loads(run.stdout).items():
        assert set(digests) == {expected(Path(path))}, (setting, path)
        assert levels_off <= 1, (setting, path)


@pytest.mark.skipif(
    not torch.cuda.is_available(), reason="no CUDA here; set TERSOR_NEED_CUDA=1 to make this fail instead"
)
@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_same_integers_on_cuda(path: Path) -> None:
    sys.path.insert(0, str(ROOT / "tools"))
    from make_golden import latent_digest

    assert latent_digest(path.read_bytes(), device="cuda") == expected(path)


def test_cuda_is_there_if_it_must_be() -> None:
    assert torch.cuda.is_available() or not os.environ.get("TERSOR_NEED_CUDA")


@pytest.mark.parametrize("path", FILES, ids=lambda p: f"{p.parent.name}-{p.stem}")
def test_same_samples_within_one_level(path: Path) -> None:
    (decoded,) = ImageCodec("cpu").decode_batch([path.read_bytes()])
    reference = read_image(path.with_suffix(".png"))
    level = 257 if decoded.bits_per_sample == 16 else 1
    assert decoded.samples.dtype == reference.samples.dtype
    assert np.abs(decoded.samples.astype(int) - reference.samples).max() <= level
    if "alpha" in path.stem:
        np.testing.assert_array_equal(decoded.samples[..., -1], reference.samples[..., -1])
