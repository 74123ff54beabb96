"""Training crops from folders of photographs, plus rendered screen content.

Photographs are decoded once and kept as uint8 in memory; a batch is slices of them. Half of the crops are the
more detailed of two draws, so that smooth sky does not fill the batches.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from tersor.errors import SignalError

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".ppm"}
WORDS = [
    "the",
    "file",
    "ends",
    "before",
    "what",
    "its",
    "header",
    "announces;",
    "allowed",
    "are",
    "1..100",
    "def",
    "encode(x):",
    "return",
    "y",
    "#",
    "0x7f3a",
    "<div>",
    "(a",
    "+",
    "b)",
    "*",
    "c",
    "Zürich",
    "42",
    "%",
    "=",
    "∑",
    "Qq",
]


def image_paths(folders: Sequence[str | Path]) -> list[Path]:
    """All image files below the folders, sorted.

    Raises:
        SignalError: there are none.
    """
    paths = sorted(
        p for f in folders for p in Path(f).rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file()
    )
    if not paths:
        raise SignalError(
            f"no images below {', '.join(map(str, folders))}; known suffixes are {' '.join(sorted(SUFFIXES))}"
        )
    return paths


def load_rgb(path: Path) -> Tensor:
    """uint8 [3, H, W]."""
    try:
        with Image.open(path) as im:
            return torch.from_numpy(np.array(im.convert("RGB"))).permute(2, 0, 1).contiguous()
    except (OSError, ValueError, SyntaxError) as e:
        raise SignalError(f"{path}: not an image that can be read ({e}); remove it from the folder") from e


def render_screen(seed: int, size: int = 768) -> Tensor:
    """A page of text, boxes, lines and gradients in random colours, uint8 [3, size, size]; the same for the
    same seed.
    """
    rng = np.random.default_rng(seed)

    def colour() -> tuple[int, int, int]:
        r, g, b = (int(v) for v in rng.integers(0, 256, 3))
        return r, g, b

    light = rng.random() < 0.6
    page = Image.new("RGB", (size, size), (250, 250, 250) if light else colour())
    draw = ImageDraw.Draw(page)
    for _ in range(int(rng.integers(4, 14))):
        x, y = (int(v) for v in rng.integers(0, size - 64, 2))
        w, h = (int(v) for v in rng.integers(16, 300, 2))
        shape = rng.integers(0, 4)
        if shape == 0:
            draw.rectangle((x, y, x + w, y + h), fill=colour())
        elif shape == 1:
            draw.ellipse((x, y, x + w, y + h), fill=colour(), outline=colour())
        elif shape == 2:
            draw.line(
                (x, y, x + w, y + int(rng.integers(-h, h))), fill=colour(), width=int(rng.integers(1, 5))
            )
        else:
            ramp = np.linspace(colour(), colour(), w)[None].repeat(h, 0)
            page.paste(Image.fromarray(ramp.astype(np.uint8)), (x, y))
    for _ in range(int(rng.integers(3, 9))):
        x, y = (int(v) for v in rng.integers(0, size - 100, 2))
        font = ImageFont.load_default(int(rng.integers(9, 40)))
        ink = (20, 20, 20) if light and rng.random() < 0.7 else colour()
        text = "\n".join(
            " ".join(rng.choice(WORDS, int(rng.integers(3, 12)))) for _ in range(int(rng.integers(1, 10)))
        )
        draw.multiline_text((x, y), text, fill=ink, font=font)
    return torch.from_numpy(np.array(page)).permute(2, 0, 1).contiguous()


def detail(crop: Tensor) -> float:
    """Mean absolute gradient of the green channel, on every third sample."""
    g = crop[1, ::3, ::3].float()
    return float(g.diff(dim=0).abs().mean() + g.diff(dim=1).abs().mean())


class Crops:
    """Random square crops of images held in memory.

    Args:
        images: uint8 [3, H, W] each.
        screens: rendered pages; drawn with probability `screen_share`.
        size: side of a crop. Images smaller than it are left out.
        seed: of the generator, whose state is `state()`.
    """

    screen_share = 0.04
    zoom_share = 0.3

    def __init__(self, images: Sequence[Tensor], screens: Sequence[Tensor], size: int, seed: int) -> None:
        self.images = [i for i in images if min(i.shape[1:]) >= size]
        if not self.images:
            raise SignalError(
                f"none of {len(images)} images has both sides of at least {size}; "
                "train with a smaller crop or larger images"
            )
        self.screens = screens
        self.size = size
        self.rng = np.random.default_rng(seed)

    def state(self) -> dict[str, object]:
        return dict(self.rng.bit_generator.state)

    def set_state(self, state: dict[str, object]) -> None:
        self.rng.bit_generator.state = state

    def _slice(self, image: Tensor, size: int) -> Tensor:
        _, h, w = image.shape
        i, j = int(self.rng.integers(h - size + 1)), int(self.rng.integers(w - size + 1))
        return image[:, i : i + size, j : j + size]

    def draw(self) -> Tensor:
        """One crop, uint8 [3, size, size]; sometimes a larger one scaled down."""
        if self.screens and self.rng.random() < self.screen_share:
            return self._slice(self.screens[int(self.rng.integers(len(self.screens)))], self.size)

        def photo() -> Tensor:
            return self.images[int(self.rng.integers(len(self.images)))]

        if self.rng.random() < self.zoom_share:
            image = photo()
            largest = min(min(image.shape[1:]), 2 * self.size)
            crop = self._slice(image, int(self.rng.integers(self.size, largest + 1)))
            scaled = torch.nn.functional.interpolate(
                crop[None], size=self.size, mode="bilinear", antialias=True
            )
            return scaled[0]
        crop = self._slice(photo(), self.size)
        if self.rng.random() < 0.5:
            crop = max(crop, self._slice(photo(), self.size), key=detail)
        return crop

    def batch(self, n: int) -> Tensor:
        """uint8 [n, 3, size, size]."""
        return torch.stack([self.draw() for _ in range(n)])
