"""From stored values to 8-bit pixels, in one documented order.

1. decode: a module of :mod:`BYOL.data.formats` returns the values as stored;
2. orientation: the image is turned upright;
3. photometric interpretation: where low values are bright, values are inverted;
4. no data: pixels that the file, the settings or NaN mark are known from here on (the values that
   mark them are stored values, so they are compared before an inversion);
5. range: black and white are one pair for a data set, or one for each band;
6. 8 bits: values are scaled and rounded; pixels without data are black;
7. colours: ICC profiles are converted to sRGB, transparency is composed on white, and the number of
   channels is adapted.

:func:`interpret` does steps 2 to 4, which keep the type of the values, :func:`to_channels` the
others.
"""

from dataclasses import replace

import numpy as np
from PIL import Image

from BYOL.data.formats.stored import MODES, ReadOptions, StoredImage, upright
from BYOL.views.colour import pixels_to_srgb
from BYOL.views.pixel_range import PixelRange, to_uint8
from BYOL.views.pixels import convert

_COLOURS = {"grey": 1, "rgb": 3}


def interpret(image: StoredImage, options: ReadOptions) -> StoredImage:
    """Turn ``image`` upright, invert it where low values are bright, and mark missing values.

    Returns:
        The image with orientation 1 and not inverted. Its ``missing`` is a mask like its values, or
        None if no value is missing; NaN is not in the mask.
    """
    return invert(mark_missing(turn(image), options))


def turn(image: StoredImage) -> StoredImage:
    """Step 2: turn ``image`` upright."""
    if image.orientation == 1:
        return image
    values = upright(image.values, image.orientation)
    missing = None if image.missing is None else upright(image.missing, image.orientation)
    return replace(image, values=values, missing=missing, orientation=1)


def invert(image: StoredImage) -> StoredImage:
    """Step 3: if low values are bright, exchange the lowest and the highest value."""
    if not image.inverted:
        return image
    values = image.values
    if values.dtype.kind in "iu" and image.limits is None:
        inverted = ~values
        # Floats cannot tell 2⁶⁴ − 1 − v apart for small v, but −1 − v, which has the same bits.
        valid = True if image.missing is None else ~image.missing
        if values.dtype == np.uint64 and values.max(initial=0, where=valid) < 1 << 63:
            inverted = inverted.view(np.int64)
    elif values.dtype.kind in "iu":
        info, ends = np.iinfo(values.dtype), int(sum(image.limits or ()))
        inverted = (ends - values.astype(np.int64)).clip(info.min, info.max).astype(values.dtype)
    else:
        inverted = (sum(value_limits(image)) - values).astype(values.dtype)
    return replace(image, values=inverted, inverted=False, no_data=None)


def value_limits(image: StoredImage) -> tuple[float, float]:
    """The lowest and the highest value of the declared bit depth of ``image``."""
    if image.limits is not None:
        return image.limits
    if image.values.dtype.kind in "iu":
        info = np.iinfo(image.values.dtype)
        return int(info.min), int(info.max)
    return 0.0, 1.0


def mark_missing(image: StoredImage, options: ReadOptions) -> StoredImage:
    """Step 4, computed before step 3: make ``missing`` a mask like the values, or None."""
    mask = image.missing
    if mask is None and image.no_data is None and options.no_data is None:
        return image
    if mask is not None and mask.ndim == 2:
        mask = np.repeat(mask[..., None], image.values.shape[2], axis=2)
    for marker in (image.no_data, options.no_data):
        equal = None if marker is None else _equals(image, marker)
        if equal is not None:
            mask = equal if mask is None else mask | equal
    if mask is not None and not mask.any():
        mask = None
    return replace(image, missing=mask)


def _equals(image: StoredImage, marker: float | int) -> np.ndarray | None:
    """The mask of values equal to ``marker``; None if the type cannot hold it.

    A colour is missing only if all of its values are. An opacity never is.
    """
    values = image.values
    if image.stored_bits < 8:
        most = (1 << image.stored_bits) - 1
        if not 0 <= marker <= most or marker != int(marker):
            return None
        marker = round(marker * 255 / most)
    if values.dtype.kind in "iu":
        info = np.iinfo(values.dtype)
        if marker != marker or not info.min <= marker <= info.max or marker != int(marker):
            return None
        marker = values.dtype.type(int(marker))
    else:
        with np.errstate(over="ignore"):
            marker = values.dtype.type(marker)
    equal = values == marker
    if image.layout == "rgb":
        equal[..., :3] = equal[..., :3].all(axis=2, keepdims=True)
    if image.transparent:
        equal[..., -1] = equal[..., :-1].all(axis=2)
    return equal


def to_channels(image: StoredImage, channels: int, pixel_range: PixelRange | None) -> np.ndarray:
    """Reduce an interpreted image to 8 bits and adapt its number of channels.

    Args:
        image: from :func:`interpret`.
        channels: of the result.
        pixel_range: the values of black and white if ``image`` is not 8-bit; None: estimated from
            ``image``.

    Returns:
        (H, W, channels) uint8, contiguous.

    Raises:
        ValueError: the image cannot have that number of channels.
    """
    used = used_bands(image, channels)
    pixels = eight_bits(used, pixel_range, repeat=channels)
    if used.layout != "bands" and pixels.shape[2] in (1, 3):
        pixels = pixels_to_srgb(pixels, image.profile)
    if image.transparent:
        pixels = np.concatenate([pixels, _opacity(image)], axis=2)
    if pixels.shape[2] == channels:
        return np.ascontiguousarray(pixels)
    flat = np.ascontiguousarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    converted = np.array(convert(Image.fromarray(flat), channels))
    return converted[..., None] if converted.ndim == 2 else converted


def eight_bits(image: StoredImage, pixel_range: PixelRange | None, repeat: int = 1) -> np.ndarray:
    """The values of an interpreted image as (H, W, C) uint8.

    Args:
        image: from :func:`interpret`.
        pixel_range: see :func:`to_channels`.
        repeat: how often a single band is repeated if ``pixel_range`` has as many pairs.
    """
    values, missing = image.values, image.missing
    if values.dtype == np.uint8:
        if missing is None:
            return values
        return np.where(missing, np.uint8(0), values)
    if pixel_range and values.shape[2] == 1 and len(pixel_range) == 2 * repeat > 2:
        values = np.repeat(values, repeat, axis=2)
        missing = None if missing is None else np.repeat(missing, repeat, axis=2)
    return to_uint8(values, pixel_range, missing)


def used_bands(image: StoredImage, channels: int) -> StoredImage:
    """The bands of ``image`` that ``channels`` channels need, without an opacity.

    Raises:
        ValueError: the image cannot have that number of channels.
    """
    bands = image.values.shape[2]
    if channels != bands and (image.layout == "bands" or channels not in MODES):
        raise ValueError(f"it has {bands} bands, not {channels}")
    if channels == bands and not image.transparent:
        return image
    colours = _COLOURS[image.layout]
    missing = None if image.missing is None else image.missing[..., :colours]
    return replace(image, values=image.values[..., :colours], missing=missing, transparent=False)


def _opacity(image: StoredImage) -> np.ndarray:
    """The opacity, the last band, as (H, W, 1) uint8."""
    last = image.values[..., -1:]
    if last.dtype == np.uint8:
        return last
    return to_uint8(last, value_limits(image))
