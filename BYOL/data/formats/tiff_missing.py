"""What TIFFs have no data for: GDAL's no-data value, masks, and parts that are not stored.

A sparse TIFF (GDAL's ``SPARSE_OK``) has strips or tiles whose offset and size are 0. Their values
are those of no data, or 0 without such a value.
"""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from BYOL.data.formats.windows import as_type

MOST_SCALES = 16  # pages that may be reduced versions or masks of the first
_GDAL_NO_DATA = 42113
_MOST_INTEGER = 1 << 64


def declares_no_data(page: Any) -> bool:
    """Whether ``page`` has GDAL's no-data tag."""
    return page.tags.valueof(_GDAL_NO_DATA) is not None


def no_data_value(page: Any) -> float | int | None:
    """The value of GDAL's no-data tag, a text; None without a valid one."""
    text = str(page.tags.valueof(_GDAL_NO_DATA) or "").strip("\0 ")
    for kind in (int, float):
        try:
            number = kind(text)
        except ValueError:
            continue
        if abs(number) <= _MOST_INTEGER or kind is float:
            return number  # a longer integer cannot become a floating-point number
    return None


def is_sparse(page: Any) -> bool:
    """Whether strips or tiles of ``page`` are not stored.

    A size of 0 of the only strip is no sign of it: some programs write no size.
    """
    counts = page.databytecounts
    return 0 in page.dataoffsets or (len(counts) > 1 and 0 in counts)


def check_tiles(page: Any) -> None:
    """Check that ``page`` lists as many tiles as its size needs; others would be black.

    Raises:
        ValueError: it lists fewer.
    """
    key = page.keyframe
    if key.is_tiled and len(page.dataoffsets) < math.prod(key.chunked):
        raise ValueError("it has fewer tiles than its size needs")


def empty_value(page: Any, no_data: float | int | None) -> np.generic:
    """The value of the pixels that are not stored: ``no_data`` if the type has it, else 0."""
    value = as_type(no_data, page.dtype)
    return page.dtype.type(0) if value is None else value


def prepare(page: Any) -> None:
    """Let tifffile fill parts that are not stored with :func:`empty_value`.

    It does not accept every number that a file may declare, such as the smallest float32 in
    decimals.
    """
    if page.dtype is not None:
        page.nodata = empty_value(page, no_data_value(page)).item()


def page_values(page: Any) -> np.ndarray:
    """The values of a page, also if none of them is stored.

    Of a page with one strip, tifffile would return the start of the file.
    """
    if any(page.dataoffsets):
        return page.asarray()
    return np.full(page.shape, page.keyframe.nodata, page.dtype)


def fill_empty(values: np.ndarray, pages: Iterable[Any]) -> None:
    """Set the values of those of ``pages``, one for each row of ``values``, that are not stored."""
    for plane, page in zip(values, pages, strict=True):
        if page is not None and not any(page.dataoffsets):
            plane[...] = page.keyframe.nodata


def mask_page(file: Any) -> Any:
    """The page that masks the first one (GDAL's internal mask); None: there is none."""
    shape = file.pages.first.shape[:2]
    for page in file.pages[1 : 1 + MOST_SCALES]:
        if page.is_mask and not page.is_reduced and page.shape == shape:
            return page
    return None


def masked(file: Any, missing: np.ndarray | None) -> np.ndarray | None:
    """Add the pixels that a mask page declares as missing."""
    page = mask_page(file)
    if page is None:
        return missing
    hidden = page_values(page) == 0
    return hidden if missing is None else missing | hidden
