"""Pictures as data URIs, small enough to travel inside a page."""

import base64
import io
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

CRISP = 64  # pixels: up to this, pictures are kept exactly and shown enlarged
LOSSLESS = 300_000  # bytes that an exact sheet may take
_WIDEST = 1400  # pixels of a large picture of views


def as_picture(pixels: Tensor) -> Image.Image:
    """A (C, H, W) uint8 tensor as a picture: the first three channels, or the first one as grey."""
    if len(pixels) < 3:
        return Image.fromarray(pixels[0].contiguous().numpy())
    return Image.fromarray(pixels[:3].permute(1, 2, 0).contiguous().numpy())


def data_uri(picture: Image.Image) -> str:
    """PNG for small pictures, which JPEG would smear; JPEG for the others."""
    if max(picture.size) <= CRISP:
        return _encoded(picture, "PNG", optimize=True)
    return _encoded(picture, "JPEG", quality=82, optimize=True)


def sheet(pixels: Tensor) -> tuple[str, int]:
    """Many small pictures as one, row by row.

    Args:
        pixels: (n, C, s, s) uint8.

    Returns:
        The data URI and the number of columns.
    """
    n, _, side, _ = pixels.shape
    columns = int(np.ceil(np.sqrt(n)))
    rows = -(-n // columns)
    canvas = Image.new("L" if pixels.shape[1] < 3 else "RGB", (columns * side, rows * side))
    for i in range(n):
        canvas.paste(as_picture(pixels[i]), (i % columns * side, i // columns * side))
    exact = _encoded(canvas, "PNG", optimize=True)
    if len(exact) <= LOSSLESS:
        return exact, columns
    # Without chroma subsampling no picture's colour runs into its neighbour's.
    return _encoded(canvas, "JPEG", quality=78, optimize=True, subsampling=0), columns


def file_uri(path: Path) -> str | None:
    """A picture in a file, made smaller where it is large; None where there is none."""
    if not path.exists():
        return None
    with Image.open(path) as file:
        picture = file.convert("RGB")
        exact = _encoded(picture, "PNG", optimize=True)
        if len(exact) <= LOSSLESS:
            return exact
        if picture.width > _WIDEST:
            height = round(picture.height * _WIDEST / picture.width)
            picture = picture.resize((_WIDEST, height), Image.Resampling.LANCZOS)
        return _encoded(picture, "JPEG", quality=80, optimize=True)


def _encoded(picture: Image.Image, kind: str, **settings: bool | int) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, format=kind, **settings)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"
