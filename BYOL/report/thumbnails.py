"""Images as data URIs that are embedded in the page."""

import base64
import io
import logging
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from BYOL.data.formats.supported import open_image
from BYOL.errors import first_line

log = logging.getLogger(__name__)

CRISP = 64  # pixels; up to this size images are lossless and shown enlarged
LOSSLESS = 300_000  # bytes; larger sheets are stored as JPEG
_WIDEST = 1400  # pixels; wider images of views are reduced


def to_image(pixels: Tensor) -> Image.Image:
    """Return (C, H, W) uint8 ``pixels`` as an image.

    The first three channels are shown. With fewer than three, the first is shown as grey.
    """
    if len(pixels) < 3:
        return Image.fromarray(pixels[0].contiguous().numpy())
    return Image.fromarray(pixels[:3].permute(1, 2, 0).contiguous().numpy())


def data_uri(image: Image.Image) -> str:
    """Encode small images as PNG, because JPEG would blur them, and others as JPEG."""
    if max(image.size) <= CRISP:
        return _encoded(image, "PNG")
    return _encoded(image, "JPEG", quality=82, optimize=True)


def thumbnail_grid(pixels: Tensor) -> tuple[str, int]:
    """Combine small images into one image, row by row.

    Args:
        pixels: (n, C, s, s) uint8.

    Returns:
        The data URI and the number of columns of the grid.
    """
    n, _, side, _ = pixels.shape
    columns = int(np.ceil(np.sqrt(n)))
    rows = -(-n // columns)
    canvas = Image.new("L" if pixels.shape[1] < 3 else "RGB", (columns * side, rows * side))
    for i in range(n):
        canvas.paste(to_image(pixels[i]), (i % columns * side, i // columns * side))
    # A higher level takes up to eight times as long for a few per cent of the bytes.
    lossless = _encoded(canvas, "PNG", compress_level=3)
    if len(lossless) <= LOSSLESS:
        return lossless, columns
    # Chroma subsampling would mix the colours of adjacent images.
    return _encoded(canvas, "JPEG", quality=78, optimize=True, subsampling=0), columns


def file_uri(path: Path) -> str | None:
    """Return the image file at ``path`` as a data URI, reduced if it is large.

    None if the file is missing. A file that cannot be read, such as one of an interrupted copy, is
    left out with a warning.
    """
    if not path.exists():
        return None
    try:
        with open_image(path) as file:
            image = file.convert("RGB")
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        log.warning(f"{path} is left out of the page: {first_line(error)}")
        return None
    return _file_uri(image)


def _file_uri(image: Image.Image) -> str:
    lossless = _encoded(image, "PNG", optimize=True)
    if len(lossless) <= LOSSLESS:
        return lossless
    if image.width > _WIDEST:
        height = round(image.height * _WIDEST / image.width)
        image = image.resize((_WIDEST, height), Image.Resampling.LANCZOS)
    return _encoded(image, "JPEG", quality=80, optimize=True)


def _encoded(image: Image.Image, file_format: str, **settings: bool | int) -> str:
    buffer = io.BytesIO()
    image.save(buffer, format=file_format, **settings)
    content = base64.b64encode(buffer.getvalue()).decode()
    return f"data:image/{file_format.lower()};base64,{content}"
