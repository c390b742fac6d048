"""Large pictures become tiles, of the same values: scenes, slides, boards."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from BYOL.data.decode import BrokenImageError, beginning, named_errors
from BYOL.data.formats.tiff import band_shape, read_bands

MOST_PIXELS = 2_000_000_000  # of a picture: 6 GB of colours
_AS = {"1": "L", "P": "RGB", "LA": "RGBA", "PA": "RGBA", "CMYK": "RGB", "YCbCr": "RGB",
       "LAB": "RGB", "HSV": "RGB", "La": "RGBA", "RGBa": "RGBA", "RGBX": "RGB"}  # fmt: skip


@dataclass(frozen=True)
class Tiling:
    """How a picture is cut.

    Args:
        size: side of a tile in pixels.
        stride: from one to the next.
        blank: share of the range of values below which a tile is left out, see
            :func:`is_blank`.
    """

    size: int
    stride: int
    blank: float = 0.0


@dataclass
class Cut:
    """What became of a picture.

    Args:
        name: of the picture.
        tiles: names of its tiles.
        blank: how many were left out.
        error: why it could not be read, or None.
    """

    name: str
    tiles: list[str] = field(default_factory=list)
    blank: int = 0
    error: str | None = None


def starts(total: int, size: int, stride: int) -> list[int]:
    """Where tiles begin along a side, so that all of it is covered; the last ends with it.

    A side shorter than a tile has one, which is as long as the side.
    """
    if total <= size:
        return [0]
    return [*range(0, total - size, stride), total - size]


def cut_picture(root: Path, name: str, out: Path, how: Tiling) -> Cut:
    """Write the tiles of ``root / name`` below ``out``, in the folder that the picture is in.

    Raises:
        OSError: a tile cannot be written.
    """
    found = Cut(name)
    try:
        values = read_values(root / name)
    except BrokenImageError as error:
        found.error = str(error)
        return found
    place = Path(name)
    (out / place.parent).mkdir(parents=True, exist_ok=True)
    spread = value_range(values)
    height, width = values.shape[:2]
    for top in starts(height, how.size, how.stride):
        for left in starts(width, how.size, how.stride):
            tile = values[top : top + how.size, left : left + how.size]
            if is_blank(tile, how.blank * spread):
                found.blank += 1
                continue
            # the ending too, since a.png may lie beside a.jpg
            stem = f"{place.stem}_{place.suffix[1:]}_{top}_{left}"
            found.tiles.append((place.parent / f"{stem}{_ending(values)}").as_posix())
            _write(tile, out / found.tiles[-1])
    return found


def read_values(path: Path) -> np.ndarray:
    """The values of a picture, upright: (H, W) or (H, W, bands), of the type that they have.

    Raises:
        BrokenImageError: it cannot be read.
    """
    with named_errors(path):
        if band_shape(path, beginning(path)):
            return read_bands(path)
        with Image.open(path) as image:
            upright = ImageOps.exif_transpose(image)
            mode = "RGBA" if "transparency" in image.info else _AS.get(image.mode, image.mode)
            return np.asarray(upright.convert(mode) if mode != image.mode else upright)


def value_range(values: np.ndarray) -> float:
    """From the least value that there may be to the largest: 255 of bytes, of others what is
    there."""
    if values.dtype == np.uint8:
        return 255.0
    finite = values[np.isfinite(values)]
    return float(finite.max()) - float(finite.min()) if finite.size else 0.0


def is_blank(tile: np.ndarray, most: float) -> bool:
    """Whether no channel has a standard deviation of more than ``most``."""
    values = tile.reshape(-1, tile.shape[-1] if tile.ndim > 2 else 1).astype(np.float64)
    seen = np.isfinite(values)  # "no data" is often no number, and is no value
    count = seen.sum(axis=0).clip(1)
    values = np.where(seen, values, 0.0)
    spread = np.where(seen, values - values.sum(axis=0) / count, 0.0)
    return bool((np.sqrt((spread**2).sum(axis=0) / count) <= most).all())


@contextmanager
def large_pictures() -> Iterator[None]:
    """Let Pillow open pictures of up to :data:`MOST_PIXELS`, which it takes for an attack."""
    usual, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, MOST_PIXELS // 2
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = usual


def _ending(values: np.ndarray) -> str:
    """PNG holds bytes of one, three or four channels, and 16 bits of one; TIFF all else."""
    bytes_ = values.dtype == np.uint8 and (values.ndim == 2 or values.shape[2] in (3, 4))
    return ".png" if bytes_ or (values.dtype == np.uint16 and values.ndim == 2) else ".tif"


def _write(tile: np.ndarray, path: Path) -> None:
    if path.suffix == ".png":
        # half the time of the usual level, for a twentieth more bytes
        Image.fromarray(np.ascontiguousarray(tile)).save(path, compress_level=1)
        return
    from tifffile import imwrite

    how: dict[str, Any] = {"photometric": "minisblack", "compression": "zlib"}
    if tile.ndim == 3:
        how["planarconfig"] = "contig"  # the bands of a pixel side by side
    imwrite(path, np.ascontiguousarray(tile), **how)
