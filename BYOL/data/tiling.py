"""Cutting large images, such as satellite scenes and slides, into tiles without loss."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from BYOL.data.decode import BrokenImageError, read_stored

MOST_PIXELS = 2_000_000_000  # of an image: 6 GB in RGB


@dataclass(frozen=True)
class Tiling:
    """Parameters of the tiles.

    Args:
        size: side of a tile in pixels.
        stride: distance between the starts of adjacent tiles in pixels.
        blank: tiles whose standard deviation is at most this share of the value range are left out,
            see :func:`is_blank`.
    """

    size: int
    stride: int
    blank: float = 0.0


@dataclass
class Cut:
    """The tiles of one image.

    Args:
        name: of the image.
        tiles: names of the tiles.
        blank: number of tiles that were left out.
        error: the reason why the image could not be read, or None.
    """

    name: str
    tiles: list[str] = field(default_factory=list)
    blank: int = 0
    error: str | None = None


def tile_starts(total: int, size: int, stride: int) -> list[int]:
    """The starts of tiles that cover a side of ``total`` pixels; the last tile ends at its end.

    A side shorter than a tile has one tile of its length.
    """
    if total <= size:
        return [0]
    return [*range(0, total - size, stride), total - size]


def tile_image(root: Path, name: str, out: Path, tiling: Tiling) -> Cut:
    """Write the tiles of ``root / name`` below ``out``, in the subfolder of the image.

    Raises:
        OSError: a tile cannot be written.
    """
    cut = Cut(name)
    try:
        values = read_values(root / name)
    except BrokenImageError as error:
        cut.error = str(error)
        return cut
    place = Path(name)
    (out / place.parent).mkdir(parents=True, exist_ok=True)
    full_range = value_range(values)
    height, width = values.shape[:2]
    for top in tile_starts(height, tiling.size, tiling.stride):
        for left in tile_starts(width, tiling.size, tiling.stride):
            tile = values[top : top + tiling.size, left : left + tiling.size]
            if is_blank(tile, tiling.blank * full_range):
                cut.blank += 1
                continue
            # includes the suffix, because a.png and a.jpg may be in the same folder
            stem = f"{place.stem}_{place.suffix[1:]}_{top}_{left}"
            cut.tiles.append((place.parent / f"{stem}{_suffix(values)}").as_posix())
            _write(tile, out / cut.tiles[-1])
    return cut


def read_values(path: Path) -> np.ndarray:
    """Read an image, upright, with its original values: (H, W) or (H, W, bands).

    Raises:
        BrokenImageError: it cannot be read.
    """
    values = read_stored(path).values
    return values[..., 0] if values.shape[2] == 1 else values


def value_range(values: np.ndarray) -> float:
    """The largest minus the smallest value: 255 for uint8, else of the finite ``values``."""
    if values.dtype == np.uint8:
        return 255.0
    finite = values[np.isfinite(values)]
    return float(finite.max()) - float(finite.min()) if finite.size else 0.0


def is_blank(tile: np.ndarray, most: float) -> bool:
    """Whether every channel has a standard deviation of at most ``most``."""
    values = tile.reshape(-1, tile.shape[-1] if tile.ndim > 2 else 1).astype(np.float64)
    finite = np.isfinite(values)  # "no data" is often stored as NaN
    count = finite.sum(axis=0).clip(1)
    values = np.where(finite, values, 0.0)
    deviations = np.where(finite, values - values.sum(axis=0) / count, 0.0)
    return bool((np.sqrt((deviations**2).sum(axis=0) / count) <= most).all())


@contextmanager
def allow_large_images() -> Iterator[None]:
    """Let Pillow open images of up to :data:`MOST_PIXELS`, which it rejects by default."""
    default, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, MOST_PIXELS // 2
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = default


def _suffix(values: np.ndarray) -> str:
    """``.png`` for uint8 of 1, 3 or 4 channels and for uint16 of one channel, else ``.tif``."""
    bytes_ = values.dtype == np.uint8 and (values.ndim == 2 or values.shape[2] in (3, 4))
    return ".png" if bytes_ or (values.dtype == np.uint16 and values.ndim == 2) else ".tif"


def _write(tile: np.ndarray, path: Path) -> None:
    if path.suffix == ".png":
        # half the time of the default level for 5 % more bytes
        Image.fromarray(np.ascontiguousarray(tile)).save(path, compress_level=1)
        return
    from tifffile import imwrite

    options: dict[str, Any] = {"photometric": "minisblack", "compression": "zlib"}
    if tile.ndim == 3:
        options["planarconfig"] = "contig"  # the bands of a pixel are contiguous
    imwrite(path, np.ascontiguousarray(tile), **options)
