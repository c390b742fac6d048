"""Cutting large images, such as satellite scenes and slides, into tiles without loss."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from PIL import Image

from BYOL.data.decode import BrokenImageError, image_errors, read_stored
from BYOL.data.formats.pyramids import open_windows
from BYOL.data.formats.readers import open_source
from BYOL.data.formats.stored import ReadOptions, StoredImage
from BYOL.data.formats.windows import Form, Windows, without_data
from BYOL.data.frame_images import frame_count
from BYOL.data.pipeline import interpret, value_limits
from BYOL.data.tile_files import suffix_of, write_tile
from BYOL.errors import DataError

_LONGEST_NAME = 255  # bytes
_DEFAULTS = ReadOptions()
_FORM = Form()
MOST_PIXELS = 2_000_000_000  # of an image: 6 GB in RGB


@dataclass(frozen=True)
class Tiling:
    """Parameters of the tiles.

    Args:
        size: side of a tile in pixels.
        stride: distance between the starts of adjacent tiles in pixels.
        blank: tiles whose standard deviation is at most this share of the value range are left out,
            see :func:`is_blank`.
        level: of a pyramid; None: the full resolution.
        mpp: micrometers per pixel, instead of ``level``.
        options: which slice of a stack is cut; with ``frames`` "all", every one is.
    """

    size: int
    stride: int
    blank: float = 0.0
    level: int | None = None
    mpp: float | None = None
    options: ReadOptions = _DEFAULTS


@dataclass
class Cut:
    """The tiles of one image.

    Args:
        name: of the image.
        tiles: names of the tiles.
        blank: number of tiles that were left out.
        notes: lines about what is not read of the image.
        error: the reason why the image could not be read, or None.
    """

    name: str
    tiles: list[str] = field(default_factory=list)
    blank: int = 0
    notes: tuple[str, ...] = ()
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

    Large images are read window by window.

    Raises:
        OSError: a tile cannot be written.
        DataError: a tile has the name of a subfolder.
    """
    cut, path = Cut(name), root / name
    try:
        for frame in _frames(path, tiling.options):
            with image_errors(path):
                windows = open_windows(path, tiling.level, tiling.mpp)
                if windows is None:
                    windows = _WholeImage(path, replace(tiling.options, frame=frame))
                    cut.notes = windows.notes
            with closing(windows):
                _write_tiles(cut, windows, path, out, tiling, "" if frame is None else f"_f{frame}")
    except (FileExistsError, IsADirectoryError, NotADirectoryError) as error:
        raise DataError(
            f"DATA={root}: a tile of {name} and a subfolder would both be called "
            f"{Path(str(error.filename)).name}: rename the subfolder"
        ) from error
    except BrokenImageError as error:
        cut.error = str(error)
        for tile in cut.tiles:
            (out / tile).unlink(missing_ok=True)
        cut.tiles.clear()
    return cut


def _frames(path: Path, options: ReadOptions) -> list[int | None]:
    """The numbers of the frames that are cut; None alone for the one that ``options`` choose."""
    count = frame_count(path) if options.frames == "all" else 1
    return [None] if count < 2 else [*range(count)]


def _write_tiles(
    cut: Cut, windows: Windows, path: Path, out: Path, tiling: Tiling, mark: str
) -> None:
    """Write the tiles of an opened image, and note them in ``cut``.

    Args:
        cut: of the image.
        windows: of the image, or of one of its frames.
        path: of the image.
        out: the folder of the tiles.
        tiling: see :class:`Tiling`.
        mark: of the frame, which is part of the names.

    Raises:
        BrokenImageError: a part of the image cannot be decoded.
    """
    place = Path(cut.name)
    (out / place.parent).mkdir(parents=True, exist_ok=True)
    with image_errors(path):
        least = tiling.blank * _value_range(windows, tiling) if tiling.blank else 0.0
    for top, left, height, width in _boxes(windows, tiling):
        with image_errors(path):
            tile = windows.read(top, left, height, width)
        if is_blank(tile, least, windows.form):
            cut.blank += 1
            continue
        # includes the suffix, because a.png and a.jpg may be in the same folder
        end = f"{mark}_{top}_{left}{suffix_of(tile, windows.form)}"
        cut.tiles.append((place.parent / _tile_name(place, end)).as_posix())
        write_tile(tile, out / cut.tiles[-1], windows.form)


def _tile_name(place: Path, end: str) -> str:
    """The name of a tile of the image ``place``; a name that is too long is cut, with a hash."""
    start = f"{place.stem}_{place.suffix[1:]}"
    most = _LONGEST_NAME - len(end)
    if len(os.fsencode(start)) > most:
        digest = hashlib.blake2b(os.fsencode(place.name), digest_size=8).hexdigest()
        kept = os.fsencode(start)[: most - len(digest) - 1]
        start = f"{kept.decode('utf-8', 'ignore')}_{digest}"
    return start + end


def _boxes(windows: Windows, tiling: Tiling) -> Iterator[tuple[int, int, int, int]]:
    """Yield top, left, height and width of the tiles, row by row."""
    height, width = min(tiling.size, windows.height), min(tiling.size, windows.width)
    for top in tile_starts(windows.height, tiling.size, tiling.stride):
        for left in tile_starts(windows.width, tiling.size, tiling.stride):
            yield top, left, height, width


def _value_range(windows: Windows, tiling: Tiling) -> float:
    """The largest minus the smallest value: 255 for uint8, else of finite values that are data."""
    if windows.dtype == np.uint8:
        return 255.0
    low, high = np.inf, -np.inf
    for box in _boxes(windows, tiling):
        tile = _pixels(windows.read(*box))
        valid = np.isfinite(tile) & ~without_data(tile, windows.form)
        if (finite := tile[valid]).size:
            low, high = min(low, float(finite.min())), max(high, float(finite.max()))
    return max(high - low, 0.0)


class _WholeImage:
    """The windows of an image in memory: upright, not inverted, in the type of its file.

    Args:
        path: the file.
        options: which of its slices is read.
    """

    def __init__(self, path: Path, options: ReadOptions):
        with closing(open_source(path, options)) as opened:
            stored = interpret(opened.read(0), options)
            alpha = opened.header.channels < opened.header.bands
            self.notes = opened.header.notes
        values, no_data = _marked(_with_whole_opacity(stored))
        self._values = values[..., 0] if values.shape[2] == 1 else values
        self.height, self.width = values.shape[:2]
        self.dtype = values.dtype
        self.form = Form(stored.layout, alpha, stored.transparent, no_data, stored.profile)

    def read(self, top: int, left: int, height: int, width: int) -> np.ndarray:
        """A part of the values."""
        return self._values[top : top + height, left : left + width]

    def hidden(self, top: int, left: int, height: int, width: int) -> None:
        """Nothing is hidden: a number marks what has no data."""

    def close(self) -> None:
        """Let go of the values."""
        del self._values


def _with_whole_opacity(stored: StoredImage) -> StoredImage:
    """The image with an opacity of up to 65535, which a tile of 16 bits has.

    The colours keep their numbers, whose range is that of a whole set.
    """
    values = stored.values
    if not stored.transparent or values.dtype != np.uint16 or stored.limits is None:
        return stored
    low, high = value_limits(stored)
    opacity = (values[..., -1].astype(np.float64) - low) / (high - low)
    scaled = np.rint(opacity.clip(0, 1) * np.iinfo(np.uint16).max).astype(np.uint16)
    return replace(stored, values=np.concatenate([values[..., :-1], scaled[..., None]], axis=2))


def _marked(stored: StoredImage) -> tuple[np.ndarray, float | int | None]:
    """The values in which a number marks missing ones, and this number; NaN needs none."""
    values, missing = stored.values, stored.missing
    if missing is None:
        return values, None
    if values.dtype.kind == "f":
        return np.where(missing, values.dtype.type(np.nan), values), None
    info = np.iinfo(values.dtype)
    known = stored.no_data
    possible = [known] if known is not None and info.min <= known <= info.max else []
    present = np.unique(values[~missing])
    for number in (*possible, int(info.min), int(info.max), *range(1, 256)):
        if number in possible or number not in present:
            return np.where(missing, values.dtype.type(number), values), number
    return np.where(missing, values.dtype.type(0), values), None  # 0 is black, as without data


def read_values(path: Path) -> np.ndarray:
    """Read an image, upright, with its original values: (H, W) or (H, W, bands).

    Raises:
        BrokenImageError: it cannot be read.
    """
    values = read_stored(path).values
    return values[..., 0] if values.shape[2] == 1 else values


def _pixels(tile: np.ndarray) -> np.ndarray:
    """A tile as (H, W, C)."""
    return tile if tile.ndim == 3 else tile[..., None]


def is_blank(tile: np.ndarray, most: float, form: Form = _FORM) -> bool:
    """Whether the data of every channel have a standard deviation of at most ``most``."""
    values = _pixels(tile)
    if values.dtype == np.uint8 and form.no_data is None:  # the same in a tenth of the time
        bands = values.reshape(-1, values.shape[2]).T
        return all(_deviation(np.bincount(band, minlength=256)) <= most for band in bands)
    # "no data" is often stored as NaN
    finite = np.isfinite(values) & ~without_data(values, form)
    count = finite.sum(axis=(0, 1)).clip(1)
    values = np.where(finite, values.astype(np.float64), 0.0)
    deviations = np.where(finite, values - values.sum(axis=(0, 1)) / count, 0.0)
    return bool((np.sqrt((deviations**2).sum(axis=(0, 1)) / count) <= most).all())


def _deviation(counts: np.ndarray) -> float:
    """The standard deviation of the numbers 0, 1, … that occur ``counts`` times."""
    numbers = np.arange(len(counts))
    mean = (counts * numbers).sum() / counts.sum()
    return float(np.sqrt((counts * (numbers - mean) ** 2).sum() / counts.sum()))


@contextmanager
def allow_large_images() -> Iterator[None]:
    """Let Pillow open images of up to :data:`MOST_PIXELS`, which it rejects by default."""
    default, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, MOST_PIXELS // 2
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = default
