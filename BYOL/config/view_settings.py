"""How the random views of an image are made."""

from dataclasses import dataclass
from typing import ClassVar

from BYOL.config.fields import setting
from BYOL.views.config import Pair


@dataclass(frozen=True)
class ViewSettings:
    """How the random views of an image are made."""

    title: ClassVar[str] = "views"

    image_size: int | None = setting(
        None,
        "Side in pixels of what the network sees; without it, that of the pictures where all "
        "are alike and at most 96 px, else 224.",
        low=1,
        on_resume="fixed",
        basic=True,
        chosen="recipe",
    )
    view_size: int | None = setting(
        None,
        "Side in pixels of the views in training; without it, image_size. Smaller views cost "
        "less, and suit the size at which evaluation shows things, since a crop enlarges them "
        "(arXiv 1906.06423).",
        low=1,
        on_resume="fixed",
        chosen="recipe",
    )
    crop_scale: Pair = setting(
        (0.08, 1.0),
        "Share of the picture's area that a view shows, least and most.",
        low=0,
        high=1,
        on_resume="incomplete",
        chosen="recipe",
    )
    crop_ratio: Pair = setting(
        (3 / 4, 4 / 3),
        "Width / height of a crop before it is made square, least and most.",
        low=0,
        on_resume="incomplete",
    )
    flip: float = setting(
        0.5,
        "Probability of a mirrored view.",
        low=0,
        high=1,
        on_resume="incomplete",
    )
    vertical_flip: float = setting(
        0.0,
        "Probability of an upside-down view.",
        low=0,
        high=1,
        on_resume="incomplete",
    )
    rotate: float = setting(
        0.0,
        "Largest turn of a view, in degrees.",
        low=0,
        high=180,
        on_resume="incomplete",
    )
    jitter: float = setting(
        0.8,
        "Probability of the colour changes below.",
        low=0,
        high=1,
        on_resume="incomplete",
    )
    brightness: float = setting(
        0.4,
        "Largest change of brightness.",
        low=0,
        high=1,
        on_resume="incomplete",
        chosen="recipe",
    )
    contrast: float = setting(
        0.4,
        "Largest change of contrast.",
        low=0,
        high=1,
        on_resume="incomplete",
        chosen="recipe",
    )
    saturation: float = setting(
        0.2,
        "Largest change of saturation (colour pictures only).",
        low=0,
        high=1,
        on_resume="incomplete",
    )
    hue: float = setting(
        0.1,
        "Largest change of hue, in turns (colour pictures only).",
        low=0,
        high=0.5,
        on_resume="incomplete",
    )
    grey: float = setting(
        0.2,
        "Probability of a grey view (colour pictures only).",
        low=0,
        high=1,
        on_resume="incomplete",
        chosen="recipe",
    )
    blur: Pair = setting(
        (1.0, 0.1),
        "Probability of a blur, for the first and the second view.",
        low=0,
        high=1,
        on_resume="incomplete",
        chosen="recipe",
    )
    blur_sigma: Pair = setting(
        (0.1, 2.0),
        "Its standard deviation in pixels, least and most.",
        low=0,
        on_resume="incomplete",
    )
    solarize: Pair = setting(
        (0.0, 0.2),
        "Probability of solarizing, for the first and the second view.",
        low=0,
        high=1,
        on_resume="incomplete",
        chosen="recipe",
    )
    small_views: int = setting(
        0,
        "Further views of every picture that only the online network sees (multi-crop).",
        low=0,
        on_resume="fixed",
    )
    small_size: int | None = setting(
        None,
        "Their side in pixels; without it half of view_size.",
        low=1,
        on_resume="fixed",
    )
    small_scale: Pair = setting(
        (0.05, 0.4),
        "Share of the picture's area that they show, least and most.",
        low=0,
        high=1,
        on_resume="incomplete",
    )
    mean: list[float] | None = setting(
        None,
        "Of every channel, for normalisation; without it what the weights are used to that "
        "the run begins with, ImageNet's for three channels, or measured on some of the "
        "pictures.",
        on_resume="fixed",
    )
    std: list[float] | None = setting(
        None,
        "Likewise.",
        on_resume="fixed",
    )
