"""A page of thumbnails with captions."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from BYOL._files import write_atomically

SIDE = 112  # pixels of a thumbnail
COLUMNS = 8
_GAP, _LINE, _FONT_SIZE = 8, 13, 10
_INK = {"": "#333333", "good": "#1a7f37", "bad": "#cf222e"}


@dataclass(frozen=True)
class Tile:
    """A thumbnail.

    Args:
        picture: (C, H, W) uint8: grey, colour, or the first three of more channels.
        lines: captions below it; too long ones lose their middle.
        mood: "", "good" or "bad": colour of frame and first line.
    """

    picture: Tensor
    lines: tuple[str, ...]
    mood: str = ""


def save_grid(rows: list[list[Tile]], path: Path) -> Path:
    """Write a PNG; a row of more than :data:`COLUMNS` tiles is broken.

    Args:
        rows: tiles that belong beside each other.
        path: the file.

    Raises:
        UserError: it cannot be written.
    """
    broken = [row[i : i + COLUMNS] for row in rows for i in range(0, len(row), COLUMNS)]
    captions = max((len(tile.lines) for row in broken for tile in row), default=0)
    width = max((len(row) for row in broken), default=1)
    cell_w, cell_h = SIDE + _GAP, SIDE + _GAP + captions * _LINE
    page = Image.new("RGB", (width * cell_w + _GAP, max(len(broken), 1) * cell_h + _GAP), "white")
    for y, row in enumerate(broken):
        for x, tile in enumerate(row):
            _draw(page, tile, x * cell_w + _GAP, y * cell_h + _GAP)
    return write_atomically(path, lambda temporary: page.save(temporary, format="PNG"))


def _draw(page: Image.Image, tile: Tile, x: int, y: int) -> None:
    picture = thumbnail(tile.picture)
    draw = ImageDraw.Draw(page)
    left, top = x + (SIDE - picture.width) // 2, y + (SIDE - picture.height) // 2
    page.paste(picture, (left, top))
    edge = (left - 1, top - 1, left + picture.width, top + picture.height)
    draw.rectangle(edge, outline=_INK[tile.mood])
    for k, line in enumerate(tile.lines):
        ink = _INK[tile.mood if k == 0 else ""]
        draw.text((x, y + SIDE + 2 + k * _LINE), _shortened(line), ink, _font())


def thumbnail(picture: Tensor) -> Image.Image:
    """(C, H, W) uint8 as an RGB picture whose longer side is :data:`SIDE`; small ones in blocks."""
    pixels = picture[:3] if len(picture) >= 3 else picture[:1].expand(3, -1, -1)
    image = Image.fromarray(np.ascontiguousarray(pixels.permute(1, 2, 0).numpy()))
    scale = SIDE / max(image.size)
    size = (max(round(image.width * scale), 1), max(round(image.height * scale), 1))
    how = Image.Resampling.NEAREST if scale > 1 else Image.Resampling.BICUBIC
    return image.resize(size, how)


def _shortened(line: str) -> str:
    """As much of the line as fits under a thumbnail, its start and its end.

    Names of files may have a line break in them, or bytes that are no text: none can be drawn.
    """
    line = "".join(letter if letter.isprintable() else "?" for letter in line)
    font = _font()
    if font.getlength(line) <= SIDE:
        return line
    for kept in range(len(line) - 1, 1, -1):
        short = f"{line[: kept // 3]}…{line[-(kept - kept // 3) :]}"
        if font.getlength(short) <= SIDE:
            return short
    return "…"


@lru_cache(maxsize=1)
def _font() -> Any:
    """DejaVu Sans, which comes with matplotlib and knows most alphabets."""
    import matplotlib

    file = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    return ImageFont.truetype(str(file), _FONT_SIZE)
