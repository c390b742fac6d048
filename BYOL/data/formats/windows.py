"""Large images that are read window by window: whole slides and pyramids, with bounded memory.

Slides are read by OpenSlide if it is installed, TIFF pyramids by tifffile. A window is a part of
one level, so an image of any size takes the memory of some of its compressed tiles.
"""

from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from BYOL.data.formats.stored import Layout
from BYOL.data.formats.supported import SLIDES, ending_of
from BYOL.data.formats.tiff import no_data_value

_CACHE_BYTES = 1 << 27  # of decoded tiles of a TIFF: three rows of 256 × 256 × 3 in 200,000 columns
_MOST_SEGMENT = 1 << 28  # bytes of one decoded tile or strip of a TIFF
_LARGE = 1 << 28  # bytes of values; smaller images are decoded as a whole
_PLAIN = ("YX", "YXS", "SYX")  # axes of images that can be read in windows
_TOLERANCE = 0.02  # of a requested resolution
_MICROMETERS = {2: 25400.0, 3: 10000.0}  # in an inch and a centimeter: TIFF's resolution units


@dataclass(frozen=True)
class Form:
    """What the values of an image are, which its tiles declare like the image.

    Args:
        layout: see :class:`BYOL.data.formats.stored.Header`.
        alpha: whether a band after the colours is declared as an opacity.
        transparent: whether it is one, which is composed over white.
        no_data: the value that marks pixels without data; None: none.
        profile: the ICC profile of the colours.
    """

    layout: Layout = "rgb"
    alpha: bool = False
    transparent: bool = False
    no_data: float | int | None = None
    profile: bytes | None = None


class Windows(Protocol):
    """An open image of which parts are read."""

    height: int
    width: int
    dtype: np.dtype
    form: Form

    def read(self, top: int, left: int, height: int, width: int) -> np.ndarray:
        """The values of a window inside the image, (height, width) or (height, width, bands)."""

    def close(self) -> None:
        """Close the file."""


def open_windows(path: Path, level: int | None, mpp: float | None) -> Windows | None:
    """Open a large image for reading in windows; None: decode it as a whole.

    Args:
        path: the file.
        level: of a pyramid; 0 is the full resolution, which is the default.
        mpp: micrometers per pixel of the result, instead of ``level``.

    Raises:
        ValueError: the image does not have this level or resolution, or a library is missing.
    """
    pyramid = _open_pyramid(path, wanted=level is not None or mpp is not None)
    if pyramid is None:
        return None
    if mpp is None:
        number = level or 0
        if number >= len(pyramid.downsamples):
            raise ValueError(f"it has {len(pyramid.downsamples)} levels, none with number {number}")
        return pyramid.level(number)
    if pyramid.mpp is None:
        raise ValueError("it does not declare its resolution: give --level")
    scale = mpp / pyramid.mpp
    if scale < 1 - _TOLERANCE:
        raise ValueError(f"it has {pyramid.mpp:g} micrometers per pixel, more than --mpp={mpp:g}")
    usable = [d for d in pyramid.downsamples if d <= scale * (1 + _TOLERANCE)]
    number = pyramid.downsamples.index(max(usable))
    rest = scale / pyramid.downsamples[number]
    opened = pyramid.level(number)
    return opened if abs(rest - 1) <= _TOLERANCE else ScaledWindows(opened, rest)


class _Pyramid(Protocol):
    downsamples: list[float]
    mpp: float | None

    def level(self, number: int) -> Windows:
        """Open a level."""


def _open_pyramid(path: Path, wanted: bool) -> "_Pyramid | None":
    """The levels of an image; None if it is to be decoded as a whole.

    Args:
        path: the file.
        wanted: whether a certain level is needed, of an image of any size.
    """
    slide = ending_of(path.name) in SLIDES
    if slide:
        with suppress(ImportError):
            import openslide

            with suppress(openslide.OpenSlideError):
                return OpenSlidePyramid(openslide.OpenSlide(path))
    try:
        pyramid = TiffPyramid(path)
    except Exception as error:
        if slide:
            needed = "it needs pip install 'BYOL[slides]', or is damaged"
            raise ValueError(f"{needed}: {error}") from error
        if wanted:
            raise ValueError("it has no levels: only slides and TIFF pyramids do") from error
        return None
    return pyramid if slide or wanted or pyramid.nbytes > _LARGE else None


class OpenSlidePyramid:
    """The levels of a slide that OpenSlide reads.

    Args:
        slide: opened by OpenSlide.
    """

    def __init__(self, slide: Any):
        self._slide = slide
        self.downsamples = [float(d) for d in slide.level_downsamples]
        across = slide.properties.get("openslide.mpp-x")
        self.mpp = float(across) if across else None

    def level(self, number: int) -> "OpenSlideWindows":
        """Open a level."""
        return OpenSlideWindows(self._slide, number)


class OpenSlideWindows:
    """A level of a slide, in RGB; what was not scanned is white.

    Args:
        slide: opened by OpenSlide.
        level: its number.
    """

    dtype = np.dtype(np.uint8)
    form = Form()

    def __init__(self, slide: Any, level: int):
        self._slide, self._level = slide, level
        self.width, self.height = slide.level_dimensions[level]
        self._scale = slide.level_downsamples[level]

    def read(self, top: int, left: int, height: int, width: int) -> np.ndarray:
        """The colours of a window, (height, width, 3)."""
        from PIL import Image

        corner = round(left * self._scale), round(top * self._scale)  # of level 0
        window = self._slide.read_region(corner, self._level, (width, height))
        white = Image.new("RGBA", window.size, "white")
        return np.asarray(Image.alpha_composite(white, window).convert("RGB"))

    def close(self) -> None:
        """Close the slide."""
        self._slide.close()


class TiffPyramid:
    """The levels of a TIFF that tifffile reads.

    Args:
        path: the file.

    Raises:
        ValueError: it is no TIFF whose tiles are values of an upright image.
    """

    def __init__(self, path: Path):
        from tifffile import TiffFile

        self._file = TiffFile(path)
        try:
            levels = self._file.series[0].levels
            self._pages = [_checked_page(level) for level in levels]
        except BaseException:
            self._file.close()
            raise
        widths = [page.imagewidth for page in self._pages]
        self.downsamples = [widths[0] / width for width in widths]
        first = self._pages[0]
        self.nbytes = first.imagewidth * first.imagelength * first.samplesperpixel
        self.nbytes *= first.dtype.itemsize
        self.mpp = _tiff_mpp(self._file, first)

    def level(self, number: int) -> "TiffWindows":
        """Open a level."""
        return TiffWindows(self._file, self._pages[number])


def _checked_page(level: Any) -> Any:
    page = level.pages[0]
    plain = level.axes in _PLAIN and page.photometric in (1, 2, 6) and page.imagedepth == 1
    upright = page.tags.valueof(274) in (None, 1) if hasattr(page, "tags") else True
    segment = int(np.prod(page.chunks)) * page.dtype.itemsize
    if not plain or not upright or segment > _MOST_SEGMENT:
        raise ValueError(f"a TIFF with axes {level.axes} is not read in windows")
    return page


def _tiff_mpp(file: Any, page: Any) -> float | None:
    """Micrometers per pixel that the file declares, or None."""
    if file.is_svs:
        with suppress(KeyError, ValueError, TypeError):
            description = file.pages.first.tags["ImageDescription"].value
            return float(description.split("MPP = ")[1].split("|")[0])
    unit = page.tags.valueof(296) if hasattr(page, "tags") else None
    resolution = page.tags.valueof(282) if hasattr(page, "tags") else None
    if unit not in _MICROMETERS or not resolution or not resolution[0]:
        return None
    mpp = _MICROMETERS[unit] * resolution[1] / resolution[0]
    return mpp if mpp < 100 else None  # 72 or 300 dots per inch of a printer mean nothing


class TiffWindows:
    """A level of a TIFF. Its tiles or strips are decoded once while they are cached.

    Args:
        file: its TiffFile.
        page: of the level.
    """

    def __init__(self, file: Any, page: Any):
        self._file, self._page, self._key = file, page, page.keyframe
        self.height, self.width = self._key.imagelength, self._key.imagewidth
        self.dtype = np.dtype(self._key.dtype)
        self._separate = self._key.planarconfig == 2 and self._key.samplesperpixel > 1
        self._bands = self._key.samplesperpixel
        colours = self._key.photometric in (2, 6) and self._bands >= 3
        layout: Layout = "rgb" if colours else "grey" if self._bands == 1 else "bands"
        alpha = any(extra in (1, 2) for extra in self._key.extrasamples)
        self.form = Form(layout, alpha, no_data=no_data_value(self._key))
        tiled = self._key.is_tiled
        self._rows = self._key.tilelength if tiled else self._key.rowsperstrip
        self._columns = self._key.tilewidth if tiled else self.width
        self._rows = min(self._rows, self.height) if not tiled else self._rows
        self._cache: OrderedDict[int, np.ndarray | None] = OrderedDict()
        self._cached = 0

    def read(self, top: int, left: int, height: int, width: int) -> np.ndarray:
        """The values of a window, (height, width) or (height, width, bands)."""
        window = np.zeros((height, width, self._bands), self.dtype)
        for plane in range(self._bands if self._separate else 1):
            bands = slice(plane, plane + 1) if self._separate else slice(None)
            for row in range(top // self._rows, (top + height - 1) // self._rows + 1):
                for column in range(left // self._columns, (left + width - 1) // self._columns + 1):
                    self._copy(window[..., bands], top, left, plane, row, column)
        return window if self._bands > 1 else window[..., 0]

    def _copy(
        self, window: np.ndarray, top: int, left: int, plane: int, row: int, column: int
    ) -> None:
        """Copy what a tile and ``window``, whose corner is at ``top`` and ``left``, share."""
        values = self._segment(plane, row, column)
        if values is None:  # an empty tile
            return
        y, x = row * self._rows, column * self._columns
        first, last = max(top, y), min(top + window.shape[0], y + values.shape[0])
        start, end = max(left, x), min(left + window.shape[1], x + values.shape[1])
        part = values[first - y : last - y, start - x : end - x]
        window[first - top : last - top, start - left : end - left] = part

    def _segment(self, plane: int, row: int, column: int) -> np.ndarray | None:
        """The values (rows, columns, bands) of a tile or a strip."""
        down = -(-self.height // self._rows)
        across = -(-self.width // self._columns)
        index = (plane * down + row) * across + column
        if index in self._cache:
            self._cache.move_to_end(index)
            return self._cache[index]
        values = self._decode(index)
        self._cache[index] = values
        self._cached += 0 if values is None else values.nbytes
        while self._cached > _CACHE_BYTES and len(self._cache) > 1:
            _, oldest = self._cache.popitem(last=False)
            self._cached -= 0 if oldest is None else oldest.nbytes
        return values

    def _decode(self, index: int) -> np.ndarray | None:
        offset, count = self._page.dataoffsets[index], self._page.databytecounts[index]
        if not count:
            return None
        handle = self._file.filehandle
        handle.seek(offset)
        encoded = handle.read(count)
        if len(encoded) < count:
            raise ValueError("the file is truncated")
        jpeg: dict[str, Any] = {}
        if self._key.compression in (6, 7, 34892, 33007):
            jpeg = {"jpegtables": self._page.jpegtables, "jpegheader": self._key.jpegheader}
        values = self._key.decode(encoded, index, _fullsize=False, **jpeg)[0]
        return None if values is None else values[0]

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class ScaledWindows:
    """A level that is reduced to a lower resolution, by antialiased interpolation.

    Args:
        source: the level.
        scale: its pixels per pixel of the result, above 1.
    """

    def __init__(self, source: Windows, scale: float):
        self._source, self._scale = source, scale
        self.height, self.width = (max(round(n / scale), 1) for n in (source.height, source.width))
        self.dtype, self.form = source.dtype, source.form

    def read(self, top: int, left: int, height: int, width: int) -> np.ndarray:
        """The values of a window of the reduced image."""
        import torch
        import torch.nn.functional as F

        down, across = self._source.height / self.height, self._source.width / self.width
        y, bottom = round(top * down), round((top + height) * down)
        x, right = round(left * across), round((left + width) * across)
        values = self._source.read(y, x, bottom - y, right - x)
        flat = values if values.ndim == 3 else values[..., None]
        planes = torch.from_numpy(flat.astype(np.float32)).permute(2, 0, 1)[None]
        small = F.interpolate(planes, (height, width), mode="bicubic", antialias=True)[0]
        result = small.permute(1, 2, 0).numpy()
        if self.dtype.kind in "iu":
            info = np.iinfo(self.dtype)
            result = np.rint(result).clip(info.min, info.max)
        result = result.astype(self.dtype)
        return result if values.ndim == 3 else result[..., 0]

    def close(self) -> None:
        """Close the level."""
        self._source.close()
