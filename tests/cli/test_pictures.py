"""Folders, pages, failures and facts of pictures on the command line."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

import tersor
from tersor.cli import main

RNG = np.random.default_rng(0)


def save(path: Path, samples: np.ndarray, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(samples).save(path, **options)
    return path


def objects(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture
def shoot(tmp_path: Path, picture: np.ndarray) -> Path:
    folder = tmp_path / "in"
    for n, name in enumerate(("a.png", "b.jpg", "b.png", "deeper/b.tga", "c.d.png")):
        save(folder / name, picture[8 * n : 8 * n + 24, :32])
    (folder / "a.jpg").write_bytes((folder / "b.jpg").read_bytes()[:300])
    for name in ("v.dng", "w.heic", "readme.txt", ".hidden.txt", "x.zarr/zarr.json"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"x")
    return folder


def test_every_good_file_of_a_folder_finds_a_name(
    shoot: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (shoot / "x.zarr" / "zarr.json").unlink()
    (shoot / "x.zarr").rmdir()
    out = tmp_path / "out"
    assert main(["encode", str(shoot), "-o", str(out), "--codec", "lossless"]) == 1
    names = sorted(str(p.relative_to(out)) for p in out.rglob("*.tsr"))
    assert names == ["a.tsr", "b.png.tsr", "b.tsr", "c.d.tsr", "deeper/b.tsr"]
    error = capsys.readouterr().err
    assert "a.jpg" in error
    assert (
        "3 files passed over: readme.txt, v.dng, w.heic; for some of them: pip install pillow-heif" in error
    )
    assert "hidden" not in error
    for file, source in (("a.tsr", "a.png"), ("b.tsr", "b.jpg"), ("b.png.tsr", "b.png")):
        with Image.open(shoot / source) as im:
            assert np.array_equal(np.asarray(tersor.decode((out / file).read_bytes())), np.asarray(im)), file
    assert main(["decode", str(out), "-o", str(tmp_path / "back"), "-q"]) == 0
    assert len([*(tmp_path / "back").rglob("*.png")]) == 5
    # once more: every name is taken now, and none finds another
    assert main(["encode", str(shoot), "-o", str(out), "--codec", "lossless", "-q"]) == 1
    assert sorted(str(p.relative_to(out)) for p in out.rglob("*.tsr")) == names


def test_failures_are_objects_too(
    tmp_path: Path, picture: np.ndarray, capsys: pytest.CaptureFixture[str]
) -> None:
    good = save(tmp_path / "good.png", picture[:32, :48])
    bad = tmp_path / "bad.png"
    bad.write_bytes(good.read_bytes()[:-40])
    arguments = ["encode", str(good), str(bad), "--json", "-o", str(tmp_path / "out"), "--target-psnr", "32"]
    assert main(arguments) == 1
    failed, done = objects(capsys.readouterr().out)
    assert (failed["input"], failed["kind"], failed["exit_code"]) == (str(bad), "SignalError", 1)
    assert (done["width"], done["height"]) == (48, 32)
    assert 1 <= done["quality"] <= 100
    file = tmp_path / "out" / "good.tsr"
    error = (np.asarray(tersor.decode(file.read_bytes())).astype(float) - picture[:32, :48]) ** 2
    assert done["psnr"] == pytest.approx(10 * np.log10(255**2 / error.mean()), abs=1e-3)
    damaged = tmp_path / "damaged.tsr"
    damaged.write_bytes(file.read_bytes()[:-1] + b"x")
    assert main(["verify", str(file), str(damaged), "--json"]) == 3
    whole, broken = objects(capsys.readouterr().out)
    assert whole == {"file": str(file), "ok": True, "chunks": 1, "bytes": file.stat().st_size}
    assert (broken["file"], broken["exit_code"]) == (str(damaged), 3)
    assert main(["decode", str(damaged), "--json", "-o", str(tmp_path / "x.png")]) == 3
    assert objects(capsys.readouterr().out)[0]["exit_code"] == 3
    assert main(["info", str(damaged.parent / "missing.tsr"), "--json"]) == 1
    assert objects(capsys.readouterr().out)[0]["exit_code"] == 1


def test_exit_codes_of_several_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a.tsr", "b.tsr"):
        (tmp_path / name).write_bytes(b"no tsr")
    assert main(["verify", str(tmp_path)]) == 3
    assert main(["verify", str(tmp_path), str(tmp_path / "missing.tsr")]) == 1
    assert main(["decode", str(tmp_path / "a.tsr"), str(tmp_path / "b.tsr")]) == 3
    heic = tmp_path / "x.heic"
    heic.write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    assert main(["encode", str(heic)]) == 4
    (tmp_path / "x.dng").write_bytes(b"II*\0" + bytes(40))
    assert main(["encode", str(tmp_path / "x.dng")]) == 1
    error = capsys.readouterr().err
    assert "pip install pillow-heif" in error
    assert "rawpy" in error
    assert "its name says nothing" not in error


def test_a_damaged_file_lets_go_of_the_name(tmp_path: Path, picture: np.ndarray) -> None:
    data = tersor.encode(picture[:16, :16], codec="lossless")
    for folder, content in (("a", data[:-1] + b"x"), ("b", data)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.tsr").write_bytes(content)
    inputs = [str(tmp_path / f / "x.tsr") for f in ("a", "b")]
    assert main(["decode", *inputs, "-o", str(tmp_path / "out"), "-q"]) == 3
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["x.npy"]


def test_pages(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frames = RNG.integers(0, 256, (3, 12, 16, 3), dtype=np.uint8)
    stack = tmp_path / "s.tif"
    tifffile.imwrite(stack, frames, photometric="rgb")
    for codec in ("image", "field"):
        assert main(["encode", str(stack), "--codec", codec, "-o", str(tmp_path / "x.tsr"), "-q"]) == (
            codec == "image"
        )
    assert "3 pages" in capsys.readouterr().err
    assert main(["encode", str(stack), "--pages", "2", "--codec", "lossless", "-q"]) == 0
    assert np.array_equal(np.asarray(tersor.decode((tmp_path / "s.tsr").read_bytes())), frames[1])
    assert main(["encode", str(stack), "--pages", "all", "--codec", "lossless", "-q"]) == 0
    for n in range(3):
        data = (tmp_path / f"s-{n + 1}.tsr").read_bytes()
        assert np.array_equal(np.asarray(tersor.decode(data)), frames[n])
    assert main(["encode", str(stack), "--codec", "lossless", "-q", "-o", str(tmp_path / "all.tsr")]) == 0
    assert np.array_equal(np.asarray(tersor.decode((tmp_path / "all.tsr").read_bytes())), frames)
    for wrong in ("0", "4", "2-9", "3-2", "x"):
        assert (
            main(["encode", str(stack), "--pages", wrong, "-f", "-q", "-o", str(tmp_path / "w") + "/"]) == 1
        )
    assert "page 4 was asked for; the file has 3" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_animations_go_through_as_an_array(kind: str, tmp_path: Path) -> None:
    frames = [Image.fromarray(RNG.integers(0, 2, (9, 11, 3), dtype=np.uint8) * 255) for _ in range(4)]
    options = {"lossless": True} if kind == "WEBP" else {}
    path = tmp_path / "x"
    frames[0].save(path, kind, save_all=True, append_images=frames[1:], **options)
    array = np.asarray(tersor.decode(tersor.encode(path, codec="lossless")))
    assert np.array_equal(array[..., :3], np.stack([np.asarray(f) for f in frames]))
    out = io.BytesIO(path.read_bytes())
    assert np.array_equal(np.asarray(tersor.decode(tersor.encode(out, codec="lossless"))), array)


def test_strip_and_what_outputs_do_not_hold(
    tmp_path: Path, picture: np.ndarray, capsys: pytest.CaptureFixture[str]
) -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "Maker"
    source = save(tmp_path / "x.png", picture[:20, :30], exif=exif, dpi=(300, 300))
    file = tmp_path / "x.tsr"
    assert main(["encode", str(source), "--codec", "lossless", "-q"]) == 0
    for arguments, metadata in (([], {"exif", "resolution"}), (["--strip"], set())):
        out = tmp_path / f"out{len(arguments)}.png"
        assert main(["decode", str(file), "-o", str(out), "-q", *arguments]) == 0
        with Image.open(out) as im:
            assert im.size == ((20, 30) if arguments else (30, 20))
            assert ({"exif", "dpi"} & im.info.keys() != set()) == bool(metadata)
    capsys.readouterr()
    assert main(["decode", str(file), "-o", str(tmp_path / "y.ppm"), "--json"]) == 0
    (facts,) = objects(capsys.readouterr().out)
    assert facts["notes"] == [
        "turned upright, for a .ppm file holds no orientation",
        "a .ppm file holds no EXIF, resolution",
    ]
    assert main(["encode", str(source), "--codec", "lossless", "--strip", "-f", "-q"]) == 0
    assert tersor.info(file)["metadata"] == ()
    assert (tersor.info(file)["width"], tersor.info(file)["height"]) == (20, 30)
    np.save(tmp_path / "n.npy", np.zeros((3, 3)))
    assert main(["encode", str(tmp_path / "n.npy"), "--strip"]) == 1
    assert main(["encode", str(tmp_path / "n.npy"), "-q"]) == 0
    assert main(["decode", str(tmp_path / "n.tsr"), "-o", str(tmp_path / "m.npy"), "--strip"]) == 1
    assert not (tmp_path / "m.npy").exists()
