"""What evaluation writes is JSON that every reader takes, and it says what it left out."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
from PIL import Image

from tersor.evaluate.lab import load_images
from tersor.evaluate.report import json_text, write_json


def test_what_is_no_finite_number_is_null(tmp_path: Path) -> None:
    content = {
        "a": [1.5, math.nan, (math.inf, -math.inf)],
        "b": {"c": float("nan"), "d": "nan"},
        "e": 3,
        "f": None,
    }
    write_json(tmp_path / "x.json", content)
    found = json.loads((tmp_path / "x.json").read_text(), parse_constant=lambda name: 1 / 0)
    assert found == {"a": [1.5, None, [None, None]], "b": {"c": None, "d": "nan"}, "e": 3, "f": None}
    assert json.loads(json_text(content)) == found
    assert math.isnan(content["a"][1])  # the caller's own is as it was


def test_images_that_cannot_be_read_are_said(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((9, 9, 3), np.uint8)).save(tmp_path / "good.png")
    (tmp_path / "bad.png").write_bytes(b"no png")
    (tmp_path / "notes.txt").write_text("x")
    heard: list[str] = []
    assert [n for n, _ in load_images(tmp_path, None, heard.append)] == ["good.png"]
    assert heard[0].startswith("left out: 1 other file")
    assert "bad.png" in heard[1]
