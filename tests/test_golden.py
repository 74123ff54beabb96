"""Files that released versions wrote: the same integers everywhere, the same samples within one level."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from tersor.testing.golden import FAMILIES, SETTINGS, run_under

ROOT = Path(__file__).parent / "golden"


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("setting", SETTINGS)
def test_same_integers_and_samples_whatever_the_machine(setting: str, name: str) -> None:
    """Compiled for another processor or not at all, with fewer vector units, threads and tiles at once."""
    family = FAMILIES[name]
    files = family.files(ROOT)
    assert files
    for path, (digests, off) in run_under(setting, name, files).items():
        assert set(digests) == {family.expected(path)}, path
        assert off <= 1, path


@pytest.mark.skipif(
    not torch.cuda.is_available(), reason="no CUDA here; set TERSOR_NEED_CUDA=1 to make this fail instead"
)
@pytest.mark.parametrize("path", FAMILIES["image"].files(ROOT), ids=lambda p: p.stem)
def test_same_integers_on_cuda(path: Path) -> None:
    family = FAMILIES["image"]
    assert family.digest(path.read_bytes(), device="cuda") == family.expected(path)


def test_cuda_is_there_if_it_must_be() -> None:
    assert torch.cuda.is_available() or not os.environ.get("TERSOR_NEED_CUDA")


@pytest.mark.parametrize("name", FAMILIES)
def test_every_case_has_its_file(name: str) -> None:
    family = FAMILIES[name]
    assert family.cases().keys() <= {p.stem for p in family.files(ROOT)}
