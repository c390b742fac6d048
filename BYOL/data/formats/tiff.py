"""TIFFs that Pillow does not read: of many bands, or of more than 8 bits in several.

Sentinel-2 has 13 bands of 16 bits, a microscope five channels. tifffile reads the first page, or
the pages that OME's and ImageJ's files say are channels of one picture.
"""

import io
from pathlib import Path
from typing import Any

import numpy as np

from BYOL.data.formats.dicom import is_dicom

_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # also BigTIFF
_GREY = (0, 1)  # photometric interpretations: 0 is white, 0 is black
_PILLOWS_BANDS = 4


def band_shape(source: Path | bytes, head: bytes) -> tuple[int, int, int] | None:
    """(height, width, bands) of a TIFF that is not for Pillow; None of any other file.

    Args:
        source: the file, or its content.
        head: its first bytes.
    """
    if head[:4] not in _MAGIC or is_dicom(head):  # whose first bytes may be a TIFF's, too
        return None
    from tifffile import TiffFile

    with TiffFile(_opened(source)) as file:
        page = file.pages.first
        if (pages := _channels(file)) > 1:
            return page.imagelength, page.imagewidth, pages
        bits = page.bitspersample
        deep = max(bits) > 8 if isinstance(bits, tuple) else bits > 8
        bands = page.samplesperpixel
        # Pillow reads bands as colours; grey with an alpha channel is the only other kind it knows.
        no_colours = bands > 2 and page.photometric in _GREY
        if bands <= _PILLOWS_BANDS and not (bands > 1 and deep) and not no_colours:
            return None
        return page.imagelength, page.imagewidth, bands


def read_bands(source: Path | bytes) -> np.ndarray:
    """The values of such a TIFF's first page, (H, W, bands) of any numeric type.

    Raises:
        ValueError: damaged, or compressed in a way that needs ``pip install 'BYOL[tiff]'``.
    """
    from tifffile import TiffFile

    with TiffFile(_opened(source)) as file:
        page = file.pages.first
        if _channels(file) > 1:
            return np.moveaxis(file.series[0].asarray(), 0, -1)
        values = page.asarray()
        said = page.imagelength, page.imagewidth, page.samplesperpixel
        if page.axes.startswith("S"):  # a plane a band
            values = np.moveaxis(values, 0, -1)
    if values.shape != said:
        raise ValueError(f"its values are {values.shape}, and it says {said}")
    return values


def _channels(file: Any) -> int:
    """How many pages are channels of one picture; of other files of several pages the first counts.

    Args:
        file: a TiffFile.
    """
    if not (file.is_ome or file.is_imagej) or file.series[0].axes != "CYX":
        return 1
    return int(file.series[0].shape[0])


def _opened(source: Path | bytes) -> Path | io.BytesIO:
    return source if isinstance(source, Path) else io.BytesIO(source)
