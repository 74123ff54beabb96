from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tersor.cli import main
from tersor.cli.output import json_line


@pytest.fixture
def photo(tmp_path: Path, picture: np.ndarray) -> Path:
    path = tmp_path / "photo.png"
    Image.fromarray(picture[:96, :128]).save(path)
    return path


def test_round_trip_and_facts(photo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["encode", str(photo), "--quality", "60", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    file = photo.with_suffix(".tsr")
    assert facts["output"] == str(file)
    assert facts["bytes"] == file.stat().st_size
    assert facts["bpp"] == pytest.approx(8 * facts["bytes"] / (96 * 128), abs=1e-4)
    assert set(facts) >= {"input", "output", "bytes", "bpp", "seconds", "codec", "device"}
    assert main(["info", str(file), "--json"]) == 0
    info = json.loads(capsys.readouterr().out)
    assert (info["codec"], info["shape"], info["extra"]["quality"]) == ("image", [96, 128, 3], 60)
    assert main(["verify", str(file)]) == 0
    assert "ok" in capsys.readouterr().out
    out = photo.parent / "out.png"
    assert main(["decode", str(file), "-o", str(out), "--region", "8,8,32,16"]) == 0
    with Image.open(out) as im:
        assert im.size == (32, 16)
    assert "32x16" in capsys.readouterr().out


def test_nothing_is_overwritten_without_force(photo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = photo.with_suffix(".tsr")
    file.write_bytes(b"precious")
    assert main(["encode", str(photo)]) == 1
    assert file.read_bytes() == b"precious"
    assert "-f" in capsys.readouterr().err
    assert main(["encode", str(photo), "-f", "-q"]) == 0
    assert main(["decode", str(file)]) == 1  # photo.png is there
    assert capsys.readouterr().out == ""


def test_exit_codes(photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = tmp_path / "bad.tsr"
    bad.write_bytes(b"not a tsr")
    assert main(["decode", str(bad)]) == 3
    assert main(["info", str(bad)]) == 3
    assert main(["verify", str(bad)]) == 3
    assert main(["encode", str(tmp_path / "missing.png")]) == 1
    assert main(["encode", str(photo), "--codec", "nonsense"]) == 1
    assert main(["encode", str(photo), "--device", "abacus"]) == 1
    with pytest.raises(SystemExit) as usage:
        main(["encode", str(photo), "--quality", "5", "--target-bpp", "1"])
    assert usage.value.code == 2
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bad.tsr", "photo.png"]
    assert "Traceback" not in capsys.readouterr().err


def test_folders_go_on_after_an_error(
    photo: Path, tmp_path: Path, picture: np.ndarray, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "in"
    (folder / "deeper").mkdir(parents=True)
    for name in ("a.png", "deeper/b.png"):
        Image.fromarray(picture[:40, :50]).save(folder / name)
    (folder / "broken.png").write_bytes(b"broken")
    assert main(["encode", str(folder), "-o", str(tmp_path / "out")]) == 1
    assert sorted(str(p.relative_to(tmp_path / "out")) for p in (tmp_path / "out").rglob("*.tsr")) == [
        "a.tsr",
        "deeper/b.tsr",
    ]
    assert "broken.png" in capsys.readouterr().err
    assert main(["decode", str(tmp_path / "out"), "-o", str(tmp_path / "back")]) == 0
    assert len(list((tmp_path / "back").rglob("*.png"))) == 2
    empty = tmp_path / "empty"
    empty.mkdir()
    assert main(["encode", str(empty)]) == 1


def test_two_inputs_never_share_an_output(
    tmp_path: Path, picture: np.ndarray, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a.png", "a.bmp"):
        Image.fromarray(picture[:20, :20]).save(tmp_path / name)
    inputs = [str(tmp_path / "a.png"), str(tmp_path / "a.bmp")]
    assert main(["encode", *inputs]) == 0
    assert sorted(p.name for p in tmp_path.glob("*.tsr")) == ["a.bmp.tsr", "a.tsr"]
    (tmp_path / "b").mkdir()
    Image.fromarray(picture[:20, :20]).save(tmp_path / "b" / "a.png")
    assert main(["encode", *inputs, str(tmp_path / "b" / "a.png"), "-o", str(tmp_path / "out")]) == 1
    assert "two inputs" in capsys.readouterr().err


def test_awkward_outputs(photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "a file"
    file.write_bytes(b"precious")
    for out in (str(file / "x.tsr"), str(tmp_path / ("long" * 100))):
        assert main(["encode", str(photo), "-o", out]) == 1
    assert main(["encode", str(photo), str(photo), "-o", str(file), "-f"]) == 1
    assert file.read_bytes() == b"precious"
    assert main(["encode", str(photo), "-o", "/dev/null", "-f"]) == 0
    assert Path("/dev/null").is_char_device()
    link = tmp_path / "link.tsr"
    link.symlink_to(tmp_path / "target.tsr")
    assert main(["encode", str(photo), "-o", str(link)]) == 0
    assert link.is_symlink()
    assert (tmp_path / "target.tsr").exists()
    assert "Traceback" not in capsys.readouterr().err


def test_decoding_two_files_of_one_name_loses_neither(
    photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        assert main(["encode", str(photo), "-q", "-o", str(tmp_path / folder / "x.tsr")]) == 0
    assert (
        main(
            [
                "decode",
                str(tmp_path / "a" / "x.tsr"),
                str(tmp_path / "b" / "x.tsr"),
                "-o",
                str(tmp_path / "out"),
                "-f",
            ]
        )
        == 1
    )
    assert "two inputs" in capsys.readouterr().err


def test_salvage(photo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = photo.with_suffix(".tsr")
    assert main(["encode", str(photo), "--tile", "64", "-q"]) == 0
    data = bytearray(file.read_bytes())
    data[-5] ^= 1
    file.write_bytes(data)
    out = photo.parent / "out.png"
    assert main(["verify", str(file)]) == 3
    assert "3" in capsys.readouterr().err
    assert main(["decode", str(file), "-o", str(out)]) == 3
    assert "tile 3" in capsys.readouterr().err
    assert not out.exists()
    assert main(["decode", str(file), "-o", str(out), "--salvage"]) == 0
    assert "tile 3" in capsys.readouterr().out
    file.write_bytes(data[:-3])
    assert main(["decode", str(file), "-f", "-o", str(out)]) == 3
    assert "cut short" in capsys.readouterr().err
    assert main(["decode", str(file), "-f", "-o", str(out), "--salvage"]) == 0
    assert "tile 3" in capsys.readouterr().out


def test_standard_input_and_output(photo: Path) -> None:
    encode = subprocess.run(
        [sys.executable, "-m", "tersor", "encode", "-", "-o", "-"],
        input=photo.read_bytes(),
        capture_output=True,
        check=True,
    )
    assert encode.stdout[:4] == b"\x89TSR"
    assert b"bpp" in encode.stderr
    decode = subprocess.run(
        [sys.executable, "-m", "tersor", "decode", "-", "-o", "-", "-q"],
        input=encode.stdout,
        capture_output=True,
        check=True,
    )
    assert decode.stdout[:4] == b"\x89PNG"
    assert decode.stderr == b""


@pytest.mark.parametrize("arguments", [["--help"], ["list"], ["info", "x.tsr"], ["verify", "x.tsr"]])
def test_light_commands_import_no_torch(arguments: list[str], tmp_path: Path) -> None:
    code = (
        "import sys; from tersor.cli import main\ntry: main(sys.argv[1:])\nexcept SystemExit: pass\n"
        "assert 'torch' not in sys.modules and 'PIL' not in sys.modules, 'heavy'"
    )
    golden = Path(__file__).parents[1] / "golden" / "v0.1" / "pixel.tsr"
    (tmp_path / "x.tsr").write_bytes(golden.read_bytes())
    subprocess.run(
        [sys.executable, "-c", code, *arguments],
        check=True,
        capture_output=True,
        cwd=tmp_path,
        env={"PYTHONPATH": str(Path(__file__).parents[2])},
    )


def test_json_has_no_numbers_that_json_has_not() -> None:
    line = json_line({"bound": math.inf, "a": [1.5, math.nan], "b": {"c": -math.inf}, "d": "inf"})
    assert json.loads(line, parse_constant=pytest.fail) == {
        "bound": None,
        "a": [1.5, None],
        "b": {"c": None},
        "d": "inf",
    }
