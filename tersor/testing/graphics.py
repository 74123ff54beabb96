"""Twelve pictures that no camera took, rendered from a seed: what lossless coders of graphics are held to."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Picture = NDArray[np.uint8]
WORDS = ("the", "quick", "brown", "fox", "jumps", "over", "a", "lazy", "dog", "while", "seven", "wizards")


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _sentence(rng: np.random.Generator, words: int) -> str:
    return " ".join(WORDS[i] for i in rng.integers(0, len(WORDS), words))


def text(rng: np.random.Generator) -> Picture:
    """A page of grey antialiased text."""
    page = Image.new("L", (640, 480), 255)
    draw = ImageDraw.Draw(page)
    for y in range(12, 470, 18):
        draw.text((20, y), _sentence(rng, 14), fill=0, font=_font(13))
    return np.array(page)[..., None]


def window(rng: np.random.Generator) -> Picture:
    """A program's window: bars, buttons, a list, coloured antialiased text."""
    page = Image.new("RGB", (800, 600), (240, 240, 240))
    draw = ImageDraw.Draw(page)
    draw.rectangle((0, 0, 800, 30), fill=(45, 62, 80))
    draw.text((10, 7), "Document 1 - Editor", fill=(255, 255, 255), font=_font(15))
    for i, name in enumerate(("File", "Edit", "View", "Insert", "Format", "Tools", "Help")):
        draw.text((12 + 60 * i, 36), name, fill=(20, 20, 20), font=_font(13))
    for i in range(12):
        draw.rounded_rectangle(
            (10 + 34 * i, 58, 40 + 34 * i, 86), 5, fill=(225, 228, 232), outline=(160, 160, 170)
        )
        draw.ellipse((18 + 34 * i, 65, 32 + 34 * i, 79), fill=tuple(int(v) for v in rng.integers(0, 255, 3)))
    draw.rectangle((10, 95, 210, 590), fill=(255, 255, 255), outline=(150, 150, 150))
    draw.rectangle((220, 95, 790, 590), fill=(255, 255, 255), outline=(150, 150, 150))
    for i in range(24):
        draw.text((20, 100 + 20 * i), _sentence(rng, 3)[:24], fill=(30, 60, 140), font=_font(12))
        draw.text((230, 100 + 20 * i), _sentence(rng, 12)[:80], fill=(30, 30, 30), font=_font(13))
    return np.array(page)


def chart(rng: np.random.Generator) -> Picture:
    """Antialiased curves over a grid."""
    page = Image.new("RGB", (1440, 960), (255, 255, 255))
    draw = ImageDraw.Draw(page)
    for i in range(0, 1440, 120):
        draw.line((i, 0, i, 960), fill=(220, 220, 220), width=2)
    for i in range(0, 960, 120):
        draw.line((0, i, 1440, i), fill=(220, 220, 220), width=2)
    for colour in ((31, 119, 180), (255, 127, 14), (44, 160, 44), (214, 39, 40)):
        ys = 480 + np.cumsum(rng.normal(0, 16, 180))
        draw.line([(8 * i, float(y)) for i, y in enumerate(ys)], fill=colour, width=5)
    small = page.resize((720, 480), Image.Resampling.BOX)
    draw = ImageDraw.Draw(small)
    for i in range(0, 720, 60):
        draw.text((i + 2, 465), str(i), fill=(60, 60, 60), font=_font(11))
    return np.array(small)


def bars(rng: np.random.Generator) -> Picture:
    """Bars of flat colours with a legend, without antialiasing."""
    page = Image.new("RGB", (640, 400), (250, 250, 250))
    draw = ImageDraw.Draw(page)
    draw.fontmode = "1"
    for i in range(20):
        for j in range(3):
            top = int(rng.integers(40, 360))
            x = 20 + 30 * i + 8 * j
            draw.rectangle((x, top, x + 7, 370), fill=((200, 60, 60), (60, 160, 60), (60, 60, 200))[j])
    draw.line((10, 371, 630, 371), fill=(0, 0, 0))
    for i in range(20):
        draw.text((24 + 30 * i, 376), str(2000 + i)[2:], fill=(0, 0, 0), font=_font(11))
    return np.array(page)


def sprites(rng: np.random.Generator) -> Picture:
    """Pixel art: 16x16 tiles of few colours, laid out as a map, each pixel doubled."""
    palette = rng.integers(0, 256, (24, 3), dtype=np.uint8)
    tiles = []
    for _ in range(14):
        half = palette[rng.integers(0, 24, 4)[rng.integers(0, 4, (16, 8))]]
        tiles.append(np.concatenate([half, half[:, ::-1]], 1))
    layout = rng.choice(14, (16, 20), p=np.array([20, 10, 8, *[1] * 11]) / 49)
    rows = [np.concatenate([tiles[i] for i in row], 1) for row in layout]
    return np.concatenate(rows, 0).repeat(2, 0).repeat(2, 1)


def gradient(rng: np.random.Generator) -> Picture:
    """Smooth gradients in two directions."""
    y, x = np.mgrid[0:400, 0:600]
    return np.stack([x * 255 // 599, y * 255 // 399, (x + y) * 255 // 998], 2).astype(np.uint8)


def checker(rng: np.random.Generator) -> Picture:
    """One-pixel checks beside eight-pixel checks."""
    y, x = np.mgrid[0:512, 0:512]
    fine, coarse = (x + y) % 2, (x // 8 + y // 8) % 2
    return (np.where(x < 256, fine, coarse) * 255).astype(np.uint8)[..., None].repeat(3, 2)


def ordered(rng: np.random.Generator) -> Picture:
    """A grey ramp dithered by an 8x8 Bayer matrix to two values."""
    base = np.array([[0, 2], [3, 1]])
    for _ in range(2):
        base = np.block([[4 * base, 4 * base + 2], [4 * base + 3, 4 * base + 1]])
    y, x = np.mgrid[0:384, 0:512]
    ramp = (x + 0.5 * y) / (512 + 192) * 64
    return ((ramp > base[y % 8, x % 8]) * 255).astype(np.uint8)[..., None]


def diffused(rng: np.random.Generator) -> Picture:
    """A smooth scene in 16 colours, the error diffused (Floyd and Steinberg)."""
    y, x = np.mgrid[0:300, 0:400] / 60.0
    scene = np.stack([np.sin(x + y), np.sin(1.3 * x - y), np.cos(0.7 * y + x)], 2) * 100 + 128
    return np.array(
        Image.fromarray(scene.astype(np.uint8))
        .quantize(16, dither=Image.Dither.FLOYDSTEINBERG)
        .convert("RGB")
    )


def drawing(rng: np.random.Generator) -> Picture:
    """Line art: black on white, one pixel wide."""
    page = Image.new("L", (800, 600), 255)
    draw = ImageDraw.Draw(page)
    for _ in range(60):
        p = rng.integers(0, 600, 4)
        box = (int(min(p[0], p[1])), int(min(p[2], p[3])), int(max(p[0], p[1])), int(max(p[2], p[3])))
        if rng.random() < 0.5:
            draw.ellipse(box, outline=0)
        else:
            draw.line(box, fill=0)
    return np.array(page)[..., None]


def chart_map(rng: np.random.Generator) -> Picture:
    """A map: regions of flat colours with borders, roads and names."""
    points = rng.integers(0, 640, (40, 2))
    y, x = np.mgrid[0:480, 0:640]
    distance = (x[..., None] - points[:, 0]) ** 2 + (y[..., None] - points[:, 1]) ** 2
    region = np.argmin(distance, 2)
    colours = rng.integers(150, 250, (40, 3), dtype=np.uint8)
    out = colours[region]
    border = (region != np.roll(region, 1, 0)) | (region != np.roll(region, 1, 1))
    out[border] = (90, 90, 90)
    page = Image.fromarray(out)
    draw = ImageDraw.Draw(page)
    for _ in range(8):
        a = rng.integers(0, 640, 8)
        draw.line([(int(a[i]), int(a[i + 1] * 0.75)) for i in range(0, 8, 2)], fill=(230, 120, 40), width=3)
    for p in points[:25]:
        draw.text((int(p[0]), int(p[1])), _sentence(rng, 1), fill=(0, 0, 0), font=_font(12))
    return np.array(page)


def icons(rng: np.random.Generator) -> Picture:
    """Antialiased shapes on transparency."""
    page = Image.new("RGBA", (512 * 4, 256 * 4), (0, 0, 0, 0))
    draw = ImageDraw.Draw(page)
    for i in range(8):
        for j in range(4):
            colour = (*(int(v) for v in rng.integers(0, 255, 3)), 255)
            box = (256 * i + 24, 256 * j + 24, 256 * i + 232, 256 * j + 232)
            kind = int(rng.integers(0, 3))
            if kind == 0:
                draw.ellipse(box, fill=colour)
            elif kind == 1:
                draw.rounded_rectangle(box, 60, fill=colour)
            else:
                draw.polygon(
                    [(box[0], box[3]), ((box[0] + box[2]) // 2, box[1]), (box[2], box[3])], fill=colour
                )
    return np.array(page.resize((512, 256), Image.Resampling.BOX))


RENDERERS: tuple[Callable[[np.random.Generator], Picture], ...] = (
    *(text, window, chart, bars, sprites, gradient, checker, ordered, diffused, drawing, chart_map, icons),
)


def graphics() -> dict[str, Picture]:
    """The twelve by name, uint8 [H, W, C]."""
    return {r.__name__: r(np.random.default_rng(i)) for i, r in enumerate(RENDERERS)}
