"""A contact sheet: thumbnails with captions."""

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
    """A thumbnail with its captions.

    Args:
        image: (C, H, W) uint8. With more than three channels, the first three are shown.
        lines: captions below the image. Captions that are too long are shortened in the middle.
        status: "", "good" or "bad", which sets the colour of the frame and of the first line.
    """

    image: Tensor
    lines: tuple[str, ...]
    status: str = ""


def save_grid(rows: list[list[Tile]], path: Path) -> Path:
    """Write a PNG of ``rows``. A row of more than :data:`COLUMNS` tiles is wrapped.

    Args:
        rows: lists of tiles that are shown in the same row.
        path: the file to write.

    Raises:
        UserError: the file cannot be written.
    """
    wrapped = [row[i : i + COLUMNS] for row in rows for i in range(0, len(row), COLUMNS)]
    captions = max((len(tile.lines) for row in wrapped for tile in row), default=0)
    width = max((len(row) for row in wrapped), default=1)
    cell_w, cell_h = SIDE + _GAP, SIDE + _GAP + captions * _LINE
    page = Image.new("RGB", (width * cell_w + _GAP, max(len(wrapped), 1) * cell_h + _GAP), "white")
    for y, row in enumerate(wrapped):
        for x, tile in enumerate(row):
            _draw(page, tile, x * cell_w + _GAP, y * cell_h + _GAP)
    return write_atomically(path, lambda temporary: page.save(temporary, format="PNG"))


def _draw(page: Image.Image, tile: Tile, x: int, y: int) -> None:
    image = thumbnail(tile.image)
    draw = ImageDraw.Draw(page)
    left, top = x + (SIDE - image.width) // 2, y + (SIDE - image.height) // 2
    page.paste(image, (left, top))
    edge = (left - 1, top - 1, left + image.width, top + image.height)
    draw.rectangle(edge, outline=_INK[tile.status])
    for k, line in enumerate(tile.lines):
        ink = _INK[tile.status if k == 0 else ""]
        draw.text((x, y + SIDE + 2 + k * _LINE), _shortened(line), ink, _font())


def thumbnail(pixels: Tensor) -> Image.Image:
    """Return (C, H, W) uint8 ``pixels`` as an RGB image whose longer side is :data:`SIDE`.

    Small images are enlarged without interpolation.
    """
    pixels = pixels[:3] if len(pixels) >= 3 else pixels[:1].expand(3, -1, -1)
    image = Image.fromarray(np.ascontiguousarray(pixels.permute(1, 2, 0).numpy()))
    scale = SIDE / max(image.size)
    size = (max(round(image.width * scale), 1), max(round(image.height * scale), 1))
    resampling = Image.Resampling.NEAREST if scale > 1 else Image.Resampling.BICUBIC
    return image.resize(size, resampling)


def _shortened(line: str) -> str:
    """Shorten a caption to the width of a thumbnail by removing characters from its middle.

    Characters that cannot be drawn, such as line breaks and undecodable bytes in file names, are
    replaced by question marks.
    """
    line = "".join(character if character.isprintable() else "?" for character in line)
    font = _font()
    if font.getlength(line) <= SIDE:
        return line
    for kept in range(len(line) - 1, 1, -1):
        shortened = f"{line[: kept // 3]}…{line[-(kept - kept // 3) :]}"
        if font.getlength(shortened) <= SIDE:
            return shortened
    return "…"


@lru_cache(maxsize=1)
def _font() -> Any:
    """Return DejaVu Sans, which is part of matplotlib and supports most alphabets."""
    import matplotlib

    file = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    return ImageFont.truetype(str(file), _FONT_SIZE)
