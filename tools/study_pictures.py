"""Every picture of a folder through the lossless codec, into a .tsr file and back into a picture or array: is
it equal to the file's values, or refused with the reason?

python tools/study_pictures.py FOLDER [--show]

FOLDER is Tests/images of Pillow's source distribution (pip download --no-binary :all: --no-deps pillow), say.
The values to compare with are those of Pillow's own reader, frame by frame, and of tifffile where Pillow
holds less than a TIFF does. Outcomes:

    picture     equal, as an image
    array       equal, as an array: stacks, animations, signed and wide integers
    refused     an error, though Pillow opens it: samples that it reduces, formats whose depth nobody states
    damaged     an error, and Pillow reads no picture either
    CHANGED     other values without a word
    LOST        metadata of the picture that its PNG lacks, without a word
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from PIL import Image as Pil
from PIL import ImageSequence

import tersor
from tersor.errors import TersorError
from tersor.files.coerce import as_integers
from tersor.files.field import read_field, write_field
from tersor.files.image import image_file, read_image
from tersor.files.image_metadata import resolution_of
from tersor.files.image_options import texts
from tersor.signals import Field, Image

COLUMNS = ("picture", "array", "refused", "damaged", "CHANGED", "LOST")


def frames_of(path: Path) -> tuple[str, list[Any]]:
    """Format, and the frames as Pillow reads them: integers [H, W], or RGBA [H, W, 4]."""
    with Pil.open(path) as im:
        if im.format in ("MPO", "PSD"):
            return str(im.format), [_values(im)]
        return str(im.format), [_values(frame) for frame in ImageSequence.Iterator(im)]


def _values(im: Pil.Image) -> Any:
    im.load()
    if im.mode.startswith(("I", "F")):
        return np.array(im)
    return np.array(im.convert("RGBA"))


def seen(samples: Any) -> Any:
    """Samples [H, W, C] of 8 bits as RGBA, of 16 bits as they are."""
    if samples.dtype != np.uint8:
        return samples[:, :, 0] if samples.shape[2] == 1 else samples
    return np.array(Pil.fromarray(samples[:, :, 0] if samples.shape[2] == 1 else samples).convert("RGBA"))


def is_equal(signal: Image | Field, path: Path, frames: list[Any]) -> bool:
    """Whether a signal holds what Pillow or tifffile reads."""
    if isinstance(signal, Image):
        mine = seen(signal.samples)
        if np.array_equal(mine, frames[0]):
            return True
        if mine.ndim > frames[0].ndim and np.array_equal(mine[..., 0], frames[0]):  # alpha of 16-bit grey
            return True
        return mine.dtype == np.uint16 and np.array_equal(
            signal.samples.squeeze(), _by_tifffile(path).squeeze()
        )
    values = signal.values
    if len(values) == len(frames) and values.dtype == np.uint8 and values.ndim > 2:
        pages = [seen(v[:, :, None] if values.ndim == 3 else v) for v in values]
        if all(np.array_equal(a, b) for a, b in zip(pages, frames, strict=True)):
            return True
    return bool(np.array_equal(values, _by_tifffile(path)))


def is_kept(key: str, before: Image, after: Image) -> bool:
    """Whether metadata of an image are in its PNG, which has metres for inches, and a text for a comment."""
    a, b = before.metadata, after.metadata
    if key == "comment":
        return any(t[0].lower() == "comment" for t in texts(b))
    if key == "text":
        wanted = [[v.replace("\0", " ") for v in t] for t in texts(a)]
        return [t for t in texts(b) if t in wanted] == wanted
    if key == "resolution" and (found := resolution_of(a, "inch")):
        again = resolution_of(b, "inch")
        return bool(again) and all(abs(x - y) <= x / 100 for x, y in zip(found, again or found, strict=True))
    return a[key] == b.get(key) or (key == "resolution" and resolution_of(b, "") is not None)


def _by_tifffile(path: Path) -> Any:
    if path.suffix.lower() not in (".tif", ".tiff"):
        return np.empty(0)
    x = tifffile.imread(path)
    with tifffile.TiffFile(path) as file:
        return np.moveaxis(x, 0, -1) if file.series[0].axes == "SYX" and x.dtype == np.uint16 else x


def outcome(path: Path, frames: list[Any] | None) -> tuple[str, str]:
    """(column, what was said)."""
    try:
        signal: Any = as_integers(path)
        file = tersor.encode(signal, codec="lossless", effort=1)
    except TersorError as e:
        return ("damaged" if frames is None else "refused"), str(e)
    back = tersor.decode(file)
    if frames is None:
        return "array" if isinstance(signal, Field) else "CHANGED", f"{signal}, that Pillow does not read"
    if not is_equal(back, path, frames):
        return "CHANGED", f"{signal} {signal.notes}"
    with tempfile.TemporaryDirectory() as folder:
        if isinstance(back, Field):
            write_field(back, Path(folder) / "x.npy")
            again: Any = read_field(Path(folder) / "x.npy")
            return ("array" if np.array_equal(again.values, signal.values) else "CHANGED"), ""
    data, notes = image_file(back, ".png")
    written = read_image(data)
    if not (np.array_equal(written.samples, signal.samples) or "turned upright" in " ".join(notes)):
        return "CHANGED", f"{signal} written as PNG {notes}"
    lost = [k for k in signal.metadata if not is_kept(k, signal, written)]
    if lost and not notes:
        return "LOST", ", ".join(lost)
    return "picture", "; ".join([*signal.notes, *notes])


def main() -> int:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("folder", type=Path)
    p.add_argument("--show", action="store_true", help="a line for each file")
    a = p.parse_args()
    warnings.simplefilter("ignore")
    tersor.encode(np.zeros((4, 4), np.uint8), codec="lossless")
    Pil.init()
    table: dict[str, Counter[str]] = {}
    for path in sorted(a.folder.rglob("*")):
        if not path.is_file():
            continue
        frames: list[Any] | None = None
        try:
            kind, frames = frames_of(path)
        except Exception:  # damaged files raise whatever comes to Pillow's parsers
            kind = "not read by Pillow"
        column, said = outcome(path, frames)
        table.setdefault(kind, Counter())[column] += 1
        if a.show or column in ("CHANGED", "LOST"):
            print(f"  {column:8s} {path.relative_to(a.folder)}  {said[:400]}", flush=True)
    print(f"{'files by format':20s}", *(f"{c:>8s}" for c in COLUMNS))
    whole: Counter[str] = Counter()
    for kind, counts in sorted(table.items()):
        print(f"{kind:20s}", *(f"{counts[c]:8d}" for c in COLUMNS))
        whole += counts
    print(f"{'all':20s}", *(f"{whole[c]:8d}" for c in COLUMNS))
    return int(whole["CHANGED"] + whole["LOST"] > 0)


if __name__ == "__main__":
    sys.exit(main())
