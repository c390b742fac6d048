"""TIFF pyramids and large TIFFs, of which tifffile decodes the tiles or strips of a window."""

from collections import OrderedDict
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from BYOL.data.formats.micromanager_files import micromanager_parts
from BYOL.data.formats.ome_files import ome_parts
from BYOL.data.formats.stored import Layout
from BYOL.data.formats.tiff import profile_of
from BYOL.data.formats.tiff_missing import MOST_SCALES, check_tiles, empty_value, no_data_value
from BYOL.data.formats.tiff_quiet import quiet
from BYOL.data.formats.windows import Form

_CACHE_BYTES = 1 << 27  # of decoded tiles: three rows of 256 × 256 × 3 in 200,000 columns
_MOST_SEGMENT = 1 << 28  # bytes of one decoded tile or strip
_PLAIN = ("YX", "YXS", "SYX")  # axes of images that can be read in windows
_JPEG = (6, 7, 34892, 33007)  # compressions
_MICROMETERS = {2: 25400.0, 3: 10000.0}  # in an inch and a centimeter: TIFF's resolution units
_MOST_MPP = 100.0  # 72 or 300 dots per inch of a printer mean nothing


class TiffPyramid:
    """The levels of a TIFF that tifffile reads.

    Args:
        path: the file.

    Raises:
        ValueError: it is no TIFF whose tiles are values of an upright image.
    """

    def __init__(self, path: Path):
        from tifffile import TiffFile

        with quiet():
            self._file = TiffFile(path)
            try:
                if ome_parts(self._file) or micromanager_parts(self._file):
                    raise ValueError("an image in several files is not read in windows")
                levels = self._file.series[0].levels
                self._pages = [_checked_page(level) for level in levels]
                self._masks = [_mask_of(self._file, page) for page in self._pages]
            except BaseException:
                self._file.close()
                raise
        widths = [page.imagewidth for page in self._pages]
        self.downsamples = [widths[0] / width for width in widths]
        first = self._pages[0]
        self.nbytes = first.imagewidth * first.imagelength * first.samplesperpixel
        self.nbytes *= first.dtype.itemsize
        self.mpp = _tiff_mpp(self._file, first)
        self._no_data = no_data_value(first.keyframe)

    def level(self, number: int) -> "TiffWindows":
        """Open a level."""
        mask = self._masks[number]
        shown = None if mask is None else TiffWindows(self._file, mask)
        return TiffWindows(self._file, self._pages[number], shown, self._no_data)


def _mask_of(file: Any, page: Any) -> Any:
    """The page that masks ``page`` (GDAL's internal mask), which has its size; None without."""
    size = page.imagelength, page.imagewidth
    for other in file.pages[1 : 1 + 2 * MOST_SCALES]:  # each reduced version has a mask, too
        if other.is_mask and other.shape == size:
            return other
    return None


def _checked_page(level: Any) -> Any:
    page = level.pages[0]
    plain = level.axes in _PLAIN and page.imagedepth == 1 and _has_pixel_values(page.keyframe)
    upright = page.tags.valueof(274) in (None, 1) if hasattr(page, "tags") else True
    check_tiles(page)
    segment = int(np.prod(page.chunks)) * page.dtype.itemsize
    if not plain or not upright or segment > _MOST_SEGMENT:
        raise ValueError(f"a TIFF with axes {level.axes} is not read in windows")
    return page


def _has_pixel_values(page: Any) -> bool:
    """Whether decoded values are those of pixels, not ink, indices, YCbCr or parts of 8 bits."""
    as_stored = page.photometric in (1, 2) or (page.photometric == 6 and page.compression in _JPEG)
    return as_stored and page.dtype != bool and (page.dtype != np.uint8 or page.bitspersample == 8)


def _tiff_mpp(file: Any, page: Any) -> float | None:
    """Micrometers per pixel that the file declares, or None."""
    if file.is_svs:
        with suppress(KeyError, IndexError, ValueError, TypeError):
            description = file.pages.first.tags["ImageDescription"].value
            return plausible_mpp(description.split("MPP = ")[1].split("|")[0])
    unit = page.tags.valueof(296) if hasattr(page, "tags") else None
    resolution = page.tags.valueof(282) if hasattr(page, "tags") else None
    if unit not in _MICROMETERS or not resolution or not resolution[0]:
        return None
    return plausible_mpp(_MICROMETERS[unit] * resolution[1] / resolution[0])


def plausible_mpp(value: str | float | None) -> float | None:
    """Return micrometers per pixel, or None for what is no number or one that no image can have."""
    try:
        mpp = float(value or 0)
    except ValueError:
        return None
    return mpp if 0 < mpp < _MOST_MPP else None


class TiffWindows:
    """A level of a TIFF. Its tiles or strips are decoded once while they are cached.

    Args:
        file: its TiffFile.
        page: of the level.
        mask: windows that are 0 where the level has no data; None: it has data everywhere.
        no_data: of the image, for a level that does not declare its own.
    """

    def __init__(
        self,
        file: Any,
        page: Any,
        mask: "TiffWindows | None" = None,
        no_data: float | int | None = None,
    ):
        self._file, self._page, self._key, self._mask = file, page, page.keyframe, mask
        self.height, self.width = self._key.imagelength, self._key.imagewidth
        self.dtype = np.dtype(self._key.dtype)
        self._separate = self._key.planarconfig == 2 and self._key.samplesperpixel > 1
        self._bands = self._key.samplesperpixel
        colours = self._key.photometric in (2, 6) and self._bands >= 3
        alpha = any(extra in (1, 2) for extra in self._key.extrasamples)
        grey = self._bands == 1 or (self._bands == 2 and alpha)
        layout: Layout = "rgb" if colours else "grey" if grey else "bands"
        own = no_data_value(self._key)
        no_data = no_data if own is None else own
        self._empty = empty_value(self._key, no_data)
        nothing = self.dtype.kind == "f" and no_data is None
        self._nothing = self.dtype.type(np.nan) if nothing else self._empty
        self.form = Form(layout, alpha, no_data=no_data, profile=profile_of(self._key))
        tiled = self._key.is_tiled
        self._rows = self._key.tilelength if tiled else self._key.rowsperstrip
        self._columns = self._key.tilewidth if tiled else self.width
        self._rows = min(self._rows, self.height) if not tiled else self._rows
        self._cache: OrderedDict[int, np.ndarray | None] = OrderedDict()
        self._cached = 0

    def read(self, top: int, left: int, height: int, width: int) -> np.ndarray:
        """The values of a window, (height, width) or (height, width, bands)."""
        window = np.full((height, width, self._bands), self._empty, self.dtype)
        for plane in range(self._bands if self._separate else 1):
            bands = slice(plane, plane + 1) if self._separate else slice(None)
            for row in range(top // self._rows, (top + height - 1) // self._rows + 1):
                for column in range(left // self._columns, (left + width - 1) // self._columns + 1):
                    self._copy(window[..., bands], top, left, plane, row, column)
        hidden = self.hidden(top, left, height, width)
        if hidden is not None:
            window[hidden] = self._nothing
        return window if self._bands > 1 else window[..., 0]

    def hidden(self, top: int, left: int, height: int, width: int) -> np.ndarray | None:
        """The pixels (height, width) of a window that the mask hides; None without a mask."""
        return None if self._mask is None else self._mask.read(top, left, height, width) == 0

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
        if not offset or not count:
            return None
        handle = self._file.filehandle
        handle.seek(offset)
        encoded = handle.read(count)
        if len(encoded) < count:
            raise ValueError("the file is truncated")
        jpeg: dict[str, Any] = {}
        if self._key.compression in _JPEG:
            jpeg = {"jpegtables": self._page.jpegtables, "jpegheader": self._key.jpegheader}
        with quiet():
            values = self._key.decode(encoded, index, _fullsize=False, **jpeg)[0]
        return None if values is None else values[0]

    def close(self) -> None:
        """Close the file."""
        self._file.close()
