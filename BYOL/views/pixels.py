"""Conversion of PIL images of any mode to 8-bit pixels."""

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image

from BYOL.errors import UserError
from BYOL.views.colour import image_to_srgb
from BYOL.views.pixel_range import PixelRange, to_uint8

MODES = {1: "L", 3: "RGB", 4: "RGBA"}
_GREY = ("1", "L", "LA", "La")
TRANSPARENT = ("LA", "PA", "RGBA", "La", "RGBa")


def to_pixels(
    image: Image.Image,
    channels: int,
    pixel_range: PixelRange | None = None,
    no_data: float | None = None,
) -> np.ndarray:
    """The pixels of ``image`` with the given number of channels.

    Colours are converted to sRGB. Transparent images are composed on white, except for four
    channels.

    Args:
        image: a PIL image of any mode.
        channels: 1, 3 or 4.
        pixel_range: the values of black and white for high bit depth, one pair or one for each
            channel; None estimates a pair from ``image``.
        no_data: the value that marks pixels without data for high bit depth; they become 0.

    Returns:
        (H, W, C) uint8.

    Raises:
        UserError: ``channels`` is another number.
    """
    if channels not in MODES:
        raise UserError(f"an image file has 1, 3 or 4 channels, not {channels}: give tensors")
    if is_high_depth(image):
        values = np.asarray(image)
        if pixel_range and len(pixel_range) == 2 * channels > 2:
            values = np.repeat(values[..., None], channels, axis=2)
        missing = None if no_data is None else values == no_data
        image = Image.fromarray(to_uint8(values, pixel_range, missing))
    pixels = np.array(convert(image, channels))
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


def convert(image: Image.Image, channels: int) -> Image.Image:
    """Convert an 8-bit PIL image to mode L, RGB or RGBA and to sRGB; see :func:`to_pixels`."""
    mode = MODES[channels]
    if profile := image.info.get("icc_profile"):
        image = _to_srgb(image, profile)
    if mode == "RGBA":
        return image.convert("RGBA")
    if image.mode in TRANSPARENT or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    if image.mode == mode:
        return image
    if image.mode in ("LAB", "HSV", "CMYK", "YCbCr", "P"):
        image = image.convert("RGB")
    return image.convert(mode)


def _to_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """Convert the colours of an image by its ICC profile, and keep its opacity."""
    transparent = image.mode in TRANSPARENT or "transparency" in image.info
    if not transparent:
        return image_to_srgb(image.convert("RGB") if image.mode == "P" else image, profile)
    opacity = image.convert("RGBA").getchannel("A")
    converted = image_to_srgb(image.convert("L" if image.mode in _GREY else "RGB"), profile)
    converted.putalpha(opacity)
    return converted


def is_high_depth(image: Image.Image) -> bool:
    """Whether the PIL image ``image`` has a high bit depth (mode I, I;16 or F)."""
    return image.mode.startswith("I") or image.mode == "F"
