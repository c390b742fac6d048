"""What each step of decoding does to one image file, for users who check their data."""

import contextlib
from dataclasses import dataclass, replace

import numpy as np

from BYOL.data.decode import image_errors
from BYOL.data.formats.readers import open_source
from BYOL.data.formats.stored import Encoded, ReadOptions, StoredImage
from BYOL.data.pipeline import eight_bits, invert, mark_missing, to_channels, turn, used_bands
from BYOL.views.pixel_range import PixelRange, describe_range


@dataclass(frozen=True)
class Step:
    """The values after one step.

    Args:
        name: of the step, in the order of :mod:`BYOL.data.pipeline`.
        about: what the step did.
        dtype: the type of the values.
        shape: (H, W, C).
        least: the smallest value with data; None: there is none.
        most: the largest value with data.
        missing: the share of values without data.
    """

    name: str
    about: str
    dtype: str
    shape: tuple[int, ...]
    least: float | None
    most: float | None
    missing: float

    def __str__(self) -> str:
        span = "no values" if self.least is None else f"{self.least:g} to {self.most:g}"
        shape = " × ".join(map(str, self.shape))
        missing = f", {100 * self.missing:.3g} % no data" if self.missing else ""
        return f"{self.name}: {self.dtype}, {shape}, {span}{missing}; {self.about}"


def explain(
    source: Encoded, channels: int, pixel_range: PixelRange | None, options: ReadOptions
) -> list[Step]:
    """The steps from the stored values of an image to its pixels.

    Args:
        source: the file, or its content.
        channels: of the pixels.
        pixel_range: the values of black and white; None: estimated from the file if it is not
            8-bit.
        options: what the user configures about stored values.

    Raises:
        BrokenImageError: the file cannot be decoded.
    """
    with image_errors(source), contextlib.closing(open_source(source, options)) as opened:
        stored = opened.read(0)
        upright = turn(stored)
        marked = invert(mark_missing(upright, options))
        positive = replace(marked, missing=None)
        used = used_bands(marked, channels)
        eight = eight_bits(used, pixel_range, repeat=channels)
        pixels = to_channels(marked, channels, pixel_range)
        steps = [
            _step("decode", f"{type(opened).__name__}, {_layout(stored)}", stored),
            _step("orientation", f"stored in orientation {stored.orientation}", upright),
            _step("photometric", _polarity(stored), positive),
            _step("no data", _markers(stored, options), marked),
        ]
        about = "of this file" if pixel_range is None else describe_range(pixel_range)
        if stored.values.dtype == np.uint8:
            about = "not needed for 8 bits"
        steps.append(_step("range", f"black to white: {about}", used))
        levels = len(np.unique(eight))
        steps.append(_pixel_step("8 bits", f"{levels} of 256 levels", eight))
        steps.append(_pixel_step("channels", f"{channels} requested", pixels))
    return steps


def _layout(image: StoredImage) -> str:
    more = [
        text
        for text, present in (("opacity", image.transparent), ("ICC profile", image.profile))
        if present
    ]
    return " with ".join([image.layout, *more])


def _polarity(image: StoredImage) -> str:
    return "low values are bright: inverted" if image.inverted else "high values are bright"


def _markers(image: StoredImage, options: ReadOptions) -> str:
    declared = "none" if image.no_data is None else f"{image.no_data:g}"
    configured = "none" if options.no_data is None else f"{options.no_data:g}"
    return f"declared {declared}, --no-data {configured}"


def _step(name: str, about: str, image: StoredImage) -> Step:
    values = image.values
    missing = np.zeros(values.shape, dtype=bool)
    if image.missing is not None:
        mask = image.missing if image.missing.ndim == 3 else image.missing[..., None]
        missing |= mask
    if values.dtype.kind == "f":
        missing |= np.isnan(values)
    valid = values[~missing]
    least, most = (float(valid.min()), float(valid.max())) if valid.size else (None, None)
    return Step(name, about, str(values.dtype), values.shape, least, most, float(missing.mean()))


def _pixel_step(name: str, about: str, pixels: np.ndarray) -> Step:
    least, most = float(pixels.min()), float(pixels.max())
    return Step(name, about, str(pixels.dtype), pixels.shape, least, most, 0.0)
