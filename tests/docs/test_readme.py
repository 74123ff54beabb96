"""The README's Python blocks run, and its shell lines parse."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tersor.cli import parser

ROOT = Path(__file__).parents[2]
PAGES = ["README.md", "docs/python.md", "docs/codecs/tensor.md", "docs/codecs/video.md"]


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", PAGES)
def test_python_blocks_run(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, picture: np.ndarray
) -> None:
    monkeypatch.chdir(tmp_path)
    Image.fromarray(picture[:128, :160]).save("photo.jpg")
    scope: dict[str, object] = {}
    code = blocks(page, "python")
    assert code
    for block in code:
        exec(compile(block, page, "exec"), scope)


def test_shell_lines_parse() -> None:
    lines = [
        line
        for page in PAGES
        for block in blocks(page, "sh")
        for line in block.splitlines()
        if line.startswith("tersor ")
    ]
    assert lines
    for line in lines:
        parser().parse_args(shlex.split(line.split("  #")[0])[1:])
    assert sys.version_info >= (3, 11)
