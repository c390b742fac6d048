"""Images of high bit depth (more than 8 bits): the values of black and white.

Neither a file nor an array contains them: 12-bit X-rays and 10-bit microscopy are stored in 16
bits, and reflectance and Hounsfield units have no limits. One range is used for a whole data set,
so that equal values look equal in all of its images.
"""

from collections.abc import Iterable

import numpy as np
from PIL import Image

Range = tuple[float, float]  # values of black and white
_WHITES = (255, 1023, 4095, 16383, 65535)  # of 8, 10, 12, 14 and 16 bits
_TAILS = (0.5, 99.5)  # percentiles; values beyond them are clouds or metal
# Values of rasters without data. Otherwise a twentieth of one image would define black for all.
_NO_DATA = (-9999.0, -99999.0, -32767.0, -32768.0, float(np.finfo(np.float32).min))


def is_deep(image: Image.Image) -> bool:
    """Whether the mode of a PIL image has more than 8 bits per value."""
    return image.mode.startswith("I") or image.mode == "F"


def settled_range(parts: Iterable[np.ndarray]) -> Range | None:
    """Estimate the values of black and white of a data set from some of its images.

    Fractions between 0 and 1: the range is 0 to 1. Non-negative integers of any type: white is the
    largest number of 8, 10, 12, 14 or 16 bits, whichever is the smallest that is sufficient. All
    other values, and integers of which nearly all lie in the lowest quarter of that range: the
    range from the 0.5th to the 99.5th percentile, the widest of all images.

    Args:
        parts: the values of one image each, of any numeric type.

    Returns:
        (black, white), or None if there are no values.
    """
    fractions, whole = True, True
    least, most, low, high = np.inf, -np.inf, np.inf, -np.inf
    for part in parts:
        values = part[np.isfinite(part) & ~np.isin(part, _NO_DATA)]
        if not values.size:
            continue
        fractions = fractions and np.issubdtype(values.dtype, np.floating)
        whole = whole and not (values % 1).any()
        least, most = min(least, float(values.min())), max(most, float(values.max()))
        tails = np.percentile(values, _TAILS)
        low, high = min(low, float(tails[0])), max(high, float(tails[1]))
    if least > most:
        return None
    if fractions and least >= 0 and most <= 1:
        return 0.0, 1.0
    white = next((white for white in _WHITES if white >= most), 0)
    if white and whole and least >= 0 and high > white / 4:
        low, high = 0.0, float(white)
    return low, high if high > low else low + 1


def eight_bits(values: np.ndarray, pixel_range: Range | None) -> np.ndarray:
    """Convert values to uint8: black becomes 0, white 255. Others are clipped, NaN becomes 0.

    Args:
        values: pixels of any numeric type.
        pixel_range: values of black and white; None estimates them from ``values``.
    """
    low, high = pixel_range or settled_range([values]) or (0.0, 1.0)
    if values.dtype == np.uint8 and (low, high) == (0, 255):
        return values
    share = values.astype(np.float64)  # in place from here: an X-ray has millions of pixels
    share -= low
    share /= high - low
    np.clip(share, 0, 1, out=share)
    share *= 255
    if np.issubdtype(values.dtype, np.floating):
        share[np.isnan(share)] = 0
    return np.rint(share, out=share).astype(np.uint8)


def shallow(image: Image.Image, pixel_range: Range | None = None) -> Image.Image:
    """Convert a PIL image of high bit depth to 8 bits.

    Args:
        image: an image of mode I, I;16 or F.
        pixel_range: values of black and white; None estimates them from this image.
    """
    return Image.fromarray(eight_bits(np.asarray(image), pixel_range))
