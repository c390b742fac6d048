"""The augmentation settings of a view.

This module does not import torch, so that the command line can check settings immediately.
"""

import math
from dataclasses import dataclass, fields
from numbers import Integral
from typing import Any

from BYOL._plain import is_number, plain
from BYOL.errors import UserError

Pair = tuple[float, float]


@dataclass(frozen=True)
class ViewConfig:
    """The augmentations of one view (paper, appendix B), for pixel values in [0, 1].

    Args:
        size: side length of the square view in pixels.
        crop_scale: smallest and largest fraction of the image area that a crop covers.
        crop_ratio: smallest and largest width / height of the crop.
        flip: probability of a horizontal flip.
        vertical_flip: probability of a vertical flip.
        rotate: largest rotation of the crop in degrees, in either direction.
        jitter: probability of the colour jitter. Its four operations are applied in a random order
            that is drawn for each image.
        brightness: b, where a value from U(−b, b) is added.
        contrast: c, where the distance from each channel's mean is multiplied by U(1−c, 1+c).
        saturation: s, where the saturation is multiplied by U(1−s, 1+s). Three channels only.
        hue: h, where the hue is shifted by U(−h, h) turns. Three channels only.
        grey: probability of a conversion to greyscale. Three channels only.
        blur: probability of a Gaussian blur.
        blur_sigma: smallest and largest standard deviation of the blur in pixels.
        solarize: probability that values of at least 0.5 are inverted.
        cutout: smallest and largest fraction of the view's area that is filled with the mean of
            each channel, before the colour jitter; None fills nothing (arXiv 2602.05845).

    Raises:
        UserError: a value is out of range.
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
    cutout: Pair | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.size, Integral) or isinstance(self.size, bool) or self.size < 1:
            raise UserError(
                f"size={self.size!r} is out of range: give a whole number of pixels from 1 up"
            )
        for name in ("flip", "vertical_flip", "jitter", "grey", "blur", "solarize"):
            self._check(name, 0, 1)
        for name, most in (("brightness", 1), ("contrast", 1), ("saturation", 1), ("hue", 0.5)):
            self._check(name, 0, most)
        self._check("rotate", 0, 180)
        pairs = {"crop_scale": 1, "crop_ratio": math.inf, "blur_sigma": math.inf, "cutout": 1}
        for name, most in pairs.items():
            pair = getattr(self, name)
            if pair is not None or name != "cutout":
                _check_pair(name, pair, most)

    @property
    def kind(self) -> str:
        """The kind of a view that only the online network processes: "small" or "cutout"."""
        return "small" if self.cutout is None else "cutout"

    def _check(self, name: str, low: float, high: float) -> None:
        value = getattr(self, name)
        if not is_number(value) or not low <= value <= high:
            raise UserError(
                f"{name}={value!r} is out of range: give a number from {low:g} to {high:g}"
            )


def _check_pair(name: str, pair: Any, most: float) -> None:
    numbers = isinstance(pair, tuple | list) and len(pair) == 2 and all(map(is_number, pair))
    if not numbers or not 0 < pair[0] <= pair[1] <= most:
        accepted = f"0 < least ≤ most{'' if most == math.inf else f' ≤ {most:g}'}"
        raise UserError(f"{name}={pair!r} is out of range: give two numbers with {accepted}")


@dataclass(frozen=True)
class InputSpec:
    """The input specification of a backbone in evaluation.

    Args:
        size: side length of the square input in pixels.
        mean: mean of each channel, in [0, 1].
        std: standard deviation of each channel, above 0.
    """

    size: int
    mean: list[float]
    std: list[float]


def paper_views(size: int, **changes: Any) -> tuple[ViewConfig, ViewConfig]:
    """Return the paper's asymmetric pair of views (appendix B).

    The first view is always blurred and never solarized. The second view is blurred with
    probability 0.1 and solarized with probability 0.2.

    Args:
        size: side length of both views in pixels.
        changes: fields of :class:`ViewConfig` that differ from the paper, for both views. ``blur``
            and ``solarize`` may be pairs with one value for each view.

    Raises:
        UserError: a name in ``changes`` is unknown, or a value is out of range.
    """
    accepted = [field.name for field in fields(ViewConfig) if field.name != "size"]
    for name in changes:
        if name not in accepted:
            raise UserError(f"{name}= is unknown: choose from {', '.join(accepted)}")
    changes = plain(changes)
    blur = _as_pair("blur", changes.pop("blur", (1.0, 0.1)))
    solarize = _as_pair("solarize", changes.pop("solarize", (0.0, 0.2)))
    first, second = (
        ViewConfig(size, blur=blur[i], solarize=solarize[i], **changes) for i in (0, 1)
    )
    return first, second


def _as_pair(name: str, value: Any) -> Pair:
    pair = value if isinstance(value, tuple | list) else (value, value)
    if len(pair) != 2:
        raise UserError(
            f"{name}={value!r} is out of range: give a number from 0 to 1, or one for each view"
        )
    return pair[0], pair[1]
