"""The documentation is about what there is: a page and a section of the format for every codec, blocks that
run, a picture of the rooms that are.
"""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

from tersor import registry

ROOT = Path(__file__).parents[2]
CODECS = ROOT / "docs" / "codecs"
NAMES = [e.name for e in registry.BUILT_IN]


@pytest.mark.parametrize("name", NAMES)
def test_every_codec_has_its_page_and_its_bytes(name: str) -> None:
    assert f"<!-- options: {name} -->" in (CODECS / f"{name}.md").read_text()
    assert f"codecs/{name}.md" in (ROOT / "mkdocs.yml").read_text()
    own = ROOT / "docs" / f"format-{name}.md"  # or a section of the common page
    common = (ROOT / "FORMAT.md").read_text()
    assert own.exists() or re.search(rf"^#+ .*{name}", common, re.MULTILINE | re.IGNORECASE)


@pytest.mark.parametrize("name", NAMES)
def test_blocks_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    scope: dict[str, object] = {}
    for block in re.findall(r"^```python\n(.*?)^```", (CODECS / f"{name}.md").read_text(), re.M | re.DOTALL):
        exec(compile(block, name, "exec"), scope)


def test_the_picture_shows_the_rooms_that_are() -> None:
    spec = importlib.util.spec_from_file_location("draw_rooms", ROOT / "tools" / "draw_rooms.py")
    assert spec is not None
    assert spec.loader is not None
    draw_rooms = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(draw_rooms)
    graph = draw_rooms.rooms()
    drawn = re.findall(r'^    \w+\["(.+?)(?:/|\.py)"\]$', draw_rooms.PAGE.read_text(), re.MULTILINE)
    assert set(drawn) == set(graph), "make picture"
    assert draw_rooms.reduced({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == {
        "a": {"b"},
        "b": {"c"},
        "c": set(),
    }
