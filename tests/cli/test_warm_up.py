"""tersor warm-up: what is compiled is said, and what cannot be compiled is an error."""

from __future__ import annotations

import json

import pytest

from tersor.cli import main


def test_one_codec(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NUMBA_DISABLE_JIT", raising=False)
    assert main(["warm-up", "image", "--json"]) == 0
    done = json.loads(capsys.readouterr().out)
    assert done["codec"] == "image"
    assert done["loops"] >= 0
    assert main(["warm-up", "image"]) == 0
    assert capsys.readouterr().out.startswith("image: nothing to compile")


def test_codecs_that_compile_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["warm-up", "compressai"]) == 1
    assert "compiles nothing; those that do are video" in capsys.readouterr().err
    assert main(["warm-up", "nonsense"]) == 1
