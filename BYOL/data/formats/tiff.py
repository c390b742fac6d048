"""TIFFs that Pillow does not read: many bands, or several bands of high bit depth.

Sentinel-2 images have 13 bands of 16 bits, microscopy images five channels. tifffile reads the
first page, or the pages that OME and ImageJ files declare as channels of one image.
"""

import io
from pathlib import Path
from typing import Any

import numpy as np

from BYOL.data.formats.dicom import is_dicom

_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # also BigTIFF
_GREY = (0, 1)  # photometric interpretations: 0 is white, 0 is black
_PILLOW_BANDS = 4


def band_shape(source: Path | bytes, head: bytes) -> tuple[int, int, int] | None:
    """(height, width, bands) of a TIFF that Pillow cannot read; None for any other file.

    Args:
        source: the file, or its content.
        head: its first bytes.
    """
    if head[:4] not in _MAGIC or is_dicom(head):  # DICOM files may start like a TIFF
        return None
    from tifffile import TiffFile

    with TiffFile(_readable_source(source)) as file:
        page = file.pages.first
        if (pages := _channels(file)) > 1:
            return page.imagelength, page.imagewidth, pages
        bits = page.bitspersample
        deep = max(bits) > 8 if isinstance(bits, tuple) else bits > 8
        bands = page.samplesperpixel
        # Pillow reads bands as colours; the only other kind it supports is grey with alpha.
        grey_bands = bands > 2 and page.photometric in _GREY
        if bands <= _PILLOW_BANDS and not (bands > 1 and deep) and not grey_bands:
            return None
        return page.imagelength, page.imagewidth, bands


def read_bands(source: Path | bytes) -> np.ndarray:
    """The values of the first page of such a TIFF, (H, W, bands) of any numeric type.

    Raises:
        ValueError: the file is damaged, or its compression needs ``pip install 'BYOL[tiff]'``.
    """
    from tifffile import TiffFile

    with TiffFile(_readable_source(source)) as file:
        page = file.pages.first
        if _channels(file) > 1:
            return np.moveaxis(file.series[0].asarray(), 0, -1)
        values = page.asarray()
        declared = page.imagelength, page.imagewidth, page.samplesperpixel
        if page.axes.startswith("S"):  # one plane per band
            values = np.moveaxis(values, 0, -1)
    if values.shape != declared:
        raise ValueError(f"its values are {values.shape}, but its header says {declared}")
    return values


def _channels(file: Any) -> int:
    """The number of pages that are channels of one image; 1 for other multi-page files.

    Args:
        file: a TiffFile.
    """
    if not (file.is_ome or file.is_imagej) or file.series[0].axes != "CYX":
        return 1
    return int(file.series[0].shape[0])


def _readable_source(source: Path | bytes) -> Path | io.BytesIO:
    return source if isinstance(source, Path) else io.BytesIO(source)
