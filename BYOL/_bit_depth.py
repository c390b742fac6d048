"""Pictures of more than 8 bits: which of their values are black and white.

Neither a file nor an array says it: 12-bit X-rays and 10-bit microscopy lie in 16 bits, reflectance
and Hounsfield units have no end. One range is settled for a whole set, so that equal values look
equal in all of its pictures.
"""

from collections.abc import Iterable

import numpy as np
from PIL import Image

Range = tuple[float, float]  # of black and white
_WHITES = (255, 1023, 4095, 16383, 65535)  # of 8, 10, 12, 14 and 16 bits
_TAILS = (0.5, 99.5)  # per cent; beyond are clouds and metal
# What rasters have where there is no data; a twentieth of one picture would else be black for all.
_NO_DATA = (-9999.0, -99999.0, -32767.0, -32768.0, float(np.finfo(np.float32).min))


def is_deep(image: Image.Image) -> bool:
    """Whether a PIL image has values that 8 bits do not hold."""
    return image.mode.startswith("I") or image.mode == "F"


def settled_range(parts: Iterable[np.ndarray]) -> Range | None:
    """Black and white for a set, by a look at some of its pictures.

    Fractions between 0 and 1: these. Whole numbers from 0 up, of any type: white is the largest
    number of as many bits as they take, of 8, 10, 12, 14 or 16. All else, and whole numbers of
    which all but a few lie in the lowest quarter of that: what all but 0.5 per cent at either end
    of a picture lie between.

    Args:
        parts: values of any numeric type, of a picture each.

    Returns:
        None where there are none.
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
    """Values from black to white as uint8; beyond them they are cut off, what is no number is 0.

    Args:
        values: of any numeric type.
        pixel_range: black and white; None judges by these values alone.
    """
    low, high = pixel_range or settled_range([values]) or (0.0, 1.0)
    if values.dtype == np.uint8 and (low, high) == (0, 255):
        return values
    share = values.astype(np.float64)  # then in place: an X-ray has millions of them
    share -= low
    share /= high - low
    np.clip(share, 0, 1, out=share)
    share *= 255
    if np.issubdtype(values.dtype, np.floating):
        share[np.isnan(share)] = 0
    return np.rint(share, out=share).astype(np.uint8)


def shallow(image: Image.Image, pixel_range: Range | None = None) -> Image.Image:
    """A deep PIL image in 8 bits.

    Args:
        image: of mode I, I;16 or F.
        pixel_range: of its set; None judges by this picture alone.
    """
    return Image.fromarray(eight_bits(np.asarray(image), pixel_range))
