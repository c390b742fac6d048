"""What may happen to a view. No torch here, so that the command line can check it at once."""

import math
from dataclasses import dataclass, fields
from typing import Any

from BYOL.errors import UserError

Pair = tuple[float, float]


@dataclass(frozen=True)
class ViewConfig:
    """One view's augmentations (paper, appendix B). Pixel values are taken in [0, 1].

    Args:
        size: side of the square view in pixels.
        crop_scale: share of the image's area, least and most.
        crop_ratio: width / height of the crop, least and most.
        flip: probability of mirroring left and right.
        vertical_flip: probability of mirroring top and bottom.
        rotate: the crop is turned by up to this many degrees either way.
        jitter: probability that the four colour changes happen, in an order of the image's own.
        brightness: b: a value from U(−b, b) is added.
        contrast: c: distances from each channel's mean are multiplied by U(1−c, 1+c).
        saturation: s: saturation is multiplied by U(1−s, 1+s); three channels only, as are
        hue: h: hue is shifted by U(−h, h) turns; and
        grey: probability of dropping the colour.
        blur: probability of a Gaussian blur.
        blur_sigma: its standard deviation in pixels, least and most.
        solarize: probability that values from one half up are inverted.

    Raises:
        UserError: a value out of its range.
    """

    size: int
    crop_scale: Pair = (0.08, 1.0)
    crop_ratio: Pair = (3 / 4, 4 / 3)
    flip: float = 0.5
    vertical_flip: float = 0.0
    rotate: float = 0.0
    jitter: float = 0.8
    brightness: float = 0.4
    contrast: float = 0.4
    saturation: float = 0.2
    hue: float = 0.1
    grey: float = 0.2
    blur: float = 1.0
    blur_sigma: Pair = (0.1, 2.0)
    solarize: float = 0.0

    def __post_init__(self) -> None:
        if self.size < 1:
            raise UserError(f"size={self.size} is out of range: give a number of pixels from 1 up")
        for name in ("flip", "vertical_flip", "jitter", "grey", "blur", "solarize"):
            self._check(name, 0, 1)
        for name, most in (("brightness", 1), ("contrast", 1), ("saturation", 1), ("hue", 0.5)):
            self._check(name, 0, most)
        self._check("rotate", 0, 180)
        for name, most in (("crop_scale", 1), ("crop_ratio", math.inf), ("blur_sigma", math.inf)):
            low, high = getattr(self, name)
            if not 0 < low <= high <= most:
                accepted = f"0 < least ≤ most{'' if most == math.inf else f' ≤ {most:g}'}"
                raise UserError(f"{name}={(low, high)} is out of range: give {accepted}")

    def _check(self, name: str, low: float, high: float) -> None:
        if not low <= getattr(self, name) <= high:
            raise UserError(
                f"{name}={getattr(self, name)} is out of range: give a number from "
                f"{low:g} to {high:g}"
            )


@dataclass(frozen=True)
class Sight:
    """How a backbone is shown pictures when nothing is random.

    Args:
        size: side of the square in pixels.
        mean: of every channel, in [0, 1].
        std: of every channel, above 0.
    """

    size: int
    mean: list[float]
    std: list[float]


def paper_views(size: int, **changes: Any) -> tuple[ViewConfig, ViewConfig]:
    """The paper's asymmetric pair: blur always / rarely, solarize never / sometimes.

    Args:
        size: of both.
        changes: fields of :class:`ViewConfig` that differ from the paper's, for both views;
            ``blur`` and ``solarize`` may be a pair, one for each.

    Raises:
        UserError: no such field, or a value out of its range.
    """
    accepted = [field.name for field in fields(ViewConfig) if field.name != "size"]
    for name in changes:
        if name not in accepted:
            raise UserError(f"{name}= is unknown: choose from {', '.join(accepted)}")
    blur = _for_each(changes.pop("blur", (1.0, 0.1)))
    solarize = _for_each(changes.pop("solarize", (0.0, 0.2)))
    first, second = (
        ViewConfig(size, blur=blur[i], solarize=solarize[i], **changes) for i in (0, 1)
    )
    return first, second


def _for_each(value: Any) -> Pair:
    first, second = value if isinstance(value, tuple | list) else (value, value)
    return first, second
