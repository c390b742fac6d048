"""Conversion of PIL images of any mode to 8-bit pixels.

Images of high bit depth (more than 8 bits) need the pixel values of black and white, which neither
a file nor an array states: 12-bit X-rays and 10-bit microscopy are stored in 16 bits, and
reflectance and Hounsfield units have no limits. One range is estimated for a whole data set, so
that equal values look equal in all of its images.
"""

import math
from collections.abc import Iterable, Sequence

import numpy as np
from PIL import Image

from BYOL.errors import UserError

Range = tuple[float, float]  # values of black and white
_WHITES = (255, 1023, 4095, 16383, 65535)  # of 8, 10, 12, 14 and 16 bits
_TAILS = (0.5, 99.5)  # percentiles; outliers such as clouds and metal lie beyond
# No-data values of rasters, which are ignored: otherwise they would define black for all images.
_NO_DATA = (-9999.0, -99999.0, -32767.0, -32768.0, float(np.finfo(np.float32).min))
MODES = {1: "L", 3: "RGB", 4: "RGBA"}


def to_pixels(image: Image.Image, channels: int, pixel_range: Range | None = None) -> np.ndarray:
    """The pixels of ``image`` with the given number of channels.

    Transparent images are composed on white, except for four channels.

    Args:
        image: a PIL image of any mode.
        channels: 1, 3 or 4.
        pixel_range: the values of black and white for high bit depth; None estimates them from
            ``image``.

    Returns:
        (H, W, C) uint8.

    Raises:
        UserError: ``channels`` is another number.
    """
    if channels not in MODES:
        raise UserError(f"an image file has 1, 3 or 4 channels, not {channels}: give tensors")
    image = shallow(image, pixel_range) if is_high_depth(image) else image
    pixels = np.array(_convert(image, MODES[channels]))
    return pixels[..., None] if pixels.ndim == 2 else pixels


def cut(pixels: np.ndarray, edges: Sequence[float], side: int) -> np.ndarray:
    """Crop a box and resize it to a square by antialiased bicubic interpolation.

    Args:
        pixels: (H, W, C) uint8.
        edges: left, top, right and bottom of the box, which may lie between pixels.
        side: the side of the result in pixels.

    Returns:
        (side, side, C) uint8.
    """
    if pixels.shape[2] not in (1, 3):  # Pillow would weight the colours by a fourth channel
        bands = np.moveaxis(pixels, 2, 0)
        return np.concatenate([cut(band[..., None], edges, side) for band in bands], axis=2)
    left, top, right, bottom = edges
    reach = math.ceil(2 * max((bottom - top) / side, 1)) + 1  # of the kernel, in pixels
    first, last = max(math.floor(top) - reach, 0), math.ceil(bottom) + reach
    rows = pixels[first:last]
    image = Image.fromarray(np.ascontiguousarray(rows[..., 0] if rows.shape[2] == 1 else rows))
    # In one step, the order of the two passes depends on the shape and on the version of Pillow,
    # and the clipping between them makes it visible. So across comes first, as in timm.
    across = image.resize(
        (side, image.height), Image.Resampling.BICUBIC, box=(left, 0, right, image.height)
    )
    box = (0, top - first, side, bottom - first)
    small = np.array(across.resize((side, side), Image.Resampling.BICUBIC, box=box))
    return small[..., None] if small.ndim == 2 else small


def _convert(image: Image.Image, mode: str) -> Image.Image:
    if mode == "RGBA":
        return image.convert("RGBA")
    if image.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    if image.mode == mode:
        return image
    if image.mode in ("LAB", "HSV", "CMYK", "YCbCr", "P"):
        image = image.convert("RGB")
    return image.convert(mode)


def is_high_depth(image: Image.Image) -> bool:
    """Whether the PIL image ``image`` has a high bit depth (mode I, I;16 or F)."""
    return image.mode.startswith("I") or image.mode == "F"


def estimate_pixel_range(parts: Iterable[np.ndarray]) -> Range | None:
    """Estimate the values of black and white of a data set from a sample of its images.

    - Floating-point values within 0 and 1 have the range 0 to 1.
    - For non-negative integers, white is the largest number of 8, 10, 12, 14 or 16 bits, whichever
      suffices.
    - For all other values, the range is from the lowest 0.5th to the highest 99.5th percentile of
      the images. The same holds for integers whose percentiles lie in the lowest quarter of the
      range above.

    Args:
        parts: the values of each image, of any numeric type.

    Returns:
        The values of black and white; None if there are no finite values.
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


def to_uint8(values: np.ndarray, pixel_range: Range | None) -> np.ndarray:
    """Map values from black to white to 0 to 255 as uint8; other values are clipped, NaN is 0.

    Args:
        values: values of any numeric type.
        pixel_range: the values of black and white; None estimates them from ``values``.
    """
    low, high = pixel_range or estimate_pixel_range([values]) or (0.0, 1.0)
    if values.dtype == np.uint8 and (low, high) == (0, 255):
        return values
    share = values.astype(np.float64)  # modified in place, because images may be large
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
        pixel_range: the values of black and white; None estimates them from ``image``.
    """
    return Image.fromarray(to_uint8(np.asarray(image), pixel_range))
