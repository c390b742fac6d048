"""The values of black and white of images that are not 8-bit, and the reduction to 8 bits.

Neither a file nor an array states these values: 12-bit X-rays and 10-bit microscopy are stored in
16 bits, and reflectance and Hounsfield units have no limits. One range is estimated for a whole
data set, so that equal values look equal in all of its images.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count

import numpy as np

from BYOL.errors import SettingsError

# Black and white of all bands, or black and white of the first band, of the second band, …
PixelRange = tuple[float, ...]
FEW_LEVELS = 32  # of 256; images that use fewer have lost most of their contrast
_WHITES = (255, 1023, 4095, 16383, 65535)  # of 8, 10, 12, 14 and 16 bits
_TAILS = (0.5, 99.5)  # percentiles of an image; outliers such as clouds and metal lie beyond
_SAMPLE = 1 << 16  # values of an image from which the percentiles are computed
_OWN_RANGE = 16  # a band that would use fewer than 256 / 16 levels has its own range
# No-data values of rasters, which are ignored: otherwise they would define black for all images.
_NO_DATA = (-9999.0, -99999.0, -32767.0, -32768.0, float(np.finfo(np.float32).min))


@dataclass(frozen=True)
class _Values:
    """What the range needs to know about the values of one image, or of one band of it."""

    some: np.ndarray
    fractions: bool
    whole: bool
    least: float
    most: float
    low: float
    high: float


class RangeEstimator:
    """Estimates the values of black and white of a data set from some of its images.

    - Floating-point values within 0 and 1 have the range 0 to 1 if they use an eighth of it.
    - For non-negative integers, white is the largest number of 8, 10, 12, 14 or 16 bits, whichever
      suffices, if the values start near 0 and use a quarter of the range.
    - All other values have the range from the lowest 0.5th to the highest 99.5th percentile of the
      images.

    Of five or more images, one in sixteen, but at least one, is ignored if the range would be more
    than doubled by it: a saturated image would leave few grey levels to all others. Bands that are
    no colours have a range each if a common one would leave fewer than 16 of 256 levels to one.
    """

    def __init__(self) -> None:
        self._images: list[_Values] = []
        self._bands: list[list[_Values | None]] = []

    def add(
        self, values: np.ndarray, missing: np.ndarray | None = None, axis: int | None = None
    ) -> None:
        """Add an image.

        Args:
            values: of any real numeric type.
            missing: bool, like ``values``: pixels without data; None: none.
            axis: of bands that may have a range each; None: all values have one range.
        """
        image = _measure(values, missing)
        if image is None:
            return
        self._images.append(image)
        if axis is not None and values.shape[axis] > 1:
            bands = np.moveaxis(values, axis, 0)
            masks = [None] * len(bands) if missing is None else np.moveaxis(missing, axis, 0)
            self._bands.append([_measure(*pair) for pair in zip(bands, masks, strict=True)])

    def estimate(self) -> PixelRange | None:
        """The values of black and white; None if no image has a finite value."""
        if not self._images:
            return None
        common = _combine(self._images)
        by_band = self._by_band(common)
        return common if by_band is None else by_band

    def _by_band(self, common: tuple[float, float]) -> PixelRange | None:
        """The range of each band; None if the bands have similar values or are none."""
        if len(self._bands) < len(self._images):
            return None
        usual = Counter(map(len, self._bands)).most_common(1)[0][0]
        columns = zip(*(bands for bands in self._bands if len(bands) == usual), strict=True)
        measured = [[band for band in column if band] for column in columns]
        ranges = [_combine(column) if column else common for column in measured]
        spans = [_span(column) for column in measured]
        most = (common[1] - common[0]) / _OWN_RANGE
        if not any(0 < span < most for span in spans):
            return None
        return tuple(value for pair in ranges for value in pair)

    def few_levels(self, pixel_range: PixelRange) -> int:
        """The number of images of which a band uses few of the 256 levels of ``pixel_range``.

        Images that have few values themselves, such as masks, are not counted.
        """
        if len(pixel_range) == 2:
            parts = [[image] for image in self._images]
            pairs = [pixel_range]
        else:
            parts = [[band for band in image if band] for image in self._bands]
            pairs = band_ranges(pixel_range)
        return sum(
            any(_uses_few(band, pair) for band, pair in zip(image, pairs, strict=False))
            for image in parts
        )

    def remark(self, pixel_range: PixelRange) -> str | None:
        """A line if half of the images use few levels of ``pixel_range``, else None."""
        few, total = self.few_levels(pixel_range), len(self._images)
        if 2 * few < max(total, 1):
            return None
        return (
            f"{few} of {total} sampled images use fewer than {FEW_LEVELS} of 256 grey levels: "
            f"black and white are {describe_range(pixel_range)}; --pixel-range sets other values"
        )


def check_pairs(pixel_range: PixelRange | None, channels: int) -> None:
    """Check that ``pixel_range`` is None or has one pair, or one for each channel.

    Raises:
        SettingsError: it has another number of pairs.
    """
    pairs = len(pixel_range or ()) // 2
    if pairs > 1 and pairs != channels:
        raise SettingsError(
            f"--pixel-range has {pairs} pairs for {channels} channels: give one pair, or one for "
            "each channel"
        )


def band_ranges(pixel_range: PixelRange) -> list[tuple[float, float]]:
    """The pairs of black and white in ``pixel_range``."""
    return list(zip(pixel_range[::2], pixel_range[1::2], strict=True))


def describe_range(pixel_range: PixelRange) -> str:
    """``pixel_range`` as text for messages and model cards."""
    pairs = [f"{low:g} to {high:g}" for low, high in band_ranges(pixel_range)]
    if len(pairs) == 1:
        return pairs[0]
    return ", ".join(f"{pair} in band {i}" for i, pair in enumerate(pairs, start=1))


def to_uint8(
    values: np.ndarray,
    pixel_range: PixelRange | None,
    missing: np.ndarray | None = None,
    axis: int = -1,
) -> np.ndarray:
    """Map values from black to white to 0 to 255 as uint8; other values are clipped.

    Args:
        values: values of any real numeric type.
        pixel_range: one pair of black and white, or one for each band; None estimates a common pair
            from ``values``.
        missing: bool, like ``values``: pixels without data, which become 0, as NaN does; None:
            none.
        axis: of the bands.

    Raises:
        ValueError: the number of pairs is neither one nor that of the bands.
    """
    if pixel_range is None:
        estimator = RangeEstimator()
        estimator.add(values, missing)
        pixel_range = estimator.estimate() or (0.0, 1.0)
    if values.dtype == np.uint8 and pixel_range == (0, 255) and missing is None:
        return values
    if values.dtype.kind in "iu" and values.itemsize <= 2 and len(pixel_range) == 2:
        pixels = _by_table(values, pixel_range)
    else:
        pixels = _scaled(values, pixel_range, axis)
    if missing is not None:
        pixels[missing] = 0
    return pixels


def _by_table(values: np.ndarray, pixel_range: PixelRange) -> np.ndarray:
    """Scale integers of at most 16 bits; large images take less than half of the time."""
    index = np.dtype(f"u{values.itemsize}")
    every = np.arange(1 << 8 * values.itemsize, dtype=index).view(values.dtype)
    if values.size < every.size:
        return _scaled(values, pixel_range, -1)
    return _scaled(every, pixel_range, -1)[values.view(index)]


def _scaled(values: np.ndarray, pixel_range: PixelRange, axis: int) -> np.ndarray:
    low, high = np.array(pixel_range[::2]), np.array(pixel_range[1::2])
    if len(low) > 1:
        if len(low) != values.shape[axis]:
            raise ValueError(
                f"it has {values.shape[axis]} bands, but --pixel-range has {len(low)} pairs"
            )
        shape = [1] * values.ndim
        shape[axis] = len(low)
        low, high = low.reshape(shape), high.reshape(shape)
    share = values.astype(np.float64)  # modified in place, because images may be large
    share -= low
    share /= high - low
    np.clip(share, 0, 1, out=share)
    share *= 255
    if np.issubdtype(values.dtype, np.floating):
        share[np.isnan(share)] = 0
    return np.rint(share, out=share).astype(np.uint8)


def _measure(values: np.ndarray, missing: np.ndarray | None = None) -> _Values | None:
    """Measure an image or a band; None if it has no finite values."""
    valid = values[~missing] if missing is not None else values.reshape(-1)
    if np.issubdtype(valid.dtype, np.floating):
        valid = valid[np.isfinite(valid)]
    if np.issubdtype(valid.dtype, np.signedinteger) or np.issubdtype(valid.dtype, np.floating):
        valid = valid[~np.isin(valid, _no_data_of(valid.dtype))]
    if not valid.size:
        return None
    # with a common divisor, the step would skip bands or columns, every time the same ones
    period = 2 * math.prod(values.shape[1:])
    step = next(n for n in count(-(-valid.size // _SAMPLE)) if math.gcd(n, period) == 1)
    some = valid[::step]
    low, high = np.percentile(some.astype(np.float64), _TAILS)
    return _Values(
        some,
        bool(np.issubdtype(values.dtype, np.floating)),
        not (some % 1).any() if np.issubdtype(values.dtype, np.floating) else True,
        float(valid.min()),
        float(valid.max()),
        float(low),
        float(high),
    )


def _no_data_of(dtype: np.dtype) -> np.ndarray:
    """The usual no-data values as they are stored in ``dtype``."""
    values = np.array(_NO_DATA)
    if dtype.kind != "f":
        return values
    with np.errstate(over="ignore"):
        return values.astype(dtype)


def _without_outliers(images: Sequence[_Values]) -> list[_Values]:
    """The images without the few ones that alone would more than double the range."""
    few = max(len(images) // 16, 1) if len(images) >= 5 else 0
    low = sorted(image.low for image in images)[few]
    high = sorted(image.high for image in images)[-1 - few]
    span = high - low
    if span <= 0:
        return list(images)
    kept = [v for v in images if low - span <= v.low and v.high <= high + span]
    return kept or list(images)


def _span(images: Sequence[_Values]) -> float:
    """The difference of the largest and the smallest value of images, without outliers."""
    kept = _without_outliers(images) if images else []
    return max(v.high for v in kept) - min(v.low for v in kept) if kept else 0.0


def _combine(images: Sequence[_Values]) -> tuple[float, float]:
    """The range of images or of one of their bands."""
    kept = _without_outliers(images)
    least, most = min(v.least for v in kept), max(v.most for v in kept)
    low, high = min(v.low for v in kept), max(v.high for v in kept)
    if all(v.fractions for v in kept) and least >= 0 and most <= 1 and high > FEW_LEVELS / 256:
        return 0.0, 1.0
    white = next((white for white in _WHITES if white >= most), 0)
    starts_near_0 = low <= white / 16 or low == high
    if white and all(v.whole for v in kept) and least >= 0 and starts_near_0 and high > white / 4:
        return 0.0, float(white)
    return low, high if high > low else low + 1


def _uses_few(values: _Values, pair: tuple[float, ...]) -> bool:
    own = len(np.unique(values.some))
    if own < FEW_LEVELS:
        return False
    levels = len(np.unique(to_uint8(values.some, pair)))
    return levels < FEW_LEVELS and levels < own / 2
